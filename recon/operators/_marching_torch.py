"""The parallel-beam projector in torch: the weights of ``recon.operators.kernels``, view by view, on any device.

Both directions gather, so sums do not depend on an order that changes from run to run. Only the cells of a view are
added into its fine samples, where at most two meet unless cells are narrower than a fine sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from recon.operators._marching import PHASES, Marching

if TYPE_CHECKING:
    import torch


def project(image: torch.Tensor, g: Marching, y: torch.Tensor) -> None:
    """Write the views ``g`` of an image (batch, rows, columns) into ``y`` (batch, angles, detectors)."""
    import torch

    _, rows, columns = image.shape
    padded = torch.nn.functional.pad(image, (1, 1))  # whatever lies beyond the columns reads one of two zeros
    shift, fraction = _crossings(g, rows)
    sample = torch.arange(g.width, device=image.device)
    for k, view in enumerate(g.views):
        f = on_device(fraction[k], image)
        low = on_device(shift[k] + g.start[k], image) + sample
        left = _gather(padded, torch.clamp(low, -1, columns) + 1)
        right = _gather(padded, torch.clamp(low + 1, -1, columns) + 1)
        fine = ((1 - f) * left + f * right).sum(1)
        index, weights = _cells(g, k, y.shape[2])
        w = on_device(weights, image)
        y[:, int(view)] = (fine.flatten(1)[:, on_device(index, image)] * w).sum(1)


def collect(y: torch.Tensor, g: Marching, image: torch.Tensor) -> None:
    """Add the adjoint of :func:`project` to ``image``."""
    import torch

    batch, rows, columns = image.shape
    shift, fraction = _crossings(g, rows)
    column = torch.arange(columns, device=y.device)
    phase = torch.arange(PHASES, device=y.device)[:, None] * (g.width + 2)
    for k, view in enumerate(g.views):
        index, weights = _cells(g, k, y.shape[2])
        cells = (y[:, int(view), None, :] * on_device(weights, y)).flatten(1)
        fine = y.new_zeros(batch, PHASES * g.width).index_add_(1, on_device(index, y).flatten(), cells)
        padded = torch.nn.functional.pad(fine.reshape(batch, PHASES, -1), (1, 1)).flatten(1)
        f = on_device(fraction[k], y)
        sample = column - on_device(shift[k] + g.start[k], y)
        here = padded[:, phase + torch.clamp(sample, -1, g.width) + 1]
        before = padded[:, phase + torch.clamp(sample - 1, -1, g.width) + 1]
        image += ((1 - f) * here + f * before).sum(2)


def _crossings(g: Marching, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole columns and fractions that each view moves by each row and phase: (views, rows, PHASES, 1)."""
    at = g.slope[:, None, None] * (np.arange(rows) - 0.5 * (rows - 1))[:, None] + np.arange(PHASES) / PHASES
    whole = np.floor(at)[..., None]
    return whole.astype(np.int64), at[..., None] - whole


def _cells(g: Marching, k: int, detectors: int) -> tuple[np.ndarray, np.ndarray]:
    """The two fine samples beside each cell of view k, in the order (phase, sample), and their weights."""
    at = (g.base[k] + g.step[k] * np.arange(detectors) - g.start[k]) * PHASES
    m = np.floor(at).astype(np.int64)
    inside = g.scale[k] * ((m >= 0) & (m < PHASES * g.width - 1))
    pair = np.clip(np.stack([m, m + 1]), 0, PHASES * g.width - 1)
    weights = np.stack([1 - (at - m), at - m]) * inside
    return pair % PHASES * g.width + pair // PHASES, weights


def on_device(table: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    import torch

    dtype: Any = torch.int64 if table.dtype.kind == "i" else like.dtype
    return torch.from_numpy(table).to(device=like.device, dtype=dtype)


def _gather(padded: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """``out[b, row, phase, t] = padded[b, row, index[row, phase, t]]``."""
    batch, rows, _ = padded.shape
    flat = index.reshape(1, rows, -1).expand(batch, -1, -1)
    return padded.gather(2, flat).reshape(batch, *index.shape)
