"""Between arrays as callers hold them and the real, contiguous ones that the kernels take.

Images become ``(image, channel, depth, row, column)``, differences ``(image, channel, direction, depth, row, column)``.
Complex numbers become two channels, which couples real and imaginary parts as their modulus does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.arrays import threads
from solvers.kernels import block_of, run_jobs

CHUNK = 4096  # pixels of a task where pixels do not depend on each other
TILE_BYTES = 1 << 17  # scratch memory of a tile: well inside the second-level cache


@dataclass(frozen=True)
class Layout:
    """Axes of an image: ``ndim`` trailing spatial ones, and perhaps a channel axis before them.

    ``differences`` is how many a pixel has; None is one a direction.
    """

    ndim: int
    channel_axis: int | None = None
    differences: int | None = None

    def pack(self, x: np.ndarray, *, directions: bool = False) -> np.ndarray:
        """Return ``x``, an image or with ``directions`` its differences, as the kernels take it; writable."""
        core, channel = self._core(directions)
        x = np.expand_dims(x, -core - 1) if channel is None else np.moveaxis(x, channel, -core - 1)
        batch, channels = x.shape[: x.ndim - core - 1], x.shape[x.ndim - core - 1]
        if np.iscomplexobj(x):
            x, channels = np.stack((x.real, x.imag), axis=-core - 1), 2 * channels
        shape = (math.prod(batch), channels, *self._inner(x.shape, directions))
        return np.require(x, requirements=("C", "A", "W")).reshape(shape)

    def unpack(self, packed: np.ndarray, shape: tuple[int, ...], *, directions: bool = False) -> np.ndarray:
        """Undo :meth:`pack` for an array of ``shape``; twice as many channels as it has make it complex."""
        core, channel = self._core(directions)
        channels = 1 if channel is None else shape[channel]
        batch = math.prod(shape[: len(shape) - core]) // channels
        if packed.shape[1] != channels:
            pairs = packed.reshape((batch, channels, 2, *packed.shape[2:]))
            packed = np.empty((batch, channels, *packed.shape[2:]), np.result_type(packed.dtype, np.complex64))
            packed.real, packed.imag = pairs[:, :, 0], pairs[:, :, 1]
        if channel is None:
            return packed.reshape(shape)
        moved = np.moveaxis(np.empty(shape, bool), channel, -core - 1).shape
        return np.moveaxis(packed.reshape(moved), -core - 1, channel)

    def _core(self, directions: bool) -> tuple[int, int | None]:
        """Number of trailing axes that follow the channel axis, and where that axis is now."""
        shift = 1 if directions else 0
        return self.ndim + shift, None if self.channel_axis is None else self.channel_axis - shift

    def _inner(self, shape: tuple[int, ...], directions: bool) -> tuple[int, ...]:
        spatial = (1,) * (3 - self.ndim) + tuple(shape[len(shape) - self.ndim :])
        return (self.differences or self.ndim, *spatial) if directions else spatial


def tile_rows(packed: np.ndarray, arrays: int) -> int:
    """Rows of an image that a kernel treats at a time, given how many ``arrays`` of an image's size it keeps of them.

    As many as fit the cache; fewer where all threads would not get some.
    """
    images, channels, planes, rows, columns = packed.shape
    row_bytes = min(planes, 2) * channels * arrays * (columns + 1) * packed.itemsize
    share = -(-rows * images // (2 * threads()))
    return min(max(TILE_BYTES // row_bytes, 8), max(share, 8), rows)


def run_blocks(kernel: Callable[..., Any], size: int, count: int, *args: Any) -> None:
    """Do ``count`` tasks over ``size`` elements, in jobs ``kernel(job, tasks a job, *args)``."""
    block = block_of(count)
    run_jobs(kernel, size, -(-count // block), block, *args)


def run_chunks(kernel: Callable[..., Any], z: np.ndarray, *args: Any) -> None:
    """Do the pixels of packed differences ``(image, channel, direction, depth, row, column)`` in chunks.

    The kernel is called as ``kernel(job, block, chunks, z, *args)`` with ``z`` of shape ``(image, channel, direction,
    pixel)``; a task is one of ``chunks`` ranges of the pixels of an image.
    """
    pixels = math.prod(z.shape[3:])
    chunks = min(-(-pixels // CHUNK), pixels)
    run_blocks(kernel, z.size, len(z) * chunks, chunks, z.reshape((*z.shape[:3], pixels)), *args)
