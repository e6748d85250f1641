"""Numba kernels of a residual U-Net for inference, its 3 x 3 convolutions by Winograd's minimal filtering.

Images are flat, (rows, columns, channels), with a border of zeros: one pixel before the image, and after it as many as
fill the last tile and one more. Every kernel keeps the zeros, so no convolution asks where the image ends. A job owns
the tiles or rows that it writes, and a row of each scratch array, which a strip of tiles goes through without leaving
the cache: ``v`` for transformed inputs, in the arithmetic of the weights, and ``m`` for products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from priors._winograd_tiles import IN, OUT, RUNS, TILES, narrow_products, products, tile_above, tile_added, tile_in
from solvers.lanes import LANES

STRIP = 24
"""Tiles whose transforms are in the cache together, a multiple of TILES."""

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}

Shape = tuple[int, int]


@njit(**_FAST)
def _pitch(columns: int) -> int:
    """Pixels from one row of an image to the next."""
    return OUT * ((columns + OUT - 1) // OUT) + 2


def image_size(shape: Shape, width: int) -> int:
    """Numbers of an image with its border, and what the last products read beyond it."""
    rows, columns = (OUT * -(-length // OUT) + 2 for length in shape)
    return (rows * columns + 2 * TILES) * width


def jobs(shape: Shape, most: int) -> int:
    """How many jobs an image makes: the products of one have TILES tiles at least."""
    tiles = -(-shape[0] // OUT) * -(-shape[1] // OUT)
    return max(1, min(most, tiles // TILES))


def inputs_size(width: int) -> int:
    """Numbers of v for one job: the transforms of a strip."""
    return IN * IN * (STRIP * width + LANES)


def products_size(shape: Shape, width: int) -> int:
    """Numbers of m for one job: products of a strip of ``width`` channels, or of a row of coarse pixels with twice."""
    return max(inputs_size(width), 2 * width * (shape[1] + TILES))


@njit(**_FAST)
def _multiply(
    v: np.ndarray, at: int, v_step: int, u: np.ndarray, u_at: int, depth: int,
    m: np.ndarray, to: int, outputs: int, count: int, first: bool,
) -> None:  # fmt: skip
    """``m[t, o] (+)= sum_k v[t, k] u[k, o]`` for t below ``count``, and on to the next multiple of TILES."""
    wide = RUNS * LANES
    if outputs % wide == 0:
        for o in range(0, outputs, wide):
            for t in range(0, count, TILES):
                start = to + t * outputs + o
                products(v, at + t * v_step, v_step, u, u_at + o * depth, depth, m, start, outputs, first)
    else:
        for o in range(0, outputs, LANES):
            for t in range(0, count, TILES):
                start = to + t * outputs + o
                narrow_products(v, at + t * v_step, v_step, u, u_at + o * depth, depth, m, start, outputs, first)


@njit(**_FAST)
def _clear_outside(y: np.ndarray, first_row: int, first_column: int, shape: Shape, width: int) -> None:
    """Zeros where a tile reaches beyond the image."""
    for row in range(first_row, first_row + OUT):
        for column in range(first_column, first_column + OUT):
            if row >= shape[0] or column >= shape[1]:
                at = ((row + 1) * _pitch(shape[1]) + column + 1) * width
                for c in range(width):
                    y[at + c] = 0


@njit(**_FAST)
def convolve(
    k: int, jobs: int, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, m: np.ndarray,
    shape: Shape, widths: Shape, depth: int, add: bool, low: float,
) -> None:  # fmt: skip
    """``y = max(w * x, low)``, or ``y += w * x``: 3 x 3, transformed weights u of the first ``depth`` channels of x."""
    inputs, outputs = widths
    inside, sums, pitch, across = v[k], m[k], _pitch(shape[1]), (shape[1] + OUT - 1) // OUT
    tiles = (shape[0] + OUT - 1) // OUT * across
    v_step, m_step = STRIP * inputs + LANES, STRIP * outputs + LANES  # LANES: out of step with the cache's own strides
    end = tiles * (k + 1) // jobs
    for first in range(tiles * k // jobs, end, STRIP):
        count = min(STRIP, end - first)
        for t in range(count):
            at = OUT * ((first + t) // across * pitch + (first + t) % across) * inputs
            for c in range(0, inputs, LANES):
                tile_in(x, at + c, pitch * inputs, inputs, inside, t * inputs + c, v_step)
        for q in range(IN * IN):
            at = q * depth * outputs
            _multiply(inside, q * v_step, inputs, u, at, depth, sums, q * m_step, outputs, count, True)
        for t in range(count):
            row, column = OUT * ((first + t) // across), OUT * ((first + t) % across)
            to = ((row + 1) * pitch + column + 1) * outputs
            for c in range(0, outputs, LANES):
                if add:
                    tile_added(sums, t * outputs + c, m_step, y, to + c, pitch * outputs, outputs, low)
                else:
                    tile_above(sums, t * outputs + c, m_step, y, to + c, pitch * outputs, outputs, low)
            if row + OUT > shape[0] or column + OUT > shape[1]:
                _clear_outside(y, row, column, shape, outputs)


@njit(**_FAST)
def halve(
    k: int, jobs: int, x: np.ndarray, y: np.ndarray, u: np.ndarray, m: np.ndarray, shape: Shape, widths: Shape
) -> None:
    """A coarse image y of ``shape`` from 2 x 2 pixels of x each."""
    inputs, outputs = widths
    sums, pitch, fine_pitch = m[k], _pitch(shape[1]), _pitch(2 * shape[1])
    depth = 2 * inputs
    for row in range(shape[0] * k // jobs, shape[0] * (k + 1) // jobs):
        for i in range(2):
            at = ((2 * row + i + 1) * fine_pitch + 1) * inputs
            _multiply(x, at, depth, u, i * depth * outputs, depth, sums, 0, outputs, shape[1], i == 0)
        to = ((row + 1) * pitch + 1) * outputs
        for c in range(shape[1] * outputs):
            y[to + c] = sums[c]


@njit(**_FAST)
def double(
    k: int, jobs: int, x: np.ndarray, y: np.ndarray, u: np.ndarray, m: np.ndarray, shape: Shape, widths: Shape
) -> None:
    """Add 2 x 2 pixels of y for each of a coarse image x of ``shape``."""
    inputs, outputs = widths
    sums, pitch, fine_pitch = m[k], _pitch(shape[1]), _pitch(2 * shape[1])
    pair = 2 * outputs
    for row in range(shape[0] * k // jobs, shape[0] * (k + 1) // jobs):
        at = ((row + 1) * pitch + 1) * inputs
        for i in range(2):
            _multiply(x, at, inputs, u, i * inputs * pair, inputs, sums, 0, pair, shape[1], True)
            to = ((2 * row + i + 1) * fine_pitch + 1) * outputs
            for c in range(shape[1] * pair):
                y[to + c] += sums[c]


@njit(**_FAST)
def _inside(i: int, size: int) -> int:
    """A position, mirrored at the end of the last pixel."""
    return i if i < size else max(2 * size - 1 - i, 0)


@njit(**_FAST)
def read_pixels(k: int, jobs: int, image: np.ndarray, level: float, y: np.ndarray, shape: Shape) -> None:
    """Blocks of 2 x 2 pixels and the noise level as LANES channels; beyond its end the image is mirrored."""
    channels, rows, columns = image.shape
    for i in range(shape[0] * k // jobs, shape[0] * (k + 1) // jobs):
        for j in range(shape[1]):
            at = ((i + 1) * _pitch(shape[1]) + j + 1) * LANES
            for c in range(channels):
                for pixel in range(4):
                    row, column = _inside(2 * i + pixel // 2, rows), _inside(2 * j + pixel % 2, columns)
                    y[at + 4 * c + pixel] = image[c, row, column]
            y[at + 4 * channels] = level


@njit(**_FAST)
def write_pixels(k: int, jobs: int, x: np.ndarray, image: np.ndarray, shape: Shape) -> None:
    """The image whose blocks of 2 x 2 pixels are the first of LANES channels."""
    channels, rows, columns = image.shape
    for i in range(shape[0] * k // jobs, shape[0] * (k + 1) // jobs):
        for c in range(channels):
            for row in range(2 * i, min(2 * i + 2, rows)):
                for column in range(columns):
                    at = ((i + 1) * _pitch(shape[1]) + column // 2 + 1) * LANES
                    image[c, row, column] = x[at + 4 * c + 2 * (row % 2) + column % 2]
