"""Numba kernels of the fused splitting update of total variation. Conventions as in :mod:`priors.kernels`.

    z = shrink(q, step),   q_new = relax K x + q - relax z,   z_new = shrink(q_new, step),
    b = K^H w  with  w = 2 z_new - q_new,

``K`` being the periodic gradient. Differences that wrap around belong to no group: they pass the shrinkage unchanged.
Others shrink by ``1 - step / max(size, bend)``; ``bend`` is the step, larger for a norm that is smoothed at zero.
The update is bound by memory, so the split variable z and the scaled dual variable u = q - z are never stored: their
sum q gives both.

A tile keeps ``w`` of its rows; the row before its first one, and for volumes the plane before the first one, is
computed once more, so that tiles need nothing of each other. Where ``q_new`` takes the place of q, the rows before the
tiles are read from a copy.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_MATH = {"reassoc", "contract", "nsz", "arcp"}
_inline = njit(inline="always")  # not compiled on its own: that would double the time to compile
_leaf = njit(fastmath=_MATH, error_model="numpy", nogil=True, cache=True)


@_inline
def _differences(d, ring, x, scales, z, i):
    """Write ``K x`` of row (z, i) to ``d``; ``ring`` takes the row and its first pixel once more."""
    channels, planes, rows, columns = x.shape
    n = scales.size
    for c in range(channels):
        for k in range(n):
            z1 = (z + 1) % planes if k == n - 3 else z
            i1 = (i + 1) % rows if k == n - 2 else i
            shift = 1 if k == n - 1 else 0
            for j in range(columns):
                ring[j] = x[c, z1, i1, j]
            ring[columns] = ring[0]
            for j in range(columns):
                d[c, k, j] = scales[k] * (ring[j + shift] - x[c, z, i, j])


@_inline
def _wraps(k, n, z, i, planes, rows):
    """Whether all differences of row (z, i) in direction ``k`` wrap around."""
    return (k == n - 2 and i == rows - 1) or (k == n - 3 and z == planes - 1)


@_inline
def _shrinkage(factor, q, step, bend, z, i, planes, rows):
    """Write by which factor each group of ``q``, row (z, i), shrinks: (group + 1, column), a last row of ones."""
    channels, n, columns = q.shape
    groups = factor.shape[0] - 1  # the last row is for the differences that pass
    one = factor[groups, 0]
    for g in range(groups):
        for j in range(columns):
            factor[g, j] = 0
    for c in range(channels):
        for k in range(n):
            if not _wraps(k, n, z, i, planes, rows):
                g = min(k, groups - 1)
                last = factor[g, columns - 1]
                for j in range(columns):
                    factor[g, j] += q[c, k, j] * q[c, k, j]
                if k == n - 1:
                    factor[g, columns - 1] = last
    for g in range(groups):
        for j in range(columns):
            factor[g, j] = one - step / max(math.sqrt(factor[g, j]), bend)


@_inline
def _group_of(k, n, factor, z, i, planes, rows):
    """Row of ``factor`` that is for direction ``k``; to be asked for in order, each direction once."""
    groups = factor.shape[0] - 1
    g = groups if _wraps(k, n, z, i, planes, rows) else min(k, groups - 1)
    if k == n - 1:
        factor[g, factor.shape[1] - 1] = factor[groups, 0]  # no other direction needs it after the last one
    return g


@_inline
def _advance_row(q, old, factor, d, qs, source, at, step, bend, relax, z, i):
    """Write ``q_new`` of row (z, i) to ``q``, the split variable before to ``old``; row ``at`` of ``source`` is q."""
    channels, n, planes, rows, columns = qs.shape
    for c in range(channels):
        for k in range(n):
            for j in range(columns):
                old[c, k, j] = source[c, k, z, at, j]
    _shrinkage(factor, old, step, bend, z, i, planes, rows)
    for k in range(n):
        g = _group_of(k, n, factor, z, i, planes, rows)
        for c in range(channels):
            for j in range(columns):
                before = old[c, k, j]
                old[c, k, j] = before * factor[g, j]
                q[c, k, j] = relax * (d[c, k, j] - old[c, k, j]) + before


@_inline
def _difference_row(w, p, s, q, factor, step, bend, z, i, planes, rows):
    """Write ``w = 2 z_new - q_new`` of row (z, i) to scratch row (p, s), after its last entry once more."""
    channels, n, columns = q.shape
    one = factor[factor.shape[0] - 1, 0]
    _shrinkage(factor, q, step, bend, z, i, planes, rows)
    for k in range(n):
        g = _group_of(k, n, factor, z, i, planes, rows)
        for c in range(channels):
            for j in range(columns):
                w[p, c, k, s, j + 1] = q[c, k, j] * (factor[g, j] + factor[g, j] - one)
            w[p, c, k, s, 0] = w[p, c, k, s, columns]


@_inline
def _write_row(q_new, w, p, s, q, old, d, z, i, sums):
    """Write ``q_new`` of row (z, i) and its squares: residuals, split variable, scaled dual variable."""
    channels, n, columns = q.shape
    primal = dual = split = scaled = q.dtype.type(0)
    half = q.dtype.type(0.5)
    for c in range(channels):
        for k in range(n):
            for j in range(columns):
                q_new[c, k, z, i, j] = q[c, k, j]
                shrunk = half * (q[c, k, j] + w[p, c, k, s, j + 1])
                primal += (d[c, k, j] - shrunk) ** 2
                dual += (shrunk - old[c, k, j]) ** 2
                split += shrunk**2
                scaled += (q[c, k, j] - shrunk) ** 2
    sums[0], sums[1], sums[2], sums[3] = primal, dual, split, scaled


@_inline
def _adjoint_row(b, w, p, s, scales, z, i):
    """Write ``K^H w`` of row (z, i)."""
    n, columns = scales.size, b.shape[3]
    for c in range(b.shape[0]):
        for j in range(columns):
            b[c, z, i, j] = 0
        for k in range(n):
            p0 = 1 - p if k == n - 3 else p
            s0 = s - 1 if k == n - 2 else s
            shift = 0 if k == n - 1 else 1
            for j in range(columns):
                b[c, z, i, j] += scales[k] * (w[p0, c, k, s0, j + shift] - w[p, c, k, s, j + 1])


@_inline
def _split_strip(
    w, q, old, d, factor, ring, x, qs, before, tile, q_new, b, scales, step, bend, relax, first, stop, sums
):  # fmt: skip
    n, planes, rows = qs.shape[1], qs.shape[2], qs.shape[3]
    for depth in range(-1 if n == 3 else 0, planes):
        p = depth % 2 if n == 3 else 0
        z = depth % planes
        for above in range(first - 1, stop):
            i, s = above % rows, above - first + 1
            _differences(d, ring, x, scales, z, i)
            if s == 0 and before.shape[3] > 0:
                _advance_row(q, old, factor, d, qs, before, tile, step, bend, relax, z, i)
            else:
                _advance_row(q, old, factor, d, qs, qs, i, step, bend, relax, z, i)
            _difference_row(w, p, s, q, factor, step, bend, z, i, planes, rows)
            if depth >= 0 and s > 0:
                _write_row(q_new, w, p, s, q, old, d, z, i, sums[z, i])
                _adjoint_row(b, w, p, s, scales, z, i)


@_leaf
def split_tiles(job, block, own, x, qs, before, q_new, b, scales, step, bend, relax, isotropic, sums):
    """Update ``block`` tiles of ``own`` rows; write the squares of each row to ``sums``: ``|K x - z_new|^2``,
    ``|z_new - z|^2``, ``|z_new|^2`` and ``|q_new - z_new|^2``.

    The tiles of image 0 come first, those of image 1 follow. ``before`` holds the rows of ``qs`` before each tile, in
    place of its rows; none where ``q_new`` is another array.
    """
    images, channels, n, _, rows, columns = qs.shape
    tiles = (rows + own - 1) // own
    w = np.empty((2 if n == 3 else 1, channels, n, own + 1, columns + 1), x.dtype)
    q, old = np.empty((channels, n, columns), x.dtype), np.empty((channels, n, columns), x.dtype)
    d = np.empty((channels, n, columns), x.dtype)
    factor = np.ones(((1 if isotropic else n) + 1, columns), x.dtype)
    ring = np.empty(columns + 1, x.dtype)
    for tile in range(job * block, min((job + 1) * block, images * tiles)):
        k, first = tile // tiles, tile % tiles * own
        _split_strip(
            w, q, old, d, factor, ring, x[k], qs[k], before[k], tile % tiles, q_new[k], b[k], scales, step, bend, relax,
            first, min(first + own, rows), sums[k],
        )  # fmt: skip
