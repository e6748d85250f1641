"""The Walsh-Hadamard transform of numpy arrays and tensors, and the orders its rows are counted in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from recon.operators._fourier import as_complex
from solvers import arrays
from solvers.arrays import Array


def hadamard(x: Array) -> Array:
    """``H x`` along the last axis, orthonormal, in natural order; its length is a power of two."""
    if arrays.is_complex(x):
        return as_complex(hadamard(x.real), hadamard(x.imag))
    scale = 1.0 / math.sqrt(x.shape[-1])
    if arrays.is_torch(x):
        return scale * _butterflies(x)
    from recon.operators._hadamard_numba import fwht

    return fwht(x.reshape(-1, x.shape[-1]), scale).reshape(x.shape)


def _butterflies(x: Array) -> Array:
    n, h = x.shape[-1], 1
    out, xp = x, arrays.namespace(x)
    while h < n:
        pairs = out.reshape((*x.shape[:-1], n // (2 * h), 2, h))
        low, high = pairs[..., 0, :], pairs[..., 1, :]
        out = xp.stack((low + high, low - high), -2).reshape(x.shape)
        h *= 2
    return out


def sequency(n: int) -> np.ndarray:
    """Changes of sign along each row of the Hadamard matrix in natural order: the Gray code of the reversed bits."""
    bits = n.bit_length() - 1
    index = np.arange(n)
    code = np.zeros(n, dtype=np.int64)
    for bit in range(bits):
        code |= ((index >> bit) & 1) << (bits - 1 - bit)
    for step in (1, 2, 4, 8, 16, 32):
        code ^= code >> step
    return code


def image_sequency(shape: Sequence[int]) -> np.ndarray:
    """Changes of sign a pixel of each pattern of ``shape``, summed over the axes and flattened in natural order."""
    total = np.zeros(())
    for n in shape:
        total = np.add.outer(total, sequency(n) / n)
    return total.reshape(-1)


def is_power_of_two(n: int) -> bool:
    """Whether the transform has this length."""
    return n & (n - 1) == 0
