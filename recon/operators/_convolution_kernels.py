"""Numba kernels of the convolutions that are sums: over entries of the PSF, or over its rows' transforms.

Images are (batch, depth, rows, columns), flattened and already extended beyond their borders, so that no kernel asks
where it is. Every task owns a band of rows of the result. The last band and the last tile of a row are moved back to
where they fit, and write some numbers a second time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from recon.operators._tap_sums import ROWS
from recon.operators._tile_sum import span, tile_sum
from solvers.lanes import LANES, load, splat, store, swapped

BAND = 8
"""Rows of the result for which a row's transform, once loaded, is used."""

SINGLE, DOUBLE = span(4), span(8)

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}

Shape = tuple[int, int, int, int]


@njit(**_FAST)
def _places(band: int, rows: int, shape: Shape, out_shape: Shape) -> tuple[int, int]:
    """Where the ``band``-th band of ``rows`` rows of the result begins, in the images and in the result."""
    bands = (out_shape[2] + rows - 1) // rows
    plane, y = band // bands, min(band % bands * rows, out_shape[2] - rows)
    item, z = plane // out_shape[1], plane % out_shape[1]
    return ((item * shape[1] + z) * shape[2] + y) * shape[3], (plane * out_shape[2] + y) * out_shape[3]


@njit(**_FAST)
def _count(rows: int, out_shape: Shape) -> int:
    """Bands of a result."""
    return out_shape[0] * out_shape[1] * ((out_shape[2] + rows - 1) // rows)


@njit(**_FAST)
def _sum_rows(
    images: np.ndarray,
    at: int,
    offsets: np.ndarray,
    weights: np.ndarray,
    out: np.ndarray,
    to: int,
    width: int,
) -> None:
    """ROWS rows of the result, ``width`` wide."""
    tile = SINGLE if images.itemsize == 4 else DOUBLE
    for first in range(0, width, tile):
        x = min(first, width - tile)
        tile_sum(images, at + x, offsets, weights, out, to + x, width)


@njit(**_FAST)
def direct_job(
    job: int,
    block: int,
    images: np.ndarray,
    shape: Shape,
    offsets: np.ndarray,
    weights: np.ndarray,
    out: np.ndarray,
    out_shape: Shape,
) -> None:
    """The sum over all stops."""
    for band in range(job * block, min((job + 1) * block, _count(ROWS, out_shape))):
        at, to = _places(band, ROWS, shape, out_shape)
        _sum_rows(images, at, offsets, weights, out, to, out_shape[3])


@njit(**_FAST)
def separable_job(
    job: int,
    block: int,
    images: np.ndarray,
    shape: Shape,
    down: np.ndarray,
    down_weights: np.ndarray,
    along: np.ndarray,
    along_weights: np.ndarray,
    out: np.ndarray,
    out_shape: Shape,
) -> None:
    """Stops ``down`` the rows into ones that stay in the cache, then stops ``along`` those."""
    rows = np.empty(ROWS * shape[3], images.dtype)
    for band in range(job * block, min((job + 1) * block, _count(ROWS, out_shape))):
        at, to = _places(band, ROWS, shape, out_shape)
        _sum_rows(images, at, down, down_weights, rows, 0, shape[3])
        _sum_rows(rows, 0, along, along_weights, out, to, out_shape[3])


@njit(**_FAST)
def _multiplied(x: Any, total: Any, real: Any, imaginary: Any) -> Any:
    """``total`` plus complex numbers x, their parts side by side, times others."""
    return total + real * x + imaginary * swapped(x)


@njit(**_FAST)
def _sum_transforms(
    images: np.ndarray,
    at: int,
    offsets: np.ndarray,
    real: np.ndarray,
    imaginary: np.ndarray,
    f: int,
    out: np.ndarray,
    to: int,
    width: int,
) -> None:
    """LANES numbers from ``f`` on of BAND rows of the result."""
    zero = splat(images.dtype.type(0))
    a, b, c, d, e, g, h, i = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(offsets.size):
        u, v = load(real, k * width + f), load(imaginary, k * width + f)
        x = at + f + offsets[k]
        a = _multiplied(load(images, x), a, u, v)
        b = _multiplied(load(images, x + width), b, u, v)
        c = _multiplied(load(images, x + 2 * width), c, u, v)
        d = _multiplied(load(images, x + 3 * width), d, u, v)
        e = _multiplied(load(images, x + 4 * width), e, u, v)
        g = _multiplied(load(images, x + 5 * width), g, u, v)
        h = _multiplied(load(images, x + 6 * width), h, u, v)
        i = _multiplied(load(images, x + 7 * width), i, u, v)
    to += f
    store(out, to, a)
    store(out, to + width, b)
    store(out, to + 2 * width, c)
    store(out, to + 3 * width, d)
    store(out, to + 4 * width, e)
    store(out, to + 5 * width, g)
    store(out, to + 6 * width, h)
    store(out, to + 7 * width, i)


@njit(**_FAST)
def sum_transforms(
    images: np.ndarray,
    shape: Shape,
    offsets: np.ndarray,
    real: np.ndarray,
    imaginary: np.ndarray,
    out: np.ndarray,
    out_shape: Shape,
) -> None:
    """The sum over rows of the PSF, each a product of transforms; all widths are the same."""
    width = out_shape[3]
    for band in range(_count(BAND, out_shape)):
        at, to = _places(band, BAND, shape, out_shape)
        for f in range(0, width, LANES):
            _sum_transforms(images, at, offsets, real, imaginary, min(f, width - LANES), out, to, width)
