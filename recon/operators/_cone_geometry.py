"""Rays of three-dimensional scans whose detector columns are parallel to the z axis, in units of voxels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LANES = 64
"""Detector columns that are computed side by side."""

PHASES = 2
"""Samples per slice in the middle of the volume, about. Between them a view is linear, which blurs 4 times less than
Joseph's own interpolation, and not at all where cells fall on samples."""


class Rays(NamedTuple):
    r"""All the rays of a scan.

    The rays to the cells of one detector column lie in one vertical plane, so they share their way through the rows and
    columns of the volume and differ in height only. They march over planes: rows of voxels or, where they run along x
    rather than y, columns of voxels. Some neighbouring columns of a view that march the same way make a fan. All of it
    is summed at common heights: sample m of a fan crosses plane q at the slice ``z0 + z1 q + (h0 + h1 q) m``, and a
    cell reads between the two nearest of them.
    """

    # One entry for each fan
    views: np.ndarray  # positions in the list of angles
    begin: np.ndarray  # its columns of the detector are begin, ..., end - 1
    end: np.ndarray
    along_x: np.ndarray  # whether its planes are the columns of the volume
    first: np.ndarray  # planes first, ..., last - 1 are crossed within the volume
    last: np.ndarray
    samples: np.ndarray
    z0: np.ndarray
    z1: np.ndarray
    h0: np.ndarray
    h1: np.ndarray
    # One entry for each view and column of the detector
    p0: np.ndarray  # position across in plane q: p0 + p1 q
    p1: np.ndarray
    m0: np.ndarray  # sample of the cell in row v: m0 + m1 v
    m1: np.ndarray
    step: np.ndarray  # length between two planes, seen from above
    e0: np.ndarray  # slope of the ray to row v, upwards by along: e0 + e1 v
    e1: np.ndarray


class Heights(NamedTuple):
    r"""How high rays are, in slices: in plane q at ``a0 + a1 q + (b0 + b1 q) (s0 + s1 v)``, the bracket positive.

    The bracket in v tells the cells of a column apart; the others are the same for all columns that march one way.
    """

    a0: np.ndarray
    a1: np.ndarray
    b0: np.ndarray
    b1: np.ndarray
    s0: np.ndarray
    s1: np.ndarray


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
    rows: tuple[int, float, float],
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
    rows : (int, float, float)
        How many there are, the height of the first over the source, and their distance.
    """
    count, lowest, pitch = rows
    courses = _courses(shape, spacing, source[:, None, :2], direction, start=0.0)
    # Height over the source grows from it: in plane q by (lowest + pitch * v) * (t0 + t1 * q), and t0 / t1 is common.
    sense = np.sign(courses.t1)
    rise = np.abs(courses.t1) / spacing[0]
    zeros = np.zeros_like(rise)
    source_slice = source[:, None, 2] / spacing[0] + 0.5 * (shape[0] - 1)
    entry = courses.t0 / np.abs(courses.t1)
    heights = Heights(zeros + source_slice, zeros, entry, sense, lowest * rise, pitch * rise)
    slopes = lowest / np.linalg.norm(direction, axis=-1), pitch / np.linalg.norm(direction, axis=-1)
    return _rays(shape, count, courses, heights, np.linalg.norm(direction, axis=-1), slopes)


def parallel_rays(
    shape: tuple[int, int, int],
    spacing: tuple[float, ...],
    angles: np.ndarray,
    tilt: float,
    u: np.ndarray,
    rows: tuple[int, float, float],
) -> Rays:
    """Parallel rays that rise by ``tilt``, to columns of the detector at the positions ``u``.

    ``rows`` are their number, the position of the first and their distance, on a detector perpendicular to the rays.
    """
    count, lowest, pitch = rows
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    across = np.concatenate([cos, sin], -1) * u[:, None]
    along = np.broadcast_to(np.concatenate([-sin, cos], -1), across.shape)
    courses = _courses(shape, spacing, across, along, start=-np.inf)
    # Seen from above, rows of the detector lie on one line; on the way along it rays rise by the tangent of the tilt.
    rise, stretch = np.tan(tilt) / spacing[0], 1 / (np.cos(tilt) * spacing[0])
    one, zero = np.ones(()), np.zeros(())
    level = rise * courses.t0 + lowest * stretch + 0.5 * (shape[0] - 1)
    heights = Heights(zero, rise * courses.t1, one, zero, level, pitch * stretch * one)
    return _rays(shape, count, courses, heights, np.ones_like(courses.t0), (np.tan(tilt) * one, zero))


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


def _rays(
    shape: tuple[int, int, int],
    rows: int,
    courses: Courses,
    heights: Heights,
    length: np.ndarray,
    slopes: tuple[np.ndarray, np.ndarray],
) -> Rays:
    """Divide the views into fans, and give each its samples."""
    h = Heights(*(np.ascontiguousarray(np.broadcast_to(table, length.shape)) for table in heights))
    starts, sizes = _fans(courses)
    low, high = (each.ravel() for each in _needed(shape[0], rows, courses, h))
    low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    a0, a1, b0, b1 = (table.ravel()[starts] for table in h[:4])
    along_x = courses.along_x.ravel()[starts]
    first = np.minimum.reduceat(courses.first.ravel(), starts)
    last = np.maximum.reduceat(courses.last.ravel(), starts)
    rise = np.where(first < last, b0 + b1 * 0.5 * (first + last - 1), 1.0)
    own, row_distance = h.s0.ravel()[starts + sizes // 2], h.s1.ravel()[starts + sizes // 2]
    distance = _commensurate(1 / (PHASES * rise), row_distance)
    seen = low <= high
    # On the rows of the middle column, and one sample more at either end for rounding.
    start = own + distance * (np.floor((np.where(seen, low, own) - own) / distance) - 1)
    samples = np.where(seen, np.ceil((high - start) / distance) + 2, 2).astype(np.int64)
    column_start, column_distance = (np.repeat(each, sizes).reshape(length.shape) for each in (start, distance))
    view, begin = np.divmod(starts, length.shape[1])
    return Rays(
        view,
        begin,
        begin + sizes,
        along_x,
        first,
        last,
        samples,
        a0 + b0 * start,
        a1 + b1 * start,
        b0 * distance,
        b1 * distance,
        courses.p0,
        courses.p1,
        (h.s0 - column_start) / column_distance,
        h.s1 / column_distance,
        length * np.abs(courses.t1),
        *(np.ascontiguousarray(np.broadcast_to(slope, length.shape)) for slope in slopes),
    )


def _commensurate(wanted: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The distance of samples: a whole part of that of the rows, or a multiple, so that cells fall on samples."""
    finer, coarser = np.rint(rows / wanted), np.rint(wanted / rows)
    return rows * np.maximum(coarser, 1) / np.maximum(finer, 1)


def _fans(courses: Courses) -> tuple[np.ndarray, np.ndarray]:
    """Where fans begin among the columns of all views, and how many columns each has."""
    way = 2 * courses.along_x + (courses.t1 > 0)
    new = np.ones(way.shape, bool)
    new[:, 1:] = way[:, 1:] != way[:, :-1]
    index = np.arange(way.size)
    since = index - np.maximum.accumulate(np.where(new.ravel(), index, 0))
    starts = np.flatnonzero(since % LANES == 0)
    return starts, np.diff(starts, append=way.size)


def _needed(slices: int, rows: int, courses: Courses, h: Heights) -> tuple[np.ndarray, np.ndarray]:
    """Of the bracket in v, the range that the cells of a column span and that leads into the volume."""
    ends = np.stack([courses.first, courses.last - 1])
    level, rise = h.a0 + h.a1 * ends, np.maximum(h.b0 + h.b1 * ends, 1e-12)
    low = np.maximum(h.s0, ((-1 - level) / rise).min(axis=0))
    high = np.minimum(h.s0 + h.s1 * (rows - 1), ((slices - level) / rise).max(axis=0))
    missed = courses.first >= courses.last
    return np.where(missed, np.inf, low), np.where(missed, -np.inf, high)
