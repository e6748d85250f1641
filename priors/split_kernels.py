"""Numba kernels of the fused splitting update of total variation. Conventions as in :mod:`priors.kernels`.

    v = relax K x + (1 - relax) z,   q = v + u,   z_new = shrink(q, step),   u_new = q - z_new,
    b = K^H w  with  w = z_new - u_new,

``K`` being the periodic gradient. Differences that wrap around belong to no group: they pass the shrinkage unchanged.
A tile keeps ``w`` of its rows; the row before its first one, and for volumes the plane before the first one, is
computed once more, so that tiles need nothing of each other.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

_MATH = {"reassoc", "contract", "nsz", "arcp"}
_inline = njit(inline="always")  # not compiled on its own: that would double the time to compile
_leaf = njit(fastmath=_MATH, error_model="numpy", nogil=True, cache=True)
_parallel = njit(fastmath=_MATH, error_model="numpy", parallel=True, cache=True)


@_inline
def _differences(d, ring, x, scales, c, k, z, i):
    """Write ``(K x)_k`` of row (z, i) to ``d``; ``ring`` takes the row and its first pixel once more."""
    planes, rows, columns = x.shape[1], x.shape[2], x.shape[3]
    n = scales.size
    a = scales[k]
    if k == n - 1:
        for j in range(columns):
            ring[j] = x[c, z, i, j]
        ring[columns] = x[c, z, i, 0]
        for j in range(columns):
            d[j] = a * (ring[j + 1] - ring[j])
    else:
        i1 = (i + 1) % rows if k == n - 2 else i
        z1 = (z + 1) % planes if k == n - 3 else z
        for j in range(columns):
            d[j] = a * (x[c, z1, i1, j] - x[c, z, i, j])


@_inline
def _wraps(k, n, z, i, planes, rows):
    """Whether all differences of row (z, i) in direction ``k`` wrap around."""
    return (k == n - 2 and i == rows - 1) or (k == n - 3 and z == planes - 1)


@_inline
def _shrink_row(q, factor, d, ring, x, zs, us, scales, step, relax, z, i):
    """Write ``q`` of row (z, i), (channel, direction, column), and the factor of each group, (group + 1, column)."""
    channels, n, planes, rows, columns = zs.shape
    groups = factor.shape[0] - 1
    one = scales.dtype.type(1)
    keep = one - relax
    for g in range(groups):
        for j in range(columns):
            factor[g, j] = 0
    for c in range(channels):
        for k in range(n):
            g = min(k, groups - 1)
            _differences(d, ring, x, scales, c, k, z, i)
            for j in range(columns):
                q[c, k, j] = relax * d[j] + keep * zs[c, k, z, i, j] + us[c, k, z, i, j]
            if not _wraps(k, n, z, i, planes, rows):
                last = factor[g, columns - 1]
                for j in range(columns):
                    factor[g, j] += q[c, k, j] * q[c, k, j]
                if k == n - 1:
                    factor[g, columns - 1] = last
    for g in range(groups):
        for j in range(columns):
            factor[g, j] = one - step / max(math.sqrt(factor[g, j]), step)


@_inline
def _keep_row(w, p, s, q, factor, k, n, z, i, planes, rows):
    """Write ``w`` of direction ``k`` of a row that another tile owns to scratch row (p, s)."""
    groups = factor.shape[0] - 1
    g = groups if _wraps(k, n, z, i, planes, rows) else min(k, groups - 1)
    for c in range(q.shape[0]):
        for j in range(q.shape[2]):
            w[p, c, k, s, j + 1] = q[c, k, j] * (factor[g, j] + factor[g, j] - factor[groups, j])


@_inline
def _write_row(z_new, u_new, w, p, s, q, factor, d, ring, x, zs, scales, z, i, sums):
    """Write the new variables of row (z, i), ``w`` to scratch row (p, s), and add to both squared residuals."""
    channels, n, planes, rows, columns = zs.shape
    groups = factor.shape[0] - 1
    for k in range(n):
        g = groups if _wraps(k, n, z, i, planes, rows) else min(k, groups - 1)
        if k == n - 1:
            factor[g, columns - 1] = factor[groups, 0]  # the last direction to use it
        for c in range(channels):
            _differences(d, ring, x, scales, c, k, z, i)
            primal, dual = scales.dtype.type(0), scales.dtype.type(0)
            for j in range(columns):
                shrunk = q[c, k, j] * factor[g, j]
                rest = q[c, k, j] - shrunk
                z_new[c, k, z, i, j] = shrunk
                u_new[c, k, z, i, j] = rest
                w[p, c, k, s, j + 1] = shrunk - rest
                primal += (d[j] - shrunk) ** 2
                dual += (shrunk - zs[c, k, z, i, j]) ** 2
            w[p, c, k, s, 0] = w[p, c, k, s, columns]
            sums[0] += primal
            sums[1] += dual


@_inline
def _adjoint_row(b, w, p, s, scales, z, i):
    """Write ``K^H w`` of row (z, i)."""
    n, columns = scales.size, b.shape[3]
    for c in range(b.shape[0]):
        for j in range(columns):
            b[c, z, i, j] = scales[n - 1] * (w[p, c, n - 1, s, j] - w[p, c, n - 1, s, j + 1])
        for k in range(n - 1):
            p0, s0 = (p, s - 1) if k == n - 2 else (1 - p, s)
            for j in range(columns):
                b[c, z, i, j] += scales[k] * (w[p0, c, k, s0, j + 1] - w[p, c, k, s, j + 1])


@_leaf
def _tile(x, zs, us, z_new, u_new, b, scales, step, relax, isotropic, first, stop, sums):
    channels, n, planes, rows, columns = zs.shape
    groups = 1 if isotropic else n
    w = np.empty((2 if n == 3 else 1, channels, n, stop - first + 1, columns + 1), x.dtype)
    q = np.empty((channels, n, columns), x.dtype)
    factor = np.ones((groups + 1, columns), x.dtype)
    d, ring = np.empty(columns, x.dtype), np.empty(columns + 1, x.dtype)
    if n == 3:
        for i in range(first, stop):
            _shrink_row(q, factor, d, ring, x, zs, us, scales, step, relax, planes - 1, i)
            _keep_row(w, 1, i - first + 1, q, factor, 0, n, planes - 1, i, planes, rows)
    for z in range(planes):
        p = z % 2 if n == 3 else 0
        if n > 1:
            before = (first - 1) % rows
            _shrink_row(q, factor, d, ring, x, zs, us, scales, step, relax, z, before)
            _keep_row(w, p, 0, q, factor, n - 2, n, z, before, planes, rows)
        for i in range(first, stop):
            _shrink_row(q, factor, d, ring, x, zs, us, scales, step, relax, z, i)
            _write_row(z_new, u_new, w, p, i - first + 1, q, factor, d, ring, x, zs, scales, z, i, sums[z, i])
            _adjoint_row(b, w, p, i - first + 1, scales, z, i)


@_inline
def _update(t, tile, x, zs, us, z_new, u_new, b, scales, step, relax, isotropic, sums):
    rows = x.shape[3]
    blocks = (rows + tile - 1) // tile
    k, first = t // blocks, (t % blocks) * tile
    _tile(
        x[k], zs[k], us[k], z_new[k], u_new[k], b[k], scales, step, relax, isotropic,
        first, min(first + tile, rows), sums[k],
    )  # fmt: skip


@_leaf
def split(tile, x, zs, us, z_new, u_new, b, scales, step, relax, isotropic, sums):
    """Fused update of all images; adds ``|K x - z_new|^2`` and ``|z_new - z|^2`` of each row to ``sums``."""
    for t in range(x.shape[0] * ((x.shape[3] + tile - 1) // tile)):
        _update(t, tile, x, zs, us, z_new, u_new, b, scales, step, relax, isotropic, sums)


@_parallel
def split_parallel(tile, x, zs, us, z_new, u_new, b, scales, step, relax, isotropic, sums):
    """:func:`split`, tiles in parallel."""
    for t in prange(x.shape[0] * ((x.shape[3] + tile - 1) // tile)):
        _update(t, tile, x, zs, us, z_new, u_new, b, scales, step, relax, isotropic, sums)
