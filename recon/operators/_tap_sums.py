"""Convolution as a sum over the entries of the point spread function that are not zero.

Images come extended beyond their borders (:mod:`recon.operators._borders`); only the part of the convolution that
needs nothing beyond is computed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from solvers.kernels import block_of, run_jobs

ROWS = 4
"""Rows of the result that are summed up together."""


class Stops:
    """Where the kernel reads for ROWS neighbouring rows of the result, and what that weighs in each of them.

    Parameters
    ----------
    psf : ndarray
        Up to three axes.
    """

    def __init__(self, psf: np.ndarray):
        # A convolution reads the image backwards.
        mirrored = np.flip(psf).reshape((1,) * (3 - psf.ndim) + psf.shape)
        depth, rows, columns = mirrored.shape
        spread = np.zeros((depth, rows + ROWS - 1, columns, ROWS))
        for r in range(ROWS):
            spread[:, r : r + rows, :, r] = mirrored
        read = spread.any(-1)
        self._offsets = np.argwhere(read)
        self.weights = Constant(spread[read])

    def __len__(self) -> int:
        return len(self._offsets)

    def offsets(self, shape: tuple[int, ...], step: int) -> np.ndarray:
        """Into flat numbers (depth, rows, columns), ``step`` of them to a column."""
        return self._offsets @ np.array([shape[-2] * shape[-1], shape[-1], step])


class Direct:
    """Sum over the entries of a PSF of one to three axes; ``valid`` of the PSF, ``mirrored_valid`` of its mirror."""

    def __init__(self, psf: np.ndarray):
        self.support = psf.shape
        self._stops, self._mirrored = Stops(psf), Stops(np.flip(psf))

    def valid(self, images: np.ndarray) -> np.ndarray:
        """Convolution of extended images, (..., *n + k - 1) -> (..., *n)."""
        return self._run(images, self._stops)

    def mirrored_valid(self, images: np.ndarray) -> np.ndarray:
        """Correlation of extended images, (..., *n + k - 1) -> (..., *n)."""
        return self._run(images, self._mirrored)

    def _run(self, images: np.ndarray, stops: Stops) -> np.ndarray:
        from recon.operators._convolution_kernels import direct_job

        numbers, step = _as_numbers(images, self.support)
        tables = stops.offsets(numbers.shape, step), stops.weights.like(numbers)
        return as_images(_launch(direct_job, numbers, self.support, step, *tables), images, self.support)


class Separable:
    """Convolution along one axis after the other; as :class:`Direct`, for the outer product of ``profiles``."""

    def __init__(self, profiles: list[np.ndarray]):
        self.support = tuple(len(profile) for profile in profiles)
        ndim = len(profiles)
        along = [np.reshape(p, [-1 if a == b else 1 for b in range(ndim)]) for a, p in enumerate(profiles)]
        self._depth = Direct(along[0]) if ndim == 3 else None
        self._stops = [Stops(p) for p in along[-2:]]
        self._mirrored = [Stops(np.flip(p)) for p in along[-2:]]

    def valid(self, images: np.ndarray) -> np.ndarray:
        """Convolution of extended images, (..., *n + k - 1) -> (..., *n)."""
        if self._depth is not None:
            images = self._depth.valid(images)  # frees the ones given
        return self._run(images, self._stops)

    def mirrored_valid(self, images: np.ndarray) -> np.ndarray:
        """Correlation of extended images, (..., *n + k - 1) -> (..., *n)."""
        if self._depth is not None:
            images = self._depth.mirrored_valid(images)
        return self._run(images, self._mirrored)

    def _run(self, images: np.ndarray, stops: list[Stops]) -> np.ndarray:
        from recon.operators._convolution_kernels import separable_job

        support = self.support if self._depth is None else (1, *self.support[1:])
        numbers, step = _as_numbers(images, support)
        tables = [table for s in stops for table in (s.offsets(numbers.shape, step), s.weights.like(numbers))]
        return as_images(_launch(separable_job, numbers, support, step, *tables), images, support)


def _launch(job: Any, numbers: np.ndarray, support: tuple[int, ...], step: int, *tables: np.ndarray) -> np.ndarray:
    out = np.empty((len(numbers), *valid_shape(numbers.shape[1:], support, step)), numbers.dtype)
    bands = math.prod(out.shape[:2]) * -(-out.shape[2] // ROWS)
    block = block_of(bands)
    work = out.size * sum(len(table) for table in tables) // 32
    run_jobs(
        job, work, -(-bands // block), block, numbers.reshape(-1), numbers.shape, *tables, out.reshape(-1), out.shape
    )
    return out


def valid_shape(shape: tuple[int, ...], support: tuple[int, ...], step: int = 1) -> tuple[int, ...]:
    """Shape of what needs nothing beyond an image of ``shape``, (depth, rows, columns) with ``step`` to a column."""
    widths = (*(1,) * (3 - len(support)), *support)
    return tuple(n - (k - 1) * s for n, k, s in zip(shape, widths, (1, 1, step), strict=True))


def _as_numbers(images: np.ndarray, support: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Images as real (batch, depth, rows, columns) of which tiles can be read, and the numbers to a column."""
    from recon.operators._tile_sum import span

    images = np.ascontiguousarray(images)
    # A real PSF acts alike on the two parts of a complex number, which stand side by side.
    step = 2 if np.iscomplexobj(images) else 1
    numbers = as_volumes(images.view(images.real.dtype), len(support))
    _, rows, columns = valid_shape(numbers.shape[1:], support, step)
    return filled_up(numbers, ROWS - rows, span(numbers.itemsize) - columns), step


def as_volumes(images: np.ndarray, ndim: int) -> np.ndarray:
    """Images on the trailing ``ndim`` axes as (batch, depth, rows, columns)."""
    return images.reshape(-1, *(1,) * (3 - ndim), *images.shape[images.ndim - ndim :])


def filled_up(numbers: np.ndarray, rows: int, columns: int = 0) -> np.ndarray:
    """Numbers with so many more rows and columns, if any; what is computed of them is left out in the end."""
    if rows <= 0 and columns <= 0:
        return numbers
    return np.pad(numbers, [*[(0, 0)] * (numbers.ndim - 2), (0, max(rows, 0)), (0, max(columns, 0))])


def as_images(out: np.ndarray, like: np.ndarray, support: tuple[int, ...]) -> np.ndarray:
    """The valid part of images ``like`` these, of real (batch, depth, rows, columns)."""
    ndim, step = len(support), like.itemsize // out.itemsize
    shape = [n - k + 1 for n, k in zip(like.shape[like.ndim - ndim :], support, strict=True)]
    rows = shape[-2] if ndim > 1 else 1
    out = np.ascontiguousarray(out[:, :, :rows, : shape[-1] * step])
    return out.view(like.dtype).reshape(*like.shape[: like.ndim - ndim], *shape)
