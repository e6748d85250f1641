"""Periodic convolution by its spectrum, for real and complex images alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array


def half(spectrum: Array) -> Array:
    """The frequencies that :func:`solvers.arrays.rfftn` keeps of a full grid."""
    return spectrum[..., : spectrum.shape[-1] // 2 + 1]


def filter_half(x: Array, response: Array, ndim: int) -> Array:
    """Convolve the trailing ``ndim`` axes with a real kernel, given half its spectrum in the precision of ``x``."""
    if arrays.is_complex(x):
        # A real kernel acts on the two parts alone; two half transforms cost what one full one does.
        return as_complex(filter_half(x.real, response, ndim), filter_half(x.imag, response, ndim))
    axes = tuple(range(-ndim, 0))
    spectrum = arrays.rfftn(x, axes)
    spectrum = spectrum * response if arrays.is_torch(x) else np.multiply(spectrum, response, out=spectrum)
    return arrays.irfftn(spectrum, tuple(x.shape[-ndim:]), axes)


def fourier_divide(b: Array, spectrum: Array, rho: Any) -> Array:
    """``b / (spectrum + rho)`` over the frequencies; ``spectrum`` covers the full grid of ``b``'s trailing axes."""
    ndim = spectrum.ndim
    if arrays.is_complex(b):
        axes = tuple(range(-ndim, 0))
        return arrays.fftn(arrays.fftn(b, axes) / (spectrum + rho), axes, inverse=True)
    return filter_half(b, 1.0 / (half(spectrum) + rho), ndim)


def of_real_images(spectrum: np.ndarray) -> np.ndarray:
    """Eigenvalues for real images, of which the real part is taken: the mean of those of opposite frequencies."""
    return 0.5 * (spectrum + np.roll(np.flip(spectrum), 1, axis=tuple(range(spectrum.ndim))))


def as_complex(real: Array, imag: Array) -> Array:
    """Join two real arrays."""
    if arrays.is_torch(real):
        return arrays.namespace(real).complex(real, imag)
    out = np.empty(real.shape, dtype=arrays.complex_dtype(real))
    out.real, out.imag = real, imag
    return out
