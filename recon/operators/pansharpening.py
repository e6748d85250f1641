"""Pansharpening: coarse bands and one fine panchromatic image of the same scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators._folding import alias_weights, cosine_2d, fold, inverse_cosine_2d, unfold
from recon.operators.base import LinearOperator
from recon.operators.pointwise import Identity
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import as_inexact, positive_int, require_finite, shape_argument


class Pansharpening(LinearOperator):
    r"""Fine bands, measured as coarse bands and as one fine panchromatic image.

    ``ms[b] = D H_b x[b]`` and ``pan = sum_b pan_response[b] x[b]``. ``H_b`` is the Gaussian whose transfer at the
    Nyquist frequency of the coarse grid is the band's MTF, borders reflect, and ``D`` takes the value at the centre of
    each block of ``factor x factor`` pixels. The measurement is flat, the coarse bands and then the panchromatic image:
    ``y = A.pack(ms, pan)``, ``ms, pan = A.unpack(y)``.

    Parameters
    ----------
    shape : (int, int, int)
        Bands, rows and columns of the fine image; ``factor`` divides rows and columns.
    factor : int
        Fine pixels to a coarse one, along each axis.
    band_mtf : float or array (bands,)
        Modulation transfer at the coarse Nyquist frequency, above 0 and at most 1; for most sensors 0.2 to 0.4.
    pan_response : array (bands,), optional
        Weights of the bands in the panchromatic image, in its unit over theirs. None is the mean of the bands.

    Raises
    ------
    ShapeError, ArgumentError, DTypeError
        ``factor`` does not divide the shape, or an MTF or weight is missing or out of range.

    References
    ----------
    B. Aiazzi, L. Alparone, S. Baronti, A. Garzelli, M. Selva, "MTF-tailored multiscale fusion of high-resolution MS and
    Pan imagery", Photogramm. Eng. Remote Sens. 72 (2006). Q. Wei, N. Dobigeon, J.-Y. Tourneret, "Fast fusion of
    multi-band images based on solving a Sylvester equation", IEEE Trans. Image Process. 24 (2015).

    Examples
    --------
    >>> A = Pansharpening((4, 64, 64), factor=4, band_mtf=0.3)
    >>> ms, pan = A.unpack(A(np.ones((4, 64, 64))))
    >>> ms.shape, pan.shape, ms.round(6).max()
    ((4, 16, 16), (64, 64), np.float64(1.0))
    """

    channels = True
    neighbours_alike = False

    def __init__(self, shape: Sequence[int], factor: int, band_mtf: Any = 0.3, pan_response: Any = None):
        shape, self.factor = _whole_blocks(shape, factor)
        bands, rows, columns = shape
        self.coarse_shape = (bands, rows // self.factor, columns // self.factor)
        self.band_mtf = _band_mtf(band_mtf, bands)
        self.pan_response = _pan_response(pan_response, bands)
        super().__init__(shape, (math.prod(self.coarse_shape) + rows * columns,))
        self._response = Constant(self._transfer())
        self._one_mtf = bool((self.band_mtf == self.band_mtf[0]).all())  # many bands are then no harder than one
        self._weights = Constant(self.pan_response[:, None, None])

    def _transfer(self) -> np.ndarray:
        """Gaussian transfer times the weight of the alias, over the fine frequencies of each band."""
        rows, columns = (self._axis(n) for n in self.coarse_shape[1:])
        return rows[:, :, None] * columns[:, None, :]

    def _axis(self, n: int) -> np.ndarray:
        k = np.arange(n * self.factor)
        return self.band_mtf[:, None] ** (k / n) ** 2 * alias_weights(n, self.factor)

    def pack(self, ms: Array, pan: Array) -> Array:
        """The measurement from coarse bands ``(..., bands, rows, columns)`` and a fine image ``(..., rows, columns)``.

        Raises
        ------
        ShapeError
            ``ms`` or ``pan`` has another shape.
        """
        ms, pan = as_inexact("ms", ms), as_inexact("pan", pan)
        for name, given, expected in (("ms", ms, self.coarse_shape), ("pan", pan, self.in_shape[1:])):
            if tuple(given.shape[max(given.ndim - len(expected), 0) :]) != expected:
                raise ShapeError(
                    f"{name} has shape {tuple(given.shape)}; {self!r} measures {expected} there. Pass an array of that "
                    "shape, bands before rows and columns."
                )
        return self._join(ms, pan)

    def unpack(self, y: Array) -> tuple[Array, Array]:
        """Coarse bands ``(..., bands, rows, columns)`` and panchromatic image ``(..., rows, columns)`` of ``y``."""
        return self._split(self._admit(y, "y", self.out_shape))

    def _join(self, ms: Array, pan: Array) -> Array:
        batch = tuple(pan.shape[:-2])
        return arrays.namespace(pan).concatenate([ms.reshape((*batch, -1)), pan.reshape((*batch, -1))], -1)

    def _split(self, y: Array) -> tuple[Array, Array]:
        batch, coarse = tuple(y.shape[:-1]), math.prod(self.coarse_shape)
        ms, pan = y[..., :coarse], y[..., coarse:]
        return ms.reshape(batch + self.coarse_shape), pan.reshape(batch + self.in_shape[1:])

    def _apply(self, x: Array) -> Array:
        coarse = fold(cosine_2d(x) * self._response.like(x), self.factor)
        return self._join(inverse_cosine_2d(coarse), self._seen(x))

    def _adjoint(self, y: Array) -> Array:
        ms, pan = self._split(y)
        fine = unfold(cosine_2d(ms), self.factor) * self._response.like(y)
        return inverse_cosine_2d(fine) + self._spread(pan)

    def _seen(self, x: Array) -> Array:
        return (x * self._weights.like(x)).sum(-3)

    def _spread(self, pan: Array) -> Array:
        return self._weights.like(pan) * pan[..., None, :, :]

    @cached_property
    def _coarse_power(self) -> Constant:
        """``D H (D H)^T`` of one band, over the coarse frequencies."""
        return Constant(fold(self._response.double[0] ** 2, self.factor))

    @cached_property
    def _overlap(self) -> np.ndarray:
        """``sum over aliases of H_b H_c``, (rows, columns, bands, bands): the bands' products through ``D H``."""
        response, bands = self._response.double, len(self.band_mtf)
        products = [[fold(response[b] * response[c], self.factor) for c in range(bands)] for b in range(bands)]
        return np.moveaxis(np.array(products), (0, 1), (-2, -1))

    @cached_property
    def _largest(self) -> float:
        # At a coarse frequency A A^H is [[G, C], [C^T, s I]]. With C = w R, R over the aliases and R R^T = V L V^T,
        # nothing but the span of R matters beside s.
        overlap, bands = self._overlap, len(self.band_mtf)
        values, vectors = np.linalg.eigh(overlap)
        cross = self.pan_response[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        whole = np.zeros((*overlap.shape[:2], 2 * bands, 2 * bands))
        whole[..., :bands, :bands] = overlap * np.eye(bands)
        whole[..., :bands, bands:], whole[..., bands:, :bands] = cross, np.swapaxes(cross, -1, -2)
        whole[..., bands:, bands:] = (self.pan_response @ self.pan_response) * np.eye(bands)
        return float(np.linalg.eigvalsh(whole).max())

    def norm(self) -> float:
        if self._one_mtf:  # one band is seen twice over, by D H and by the panchromatic image
            return math.sqrt(float(self._coarse_power.double.max()) + float(self.pan_response @ self.pan_response))
        return math.sqrt(self._largest)

    def factors(self) -> tuple[LinearOperator, LinearOperator]:
        return self, Identity(self.in_shape)

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        # Woodbury; the panchromatic rows, whose product is s I, are eliminated first. What is left couples the bands
        # of one coarse frequency. Transforms are orthonormal, so all of it happens between two of them.
        response, weights = self._response.like(b), self._weights.like(b)
        total = float(self.pan_response @ self.pan_response) + _per_image(rho)
        spectrum = cosine_2d(b)
        pan = self._seen(spectrum) / total
        coarse = fold(response * (spectrum - weights * pan[..., None, :, :]), self.factor)
        solved = self._one_mtf_solved(coarse, rho, total) if self._one_mtf else self._bands_solved(coarse, rho)
        u = response * unfold(solved, self.factor)
        v = pan - self._seen(u) / total
        return inverse_cosine_2d((spectrum - u - weights * v[..., None, :, :]) / rho)

    def _bands_solved(self, coarse: Array, rho: Any) -> Array:
        """``(G + rho I - C C^T / (s + rho))^-1`` at each coarse frequency, worked out in double precision."""
        shift = arrays.to_numpy(rho)[..., None] if getattr(rho, "ndim", 0) else rho  # (..., 1, 1, 1, 1)
        w, overlap = self.pan_response, self._overlap
        matrix = overlap * (np.eye(w.size) - np.multiply.outer(w, w) / (w @ w + shift)) + shift * np.eye(w.size)
        inverse = arrays.asarray(np.linalg.inv(matrix), coarse)
        xp = arrays.namespace(coarse)
        columns = xp.moveaxis(coarse, -3, -1)[..., None]
        if arrays.is_torch(coarse):
            inverse = inverse.to(coarse.dtype)
        return xp.moveaxis((inverse @ columns)[..., 0], -1, -3)

    def _one_mtf_solved(self, coarse: Array, rho: Any, total: Any) -> Array:
        """The same where all bands have one transfer: the matrix is a multiple of ``I`` less one of ``w w^T``."""
        power, weights = self._coarse_power.like(coarse), self._weights.like(coarse)
        along = self._seen(coarse) * power / (total * (power + _per_image(rho)) - power * (total - _per_image(rho)))
        return (coarse + weights * along[..., None, :, :]) / (power + rho)

    def __repr__(self) -> str:
        return f"Pansharpening({self.in_shape}, factor={self.factor})"


def _per_image(rho: Any) -> Any:
    """A shift for arrays without the axis of the bands."""
    return rho[..., 0, :, :] if getattr(rho, "ndim", 0) else rho


def _whole_blocks(shape: Sequence[int], factor: int) -> tuple[tuple[int, ...], int]:
    shape, factor = shape_argument("shape", shape), positive_int("factor", factor)
    if len(shape) != 3:
        raise ShapeError(f"shape is {shape}; expected (bands, rows, columns) of the fine image. Pass three numbers.")
    if shape[1] % factor or shape[2] % factor:
        fitting = (shape[0], *(max(n // factor, 1) * factor for n in shape[1:]))
        raise ShapeError(
            f"shape is {shape}, whose rows and columns factor {factor} does not divide; expected whole blocks. "
            f"Crop the images to {fitting}."
        )
    return shape, factor


def _band_mtf(band_mtf: Any, bands: int) -> np.ndarray:
    values = _each_band("band_mtf", band_mtf, bands)
    if not ((values > 0) & (values <= 1)).all():
        raise ArgumentError(
            f"band_mtf is {band_mtf!r}; expected numbers above 0 and at most 1. Pass the modulation transfer at the "
            "Nyquist frequency of the coarse bands."
        )
    return values


def _pan_response(pan_response: Any, bands: int) -> np.ndarray:
    values = _each_band("pan_response", 1.0 / bands if pan_response is None else pan_response, bands)
    if not values.any():
        raise ArgumentError("pan_response is zero everywhere; expected a weight for some band. Pass the response.")
    return values


def _each_band(name: str, given: Any, bands: int) -> np.ndarray:
    values = arrays.to_numpy(given)
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"{name} has dtype {values.dtype}; expected real numbers. Pass one for each band.")
    if values.shape not in ((), (bands,)):
        raise ShapeError(f"{name} has shape {values.shape}; expected {bands} numbers, one a band. Pass as many.")
    require_finite(name, values, "Pass a number for each band.")
    return np.array(np.broadcast_to(values, (bands,)), dtype=np.float64)
