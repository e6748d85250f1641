"""Numba kernels that treat each pixel's differences by themselves.

Differences are real and C-contiguous, ``(image, channel, direction, pixel)``; ``counted`` says which of them count,
``(direction, pixel)``. Those that do not are passed on. A job has a range of pixels of one image.
"""

from __future__ import annotations

import math

from numba import njit

_leaf = njit(fastmath={"contract", "nsz"}, error_model="numpy", nogil=True, cache=True)
TINY = 1e-300
NEWTON_STEPS = 30


@_leaf
def _shrunk_size(a, b, along, step):
    """Root of ``(d a / (l + step d^2))^2 + (b / (l + step))^2 = 1`` in l; 0 where there is none."""
    weight = step * along * along
    size = max(along * a - weight, b - step, 0.0)
    for _ in range(NEWTON_STEPS):
        p, q = (along * a / (size + weight)) ** 2, (b / (size + step)) ** 2
        rise = (p + q - 1.0) / (2.0 * (p / (size + weight) + q / (size + step)) + TINY)
        if not rise > 0:
            break
        size += rise
        if rise < 1e-6 * size:  # what is left is the square of that
            break
    return size


@_leaf
def directional(job, block, chunks, z, axis, along, counted, step, out):
    """Proximal map of ``step |D z|``, ``D`` being the identity but for ``along`` along ``axis``."""
    images, channels, n, pixels = z.shape
    for task in range(job * block, min((job + 1) * block, images * chunks)):
        m, first = task // chunks, task % chunks * pixels // chunks
        for p in range(first, (task % chunks + 1) * pixels // chunks):
            a = b = 0.0
            for c in range(channels):
                across = 0.0
                for d in range(n):
                    if counted[d, p]:
                        across += axis[d, p] * z[m, c, d, p]
                a += across * across
                for d in range(n):
                    if counted[d, p]:
                        b += (z[m, c, d, p] - across * axis[d, p]) ** 2
            size = _shrunk_size(math.sqrt(a), math.sqrt(b), along[p], step)
            first_factor = size / (size + step * along[p] * along[p])
            second_factor = size / (size + step)
            for c in range(channels):
                across = 0.0
                for d in range(n):
                    if counted[d, p]:
                        across += axis[d, p] * z[m, c, d, p]
                for d in range(n):
                    part = across * axis[d, p]
                    moved = part * first_factor + (z[m, c, d, p] - part) * second_factor
                    out[m, c, d, p] = moved if counted[d, p] else z[m, c, d, p]


@_leaf
def jacobian(job, block, chunks, z, counted, step, out):
    """Singular values of each ``(channel, 2)`` matrix shrunk by ``step``."""
    images, channels, _, pixels = z.shape
    for task in range(job * block, min((job + 1) * block, images * chunks)):
        m, first = task // chunks, task % chunks * pixels // chunks
        for p in range(first, (task % chunks + 1) * pixels // chunks):
            a = b = c = 0.0
            keep0, keep1 = counted[0, p], counted[1, p]
            for k in range(channels):
                u = float(z[m, k, 0, p]) if keep0 else 0.0
                v = float(z[m, k, 1, p]) if keep1 else 0.0
                a += u * u
                b += v * v
                c += u * v
            half = 0.5 * (a - b)
            root = math.sqrt(half * half + c * c)
            large = 0.5 * (a + b) + root
            small = max(a * b - c * c, 0.0) / (large + TINY)
            one = 1.0 - step / max(math.sqrt(large), step)
            two = 1.0 - step / max(math.sqrt(small), step)
            # F = two I + (one - two) e e^T, e being the unit vector of the larger eigenvalue.
            e0, e1 = (root + half, c) if half >= 0 else (c, root - half)
            size = math.sqrt(e0 * e0 + e1 * e1)
            e0, e1 = (e0 / size, e1 / size) if size > 0 else (1.0, 0.0)
            for k in range(channels):
                u = float(z[m, k, 0, p]) if keep0 else 0.0
                v = float(z[m, k, 1, p]) if keep1 else 0.0
                along = (one - two) * (e0 * u + e1 * v)
                out[m, k, 0, p] = two * u + along * e0 if keep0 else z[m, k, 0, p]
                out[m, k, 1, p] = two * v + along * e1 if keep1 else z[m, k, 1, p]
