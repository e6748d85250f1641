"""Numba kernels of the fan-beam projector: the sums that dominate, nothing else.

Rays of a fan cross row i of the image (or of its transpose) at ``column + (i - row) * slope`` with the source at
``(row, column)``: from one row to the next their pattern only widens. A block of neighbouring rows is summed on a grid
of PHASES fine samples a pixel that fits its middle row. On another row of the block the samples are ``1 + w`` pixels
apart, with so small a widening w that a run of CHUNK samples stays beside a run of pixels. Three taps, of which at most
two are not zero, then interpolate linearly over contiguous memory, without any gather and in either direction. After
each block the cells read between the two nearest fine samples.

Work is split so that each task owns what it writes: no atomics, and the same bits for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from recon.operators._fan_geometry import CHUNK, STRIPE, Fans, block_rows
from recon.operators._marching import PHASES

MARGIN = 48
"""Columns of zeros beside an image, or of spare samples beside a fine view, for shifted ranges to read."""

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}


# Offsets are unsigned: a signed one could count from the end of an array, and asking stops the compiler's vectors.
_U: Any = np.uint64
_ONE, _TWO, _CHUNK, _PHASES = _U(1), _U(2), _U(CHUNK), _U(PHASES)


@njit(**_FAST)
def _add_rows(
    out: np.ndarray, phase: Any, c: Any, image: np.ndarray, i: Any, a: Any, fa: Any, b: Any, fb: Any, wa: Any, wb: Any
) -> None:
    """``out[t] += sum of row at t + f + w * t``, linear between pixels, over rows i and i + 1 of an image.

    ``f + w * t`` is within [-1, 1]; ``a`` and ``b`` are where t = -1 stands on the two rows.
    """
    kind, zero, one = out.dtype.type, out.dtype.type(0), out.dtype.type(1)
    for t in range(_CHUNK):
        f, g = fa + wa * kind(t), fb + wb * kind(t)
        after, later = max(f, zero), max(g, zero)
        x = (one - abs(f)) * image[i, a + t + _ONE] + after * image[i, a + t + _TWO] + (after - f) * image[i, a + t]
        y = (one - abs(g)) * image[i + _ONE, b + t + _ONE] + later * image[i + _ONE, b + t + _TWO]
        out[phase, c + t] += x + (y + (later - g) * image[i + _ONE, b + t])


@njit(**_FAST)
def _share(fine: np.ndarray, phase: Any, at: Any, f: Any, w: Any) -> Any:
    """What a pixel gets of the samples at, at + 1 and at + 2 of a phase, the middle one f and all 1 + w apart."""
    zero, one = fine.dtype.type(0), fine.dtype.type(1)
    middle = (one - abs(f)) * fine[phase, at + _ONE]
    return middle + max(f - w, zero) * fine[phase, at] - min(f + w, zero) * fine[phase, at + _TWO]


@njit(**_FAST)
def _add_phases(
    out: np.ndarray,
    i: Any,
    q: Any,
    fine: np.ndarray,
    a: Any,
    fa: Any,
    b: Any,
    fb: Any,
    c: Any,
    fc: Any,
    d: Any,
    fd: Any,
    w: Any,
) -> None:
    """Transpose of :func:`_add_rows`, for one row and all phases."""
    kind = out.dtype.type
    for t in range(_CHUNK):
        move = w * kind(t)
        out[i, q + t] += (_share(fine, _U(0), a + t, fa + move, w) + _share(fine, _U(1), b + t, fb + move, w)) + (
            _share(fine, _U(2), c + t, fc + move, w) + _share(fine, _U(3), d + t, fd + move, w)
        )


@njit(**_FAST)
def _slopes(g: Fans, k: int, slope: np.ndarray) -> None:
    for d in range(g.first[k], g.last[k]):
        slope[d] = (g.a[k] + g.b[k] * g.tangent[d]) / (g.c[k] + g.e[k] * g.tangent[d])


_block_rows = njit(**_FAST)(block_rows)


@njit(**_FAST)
def _window(g: Fans, k: int, top: int, bottom: int, columns: int, slope: np.ndarray) -> tuple[int, int]:
    """First column and number of columns of a block's fine grid: what both the image and the cells reach."""
    middle = 0.5 * (top + bottom - 1) - g.row[k]
    if middle * g.sense[k] <= 0:
        return 0, 0  # behind the source
    one, other = middle * slope[g.first[k]], middle * slope[g.last[k] - 1]
    low, high = min(one, other), max(one, other)
    near, far = middle / (top - g.row[k]), middle / (bottom - 1 - g.row[k])
    left, right = -1 - g.column[k], columns - g.column[k]
    low = max(low, min(left * near, left * far) - 1)
    high = min(high, max(right * near, right * far) + 1)
    if low > high:
        return 0, 0
    start = math.floor(g.column[k] + low) - 1  # the cell at the end may be rounded beyond it
    return start, math.floor(g.column[k] + high) + 2 - start


@njit(**_FAST)
def _beside(at: float, widening: float) -> tuple[Any, float]:
    """The pixel before the one that a run of CHUNK samples from ``at`` on stays beside, and how far it begins off."""
    pixel = math.floor(at + widening * (CHUNK / 2) + 0.5)
    return _U(np.int64(pixel) - 1 + MARGIN), at - pixel


@njit(**_FAST)
def _project_block(
    image: np.ndarray, g: Fans, k: int, top: int, bottom: int, start: int, width: int, fine: np.ndarray
) -> None:
    """Joseph's sums over the rows of a block on its fine grid."""
    kind = fine.dtype.type
    middle = 0.5 * (top + bottom - 1) - g.row[k]
    zeros = _U(image.shape[1] - CHUNK - MARGIN)  # columns that stand in for the second row of an odd block
    fine[:, : width + CHUNK] = 0
    for i in range(top, bottom, 2):
        one, other = (i - g.row[k]) / middle, (i + 1 - g.row[k]) / middle
        wa, wb = kind(one - 1), kind(other - 1) if i + 1 < bottom else kind(0)
        for phase in range(PHASES):
            for c in range(0, width, CHUNK):
                offset = start + c + phase / PHASES - g.column[k]
                a, fa = _beside(g.column[k] + one * offset, one - 1)
                b, fb = _beside(g.column[k] + other * offset, other - 1)
                if i + 1 == bottom:
                    b, fb = zeros, 0.0
                _add_rows(fine, _U(phase), _U(c), image, _U(i), a, kind(fa), b, kind(fb), wa, wb)


@njit(**_FAST)
def _project_fan(task: int, padded: np.ndarray, rows: int, g: Fans, out: np.ndarray) -> None:
    item, k = task // g.views.size, task % g.views.size
    columns = padded.shape[2] - 2 * MARGIN - CHUNK
    fine = np.empty((PHASES, columns + 2 * STRIPE + 2 * CHUNK), padded.dtype)
    slope = np.empty(out.shape[2])
    sums = np.zeros(out.shape[2])
    _slopes(g, k, slope)
    for stripe in range(0, rows, STRIPE):
        end = min(rows, stripe + STRIPE)
        step = _block_rows(g.row[k], stripe, end)
        for top in range(stripe, end, step):
            bottom = min(end, top + step)
            start, width = _window(g, k, top, bottom, columns, slope)
            if width > 0:
                _project_block(padded[item], g, k, top, bottom, start, width, fine)
                _read(fine, g, k, 0.5 * (top + bottom - 1) - g.row[k], start, width, slope, sums)
    for d in range(g.first[k], g.last[k]):
        out[item, g.views[k], d] = g.spacing * math.sqrt(1 + slope[d] ** 2) * sums[d]


@njit(**_FAST)
def _read(
    fine: np.ndarray, g: Fans, k: int, middle: float, start: int, width: int, slope: np.ndarray, sums: np.ndarray
) -> None:
    """Add to each cell what lies between the two fine samples beside it."""
    for d in range(g.first[k], g.last[k]):
        at = (g.column[k] + middle * slope[d] - start) * PHASES
        if 0 <= at < PHASES * width - 1:
            m = _U(np.int64(at))
            f = at - m
            n = m + _ONE
            sums[d] += (1.0 - f) * fine[m % _PHASES, m // _PHASES] + f * fine[n % _PHASES, n // _PHASES]


@njit(**_FAST)
def _spread(
    values: np.ndarray, g: Fans, k: int, middle: float, start: int, width: int, slope: np.ndarray, fine: np.ndarray
) -> None:
    """Transpose of :func:`_read`."""
    fine[:, : width + CHUNK + MARGIN] = 0
    for d in range(g.first[k], g.last[k]):
        at = (g.column[k] + middle * slope[d] - start) * PHASES
        if 0 <= at < PHASES * width - 1:
            m = _U(np.int64(at))
            f = at - m
            n = m + _ONE
            fine[m % _PHASES, m // _PHASES + _U(MARGIN // 2)] += (1.0 - f) * values[d]
            fine[n % _PHASES, n // _PHASES + _U(MARGIN // 2)] += f * values[d]


@njit(**_FAST)
def _around(q: int, column: float, ratio: float, start: int, phase: int) -> tuple[Any, float]:
    """The sample before the one that a run of CHUNK pixels from ``q`` on stays beside, and how far it begins off."""
    sample = math.floor(column - phase / PHASES + (q + CHUNK / 2 - column) / ratio - CHUNK / 2 + 0.5)
    at = column + ratio * (sample + phase / PHASES - column)
    return _U(np.int64(sample) - start - 1 + MARGIN // 2), at - q


@njit(**_FAST)
def _collect_block(
    fine: np.ndarray, g: Fans, k: int, top: int, bottom: int, start: int, width: int, image: np.ndarray
) -> None:
    """Transpose of :func:`_project_block`."""
    kind = fine.dtype.type
    columns = image.shape[1] - CHUNK
    middle = 0.5 * (top + bottom - 1) - g.row[k]
    for i in range(top, bottom):
        ratio = (i - g.row[k]) / middle
        low = max(0, math.floor(g.column[k] + ratio * (start - g.column[k])))
        high = min(columns, math.floor(g.column[k] + ratio * (start + width - g.column[k])) + 2)
        w = kind(ratio - 1)
        for q in range(low, high, CHUNK):
            a, fa = _around(q, g.column[k], ratio, start, 0)
            b, fb = _around(q, g.column[k], ratio, start, 1)
            c, fc = _around(q, g.column[k], ratio, start, 2)
            d, fd = _around(q, g.column[k], ratio, start, 3)
            _add_phases(image, _U(i), _U(q), fine, a, kind(fa), b, kind(fb), c, kind(fc), d, kind(fd), w)


@njit(**_FAST)
def _collect_stripe(task: int, y: np.ndarray, g: Fans, out: np.ndarray) -> None:
    rows, columns = out.shape[1], out.shape[2] - CHUNK
    stripes = (rows + STRIPE - 1) // STRIPE
    item, stripe = task // stripes, task % stripes * STRIPE
    end = min(rows, stripe + STRIPE)
    fine = np.empty((PHASES, columns + 2 * STRIPE + 2 * CHUNK + MARGIN), y.dtype)
    slope = np.empty(y.shape[2])
    values = np.empty(y.shape[2])
    for k in range(g.views.size):
        _slopes(g, k, slope)
        for d in range(g.first[k], g.last[k]):
            values[d] = g.spacing * math.sqrt(1 + slope[d] ** 2) * y[item, g.views[k], d]
        step = _block_rows(g.row[k], stripe, end)
        for top in range(stripe, end, step):
            bottom = min(end, top + step)
            start, width = _window(g, k, top, bottom, columns, slope)
            if width > 0:
                _spread(values, g, k, 0.5 * (top + bottom - 1) - g.row[k], start, width, slope, fine)
                _collect_block(fine, g, k, top, bottom, start, width, out[item])


# Jobs: each does a block of tasks.


@njit(**_FAST)
def project_job(job: int, block: int, padded: np.ndarray, rows: int, g: Fans, out: np.ndarray) -> None:
    for task in range(job * block, min((job + 1) * block, padded.shape[0] * g.views.size)):
        _project_fan(task, padded, rows, g, out)


@njit(**_FAST)
def collect_job(job: int, block: int, y: np.ndarray, g: Fans, out: np.ndarray) -> None:
    tasks = out.shape[0] * ((out.shape[1] + STRIPE - 1) // STRIPE)
    for task in range(job * block, min((job + 1) * block, tasks)):
        _collect_stripe(task, y, g, out)
