"""Numba kernels of :class:`priors.SimilarPatches`. Reference patches are numbered row by row."""

from __future__ import annotations

import numpy as np
from numba import njit

_leaf = njit(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy", nogil=True, cache=True)


@_leaf
def match(job, jobs, x, rows, columns, patch, reach, found):
    """Write where the patches are that differ least from each reference one, as numbers of their first pixels."""
    height, width = x.shape[0] - patch + 1, x.shape[1] - patch + 1
    count, similar = found.shape
    distance = np.empty((2 * reach + 1) ** 2, np.float32)
    place = np.empty((2 * reach + 1) ** 2, np.int32)
    for task in range(job * count // jobs, (job + 1) * count // jobs):
        i, j = rows[task // columns.size], columns[task % columns.size]
        first, last = max(0, j - reach), min(width - 1, j + reach)
        n, across = 0, last - first + 1
        for p in range(max(0, i - reach), min(height - 1, i + reach) + 1):
            total = distance[n : n + across]
            total[:] = 0
            for a in range(patch):
                for b in range(patch):
                    pixel, others = x[i + a, j + b], x[p + a, first + b : first + b + across]
                    for q in range(across):
                        total[q] += (pixel - others[q]) * (pixel - others[q])
            for q in range(across):
                place[n + q] = p * x.shape[1] + first + q
            n += across
        nearest = np.argpartition(distance[:n], similar - 1)
        for m in range(similar):
            found[task, m] = place[nearest[m]]


@_leaf
def shrink(job, jobs, x, found, patch, threshold, total, weight):
    """Add to ``total[job]`` the patches of the job's groups, without the singular values below the threshold."""
    (count, similar), size = found.shape, patch * patch
    group = np.empty((similar, size), x.dtype)
    for task in range(job * count // jobs, (job + 1) * count // jobs):
        mean = 0.0
        for m in range(similar):
            i, j = found[task, m] // x.shape[1], found[task, m] % x.shape[1]
            for a in range(patch):
                for b in range(patch):
                    group[m, a * patch + b] = x[i + a, j + b]
                    mean += x[i + a, j + b]
        mean /= similar * size
        group -= x.dtype.type(mean)
        squares, vectors = np.linalg.eigh(group.T @ group if size <= similar else group @ group.T)
        rank = np.sum(squares > threshold * threshold)
        kept = np.ascontiguousarray(vectors[:, squares.size - rank :])
        share = x.dtype.type(max(1.0 - rank / (squares.size + 1.0), 1.0 / squares.size))
        low = (group @ kept) @ kept.T if size <= similar else kept @ (kept.T @ group)
        for m in range(similar):
            i, j = found[task, m] // x.shape[1], found[task, m] % x.shape[1]
            for a in range(patch):
                for b in range(patch):
                    total[job, i + a, j + b] += share * (low[m, a * patch + b] + x.dtype.type(mean))
                    weight[job, i + a, j + b] += share
