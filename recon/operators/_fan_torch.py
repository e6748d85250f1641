"""The fan-beam projector in torch: the weights of ``recon.operators.fan_kernels``, view by view, on any device.

It computes on the tensor's device, so that nothing is copied; it is not made for speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recon.operators._fan_geometry import STRIPE, Fans, block_rows
from recon.operators._marching import PHASES
from recon.operators._marching_torch import on_device

if TYPE_CHECKING:
    import torch

BESIDE = STRIPE + 4
"""Columns of the fine grid beyond the image."""


class Blocks(NamedTuple):
    """Rows that share a fine grid, for one piece of a view; those behind the source are left out."""

    rows: np.ndarray  # the rows of all blocks
    block: np.ndarray  # the block of each of them
    middle: np.ndarray  # rows from the source to the middle of each block
    ratio: np.ndarray  # how much wider the rays are apart on each row than on the middle one


def project(image: torch.Tensor, g: Fans, y: torch.Tensor) -> None:
    """Write the rays ``g`` of an image (batch, rows, columns) into ``y`` (batch, angles, detectors)."""
    import torch

    batch, rows, columns = image.shape
    padded = torch.nn.functional.pad(image, (1, 1))  # whatever lies beyond the columns reads one of two zeros
    sample = np.arange(-BESIDE * PHASES, (columns + BESIDE) * PHASES) / PHASES
    for k in range(len(g.views)):
        b = _blocks(g, k, rows)
        if not b.rows.size:
            continue
        at = g.column[k] + b.ratio[:, None] * (sample - g.column[k])
        low = np.floor(at).astype(np.int64)
        f = on_device(at - low, image)
        chosen = padded[:, on_device(b.rows, image)]
        left, right = (
            chosen.gather(2, on_device(np.clip(low + step, -1, columns) + 1, image).expand(batch, -1, -1))
            for step in (0, 1)
        )
        members = (b.block == np.arange(b.middle.size)[:, None]).astype(np.float64)
        fine = on_device(members, image) @ ((1 - f) * left + f * right)
        index, weights = _cells(g, k, b, columns)
        values = fine.flatten(1)[:, on_device(index, image)] * on_device(weights, image)
        y[:, int(g.views[k]), g.first[k] : g.last[k]] = values.sum((1, 2))


def collect(y: torch.Tensor, g: Fans, image: torch.Tensor) -> None:
    """Add the adjoint of :func:`project` to ``image``."""
    batch, rows, columns = image.shape
    width = (columns + 2 * BESIDE) * PHASES
    pixel = np.arange(columns)
    for k in range(len(g.views)):
        b = _blocks(g, k, rows)
        if not b.rows.size:
            continue
        index, weights = _cells(g, k, b, columns)
        cells = y[:, None, None, int(g.views[k]), g.first[k] : g.last[k]] * on_device(weights, y)
        fine = y.new_zeros(batch, b.middle.size * width).index_add_(1, on_device(index, y).flatten(), cells.flatten(1))
        nearest = np.floor((g.column[k] + (pixel - g.column[k]) / b.ratio[:, None]) * PHASES).astype(np.int64)
        for step in range(-PHASES, PHASES + 2):
            sample = nearest + step
            share = 1 - np.abs(g.column[k] + b.ratio[:, None] * (sample / PHASES - g.column[k]) - pixel)
            place = np.clip(sample + BESIDE * PHASES, 0, width - 1) + b.block[:, None] * width
            image[:, on_device(b.rows, y)] += fine[:, on_device(place, y)] * on_device(np.maximum(share, 0), y)


def _blocks(g: Fans, k: int, rows: int) -> Blocks:
    middles, members = [], []
    for stripe in range(0, rows, STRIPE):
        end = min(rows, stripe + STRIPE)
        step = block_rows(float(g.row[k]), stripe, end)
        for top in range(stripe, end, step):
            block = np.arange(top, min(end, top + step))
            middle = block.mean() - g.row[k]
            if middle * g.sense[k] > 0:
                middles.append(middle)
                members.append(block)
    if not middles:
        none = np.zeros(0)
        return Blocks(none.astype(np.int64), none.astype(np.int64), none, none)
    chosen = np.concatenate(members)
    block = np.repeat(np.arange(len(middles)), [len(m) for m in members])
    return Blocks(chosen, block, np.array(middles), (chosen - g.row[k]) / np.array(middles)[block])


def _cells(g: Fans, k: int, b: Blocks, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The two fine samples beside each cell in each block, (2, blocks, cells), and their weights."""
    tangent = g.tangent[g.first[k] : g.last[k]]
    slope = (g.a[k] + g.b[k] * tangent) / (g.c[k] + g.e[k] * tangent)
    width = (columns + 2 * BESIDE) * PHASES
    at = (g.column[k] + b.middle[:, None] * slope + BESIDE) * PHASES
    m = np.floor(at).astype(np.int64)
    length = g.spacing * np.sqrt(1 + slope**2) * ((m >= 0) & (m < width - 1))
    pair = np.clip(np.stack([m, m + 1]), 0, width - 1) + width * np.arange(b.middle.size)[:, None]
    return pair, np.stack([1 - (at - m), at - m]) * length
