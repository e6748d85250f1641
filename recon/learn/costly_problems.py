"""A random stream of problems whose data are reached by operator calls only, of several families of operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from priors import TotalVariation
from recon import operators as ops
from recon import psf, trajectories
from recon.bench.problems import coils, noisy
from recon.learn.problems import Drawn
from recon.learn.problems import _log_uniform as log_uniform
from recon.learn.problems import _seed as seed
from recon.sampling import radial_lines, variable_density_lines, variable_density_points


def parallel(rng: np.random.Generator, size: int) -> Drawn:
    """Few parallel views."""
    views = int(rng.integers(size // 4, size))
    return ops.ParallelBeam((size, size), views, spacing=1 / size), log_uniform(rng, 0.0005, 0.005)


def limited(rng: np.random.Generator, size: int) -> Drawn:
    """Parallel views of a part of the half circle."""
    angles = np.linspace(0, rng.uniform(0.6, 0.85) * np.pi, int(rng.integers(size // 3, size)))
    return ops.ParallelBeam((size, size), angles, spacing=1 / size), log_uniform(rng, 0.0005, 0.005)


def fan(rng: np.random.Generator, size: int) -> Drawn:
    """A fan of rays."""
    before, after, views = rng.uniform(1.5, 4), rng.uniform(0.5, 2), int(rng.integers(size // 3, size))
    operator = ops.FanBeam(
        (size, size), views, source_distance=float(before), detector_distance=float(after), spacing=1 / size
    )
    return operator, log_uniform(rng, 0.0005, 0.005)


def _coils(rng: np.random.Generator, size: int) -> np.ndarray:
    return coils(int(rng.integers(4, 9)), (size, size))


def coil_lines(rng: np.random.Generator, size: int) -> Drawn:
    """Several coils, lines of k-space."""
    lines = variable_density_lines(size, float(rng.uniform(2, 5)), rng=seed(rng))
    mask = np.broadcast_to(lines[:, None], (size, size)).copy()
    return ops.CartesianMRI(mask, _coils(rng, size)), log_uniform(rng, 0.003, 0.03)


def coil_points(rng: np.random.Generator, size: int) -> Drawn:
    """Several coils, points or spokes of k-space on the grid."""
    if rng.random() < 0.5:
        mask = radial_lines((size, size), int(rng.integers(size // 8, size // 3)))
    else:
        mask = variable_density_points((size, size), float(rng.uniform(3, 8)), rng=seed(rng))
    return ops.CartesianMRI(mask, _coils(rng, size)), log_uniform(rng, 0.003, 0.03)


def spokes(rng: np.random.Generator, size: int) -> Drawn:
    """Spokes of k-space off the grid, of one coil or several."""
    path = trajectories.radial(int(rng.integers(size // 6, size // 2)), 2 * size, size=size, golden=True)
    sensitivities = _coils(rng, size) if rng.random() < 0.5 else None
    return ops.NonCartesianMRI(path, (size, size), sensitivities), log_uniform(rng, 0.003, 0.03)


def blur(rng: np.random.Generator, size: int) -> Drawn:
    """Camera shake with mirrored borders, or a blur that varies."""
    sigma = log_uniform(rng, 0.003, 0.03)
    if rng.random() < 0.5:
        kernel = psf.camera_shake(float(rng.uniform(6, 12)), rng=seed(rng))
        return ops.Blur(kernel, (size, size), boundary="reflecting"), sigma
    least, most = sorted(rng.uniform(0.6, 3, 2).tolist())
    widths = np.linspace(least, most, 9).reshape(3, 3)
    kernels = np.array([[psf.gaussian(float(width), 13) for width in row] for row in widths])
    return ops.VaryingBlur(kernels, (size, size), boundary="reflecting"), sigma


def single_pixel(rng: np.random.Generator, size: int) -> Drawn:
    """A single-pixel camera whose illumination is uneven."""
    size = 2 ** int(math.log2(size))
    rows, columns = np.indices((size, size)) / size - 0.5 - rng.uniform(-0.3, 0.3, (2, 1, 1))
    light = 1 / (1 + rng.uniform(2, 16) * (rows**2 + columns**2))
    patterns = ops.SinglePixel((size, size), int(rng.uniform(0.15, 0.5) * size**2))
    return patterns @ ops.Diagonal(light.astype(np.float32)), log_uniform(rng, 0.003, 0.03)


FAMILIES: dict[str, Callable[[np.random.Generator, int], Drawn]] = {
    "parallel": parallel,
    "limited": limited,
    "fan": fan,
    "coil lines": coil_lines,
    "coil points": coil_points,
    "spokes": spokes,
    "blur": blur,
    "single pixel": single_pixel,
}
"""Families by name: a draw for a generator and about a size."""


@dataclass(frozen=True)
class Costly:
    """A measurement with its truth, and a strength of total variation at which prior and noise balance."""

    family: str
    truth: np.ndarray
    operator: Any
    sigma: float
    y: np.ndarray
    strength: float


def costly(family: str, picture: np.ndarray, size: int, rng: np.random.Generator) -> Costly:
    """A problem of a family on the centre of a picture."""
    return measured(family, FAMILIES[family](rng, size), picture, rng)


def measured(family: str, drawn: Drawn, picture: np.ndarray, rng: np.random.Generator) -> Costly:
    """The problem of an operator and a noise level."""
    operator, sigma = drawn
    size = operator.in_shape[-1]
    row, column = ((n - size) // 2 for n in picture.shape)
    truth = np.ascontiguousarray(picture[row : row + size, column : column + size], np.float32)
    if operator.kind == "complex":
        truth = truth.astype(np.complex64)
    y = noisy(operator(truth), operator, sigma, seed(rng))
    variance = sigma**2 * (2 if np.iscomplexobj(truth) else 1)
    balanced = 0.5 * variance * truth.size / max(float(TotalVariation().value(truth)), 1e-30)
    return Costly(family, truth, operator, sigma, y, balanced * log_uniform(rng, 0.5, 2.0))
