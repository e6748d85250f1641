"""The fast Walsh-Hadamard transform on real numpy arrays.

A vector of ``n = rows * columns`` entries is transformed as a matrix: along its rows, each in the first-level cache,
then along its columns, a strip of them at a time. Both stages are jobs that own what they write.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from solvers.kernels import run_jobs

ROW = 1024
"""Entries of a row, at most: a quarter of the first-level cache in double precision."""

STRIP = 128
"""Columns that one job of the second stage owns."""

WORTH = 8
"""How many times quicker than usual a kernel passes over an entry: a quarter of a million take 0.5 ms on one thread."""

_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}


def fwht(x: np.ndarray, scale: float) -> np.ndarray:
    """``scale * H x`` for each row of ``x``, (batch, n), ``H`` in natural order and ``n`` a power of two."""
    batch, n = x.shape
    columns = min(n, ROW)
    out = np.empty((batch, n // columns, columns), x.dtype)
    given = np.ascontiguousarray(x).reshape(out.shape)
    whole, size = n == columns, x.size // WORTH
    block, lines = max(1, 8192 // columns), x.size // columns
    first = x.dtype.type(scale if whole else 1)
    rows = given.reshape(lines, columns), out.reshape(lines, columns)
    run_jobs(_rows_job, size, -(-lines // block), block, *rows, first)
    if not whole:
        strips = columns // min(STRIP, columns)
        run_jobs(_columns_job, size, batch * strips, strips, out, x.dtype.type(scale))
    return out.reshape(batch, n)


@njit(**_FAST)
def _rows_job(k: int, block: int, x: np.ndarray, out: np.ndarray, scale: Any) -> None:
    n = x.shape[1]
    for line in range(k * block, min((k + 1) * block, len(x))):
        row = out[line]
        first = x[line]
        h = 1
        if n >= 8:
            for i in range(0, n, 8):
                _eight(first, row, i, scale)
            h = 8
        else:
            for i in range(n):
                row[i] = scale * first[i]
        while h < n:
            if 4 * h <= n:
                _four_strides(row, h)
                h *= 4
            else:
                _stride(row, h)
                h *= 2


@njit(inline="always")
def _eight(x: np.ndarray, out: np.ndarray, i: int, scale: Any) -> None:
    a, b, c, d = x[i] + x[i + 1], x[i] - x[i + 1], x[i + 2] + x[i + 3], x[i + 2] - x[i + 3]
    e, f, g, h = x[i + 4] + x[i + 5], x[i + 4] - x[i + 5], x[i + 6] + x[i + 7], x[i + 6] - x[i + 7]
    a, b, c, d = a + c, b + d, a - c, b - d
    e, f, g, h = e + g, f + h, e - g, f - h
    out[i], out[i + 1], out[i + 2], out[i + 3] = scale * (a + e), scale * (b + f), scale * (c + g), scale * (d + h)
    out[i + 4], out[i + 5], out[i + 6], out[i + 7] = scale * (a - e), scale * (b - f), scale * (c - g), scale * (d - h)


@njit(inline="always")
def _stride(row: np.ndarray, h: int) -> None:
    for i in range(0, len(row), 2 * h):
        low, high = row[i : i + h], row[i + h : i + 2 * h]
        for j in range(h):
            a, b = low[j], high[j]
            low[j], high[j] = a + b, a - b


@njit(inline="always")
def _four_strides(row: np.ndarray, h: int) -> None:
    """Two stages at once: every entry is loaded and stored once."""
    for i in range(0, len(row), 4 * h):
        p, q, r, s = row[i : i + h], row[i + h : i + 2 * h], row[i + 2 * h : i + 3 * h], row[i + 3 * h : i + 4 * h]
        for j in range(h):
            a, b, c, d = p[j] + q[j], p[j] - q[j], r[j] + s[j], r[j] - s[j]
            p[j], q[j], r[j], s[j] = a + c, b + d, a - c, b - d


@njit(**_FAST)
def _columns_job(k: int, strips: int, out: np.ndarray, scale: Any) -> None:
    matrix = out[k // strips]
    rows, width = matrix.shape[0], matrix.shape[1] // strips
    part = matrix[:, (k % strips) * width : (k % strips + 1) * width]
    h = 1
    while h < rows:
        if 4 * h <= rows:
            for i in range(0, rows, 4 * h):
                for t in range(i, i + h):
                    _join_four(part[t], part[t + h], part[t + 2 * h], part[t + 3 * h])
            h *= 4
        else:
            for i in range(0, rows, 2 * h):
                for t in range(i, i + h):
                    _join_two(part[t], part[t + h])
            h *= 2
    for t in range(rows):
        for j in range(width):
            part[t, j] *= scale


@njit(inline="always")
def _join_two(p: np.ndarray, q: np.ndarray) -> None:
    for j in range(len(p)):
        a, b = p[j], q[j]
        p[j], q[j] = a + b, a - b


@njit(inline="always")
def _join_four(p: np.ndarray, q: np.ndarray, r: np.ndarray, s: np.ndarray) -> None:
    for j in range(len(p)):
        a, b, c, d = p[j] + q[j], p[j] - q[j], r[j] + s[j], r[j] - s[j]
        p[j], q[j], r[j], s[j] = a + c, b + d, a - c, b - d
