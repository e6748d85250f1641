"""The numba kernels of this package.

Images are real and C-contiguous, ``(image, channel, depth, row, column)``; differences have their direction after the
channel, in the order of the spatial axes. Fewer spatial axes have leading axes of length 1 and fewer directions.
Every group is norm-coupled over channels, and over directions where ``isotropic``. Complex images are two channels.

A kernel does one job of several (:func:`solvers.kernels.run_jobs`). A job owns the rows it writes, sums are kept for
each row, and every row is computed the same way whichever job has it, so the result does not depend on the number of
threads. Fast math leaves NaN and infinity alone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_MATH = {"reassoc", "contract", "nsz", "arcp"}
_inline = njit(inline="always")  # not compiled on its own: that would double the time to compile
_leaf = njit(fastmath=_MATH, error_model="numpy", nogil=True, cache=True)


# ---------------------------------------------------------------------------------------------------------------------
# Fast gradient projection. One sweep computes, without storing the image,
#     r  = y + beta (y - y_old),   x = clip(v - strength K^T r),   y_new = P(r + ascent K x),
# P being the projection of each group onto the unit ball.
#
# Dual variables are stored in tiles of rows, (image, slot, tile, channel, direction, depth, row, column): three slots
# take the latest iterates in turn. A tile has ``margin`` rows of its neighbours on either side. As each sweep looks one
# row ahead and back, a tile does ``margin`` sweeps on its own before margins are renewed, which is when threads wait
# for each other and memory is read.


@_inline
def _extrapolate(r, p, s, y, old, beta, c, z, row):
    """Write ``r`` of a row of plane z to scratch row (p, s), after a zero."""
    for k in range(r.shape[2] if y.size else 0):
        r[p, c, k, s, 0] = 0
        for j in range(y.shape[4]):
            r[p, c, k, s, j + 1] = y[c, k, z, row, j] + beta * (y[c, k, z, row, j] - old[c, k, z, row, j])


@_inline
def _image_row(x, r, v, weights, lower, upper, p, s, c, z, i):
    """Write the image of row (z, i) to scratch row (p, s), before its last pixel once more."""
    n, columns = r.shape[2], v.shape[3]
    a = weights[n - 1]  # strength / spacing
    for j in range(columns):
        x[p, c, s, j] = v[c, z, i, j] + a * (r[p, c, n - 1, s, j + 1] - r[p, c, n - 1, s, j])
    for k in range(n - 1):
        # The row before the first one and the plane before the first one hold zeros.
        p0 = p if k == n - 2 else 1 - p
        s0 = s - 1 if k == n - 2 else s
        for j in range(columns):
            x[p, c, s, j] += weights[k] * (r[p, c, k, s, j + 1] - r[p0, c, k, s0, j + 1])
    if lower > -np.inf or upper < np.inf:
        for j in range(columns):
            x[p, c, s, j] = min(max(x[p, c, s, j], lower), upper)
    x[p, c, s, columns] = x[p, c, s, columns - 1]


@_inline
def _image_plane(x, r, v, y, old, beta, weights, lower, upper, p, z, first, stop, start):
    """Rows ``first`` to ``stop`` (inclusive) of plane z at scratch rows 1, 2, ...; ``y`` begins at row ``start``."""
    rows = v.shape[2]
    for c in range(v.shape[0]):
        if first == 0:
            for k in range(r.shape[2]):
                for j in range(r.shape[4]):
                    r[p, c, k, 0, j] = 0
        for i in range(max(first - 1, 0), min(stop + 1, rows)):
            _extrapolate(r, p, i - first + 1, y, old, beta, c, z, i - start)
            if i >= first:
                _image_row(x, r, v, weights, lower, upper, p, i - first + 1, c, z, i)


@_inline
def _dual_row(new, r, x, squares, ascent, p, s, z, i, row, planes, rows):
    """Write ``P(r + ascent K x)`` of image row (z, i) to its row in ``new``."""
    channels, n, columns = new.shape[0], new.shape[1], new.shape[4]
    groups = squares.shape[0]
    one = new.dtype.type(1)
    for g in range(groups):
        for j in range(columns):
            squares[g, j] = 0
    for c in range(channels):
        for k in range(n):
            # Scratch row and column shift of the next pixel; at the border the pixel itself, so that K x is 0.
            p1 = 1 - p if k == n - 3 and z + 1 < planes else p
            s1 = s + 1 if k == n - 2 and i + 1 < rows else s
            shift = 1 if k == n - 1 else 0
            g = min(k, groups - 1)
            for j in range(columns):
                up = r[p, c, k, s, j + 1] + ascent[k] * (x[p1, c, s1, j + shift] - x[p, c, s, j])
                new[c, k, z, row, j] = up
                squares[g, j] += up * up
    for g in range(groups):
        for j in range(columns):
            squares[g, j] = one / max(one, math.sqrt(squares[g, j]))
    for c in range(channels):
        for k in range(n):
            g = min(k, groups - 1)
            for j in range(columns):
                new[c, k, z, row, j] *= squares[g, j]


@_inline
def _sweep_strip(x, r, squares, v, y, old, new, beta, weights, ascent, lower, upper, first, stop, start):
    planes, rows = v.shape[1], v.shape[2]
    if len(r) > 1:
        r[1] = 0  # the plane before the first one
    for z in range(-1, planes):
        p = z % 2
        if z + 1 < planes:
            _image_plane(x, r, v, y, old, beta, weights, lower, upper, 1 - p, z + 1, first, stop, start)
        if z >= 0:
            for i in range(first, stop):
                _dual_row(new, r, x, squares, ascent, p, i - first + 1, z, i, i - start, planes, rows)


@_leaf
def sweep_tiles(job, block, n, strip, own, v, duals, phase, momentum, active, weights, ascent, lower, upper, isotropic):
    """``n`` sweeps of ``block`` tiles, of ``own`` rows each, as far as their images are active.

    Each sweep leaves a row of the margins behind. The tiles of image 0 come first, those of image 1 follow. The dual
    variable of image b is in slot ``phase[b] % 3``, the one before it in ``(phase[b] + 2) % 3``; ``momentum[b]`` counts
    its sweeps since the last restart. The caller advances both by ``n`` when all tiles are done.
    """
    tiles, directions = duals.shape[2], weights.size
    images, channels, planes, rows, columns = v.shape
    margin = (duals.shape[6] - own) // 2
    x = np.zeros((min(planes, 2), channels, strip + 2, columns + 1), v.dtype)
    r = np.zeros((2 if directions == 3 else 1, channels, directions, strip + 2, columns + 1), v.dtype)
    squares = np.empty((1 if isotropic else directions, columns), v.dtype)
    for tile in range(job * block, min((job + 1) * block, images * tiles)):
        b, t = tile // tiles, tile % tiles
        for k in range(n if active[b] else 0):
            at, age = phase[b] + k, momentum[b] + k
            beta = v.dtype.type(age / (age + 5))
            y, old, new = duals[b, at % 3, t], duals[b, (at + 2) % 3, t], duals[b, (at + 1) % 3, t]
            if age == 0:
                old = y  # there may be none
            reach = max(margin - 1 - k, 0)
            top, end = max(t * own - reach, 0), min((t + 1) * own + reach, rows)
            for first in range(top, end, strip):
                _sweep_strip(
                    x, r, squares, v[b], y, old, new, beta, weights, ascent, lower, upper,
                    first, min(first + strip, end), t * own - margin,
                )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Image of a dual variable, its total variation and its duality gap.


@_inline
def _row_sums(x, v, y, squares, inner, weights, p, s, z, i, row, out):
    """Sums over row (z, i), at scratch row (p, s): total variation, duality gap, |x - v|^2 / 2 and |x|."""
    channels, planes, rows, columns = v.shape
    n, groups = weights.size, squares.shape[0]
    for j in range(columns):
        inner[j] = 0
    for g in range(groups):
        for j in range(columns):
            squares[g, j] = 0
    for c in range(channels):
        for k in range(n):
            p1 = 1 - p if k == n - 3 and z + 1 < planes else p
            s1 = s + 1 if k == n - 2 and i + 1 < rows else s
            shift = 1 if k == n - 1 else 0
            g = min(k, groups - 1)
            for j in range(columns):
                d = weights[k] * (x[p1, c, s1, j + shift] - x[p, c, s, j])
                squares[g, j] += d * d
                if y.size:
                    inner[j] += d * y[c, k, z, row, j]
    total = gap = fit = size = v.dtype.type(0)
    for g in range(groups):
        for j in range(columns):
            modulus = math.sqrt(squares[g, j])
            total += modulus
            inner[j] -= modulus
    for j in range(columns):
        gap -= inner[j]
    for c in range(channels):
        for j in range(columns):
            fit += (x[p, c, s, j] - v[c, z, i, j]) ** 2
            size += abs(x[p, c, s, j])
    out[0], out[1], out[2], out[3] = total, gap, fit / 2, size


@_inline
def _certify_strip(x, r, squares, inner, image, v, y, weights, lower, upper, first, stop, start, out):
    channels, planes, _, columns = v.shape
    zero = v.dtype.type(0)
    if len(r) > 1:
        r[1] = 0  # the plane before the first one
    for z in range(-1, planes):
        p = z % 2
        if z + 1 < planes:
            _image_plane(x, r, v, y, y, zero, weights, lower, upper, 1 - p, z + 1, first, stop, start)
        if z >= 0:
            for i in range(first, stop):
                s = i - first + 1
                for c in range(channels if image.size else 0):
                    for j in range(columns):
                        image[c, z, i, j] = x[p, c, s, j]
                _row_sums(x, v, y, squares, inner, weights, p, s, z, i, i - start, out[z, i])


@_leaf
def certify_tiles(job, block, strip, own, image, v, duals, phase, weights, lower, upper, isotropic, out):
    """Write the image rows of ``block`` tiles, and the sums of each (see :func:`_row_sums`) to (image, depth, row, 4).

    Without dual variables (of size 0) the image is ``v``, and ``image`` may have no rows.
    """
    tiles, directions = duals.shape[2], weights.size
    images, channels, planes, rows, columns = v.shape
    x = np.zeros((min(planes, 2), channels, strip + 2, columns + 1), v.dtype)
    r = np.zeros((2 if directions == 3 else 1, channels, directions, strip + 2, columns + 1), v.dtype)
    squares, inner = np.empty((1 if isotropic else directions, columns), v.dtype), np.empty(columns, v.dtype)
    for tile in range(job * block, min((job + 1) * block, images * tiles)):
        b, t = tile // tiles, tile % tiles
        y = duals[b, phase[b] % duals.shape[1], t]
        start = t * own - (duals.shape[6] - own) // 2
        end = min((t + 1) * own, rows)
        for first in range(t * own, end, strip):
            stop = min(first + strip, end)
            _certify_strip(
                x, r, squares, inner, image[b], v[b], y, weights, lower, upper, first, stop, start, out[b]
            )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Signals: the exact proximal map along lines.


@_inline
def _line(v, x, strength, knots, slopes, offsets, low, high):
    """Exact total variation along one line by dynamic programming (Johnson 2013), in a number of steps linear in n.

    The derivative of the cost of all samples up to k, as a function of sample k, is piecewise linear and increasing;
    ``knots[l..r]`` are its breaks and (slopes, offsets) its changes there. Clipping it to [-strength, strength] adds
    the next difference; ``low`` and ``high`` are where it was clipped, and the way back clips the solution to them.
    """
    n = v.size
    mean = 0.0
    for k in range(n):
        mean += v[k] / n
    left, right = n - 1, n
    low[0], high[0] = v[0] - mean - strength, v[0] - mean + strength
    knots[left], knots[right] = low[0], high[0]
    slopes[left], slopes[right] = 1.0, -1.0
    offsets[left], offsets[right] = strength - (v[0] - mean), strength + (v[0] - mean)
    for k in range(1, n):
        # The cost of sample k alone has slope 1; beyond all knots the messages before it are -strength and strength.
        target = strength if k < n - 1 else 0.0
        a, b = 1.0, -strength - (v[k] - mean)
        i = left
        while i <= right and a * knots[i] + b <= -target:
            a += slopes[i]
            b += offsets[i]
            i += 1
        low[k] = (-target - b) / a
        if k == n - 1:
            break
        c, d = -1.0, -strength + (v[k] - mean)
        h = right
        while h >= i and -c * knots[h] - d >= target:
            c += slopes[h]
            d += offsets[h]
            h -= 1
        high[k] = -(target + d) / c
        left, right = i - 1, h + 1
        knots[left], knots[right] = low[k], high[k]
        slopes[left], slopes[right] = a, c
        offsets[left], offsets[right] = b + strength, d + strength
    best = low[n - 1] if n > 1 else v[0] - mean
    x[n - 1] = best + mean
    for k in range(n - 2, -1, -1):
        best = min(max(best, low[k]), high[k])
        x[k] = best + mean


@_leaf
def lines(job, block, v, x, strength):
    """Proximal map of ``strength`` times total variation of ``block`` rows of ``v``, (lines, n), to ``x``."""
    work = np.empty((5, 2 * v.shape[1]))
    for k in range(job * block, min((job + 1) * block, len(v))):
        _line(v[k], x[k], strength, work[0], work[1], work[2], work[3], work[4])
