"""Numba kernels of three-dimensional projectors: Joseph's sums over planes of a volume, and nothing else.

Memory is turned so that z comes last: a volume is (rows, columns, slices), flattened. One interpolation weight within
a plane then serves a whole column of voxels. What the rays of a fan meet in a plane is laid out side by side, one lane
for each detector column, and resampled along z for all of them with the same weights: no loop gathers or scatters.

Work is split so that each task owns what it writes: no atomics, and the same bits for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from recon.operators._cone_geometry import LANES, Rays

PLANES = 4
"""Planes of one task of the adjoint: they stay in the cache while all the views pass."""

TAPS = 5
"""Samples that one pass of the adjoint's inner loop adds up: as many as lie about a slice, mostly."""

_EDGE = 1e-9
"""Samples closer than this to the end of a column have no weight; rounding cannot lead beyond it."""

_Index = np.uint64
"""Of a loop that must be vectorised: numba looks at signed ones for negative values, which count from the end."""

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}


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
def _slices(at: float, step: float, first: int, last: int, slices: int) -> tuple[int, int]:
    """The range of slices that the samples ``first .. last - 1`` read."""
    return max(int(at + step * first) - 1, 0), min(int(at + step * (last - 1)) + 1, slices)


@njit(**_FAST)
def _plane(shape: tuple[int, int, int], along_x: bool, q: int) -> tuple[int, int, int]:
    """Where plane q of a flat volume begins, how far its columns are apart and how many there are."""
    rows, columns, slices = shape
    if along_x:
        return q * slices, columns * slices, rows
    return q * columns * slices, slices, columns


@njit(**_FAST)
def _neighbours(position: float, width: int) -> tuple[int, int, float, float]:
    """The columns beside a position and their weights; what lies beyond the plane weighs nothing."""
    below = math.floor(position)
    fraction = position - below
    i = int(below)
    wa = 1.0 - fraction if 0 <= i < width else 0.0
    wb = fraction if 0 <= i + 1 < width else 0.0
    return min(max(i, 0), width - 1), min(max(i + 1, 0), width - 1), wa, wb


@njit(**_FAST)
def _read_columns(
    volume: np.ndarray, shape: tuple[int, int, int], rays: Rays, fan: int, q: int, low: int, high: int, out: np.ndarray
) -> None:
    """The slices ``low .. high - 1`` where the rays of a fan cross plane q, between two columns of voxels each."""
    begin, stride, width = _plane(shape, rays.along_x[fan], q)
    view, c0 = rays.views[fan], rays.begin[fan]
    kind = out.dtype.type
    for c in range(c0, rays.end[fan]):
        i, j, fi, fj = _neighbours(rays.p0[view, c] + rays.p1[view, c] * q, width)
        a, b = _Index(begin + stride * i + low), _Index(begin + stride * j + low)
        wa, wb, column = kind(fi), kind(fj), out[c - c0]
        for k in range(_Index(high - low)):
            column[_Index(low) + k] = wa * volume[a + k] + wb * volume[b + k]


@njit(**_FAST)
def _add_columns(
    columns: np.ndarray,
    shape: tuple[int, int, int],
    rays: Rays,
    fan: int,
    q: int,
    low: int,
    high: int,
    volume: np.ndarray,
) -> None:
    """Transpose of :func:`_read_columns`."""
    begin, stride, width = _plane(shape, rays.along_x[fan], q)
    view, c0 = rays.views[fan], rays.begin[fan]
    kind = columns.dtype.type
    for c in range(c0, rays.end[fan]):
        i, j, fi, fj = _neighbours(rays.p0[view, c] + rays.p1[view, c] * q, width)
        a, b = _Index(begin + stride * i + low), _Index(begin + stride * j + low)
        wa, wb, column = kind(fi), kind(fj), columns[c - c0]
        if i == j:
            for k in range(_Index(high - low)):
                volume[a + k] += (wa + wb) * column[_Index(low) + k]
        else:
            for k in range(_Index(high - low)):
                value = column[_Index(low) + k]
                left, right = volume[a + k] + wa * value, volume[b + k] + wb * value
                volume[a + k], volume[b + k] = left, right


@njit(**_FAST)
def _turn(columns: np.ndarray, low: int, high: int, four: np.ndarray, lanes: np.ndarray) -> None:
    """``lanes[k + 1, lane] = columns[lane, k]``, by way of fours of lanes: the compiler turns these in registers."""
    rows = lanes[low + 1 : high + 1]
    for g in range(LANES // 4):
        a, b = columns[4 * g, low:high], columns[4 * g + 1, low:high]
        c, d = columns[4 * g + 2, low:high], columns[4 * g + 3, low:high]
        for k in range(high - low):
            four[4 * k] = a[k]
            four[4 * k + 1] = b[k]
            four[4 * k + 2] = c[k]
            four[4 * k + 3] = d[k]
        for k in range(high - low):
            va, vb, vc, vd = four[4 * k], four[4 * k + 1], four[4 * k + 2], four[4 * k + 3]
            rows[k, 4 * g], rows[k, 4 * g + 1], rows[k, 4 * g + 2], rows[k, 4 * g + 3] = va, vb, vc, vd


@njit(**_FAST)
def _turn_back(lanes: np.ndarray, low: int, high: int, four: np.ndarray, columns: np.ndarray) -> None:
    """Transpose of :func:`_turn`."""
    rows = lanes[low + 1 : high + 1]
    for g in range(LANES // 4):
        for k in range(high - low):
            va, vb, vc, vd = rows[k, 4 * g], rows[k, 4 * g + 1], rows[k, 4 * g + 2], rows[k, 4 * g + 3]
            four[4 * k], four[4 * k + 1], four[4 * k + 2], four[4 * k + 3] = va, vb, vc, vd
        a, b = columns[4 * g, low:high], columns[4 * g + 1, low:high]
        c, d = columns[4 * g + 2, low:high], columns[4 * g + 3, low:high]
        for k in range(high - low):
            a[k] = four[4 * k]
            b[k] = four[4 * k + 1]
            c[k] = four[4 * k + 2]
            d[k] = four[4 * k + 3]


@njit(**_FAST)
def _sample(lanes: np.ndarray, at: float, step: float, first: int, last: int, sums: np.ndarray) -> None:
    """Add to each sample the lanes at its height ``at + step * m``, linear between slices."""
    kind = lanes.dtype.type
    flat = lanes.reshape(-1)
    for m in range(first, last):
        k = int(at + step * m)
        f = kind(at + step * m - k)
        pair, out = flat[k * LANES : (k + 2) * LANES], sums[m]
        for lane in range(LANES):
            out[lane] += pair[lane] + f * (pair[lane + LANES] - pair[lane])


@njit(**_FAST)
def _collect(
    sums: np.ndarray, at: float, step: float, first: int, last: int, low: int, high: int, lanes: np.ndarray
) -> None:
    """Transpose of :func:`_sample`, for the slices ``low .. high - 1``: each takes from the samples about it."""
    kind = lanes.dtype.type
    flat = sums.reshape(-1)
    per_step = 1 / step
    for k in range(low + 1, high + 1):
        m = max(int((k - 1 - at) * per_step), first)
        out = lanes[k]
        if m + TAPS <= last:
            z = at + step * m - k
            a, b, c = kind(_hat(z)), kind(_hat(z + step)), kind(_hat(z + 2 * step))
            d, e = kind(_hat(z + 3 * step)), kind(_hat(z + 4 * step))
            s = flat[m * LANES : (m + TAPS) * LANES]
            for lane in range(LANES):
                out[lane] = (
                    (a * s[lane] + b * s[lane + LANES])
                    + (c * s[lane + 2 * LANES] + d * s[lane + 3 * LANES])
                    + e * s[lane + 4 * LANES]
                )
            m += TAPS
        else:
            out[:] = 0
        while m < last and at + step * m < k + 1:
            weight = kind(_hat(at + step * m - k))
            for lane in range(LANES):
                out[lane] += weight * sums[m, lane]
            m += 1


@njit(**_FAST)
def _hat(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


@njit(**_FAST)
def _project_fan(
    fan: int, volume: np.ndarray, shape: tuple[int, int, int], rays: Rays, scratch: Any, sums: np.ndarray
) -> None:
    """Joseph's sums at the heights of a fan's samples."""
    columns, lanes, four = scratch
    for q in range(rays.first[fan], rays.last[fan]):
        at, step = rays.z0[fan] + rays.z1[fan] * q + 1, rays.h0[fan] + rays.h1[fan] * q
        first, last = _crossed(at, step, shape[2], rays.samples[fan])
        if first < last:
            low, high = _slices(at, step, first, last, shape[2])
            _read_columns(volume, shape, rays, fan, q, low, high, columns)
            _turn(columns, low, high, four, lanes)
            _sample(lanes, at, step, first, last, sums)


@njit(**_FAST)
def _back_project_fan(
    fan: int,
    begin: int,
    end: int,
    sums: np.ndarray,
    rays: Rays,
    shape: tuple[int, int, int],
    scratch: Any,
    volume: np.ndarray,
) -> None:
    """Transpose of :func:`_project_fan`, for the planes ``begin .. end - 1``."""
    columns, lanes, four = scratch
    for q in range(max(begin, rays.first[fan]), min(end, rays.last[fan])):
        at, step = rays.z0[fan] + rays.z1[fan] * q + 1, rays.h0[fan] + rays.h1[fan] * q
        first, last = _crossed(at, step, shape[2], rays.samples[fan])
        if first < last:
            low, high = _slices(at, step, first, last, shape[2])
            _collect(sums, at, step, first, last, low, high, lanes)
            _turn_back(lanes, low, high, four, columns)
            _add_columns(columns, shape, rays, fan, q, low, high, volume)


@njit(**_FAST)
def _scratch(slices: int, like: np.ndarray) -> Any:
    """Memory for one plane: columns of voxels; the same by lanes, with a slice of zeros at both ends; for turning."""
    kind = like.dtype
    return (
        np.zeros((LANES, slices), kind),
        np.zeros((slices + 2, LANES), kind),
        np.empty(4 * slices, kind),
    )


@njit(**_FAST)
def _length(rays: Rays, view: int, c: int, v: int) -> float:
    """Length of a ray between two planes."""
    slope = rays.e0[view, c] + rays.e1[view, c] * v
    return rays.step[view, c] * math.sqrt(1.0 + slope * slope)


@njit(**_FAST)
def _read_cells(fan: int, sums: np.ndarray, rays: Rays, out: np.ndarray) -> None:
    """The cells of a fan, linear between its samples."""
    view, samples = rays.views[fan], rays.samples[fan]
    for v in range(out.shape[1]):
        for c in range(rays.begin[fan], rays.end[fan]):
            position = rays.m0[view, c] + rays.m1[view, c] * v
            value = 0.0
            if 0 <= position < samples - 1:
                m = int(position)
                lane, f = c - rays.begin[fan], position - m
                value = (1 - f) * sums[m, lane] + f * sums[m + 1, lane]
            out[view, v, c] = _length(rays, view, c, v) * value


@njit(**_FAST)
def _spread_cells(fan: int, y: np.ndarray, rays: Rays, sums: np.ndarray) -> None:
    """Transpose of :func:`_read_cells`."""
    view, samples = rays.views[fan], rays.samples[fan]
    sums[:] = 0
    for v in range(y.shape[1]):
        for c in range(rays.begin[fan], rays.end[fan]):
            position = rays.m0[view, c] + rays.m1[view, c] * v
            if 0 <= position < samples - 1:
                m = int(position)
                lane, f = c - rays.begin[fan], position - m
                value = _length(rays, view, c, v) * y[view, v, c]
                sums[m, lane] += (1 - f) * value
                sums[m + 1, lane] += f * value


# Jobs: each does a block of tasks.


@njit(**_FAST)
def project_job(
    job: int, block: int, volume: np.ndarray, shape: tuple[int, int, int], rays: Rays, out: np.ndarray
) -> None:
    for fan in range(job * block, min((job + 1) * block, rays.views.size)):
        scratch = _scratch(shape[2], volume)
        sums = np.zeros((rays.samples[fan], LANES), volume.dtype)
        _project_fan(fan, volume, shape, rays, scratch, sums)
        _read_cells(fan, sums, rays, out)


@njit(**_FAST)
def spread_job(job: int, block: int, y: np.ndarray, begin: int, rays: Rays, sums: np.ndarray) -> None:
    """The samples of the fans ``begin``, ..., one for each entry of ``sums``."""
    for n in range(job * block, min((job + 1) * block, len(sums))):
        _spread_cells(begin + n, y, rays, sums[n])


@njit(**_FAST)
def back_project_job(
    job: int,
    block: int,
    sums: np.ndarray,
    begin: int,
    along_x: bool,
    rays: Rays,
    shape: tuple[int, int, int],
    volume: np.ndarray,
) -> None:
    """Add those of the fans ``begin``, ... that march along x, or the others, to the planes of the volume."""
    planes = shape[1] if along_x else shape[0]
    scratch = _scratch(shape[2], sums)
    for task in range(job * block, min((job + 1) * block, (planes + PLANES - 1) // PLANES)):
        q = task * PLANES
        for n in range(len(sums)):
            if rays.along_x[begin + n] == along_x:
                _back_project_fan(begin + n, q, q + PLANES, sums[n], rays, shape, scratch, volume)
