"""The ways a blur is computed: by transforms of the image, one for each boundary, or as a sum that the PSF makes.

Each has ``forward`` and ``adjoint`` on the trailing axes. Transforms also have ``gram`` and, where they make the normal
operator diagonal, ``eigenvalues`` and ``solve``.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from recon.operators._borders import Mode, extend, fold
from recon.operators._constants import Constant
from recon.operators._convolution import Convolution
from recon.operators._cosine_filter import cosine_response, filter_cosine
from recon.operators._fourier import half
from recon.operators._spectra import blank_outside, filter_image
from recon.operators.pointwise import embed, window
from solvers import arrays
from solvers.arrays import Array

Boundary = Literal["periodic", "reflecting", "unknown"]
BOUNDARIES = ("periodic", "reflecting", "unknown")


def reach(psf: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many pixels the convolution reads before and after a pixel, for each axis."""
    return tuple(k - 1 - k // 2 for k in psf.shape), tuple(k // 2 for k in psf.shape)


def psf_spectrum(psf: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Spectrum of a PSF, its centre at the origin, over the full grid of ``shape`` (complex128, FFT order)."""
    grid = np.zeros(shape)
    grid[tuple(slice(0, k) for k in psf.shape)] = psf
    centred = np.roll(grid, [-(k // 2) for k in psf.shape], axis=range(psf.ndim))
    return arrays.fftn(centred, tuple(range(-len(shape), 0)))


class Periodic:
    """A product in the Fourier transform."""

    def __init__(self, spectrum: np.ndarray):
        self.ndim = spectrum.ndim
        self.eigenvalues = np.square(spectrum.real) + np.square(spectrum.imag)
        self._response = Constant(half(spectrum))
        self._response_conj = Constant(half(spectrum).conj())
        self._response_gram = Constant(half(self.eigenvalues))

    def forward(self, x: Array) -> Array:
        return filter_image(x, self._response.like(x), self.ndim)

    def adjoint(self, y: Array) -> Array:
        return filter_image(y, self._response_conj.like(y), self.ndim)

    def gram(self, x: Array) -> Array:
        return filter_image(x, self._response_gram.like(x), self.ndim)

    def solve(self, b: Array, rho: Any) -> Array:
        return filter_image(b, 1.0 / (self._response_gram.like(b) + rho), self.ndim)


class Cosine:
    """Reflecting borders, a PSF symmetric along each axis: a product in the cosine transform."""

    def __init__(self, psf: np.ndarray, shape: tuple[int, ...]):
        response = cosine_response(psf, shape)
        self.ndim = psf.ndim
        self.eigenvalues = np.square(response)
        self._response, self._response_gram = Constant(response), Constant(self.eigenvalues)

    def forward(self, x: Array) -> Array:
        return filter_cosine(x, self._response.like(x), self.ndim)

    adjoint = forward

    def gram(self, x: Array) -> Array:
        return filter_cosine(x, self._response_gram.like(x), self.ndim)

    def solve(self, b: Array, rho: Any) -> Array:
        return filter_cosine(b, 1.0 / (self._response_gram.like(b) + rho), self.ndim)


class Reflecting:
    """Reflecting borders, any PSF: the image is extended, and the frame cut from a periodic blur."""

    def __init__(self, psf: np.ndarray, shape: tuple[int, ...]):
        self._grid = extended(shape, psf.shape)
        self._frame = centred_frame(shape, psf)
        self._margins = margins(self._frame, self._grid)
        self._periodic = Periodic(psf_spectrum(psf, self._grid))

    def forward(self, x: Array) -> Array:
        return window(self._whole(x), self._frame)

    def adjoint(self, y: Array) -> Array:
        return self._back(embed(y, self._grid, self._frame))

    def gram(self, x: Array) -> Array:
        return self._back(blank_outside(self._whole(x), self._frame))

    def _whole(self, x: Array) -> Array:
        return self._periodic.forward(extend(x, *self._margins, "symmetric"))

    def _back(self, image: Array) -> Array:
        image = self._periodic.adjoint(image)  # frees the one given
        return fold(image, *self._margins, "symmetric")


class Unknown:
    """The frame cut from a periodic blur of a larger image."""

    def __init__(self, periodic: Periodic, grid: tuple[int, ...], frame: tuple[slice, ...]):
        self._periodic, self._grid, self._frame = periodic, grid, frame

    def forward(self, x: Array) -> Array:
        return window(self._periodic.forward(x), self._frame)

    def adjoint(self, y: Array) -> Array:
        return self._periodic.adjoint(embed(y, self._grid, self._frame))

    def gram(self, x: Array) -> Array:
        return self._periodic.adjoint(blank_outside(self._periodic.forward(x), self._frame))


class BorderedSum:
    """A sum over the entries or the rows of the PSF, of an image extended as the boundary says; numpy arrays."""

    def __init__(
        self,
        convolution: Convolution,
        reach: tuple[tuple[int, ...], tuple[int, ...]],
        shapes: tuple[tuple[int, ...], tuple[int, ...]],
        boundary: Boundary,
    ):
        self._convolution, self._reach, self._boundary = convolution, reach, boundary
        self._in_shape, shape = shapes
        self._margin = tuple(b + a for b, a in zip(*reach, strict=True))
        # Of an image for unknown borders, the pixels that rounding up its size has added are not read.
        self._seen = tuple(slice(0, n + margin) for n, margin in zip(shape, self._margin, strict=True))

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self._boundary == "unknown":
            return self._convolution.valid(window(x, self._seen))
        mode: Mode = "wrap" if self._boundary == "periodic" else "symmetric"
        return self._convolution.valid(extend(x, *self._reach, mode))

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        before, after = self._reach
        if self._boundary == "periodic":
            return self._convolution.mirrored_valid(extend(y, after, before, "wrap"))
        if self._boundary == "reflecting":
            return fold(self._beyond(y), before, after, "symmetric")  # frees what it is given
        return embed(self._beyond(y), self._in_shape, self._seen)

    def _beyond(self, y: np.ndarray) -> np.ndarray:
        """The adjoint of the convolution of an extended image."""
        return self._convolution.mirrored_valid(extend(y, self._margin, self._margin, "constant"))


def centred_frame(shape: tuple[int, ...], psf: np.ndarray) -> tuple[slice, ...]:
    """Where an image of ``shape`` lies in one that is extended by what the PSF reads."""
    return tuple(slice(b, b + n) for b, n in zip(reach(psf)[0], shape, strict=True))


def margins(frame: tuple[slice, ...], grid: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pixels of ``grid`` before and after ``frame``, for each axis."""
    return tuple(part.start for part in frame), tuple(n - part.stop for part, n in zip(frame, grid, strict=True))


def extended(shape: tuple[int, ...], support: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with room for all that a PSF of ``support`` reads beyond ``shape``."""
    from scipy.fft import next_fast_len

    # 542 = 2 x 271 takes eight times as long to transform as 550; the pixels added are seen by no measurement.
    return tuple(n if k == 1 else next_fast_len(n + k - 1) for n, k in zip(shape, support, strict=True))
