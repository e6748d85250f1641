"""Blur by a point spread function that changes over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators._blur_bodies import BOUNDARIES, Boundary, centred_frame, extended, margins, psf_spectrum, reach
from recon.operators._borders import extend, fold
from recon.operators._constants import Constant
from recon.operators._fourier import as_complex, half
from recon.operators._interpolation_weights import grid_weights, scattered_weights
from recon.operators._spectra import (
    accumulate,
    add_weighted_image,
    blank_outside,
    inverse_real,
    times,
    times_conj,
    weighted_spectrum,
)
from recon.operators.base import LinearOperator
from recon.operators.blur import one_of, point_spread_function
from recon.operators.pointwise import embed, window
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, ShapeError
from solvers.validation import positive_float, positive_int, require_finite, shape_argument


class VaryingBlur(LinearOperator):
    r"""Each point of the scene spreads by the point spread function (PSF) of its place: ``y = sum_r h_r * (w_r x)``.

    The PSF is given at some places and interpolated between them, ``psf(p) = sum_k c_k(p) psf_k``. A singular value
    decomposition of the given ones leaves a few components ``h_r`` with weights ``w_r(p)``, a convolution each.

    Parameters
    ----------
    psfs : array
        PSFs ``(*grid, *support)`` at the middles of the cells of a grid over the frame, interpolated linearly; or
        ``(points, *support)`` at ``positions``. Centres as in :class:`Blur`.
    shape : tuple of int
        Shape of the measurement, in pixels.
    positions : array (points, axes), optional
        Where the PSFs were found, in pixels of the measurement; interpolated by the inverse squared distance.
    boundary : {"periodic", "reflecting", "unknown"}
        As in :class:`Blur`.
    tolerance : float
        Relative error of the PSFs, in the mean square, up to which components are left out. 0 keeps all.
    rank : int, optional
        Number of components; ``tolerance`` is then not used.

    Attributes
    ----------
    components : array (rank, *support)
        The PSFs ``h_r``.
    weights : array (rank, *in_shape)
        The weights ``w_r``.
    interior : tuple of slice
        Where the measurement's frame lies in the image.

    Raises
    ------
    ShapeError
        ``psfs`` has not the axes of a grid, or of points with ``positions``, and of a PSF no larger than the image.
    DTypeError, NonFiniteError, ArgumentError
        ``psfs`` are complex, not finite, or zero everywhere; ``tolerance`` or ``rank`` is out of range.

    References
    ----------
    L. Denis, E. Thiebaut, F. Soulez, J.-M. Becker, R. Mourya, "Fast approximations of shift-variant blur", Int. J.
    Comput. Vis. 115 (2015).

    Examples
    --------
    >>> from recon import psf
    >>> sharp, blurred = psf.gaussian(0.5, size=9), psf.gaussian(1.5, size=9)
    >>> A = VaryingBlur([[sharp, blurred]], shape=(64, 64))  # from left to right
    >>> A(np.ones((64, 64))).shape, len(A.components)
    ((64, 64), 2)
    """

    costly = True
    interior: tuple[slice, ...]

    def __init__(
        self,
        psfs: Any,
        shape: Sequence[int],
        positions: Any = None,
        boundary: Boundary = "periodic",
        tolerance: float = 1e-3,
        rank: int | None = None,
    ):
        shape = shape_argument("shape", shape)
        given = arrays.to_numpy(psfs)
        places = given.ndim - len(shape)
        if places != (len(shape) if positions is None else 1):
            expected = "(*grid, *support)" if positions is None else "(points, *support)"
            raise ShapeError(
                f"psfs has shape {given.shape}; expected {expected} for an image of {len(shape)} axes. "
                "Pass a PSF for each cell of a grid, or for each of positions."
            )
        flat = np.stack([point_spread_function(p, shape) for p in given.reshape(-1, *given.shape[places:])])
        self.boundary: Boundary = one_of("boundary", boundary, BOUNDARIES)
        in_shape = extended(shape, flat[0].shape) if boundary == "unknown" else shape
        super().__init__(in_shape, shape)
        start = reach(flat[0])[0] if boundary == "unknown" else (0,) * len(shape)
        self.interior = tuple(slice(i, i + n) for i, n in zip(start, shape, strict=True))
        coefficients, self.components = _components(flat, tolerance, rank)
        if positions is None:
            table = coefficients.reshape(*given.shape[:places], -1)
            self.weights = grid_weights(table, in_shape, start, shape)
        else:
            self.weights = scattered_weights(coefficients, _points(positions, len(flat), len(shape)), in_shape, start)
        self._set_constants(shape)

    def _set_constants(self, shape: tuple[int, ...]) -> None:
        self._grid = shape if self.boundary == "periodic" else extended(shape, self.components[0].shape)
        whole = tuple(slice(0, n) for n in shape)
        self._frame = whole if self.boundary == "periodic" else centred_frame(shape, self.components[0])
        self._margins = margins(self._frame, self._grid)
        self._responses = [Constant(half(psf_spectrum(psf, self._grid))) for psf in self.components]
        # The mirror image of a weighted image is the mirrored image, weighted with the mirrored weights.
        self._factors = [Constant(self._extend(weights)) for weights in self.weights]

    def _apply(self, x: Array) -> Array:
        if arrays.is_complex(x):
            return as_complex(self._apply(x.real), self._apply(x.imag))
        return window(self._blurred(x), self._frame)

    def _adjoint(self, y: Array) -> Array:
        if arrays.is_complex(y):
            return as_complex(self._adjoint(y.real), self._adjoint(y.imag))
        return self._fold(self._gathered(arrays.rfftn(embed(y, self._grid, self._frame), self._axes)))

    def gram(self, x: Array) -> Array:
        x = self._admit(x, "x", self.in_shape)
        if arrays.is_complex(x):
            return as_complex(self.gram(x.real), self.gram(x.imag))
        # No names for what lies between: each array is freed as soon as the next one is there.
        return self._fold(self._gathered(arrays.rfftn(blank_outside(self._blurred(x), self._frame), self._axes)))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.in_shape), 0))

    def _blurred(self, x: Array) -> Array:
        """The image and what lies beyond its frame, blurred."""
        return inverse_real(self._spectrum_of(x), self._grid)

    def _spectrum_of(self, x: Array) -> Array:
        image, total = self._extend(x), arrays.zeros((), x)
        for factor, response in zip(self._factors, self._responses, strict=True):
            total = accumulate(total, times(weighted_spectrum(image, factor.like(x)), response.like(x)))
        return total

    def _gathered(self, spectrum: Array) -> Array:
        """Adjoint of :meth:`_blurred` but for the extension, given the half spectrum of its argument."""
        total = None
        for factor, response in zip(self._factors, self._responses, strict=True):
            total = add_weighted_image(total, times_conj(spectrum, response.like(spectrum)), factor.like(spectrum))
        return total

    def _extend(self, x: Array) -> Array:
        return extend(x, *self._margins, "symmetric") if self.boundary == "reflecting" else x

    def _fold(self, image: Array) -> Array:
        return fold(image, *self._margins, "symmetric") if self.boundary == "reflecting" else image

    def psf_at(self, position: Sequence[int]) -> np.ndarray:
        """The point spread function of the pixel at ``position`` of the image."""
        return np.tensordot(np.moveaxis(self.weights, 0, -1)[tuple(position)], self.components, axes=1)

    def __repr__(self) -> str:
        support = self.components[0].shape
        return f"VaryingBlur({self.out_shape}, {len(self.components)} psfs {support}, boundary={self.boundary!r})"


def _components(psfs: np.ndarray, tolerance: float, rank: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (psfs, rank) and components (rank, *support) whose products sum to the PSFs."""
    left, values, right = np.linalg.svd(psfs.reshape(len(psfs), -1), full_matrices=False)
    tolerance = positive_float("tolerance", tolerance, zero=True)
    if rank is None:
        left_out = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1]  # by keeping k components
        rank = int(np.count_nonzero(left_out > max(tolerance, 1e-15) * left_out[0]))
    elif positive_int("rank", rank) > len(values):
        raise ArgumentError(
            f"rank is {rank}; expected at most {len(values)}, for there are {len(psfs)} PSFs. Pass less, or None."
        )
    # The first component alone carries the scale; a weight is of the order of one.
    scale = values[:rank] / np.sqrt(len(psfs))
    return left[:, :rank] * np.sqrt(len(psfs)), (scale[:, None] * right[:rank]).reshape(rank, *psfs.shape[1:])


def _points(positions: Any, count: int, ndim: int) -> np.ndarray:
    points = arrays.to_numpy(positions)
    if points.shape != (count, ndim) or points.dtype.kind not in "biuf":
        raise ShapeError(
            f"positions has shape {points.shape}; expected {(count, ndim)}, a point for each PSF. Pass its pixels."
        )
    require_finite("positions", points, "Leave out the PSFs whose place is not known.")
    return points.astype(np.float64)
