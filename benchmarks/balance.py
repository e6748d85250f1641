"""What it gains to choose both weights of total generalised variation: ``python -m benchmarks.balance``.

For each problem the PSNR with the usual ratio of the weights and a chosen strength, with both chosen by the predicted
risk (``strength="joint"``), and the best over a grid of ratios with the strength chosen, by the truth; and how many
times as long the joint search takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.problems import Problem, measure, photograph, psnr
from priors import TGV
from recon import operators as ops
from recon import psf, reconstruct

SIZE = 96
RATIOS = [2.0 * 3.0**k for k in range(-3, 4)]
COLUMNS = ("usual", "joint", "gain", "ratio", "best", "ratio", "time")
LOSS = 0.1  # dB on the mean, of the joint choice against the best ratio


def ramps() -> np.ndarray:
    """Two planes that meet in a ridge."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    return np.maximum(0.1 + 0.8 * columns, 0.9 - 0.9 * rows).astype(np.float32)


def shaded() -> np.ndarray:
    """Discs and a bar with edges, each shaded its own way."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    image = 0.2 + 0.4 * columns
    image = np.where(np.hypot(rows - 0.35, columns - 0.35) < 0.22, 0.9 - 0.8 * rows, image)
    image = np.where(np.hypot(rows - 0.65, columns - 0.7) < 0.18, 0.1 + 0.6 * rows, image)
    return np.where(abs(rows - 0.9) < 0.04, 0.8, image).astype(np.float32)


def problems() -> Iterator[Problem]:
    images = {"ramps": ramps(), "shaded": shaded(), "camera": photograph("camera", SIZE)}
    for name, truth in images.items():
        blur = ops.Blur(psf.gaussian(1.5), truth.shape)
        views = ops.ParallelBeam(truth.shape, np.linspace(0, np.pi, 40, endpoint=False), spacing=1 / SIZE)
        yield measure(f"denoise {name}", truth, ops.Identity(truth.shape), 0.05)
        yield measure(f"blur {name}", truth, blur, 0.01)
        yield measure(f"CT {name}", truth, views, 0.01)


def best_ratio(problem: Problem) -> tuple[float, float]:
    """Largest PSNR over the grid of ratios, and the ratio."""
    reached = [psnr(problem.truth, reconstruct(problem.y, problem.operator, prior=TGV(ratio))) for ratio in RATIOS]
    best = int(np.argmax(reached))
    return reached[best], RATIOS[best]


def timed(problem: Problem, **options: Any) -> tuple[Any, Any, float]:
    start = time.process_time()
    image, info = reconstruct(problem.y, problem.operator, prior="tgv", return_info=True, **options)
    return image, info, time.process_time() - start


def main() -> None:
    gains, losses = [], []
    print(f"{'problem':18s}" + "".join(f"{name:>8s}" for name in COLUMNS))
    for problem in problems():
        usual, _, single = timed(problem)
        image, info, spent = timed(problem, strength="joint")
        before, reached = psnr(problem.truth, usual), psnr(problem.truth, image)
        limit, ratio = best_ratio(problem)
        gains.append(reached - before)
        losses.append(limit - reached)
        figures = (before, reached, gains[-1], info.plan.prior.ratio, limit, ratio, spent / single)
        print(f"{problem.name:18s}" + "".join(f"{figure:8.2f}" for figure in figures), flush=True)
    print(
        f"gain of both weights over the strength alone: mean {np.mean(gains):.2f} dB, {min(gains):.2f} to "
        f"{max(gains):.2f}; loss against the best ratio: mean {np.mean(losses):.2f} dB, worst {max(losses):.2f} "
        f"(limit: mean {LOSS})"
    )


if __name__ == "__main__":
    main()
