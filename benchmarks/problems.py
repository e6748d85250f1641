"""Reconstruction problems that the benchmarks share: a truth, an operator and a seeded measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import operators as ops


@dataclass(frozen=True)
class Problem:
    """One simulated measurement."""

    name: str
    truth: np.ndarray
    operator: Any
    y: np.ndarray
    sigma: float


def psnr(truth: np.ndarray, image: np.ndarray, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB."""
    from skimage.metrics import peak_signal_noise_ratio

    return float(peak_signal_noise_ratio(np.asarray(truth), np.asarray(image), data_range=data_range))


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Least time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def gaussian_psf(sigma: float, radius: int | None = None) -> np.ndarray:
    """Normalised Gaussian point spread function."""
    radius = radius if radius is not None else int(np.ceil(4 * sigma))
    t = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    psf = np.outer(t, t)
    return psf / psf.sum()


def motion_psf(length: int = 21, degrees: float = 30.0) -> np.ndarray:
    """Motion blur along a straight line."""
    n = length | 1
    psf = np.zeros((n, n))
    t = np.linspace(-length / 2, length / 2, 40 * length)
    rows = np.rint(n // 2 - t * np.sin(np.deg2rad(degrees))).astype(int).clip(0, n - 1)
    columns = np.rint(n // 2 + t * np.cos(np.deg2rad(degrees))).astype(int).clip(0, n - 1)
    np.add.at(psf, (rows, columns), 1.0)
    return psf / psf.sum()


def photograph(name: str, size: int = 512) -> np.ndarray:
    """A grey photograph of scikit-image in [0, 1], float32, reduced to ``size`` x ``size``."""
    from skimage import color, data, transform, util

    image = util.img_as_float32(getattr(data, name)())
    image = color.rgb2gray(image) if image.ndim == 3 else image
    side = min(image.shape)
    image = image[:side, :side]
    if side != size:
        image = transform.resize(image, (size, size), anti_aliasing=True)
    return image.astype(np.float32)


def measure(name: str, truth: np.ndarray, operator: Any, sigma: float, seed: int = 0) -> Problem:
    """Simulate a noisy measurement; ``sigma`` is absolute."""
    clean = operator(truth)
    noise = np.random.default_rng(seed).standard_normal(clean.shape).astype(clean.dtype)
    if operator.sampling is not None:
        noise = noise * operator.sampling
    return Problem(name, truth, operator, clean + np.float32(sigma) * noise, sigma)


def selection_problems() -> Iterator[Problem]:
    """Blur, CT and mask, of two photographs, at two noise levels each: twelve problems."""
    for image in ("camera", "astronaut"):
        truth, small = photograph(image), photograph(image, 256)
        blur = ops.Blur(motion_psf(), shape=truth.shape)
        mask = ops.Mask(np.random.default_rng(1).random(truth.shape) < 0.5)
        views = ops.ParallelBeam(small.shape, np.linspace(0, np.pi, 60, endpoint=False), spacing=1 / 256)
        for level in (0.01, 0.03):
            yield measure(f"blur {image} {level}", truth, blur, level)
            # A ray through the picture sums to about a half: the same level, relative to the sinogram.
            yield measure(f"CT {image} {level}", small, views, 0.5 * level)
            yield measure(f"mask {image} {level}", truth, mask, level)
