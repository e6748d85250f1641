"""The numba kernels of this package.

Images are real and C-contiguous, ``(image, channel, depth, row, column)``; differences have their direction after the
channel, in the order of the spatial axes. Fewer spatial axes have leading axes of length 1 and fewer directions.
Every group is norm-coupled over channels, and over directions where ``isotropic``. Complex images are two channels.

A thread owns the rows it writes, sums are kept for each row, and every row is computed the same way whichever thread
has it, so the result does not depend on the number of threads. Fast math leaves NaN and infinity alone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

_MATH = {"reassoc", "contract", "nsz", "arcp"}
_inline = njit(inline="always")  # not compiled on its own: that would double the time to compile
_leaf = njit(fastmath=_MATH, error_model="numpy", nogil=True, cache=True)
_parallel = njit(fastmath=_MATH, error_model="numpy", parallel=True, cache=True)


# ---------------------------------------------------------------------------------------------------------------------
# Fast gradient projection. One sweep computes, for each row and without storing the image,
#     r  = y + beta (y - y_old),   x = clip(v - strength K^T r),   y_new = P(r + ascent K x),
# P being the projection of each group onto the unit ball. Scratch rows have a column more than the image: before the
# first dual one a zero, after the last image one its copy, so that border differences vanish without a branch.


@_inline
def _extrapolate(r, p, s, y, old, beta, c, z, i):
    """Write ``r`` of row (z, i) to scratch row (p, s)."""
    for k in range(y.shape[1]):
        r[p, c, k, s, 0] = 0
        for j in range(y.shape[4]):
            r[p, c, k, s, j + 1] = y[c, k, z, i, j] + beta * (y[c, k, z, i, j] - old[c, k, z, i, j])


@_inline
def _image_row(x, r, v, weights, lower, upper, p, s, c, z, i):
    """Write the image of row (z, i) to scratch row (p, s); ``weights`` are strength / spacing."""
    n, columns = r.shape[2], v.shape[3]
    a = weights[n - 1]
    for j in range(columns):
        x[p, c, s, j] = v[c, z, i, j] + a * (r[p, c, n - 1, s, j + 1] - r[p, c, n - 1, s, j])
    for k in range(n - 1):
        # The rows before the first one, and the planes before the first one, hold zeros.
        p0, s0 = (p, s - 1) if k == n - 2 else (1 - p, s)
        for j in range(columns):
            x[p, c, s, j] += weights[k] * (r[p, c, k, s, j + 1] - r[p0, c, k, s0, j + 1])
    if lower > -np.inf or upper < np.inf:
        for j in range(columns):
            x[p, c, s, j] = min(max(x[p, c, s, j], lower), upper)
    x[p, c, s, columns] = x[p, c, s, columns - 1]


@_inline
def _image_plane(x, r, v, y, old, beta, weights, lower, upper, p, z, first, stop):
    """Rows ``first`` to ``stop`` (one more than the tile owns) of plane ``z``, at scratch rows 1, 2, ..."""
    rows = v.shape[2]
    for c in range(v.shape[0]):
        for i in range(max(first - 1, 0), min(stop + 1, rows)):
            _extrapolate(r, p, i - first + 1, y, old, beta, c, z, i)
            if i >= first:
                _image_row(x, r, v, weights, lower, upper, p, i - first + 1, c, z, i)


@_inline
def _neighbour(k, n, p, s, z, i, planes, rows):
    """Scratch row (p, s) and column offset of the next pixel in direction ``k``; the pixel itself at the border."""
    if k == n - 1:
        return p, s, 1
    if k == n - 2:
        return p, (s + 1 if i + 1 < rows else s), 0
    return (1 - p if z + 1 < planes else p), s, 0


@_inline
def _dual_row(new, r, x, squares, ascent, one, p, s, z, i, planes, rows):
    """Write ``P(r + ascent K x)`` of row (z, i) to ``new``."""
    channels, n, columns = new.shape[0], new.shape[1], new.shape[4]
    groups = squares.shape[0]
    for g in range(groups):
        for j in range(columns):
            squares[g, j] = 0
    for c in range(channels):
        for k in range(n):
            q, t, d = _neighbour(k, n, p, s, z, i, planes, rows)
            g = min(k, groups - 1)
            for j in range(columns):
                step = r[p, c, k, s, j + 1] + ascent[k] * (x[q, c, t, j + d] - x[p, c, s, j])
                new[c, k, z, i, j] = step
                squares[g, j] += step * step
    for g in range(groups):
        for j in range(columns):
            squares[g, j] = one / max(one, math.sqrt(squares[g, j]))
    for c in range(channels):
        for k in range(n):
            g = min(k, groups - 1)
            for j in range(columns):
                new[c, k, z, i, j] *= squares[g, j]


@_leaf
def _sweep_tile(v, y, old, new, beta, weights, ascent, lower, upper, isotropic, first, stop):
    channels, planes, rows, columns = v.shape
    n = y.shape[1]
    x = np.empty((min(planes, 2), channels, stop - first + 2, columns + 1), v.dtype)
    r = np.zeros((2 if n == 3 else 1, channels, n, stop - first + 2, columns + 1), v.dtype)
    squares = np.empty((1 if isotropic else n, columns), v.dtype)
    one = v.dtype.type(1)
    for z in range(-1, planes):
        p = z % 2
        if z + 1 < planes:
            _image_plane(x, r, v, y, old, beta, weights, lower, upper, 1 - p, z + 1, first, stop)
        if z >= 0:
            for i in range(first, stop):
                _dual_row(new, r, x, squares, ascent, one, p, i - first + 1, z, i, planes, rows)


@_inline
def _sweep(t, tile, v, duals, phase, momentum, active, weights, ascent, lower, upper, isotropic, k):
    """Sweep ``k`` of tile ``t``: images one after the other, ``tile`` rows each."""
    rows = v.shape[3]
    blocks = (rows + tile - 1) // tile
    b, first = t // blocks, (t % blocks) * tile
    if active[b]:
        age, at = momentum[b] + k, phase[b] + k
        beta = v.dtype.type(age / (age + 5))
        _sweep_tile(
            v[b], duals[at % 3, b], duals[(at + 2) % 3, b], duals[(at + 1) % 3, b], beta, weights, ascent,
            lower, upper, isotropic, first, min(first + tile, rows),
        )  # fmt: skip


@_leaf
def _image_tile(image, v, y, weights, lower, upper, first, stop):
    channels, planes, rows, columns = v.shape
    x = np.empty((2, channels, stop - first + 2, columns + 1), v.dtype)
    r = np.zeros((2, channels, y.shape[1], stop - first + 2, columns + 1), v.dtype)
    zero = v.dtype.type(0)
    for z in range(planes):
        _image_plane(x, r, v, y, y, zero, weights, lower, upper, z % 2, z, first, stop)
        for c in range(channels):
            for i in range(first, stop):
                for j in range(columns):
                    image[c, z, i, j] = x[z % 2, c, i - first + 1, j]


@_inline
def _image(t, tile, image, v, duals, phase, active, weights, lower, upper):
    """Write the images of the present dual variables."""
    rows = v.shape[3]
    blocks = (rows + tile - 1) // tile
    b, first = t // blocks, (t % blocks) * tile
    if active[b]:
        _image_tile(
            image[b], v[b], duals[phase[b] % 3, b], weights, lower, upper, first, min(first + tile, rows)
        )  # fmt: skip


@_leaf
def sweeps(n, tile, image, v, duals, phase, momentum, active, weights, ascent, lower, upper, isotropic):
    """Do ``n`` sweeps over the active images and write the images they lead to.

    ``duals`` holds three dual variables; that of image b is ``duals[phase[b] % 3, b]``, the one before it
    ``duals[(phase[b] + 2) % 3, b]``. ``momentum`` counts the sweeps since the last restart. Both are advanced.
    """
    tiles = v.shape[0] * ((v.shape[3] + tile - 1) // tile)
    for k in range(n):
        for t in range(tiles):
            _sweep(t, tile, v, duals, phase, momentum, active, weights, ascent, lower, upper, isotropic, k)
    _advance(n, phase, momentum, active)
    for t in range(tiles):
        _image(t, tile, image, v, duals, phase, active, weights, lower, upper)


@_parallel
def sweeps_parallel(n, tile, image, v, duals, phase, momentum, active, weights, ascent, lower, upper, isotropic):
    """:func:`sweeps`, tiles in parallel."""
    tiles = v.shape[0] * ((v.shape[3] + tile - 1) // tile)
    for k in range(n):
        for t in prange(tiles):
            _sweep(t, tile, v, duals, phase, momentum, active, weights, ascent, lower, upper, isotropic, k)
    _advance(n, phase, momentum, active)
    for t in prange(tiles):
        _image(t, tile, image, v, duals, phase, active, weights, lower, upper)


@_inline
def _advance(n, phase, momentum, active):
    for b in range(phase.size):
        if active[b]:
            phase[b] += n
            momentum[b] += n


# ---------------------------------------------------------------------------------------------------------------------
# Total variation and duality gap of an image.


@_inline
def _row_sums(x, v, y, weights, isotropic, z, i, out):
    """Sums over row (z, i): total variation, duality gap, |x - v|^2 / 2 and |x|; only the first where ``y`` is empty."""
    channels, planes, rows, columns = x.shape
    n = weights.size
    groups = 1 if isotropic else n
    squares = np.zeros((groups, columns), x.dtype)
    inner = np.zeros(columns, x.dtype)
    zero = x.dtype.type(0)
    for c in range(channels):
        for k in range(n):
            g = min(k, groups - 1)
            i1 = min(i + 1, rows - 1) if k == n - 2 else i
            z1 = min(z + 1, planes - 1) if k == n - 3 else z
            shift = 1 if k == n - 1 else 0
            for j in range(columns - shift):
                d = weights[k] * (x[c, z1, i1, j + shift] - x[c, z, i, j])
                squares[g, j] += d * d
            if y.size:
                for j in range(columns - shift):
                    inner[j] += weights[k] * (x[c, z1, i1, j + shift] - x[c, z, i, j]) * y[c, k, z, i, j]
    total, gap, fit, size = zero, zero, zero, zero
    for g in range(groups):
        for j in range(columns):
            squares[g, j] = math.sqrt(squares[g, j])
            total += squares[g, j]
    out[0] = total
    if y.size:
        for g in range(1, groups):
            for j in range(columns):
                squares[0, j] += squares[g, j]
        for j in range(columns):
            gap += squares[0, j] - inner[j]
        for c in range(channels):
            for j in range(columns):
                fit += (x[c, z, i, j] - v[c, z, i, j]) ** 2
                size += abs(x[c, z, i, j])
        out[1], out[2], out[3] = gap, fit / 2, size


@_inline
def _sums(t, x, v, duals, phase, weights, isotropic, out):
    planes, rows = x.shape[2], x.shape[3]
    b, z, i = t // (planes * rows), t // rows % planes, t % rows
    _row_sums(x[b], v[b], duals[phase[b] % duals.shape[0], b], weights, isotropic, z, i, out[t])


@_leaf
def sums(x, v, duals, phase, weights, isotropic, out):
    """Write the sums of each row, ``(rows of all images, 4)``; see :func:`_row_sums`."""
    for t in range(out.shape[0]):
        _sums(t, x, v, duals, phase, weights, isotropic, out)


@_parallel
def sums_parallel(x, v, duals, phase, weights, isotropic, out):
    """:func:`sums`, rows in parallel."""
    for t in prange(out.shape[0]):
        _sums(t, x, v, duals, phase, weights, isotropic, out)


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
def lines(v, x, strength):
    """Proximal map of ``strength`` times total variation of each row of ``v``, (lines, n), to ``x``."""
    n = v.shape[1]
    work = np.empty((5, 2 * n))
    for t in range(v.shape[0]):
        _line(v[t], x[t], strength, work[0], work[1], work[2], work[3], work[4])


@_parallel
def lines_parallel(v, x, strength):
    """:func:`lines`, in parallel."""
    n = v.shape[1]
    for t in prange(v.shape[0]):
        work = np.empty((5, 2 * n))
        _line(v[t], x[t], strength, work[0], work[1], work[2], work[3], work[4])
