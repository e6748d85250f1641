"""Blur by a known point spread function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from recon.operators._constants import Constant
from recon.operators._fourier import filter_half, half
from recon.operators.base import LinearOperator
from recon.operators.pointwise import Crop, Identity
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OptionError, ShapeError, suggestion
from solvers.step_sizes import TIGHTNESS, lanczos_norm
from solvers.validation import require_finite, shape_argument


class Blur(LinearOperator):
    r"""Convolution with a point spread function (PSF): ``y[i] = sum_j psf[j] x[i - j + c]``.

    The centre ``c`` of the PSF is ``k // 2`` on an axis of ``k`` entries, and a periodic blur equals
    ``scipy.ndimage.convolve(x, psf, mode="wrap")``. The PSF is used as given: it keeps the brightness of the image if
    it sums to one.

    Parameters
    ----------
    psf : array
        Real point spread function, one axis for each axis of ``shape``.
    shape : tuple of int
        Shape of the measurement, in pixels.
    boundary : {"periodic", "unknown"}
        ``periodic``: the image wraps around; it has the shape of the measurement, and everything is closed form.
        ``unknown``: nothing is assumed about what lies outside the frame. The image is larger than the measurement by
        at least ``psf.shape - 1`` (rounded up to a length with a fast transform) and only what was seen is modelled,
        ``y = crop(psf * x)``; ``x[..., *A.interior]`` is the part of the image in the measurement's frame.

    Attributes
    ----------
    interior : tuple of slice
        Where the measurement's frame lies in the image.

    Raises
    ------
    ShapeError
        The PSF has another number of axes than ``shape``, or is larger.
    DTypeError, NonFiniteError, ArgumentError
        The PSF is complex, holds NaN, or is zero everywhere.

    References
    ----------
    M. S. C. Almeida, M. A. T. Figueiredo, "Deconvolving images with unknown boundaries using the alternating direction
    method of multipliers", IEEE Trans. Image Process. 22 (2013).

    Examples
    --------
    >>> A = Blur(np.full((3, 3), 1 / 9), shape=(64, 64))
    >>> A(np.ones((64, 64))).round(6).max(), round(A.norm(), 6)
    (np.float64(1.0), 1.0)
    """

    def __init__(self, psf: Any, shape: Sequence[int], boundary: Literal["periodic", "unknown"] = "periodic"):
        shape = shape_argument("shape", shape)
        self.psf = point_spread_function(psf, shape)
        if boundary not in ("periodic", "unknown"):
            raise OptionError(
                f"boundary is {boundary!r}; expected 'periodic' or 'unknown'."
                f"{suggestion(boundary, ('periodic', 'unknown'))} Pass one of them."
            )
        self.boundary = boundary
        if boundary == "periodic":
            super().__init__(shape, shape)
            self.interior = tuple(slice(0, n) for n in shape)
            self._set_spectrum(psf_spectrum(self.psf, shape))
        else:
            super().__init__(_extended(shape, self.psf.shape), shape)
            before = [k - 1 - k // 2 for k in self.psf.shape]
            self.interior = tuple(slice(start, start + n) for start, n in zip(before, shape, strict=True))
            self._crop, self._blur = Crop(self.in_shape, self.interior), Blur(self.psf, self.in_shape)

    def _set_spectrum(self, spectrum: np.ndarray) -> None:
        self._gram = np.square(spectrum.real) + np.square(spectrum.imag)
        self._response = Constant(half(spectrum))
        self._response_conj = Constant(half(spectrum).conj())
        self._response_gram = Constant(half(self._gram))

    def _filter(self, x: Array, response: Constant) -> Array:
        return filter_half(x, response.like(x), len(self.in_shape))

    def _apply(self, x: Array) -> Array:
        if self.boundary == "unknown":
            return self._crop._apply(self._blur._apply(x))
        return self._filter(x, self._response)

    def _adjoint(self, y: Array) -> Array:
        if self.boundary == "unknown":
            return self._blur._adjoint(self._crop._adjoint(y))
        return self._filter(y, self._response_conj)

    def gram(self, x: Array) -> Array:
        if self.boundary == "unknown":
            return super().gram(x)
        return self._filter(self._admit(x, "x", self.in_shape), self._response_gram)

    def transfer(self) -> np.ndarray | None:
        return psf_spectrum(self.psf, self.in_shape) if self.boundary == "periodic" else None

    def fourier_gram(self) -> np.ndarray | None:
        return self._gram if self.boundary == "periodic" else None

    def norm(self) -> float:
        return math.sqrt(float(self._gram.max())) if self.boundary == "periodic" else self._certified_norm

    def _iterate_norm(self) -> float:
        upper = self._blur.norm()
        if upper <= TIGHTNESS * self._reached():
            return upper
        return lanczos_norm(self.gram, self.in_shape, upper=upper)

    def _reached(self) -> float:
        """Lower bound of the norm, from the strongest frequency under a window that fades out towards the edges."""
        peak = np.unravel_index(np.argmax(self._blur._gram), self.in_shape)
        wave = np.ones((), dtype=complex)
        for n, k in zip(self.in_shape, peak, strict=True):
            i = np.arange(n) + 0.5
            wave = np.multiply.outer(wave, np.sin(np.pi * i / n) * np.exp(2j * np.pi * k * i / n))
        return float(np.linalg.norm(self(wave)) / np.linalg.norm(wave))

    @property
    def has_solve_shifted(self) -> bool:
        return self.boundary == "periodic"

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        if self.boundary == "unknown":
            return LinearOperator._solve_shifted(self, b, rho)
        return filter_half(b, 1.0 / (self._response_gram.like(b) + rho), len(self.in_shape))

    def factors(self) -> tuple[LinearOperator, LinearOperator]:
        if self.boundary == "unknown":
            return self._crop, self._blur
        return Identity(self.out_shape), self

    def __repr__(self) -> str:
        return f"Blur({self.out_shape}, psf {self.psf.shape}, boundary={self.boundary!r})"


def _extended(shape: tuple[int, ...], support: tuple[int, ...]) -> tuple[int, ...]:
    from scipy.fft import next_fast_len

    # 542 = 2 x 271 takes eight times as long to transform as 550; the pixels added are seen by no measurement.
    return tuple(n if k == 1 else next_fast_len(n + k - 1) for n, k in zip(shape, support, strict=True))


def point_spread_function(psf: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a PSF as float64, or say what is wrong with it."""
    values = arrays.to_numpy(psf)
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"psf has dtype {values.dtype}; expected real numbers. Pass a real array, such as psf.real.")
    if values.ndim != len(shape):
        raise ShapeError(
            f"psf has {values.ndim} axes, shape {values.shape}; expected {len(shape)}, one for each axis of shape "
            f"{shape}. Reshape the psf; bands and slices are leading axes of x and share it."
        )
    require_finite("psf", values, "Crop or replace them; a psf is measured or modelled everywhere.")
    if values.size == 0 or any(k > n for k, n in zip(values.shape, shape, strict=True)):
        raise ShapeError(
            f"psf has shape {values.shape}; expected at least one entry and at most {shape}, the shape of the image. "
            "Crop the psf around its peak."
        )
    if not values.any():
        raise ArgumentError("psf is zero everywhere; expected at least one entry that is not. Pass the measured psf.")
    return values.astype(np.float64)


def psf_spectrum(psf: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Spectrum of a PSF, its centre at the origin, over the full grid of ``shape`` (complex128, FFT order)."""
    grid = np.zeros(shape)
    grid[tuple(slice(0, k) for k in psf.shape)] = psf
    centred = np.roll(grid, [-(k // 2) for k in psf.shape], axis=range(psf.ndim))
    return arrays.fftn(centred, tuple(range(-len(shape), 0)))
