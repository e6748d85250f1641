"""Data terms for outliers: what a few wild samples say counts little."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.data_terms import DataTerm
from solvers.validation import positive_float


@dataclass(frozen=True)
class Huber(DataTerm):
    """``sum_i h(|A x - y|_i)``, ``h(r) = r^2/2`` up to ``delta`` and ``delta (r - delta/2)`` beyond.

    Parameters
    ----------
    operator, y
        See :class:`DataTerm`.
    delta : float
        Residual from which a sample counts as an outlier, about 1.345 times the standard deviation of the noise.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964).

    Examples
    --------
    >>> from recon.operators import Identity
    >>> data = Huber(Identity((2,)), np.zeros(2), delta=1.0)
    >>> float(data.value(np.array([0.5, 3.0]))), data.gradient(np.array([0.5, 3.0]))
    (2.625, array([0.5, 1. ]))
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        positive_float("delta", self.delta)

    def loss(self, w: Array) -> Any:
        size = abs(w - self.y)
        inside = arrays.namespace(size).clip(size, max=self.delta)
        return (inside * (size - 0.5 * inside)).sum()

    def loss_gradient(self, w: Array) -> Array:
        r = w - self.y
        return r / arrays.namespace(w).clip(abs(r) / self.delta, min=1.0)

    def curvatures(self, w: Array) -> Array:
        return 1 / arrays.namespace(w).clip(abs(w - self.y) / self.delta, min=1.0)

    def loss_prox(self, v: Array, step: Any) -> Array:
        # Inside, the quadratic; outside, the residual shrinks by step * delta: the larger of the two.
        r = v - self.y
        xp = arrays.namespace(v)
        shrunk = 1 - step / xp.maximum(abs(r) / self.delta, 1 + step + 0 * abs(r))
        return self.y + r * shrunk

    def curvature(self) -> float:
        return 1.0


@dataclass(frozen=True)
class AbsoluteDeviation(DataTerm):
    """``sum_i |A x - y|_i``: the l1 norm, for impulses and Laplacian noise.

    Parameters
    ----------
    operator, y
        See :class:`DataTerm`.

    Examples
    --------
    >>> from recon.operators import Identity
    >>> data = AbsoluteDeviation(Identity((2,)), np.zeros(2))
    >>> float(data.value(np.array([0.5, -3.0]))), data.loss_prox(np.array([0.5, -3.0]), 1.0)
    (3.5, array([ 0., -2.]))
    """

    smooth = False

    def loss(self, w: Array) -> Any:
        return abs(w - self.y).sum()

    def loss_gradient(self, w: Array) -> Array:
        """A subgradient: the sign of the residual, 0 at 0."""
        r = w - self.y
        return r / arrays.namespace(w).clip(abs(r), min=_tiny(w))

    def loss_prox(self, v: Array, step: Any) -> Array:
        r = v - self.y
        size = arrays.namespace(v).clip(abs(r), min=_tiny(v))
        return self.y + r * arrays.namespace(v).clip(1 - step / size, min=0.0)


@dataclass(frozen=True)
class StudentT(DataTerm):
    """``sum_i (freedom + 1)/2 log(1 + |A x - y|_i^2 / (freedom scale^2))``: wild outliers hardly count at all.

    Not convex: the result depends on the start, and on the solver.

    Parameters
    ----------
    operator, y
        See :class:`DataTerm`.
    scale : float
        Size of an ordinary residual, in the unit of ``y``.
    freedom : float
        Degrees of freedom; the fewer, the heavier the tails.

    References
    ----------
    K. L. Lange, R. J. A. Little, J. M. G. Taylor, "Robust statistical modeling using the t distribution", J. Am. Stat.
    Assoc. 84 (1989).

    Examples
    --------
    >>> from recon.operators import Identity
    >>> StudentT(Identity((2,)), np.zeros(2)).gradient(np.array([0.5, 50.0])).round(2)
    array([0.59, 0.1 ])
    """

    scale: float = 1.0
    freedom: float = 4.0

    def __post_init__(self) -> None:
        positive_float("scale", self.scale)
        positive_float("freedom", self.freedom)

    @property
    def _width(self) -> float:
        return self.freedom * self.scale**2

    def loss(self, w: Array) -> Any:
        size = abs(w - self.y)
        return 0.5 * (self.freedom + 1) * arrays.namespace(w).log(1 + size * size / self._width).sum()

    def loss_gradient(self, w: Array) -> Array:
        r = w - self.y
        return (self.freedom + 1) * r / (self._width + abs(r) ** 2)

    def curvatures(self, w: Array) -> Array:
        return (self.freedom + 1) / (self._width + abs(w - self.y) ** 2)

    def loss_prox(self, v: Array, step: Any) -> Array:
        # |r| is a root of t^3 - a t^2 + (width + step (freedom + 1)) t - a width = 0: the outer or the inner one.
        r = v - self.y
        a = abs(r)
        xp = arrays.namespace(v)
        inner, outer = _cubic_roots(xp, a, self._width + step * (self.freedom + 1), self._width)

        def merit(t: Array) -> Array:
            return 0.5 * step * (self.freedom + 1) * xp.log(1 + t * t / self._width) + 0.5 * (t - a) ** 2

        t = xp.where(merit(inner) < merit(outer), inner, outer)
        return self.y + r * (t / xp.clip(a, min=_tiny(v)))

    def curvature(self) -> float:
        return (self.freedom + 1) / self._width


def _cubic_roots(xp: Any, a: Array, c: Any, d: float) -> tuple[Array, Array]:
    """Smallest and largest real root of ``t^3 - a t^2 + c t - a d``, ``0 <= t <= a``."""
    p = c - a * a / 3
    q = -2 * a**3 / 27 + a * c / 3 - a * d
    inside = (0.5 * q) ** 2 + (p / 3) ** 3
    root = xp.sqrt(xp.clip(inside, min=0.0))
    single = _cube_root(xp, -0.5 * q + root) + _cube_root(xp, -0.5 * q - root)
    radius = xp.sqrt(xp.clip(-p / 3, min=arrays.eps(a) ** 2))
    angle = xp.arccos(xp.clip(-0.5 * q / radius**3, -1.0, 1.0)) / 3
    roots = [xp.where(inside > 0, single, 2 * radius * xp.cos(angle - 2 * math.pi * k / 3)) for k in (2, 0)]
    low, high = (_polished(xp.clip(s + a / 3, min=0.0), a, c, d) for s in roots)
    return low, high


def _polished(t: Array, a: Array, c: Any, d: float) -> Array:
    """Two Newton steps, where the slope allows them."""
    xp = arrays.namespace(t)
    for _ in range(2):
        slope = 3 * t * t - 2 * a * t + c
        steep = abs(slope) > 1e-3 * c
        value = ((t - a) * t + c) * t - a * d
        t = t - xp.where(steep, value, 0 * t) / xp.where(steep, slope, 1 + 0 * t)
    return t


def _cube_root(xp: Any, x: Array) -> Array:
    return xp.sign(x) * abs(x) ** (1 / 3)


def _tiny(x: Array) -> float:
    """Smallest divisor: far below any residual."""
    return arrays.eps(x) ** 4
