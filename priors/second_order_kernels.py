"""Numba kernels of the second-order splitting update of images. Conventions as in :mod:`priors.kernels`.

Images are ``(image, channel, row, column)``; the five differences of a pixel, ``(image, channel, difference, row,
column)``, are those down, to the right, and then twice down, mixed, twice to the right. A task is a row of an image.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_MATH = {"reassoc", "contract", "nsz", "arcp"}
_inline = njit(inline="always")
_leaf = njit(fastmath=_MATH, error_model="numpy", nogil=True, cache=True)
_HALF_ROOT = math.sqrt(0.5)


@_inline
def _counts(k, i, rows):
    """Whether difference ``k`` of row i does not wrap around, but for the first or the last column."""
    return k == 1 or k == 4 or (i < rows - 1 and (k != 2 or i > 0))


@_inline
def _factors(f, q, i, first_step, second_step):
    """Write by which factors the differences of row i shrink, ``(difference, column)``; 1 where they wrap around."""
    channels, _, rows, columns = q.shape
    one = f.dtype.type(1)
    f[0] = 0
    f[2] = 0
    for c in range(channels):
        for k in range(5):
            if _counts(k, i, rows):
                g = 0 if k < 2 else 2
                start = 1 if k == 4 else 0
                stop = columns if k == 0 or k == 2 else columns - 1
                for j in range(start, stop):
                    f[g, j] += q[c, k, i, j] * q[c, k, i, j]
    for j in range(columns):
        f[0, j] = one - first_step / max(math.sqrt(f[0, j]), first_step)
        f[2, j] = one - second_step / max(math.sqrt(f[2, j]), second_step)
    f[1], f[3], f[4] = f[0], f[2], f[2]
    for k in range(5):
        if not _counts(k, i, rows):
            f[k] = one
    f[1, columns - 1] = f[3, columns - 1] = f[4, columns - 1] = f[4, 0] = one


@_leaf
def reflect_rows(job, block, q, a, first_step, second_step):
    """``a = 2 shrink(q) - q``."""
    images, channels, _, rows, columns = q.shape
    f = np.empty((5, columns), q.dtype)
    one = q.dtype.type(1)
    for task in range(job * block, min((job + 1) * block, images * rows)):
        m, i = task // rows, task % rows
        _factors(f, q[m], i, first_step, second_step)
        for c in range(channels):
            for k in range(5):
                for j in range(columns):
                    a[m, c, k, i, j] = q[m, c, k, i, j] * (f[k, j] + f[k, j] - one)


@_inline
def _adjoint_pixel(h, z, h0, h1, m0, m1, s, i, up, down, j, left, right):
    first = h0 * (z[2, down, j] - z[2, i, j]) + m1 * (z[3, i, j] - z[3, i, left])
    second = h1 * (z[4, i, right] - z[4, i, j]) + m0 * (z[3, i, j] - z[3, up, j])
    h[0, i, j] = z[0, i, j] + s * first
    h[1, i, j] = z[1, i, j] + s * second


@_leaf
def residual_adjoint_rows(job, block, a, h, scales, s):
    """``h = W^H a``."""
    images, channels, _, rows, columns = a.shape
    h0, h1 = scales[0], scales[1]
    m0, m1 = h0 * scales.dtype.type(_HALF_ROOT), h1 * scales.dtype.type(_HALF_ROOT)
    last = columns - 1
    for task in range(job * block, min((job + 1) * block, images * rows)):
        m, i = task // rows, task % rows
        down, up = (i + 1) % rows, (i - 1) % rows
        for c in range(channels):
            z, out = a[m, c], h[m, c]
            for j in range(1, last):
                _adjoint_pixel(out, z, h0, h1, m0, m1, s, i, up, down, j, j - 1, j + 1)
            _adjoint_pixel(out, z, h0, h1, m0, m1, s, i, up, down, 0, last, min(1, last))
            _adjoint_pixel(out, z, h0, h1, m0, m1, s, i, up, down, last, max(last - 1, 0), 0)


@_leaf
def rest_rows(job, block, x, h, scales):
    """In place ``D x - h``."""
    images, channels, rows, columns = x.shape
    for task in range(job * block, min((job + 1) * block, images * rows)):
        m, i = task // rows, task % rows
        down = (i + 1) % rows
        for c in range(channels):
            u, out = x[m, c], h[m, c]
            for j in range(columns):
                out[0, i, j] = scales[0] * (u[down, j] - u[i, j]) - out[0, i, j]
            for j in range(columns - 1):
                out[1, i, j] = scales[1] * (u[i, j + 1] - u[i, j]) - out[1, i, j]
            out[1, i, columns - 1] = scales[1] * (u[i, 0] - u[i, columns - 1]) - out[1, i, columns - 1]


@_leaf
def divergence_rows(job, block, z, out, scales):
    """``D^H z`` of the first two differences."""
    images, channels, _, rows, columns = z.shape
    for task in range(job * block, min((job + 1) * block, images * rows)):
        m, i = task // rows, task % rows
        up = (i - 1) % rows
        for c in range(channels):
            first, second, d = z[m, c, 0], z[m, c, 1], out[m, c]
            for j in range(1, columns):
                d[i, j] = scales[0] * (first[up, j] - first[i, j]) + scales[1] * (second[i, j - 1] - second[i, j])
            d[i, 0] = scales[0] * (first[up, 0] - first[i, 0]) + scales[1] * (second[i, columns - 1] - second[i, 0])


@_leaf
def slopes_spectrum_rows(job, block, spectrum, down, right, total, scale):
    """In place ``(I + s^2 E^H E)^-1`` of a spectrum; ``down`` and ``right`` are the transfers of the differences."""
    images, channels, _, rows, columns = spectrum.shape
    one, half = total.dtype.type(1), total.dtype.type(0.5)
    for task in range(job * block, min((job + 1) * block, images * rows)):
        m, i = task // rows, task % rows
        f0 = down[i]
        for c in range(channels):
            for j in range(columns):
                f1, weight = right[j], scale * scale * total[i, j]
                first, second = spectrum[m, c, 0, i, j], spectrum[m, c, 1, i, j]
                alpha = one / (one + half * weight)
                along = half * scale * scale / (one + weight) * (np.conj(f0) * first + np.conj(f1) * second)
                spectrum[m, c, 0, i, j] = alpha * (first - along * f0)
                spectrum[m, c, 1, i, j] = alpha * (second - along * f1)


@_inline
def _residual_pixel(v, x, w, h0, h1, m0, m1, s, i, up, down, j, left, right):
    v[0, j] = h0 * (x[down, j] - x[i, j]) - w[0, i, j]
    v[1, j] = h1 * (x[i, right] - x[i, j]) - w[1, i, j]
    v[2, j] = s * h0 * (w[0, i, j] - w[0, up, j])
    v[3, j] = s * (m1 * (w[0, i, right] - w[0, i, j]) + m0 * (w[1, down, j] - w[1, i, j]))
    v[4, j] = s * h1 * (w[1, i, j] - w[1, i, left])


@_leaf
def step_rows(job, block, q, x, base, w, q_new, a, scales, s, first_step, second_step, relax, sums):
    """``v = B x - W w``, plus a ``base`` if it has entries, ``q_new = relax (v - z) + q``, ``a = 2 z_new -
    q_new``, and the squares of each row.
    """
    images, channels, _, rows, columns = q.shape
    f, v = np.empty((5, columns), q.dtype), np.empty((channels, 5, columns), q.dtype)
    old = np.empty((channels, 5, columns), q.dtype)
    h0, h1, last = scales[0], scales[1], columns - 1
    m0, m1 = h0 * scales.dtype.type(_HALF_ROOT), h1 * scales.dtype.type(_HALF_ROOT)
    for task in range(job * block, min((job + 1) * block, images * rows)):
        m, i = task // rows, task % rows
        down, up = (i + 1) % rows, (i - 1) % rows
        for c in range(channels):
            u, slope, out = x[m, c], w[m, c], v[c]
            for j in range(1, last):
                _residual_pixel(out, u, slope, h0, h1, m0, m1, s, i, up, down, j, j - 1, j + 1)
            _residual_pixel(out, u, slope, h0, h1, m0, m1, s, i, up, down, 0, last, min(1, last))
            _residual_pixel(out, u, slope, h0, h1, m0, m1, s, i, up, down, last, max(last - 1, 0), 0)
            if base.size:
                for k in range(5):
                    for j in range(columns):
                        out[k, j] += base[m, c, k, i, j]
        _factors(f, q[m], i, first_step, second_step)
        for c in range(channels):
            for k in range(5):
                for j in range(columns):
                    old[c, k, j] = q[m, c, k, i, j] * f[k, j]
                    q_new[m, c, k, i, j] = relax * (v[c, k, j] - old[c, k, j]) + q[m, c, k, i, j]
        _factors(f, q_new[m], i, first_step, second_step)
        primal = dual = split = scaled = q.dtype.type(0)
        for c in range(channels):
            for k in range(5):
                for j in range(columns):
                    moved = q_new[m, c, k, i, j]
                    z = moved * f[k, j]
                    a[m, c, k, i, j] = z + z - moved
                    primal += (v[c, k, j] - z) ** 2
                    dual += (z - old[c, k, j]) ** 2
                    split += z**2
                    scaled += (moved - z) ** 2
        sums[task, 0], sums[task, 1], sums[task, 2], sums[task, 3] = primal, dual, split, scaled
