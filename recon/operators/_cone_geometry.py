"""Rays of three-dimensional scans whose detector columns are parallel to the z axis, in units of voxels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

MARGIN = 48
"""Zeros beside a column of voxels or cells, for shifted and rounded-up ranges to read."""


class Rays(NamedTuple):
    r"""All the rays of a scan, by view and column of the detector.

    The rays to the cells of one detector column lie in one vertical plane, so they share their way through the rows and
    columns of the volume and differ in height only. They march over planes: rows of voxels or, where they run along x
    rather than y, columns of voxels. The ray to row v crosses plane q at the position ``p0 + p1 q`` across and at the
    slice ``z0 + z1 q + (h0 + h1 q) v``.
    """

    along_x: np.ndarray  # whether its planes are the columns of the volume
    first: np.ndarray  # planes first, ..., last - 1 are crossed within the volume
    last: np.ndarray
    p0: np.ndarray
    p1: np.ndarray
    z0: np.ndarray
    z1: np.ndarray
    h0: np.ndarray
    h1: np.ndarray
    step: np.ndarray  # length between two planes, seen from above
    e0: np.ndarray  # slope of the ray to row v, upwards by along: e0 + e1 v
    e1: np.ndarray


class Courses(NamedTuple):
    """Rays seen from above, in voxels: ``position = p0 + p1 q``, reached after ``t0 + t1 q`` times their direction."""

    along_x: np.ndarray
    p0: np.ndarray
    p1: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    first: np.ndarray
    last: np.ndarray


def diverging_rays(
    shape: tuple[int, int, int],
    spacing: tuple[float, ...],
    source: np.ndarray,
    direction: np.ndarray,
    rows: tuple[float, float],
) -> Rays:
    """Rays from a source.

    Parameters
    ----------
    shape, spacing
        Slices, rows and columns of the volume, and the size of a voxel along each.
    source : array (views, 3)
        x, y and z.
    direction : array (views, columns, 2)
        From the source to the columns of the detector, in x and y.
    rows : (float, float)
        The height of the first one over the source, and their distance.
    """
    lowest, pitch = rows
    courses = _courses(shape, spacing, source[:, None, :2], direction, start=0.0)
    # Height over the source grows from it: in plane q by (lowest + pitch * v) * (t0 + t1 * q).
    t0, t1 = courses.t0 / spacing[0], courses.t1 / spacing[0]
    source_slice = source[:, None, 2] / spacing[0] + 0.5 * (shape[0] - 1)
    heights = source_slice + lowest * t0, lowest * t1, pitch * t0, pitch * t1
    length = np.linalg.norm(direction, axis=-1)
    return _rays(courses, heights, length, (lowest / length, pitch / length))


def parallel_rays(
    shape: tuple[int, int, int],
    spacing: tuple[float, ...],
    angles: np.ndarray,
    tilt: float,
    u: np.ndarray,
    rows: tuple[float, float],
) -> Rays:
    """Parallel rays that rise by ``tilt``, to columns of the detector at the positions ``u``.

    ``rows`` are the position of the first one and their distance, on a detector perpendicular to the rays.
    """
    lowest, pitch = rows
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    across = np.concatenate([cos, sin], -1) * u[:, None]
    along = np.broadcast_to(np.concatenate([-sin, cos], -1), across.shape)
    courses = _courses(shape, spacing, across, along, start=-np.inf)
    # Seen from above, rows of the detector lie on one line; on the way along it rays rise by the tangent of the tilt.
    rise, stretch = np.tan(tilt) / spacing[0], 1 / (np.cos(tilt) * spacing[0])
    level = rise * courses.t0 + lowest * stretch + 0.5 * (shape[0] - 1)
    heights = level, rise * courses.t1, pitch * stretch, 0.0
    return _rays(courses, heights, np.ones_like(courses.t0), (np.tan(tilt), 0.0))


def _courses(
    shape: tuple[int, int, int], spacing: tuple[float, ...], origin: np.ndarray, direction: np.ndarray, start: float
) -> Courses:
    """The rays ``origin + t * direction``, t > start, in x and y."""
    per_voxel = np.array([1 / spacing[2], -1 / spacing[1]])  # columns and rows; these run downwards
    o = origin * per_voxel + 0.5 * (np.array(shape[:0:-1]) - 1)
    d = direction * per_voxel
    along_x = np.abs(d[..., 0]) > np.abs(d[..., 1])
    oq, op = np.where(along_x, o[..., 0], o[..., 1]), np.where(along_x, o[..., 1], o[..., 0])
    dq, dp = np.where(along_x, d[..., 0], d[..., 1]), np.where(along_x, d[..., 1], d[..., 0])
    p1 = dp / dq
    p0 = op - p1 * oq
    planes, width = np.where(along_x, shape[2], shape[1]), np.where(along_x, shape[1], shape[2])
    first, last = _planes(p0, p1, planes, width)
    entry = np.clip(oq + start * dq, -1, planes)
    first = np.where(dq > 0, np.maximum(first, np.floor(entry) + 1), first)
    last = np.where(dq < 0, np.minimum(last, np.ceil(entry)), last)
    return Courses(along_x, p0, p1, -oq / dq, 1 / dq, first.astype(np.int64), last.astype(np.int64))


def _planes(p0: np.ndarray, p1: np.ndarray, planes: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The planes that are crossed at positions between -1 and ``width``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack([(-1 - p0) / p1, (width - p0) / p1])
    everywhere = np.where((p0 > -1) & (p0 < width), np.inf, -np.inf)
    straight = np.abs(p1) < 1e-12
    low = np.where(straight, -everywhere, ends.min(axis=0))
    high = np.where(straight, everywhere, ends.max(axis=0))
    return np.ceil(np.clip(low, 0, planes)), np.floor(np.clip(high, -1, planes - 1)) + 1


def _rays(courses: Courses, heights: tuple[Any, ...], length: np.ndarray, slopes: tuple[Any, Any]) -> Rays:
    """One entry of every table for each view and column."""
    c = courses
    tables = c.along_x, c.first, c.last, c.p0, c.p1, *heights, length * np.abs(c.t1), *slopes
    return Rays(*(_filled(table, length.shape) for table in tables))


def _filled(table: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A table of that shape, read-only like all of them: numba would compile every kernel once more for a mixture."""
    filled = np.ascontiguousarray(np.broadcast_to(table, shape))
    filled.setflags(write=False)
    return filled
