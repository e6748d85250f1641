"""The fan-beam projector on numpy arrays: padding around the kernels, and how they are launched."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from recon.operators._fan_geometry import CHUNK, STRIPE, Fans, Smearing
from recon.operators._marching import PHASES
from solvers.kernels import block_of, run_jobs

if TYPE_CHECKING:
    from recon.operators.fan_beam import FanBeam


def project(images: np.ndarray, g: Fans, y: np.ndarray) -> None:
    """Write the rays ``g`` of images (batch, rows, columns) into ``y`` (batch, angles, detectors)."""
    from recon.operators import fan_kernels as kernels

    batch, rows, columns = images.shape
    padded = np.zeros((batch, rows + 1, columns + 2 * kernels.MARGIN + CHUNK), images.dtype)
    padded[:, :rows, kernels.MARGIN : kernels.MARGIN + columns] = images
    tasks = batch * len(g.views)
    block = block_of(tasks)
    run_jobs(kernels.project_job, images.size * len(g.views), -(-tasks // block), block, padded, rows, g, y)


def back_project(y: np.ndarray, g: Fans, shape: tuple[int, ...]) -> np.ndarray:
    """Images of ``shape`` from the rays ``g``: the adjoint of :func:`project`."""
    from recon.operators import fan_kernels as kernels

    rows, columns = shape
    images = np.zeros((len(y), rows, columns + CHUNK), y.dtype)
    tasks = len(y) * -(-rows // STRIPE)
    block = block_of(tasks)
    run_jobs(kernels.collect_job, images.size * len(g.views), -(-tasks // block), block, y, g, images)
    return images[:, :, :columns]


def smear(operator: FanBeam, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of views over pixels, as ``FanBeam.smear`` describes."""
    from recon.operators import fan_smear_kernels as kernels

    tangent = np.tan(operator.fan_angles)
    step = operator.spacing / (PHASES * operator.source_distance)
    samples = tangent[0] + step * np.arange(-2, math.ceil((tangent[-1] - tangent[0]) / step) + 3)
    fine = _between_cells(operator, y.reshape(-1, *operator.out_shape), samples, weights)
    g = Smearing(
        np.cos(operator.angles),
        np.sin(operator.angles),
        operator.source_distance / operator.spacing,
        operator.axis_offset / operator.spacing,
        samples[0],
        step,
    )
    images = np.zeros((len(fine), *operator.in_shape), y.dtype)
    tasks = len(images) * -(-operator.in_shape[0] // STRIPE)
    block = block_of(tasks)
    run_jobs(kernels.smear_job, images.size * len(g.cos), -(-tasks // block), block, fine, g, images)
    return images.reshape(y.shape[:-2] + operator.in_shape)


def _between_cells(operator: FanBeam, y: np.ndarray, tangents: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted views at these tangents, linear between the cells and zero beyond them."""
    curved = operator.detector == "curved"
    per_cell = operator.detector_spacing / (operator.source_distance + operator.detector_distance)
    at = (np.arctan(tangents) if curved else tangents) / per_cell + operator.center
    cell = np.clip(np.floor(at), 0, max(0, operator.detectors - 2)).astype(np.int64)
    inside = (at >= 0) & (at <= operator.detectors - 1)
    # A curved detector weighs by the distance along the ray, the kernel by that along the central ray.
    factor = inside / (1 + tangents**2) if curved else inside * 1.0
    right = ((at - cell) * factor).astype(y.dtype)
    left = ((cell + 1 - at) * factor).astype(y.dtype)
    fine = np.take(y, cell, axis=-1) * left  # a view in a row, unlike y[..., cell]
    fine += np.take(y, np.minimum(cell + 1, operator.detectors - 1), axis=-1) * right
    fine *= weights[:, None].astype(y.dtype)
    return fine
