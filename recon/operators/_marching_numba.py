"""The parallel-beam projector on numpy arrays: padding around the kernels, and how they are launched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recon.operators._marching import PHASES, Marching
from solvers.kernels import block_of, run_jobs


def project(images: np.ndarray, g: Marching, y: np.ndarray) -> None:
    """Write the views ``g`` of images (batch, rows, columns) into ``y`` (batch, angles, detectors)."""
    from recon.operators import kernels

    batch, rows, columns = images.shape
    whole = -(-rows // kernels.GROUP) * kernels.GROUP
    padded = np.zeros((batch, whole, kernels.LEFT + columns + kernels.RIGHT), images.dtype)
    padded[:, :rows, kernels.LEFT : kernels.LEFT + columns] = images
    _run(kernels.project_job, images.size * len(g.views), batch * len(g.views), padded, rows, g, y)


def back_project(y: np.ndarray, g: Marching, shape: tuple[int, ...], weights: np.ndarray | None = None) -> np.ndarray:
    """Sum the views ``g`` into images of ``shape``: the adjoint, or interpolated with ``weights`` for each view."""
    from recon.operators import kernels

    (rows, columns), batch = shape, len(y)
    fine = np.empty((batch, len(g.views), PHASES, kernels.LEFT + g.width + kernels.RIGHT), y.dtype)
    images = np.zeros((batch, rows, columns + kernels.LANES), y.dtype)
    work, views = batch * rows * columns * len(g.views), batch * len(g.views)
    blocks = batch * -(-rows // kernels.BLOCK)
    if weights is None:
        _run(kernels.spread_job, work, views, y, g, fine)
        _run(kernels.collect_job, work, blocks, fine, g, images)
    else:
        _run(kernels.interpolate_job, work, views, y, g, weights, fine)
        _run(kernels.smear_job, work, blocks, fine, g, images)
    return images[:, :, :columns]


def _run(job: Callable[..., Any], work: int, tasks: int, *args: Any) -> None:
    block = block_of(tasks)
    run_jobs(job, work, -(-tasks // block), block, *args)
