"""The projectors of volumes in torch: the weights of ``recon.operators._cone_kernels``, view by view, on any device.

Within a plane, rays read between columns of voxels by a product of matrices; along z they gather, in either direction.
So nothing is added up in an order that changes from run to run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recon.operators._cone_geometry import Rays

if TYPE_CHECKING:
    import torch

ELEMENTS = 2**26
"""What the largest array of a block of planes may hold."""


class Block(NamedTuple):
    """Some neighbouring planes as the rays of some columns of a view cross them: tables (planes, columns, ...)."""

    planes: slice
    across: torch.Tensor  # weights of the columns of voxels, zero where a plane is not crossed
    at: torch.Tensor  # slice of the ray to row 0, double precision
    step: torch.Tensor  # slices from one row to the next
    reach: int  # rows that lie about one slice, at the most


def project(volume: torch.Tensor, rays: Rays, y: torch.Tensor) -> None:
    """Add the projections of a volume (batch, slices, rows, columns) to ``y`` (batch, views, rows, columns)."""
    import torch

    slices, rows = volume.shape[1], y.shape[2]
    v = torch.arange(rows, device=y.device, dtype=torch.float64)
    for k, columns, turned in _marches(rays, volume):
        for b in _blocks(rays, k, columns, turned, rows):
            met = torch.nn.functional.pad(b.across @ turned[:, b.planes], (1, 2))  # beyond the volume there are zeros
            z = torch.clamp(b.at + b.step * v, -1, slices)
            low = torch.floor(z)
            f, index = (z - low).to(y.dtype), (low.long() + 1).expand(len(y), -1, -1, -1)
            values = (1 - f) * met.gather(3, index) + f * met.gather(3, index + 1)
            y[:, k, :, _on(columns, y)] += (values.sum(1) * _lengths(rays, k, columns, v, y)).transpose(1, 2)


def back_project(y: torch.Tensor, rays: Rays, volume: torch.Tensor) -> None:
    """Add the adjoint of :func:`project` to ``volume``."""
    import torch

    slices, rows = volume.shape[1], y.shape[2]
    v = torch.arange(rows, device=y.device, dtype=torch.float64)
    s = torch.arange(slices, device=y.device, dtype=torch.float64)
    for k, columns, turned in _marches(rays, volume):
        cells = y[:, k, :, _on(columns, y)].transpose(1, 2) * _lengths(rays, k, columns, v, y)
        padded = torch.nn.functional.pad(cells, (1, 1))[:, None]
        for b in _blocks(rays, k, columns, turned, rows):
            lowest = torch.clamp(torch.floor((s - 1 - b.at) / b.step) + 1, min=-1)
            given = padded.expand(-1, len(b.at), -1, -1)
            met = y.new_zeros(len(y), *lowest.shape)
            for tap in range(b.reach):
                share = torch.clamp(1 - (b.at + b.step * (lowest + tap) - s).abs(), min=0).to(y.dtype)
                index = torch.clamp(lowest + tap, -1, rows).long() + 1
                met += share * given.gather(3, index.expand(len(y), -1, -1, -1))
            turned[:, b.planes] += b.across.transpose(1, 2) @ met


def _marches(rays: Rays, volume: torch.Tensor) -> Iterator[tuple[int, np.ndarray, torch.Tensor]]:
    """Each view, those of its columns that march one way, and the volume as (batch, planes, across, slices)."""
    for k, along_x in enumerate(rays.along_x):
        for chosen, turned in ((~along_x, volume.permute(0, 2, 3, 1)), (along_x, volume.permute(0, 3, 2, 1))):
            if chosen.any():
                yield k, np.flatnonzero(chosen), turned


def _blocks(rays: Rays, k: int, columns: np.ndarray, turned: torch.Tensor, rows: int) -> Iterator[Block]:
    import torch

    batch, planes, width, slices = turned.shape
    length = max(1, ELEMENTS // (batch * columns.size * max(width, slices, rows)))
    first, last, p0, p1, z0, z1, h0, h1 = (table[k, columns] for table in rays[1:9])
    low, high = max(int(first.min()), 0), min(int(last.max()), planes)
    for begin in range(low, high, length):
        q = np.arange(begin, min(begin + length, high))[:, None]
        crossed = (first <= q) & (q < last)
        step = np.where(crossed, h0 + h1 * q, 1.0)
        p, at = (_on(table[..., None], turned) for table in (p0 + p1 * q, z0 + z1 * q))
        i = torch.arange(width, device=turned.device, dtype=torch.float64)
        across = torch.clamp(1 - (p - i).abs(), min=0) * _on(crossed[..., None], turned)
        reach = min(math.ceil(2 / step.min()), rows + 1)
        yield Block(slice(begin, begin + len(q)), across.to(turned.dtype), at, _on(step[..., None], turned), reach)


def _lengths(rays: Rays, k: int, columns: np.ndarray, v: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Of the rays to some columns between two planes: (columns, rows)."""
    step, e0, e1 = (_on(table[k, columns, None], like) for table in (rays.step, rays.e0, rays.e1))
    return (step * (1 + (e0 + e1 * v) ** 2).sqrt()).to(like.dtype)


def _on(table: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """In double precision, or as it is, on the device of ``like``."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(table)).to(like.device)
