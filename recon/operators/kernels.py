"""Numba kernels of the parallel-beam projector: the sums that dominate, nothing else.

A view marches along the rows of an image (or of its transpose). On row i, counted from the middle one, the ray that
crosses the middle row at column t is at column ``t + slope * i``. All kernels work on *fine views*: Joseph's line sums
at ``t = start + index + phase / PHASES``. On such a grid one row meets one view with a single interpolation weight for
each phase, so the inner loops run over contiguous memory and need no gather, in either direction.
``fine[phase, index]`` keeps each phase contiguous.

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

LEFT = 8
RIGHT = 8 + LANES
"""Columns of zeros beside a row or a fine view, for shifted and rounded-up ranges to read."""

GROUP = 4
"""Rows that one pass of the inner loop adds up, to load and store the sum less often."""

BLOCK = 8
"""Image rows of one task: they stay in the first-level cache while all the views pass."""

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}


@njit(**_FAST)
def _add_four(
    out: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, fa: Any, fb: Any, fc: Any, fd: Any
) -> None:
    """``out[t] += sum (1 - f) * r[t] + f * r[t + 1]`` over the rows r = a, b, c, d and their fractions f."""
    one = out.dtype.type(1)
    a0, b0, c0, d0 = one - fa, one - fb, one - fc, one - fd
    for t in range(out.size // LANES * LANES):  # the multiple is spelt out for the compiler
        out[t] += (a0 * a[t] + fa * a[t + 1] + b0 * b[t] + fb * b[t + 1]) + (
            c0 * c[t] + fc * c[t + 1] + d0 * d[t] + fd * d[t + 1]
        )


@njit(**_FAST)
def _add_two(out: np.ndarray, a: np.ndarray, b: np.ndarray, wa: Any, wb: Any) -> None:
    """``out[j] += wa * a[j] + wb * b[j]``."""
    for j in range(out.size // LANES * LANES):
        out[j] += wa * a[j] + wb * b[j]


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
def _project_rows(padded: np.ndarray, rows: int, slope: float, start: int, width: int, fine: np.ndarray) -> None:
    """Joseph's sums of one view. ``padded`` holds a multiple of GROUP rows, ``fine`` LANES spare columns."""
    columns = padded.shape[1] - LEFT - RIGHT
    kind = fine.dtype.type
    for i in range(0, padded.shape[0], GROUP):
        for phase in range(PHASES):
            at = phase / PHASES + slope * (i - 0.5 * (rows - 1))
            sa, fa = _floor(at)
            sb, fb = _floor(at + slope)
            sc, fc = _floor(at + 2 * slope)
            sd, fd = _floor(at + 3 * slope)
            # Columns -1 .. columns - 1 interpolate something that is not zero; sa .. sd is monotone.
            first = max(start, -1 - max(sa, sd))
            n = _rounded(min(start + width, columns - min(sa, sd)) - first)
            c = first + LEFT
            _add_four(
                fine[phase, first - start : first - start + n],
                padded[i, c + sa : c + sa + n + 1],
                padded[i + 1, c + sb : c + sb + n + 1],
                padded[i + 2, c + sc : c + sc + n + 1],
                padded[i + 3, c + sd : c + sd + n + 1],
                kind(fa),
                kind(fb),
                kind(fc),
                kind(fd),
            )


@njit(**_FAST)
def _project_view(task: int, padded: np.ndarray, rows: int, g: Marching, out: np.ndarray) -> None:
    item, k = task // g.views.size, task % g.views.size
    fine = np.zeros((PHASES, g.width + LANES), padded.dtype)
    _project_rows(padded[item], rows, g.slope[k], g.start[k], g.width, fine)
    for d in range(out.shape[2]):
        m, fraction = _floor((g.base[k] + g.step[k] * d - g.start[k]) * PHASES)
        value = 0.0
        if 0 <= m < PHASES * g.width - 1:
            value = (1.0 - fraction) * fine[m % PHASES, m // PHASES]
            value += fraction * fine[(m + 1) % PHASES, (m + 1) // PHASES]
        out[item, g.views[k], d] = g.scale[k] * value


@njit(**_FAST)
def _spread_view(task: int, y: np.ndarray, g: Marching, fine: np.ndarray) -> None:
    """Transpose of the interpolation that ends :func:`_project_view`."""
    item, k = task // g.views.size, task % g.views.size
    target = fine[item, k]
    target[:] = 0
    for d in range(y.shape[2]):
        m, fraction = _floor((g.base[k] + g.step[k] * d - g.start[k]) * PHASES)
        if 0 <= m < PHASES * g.width - 1:
            value = g.scale[k] * y[item, g.views[k], d]
            target[m % PHASES, m // PHASES + LEFT] += (1.0 - fraction) * value
            target[(m + 1) % PHASES, (m + 1) // PHASES + LEFT] += fraction * value


@njit(**_FAST)
def _collect_row(fine: np.ndarray, at: float, start: int, width: int, columns: int, out: np.ndarray) -> None:
    """Transpose of :func:`_project_rows` for one view and one row, which the view crosses ``at`` columns further."""
    kind = fine.dtype.type
    sa, fa = _floor(at)
    sb, fb = _floor(at + 1 / PHASES)
    sc, fc = _floor(at + 2 / PHASES)
    sd, fd = _floor(at + 3 / PHASES)
    first = max(0, start + sa)  # sa .. sd do not fall
    n = _rounded(min(columns, start + width + sd + 1) - first)
    c = first - start + LEFT - 1
    _add_four(
        out[first : first + n],
        fine[0, c - sa : c - sa + n + 1],
        fine[1, c - sb : c - sb + n + 1],
        fine[2, c - sc : c - sc + n + 1],
        fine[3, c - sd : c - sd + n + 1],
        kind(1 - fa),
        kind(1 - fb),
        kind(1 - fc),
        kind(1 - fd),
    )


@njit(**_FAST)
def _collect_block(task: int, fine: np.ndarray, g: Marching, out: np.ndarray) -> None:
    rows, columns = out.shape[1], out.shape[2] - LANES
    blocks = (rows + BLOCK - 1) // BLOCK
    item, block = task // blocks, task % blocks
    for k in range(g.views.size):
        for i in range(block * BLOCK, min(rows, (block + 1) * BLOCK)):
            at = g.slope[k] * (i - 0.5 * (rows - 1))
            _collect_row(fine[item, k], at, g.start[k], g.width, columns, out[item, i])


@njit(**_FAST)
def _interpolate_view(task: int, y: np.ndarray, g: Marching, weights: np.ndarray, fine: np.ndarray) -> None:
    """Fine samples of a measured view, linear between its cells and zero beyond them."""
    item, k = task // g.views.size, task % g.views.size
    source, target = y[item, g.views[k]], fine[item, k]
    target[:] = 0
    for m in range(PHASES * g.width):
        d, fraction = _floor((g.start[k] + m / PHASES - g.base[k]) / g.step[k])
        value = 0.0
        if 0 <= d < source.size:
            value = (1.0 - fraction) * source[d]
        if 0 <= d + 1 < source.size:
            value += fraction * source[d + 1]
        target[m % PHASES, m // PHASES + LEFT] = weights[g.views[k]] * value


@njit(**_FAST)
def _smear_row(fine: np.ndarray, at: float, start: int, width: int, columns: int, out: np.ndarray) -> None:
    """Add to each pixel of a row the value of the view where the pixel projects."""
    kind = fine.dtype.type
    m, fraction = _floor(-(at + start) * PHASES)  # pixel j lies between fine samples PHASES * j + m and the next
    here, beyond = m // PHASES, (m + 1) // PHASES
    first = max(0, -beyond)
    n = _rounded(min(columns, width - here) - first)
    a, b = first + here + LEFT, first + beyond + LEFT
    _add_two(
        out[first : first + n],
        fine[m % PHASES, a : a + n],
        fine[(m + 1) % PHASES, b : b + n],
        kind(1.0 - fraction),
        kind(fraction),
    )


@njit(**_FAST)
def _smear_block(task: int, fine: np.ndarray, g: Marching, out: np.ndarray) -> None:
    rows, columns = out.shape[1], out.shape[2] - LANES
    blocks = (rows + BLOCK - 1) // BLOCK
    item, block = task // blocks, task % blocks
    for k in range(g.views.size):
        for i in range(block * BLOCK, min(rows, (block + 1) * BLOCK)):
            at = g.slope[k] * (i - 0.5 * (rows - 1))
            _smear_row(fine[item, k], at, g.start[k], g.width, columns, out[item, i])


@njit(**_FAST)
def _row_tasks(out: np.ndarray) -> int:
    return out.shape[0] * ((out.shape[1] + BLOCK - 1) // BLOCK)


# Jobs: each does a block of tasks.


@njit(**_FAST)
def project_job(job: int, block: int, padded: np.ndarray, rows: int, g: Marching, out: np.ndarray) -> None:
    for task in range(job * block, min((job + 1) * block, padded.shape[0] * g.views.size)):
        _project_view(task, padded, rows, g, out)


@njit(**_FAST)
def spread_job(job: int, block: int, y: np.ndarray, g: Marching, fine: np.ndarray) -> None:
    for task in range(job * block, min((job + 1) * block, y.shape[0] * g.views.size)):
        _spread_view(task, y, g, fine)


@njit(**_FAST)
def collect_job(job: int, block: int, fine: np.ndarray, g: Marching, out: np.ndarray) -> None:
    for task in range(job * block, min((job + 1) * block, _row_tasks(out))):
        _collect_block(task, fine, g, out)


@njit(**_FAST)
def interpolate_job(job: int, block: int, y: np.ndarray, g: Marching, weights: np.ndarray, fine: np.ndarray) -> None:
    for task in range(job * block, min((job + 1) * block, y.shape[0] * g.views.size)):
        _interpolate_view(task, y, g, weights, fine)


@njit(**_FAST)
def smear_job(job: int, block: int, fine: np.ndarray, g: Marching, out: np.ndarray) -> None:
    for task in range(job * block, min((job + 1) * block, _row_tasks(out))):
        _smear_block(task, fine, g, out)
