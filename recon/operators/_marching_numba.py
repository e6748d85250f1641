"""The parallel-beam projector on numpy arrays: padding around the kernels, and how they are launched."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.operators._marching import PHASES, Marching
from solvers.kernels import parallel_pays, run_parallel


def project(images: np.ndarray, g: Marching, y: np.ndarray) -> None:
    """Write the views ``g`` of images (batch, rows, columns) into ``y`` (batch, angles, detectors)."""
    from recon.operators import kernels

    batch, rows, columns = images.shape
    whole = -(-rows // kernels.GROUP) * kernels.GROUP
    padded = np.zeros((batch, whole, kernels.LEFT + columns + kernels.RIGHT), images.dtype)
    padded[:, :rows, kernels.LEFT : kernels.LEFT + columns] = images
    _launch("project", images.size * len(g.views), padded, rows, g, y)


def back_project(y: np.ndarray, g: Marching, shape: tuple[int, ...], kernel: str, *args: np.ndarray) -> np.ndarray:
    """Sum the views ``g`` into images of ``shape``, with a kernel: ``collect`` (the adjoint) or ``smear``."""
    from recon.operators import kernels

    (rows, columns), batch = shape, len(y)
    fine = np.empty((batch, len(g.views), PHASES, kernels.LEFT + g.width + kernels.RIGHT), y.dtype)
    images = np.zeros((batch, rows, columns + kernels.LANES), y.dtype)
    _launch(kernel, batch * rows * columns * len(g.views), y, g, *args, fine, images)
    return images[:, :, :columns]


def _launch(name: str, work: int, *args: Any) -> None:
    from recon.operators import kernels

    if parallel_pays(work):
        run_parallel(getattr(kernels, f"{name}_parallel"), *args)
    else:
        getattr(kernels, f"{name}_serial")(*args)
