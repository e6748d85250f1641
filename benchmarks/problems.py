"""Reconstruction problems that the benchmarks share: a truth, an operator and a seeded measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from recon import operators as ops
from recon import psf
from recon.bench import problems as standard
from recon.bench.problems import Problem, photograph, simulated
from recon.bench.problems import psnr as psnr


def seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Least time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(name: str, truth: np.ndarray, operator: Any, sigma: float) -> Problem:
    """Simulate a noisy measurement, whose level nobody is told."""
    return replace(simulated(name, truth, operator, sigma), noise="auto")


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


def tuning_problems() -> Iterator[Problem]:
    """Eight operators, of two photographs or at two noise levels: twenty-four problems, Poisson noise included."""
    families: dict[Callable[..., Problem], tuple[float, float]] = {
        standard.deblur: (0.01, 0.03),
        standard.deblur_frame: (0.01, 0.03),
        standard.deblur_counts: (1000.0, 100.0),
        standard.denoise: (0.05, 0.15),
        standard.inpaint: (0.01, 0.05),
        standard.superresolve: (0.01, 0.03),
        standard.ct_sparse: (0.005, 0.015),
        standard.mri_tv: (0.01, 0.03),
    }
    for make, levels in families.items():
        for image, level in (("camera", levels[0]), ("camera", levels[1]), ("astronaut", levels[0])):
            problem = make(image, level, 256)
            told = problem.noise if isinstance(problem.noise, str) else "auto"
            yield replace(problem, name=f"{problem.name} {image} {level:g}", noise=told)
