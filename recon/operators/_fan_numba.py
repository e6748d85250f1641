"""The fan-beam projector on numpy arrays: padding around the kernels, and how they are launched."""

from __future__ import annotations

import numpy as np

from recon.operators._fan_geometry import Fans
from solvers.kernels import block_of, run_jobs


def project(images: np.ndarray, g: Fans, y: np.ndarray) -> None:
    """Write the rays ``g`` of images (batch, rows, columns) into ``y`` (batch, angles, detectors)."""
    from recon.operators import fan_kernels as kernels

    batch, rows, columns = images.shape
    padded = np.zeros((batch, rows + 1, columns + 2 * kernels.MARGIN + kernels.CHUNK), images.dtype)
    padded[:, :rows, kernels.MARGIN : kernels.MARGIN + columns] = images
    tasks = batch * len(g.views)
    block = block_of(tasks)
    run_jobs(kernels.project_job, images.size * len(g.views), -(-tasks // block), block, padded, rows, g, y)


def back_project(y: np.ndarray, g: Fans, shape: tuple[int, ...]) -> np.ndarray:
    """Images of ``shape`` from the rays ``g``: the adjoint of :func:`project`."""
    from recon.operators import fan_kernels as kernels

    rows, columns = shape
    images = np.zeros((len(y), rows, columns + kernels.CHUNK), y.dtype)
    tasks = len(y) * -(-rows // kernels.STRIPE)
    block = block_of(tasks)
    run_jobs(kernels.collect_job, images.size * len(g.views), -(-tasks // block), block, y, g, images)
    return images[:, :, :columns]
