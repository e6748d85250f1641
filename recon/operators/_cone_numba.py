"""Three-dimensional projectors on numpy arrays: memory turned for the kernels, and how they are launched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recon.operators._cone_geometry import MARGIN, Rays
from recon.operators._planar_scan import plain
from solvers.kernels import block_of, run_jobs

SCRATCH_BYTES = 2**21
"""Memory for turned views, or half that of the measurement where this is more; scans are taken in pieces."""


def project(volume: np.ndarray, rays: Rays, out: np.ndarray) -> None:
    """Write the projections of a volume (slices, rows, columns) into ``out`` (views, rows, columns)."""
    from recon.operators import _cone_kernels as kernels

    turned = plain(volume.transpose(1, 2, 0))
    tasks = -(-len(out) // kernels.VIEWS)
    _run(kernels.project_job, tasks, _work(rays, volume), turned.reshape(-1), turned.shape, rays, _phases(rays), out)


def back_project(y: np.ndarray, rays: Rays, out: np.ndarray) -> None:
    """Write the adjoint of :func:`project` into a volume ``out`` (slices, rows, columns)."""
    from recon.operators import _cone_kernels as kernels

    y = plain(y)
    views, rows, columns = y.shape
    turned = np.zeros((out.shape[1], out.shape[2], out.shape[0]), y.dtype)
    phases, work = _phases(rays), _work(rays, out)
    cells = columns, phases, -(-rows // phases) + 2 * MARGIN
    piece = max(1, max(SCRATCH_BYTES, y.nbytes // 2) // (int(np.prod(cells)) * y.itemsize))
    for begin in range(0, views, piece):
        pieces = np.empty((min(piece, views - begin), *cells), y.dtype)
        _run(kernels.turn_job, len(pieces), work, y, begin, rays, pieces)
        for along_x in (False, True):
            tasks = -(-turned.shape[int(along_x)] // kernels.BLOCK)
            arguments = pieces, rows, begin, along_x, rays, turned.shape, turned.reshape(-1)
            _run(kernels.back_project_job, tasks, work, *arguments)
    out[:] = turned.transpose(2, 0, 1)


def _phases(rays: Rays) -> int:
    """Rows of the detector to a slice, about: every so manyth of them is beside every slice."""
    crossed = rays.first < rays.last
    if not crossed.any():
        return 1
    middle = 0.5 * (rays.first + rays.last - 1)
    return max(1, round(1 / float(np.median((rays.h0 + rays.h1 * middle)[crossed]))))


def _work(rays: Rays, volume: np.ndarray) -> int:
    """Voxels that a projection meets, roughly."""
    return rays.first.size * int((rays.last - rays.first).max()) * len(volume)


def _run(job: Callable[..., Any], tasks: int, work: int, *args: Any) -> None:
    block = block_of(tasks)
    run_jobs(job, work, -(-tasks // block), block, *args)
