"""Numba kernels of three-dimensional projectors: Joseph's sums over planes of a volume, and nothing else.

Memory is turned so that z comes last: a volume is (rows, columns, slices), flattened, and a view (columns, rows). The
rays to one column of the detector cross a plane of the volume between the same two columns of voxels, so one pair of
weights serves them all. Along z they cross it at equal distances, near to one slice where rows are counted in as many
phases as there are rows in a slice. A run of CHUNK of them then stays beside a run of slices, and the few taps that
linear interpolation chooses from are read from contiguous memory, without any gather and in either direction.

Work is split so that each task owns what it writes: no atomics, and the same bits for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from recon.operators._cone_geometry import CHUNK, MARGIN, Rays

PLANES = 4
"""Planes that stay in the cache while views pass: those of one task of the adjoint, or one turn of the forward."""

VIEWS = 2
"""Views of one task of the forward."""

MOST_TAPS = 16
"""Taps beyond which interpolating entry by entry is quicker; MARGIN holds what lies beside that many."""

_U: Any = np.uint64
"""Of a loop that must be vectorised: numba looks at signed ones for negative values, which count from the end."""

_ONE, _TWO, _THREE, _FOUR, _FIVE, _CHUNK = _U(1), _U(2), _U(3), _U(4), _U(5), _U(CHUNK)

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}


@njit(**_FAST)
def neighbours(position: float, width: int) -> tuple[int, int, float, float]:
    """The columns beside a position and their weights; what lies beyond the plane weighs nothing."""
    below = math.floor(position)
    fraction = position - below
    i = int(below)
    wa = 1.0 - fraction if 0 <= i < width else 0.0
    wb = fraction if 0 <= i + 1 < width else 0.0
    return min(max(i, 0), width - 1), min(max(i + 1, 0), width - 1), wa, wb


@njit(**_FAST)
def _read(volume: np.ndarray, i: int, j: int, wi: float, wj: float, low: int, high: int, column: np.ndarray) -> None:
    """The slices ``low .. high - 1`` between two columns of voxels, which begin at i and j."""
    a, b, to = _U(i + low), _U(j + low), _U(MARGIN + low)
    wa, wb = column.dtype.type(wi), column.dtype.type(wj)
    for k in range(_U(high - low)):
        column[to + k] = wa * volume[a + k] + wb * volume[b + k]


@njit(**_FAST)
def _add(column: np.ndarray, i: int, j: int, wi: float, wj: float, low: int, high: int, volume: np.ndarray) -> None:
    """Transpose of :func:`_read`."""
    a, b, origin = _U(i + low), _U(j + low), _U(low)
    wa, wb = volume.dtype.type(wi), volume.dtype.type(wj)
    if i == j:
        for k in range(_U(high - low)):
            volume[a + k] += (wa + wb) * column[origin + k]
    else:
        for k in range(_U(high - low)):
            value = column[origin + k]
            left, right = volume[a + k] + wa * value, volume[b + k] + wb * value
            volume[a + k], volume[b + k] = left, right


@njit(**_FAST)
def _taps(drift: float, reach: float) -> int:
    """How many neighbours a run needs whose lowest one drifts, and that each reads within ``reach``."""
    return int(min(math.ceil(abs(drift) * (CHUNK - 1) + reach + 1e-5), 1e6))


@njit(**_FAST)
def _read_four(source: np.ndarray, at: float, step: float, begin: int, end: int, out: np.ndarray) -> None:
    """``out[n] += source[MARGIN + at + step * n]``, linear between entries, where CHUNK successive n need four."""
    kind, zero, one, two = out.dtype.type, out.dtype.type(0), out.dtype.type(1), out.dtype.type(2)
    drift = step - 1
    w, back = kind(drift), min(drift * (CHUNK - 1), 0.0)
    at += MARGIN
    for n in range(begin, end, CHUNK):
        place = at + drift * n
        first = np.int64(place + back)
        f = kind(place - first)
        to, m = _U(n), _U(n + first)
        for t in range(_CHUNK):
            x = f + w * kind(t)
            a, b, c, d = source[m + t], source[m + t + _ONE], source[m + t + _TWO], source[m + t + _THREE]
            left, right, base = (c, d, two) if x >= two else ((b, c, one) if x >= one else (a, b, zero))
            out[to + t] += left + (x - base) * (right - left)


@njit(**_FAST)
def _read_six(source: np.ndarray, at: float, step: float, begin: int, end: int, out: np.ndarray) -> None:
    """:func:`_read_four` for six entries."""
    kind = out.dtype.type
    zero, one, two, three, four = kind(0), kind(1), kind(2), kind(3), kind(4)
    drift = step - 1
    w, back = kind(drift), min(drift * (CHUNK - 1), 0.0)
    at += MARGIN
    for n in range(begin, end, CHUNK):
        place = at + drift * n
        first = np.int64(place + back)
        g = kind(place - first)
        to, m = _U(n), _U(n + first)
        for t in range(_CHUNK):
            x = g + w * kind(t)
            a, b, c = source[m + t], source[m + t + _ONE], source[m + t + _TWO]
            d, e, f = source[m + t + _THREE], source[m + t + _FOUR], source[m + t + _FIVE]
            left, right, base = (b, c, one) if x >= one else (a, b, zero)
            left, right, base = (c, d, two) if x >= two else (left, right, base)
            left, right, base = (d, e, three) if x >= three else (left, right, base)
            left, right, base = (e, f, four) if x >= four else (left, right, base)
            out[to + t] += left + (x - base) * (right - left)


@njit(**_FAST)
def _share(x: Any, step: Any, source: np.ndarray, m: Any) -> Any:
    """Four entries of ``source``, at x, x + step, ... from the place that takes them, weighted with a hat."""
    zero, one = source.dtype.type(0), source.dtype.type(1)
    y = x + step
    z = y + step
    u = z + step
    a = max(one - abs(x), zero) * source[m] + max(one - abs(y), zero) * source[m + _ONE]
    return a + (max(one - abs(z), zero) * source[m + _TWO] + max(one - abs(u), zero) * source[m + _THREE])


@njit(**_FAST)
def _add_four(source: np.ndarray, line: Any, tap: int, begin: int, end: int, out: np.ndarray) -> None:
    """``out[n] += sum_m hat(at + change * n + step * (m - n)) source[MARGIN + m]``.

    Over four m, from the tap-th on that CHUNK successive n reach: beyond ``n + low + drift * n`` of the lowest of them.
    """
    kind = out.dtype.type
    low, drift, at, change, step = line
    low, at, w, g = low + MARGIN + tap + min(drift * (CHUNK - 1), 0.0), at - step * MARGIN, kind(change), kind(step)
    for n in range(begin, end, CHUNK):
        first = np.int64(low + drift * n) + 1
        f = kind(at + change * n + step * first)
        to, m = _U(n), _U(n + first)
        for t in range(_CHUNK):
            out[to + t] += _share(f + w * kind(t), g, source, m + t)


@njit(**_FAST)
def _add_eight(source: np.ndarray, line: Any, tap: int, begin: int, end: int, out: np.ndarray) -> None:
    """:func:`_add_four` over eight m."""
    kind = out.dtype.type
    low, drift, at, change, step = line
    low, at, w, g = low + MARGIN + tap + min(drift * (CHUNK - 1), 0.0), at - step * MARGIN, kind(change), kind(step)
    for n in range(begin, end, CHUNK):
        first = np.int64(low + drift * n) + 1
        f = kind(at + change * n + step * first)
        to, m = _U(n), _U(n + first)
        for t in range(_CHUNK):
            x = f + w * kind(t)
            out[to + t] += _share(x, g, source, m + t) + _share(x + kind(4) * g, g, source, m + t + _FOUR)


@njit(**_FAST)
def _sample(column: np.ndarray, at: float, step: float, first: int, last: int, out: np.ndarray) -> None:
    """Add to ``out[n]`` the column at ``at + step * n``, linear between slices."""
    taps = _taps(step - 1, 2.0)
    if taps <= 4:
        _read_four(column, at, step, first, last, out)
    elif taps <= 6:
        _read_six(column, at, step, first, last, out)
    elif taps <= MOST_TAPS:
        for tap in range(0, taps, 8):
            _add_eight(column, (at - 1, step - 1, at, step - 1, -1.0), tap, first, last, out)
    else:
        for n in range(first, last):
            below = math.floor(at + step * n)
            f, k = column.dtype.type(at + step * n - below), MARGIN + np.int64(below)
            out[n] += (1 - f) * column[k] + f * column[k + 1]


@njit(**_FAST)
def _collect(
    cells: np.ndarray, at: float, step: float, first: int, last: int, low: int, high: int, column: np.ndarray
) -> None:
    """Transpose of :func:`_sample`: add to ``column[k]``."""
    line = -(1 + at) / step, 1 / step - 1, at, step - 1, step
    taps = _taps(1 / step - 1, 2 / step)
    if taps <= 4:
        _add_four(cells, line, 0, low, high, column)
    elif taps <= MOST_TAPS:
        for tap in range(0, taps, 8):
            _add_eight(cells, line, tap, low, high, column)
    else:
        for n in range(first, last):
            below = math.floor(at + step * n)
            f, k = column.dtype.type(at + step * n - below), np.int64(below)
            if low <= k < high:
                column[k] += (1 - f) * cells[MARGIN + n]
            if low <= k + 1 < high:
                column[k + 1] += f * cells[MARGIN + n]


@njit(**_FAST)
def _seen(at: float, step: float, slices: int, rows: int) -> Any:
    """The rows that lead into the volume, and the slices that they read."""
    per_step = 1 / step
    first = np.int64(max(min((-1 - at) * per_step - 1e-6, 1.0 * rows), 0.0))
    last: Any = min(np.int64(max((slices - at) * per_step + 1e-6, -2.0)) + 2, rows)
    low = np.int64(max(min(at + step * first, 1.0 * slices), 0.0))
    high = min(np.int64(max(at + step * (last - 1), -2.0)) + 2, slices)
    return first, last, low, high


@njit(**_FAST)
def _strides(shape: tuple[int, int, int], along_x: bool) -> tuple[int, int, int]:
    """How far the planes of a flat volume are apart, and the columns of voxels of one, and how many of these it has."""
    rows, columns, slices = shape
    if along_x:
        return slices, columns * slices, rows
    return columns * slices, slices, columns


@njit(**_FAST)
def _project_view(
    view: int,
    begin: int,
    end: int,
    volume: np.ndarray,
    shape: tuple[int, int, int],
    rays: Rays,
    rows: int,
    column: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add what the rays of a view meet in the planes ``begin .. end - 1``."""
    columns, phases = sums.shape[:2]
    for c in range(columns):
        plane, stride, width = _strides(shape, rays.along_x[view, c])
        p0, p1, z0, z1 = rays.p0[view, c], rays.p1[view, c], rays.z0[view, c], rays.z1[view, c]
        h0, h1 = rays.h0[view, c], rays.h1[view, c]
        for q in range(max(begin, rays.first[view, c]), min(end, rays.last[view, c])):
            at, step = z0 + z1 * q, h0 + h1 * q
            first, last, low, high = _seen(at, step, shape[2], rows)
            if first < last and low < high:
                i, j, wi, wj = neighbours(p0 + p1 * q, width)
                _read(volume, plane * q + stride * i, plane * q + stride * j, wi, wj, low, high, column)
                for phase in range(phases):
                    start, stop = first, last
                    if phases > 1:
                        start, stop = max((first - phase) // phases, 0), (last - 1 - phase) // phases + 1
                    _sample(column, at + step * phase, step * phases, start, stop, sums[c, phase])


@njit(**_FAST)
def _back_project_view(
    view: int,
    along_x: bool,
    begin: int,
    end: int,
    cells: np.ndarray,
    rows: int,
    rays: Rays,
    shape: tuple[int, int, int],
    column: np.ndarray,
    volume: np.ndarray,
) -> None:
    """Transpose of :func:`_project_view`, for the columns that march along x, or the others."""
    columns, phases = cells.shape[:2]
    plane, stride, width = _strides(shape, along_x)
    for c in range(columns):
        if rays.along_x[view, c] != along_x:
            continue
        p0, p1, z0, z1 = rays.p0[view, c], rays.p1[view, c], rays.z0[view, c], rays.z1[view, c]
        h0, h1 = rays.h0[view, c], rays.h1[view, c]
        for q in range(max(begin, rays.first[view, c]), min(end, rays.last[view, c])):
            at, step = z0 + z1 * q, h0 + h1 * q
            first, last, low, high = _seen(at, step, shape[2], rows)
            if first < last and low < high:
                column[low : high + CHUNK] = 0
                for phase in range(phases):
                    start, stop = first, last
                    if phases > 1:
                        start, stop = max((first - phase) // phases, 0), (last - 1 - phase) // phases + 1
                    _collect(cells[c, phase], at + step * phase, step * phases, start, stop, low, high, column)
                i, j, wi, wj = neighbours(p0 + p1 * q, width)
                _add(column, plane * q + stride * i, plane * q + stride * j, wi, wj, low, high, volume)


@njit(**_FAST)
def _length(rays: Rays, view: int, c: int, v: int) -> float:
    """Length of a ray between two planes."""
    slope = rays.e0[view, c] + rays.e1[view, c] * v
    return rays.step[view, c] * math.sqrt(1.0 + slope * slope)


# Jobs: each does a block of tasks.


@njit(**_FAST)
def project_job(
    job: int, block: int, volume: np.ndarray, shape: tuple[int, int, int], rays: Rays, phases: int, out: np.ndarray
) -> None:
    views, rows, columns = out.shape
    column = np.zeros(shape[2] + 2 * MARGIN, out.dtype)
    sums = np.empty((VIEWS, columns, phases, (rows + phases - 1) // phases + CHUNK), out.dtype)
    for task in range(job * block, min((job + 1) * block, (views + VIEWS - 1) // VIEWS)):
        sums[:] = 0
        first, last = task * VIEWS, min((task + 1) * VIEWS, views)
        for q in range(0, max(shape[0], shape[1]), PLANES):
            for view in range(first, last):
                _project_view(view, q, q + PLANES, volume, shape, rays, rows, column, sums[view - first])
        for view in range(first, last):
            for v in range(rows):
                for c in range(columns):
                    out[view, v, c] = _length(rays, view, c, v) * sums[view - first, c, v % phases, v // phases]


@njit(**_FAST)
def turn_job(job: int, block: int, y: np.ndarray, begin: int, rays: Rays, cells: np.ndarray) -> None:
    """The views ``begin``, ... by columns and phases, in units of a ray's length, one for each entry of ``cells``."""
    phases = cells.shape[2]
    for n in range(job * block, min((job + 1) * block, len(cells))):
        cells[n] = 0
        for v in range(y.shape[1]):
            for c in range(y.shape[2]):
                value = _length(rays, begin + n, c, v) * y[begin + n, v, c]
                cells[n, c, v % phases, MARGIN + v // phases] = value


@njit(**_FAST)
def back_project_job(
    job: int,
    block: int,
    cells: np.ndarray,
    rows: int,
    begin: int,
    along_x: bool,
    rays: Rays,
    shape: tuple[int, int, int],
    volume: np.ndarray,
) -> None:
    """Add the columns of the views ``begin``, ... that march along x, or the others, to the planes of the volume."""
    planes = shape[1] if along_x else shape[0]
    column = np.zeros(shape[2] + CHUNK, cells.dtype)
    for task in range(job * block, min((job + 1) * block, (planes + PLANES - 1) // PLANES)):
        q = task * PLANES
        for n in range(len(cells)):
            _back_project_view(begin + n, along_x, q, q + PLANES, cells[n], rows, rays, shape, column, volume)
