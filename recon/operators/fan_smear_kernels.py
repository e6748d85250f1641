"""Numba kernels of the back-projection of fans, pixel by pixel, for the analytic inversion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from recon.operators._fan_geometry import STRIPE, Smearing
from recon.operators.fan_kernels import _FAST, _ONE, _U


@njit(**_FAST)
def _shadows(
    depth: Any, lateral: Any, cos: Any, sin: Any, g: Smearing, last: int, cell: Any, between: Any, weight: Any
) -> None:
    """Sample before each pixel of a row, the fraction to the next one, and the weight by the squared distance.

    ``depth`` and ``lateral`` are the place of the row's first pixel as seen from the source.
    """
    kind = weight.dtype.type
    start, scale, distance, end = kind(g.start), kind(1 / g.step), kind(g.distance), kind(last - 1)
    for j in range(_U(weight.size)):
        inverse = kind(1) / (depth - sin * kind(j))
        at = min(max(((lateral + cos * kind(j)) * inverse - start) * scale, kind(0)), end)
        sample = np.int32(at)
        cell[j] = sample
        between[j] = at - kind(sample)
        weight[j] = (inverse * distance) * (inverse * distance)


@njit(**_FAST)
def _smear_block(task: int, fine: np.ndarray, g: Smearing, out: np.ndarray) -> None:
    rows, columns = out.shape[1], out.shape[2]
    kind = out.dtype.type
    blocks = (rows + STRIPE - 1) // STRIPE
    item, block = task // blocks, task % blocks * STRIPE
    cell, between, weight = np.empty(columns, np.int32), np.empty(columns, out.dtype), np.empty(columns, out.dtype)
    x = -0.5 * (columns - 1)
    for k in range(g.cos.size):
        cos, sin, view = g.cos[k], g.sin[k], fine[item, k]
        for i in range(block, min(rows, block + STRIPE)):
            y = 0.5 * (rows - 1) - i
            depth, lateral = g.distance - sin * x + cos * y, g.offset + cos * x + sin * y
            _shadows(kind(depth), kind(lateral), kind(cos), kind(sin), g, view.size - 1, cell, between, weight)
            row = out[item, i]
            for j in range(columns):
                m = _U(cell[j])
                row[j] += weight[j] * (view[m] + between[j] * (view[m + _ONE] - view[m]))


@njit(**_FAST)
def smear_job(job: int, block: int, fine: np.ndarray, g: Smearing, out: np.ndarray) -> None:
    tasks = out.shape[0] * ((out.shape[1] + STRIPE - 1) // STRIPE)
    for task in range(job * block, min((job + 1) * block, tasks)):
        _smear_block(task, fine, g, out)
