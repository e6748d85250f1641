"""The parallel-beam projector on numpy arrays: padding around the kernels, and how they are launched."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from recon.operators._marching import PHASES, Marching
from solvers.kernels import block_of, run_jobs

VIEW_BYTES = 2**19
"""Fine views that are held at a time, unless a few are larger: they stay in a cache and small beside the image."""


def project(images: np.ndarray, g: Marching, y: np.ndarray) -> None:
    """Write the views ``g`` of images (batch, rows, columns) into ``y`` (batch, angles, detectors)."""
    from recon.operators import kernels

    batch, rows, columns = images.shape
    padded = np.zeros((batch, rows, kernels.LEFT + columns + kernels.RIGHT), images.dtype)
    padded[:, :, kernels.LEFT : kernels.LEFT + columns] = images
    width = _fine_columns(g, rows, columns)
    _run(kernels.project_job, images.size * len(g.views), batch * len(g.views), padded, g, width, y)


def back_project(y: np.ndarray, g: Marching, shape: tuple[int, ...], weights: np.ndarray | None = None) -> np.ndarray:
    """Sum the views ``g`` into images of ``shape``: the adjoint, or interpolated with ``weights`` for each view."""
    from recon.operators import kernels

    (rows, columns), batch = shape, len(y)
    images = np.zeros((batch, rows, columns + kernels.LANES), y.dtype)
    width = _fine_columns(g, rows, columns) + kernels.LANES
    held = _views_held(batch * PHASES * width * y.itemsize, len(g.views))
    fine = np.zeros((batch, held, PHASES, width), y.dtype)
    blocks = batch * -(-rows // kernels.BLOCK)
    for first in range(0, len(g.views), held):
        work = batch * rows * columns * held
        if weights is None:
            _run(kernels.spread_job, work, batch * held, y, g, first, columns, fine)
        else:
            _run(kernels.interpolate_job, work, batch * held, y, g, first, columns, weights, fine)
        _run(kernels.collect_job, work, blocks, fine, g, first, columns, images)
    return images[:, :, :columns]


def _fine_columns(g: Marching, rows: int, columns: int) -> int:
    """Columns of fine views that hold the shadow of the whole image, as many on both sides of the image's own."""
    from recon.operators import kernels

    reach = 0.5 * (rows - 1) * float(np.abs(g.slope).max(initial=0.0))
    return columns + 2 * (math.ceil(reach) + kernels.EDGE)


def _views_held(view_bytes: int, views: int) -> int:
    """A multiple of the views that are added in one pass."""
    from recon.operators import kernels

    most = max(1, VIEW_BYTES // (kernels.GROUP * view_bytes), 2)
    return kernels.GROUP * max(1, min(most, -(-views // kernels.GROUP)))


def _run(job: Callable[..., Any], work: int, tasks: int, *args: Any) -> None:
    block = block_of(tasks)
    run_jobs(job, work, -(-tasks // block), block, *args)
