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
    for k in range(y.shape[1]):
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
    """Rows ``first`` to ``stop`` (inclusive) of plane ``z`` at scratch rows 1, 2, ...; ``y`` begins at row ``start``."""
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
def _sweep_tile(n, strip, own, v, duals, at, age, t, weights, ascent, lower, upper, isotropic):
    """``n`` sweeps of tile ``t``, which owns ``own`` rows; each leaves one more row of its margins behind."""
    channels, planes, rows, columns = v.shape
    directions = weights.size
    margin = (duals.shape[5] - own) // 2
    start = t * own - margin
    x = np.zeros((min(planes, 2), channels, strip + 2, columns + 1), v.dtype)
    r = np.zeros((2 if directions == 3 else 1, channels, directions, strip + 2, columns + 1), v.dtype)
    squares = np.empty((1 if isotropic else directions, columns), v.dtype)
    for k in range(n):
        beta = v.dtype.type((age + k) / (age + k + 5))
        y, old, new = duals[(at + k) % 3, t], duals[(at + k + 2) % 3, t], duals[(at + k + 1) % 3, t]
        reach = max(margin - 1 - k, 0)
        top, end = max(t * own - reach, 0), min((t + 1) * own + reach, rows)
        for first in range(top, end, strip):
            stop = min(first + strip, end)
            _sweep_strip(x, r, squares, v, y, old, new, beta, weights, ascent, lower, upper, first, stop, start)


@_leaf
def _renew_margins(y, t, own, rows):
    """Copy the rows of tile ``t`` that other tiles own from them."""
    tiles, channels, directions, planes, stored, columns = y.shape
    margin = (stored - own) // 2
    for row in range(stored):
        i = t * own - margin + row
        if 0 <= i < rows and i // own != t:
            source, other = i // own, i % own + margin
            for c in range(channels):
                for k in range(directions):
                    for z in range(planes):
                        for j in range(columns):
                            y[t, c, k, z, row, j] = y[source, c, k, z, other, j]


@_leaf
def _write_image(image, v, duals, t, own, weights, lower, upper):
    """Write the rows of the image that tile ``t`` owns."""
    channels, planes, rows, columns = v.shape
    start = t * own - (duals.shape[4] - own) // 2
    x = np.empty((2, channels, 3, columns + 1), v.dtype)
    r = np.zeros((2, channels, weights.size, 3, columns + 1), v.dtype)
    zero = v.dtype.type(0)
    y = duals[t]
    for i in range(t * own, min((t + 1) * own, rows)):
        for z in range(planes):
            if z == 0:
                r[:] = 0
            _image_plane(x, r, v, y, y, zero, weights, lower, upper, z % 2, z, i, i, start)
            for c in range(channels):
                for j in range(columns):
                    image[c, z, i, j] = x[z % 2, c, 1, j]


@_leaf
def sweeps(n, strip, own, image, v, duals, phase, momentum, active, weights, ascent, lower, upper, isotropic):
    """Do ``n`` sweeps over the active images and write the images they lead to.

    The dual variable of image b is in slot ``phase[b] % 3``, the one before it in ``(phase[b] + 2) % 3``;
    ``momentum[b]`` counts its sweeps since the last restart. The caller advances both by ``n``.
    """
    tiles, rows = duals.shape[2], v.shape[3]
    most = n if tiles == 1 else (duals.shape[6] - own) // 2
    for done in range(0, n, most):
        count = min(most, n - done)
        for job in range(len(v) * tiles):
            b, t = job // tiles, job % tiles
            if active[b]:
                at, age = phase[b] + done, momentum[b] + done
                _sweep_tile(
                    count, strip, own, v[b], duals[b], at, age, t, weights, ascent, lower, upper, isotropic
                )  # fmt: skip
        for job in range(len(v) * tiles):
            b, t = job // tiles, job % tiles
            if active[b]:
                _renew_margins(duals[b, (phase[b] + done + count) % 3], t, own, rows)
                _renew_margins(duals[b, (phase[b] + done + count + 2) % 3], t, own, rows)
    for job in range(len(v) * tiles):
        b, t = job // tiles, job % tiles
        if active[b]:
            _write_image(image[b], v[b], duals[b, (phase[b] + n) % 3], t, own, weights, lower, upper)


@_parallel
def sweeps_parallel(n, strip, own, image, v, duals, phase, momentum, active, weights, ascent, lower, upper, isotropic):
    """:func:`sweeps`, tiles in parallel."""
    tiles, rows = duals.shape[2], v.shape[3]
    most = n if tiles == 1 else (duals.shape[6] - own) // 2
    for done in range(0, n, most):
        count = min(most, n - done)
        for job in prange(len(v) * tiles):
            b, t = np.int64(job) // tiles, np.int64(job) % tiles
            if active[b]:
                at, age = phase[b] + done, momentum[b] + done
                _sweep_tile(
                    count, strip, own, v[b], duals[b], at, age, t, weights, ascent, lower, upper, isotropic
                )  # fmt: skip
        for job in prange(len(v) * tiles):
            b, t = np.int64(job) // tiles, np.int64(job) % tiles
            if active[b]:
                _renew_margins(duals[b, (phase[b] + done + count) % 3], t, own, rows)
                _renew_margins(duals[b, (phase[b] + done + count + 2) % 3], t, own, rows)
    for job in prange(len(v) * tiles):
        b, t = np.int64(job) // tiles, np.int64(job) % tiles
        if active[b]:
            _write_image(image[b], v[b], duals[b, (phase[b] + n) % 3], t, own, weights, lower, upper)


# ---------------------------------------------------------------------------------------------------------------------
# Total variation and duality gap of an image.


@_inline
def _row_sums(x, v, y, row, weights, isotropic, z, i, out):
    """Sums over row (z, i): total variation, duality gap, |x - v|^2 / 2 and |x|; only the first where ``y`` is empty.

    The dual variable of the row is in a ``row`` of its tile ``y``.
    """
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
                    inner[j] += weights[k] * (x[c, z1, i1, j + shift] - x[c, z, i, j]) * y[c, k, z, row, j]
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
def _sums(job, x, v, duals, phase, own, weights, isotropic, out):
    planes, rows = x.shape[2], x.shape[3]
    b, z, i = job // (planes * rows), job // rows % planes, job % rows
    y = duals[b, phase[b] % duals.shape[1], i // own]
    _row_sums(x[b], v[b], y, i % own + (y.shape[3] - own) // 2, weights, isotropic, z, i, out[job])


@_leaf
def sums(x, v, duals, phase, own, weights, isotropic, out):
    """Write the sums of each row, ``(rows of all images, 4)``; see :func:`_row_sums`."""
    for job in range(len(out)):
        _sums(job, x, v, duals, phase, own, weights, isotropic, out)


@_parallel
def sums_parallel(x, v, duals, phase, own, weights, isotropic, out):
    """:func:`sums`, rows in parallel."""
    for job in prange(len(out)):
        _sums(np.int64(job), x, v, duals, phase, own, weights, isotropic, out)


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
