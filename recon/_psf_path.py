"""How long a moving point stays in each pixel."""

from __future__ import annotations

import itertools
import math

import numpy as np

from solvers.errors import ArgumentError
from solvers.validation import positive_int


def time_in_pixels(path: np.ndarray, size: int | None) -> np.ndarray:
    """Share of the time that a point spends in each pixel as it passes the corners (t, 2) of ``path`` evenly."""
    needed = odd_size(float(np.abs(path).max()) - 0.5)
    n = needed if size is None else positive_int("size", size)
    if n < needed:
        raise ArgumentError(f"size is {n}, which does not hold the path; expected at least {needed}. Pass {needed}.")
    psf = np.zeros((n, n))
    for start, end in itertools.pairwise(path):
        times = _crossings(start, end)
        middles = start + (0.5 * (times[1:] + times[:-1]))[:, None] * (end - start)
        # A path along an edge belongs to both pixels; the tiny step keeps it symmetric over its two ways.
        for side in (-1e-9, 1e-9):
            rows, columns = np.clip(np.rint(middles + side).astype(int).T + n // 2, 0, n - 1)
            np.add.at(psf, (rows, columns), np.diff(times))
    return psf / psf.sum()


def _crossings(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """When a movement from ``start`` to ``end`` enters another pixel, its own begin 0 and end 1 included."""
    times = [np.array([0.0, 1.0])]
    for a, b in zip(start, end, strict=True):
        edges = np.arange(math.ceil(min(a, b) - 0.5), math.floor(max(a, b) - 0.5) + 1) + 0.5
        if edges.size and a != b:
            times.append((edges - a) / (b - a))
    return np.unique(np.clip(np.concatenate(times), 0.0, 1.0))


def odd_size(reach: float) -> int:
    """The smallest odd number of pixels that reaches ``reach`` beyond the middle of the central one's neighbours."""
    return 2 * max(math.ceil(reach - 1e-9), 0) + 1
