"""Half spectra of real images, with as few arrays at once as the arithmetic allows; numpy and torch alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from recon.operators._fourier import filter_half
from solvers import arrays
from solvers.arrays import Array

_ROWS = 64
"""Rows, of whatever dimension, of one block of an image."""


def filter_image(x: Array, response: Array, ndim: int) -> Array:
    """:func:`filter_half` with one array less, which is a quarter of the time of a large real image."""
    if arrays.is_torch(x) or arrays.is_complex(x):
        return filter_half(x, response, ndim)
    spectrum = times(arrays.rfftn(x, _axes(ndim)), response)
    return inverse_real(spectrum, tuple(x.shape[-ndim:]))


def times(spectrum: Array, factor: Array) -> Array:
    """The product, in place for numpy."""
    return spectrum * factor if arrays.is_torch(spectrum) else np.multiply(spectrum, factor, out=spectrum)


def times_conj(spectrum: Array, factor: Array) -> Array:
    """A new array, the product with the conjugate of ``factor``."""
    if arrays.is_torch(spectrum):
        return spectrum * factor.conj()
    out = np.conjugate(spectrum)
    np.multiply(out, factor, out=out)
    return np.conjugate(out, out=out)


def accumulate(total: Array, part: Array) -> Array:
    """The sum, written into ``part`` by numpy; ``total`` may be a scalar."""
    return total + part if arrays.is_torch(part) else np.add(total, part, out=part)


def inverse_real(spectrum: Array, shape: tuple[int, ...]) -> Array:
    """Inverse of :func:`solvers.arrays.rfftn` onto ``shape``; overwrites a numpy ``spectrum``."""
    if arrays.is_torch(spectrum):
        return arrays.irfftn(spectrum, shape, _axes(len(shape)))
    import scipy.fft

    spectrum = _inverse_but_last(spectrum, len(shape))
    return scipy.fft.irfft(spectrum, n=shape[-1], axis=-1, workers=arrays.transform_threads(spectrum))


def weighted_spectrum(x: Array, weights: Array) -> Array:
    """Half spectrum of ``weights * x``; numpy forms the product a block at a time."""
    ndim = weights.ndim
    if arrays.is_torch(x) or ndim == 1:
        return arrays.rfftn(x * weights, _axes(ndim))
    import scipy.fft

    workers = arrays.transform_threads(x)
    out: Any = np.empty((*x.shape[:-1], x.shape[-1] // 2 + 1), arrays.complex_dtype(x))
    for block in _blocks(weights.shape):
        out[(..., *block)] = scipy.fft.rfft(x[(..., *block)] * weights[block], axis=-1, workers=workers)
    return scipy.fft.fftn(out, axes=_axes(ndim)[:-1], overwrite_x=True, workers=workers)


def add_weighted_image(total: Array | None, spectrum: Array, weights: Array) -> Array:
    """``total`` plus ``weights`` times the image of a half spectrum; numpy overwrites both."""
    shape = tuple(weights.shape)
    if arrays.is_torch(spectrum) or len(shape) == 1:
        part = inverse_real(spectrum, shape) * weights
        return part if total is None else total + part
    import scipy.fft

    workers = arrays.transform_threads(spectrum)
    out: Any = np.zeros((*spectrum.shape[:-1], shape[-1]), spectrum.real.dtype) if total is None else total
    spectrum = _inverse_but_last(spectrum, len(shape))
    for block in _blocks(shape):
        rows = scipy.fft.irfft(spectrum[(..., *block)], n=shape[-1], axis=-1, workers=workers)
        out[(..., *block)] += rows * weights[block]
    return out


def blank_outside(image: Array, frame: tuple[slice, ...]) -> Array:
    """``image`` with zeros, in place, outside ``frame`` on the trailing axes."""
    for axis, part in enumerate(frame):
        after = (slice(None),) * (len(frame) - axis - 1)
        image[(..., slice(0, part.start), *after)] = 0
        image[(..., slice(part.stop, None), *after)] = 0
    return image


def _inverse_but_last(spectrum: Any, ndim: int) -> Any:
    import scipy.fft

    if ndim == 1:
        return spectrum
    workers = arrays.transform_threads(spectrum)
    return scipy.fft.ifftn(spectrum, axes=_axes(ndim)[:-1], overwrite_x=True, workers=workers)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    for start in range(0, shape[0], _ROWS):
        yield (slice(start, start + _ROWS), *(slice(None),) * (len(shape) - 1))


def _axes(ndim: int) -> tuple[int, ...]:
    return tuple(range(-ndim, 0))
