"""Blur and decimation with reflecting borders, in the cosine transform.

A pixel of the coarse image stands at the centre of its block, where the cosines of the fine grid are those of the
coarse one: frequency ``k = 2 p n + j`` or ``2 p n - j`` reads ``(-1)^p`` times frequency ``j`` of ``n``, and the odd
multiples of ``n`` vanish. Decimation is hence a sum over aliases, for even and odd factors alike.
"""

from __future__ import annotations

import math

import numpy as np

from recon.operators._cosine_rows import cosine, inverse_cosine
from solvers import arrays
from solvers.arrays import Array


def cosine_2d(x: Array) -> Array:
    """Orthonormal cosine transform of the last two axes."""
    return cosine(cosine(x).swapaxes(-1, -2)).swapaxes(-1, -2)


def inverse_cosine_2d(x: Array) -> Array:
    """Inverse, and adjoint, of :func:`cosine_2d`."""
    return inverse_cosine(inverse_cosine(x).swapaxes(-1, -2)).swapaxes(-1, -2)


def alias_weights(n: int, factor: int) -> np.ndarray:
    """What each fine frequency of one axis adds to the coarse one that it reads as, ``n`` of these."""
    k = np.arange(n * factor)
    turns = (k + n) // (2 * n)  # p of the coarse frequency nearest to k / 2n
    j = np.abs(k - 2 * n * turns)
    # The constant has another norm than the cosines, on either grid.
    norms = np.where(k == 0, 1.0, math.sqrt(2.0)) / np.where(j == 0, 1.0, math.sqrt(2.0)) / math.sqrt(factor)
    return np.where(j == n, 0.0, (-1.0) ** turns * norms)


def fold(spectrum: Array, factor: int) -> Array:
    """Sum over the aliases of the last two axes; their weights are in the spectrum already."""
    return _fold_last(_fold_last(spectrum, factor).swapaxes(-1, -2), factor).swapaxes(-1, -2)


def unfold(spectrum: Array, factor: int) -> Array:
    """Adjoint of :func:`fold`: every alias gets a copy."""
    return _unfold_last(_unfold_last(spectrum, factor).swapaxes(-1, -2), factor).swapaxes(-1, -2)


def _fold_last(spectrum: Array, factor: int) -> Array:
    n = spectrum.shape[-1] // factor
    xp = arrays.namespace(spectrum)
    total = spectrum[..., :n]
    for p in range(1, factor):
        part = spectrum[..., p * n : (p + 1) * n]
        total = total + (part if p % 2 == 0 else xp.roll(_reversed(part), 1, -1))
    return total


def _unfold_last(spectrum: Array, factor: int) -> Array:
    xp = arrays.namespace(spectrum)
    mirrored = _reversed(xp.roll(spectrum, -1, -1))
    return xp.concatenate([spectrum if p % 2 == 0 else mirrored for p in range(factor)], -1)


def _reversed(part: Array) -> Array:
    return part.flip(-1) if arrays.is_torch(part) else part[..., ::-1]
