"""Numba kernels of the ridge regulariser: its profile on filter responses.

The profile ``psi`` is even; ``psi'`` is linear between the knots ``0, 1, ..., K`` and constant beyond. Row k of
``table`` holds ``psi``, ``psi'`` and ``psi''`` on the right of knot k. Responses are C-contiguous, ``(pixel,
channel)``; ``scales`` says how many knots a unit of each channel is. A job has a range of pixels.
"""

from __future__ import annotations

from numba import njit

_leaf = njit(fastmath={"contract", "nsz"}, error_model="numpy", nogil=True, cache=True)


@_leaf
def slopes(job, block, t, scales, table):
    """``psi'(c t) / c`` in place of the responses."""
    last = len(table) - 1
    for p in range(job * block, min((job + 1) * block, len(t))):
        for i in range(t.shape[1]):
            u = scales[i] * t[p, i]
            size = abs(u)
            k = min(int(size), last)
            slope = (table[k, 1] + table[k, 2] * (size - k)) / scales[i]
            t[p, i] = slope if u >= 0 else -slope


@_leaf
def curvatures(job, block, t, scales, table):
    """``psi''(c t)`` in place of the responses."""
    last = len(table) - 1
    for p in range(job * block, min((job + 1) * block, len(t))):
        for i in range(t.shape[1]):
            t[p, i] = table[min(int(abs(scales[i] * t[p, i])), last), 2]


@_leaf
def values(job, block, t, scales, table, out):
    """Sum of ``psi(c t) / c^2`` over the pixels of each job."""
    last = len(table) - 1
    total = 0.0
    for p in range(job * block, min((job + 1) * block, len(t))):
        for i in range(t.shape[1]):
            size = abs(scales[i] * t[p, i])
            k = min(int(size), last)
            rest = size - k
            total += (table[k, 0] + rest * (table[k, 1] + 0.5 * rest * table[k, 2])) / (scales[i] * scales[i])
    out[job] = total
