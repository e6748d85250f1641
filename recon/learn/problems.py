"""A random stream of restoration problems with a closed-form data step, of several families of operators.

Also of curves and counts of each pixel, whose data step is as good as closed. Mixed bands and phase retrieval are none
of them: first-order methods learn from those as well (:mod:`recon.learn.first_order_problems`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from recon import operators as ops
from recon import psf
from recon.noise import Gaussian, Poisson
from recon.sampling import radial_lines, variable_density_lines, variable_density_points

Drawn = tuple[Any, float]
"""An operator, and the standard deviation of the noise for images that range over [0, 1]."""


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**30))


def blur(rng: np.random.Generator, size: int) -> Drawn:
    """Camera shake, a Gaussian, defocus or a box."""
    kinds: tuple[Callable[[], np.ndarray], ...] = (
        lambda: psf.camera_shake(float(rng.uniform(8, max(min(25, 0.2 * size), 9))), rng=_seed(rng)),
        lambda: psf.gaussian(float(rng.uniform(0.8, 2.5))),
        lambda: psf.defocus(float(rng.uniform(1.5, 4.5))),
        lambda: psf.uniform(int(rng.choice([3, 5, 7, 9]))),
    )
    return ops.Blur(kinds[rng.integers(4)](), (size, size)), _log_uniform(rng, 0.003, 0.05)


def inpainting(rng: np.random.Generator, size: int) -> Drawn:
    """Pixels that are missing at random, or in small blocks."""
    if rng.random() < 0.7:
        mask = rng.random((size, size)) < rng.uniform(0.15, 0.8)
    else:
        mask = np.ones((size, size), dtype=bool)
        for _ in range(int(rng.integers(size // 16, 3 * size // 16))):
            row, column, height, width = (
                int(rng.integers(*limits)) for limits in ((0, size), (0, size), (2, 9), (2, 9))
            )
            mask[row : row + height, column : column + width] = False
    noise = _log_uniform(rng, 0.003, 0.05)
    return ops.Mask(mask), float(rng.choice([0.0, noise], p=[0.3, 0.7]))


def superresolution(rng: np.random.Generator, size: int) -> Drawn:
    """A coarser grid, after the mean of blocks, the bicubic kernel or a Gaussian."""
    factor = int(rng.choice([2, 3, 4], p=[0.5, 0.3, 0.2]))
    kernel = (None, "bicubic", psf.gaussian(float(rng.uniform(0.5, 0.6) * factor)))[rng.integers(3)]
    size = factor * math.ceil(size / factor)
    return ops.Downsample(factor, (size, size), kernel), _log_uniform(rng, 0.001, 0.03)


def mri(rng: np.random.Generator, size: int) -> Drawn:
    """A part of k-space: lines, spokes, or points."""
    kind, acceleration = rng.integers(3), float(rng.uniform(2.5, 6))
    if kind == 0:
        mask = np.broadcast_to(variable_density_lines(size, acceleration, rng=_seed(rng)), (size, size)).copy()
    elif kind == 1:
        mask = radial_lines((size, size), int(rng.integers(size // 8, size // 3)))
    else:
        mask = variable_density_points((size, size), acceleration, rng=_seed(rng))
    return ops.CartesianMRI(mask), _log_uniform(rng, 0.002, 0.03)


def shading(rng: np.random.Generator, size: int) -> Drawn:
    """A gain for each pixel: the noise differs from place to place."""
    rows, columns = np.indices((size, size)) / size - rng.uniform(0.1, 0.9, (2, 1, 1))
    gain = 1 / (1 + rng.uniform(2, 24) * (rows**2 + columns**2))
    if rng.random() < 0.5:
        gain = gain * np.exp(rng.uniform(0.1, 0.5) * rng.standard_normal(gain.shape))
    return ops.Diagonal(gain), _log_uniform(rng, 0.02, 0.15)


def patterns(rng: np.random.Generator, size: int) -> Drawn:
    """Hadamard patterns, fewer than pixels; the size is the next power of two."""
    size = 2 ** math.ceil(math.log2(size))
    count = int(rng.uniform(0.15, 0.5) * size**2)
    return ops.SinglePixel((size, size), count), _log_uniform(rng, 0.002, 0.03)


def saturation(rng: np.random.Generator, size: int) -> Drawn:
    """A sensor that saturates softly."""
    level, sharpness = float(rng.uniform(0.5, 1.2)), float(rng.uniform(1.5, 6))
    return ops.Saturation((size, size), level, sharpness), _log_uniform(rng, 0.003, 0.05)


def gamma(rng: np.random.Generator, size: int) -> Drawn:
    """The response of a camera: dark parts are told more exactly than bright ones."""
    return ops.CameraResponse((size, size), float(rng.uniform(1.6, 2.6)), toe=0.01), _log_uniform(rng, 0.003, 0.05)


def transmission(rng: np.random.Generator, size: int) -> tuple[Any, None]:
    """Photons that are left behind an object, counted."""
    depth = float(rng.uniform(1, 4)) * ops.Identity((size, size))
    return ops.Transmission(depth, counts=_log_uniform(rng, 30, 3000)), None


def denoising(rng: np.random.Generator, size: int) -> Drawn:
    """Nothing but noise."""
    return ops.Identity((size, size)), _log_uniform(rng, 0.005, 0.1)


def mixing(rng: np.random.Generator, size: int) -> Drawn:
    """Narrow bands seen through fewer or as many wide ones, which overlap."""
    bands = int(rng.integers(3, 6))
    centres, width = np.linspace(0, bands - 1, int(rng.integers(2, bands + 1))), rng.uniform(0.6, 1.5)
    response = np.exp(-((np.arange(bands) - centres[:, None]) ** 2) / (2 * width**2))
    response *= rng.uniform(0.5, 1.0, (len(centres), 1)) / response.sum(1, keepdims=True)
    return ops.SpectralMixing(response, (size, size)), _log_uniform(rng, 0.003, 0.03)


def phases(rng: np.random.Generator, size: int) -> Drawn:
    """Intensities of the diffraction patterns of a real image behind random masks."""
    patterns = int(rng.integers(3, 7))
    return ops.CodedDiffraction(patterns, (size, size), image="real", rng=_seed(rng)), _log_uniform(rng, 0.003, 0.05)


Family = Callable[[np.random.Generator, int], tuple[Any, float | None]]
"""``(rng, size) -> (operator, noise level)`` for square images of about that size; no level where photons count."""

FAMILIES: dict[str, Family] = {
    "blur": blur,
    "inpainting": inpainting,
    "superresolution": superresolution,
    "mri": mri,
    "shading": shading,
    "patterns": patterns,
    "saturation": saturation,
    "gamma": gamma,
    "transmission": transmission,
}
"""Those that are left out in turn."""

ALL = FAMILIES | {"denoising": denoising}
"""Those that teach: noise alone is what is left of the others where nearly all is measured."""


def noise_model(sigma: float | None) -> Gaussian | Poisson:
    """The noise of a problem."""
    return Poisson() if sigma is None else Gaussian(sigma)
