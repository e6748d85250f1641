"""Three-dimensional projectors on numpy arrays: memory turned for the kernels, and how they are launched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recon.operators._cone_geometry import LANES, Rays
from recon.operators._planar_scan import plain
from solvers.kernels import block_of, run_jobs

SCRATCH_BYTES = 2**21
"""Memory for the samples of fans, or half that of the measurement where this is more; scans are taken in pieces."""


def project(volume: np.ndarray, rays: Rays, out: np.ndarray) -> None:
    """Write the projections of a volume (slices, rows, columns) into ``out`` (views, rows, columns)."""
    from recon.operators import _cone_kernels as kernels

    turned = plain(volume.transpose(1, 2, 0))
    _run(kernels.project_job, len(rays.views), _work(rays), turned.reshape(-1), turned.shape, rays, out)


def back_project(y: np.ndarray, rays: Rays, out: np.ndarray) -> None:
    """Write the adjoint of :func:`project` into a volume ``out`` (slices, rows, columns)."""
    from recon.operators import _cone_kernels as kernels

    y = plain(y)
    turned = np.zeros((out.shape[1], out.shape[2], out.shape[0]), y.dtype)
    samples = int(rays.samples.max())
    piece = max(1, max(SCRATCH_BYTES, y.nbytes // 2) // (samples * LANES * y.itemsize))
    work = _work(rays)
    for begin in range(0, len(rays.views), piece):
        sums = np.empty((min(piece, len(rays.views) - begin), samples, LANES), y.dtype)
        _run(kernels.spread_job, len(sums), work, y, begin, rays, sums)
        for along_x in (False, True):
            tasks = -(-turned.shape[int(along_x)] // kernels.PLANES)
            arguments = sums, begin, along_x, rays, turned.shape, turned.reshape(-1)
            _run(kernels.back_project_job, tasks, work, *arguments)
    out[:] = turned.transpose(2, 0, 1)


def _work(rays: Rays) -> int:
    """Samples of the volume that a projection takes, roughly."""
    return int(rays.samples.sum()) * LANES * int((rays.last - rays.first).max())


def _run(job: Callable[..., Any], tasks: int, work: int, *args: Any) -> None:
    block = block_of(tasks)
    run_jobs(job, work, -(-tasks // block), block, *args)
