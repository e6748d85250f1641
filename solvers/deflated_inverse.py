"""An inverse of ``A^H A + rho`` that costs no operator call: exact along the directions measured, a filter elsewhere.

    u    <- M (r - Y c),    c = (D^H Y)^-1 D^H r,    Y = (A^H A + rho) D
    out  <- u + D (c - (D^H Y)^-1 Y^H u)

D are directions whose images ``A^H A D`` are known, and M is near the inverse. It is the block BFGS update of M
(Schnabel 1983), or the deflation of what was measured; every shift rho has the same D and products. As ``A^H A`` is
linear over the complex numbers, so is the span of D.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.curvature_model import added

RIDGE = 1e-6  # of the small matrix, relative to its mean diagonal: directions may be nearly dependent
STEPS = 2  # of conjugate gradients, where the filter is no periodic convolution
LEAST = 0.01  # eigenvalue of the filter that precedes them, over the largest


@dataclass(frozen=True, slots=True)
class Directions:
    """Images D, scaled to norm 1, and ``A^H A D``; leading batch axes make one block-diagonal system."""

    D: tuple[Array, ...] = ()  # an array each, none of which is ever copied
    G: tuple[Array, ...] = ()  # A^H A of each
    DD: Any = None  # D^H D, in double precision
    DG: Any = None  # D^H A^H A D

    def learned(self, d: Array, Gd: Array, memory: int) -> Directions:
        """With one more, the oldest ones forgotten beyond ``memory``."""
        size = arrays.to_float(arrays.norm(d))
        if not (size > 0 and math.isfinite(size)):
            return self
        D, G = ((*old, new / size)[-memory:] for old, new in ((self.D, d), (self.G, Gd)))
        DD, DG = (_bordered(old, _products(D, last), memory) for old, last in ((self.DD, D[-1]), (self.DG, G[-1])))
        return Directions(D, G, DD, DG)

    def inverse(self, r: Array, rho: float, approximate: Callable[[Array], Array]) -> Array:
        """``(A^H A + rho)^-1 r`` along the directions, ``approximate`` across them."""
        if not self.D:
            return approximate(r)
        xp, small = arrays.namespace(self.DD), self.DG + rho * self.DD
        small = small + RIDGE * xp.diagonal(small).real.mean() * xp.diag(xp.ones_like(xp.diagonal(small)))
        c = xp.linalg.solve(small, _products(self.D, r))
        u = approximate(added(added(r, -c, self.G), -rho * c, self.D))
        e = xp.linalg.solve(small, _products(self.G, u) + rho * _products(self.D, u))
        return added(u, c - e, self.D)


@dataclass(frozen=True, slots=True)
class Filter:
    """A convolution P of images, periodic or on a larger grid around the image, and what is near ``(P + rho)^-1``."""

    spectrum: Array  # eigenvalues at the frequencies in use; on a larger grid some may be negative
    grid: tuple[int, ...]  # of the spectrum
    shape: tuple[int, ...]  # of an image
    unit: float  # of floors: the mean eigenvalue of a periodic filter, the largest one on a larger grid

    def __call__(self, v: Array) -> Array:
        """``P v``."""
        return self._filtered(v, self.spectrum)

    def inverse(self, r: Array, rho: float, floor: float) -> Array:
        """About ``(P + rho)^-1 r``; eigenvalues below ``floor`` times the unit are not trusted."""
        xp = arrays.namespace(r)
        if self.grid == self.shape:
            return self._filtered(r, 1.0 / (xp.clip(self.spectrum, floor * self.unit, None) + rho))
        reciprocal = 1.0 / (xp.clip(self.spectrum, max(floor, LEAST) * self.unit, None) + rho)
        shift = rho + floor * self.unit
        x, p, before = arrays.zeros(r.shape, r), None, 0.0
        for step in range(STEPS):
            z = self._filtered(r, reciprocal)
            size = arrays.dot(r, z)
            if not arrays.to_float(size) > 0:
                break
            p = z if p is None else arrays.axpy(size / before, p, z)
            Pp = arrays.axpy(shift, p, self(p))
            curvature = arrays.dot(p, Pp)
            if not arrays.to_float(curvature) > 0:
                break
            alpha, before = size / curvature, size
            x = arrays.axpy(alpha, p, x)
            if step + 1 < STEPS:
                r = arrays.axpy(-alpha, Pp, r)
        return x

    def _filtered(self, v: Array, spectrum: Array) -> Array:
        axes = tuple(range(-len(self.shape), 0))
        padded, kept = v, (..., *(slice(n) for n in self.shape))
        if self.grid != self.shape:
            padded = arrays.zeros((*v.shape[: v.ndim - len(axes)], *self.grid), v)
            padded[kept] = v
        if arrays.is_complex(v):
            return arrays.fftn(arrays.fftn(padded, axes) * spectrum, axes, inverse=True)[kept]
        return arrays.irfftn(arrays.rfftn(padded, axes) * spectrum, self.grid, axes)[kept]


def filter_of(spectrum: Array, shape: tuple[int, ...], like: Array) -> Filter:
    """The filter with a spectrum, given over all frequencies, for images like one."""
    grid = tuple(spectrum.shape)
    used = spectrum if arrays.is_complex(like) else spectrum[..., : spectrum.shape[-1] // 2 + 1]
    unit = spectrum.mean() if grid == shape else spectrum.max()
    return Filter(used, grid, shape, max(arrays.to_float(unit), 1e-30))


def _bordered(matrix: Any, border: Any, memory: int) -> Any:
    """A Hermitian matrix with a new last row and column."""
    xp = arrays.namespace(border)
    if matrix is None:
        return border.real[None] + 0 * border[None]
    kept = matrix[1:, 1:] if len(matrix) >= memory else matrix
    return xp.concatenate([xp.concatenate([kept, border[:-1, None]], 1), border.conj()[None]], 0)


def _products(stack: Sequence[Array], x: Array) -> Any:
    """Inner products of several images with one, in double precision."""
    if arrays.is_torch(x):
        xp, flat = arrays.namespace(x), x.reshape(-1)
        found = xp.stack([xp.vdot(row.reshape(-1), flat) for row in stack])
        return found.to(xp.complex128 if arrays.is_complex(x) else xp.float64)
    # One after the other: a matrix product wakes threads, which on few processors takes longer than all the sums.
    return np.array([np.vdot(row, x) for row in stack]).astype(np.result_type(x.dtype, np.float64))
