"""Reconstruction problems that the benchmarks share: a truth, an operator and a seeded measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import operators as ops
from recon import psf
from recon.bench.problems import noisy, photograph
from recon.bench.problems import psnr as psnr


@dataclass(frozen=True)
class Problem:
    """One simulated measurement."""

    name: str
    truth: np.ndarray
    operator: Any
    y: np.ndarray
    sigma: float


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Least time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(name: str, truth: np.ndarray, operator: Any, sigma: float, seed: int = 0) -> Problem:
    """Simulate a noisy measurement; ``sigma`` is absolute."""
    return Problem(name, truth, operator, noisy(operator(truth), operator, sigma, seed), sigma)


def selection_problems() -> Iterator[Problem]:
    """Blur, CT and mask, of two photographs, at two noise levels each: twelve problems."""
    for image in ("camera", "astronaut"):
        truth, small = photograph(image), photograph(image, 256)
        blur = ops.Blur(psf.motion(21, 30), shape=truth.shape)
        mask = ops.Mask(np.random.default_rng(1).random(truth.shape) < 0.5)
        views = ops.ParallelBeam(small.shape, np.linspace(0, np.pi, 60, endpoint=False), spacing=1 / 256)
        for level in (0.01, 0.03):
            yield measure(f"blur {image} {level}", truth, blur, level)
            # A ray through the picture sums to about a half: the same level, relative to the sinogram.
            yield measure(f"CT {image} {level}", small, views, 0.5 * level)
            yield measure(f"mask {image} {level}", truth, mask, level)
