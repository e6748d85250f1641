"""Convolution with a Hermitian kernel twice as large as the image: what ``A^H A`` is for samples of a spectrum.

The periodic convolution on the doubled grid would transform an image that is three quarters zeros. Its even and its odd
frequencies along an axis are the transforms of the image itself and of the image times a phase. So every transform here
has the size of the image, and stays in the cache.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from solvers import arrays
from solvers.arrays import Array

BLOCK = 64
"""Columns or rows that are held on the doubled grid at once."""


class Toeplitz:
    """``z[m] = sum_n kernel[m - n] x[n]`` for ``m`` and ``n`` on the grid of the image.

    Parameters
    ----------
    kernel : ndarray of complex, shape (2 N_1, 2 N_2, ...)
        Lags ``-N`` to ``N - 1`` along each axis, with ``kernel[-l]`` the conjugate of ``kernel[l]``. The lag ``-N``
        does not occur and is ignored.
    """

    def __init__(self, kernel: np.ndarray):
        self.shape = tuple(n // 2 for n in kernel.shape)
        kernel = np.array(kernel)
        for axis in range(kernel.ndim):
            np.moveaxis(kernel, axis, 0)[0] = 0
        spectrum = np.fft.fftn(np.fft.ifftshift(kernel)).real / 2**kernel.ndim
        self._spectrum = Constant(_by_parity(spectrum))
        self._phases = [Constant(_half_turn(n, len(self.shape) - axis)) for axis, n in enumerate(self.shape)]
        self._conjugates = [Constant(phase.double.conj()) for phase in self._phases]

    def __call__(self, x: Array, *, workers: int = 1) -> Array:
        """Convolve the trailing axes of ``x``, which is complex and left alone."""
        return self._along(len(self.shape) - 1, x, self._spectrum.like(x), workers)

    def _along(self, axis: int, x: Array, spectrum: Array, workers: int) -> Array:
        """Filter the axes up to ``axis``; the last axis goes first, as fewer of its costlier transforms are needed."""
        if axis < 0:
            return _times(x, spectrum)
        at = axis - len(self.shape)
        parts = []
        for odd, filtered in zip((False, True), spectrum, strict=True):
            turn = _times if axis < len(self.shape) - 1 else operator.mul  # the first image is the caller's
            own = turn(x, self._phases[axis].like(x)) if odd else x
            part = self._along(axis - 1, _transform(own, at, workers, overwrite=odd), filtered, workers)
            parts.append(_transform(part, at, workers, inverse=True))
        return _plus(parts[0], _times(parts[1], self._conjugates[axis].like(x)))


class RealToeplitz:
    """:class:`Toeplitz` for real images of two axes, of which the real part is kept; numpy.

    Twice as quick: half a spectrum is enough, on a doubled grid of which one block of columns exists at a time.

    Parameters
    ----------
    kernel : ndarray of complex, shape (2 N_1, 2 N_2)
        As there.
    """

    def __init__(self, kernel: np.ndarray):
        from scipy.fft import next_fast_len

        self.shape = tuple(n // 2 for n in kernel.shape)
        self._grid = tuple(next_fast_len(n, real=True) for n in kernel.shape)
        places = [np.arange(1 - n, n) % length for n, length in zip(self.shape, self._grid, strict=True)]
        lags = np.zeros(self._grid)
        lags[np.ix_(*places)] = kernel.real[1:, 1:]
        self._spectrum = Constant(np.fft.rfft2(lags).real)  # real lags, alike in opposite directions

    def __call__(self, x: np.ndarray, *, workers: int = 1) -> np.ndarray:
        """Convolve the trailing axes of ``x``, which is left alone."""
        import scipy.fft

        response, (rows, columns), (high, wide) = self._spectrum.like(x), self.shape, self._grid
        spectra: Any = scipy.fft.rfft(x, wide, axis=-1, workers=workers)
        for first in range(0, spectra.shape[-1], BLOCK):
            part = (..., slice(first, first + BLOCK))
            some: Any = scipy.fft.fft(spectra[part], high, axis=-2, workers=workers)
            some *= response[part]
            spectra[part] = scipy.fft.ifft(some, axis=-2, overwrite_x=True, workers=workers)[..., :rows, :]
        out = np.empty(x.shape, x.dtype)
        for first in range(0, rows, BLOCK):
            band = (..., slice(first, first + BLOCK), slice(None))
            out[band] = scipy.fft.irfft(spectra[band], wide, axis=-1, workers=workers)[..., :columns]
        return out


def _by_parity(spectrum: np.ndarray) -> np.ndarray:
    """Even and odd frequencies apart: parities of the last axis first, then the frequencies."""
    ndim = spectrum.ndim
    halves = spectrum.reshape([n for length in spectrum.shape for n in (length // 2, 2)])
    return halves.transpose(*range(2 * ndim - 1, 0, -2), *range(0, 2 * ndim, 2))


def _half_turn(n: int, axes_left: int) -> np.ndarray:
    """``e^(-i pi k / n)`` along one axis, to be broadcast over those after it."""
    return np.exp(-1j * np.pi * np.arange(n) / n).reshape((n,) + (1,) * (axes_left - 1))


# Intermediate arrays belong to this module and are overwritten, except tensors, which a gradient may need.


def _transform(own: Array, axis: int, workers: int, *, inverse: bool = False, overwrite: bool = True) -> Array:
    if arrays.is_torch(own):
        return arrays.fftn(own, (axis,), inverse=inverse)
    import scipy.fft

    transform: Any = scipy.fft.ifft if inverse else scipy.fft.fft
    return transform(own, axis=axis, overwrite_x=overwrite, workers=workers)


def _times(own: Array, factor: Array) -> Array:
    return own * factor if arrays.is_torch(own) else np.multiply(own, factor, out=own)


def _plus(own: Array, other: Array) -> Array:
    return own + other if arrays.is_torch(own) else np.add(own, other, out=own)
