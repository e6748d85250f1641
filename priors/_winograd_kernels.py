"""Numba kernels of a residual U-Net for inference, its 3 x 3 convolutions by Winograd's minimal filtering.

Images are flat, (rows, columns, channels), with a border of zeros: one pixel before the image, and after it as many as
fill the last tile and one more. Every kernel keeps the zeros, so no convolution asks where the image ends. A kernel
does unit k of a step that is cut into several: the tiles or rows that it writes. Each thread has scratch arrays, which
a strip of tiles goes through without leaving the cache: ``v`` for transformed inputs, in the arithmetic of the weights,
and ``m`` for products. A network is a table of steps, which :func:`run` goes through.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from priors._winograd_tiles import IN, OUT, RUNS, TILES, narrow_products, products, tile_above, tile_added, tile_in
from solvers.lanes import LANES
from solvers.succession import all_done, claim, report

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


def units(shape: Shape, most: int) -> int:
    """Into how many units a step on an image is cut: the products of one have TILES tiles at least."""
    tiles = -(-shape[0] // OUT) * -(-shape[1] // OUT)
    return max(1, min(most, tiles // TILES))


def inputs_size(width: int) -> int:
    """Numbers of v for one thread: the transforms of a strip."""
    return IN * IN * (STRIP * width + LANES)


def products_size(shape: Shape, width: int) -> int:
    """Numbers of m for one thread: products of a strip of ``width`` channels, or of a coarse row with twice as many."""
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
    k: int, units: int, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray, m: np.ndarray,
    shape: Shape, widths: Shape, depth: int, add: bool, low: float,
) -> None:  # fmt: skip
    """``y = max(w * x, low)``, or ``y += w * x``: 3 x 3, transformed weights u of the first ``depth`` channels of x."""
    inputs, outputs = widths
    pitch, across = _pitch(shape[1]), (shape[1] + OUT - 1) // OUT
    tiles = (shape[0] + OUT - 1) // OUT * across
    v_step, m_step = STRIP * inputs + LANES, STRIP * outputs + LANES  # LANES: out of step with the cache's own strides
    end = tiles * (k + 1) // units
    for first in range(tiles * k // units, end, STRIP):
        count = min(STRIP, end - first)
        for t in range(count):
            at = OUT * ((first + t) // across * pitch + (first + t) % across) * inputs
            for c in range(0, inputs, LANES):
                tile_in(x, at + c, pitch * inputs, inputs, v, t * inputs + c, v_step)
        for q in range(IN * IN):
            at = q * depth * outputs
            _multiply(v, q * v_step, inputs, u, at, depth, m, q * m_step, outputs, count, True)
        for t in range(count):
            row, column = OUT * ((first + t) // across), OUT * ((first + t) % across)
            to = ((row + 1) * pitch + column + 1) * outputs
            for c in range(0, outputs, LANES):
                if add:
                    tile_added(m, t * outputs + c, m_step, y, to + c, pitch * outputs, outputs, low)
                else:
                    tile_above(m, t * outputs + c, m_step, y, to + c, pitch * outputs, outputs, low)
            if row + OUT > shape[0] or column + OUT > shape[1]:
                _clear_outside(y, row, column, shape, outputs)


@njit(**_FAST)
def halve(
    k: int, units: int, x: np.ndarray, y: np.ndarray, u: np.ndarray, m: np.ndarray, shape: Shape, widths: Shape
) -> None:
    """A coarse image y of ``shape`` from 2 x 2 pixels of x each."""
    inputs, outputs = widths
    pitch, fine_pitch = _pitch(shape[1]), _pitch(2 * shape[1])
    depth = 2 * inputs
    for row in range(shape[0] * k // units, shape[0] * (k + 1) // units):
        for i in range(2):
            at = ((2 * row + i + 1) * fine_pitch + 1) * inputs
            _multiply(x, at, depth, u, i * depth * outputs, depth, m, 0, outputs, shape[1], i == 0)
        to = ((row + 1) * pitch + 1) * outputs
        for c in range(shape[1] * outputs):
            y[to + c] = m[c]


@njit(**_FAST)
def double(
    k: int, units: int, x: np.ndarray, y: np.ndarray, u: np.ndarray, m: np.ndarray, shape: Shape, widths: Shape
) -> None:
    """Add 2 x 2 pixels of y for each of a coarse image x of ``shape``."""
    inputs, outputs = widths
    pitch, fine_pitch = _pitch(shape[1]), _pitch(2 * shape[1])
    pair = 2 * outputs
    for row in range(shape[0] * k // units, shape[0] * (k + 1) // units):
        at = ((row + 1) * pitch + 1) * inputs
        for i in range(2):
            _multiply(x, at, inputs, u, i * inputs * pair, inputs, m, 0, pair, shape[1], True)
            to = ((2 * row + i + 1) * fine_pitch + 1) * outputs
            for c in range(shape[1] * pair):
                y[to + c] += m[c]


@njit(**_FAST)
def _inside(i: int, size: int) -> int:
    """A position, mirrored at the end of the last pixel."""
    return i if i < size else max(2 * size - 1 - i, 0)


@njit(**_FAST)
def read_pixels(k: int, units: int, image: np.ndarray, level: float, y: np.ndarray, shape: Shape) -> None:
    """Blocks of 2 x 2 pixels and the noise level as LANES channels; beyond its end the image is mirrored."""
    channels, rows, columns = image.shape
    for i in range(shape[0] * k // units, shape[0] * (k + 1) // units):
        for j in range(shape[1]):
            at = ((i + 1) * _pitch(shape[1]) + j + 1) * LANES
            for c in range(channels):
                for pixel in range(4):
                    row, column = _inside(2 * i + pixel // 2, rows), _inside(2 * j + pixel % 2, columns)
                    y[at + 4 * c + pixel] = image[c, row, column]
            y[at + 4 * channels] = level


@njit(**_FAST)
def write_pixels(k: int, units: int, x: np.ndarray, image: np.ndarray, shape: Shape) -> None:
    """The image whose blocks of 2 x 2 pixels are the first of LANES channels."""
    channels, rows, columns = image.shape
    for i in range(shape[0] * k // units, shape[0] * (k + 1) // units):
        for c in range(channels):
            for row in range(2 * i, min(2 * i + 2, rows)):
                for column in range(columns):
                    at = ((i + 1) * _pitch(shape[1]) + column // 2 + 1) * LANES
                    image[c, row, column] = x[at + 4 * c + 2 * (row % 2) + column % 2]


KIND, UNITS, SOURCE, TARGET, WEIGHTS, ROWS, COLUMNS, INPUTS, OUTPUTS, DEPTH = range(10)
"""Columns of a table of steps: what is done, in how many units, where in the arena the images begin that are read and
written, where the weights begin, the shape that the kernel asks for, and channels."""
READ, CONVOLVE, RECTIFY, ADD, HALVE, DOUBLE, WRITE = range(7)
"""What a step does. RECTIFY and ADD are the halves of a residual block, whose weights are apart."""


@njit(**_FAST)
def run(
    thread: int, threads: int, first: int, steps: np.ndarray, claims: np.ndarray, done: np.ndarray,
    image: np.ndarray, level: float, out: np.ndarray, arena: np.ndarray, plain: np.ndarray, blocks: np.ndarray,
    v: np.ndarray, v_blocks: np.ndarray, m: np.ndarray,
) -> int:  # fmt: skip
    """Take the steps from ``first`` on, together with other threads that call this with the same arrays.

    Scratch arrays are the thread's own. Returns how many steps are behind it: fewer than there are where the others
    keep it waiting for long.
    """
    for s in range(first, len(steps)):
        kind, units, at, depth = steps[s, KIND], steps[s, UNITS], steps[s, WEIGHTS], steps[s, DEPTH]
        x, y = arena[steps[s, SOURCE] :], arena[steps[s, TARGET] :]
        shape, widths = (steps[s, ROWS], steps[s, COLUMNS]), (steps[s, INPUTS], steps[s, OUTPUTS])
        for i in range(units):
            k = (units * thread // threads + i) % units  # its own ones first: their data are in its cache
            if claim(claims[s], k):
                if kind in (RECTIFY, ADD):
                    low = np.float32(0 if kind == RECTIFY else -np.inf)
                    convolve(k, units, x, y, blocks[at:], v_blocks, m, shape, widths, depth, kind == ADD, low)
                elif kind == CONVOLVE:
                    convolve(k, units, x, y, plain[at:], v, m, shape, widths, depth, False, np.float32(-np.inf))
                elif kind == HALVE:
                    halve(k, units, x, y, plain[at:], m, shape, widths)
                elif kind == DOUBLE:
                    double(k, units, x, y, plain[at:], m, shape, widths)
                elif kind == READ:
                    read_pixels(k, units, image, level, y, shape)
                else:
                    write_pixels(k, units, x, out, shape)
                report(done, s)
        if not all_done(done, s, units):
            return s
    return len(steps)
