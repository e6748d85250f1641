"""The ridge regulariser at given weights, on tensors: filters, profile, their gradient and Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from solvers.kernels import block_of, run_jobs

Pair = tuple[Tensor, Tensor, Tensor]
"""A change of an image, that of its gradient, and the inverse of their product."""

PAIRS = 6
LEAST_CURVATURE = 1e-3


class Ridge:
    """``R(x) = sum_i sum_p psi(c_i (W_i x)_p) / c_i^2`` of images ``(batch, 1, rows, columns)``.

    Parameters
    ----------
    scales : Tensor
        ``c``, for each channel of the responses ``W x``.
    table : Tensor
        psi, psi' and psi'' at the knots 0, 1, ... of psi', ``(knots, 3)``.
    kernels : sequence of Tensor
        Convolutions that make ``W`` one after the other; images go on as their mirror image.
    """

    def __init__(self, scales: Tensor, table: Tensor, kernels: Sequence[Tensor]) -> None:
        self.scales, self.table, self.kernels = scales, table, tuple(kernels)
        self.reach = sum(k.shape[-1] - 1 for k in kernels) // 2

    def half(self) -> Ridge:
        """The same, whose convolutions have fewer digits."""
        return Ridge(self.scales, self.table, [k.bfloat16() for k in self.kernels])

    @cached_property
    def _turned(self) -> list[Tensor]:
        """Kernels of the adjoint, the last one first: a convolution is quicker than a transposed one."""
        turned = [k.flip(2, 3).transpose(0, 1) for k in reversed(self.kernels)]
        return [k.contiguous(memory_format=torch.channels_last) for k in turned]

    def analysis(self, x: Tensor) -> Tensor:
        """The responses ``W x``, ``(batch, channels, rows, columns)``."""
        t = extended(x, self.reach).to(self.kernels[0].dtype)
        for kernel in self.kernels:
            t = functional.conv2d(t, kernel.contiguous(memory_format=torch.channels_last))
        return t.to(x.dtype)

    def synthesis(self, t: Tensor) -> Tensor:
        """The adjoint of :meth:`analysis`."""
        out = t.to(self.kernels[0].dtype)
        for kernel in self._turned:
            out = functional.conv2d(out, kernel, padding=kernel.shape[-1] - 1)
        return folded(out.to(t.dtype), self.reach)

    def value(self, x: Tensor) -> Tensor:
        """``R(x)``, with gradients."""
        _, k, rest = self._pieces(self.analysis(x))
        psi = self.table[:, 0][k] + rest * (self.table[:, 1][k] + 0.5 * rest * self.table[:, 2][k])
        return (psi / self.scales.view(-1, 1, 1).square()).sum()

    def slopes(self, t: Tensor) -> Tensor:
        """``psi'(c t) / c``, with gradients."""
        u, k, rest = self._pieces(t)
        return torch.sign(u) * (self.table[:, 1][k] + rest * self.table[:, 2][k]) / self.scales.view(-1, 1, 1)

    def gradient(self, x: Tensor) -> Tensor:
        """``R'(x)``, with gradients."""
        return self.synthesis(self.slopes(self.analysis(x)))

    def _pieces(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u = t * self.scales.view(-1, 1, 1)
        k = u.detach().abs().clamp(max=len(self.table) - 1).int()
        return u.detach(), k, u.abs() - k

    @torch.no_grad()
    def plain_gradient(self, x: Tensor) -> Tensor:
        """``R'(x)`` without gradients of its own."""
        return self.synthesis(self._mapped("slopes", self.analysis(x)))

    @torch.no_grad()
    def hessian(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """``R''(x)`` as a function of an image."""
        second = self._mapped("curvatures", self.analysis(x))
        return lambda z: self.synthesis(second * self.analysis(z))

    def _mapped(self, name: str, t: Tensor) -> Tensor:
        """A function of the profile on every response, by a kernel on a CPU."""
        if t.device.type != "cpu":
            return self.slopes(t) if name == "slopes" else self.table[:, 2][self._pieces(t)[1]]
        from priors import ridge_kernels

        rows = t.permute(0, 2, 3, 1).reshape(-1, t.shape[1])
        block = block_of(len(rows))
        table = self.table.detach().to(t.dtype).numpy()
        scales = self.scales.detach().to(t.dtype).numpy()
        run_jobs(getattr(ridge_kernels, name), t.numel(), -(-len(rows) // block), block, rows.numpy(), scales, table)
        return rows.view(t.shape[0], *t.shape[2:], -1).permute(0, 3, 1, 2)


def extended(x: Tensor, reach: int) -> Tensor:
    """The image, on each side continued by its mirror image."""
    for axis in (-2, -1):
        n = x.shape[axis]
        x = torch.cat((x.narrow(axis, 0, reach).flip(axis), x, x.narrow(axis, n - reach, reach).flip(axis)), axis)
    return x


def folded(x: Tensor, reach: int) -> Tensor:
    """Adjoint of :func:`extended`."""
    for axis in (-2, -1):
        n = x.shape[axis] - 2 * reach
        low, high = x.narrow(axis, 0, reach).flip(axis), x.narrow(axis, n + reach, reach).flip(axis)
        x = x.narrow(axis, reach, n).clone()
        x.narrow(axis, 0, reach).add_(low)
        x.narrow(axis, n - reach, reach).add_(high)
    return x


def denoised(ridge: Ridge, y: Tensor, tol: float, iterations: int = 12) -> tuple[Tensor, list[Pair]]:
    """Minimiser of ``|x - y|^2 / 2 + R(x)`` of each image by L-BFGS with full steps, and its last pairs.

    ``tol`` is the root mean square of the gradient at which it ends. The objective is strongly convex, and full steps
    from the start ``y`` have always been short enough in training; nothing certifies them.
    """
    x, g, pairs = y, ridge.plain_gradient(y), list[Pair]()
    for _ in range(iterations):
        d = quasi_newton(pairs, g) if pairs else 0.25 * g
        x = x - d
        after = x - y + ridge.plain_gradient(x)
        pairs = [*pairs, _pair(-d, after - g)][-PAIRS:]
        g = after
        if float(g.square().mean().sqrt()) < tol:
            break
    return x, pairs


def solved(
    hessian: Callable[[Tensor], Tensor], b: Tensor, pairs: Sequence[Pair], tol: float, iterations: int = 6
) -> Tensor:
    """``(1 + R'')^-1 b`` of each image by conjugate gradients, preconditioned by what L-BFGS learned of it."""
    w, r = torch.zeros_like(b), b
    p = z = quasi_newton(pairs, r)
    rz, end = _inner(r, z), tol * float(b.norm())
    for _ in range(iterations):
        curved = p + hessian(p)
        length = rz / _inner(p, curved).clamp_min(1e-30)
        w, r = w + length * p, r - length * curved
        if float(r.norm()) <= end:
            break
        z = quasi_newton(pairs, r)
        before, rz = rz, _inner(r, z)
        p = z + rz / before.clamp_min(1e-30) * p
    return w


def quasi_newton(pairs: Sequence[Pair], q: Tensor) -> Tensor:
    """The inverse Hessian that the pairs suggest, on ``q`` (two-loop recursion of each image)."""
    weights = []
    for s, r, rho in reversed(pairs):
        weights.append(rho * _inner(s, q))
        q = q - weights[-1] * r
    _, r, rho = pairs[-1]
    q = q / (rho * _inner(r, r)).clamp_min(LEAST_CURVATURE)
    for (s, r, rho), weight in zip(pairs, reversed(weights), strict=True):
        q = q + (weight - rho * _inner(r, q)) * s
    return q


def _pair(s: Tensor, r: Tensor) -> Pair:
    return s, r, 1 / torch.maximum(_inner(s, r), LEAST_CURVATURE * _inner(r, r)).clamp_min(1e-30)


def _inner(a: Tensor, b: Tensor) -> Any:
    return (a * b).sum((1, 2, 3), keepdim=True)
