"""Numba kernels of three-dimensional projectors: Joseph's sums over planes of a volume, and nothing else.

Memory is turned so that z comes last: a volume is (rows, columns, slices), flattened, and a view (columns, rows). The
rays to one column of the detector cross a plane of the volume between the same two columns of voxels, so one pair of
weights serves them all. Along z they cross it at equal distances, near to one slice where rows are counted in as many
phases as there are rows in a slice. A run of LANES of them then stays beside a run of slices, and the few taps that
linear interpolation chooses from are read from contiguous memory, without any gather and in either direction.

Work is split so that each task owns what it writes: no atomics, and the same bits for any number of threads. Arrays are
flat and kernels inlined: a view of an array costs two atomic counts of its references, as much as half a column.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from recon.operators._cone_geometry import MARGIN, Rays
from solvers.lanes import LANES, floor, hat, load, load_some, ramp, splat, store, store_some, where_reached

PLANES = 4
"""Planes of one turn of the forward: they stay in the cache while views pass."""

BLOCK = 8
"""Planes of one task of the adjoint."""

VIEWS = 2
"""Views of one task of the forward."""

MOST_TAPS = 16
"""Taps beyond which interpolating entry by entry is quicker; MARGIN holds what lies beside that many."""

BITS = 48
"""Of a place that are behind the point, of 64: enough for double precision, and for 32 thousand slices."""

_FRACTION, _UNIT = (1 << BITS) - 1, 0.5**BITS

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}
_PART: Any = {**_FAST, "forceinline": True}


@njit(**_PART)
def neighbours(position: float, width: int) -> tuple[int, int, float, float]:
    """The columns beside a position and their weights; what lies beyond the plane weighs nothing."""
    below = math.floor(position)
    fraction = position - below
    i = int(below)
    wa = 1.0 - fraction if 0 <= i < width else 0.0
    wb = fraction if 0 <= i + 1 < width else 0.0
    return min(max(i, 0), width - 1), min(max(i + 1, 0), width - 1), wa, wb


@njit(**_PART)
def _taps(drift: float, reach: float) -> int:
    """How many neighbours a run needs whose lowest one drifts, and that each reads within ``reach``."""
    return int(min(math.ceil(abs(drift) * (LANES - 1) + reach + 1e-5), 1e6))


@njit(**_PART)
def _fixed(place: float) -> Any:
    """A place in units of 2^-BITS: rounding one down and what is left cost no conversions from and to integers."""
    return np.int64(place * (1 << BITS))


@njit(**_PART)
def _part(rows: int, phase: int, phases: int) -> int:
    """How many of the first rows belong to a phase."""
    return max((rows - phase + phases - 1) // phases, 0)


@njit(**_PART)
def _read(
    volume: np.ndarray, i: int, j: int, wi: float, wj: float, low: int, high: int, column: np.ndarray, to: int
) -> None:
    """The slices ``low .. high - 1`` between two columns of voxels, which begin at i and j; zeros up to a whole run."""
    kind = column.dtype.type
    wa, wb = splat(kind(wi)), splat(kind(wj))
    for k in range(low, high, LANES):
        if k + LANES <= high:
            store(column, to + k, wa * load(volume, i + k) + wb * load(volume, j + k))
        else:
            left, right = load_some(volume, i + k, high - k), load_some(volume, j + k, high - k)
            store(column, to + k, wa * left + wb * right)


@njit(**_PART)
def _add(volume: np.ndarray, at: int, count: int, run: Any) -> None:
    """Add the first numbers of a run to the volume."""
    if count >= LANES:
        store(volume, at, load(volume, at) + run)
    else:
        store_some(volume, at, load_some(volume, at, count) + run, count)


@njit(**_PART)
def _interpolated(source: np.ndarray, at: int, x: Any, taps: int) -> Any:
    """``source[at + t + x[t]]``, linear between entries, where ``0 <= x < taps - 1``."""
    kind = source.dtype.type
    left, right = load(source, at), load(source, at + 1)
    for tap in range(1, taps - 1):
        beyond, level = load(source, at + tap + 1), splat(kind(tap))
        left, right = where_reached(x, level, right, left), where_reached(x, level, beyond, right)
    whole = where_reached(x, splat(kind(1)), floor(x), splat(kind(0)))  # x may be rounded to a little below 0
    return left + (x - whole) * (right - left)


@njit(**_PART)
def _shared(source: np.ndarray, at: int, x: Any, step: Any, taps: int) -> Any:
    """``sum_j hat(x[t] + step * j) source[at + t + j]``."""
    total = hat(x) * load(source, at)
    for tap in range(1, taps):
        x = x + step
        total = total + hat(x) * load(source, at + tap)
    return total


@njit(**_PART)
def _sample_by(
    columns: np.ndarray,
    width: int,
    lines: np.ndarray,
    count: int,
    begin: int,
    end: int,
    out: np.ndarray,
    to: int,
    taps: int,
) -> None:
    kind = out.dtype.type
    runs = (end - begin + LANES - 1) // LANES
    for run in range(runs):
        n = begin + LANES * run
        total = load(out, to + n)
        for p in range(count):
            drift = lines[p, 1] - 1
            back = min(drift * (LANES - 1), 0.0)
            place = _fixed(lines[p, 0] + lines[p, 1] * begin + MARGIN + back) + _fixed(lines[p, 1] * LANES) * run
            # Beyond the margins there is nothing, and within them as much.
            first = min(max(place >> BITS, 0), width - LANES - taps)
            x = ramp(kind(place & _FRACTION) * kind(_UNIT) - kind(back), kind(drift))
            total = total + _interpolated(columns, p * width + first, x, taps)
        store(out, to + n, total)


@njit(**_PART)
def _sample(
    columns: np.ndarray, width: int, lines: np.ndarray, count: int, begin: int, end: int, out: np.ndarray, to: int
) -> None:
    """Add to ``out[to + n]`` each column at ``start + step * n`` of its line, linear between slices."""
    taps = 0
    for p in range(count):
        taps = max(taps, _taps(lines[p, 1] - 1, 2.0))
    if taps <= 4:
        _sample_by(columns, width, lines, count, begin, end, out, to, 4)
    elif taps <= 6:
        _sample_by(columns, width, lines, count, begin, end, out, to, 6)
    elif taps <= MOST_TAPS:
        _sample_by(columns, width, lines, count, begin, end, out, to, taps)
    else:
        for p in range(count):
            for n in range(begin, end):
                place = min(max(lines[p, 0] + lines[p, 1] * n + MARGIN, 0.0), width - 2.0)
                k = np.int64(place)
                f = out.dtype.type(place - k)
                out[to + n] += (1 - f) * columns[p * width + k] + f * columns[p * width + k + 1]


@njit(**_PART)
def _collect_by(
    cells: np.ndarray,
    base: int,
    width: int,
    at: float,
    step: float,
    low: int,
    high: int,
    pair: Any,
    volume: np.ndarray,
    phases: int,
    taps: int,
) -> None:
    kind = volume.dtype.type
    i, j, wi, wj = pair
    wa, wb, apart = splat(kind(wi)), splat(kind(wj)), splat(kind(step * phases))
    slope = 1 / (step * phases)
    back, change = min((slope - 1) * (LANES - 1), 0.0), kind(step * phases - 1)
    hop, scale = _fixed(slope * LANES), kind(-step * phases * _UNIT)
    reached = kind(step * phases * (1 + back) - 1)  # where the first cell stands, less its fraction
    for k in range(low, high, LANES):
        total = splat(kind(0))
        for phase in range(phases):
            start = at + step * phase
            place = _fixed(MARGIN + 1 + back + slope * (low - 1 - start)) + hop * ((k - low) // LANES)
            x = ramp(reached + scale * kind(place & _FRACTION), change)
            total = total + _shared(cells, base + phase * width + (place >> BITS), x, apart, taps)
        _add(volume, i + k, high - k, wa * total)
        _add(volume, j + k, high - k, wb * total)


@njit(**_PART)
def _collect(
    cells: np.ndarray,
    base: int,
    width: int,
    at: float,
    step: float,
    seen: Any,
    pair: Any,
    volume: np.ndarray,
    phases: int,
) -> None:
    """Transpose of :func:`_read` and :func:`_sample`, for one column: add to the two columns of voxels of ``pair``."""
    first, last, low, high = seen
    taps = _taps(1 / (step * phases) - 1, 2 / (step * phases))
    if taps <= 4 and phases == 1:
        _collect_by(cells, base, width, at, step, low, high, pair, volume, 1, 4)
    elif taps <= 6 and phases == 1:
        _collect_by(cells, base, width, at, step, low, high, pair, volume, 1, 6)
    elif taps <= 8 and phases == 1:
        _collect_by(cells, base, width, at, step, low, high, pair, volume, 1, 8)
    elif taps <= MOST_TAPS:
        _collect_by(cells, base, width, at, step, low, high, pair, volume, phases, taps)
    else:
        for v in range(first, last):
            below = math.floor(at + step * v)
            f, k = at + step * v - below, np.int64(below)
            value = cells[base + v % phases * width + MARGIN + v // phases]
            for column, weight in ((pair[0], pair[2]), (pair[1], pair[3])):
                if low <= k < high:
                    volume[column + k] += volume.dtype.type(weight * (1 - f)) * value
                if low <= k + 1 < high:
                    volume[column + k + 1] += volume.dtype.type(weight * f) * value


@njit(**_PART)
def _seen(at: float, step: float, slices: int, rows: int) -> Any:
    """The rows that lead into the volume, and the slices that they read."""
    per_step = 1 / step
    first = np.int64(max(min((-1 - at) * per_step - 1e-6, 1.0 * rows), 0.0))
    last: Any = min(np.int64(max((slices - at) * per_step + 1e-6, -2.0)) + 2, rows)
    low = np.int64(max(min(at + step * first, 1.0 * slices), 0.0))
    high = min(np.int64(max(at + step * (last - 1), -2.0)) + 2, slices)
    return first, last, low, high


@njit(**_PART)
def _strides(shape: tuple[int, int, int], along_x: bool) -> tuple[int, int, int]:
    """How far the planes of a flat volume are apart, and the columns of voxels of one, and how many of these it has."""
    rows, columns, slices = shape
    if along_x:
        return slices, columns * slices, rows
    return columns * slices, slices, columns


@njit(**_PART)
def _project_view(
    view: int,
    begin: int,
    end: int,
    volume: np.ndarray,
    shape: tuple[int, int, int],
    rays: Rays,
    rows: int,
    phases: int,
    scratch: Any,
    sums: np.ndarray,
    to: int,
) -> None:
    """Add what the rays of a view meet in the planes ``begin .. end - 1``, to sums by columns and phases."""
    columns, lines, length = scratch
    width = shape[2] + 2 * MARGIN + LANES
    for c in range(rays.first.shape[1]):
        plane, stride, across = _strides(shape, rays.along_x[view, c])
        p0, p1, z0, z1 = rays.p0[view, c], rays.p1[view, c], rays.z0[view, c], rays.z1[view, c]
        h0, h1 = rays.h0[view, c], rays.h1[view, c]
        count, start, stop = 0, rows, 0
        for q in range(max(begin, rays.first[view, c]), min(end, rays.last[view, c])):
            at, step = z0 + z1 * q, h0 + h1 * q
            first, last, low, high = _seen(at, step, shape[2], rows)
            if first < last and low < high:
                i, j, wi, wj = neighbours(p0 + p1 * q, across)
                _read(
                    volume,
                    plane * q + stride * i,
                    plane * q + stride * j,
                    wi,
                    wj,
                    low,
                    high,
                    columns,
                    count * width + MARGIN,
                )
                lines[count, 0], lines[count, 1] = at, step
                start, stop, count = min(start, first), max(stop, last), count + 1
        if count == 0:
            continue
        for p in range(count):
            lines[p, 1] *= phases
        for phase in range(phases):
            low, high = start // phases, _part(stop, phase, phases)
            _sample(columns, width, lines, count, low, high, sums, to + (c * phases + phase) * length)
            for p in range(count):
                lines[p, 0] += lines[p, 1] / phases


@njit(**_PART)
def _back_project_view(
    view: int,
    along_x: bool,
    begin: int,
    end: int,
    cells: np.ndarray,
    base: int,
    width: int,
    rows: int,
    phases: int,
    rays: Rays,
    shape: tuple[int, int, int],
    volume: np.ndarray,
) -> None:
    """Transpose of :func:`_project_view`, for the columns that march along x, or the others."""
    plane, stride, across = _strides(shape, along_x)
    for c in range(rays.first.shape[1]):
        if rays.along_x[view, c] != along_x:
            continue
        p0, p1, z0, z1 = rays.p0[view, c], rays.p1[view, c], rays.z0[view, c], rays.z1[view, c]
        h0, h1 = rays.h0[view, c], rays.h1[view, c]
        for q in range(max(begin, rays.first[view, c]), min(end, rays.last[view, c])):
            at, step = z0 + z1 * q, h0 + h1 * q
            first, last, low, high = _seen(at, step, shape[2], rows)
            if first < last and low < high:
                i, j, wi, wj = neighbours(p0 + p1 * q, across)
                pair = plane * q + stride * i, plane * q + stride * j, wi, wj
                _collect(
                    cells, base + c * phases * width, width, at, step, (first, last, low, high), pair, volume, phases
                )


@njit(**_PART)
def _weigh(rays: Rays, view: int, v: int, row: np.ndarray) -> None:
    """Multiply a row of the detector by the lengths of its rays between two planes."""
    for c in range(row.size):
        slope = rays.e0[view, c] + rays.e1[view, c] * v
        row[c] *= rays.step[view, c] * math.sqrt(1.0 + slope * slope)


# Jobs: each does a block of tasks.


@njit(**_FAST)
def project_job(
    job: int, block: int, volume: np.ndarray, shape: tuple[int, int, int], rays: Rays, phases: int, out: np.ndarray
) -> None:
    views, rows, columns = out.shape
    length = (rows + phases - 1) // phases + LANES
    scratch = np.zeros(PLANES * (shape[2] + 2 * MARGIN + LANES), out.dtype), np.empty((PLANES, 2)), length
    size = columns * phases * length
    sums = np.empty(VIEWS * size, out.dtype)
    for task in range(job * block, min((job + 1) * block, (views + VIEWS - 1) // VIEWS)):
        sums[:] = 0
        first, last = task * VIEWS, min((task + 1) * VIEWS, views)
        for q in range(0, max(shape[0], shape[1]), PLANES):
            for view in range(first, last):
                _project_view(
                    view, q, q + PLANES, volume, shape, rays, rows, phases, scratch, sums, (view - first) * size
                )
        for view in range(first, last):
            for v in range(rows):
                row, at = out[view, v], (view - first) * size + v % phases * length + v // phases
                for c in range(columns):
                    row[c] = sums[at + c * phases * length]
                _weigh(rays, view, v, row)


@njit(**_FAST)
def turn_job(job: int, block: int, y: np.ndarray, begin: int, rays: Rays, cells: np.ndarray) -> None:
    """The views ``begin``, ... by columns and phases, in units of a ray's length, one for each entry of ``cells``."""
    phases = cells.shape[2]
    row = np.empty(y.shape[2], y.dtype)
    for n in range(job * block, min((job + 1) * block, len(cells))):
        cells[n] = 0
        for v in range(y.shape[1]):
            row[:] = y[begin + n, v]
            _weigh(rays, begin + n, v, row)
            phase, k = v % phases, MARGIN + v // phases
            for c in range(row.size):
                cells[n, c, phase, k] = row[c]


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
    views, columns, phases, width = cells.shape
    flat = cells.reshape(-1)
    for task in range(job * block, min((job + 1) * block, (planes + BLOCK - 1) // BLOCK)):
        q = task * BLOCK
        for n in range(views):
            at = n * columns * phases * width
            _back_project_view(begin + n, along_x, q, q + BLOCK, flat, at, width, rows, phases, rays, shape, volume)
