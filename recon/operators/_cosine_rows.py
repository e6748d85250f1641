"""The orthonormal cosine transform (DCT-II) along the last axis, of numpy arrays and tensors."""

from __future__ import annotations

import math

import numpy as np

from recon.operators._fourier import as_complex
from solvers import arrays
from solvers.arrays import Array


def cosine(x: Array) -> Array:
    """``X[k] = sqrt((2 - [k = 0]) / n) sum_i x[i] cos(pi k (i + 1/2) / n)``."""
    if arrays.is_complex(x):
        return as_complex(cosine(x.real), cosine(x.imag))
    if not arrays.is_torch(x):
        import scipy.fft

        return scipy.fft.dct(x, axis=-1, norm="ortho", workers=arrays.transform_threads(x))
    xp = arrays.namespace(x)
    # Even samples forwards, odd ones backwards: the cosine transform is then a turned Fourier transform.
    folded = xp.cat((x[..., ::2], x[..., 1::2].flip(-1)), -1)
    return (xp.fft.fft(folded) * _turn(x)).real


def inverse_cosine(x: Array) -> Array:
    """The inverse of :func:`cosine`, and its adjoint."""
    if arrays.is_complex(x):
        return as_complex(inverse_cosine(x.real), inverse_cosine(x.imag))
    if not arrays.is_torch(x):
        import scipy.fft

        return scipy.fft.idct(x, axis=-1, norm="ortho", workers=arrays.transform_threads(x))
    xp, n = arrays.namespace(x), x.shape[-1]
    folded = n * xp.fft.ifft(x * _turn(x).conj()).real
    out = xp.empty_like(x)
    out[..., ::2], out[..., 1::2] = folded[..., : (n + 1) // 2], folded[..., (n + 1) // 2 :].flip(-1)
    return out


def _turn(x: Array) -> Array:
    k = np.arange(x.shape[-1])
    scale = np.where(k == 0, 1.0, math.sqrt(2.0)) / math.sqrt(x.shape[-1])
    return arrays.asarray(scale * np.exp(-0.5j * np.pi * k / x.shape[-1]), x)
