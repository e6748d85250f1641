"""Numba kernels of the direct and the separable convolution.

Images are (batch, depth, rows, columns), already extended beyond their borders, so that no kernel asks where it is. A
tap is an offset into the extended image and its weight. Every task owns one row of the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

GROUP = 4
"""Taps that one pass of the inner loop adds up, to load and store the sum less often."""

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}


@njit(**_FAST)
def _add_four(out: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, w: np.ndarray) -> None:
    """``out += w[0] * a + w[1] * b + w[2] * c + w[3] * d``."""
    wa, wb, wc, wd = w[0], w[1], w[2], w[3]
    for t in range(out.size):
        out[t] += (wa * a[t] + wb * b[t]) + (wc * c[t] + wd * d[t])


@njit(**_FAST)
def _sum_rows(image: np.ndarray, z: int, y: int, offsets: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """``out[t] = sum_k weights[k] * image[(z, y, t) + offsets[k]]``; a multiple of GROUP taps."""
    n = out.size
    out[:] = 0
    for k in range(0, weights.size, GROUP):
        a, b, c, d = offsets[k], offsets[k + 1], offsets[k + 2], offsets[k + 3]
        _add_four(
            out,
            image[z + a[0], y + a[1], a[2] : a[2] + n],
            image[z + b[0], y + b[1], b[2] : b[2] + n],
            image[z + c[0], y + c[1], c[2] : c[2] + n],
            image[z + d[0], y + d[1], d[2] : d[2] + n],
            weights[k : k + GROUP],
        )


@njit(**_FAST)
def _place(row: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Batch, depth and row of the ``row``-th row of an array of ``shape``."""
    return row // (shape[1] * shape[2]), row // shape[2] % shape[1], row % shape[2]


@njit(**_FAST)
def direct_job(
    job: int, block: int, images: np.ndarray, offsets: np.ndarray, weights: np.ndarray, out: np.ndarray
) -> None:
    """Each row of ``out`` as the sum over all taps."""
    for task in range(job * block, min((job + 1) * block, out.shape[0] * out.shape[1] * out.shape[2])):
        item, z, y = _place(task, out.shape)
        _sum_rows(images[item], z, y, offsets, weights, out[item, z, y])


@njit(**_FAST)
def separable_job(
    job: int,
    block: int,
    images: np.ndarray,
    down: np.ndarray,
    down_weights: np.ndarray,
    along: np.ndarray,
    along_weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Each row of ``out``: taps ``down`` the rows into one that stays in the cache, then taps ``along`` that one."""
    row = np.empty((1, 1, images.shape[3]), images.dtype)
    for task in range(job * block, min((job + 1) * block, out.shape[0] * out.shape[1] * out.shape[2])):
        item, z, y = _place(task, out.shape)
        _sum_rows(images[item], z, y, down, down_weights, row[0, 0])
        _sum_rows(row, 0, 0, along, along_weights, out[item, z, y])
