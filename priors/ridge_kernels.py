"""Numba kernels of the ridge regulariser: its profile on filter responses.

The profile ``psi`` is even; ``psi'`` is linear between the knots ``0, 1, ..., K`` and constant beyond. ``value``,
``first`` and ``second`` hold ``psi``, ``psi'`` and ``psi''`` on the right of each knot. Responses are C-contiguous,
``(pixel, channel)``; ``scales`` says how many knots a unit of each channel is, ``inverse`` is one over it. ``border``
weighs the pixels of an image. A job has a range of pixels.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_leaf = njit(fastmath={"contract", "nsz", "arcp"}, error_model="numpy", nogil=True, cache=True)


@_leaf
def slopes(job, block, t, border, scales, inverse, value, first, second):
    """``psi'(c t) / c`` in place of the responses."""
    last = np.float32(len(first) - 1)
    for p in range(job * block, min((job + 1) * block, len(t))):
        weight = border[p % len(border)]
        for i in range(t.shape[1]):
            u = scales[i] * t[p, i]
            size = abs(u)
            k = np.int32(min(size, last))
            slope = weight * (first[k] + second[k] * (size - np.float32(k))) * inverse[i]
            t[p, i] = slope if u >= 0 else -slope


@_leaf
def curvatures(job, block, t, border, scales, inverse, value, first, second):
    """``psi''(c t)`` in place of the responses."""
    last = np.float32(len(first) - 1)
    for p in range(job * block, min((job + 1) * block, len(t))):
        weight = border[p % len(border)]
        for i in range(t.shape[1]):
            t[p, i] = weight * second[np.int32(min(abs(scales[i] * t[p, i]), last))]


@_leaf
def values(job, block, t, border, scales, inverse, value, first, second, out):
    """Sum of ``psi(c t) / c^2`` over the pixels of each job."""
    last = np.float32(len(first) - 1)
    total = 0.0
    for p in range(job * block, min((job + 1) * block, len(t))):
        weight = border[p % len(border)]
        for i in range(t.shape[1]):
            size = abs(scales[i] * t[p, i])
            k = np.int32(min(size, last))
            rest = size - np.float32(k)
            psi = value[k] + rest * (first[k] + np.float32(0.5) * rest * second[k])
            total += weight * psi * inverse[i] * inverse[i]
    out[job] = total


@_leaf
def pullback(job, block, t, along, border, scales, inverse, value, first, second, by_scale, by_knot):
    """Derivatives of ``sum along * psi'(c t) / c`` by t and along, in place, and by c, psi' and psi'', job by job."""
    last = np.float32(len(first) - 1)
    for p in range(job * block, min((job + 1) * block, len(t))):
        weight = border[p % len(border)]
        for i in range(t.shape[1]):
            u, a = scales[i] * t[p, i], weight * along[p, i]
            size = abs(u)
            k = np.int32(min(size, last))
            rest = size - np.float32(k)
            slope = (first[k] + second[k] * rest) * inverse[i]
            slope, signed = (slope, a * inverse[i]) if u >= 0 else (-slope, -a * inverse[i])
            by_scale[job, i] += a * (second[k] * t[p, i] - slope) * inverse[i]
            by_knot[job, 0, k] += signed
            by_knot[job, 1, k] += signed * rest
            t[p, i], along[p, i] = a * second[k], weight * slope
