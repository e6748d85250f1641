"""Finite differences of images and their exact adjoints, for numpy and torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError

Spacing = float | Sequence[float] | None


def gradient(x: Array, ndim: int, spacing: Spacing = None, *, periodic: bool = False) -> Array:
    """Forward differences along the trailing ``ndim`` axes.

    ``(K x)_d[i] = (x[i + 1] - x[i]) / spacing_d`` along axis d; the last difference is 0, or wraps around.

    Parameters
    ----------
    x : array
        Images, ``(..., *spatial)``.
    ndim : int
        Number of spatial axes.
    spacing : float or sequence of float, optional
        Distance of neighbouring pixels along each spatial axis. None is 1.
    periodic : bool
        Whether the last pixel's neighbour is the first one.

    Returns
    -------
    array
        ``(..., ndim, *spatial)``.
    """
    scales = scales_of(spacing, ndim)
    if arrays.is_torch(x):
        parts = [_difference(x, axis - ndim, periodic) * scale for axis, scale in enumerate(scales)]
        return arrays.namespace(x).stack(parts, -ndim - 1)
    out = np.empty((*x.shape[: x.ndim - ndim], ndim, *x.shape[x.ndim - ndim :]), x.dtype)
    for axis, scale in enumerate(scales):
        part = out[_direction(axis, ndim)]
        first, last, ahead, here = _ends(axis - ndim)
        np.subtract(x[ahead], x[here], out=part[here])
        part[last] = x[first] - x[last] if periodic else 0
        if scale != 1:
            part *= scale
    return out


def gradient_adjoint(z: Array, ndim: int, spacing: Spacing = None, *, periodic: bool = False) -> Array:
    """Adjoint of :func:`gradient` (the negative divergence): ``(..., ndim, *spatial)`` to ``(..., *spatial)``."""
    scales = scales_of(spacing, ndim)
    total: Array = None
    for axis, scale in enumerate(scales):
        part = z[_direction(axis, ndim)]
        back = _difference_adjoint(part, axis - ndim, periodic)
        back = back * scale if scale != 1 else back
        total = back if total is None else total + back
    return total


@dataclass(frozen=True)
class Gradient:
    """The gradient as a linear operator ``K``, for images of any size.

    Parameters
    ----------
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels along each spatial axis. None is 1.
    periodic : bool
        Whether differences wrap around, so that ``K^H K`` is diagonal in Fourier. Otherwise the last difference is 0.
    """

    ndim: int = 2
    spacing: Any = None
    periodic: bool = False

    def __post_init__(self) -> None:
        if self.ndim not in (1, 2, 3) or isinstance(self.ndim, bool):
            raise ArgumentError(f"ndim is {self.ndim!r}; expected 1, 2 or 3. Pass the number of spatial axes.")
        if self.spacing is not None:
            scales_of(self.spacing, self.ndim)  # says what is wrong with it
            widths = (self.spacing,) * self.ndim if np.ndim(self.spacing) == 0 else self.spacing
            object.__setattr__(self, "spacing", tuple(map(float, widths)))

    def __call__(self, x: Array) -> Array:
        """``K x``, from ``(..., *spatial)`` to ``(..., ndim, *spatial)``."""
        return gradient(x, self.ndim, self.spacing, periodic=self.periodic)

    def adjoint(self, z: Array) -> Array:
        """``K^H z``, from ``(..., ndim, *spatial)`` to ``(..., *spatial)``."""
        return gradient_adjoint(z, self.ndim, self.spacing, periodic=self.periodic)

    def norm(self) -> float:
        """Upper bound of the largest singular value, attained for periodic differences of even size."""
        return math.sqrt(sum(4.0 * scale**2 for scale in scales_of(self.spacing, self.ndim)))

    def fourier_gram(self, shape: Sequence[int]) -> np.ndarray | None:
        """Eigenvalues of ``K^H K`` over all frequencies, in FFT order; None where differences do not wrap around.

        ``sum_d (2 - 2 cos w_d) / spacing_d^2``, of the shape of the trailing ``ndim`` axes of ``shape``.
        """
        if not self.periodic:
            return None
        return sum(self.fourier_axes(shape), np.zeros(()))

    def fourier_axes(self, shape: Sequence[int]) -> list[np.ndarray]:
        """What each axis adds to :meth:`fourier_gram`, to be broadcast."""
        parts = []
        for axis, (n, scale) in enumerate(zip(shape[-self.ndim :], self.scales, strict=True)):
            eigenvalues = (2 * scale * np.sin(np.pi * np.arange(n) / n)) ** 2
            parts.append(eigenvalues.reshape((-1,) + (1,) * (self.ndim - 1 - axis)))
        return parts

    @property
    def scales(self) -> tuple[float, ...]:
        """``1 / spacing`` along each axis."""
        return scales_of(self.spacing, self.ndim)


def scales_of(spacing: Spacing, ndim: int) -> tuple[float, ...]:
    """``1 / spacing`` for each of ``ndim`` axes."""
    if spacing is None:
        return (1.0,) * ndim
    try:
        widths = tuple(float(width) for width in np.atleast_1d(np.asarray(spacing, dtype=float)))
    except (TypeError, ValueError):
        raise DTypeError(f"spacing is {spacing!r}; expected a number or {ndim} numbers. Pass pixel sizes.") from None
    widths = widths * ndim if np.ndim(spacing) == 0 else widths
    if len(widths) != ndim or not all(math.isfinite(width) and width > 0 for width in widths):
        raise ArgumentError(
            f"spacing is {spacing!r}; expected {ndim} finite numbers above 0. Pass a pixel size for each spatial axis."
        )
    return tuple(1.0 / width for width in widths)


def _direction(axis: int, ndim: int) -> tuple[Any, ...]:
    """Index that picks the differences along spatial ``axis`` out of ``(..., ndim, *spatial)``."""
    return (..., axis, *(slice(None),) * ndim)


def _ends(axis: int) -> tuple[Any, ...]:
    """Indices of the first and the last pixels along the negative ``axis``, of all but the first, all but the last."""
    rest = (slice(None),) * (-axis - 1)
    first, last, ahead, here = slice(0, 1), slice(-1, None), slice(1, None), slice(None, -1)
    return tuple((..., which, *rest) for which in (first, last, ahead, here))


def _difference(x: Array, axis: int, periodic: bool) -> Array:
    xp = arrays.namespace(x)
    first, last, ahead, here = _ends(axis)
    end = x[first] - x[last] if periodic else xp.zeros_like(x[last])
    return xp.concatenate((x[ahead] - x[here], end), axis)


def _difference_adjoint(z: Array, axis: int, periodic: bool) -> Array:
    xp = arrays.namespace(z)
    first, _, _, here = _ends(axis)
    if periodic:
        return xp.roll(z, 1, axis) - z
    before = z[here]  # the last difference is zero for every image, so its adjoint ignores that entry
    edge = xp.zeros_like(z[first])
    return xp.concatenate((edge, before), axis) - xp.concatenate((before, edge), axis)
