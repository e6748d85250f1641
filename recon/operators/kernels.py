"""Numba kernels of the parallel-beam projector: the sums that dominate, nothing else.

A view marches along the rows of an image (or of its transpose). On row i, counted from the middle one, the ray that
crosses the middle row at column ``t`` is at column ``t + slope * i``. All kernels work on *fine views*: Joseph's line
sums at multiples of ``1 / PHASES`` of a column. On such a grid the weight that a ray gives to a pixel, a hat one column
to each side, is straight between fine samples. So each pixel is shared between the two samples beside it, with one
fraction for a whole row, and the hat itself is put on once a view. The inner loops run over contiguous memory and need
no gather, in either direction. ``fine[phase, column]`` keeps each phase contiguous.

Work is split so that each task owns what it writes: no atomics, and the same bits for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from recon.operators._marching import PHASES, Marching

LANES = 32
"""Inner loops run over a multiple of this many elements: no scalar remainder, and whole vectors on any processor."""

GROUP = 4
"""Rows, or views, that one pass of the inner loop adds up, to load and store the sum less often."""

SPREAD = 16
"""Columns that the rows of one pass may be apart."""

LEFT = SPREAD
RIGHT = SPREAD + LANES
"""Columns of zeros beside a row, for shifted and rounded-up ranges to read."""

EDGE = 4
"""Columns beside the outermost pixel of a fine view: the reach of the hat, and rounding."""

BLOCK = 8
"""Image rows of one task: they stay in the first-level cache while all the views pass."""

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}


@njit(**_FAST)
def _share_four(
    here: np.ndarray, beyond: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, w: np.ndarray
) -> None:
    """``here += sum w[0] * r`` and ``beyond += sum w[1] * r`` over the rows r = a, b, c, d and their weights."""
    a0, b0, c0, d0 = w[0, 0], w[1, 0], w[2, 0], w[3, 0]
    a1, b1, c1, d1 = w[0, 1], w[1, 1], w[2, 1], w[3, 1]
    for t in range(here.size // LANES * LANES):  # the multiple is spelt out for the compiler
        here[t] += (a0 * a[t] + b0 * b[t]) + (c0 * c[t] + d0 * d[t])
        beyond[t] += (a1 * a[t] + b1 * b[t]) + (c1 * c[t] + d1 * d[t])


@njit(**_FAST)
def _add_eight(
    out: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    d: np.ndarray,
    e: np.ndarray,
    f: np.ndarray,
    g: np.ndarray,
    h: np.ndarray,
    w: np.ndarray,
) -> None:
    """Transpose of :func:`_share_four`: what a row gets of four views, two samples a pixel."""
    wa, wb, wc, wd = w[0, 0], w[0, 1], w[1, 0], w[1, 1]
    we, wf, wg, wh = w[2, 0], w[2, 1], w[3, 0], w[3, 1]
    for j in range(out.size // LANES * LANES):
        out[j] += ((wa * a[j] + wb * b[j]) + (wc * c[j] + wd * d[j])) + (
            (we * e[j] + wf * f[j]) + (wg * g[j] + wh * h[j])
        )


@njit(**_FAST)
def _add(out: np.ndarray, a: np.ndarray, weight: Any) -> None:
    for j in range(out.size):
        out[j] += weight * a[j]


@njit(**_FAST)
def _put_on_hat(samples: np.ndarray, fine: np.ndarray) -> None:
    """``fine[n] = sum_k (1 - |k| / PHASES) samples[n + k]``, its own transpose; the ends are zero."""
    kind = fine.dtype.type
    columns = fine.shape[1] - 2
    fine[:] = 0
    for phase in range(PHASES):
        for k in range(1 - PHASES, PHASES):
            shift = (phase + k) // PHASES
            source = samples[(phase + k) % PHASES, 1 + shift : 1 + shift + columns]
            _add(fine[phase, 1 : 1 + columns], source, kind(1 - abs(k) / PHASES))


@njit(**_FAST)
def _floor(x: float) -> tuple[np.int64, float]:
    """Integer part and fraction."""
    whole = math.floor(x)
    return np.int64(whole), x - whole


@njit(**_FAST)
def _rounded(length: int) -> int:
    """``length`` rounded up to whole vectors; 0 if it is negative."""
    return max(0, (length + LANES - 1) // LANES * LANES)


@njit(**_FAST)
def _place(g: Marching, k: int, i: int, rows: int, origin: int) -> tuple[np.int64, float]:
    """The fine sample before pixel 0 of row i, and how far beyond it the pixel is."""
    return _floor((origin - g.slope[k] * (i - 0.5 * (rows - 1))) * PHASES)


@njit(**_FAST)
def _shifted(row: np.ndarray, start: int, n: int) -> np.ndarray:
    return row[start : start + n]


@njit(**_FAST)
def _share_group(padded: np.ndarray, phase: int, group: np.ndarray, w: np.ndarray, samples: np.ndarray) -> None:
    """Share out a group of ``(row, column)`` whose pixels all lie between the same two phases."""
    a, b, c, d = group[0, 1], group[1, 1], group[2, 1], group[3, 1]
    low, high = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
    n = _rounded(padded.shape[1] - LEFT - RIGHT + high - low)
    start = low + LEFT
    _share_four(
        _shifted(samples[phase], low, n),
        _shifted(samples[(phase + 1) % PHASES], low + (phase + 1) // PHASES, n),
        _shifted(padded[group[0, 0]], start - a, n),
        _shifted(padded[group[1, 0]], start - b, n),
        _shifted(padded[group[2, 0]], start - c, n),
        _shifted(padded[group[3, 0]], start - d, n),
        w,
    )


@njit(**_FAST)
def _share_rows(padded: np.ndarray, g: Marching, k: int, origin: int, samples: np.ndarray) -> None:
    """Share out all pixels of an image; rows wait until GROUP of them lie between the same phases."""
    rows = padded.shape[0]
    kind = samples.dtype.type
    waiting = np.zeros(PHASES, np.int64)
    groups = np.zeros((PHASES, GROUP, 2), np.int64)
    weights = np.zeros((PHASES, GROUP, 2), samples.dtype)
    for i in range(rows + PHASES):
        if i < rows:
            m, f = _place(g, k, i, rows, origin)
            phase, column = m % PHASES, m // PHASES
            full = waiting[phase] == GROUP or (waiting[phase] > 0 and abs(column - groups[phase, 0, 1]) >= SPREAD)
        else:
            m, f, phase, column, full = 0, 0.0, i - rows, 0, waiting[i - rows] > 0
        if full:
            for empty in range(waiting[phase], GROUP):
                groups[phase, empty] = groups[phase, 0]
                weights[phase, empty] = 0
            _share_group(padded, phase, groups[phase], weights[phase], samples)
            waiting[phase] = 0
        if i < rows:
            groups[phase, waiting[phase], 0], groups[phase, waiting[phase], 1] = i, column
            weights[phase, waiting[phase], 0], weights[phase, waiting[phase], 1] = kind(1 - f), kind(f)
            waiting[phase] += 1


@njit(**_FAST)
def _project_view(task: int, padded: np.ndarray, g: Marching, width: int, out: np.ndarray) -> None:
    item, k = task // g.views.size, task % g.views.size
    origin = (width - (padded.shape[2] - LEFT - RIGHT)) // 2
    samples = np.zeros((PHASES, width + SPREAD + LANES), padded.dtype)
    fine = np.empty_like(samples)
    _share_rows(padded[item], g, k, origin, samples)
    _put_on_hat(samples, fine)
    for d in range(out.shape[2]):
        at = (g.base[k] + g.step[k] * d + origin) * PHASES
        value = 0.0
        if 0 <= at < PHASES * width - 1:
            m, f = _floor(at)
            value = (1.0 - f) * fine[m % PHASES, m // PHASES] + f * fine[(m + 1) % PHASES, (m + 1) // PHASES]
        out[item, g.views[k], d] = g.scale[k] * value


@njit(**_FAST)
def _spread_view(task: int, y: np.ndarray, g: Marching, first: int, columns: int, fine: np.ndarray) -> None:
    """Transpose of the end of :func:`_project_view`, for view ``first`` and those after it."""
    item, k = task // fine.shape[1], first + task % fine.shape[1]
    width = fine.shape[3] - LANES
    origin = (width - columns) // 2
    samples = np.zeros((PHASES, width + LANES), y.dtype)
    for d in range(y.shape[2]):
        at = (g.base[k] + g.step[k] * d + origin) * PHASES
        if 0 <= at < PHASES * width - 1:
            m, f = _floor(at)
            value = g.scale[k] * y[item, g.views[k], d]
            samples[m % PHASES, m // PHASES] += (1.0 - f) * value
            samples[(m + 1) % PHASES, (m + 1) // PHASES] += f * value
    _put_on_hat(samples, fine[item, k - first])


@njit(**_FAST)
def _interpolate_view(
    task: int, y: np.ndarray, g: Marching, first: int, columns: int, weights: np.ndarray, fine: np.ndarray
) -> None:
    """Fine samples of a measured view, linear between its cells and zero beyond them."""
    item, k = task // fine.shape[1], first + task % fine.shape[1]
    source, target = y[item, g.views[k]], fine[item, k - first]
    width = fine.shape[3] - LANES
    target[:] = 0
    for m in range(PHASES * width):
        d, fraction = _floor((m / PHASES - (width - columns) // 2 - g.base[k]) / g.step[k])
        value = 0.0
        if 0 <= d < source.size:
            value = (1.0 - fraction) * source[d]
        if 0 <= d + 1 < source.size:
            value += fraction * source[d + 1]
        target[m % PHASES, m // PHASES] = weights[g.views[k]] * value


@njit(**_FAST)
def _from(view: np.ndarray, m: int, n: int) -> np.ndarray:
    """Samples m, m + PHASES, m + 2 PHASES, ... of a fine view."""
    return view[m % PHASES, m // PHASES : m // PHASES + n]


@njit(**_FAST)
def _collect_row(fine: np.ndarray, k: int, m: np.ndarray, w: np.ndarray, out: np.ndarray) -> None:
    """Add to each pixel of a row its two samples of each of GROUP views."""
    n = out.size
    _add_eight(
        out,
        _from(fine[k], m[0], n),
        _from(fine[k], m[0] + 1, n),
        _from(fine[k + 1], m[1], n),
        _from(fine[k + 1], m[1] + 1, n),
        _from(fine[k + 2], m[2], n),
        _from(fine[k + 2], m[2] + 1, n),
        _from(fine[k + 3], m[3], n),
        _from(fine[k + 3], m[3] + 1, n),
        w,
    )


@njit(**_FAST)
def _collect_block(task: int, fine: np.ndarray, g: Marching, first: int, columns: int, out: np.ndarray) -> None:
    """Transpose of :func:`_share_rows` for some rows; ``fine`` holds a multiple of GROUP views."""
    rows = out.shape[1]
    blocks = (rows + BLOCK - 1) // BLOCK
    item, block = task // blocks, task % blocks
    origin = (fine.shape[3] - LANES - columns) // 2
    n = _rounded(columns)
    m, w = np.zeros(GROUP, np.int64), np.zeros((GROUP, 2), out.dtype)
    for k in range(0, fine.shape[1], GROUP):
        for i in range(block * BLOCK, min(rows, (block + 1) * BLOCK)):
            for v in range(GROUP):
                m[v], w[v, 0], w[v, 1] = 0, 0, 0
                if first + k + v < g.views.size:
                    m[v], f = _place(g, first + k + v, i, rows, origin)
                    w[v, 0], w[v, 1] = 1 - f, f
            _collect_row(fine[item], k, m, w, out[item, i, :n])


# Jobs: each does a block of tasks.


@njit(**_FAST)
def project_job(job: int, block: int, padded: np.ndarray, g: Marching, width: int, out: np.ndarray) -> None:
    for task in range(job * block, min((job + 1) * block, padded.shape[0] * g.views.size)):
        _project_view(task, padded, g, width, out)


@njit(**_FAST)
def spread_job(job: int, block: int, y: np.ndarray, g: Marching, first: int, columns: int, fine: np.ndarray) -> None:
    for task in range(job * block, min((job + 1) * block, fine.shape[0] * fine.shape[1])):
        if first + task % fine.shape[1] < g.views.size:
            _spread_view(task, y, g, first, columns, fine)


@njit(**_FAST)
def interpolate_job(
    job: int, block: int, y: np.ndarray, g: Marching, first: int, columns: int, weights: np.ndarray, fine: np.ndarray
) -> None:
    for task in range(job * block, min((job + 1) * block, fine.shape[0] * fine.shape[1])):
        if first + task % fine.shape[1] < g.views.size:
            _interpolate_view(task, y, g, first, columns, weights, fine)


@njit(**_FAST)
def collect_job(job: int, block: int, fine: np.ndarray, g: Marching, first: int, columns: int, out: np.ndarray) -> None:
    for task in range(job * block, min((job + 1) * block, out.shape[0] * ((out.shape[1] + BLOCK - 1) // BLOCK))):
        _collect_block(task, fine, g, first, columns, out)
