"""Back-projection of cone-beam views to voxels: the kernel of the Feldkamp-Davis-Kress method and its launch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit

from recon.operators._cone_kernels import neighbours
from solvers.kernels import run_jobs

if TYPE_CHECKING:
    from recon.operators.cone_beam import ConeBeam

_EDGE = 1e-9
"""Samples closer than this to the end of a column have no weight; rounding cannot lead beyond it."""

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}


class Views(NamedTuple):
    """Where voxels project. Lengths are in one unit, columns and rows of the detector in cells."""

    cos: np.ndarray
    sin: np.ndarray
    weights: np.ndarray
    x: np.ndarray  # of the columns of the volume
    y: np.ndarray  # of its rows
    source_distance: float
    curved: bool
    column: float  # of the central ray
    columns: float  # per unit of u / (distance from source to detector)
    row: float  # the slice k projects to row + (first + slices * k) / (distance from source)
    first: float
    slices: float


@njit(**_FAST)
def _crossed(at: float, step: float, slices: int, samples: int) -> Any:
    """The range of m for which ``at + step * m`` lies within (0, slices + 1), for a positive step."""
    first = np.int64(math.ceil(min(max((_EDGE - at) / step, 0.0), samples)))
    last = np.int64(math.floor(min(max((slices + 1 - _EDGE - at) / step, -1.0), samples - 1))) + 1
    while first < last and at + step * first < _EDGE:
        first += 1
    while first < last and at + step * (last - 1) > slices + 1 - _EDGE:
        last -= 1
    return first, last


@njit(**_FAST)
def _locate(g: Views, k: int, x: float, y: float) -> Any:
    """Distance from the source and column of the detector."""
    right = x * g.cos[k] + y * g.sin[k]
    ahead = g.source_distance + y * g.cos[k] - x * g.sin[k]
    if g.curved:
        return math.hypot(right, ahead), g.column + g.columns * math.atan2(right, ahead)
    return ahead, g.column + g.columns * right / ahead


@njit(**_FAST)
def _smear_column(view: np.ndarray, column: float, at: float, step: float, weight: float, out: np.ndarray) -> None:
    """Add ``weight`` times the view, at heights ``at + step * k`` in rows from one below the first."""
    columns, rows = view.shape
    i, j, wi, wj = neighbours(column, columns)
    first, last = _crossed(at - 0.5, step, rows - 1, out.size)
    left, right = view[i], view[j]
    kind = out.dtype.type
    wa, wb = kind(weight * wi), kind(weight * wj)
    for k in range(first, last):
        position = min(max(at + step * k - 1, 0.0), rows - 1.0)
        r = min(np.int64(position), max(rows - 2, 0))
        f = kind(position - r)
        above = min(r + 1, rows - 1)
        below = wa * left[r] + wb * right[r]
        out[k] += below + f * (wa * left[above] + wb * right[above] - below)


@njit(**_FAST)
def smear_job(job: int, block: int, y: np.ndarray, g: Views, volume: np.ndarray) -> None:
    """Add the views (views, columns, rows) to rows of the volume (rows, columns, slices)."""
    for j in range(job * block, min((job + 1) * block, volume.shape[0])):
        for k in range(len(y)):
            for i in range(volume.shape[1]):
                distance, column = _locate(g, k, g.x[i], g.y[j])
                if distance > 0:
                    weight = g.weights[k] * (g.source_distance / distance) ** 2
                    at, step = g.row + 1 + g.first / distance, g.slices / distance
                    _smear_column(y[k], column, at, step, weight, volume[j, i])


def views_of(A: ConeBeam, weights: np.ndarray) -> Views:
    """The geometry of a circular scan, and what its views count."""
    middle = [0.5 * (n - 1) for n in A.in_shape]
    reach = A.source_distance + A.detector_distance
    row = reach / A.detector_spacing[0] * A.spacing[0]
    return Views(
        np.cos(A.angles),
        np.sin(A.angles),
        np.ascontiguousarray(weights, dtype=np.float64),
        (np.arange(A.in_shape[2]) - middle[2]) * A.spacing[2],
        (middle[1] - np.arange(A.in_shape[1])) * A.spacing[1],
        A.source_distance,
        A.detector == "curved",
        A.center[1],
        reach / A.detector_spacing[1],
        A.center[0],
        -middle[0] * row,
        row,
    )


def smear(y: np.ndarray, views: Views, shape: tuple[int, ...]) -> np.ndarray:
    """Back-project views (views, rows, columns) to a volume of ``shape`` (slices, rows, columns)."""
    turned = np.ascontiguousarray(y.transpose(0, 2, 1))
    volume = np.zeros((shape[1], shape[2], shape[0]), y.dtype)
    run_jobs(smear_job, volume.size * len(y), shape[1], 1, turned, views, volume)
    return np.ascontiguousarray(volume.transpose(2, 0, 1))
