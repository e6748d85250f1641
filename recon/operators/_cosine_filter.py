"""Convolution with a symmetric kernel under reflecting borders: a product in the cosine transform (DCT-II)."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from recon.operators._cosine_rows import cosine, inverse_cosine
from recon.operators._fourier import as_complex
from solvers import arrays
from solvers.arrays import Array


def is_symmetric(psf: np.ndarray) -> bool:
    """Whether a PSF equals its mirror image about its centre ``k // 2`` along each axis, to rounding."""
    odd = np.pad(psf, [(0, 1 - k % 2) for k in psf.shape])
    limit = 8 * np.finfo(np.float64).eps * np.abs(psf).max()
    return all(np.abs(odd - np.flip(odd, axis)).max() <= limit for axis in range(psf.ndim))


def cosine_response(psf: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Factor of each cosine of an image of ``shape`` under convolution with a symmetric PSF."""

    def along(values: np.ndarray, n: int) -> np.ndarray:
        k = values.shape[0]  # the axis done moves to the end, so that all take their turn
        waves = np.cos(np.pi / n * np.outer(np.arange(k) - k // 2, np.arange(n)))
        return np.tensordot(values, waves, axes=(0, 0))

    return np.ascontiguousarray(reduce(along, shape, psf))


def filter_cosine(x: Array, response: Array, ndim: int) -> Array:
    """Multiply the cosine transform of the trailing ``ndim`` axes by ``response``."""
    if arrays.is_complex(x):
        return as_complex(filter_cosine(x.real, response, ndim), filter_cosine(x.imag, response, ndim))
    if arrays.is_torch(x):
        return _along_axes(inverse_cosine, _along_axes(cosine, x, ndim) * response, ndim)
    import scipy.fft

    axes, workers = tuple(range(-ndim, 0)), arrays.transform_threads(x)
    spectrum = scipy.fft.dctn(x, axes=axes, workers=workers)
    np.multiply(spectrum, response, out=spectrum)
    return scipy.fft.idctn(spectrum, axes=axes, workers=workers, overwrite_x=True)


def _along_axes(transform: Callable[[Array], Array], x: Array, ndim: int) -> Array:
    for axis in range(-ndim, 0):
        x = transform(x.movedim(axis, -1)).movedim(-1, axis)
    return x.contiguous()
