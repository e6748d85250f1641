"""Means over the surroundings of each pixel."""

from __future__ import annotations

import numpy as np

from solvers import arrays
from solvers.arrays import Array


def local_mean(x: Array, reach: int) -> Array:
    """Mean over squares of ``2 reach + 1`` pixels of the last two axes, cut at the borders; with gradients."""
    x = _along_rows(x, reach)
    return arrays.namespace(x).swapaxes(_along_rows(arrays.namespace(x).swapaxes(x, -1, -2), reach), -1, -2)


def _along_rows(x: Array, reach: int) -> Array:
    xp, positions = arrays.namespace(x), np.arange(x.shape[-1])
    low, high = np.maximum(positions - reach, 0), np.minimum(positions + reach + 1, x.shape[-1])
    sums = xp.concatenate([0 * x[..., :1], xp.cumsum(x, -1)], -1)
    return (sums[..., high] - sums[..., low]) / arrays.asarray(high - low, x)
