"""Minimisers of ``|x - y|^2 / 2 + step R(x)`` with a ridge regulariser R, each image of a batch by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from priors._ridge_body import Ridge

SPARE, RATE = 5.0, 0.9
"""How much larger than the first one a gradient may be, and how fast that falls."""
TINY = 1e-30


def minimised(ridge: Ridge, y: Tensor, step: float, curvature: float, tol: float, iterations: int) -> Tensor:
    """The minimiser, by accelerated gradient steps with restarts.

    Steps have the length one over the curvature ``L`` of the objective. Momentum restarts where it points uphill, and
    is kept only where it leaves the gradient below ``SPARE * RATE^k`` of the first one; a step without it shrinks the
    gradient by ``1 - m / L``, m being the least curvature. The gradient so goes to zero at a linear rate at least, and
    the distance to the minimiser is at most its norm over m.

    Parameters
    ----------
    ridge, y, step
        The objective; it is strongly convex.
    curvature : float
        L.
    tol : float
        Root mean square of the gradient at which it ends.
    iterations : int
        Steps at most.
    """
    x, v, g = y, y, step * ridge.plain_gradient(y)
    allowed, done, t = SPARE * _norm(g), tol * y[0].numel() ** 0.5, torch.ones_like(y[:, :1, :1, :1])
    for _ in range(iterations):
        if float(_norm(g).max()) <= done:
            break
        new = v - g / curvature
        t = torch.where(_each(g, new - x) > 0, 1.0, t)
        after = 0.5 + (0.25 + t.square()).sqrt()
        x, v, t = new, new + (t - 1) / after * (new - x), after
        g, allowed = v - y + step * ridge.plain_gradient(v), RATE * allowed
        worse = ~(_norm(g) <= allowed.clamp_min(done))
        if bool(worse.any()):
            v, t = torch.where(worse.view(-1, 1, 1, 1), x, v), torch.where(worse.view(-1, 1, 1, 1), 1.0, t)
            g[worse] = v[worse] - y[worse] + step * ridge.plain_gradient(v[worse])
    return v


def solved(hessian: Callable[[Tensor], Tensor], b: Tensor, tol: float, iterations: int) -> Tensor:
    """``H^-1 b`` of each image by conjugate gradients."""
    w, r, p = torch.zeros_like(b), b, b
    power = _each(r, r)
    for _ in range(iterations):
        curved = hessian(p)
        length = power / _each(p, curved)
        w, r = w + length * p, r - length * curved
        before, power = power, _each(r, r)
        if float(r.norm()) <= tol * float(b.norm()):
            break
        p = r + power / before * p
    return w


def _each(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each image, never 0: an image that has arrived then stays where it is."""
    return (a * b).sum((1, 2, 3), keepdim=True) + TINY


def _norm(g: Tensor) -> Tensor:
    return g.square().sum((1, 2, 3)).sqrt()
