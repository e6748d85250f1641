"""Learned priors with an objective beside total variation and plug-and-play: ``python -m benchmarks.convergent``.

Four problems on a part of an image each, nothing tuned but the weight of total variation, which is the best of a row
for the truth that is known here. Printed are PSNR, seconds of processor time, steps, and whether the objective fell all
the way.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.data import images, ten_kernels
from benchmarks.denoise import noisy
from benchmarks.problems import psnr
from priors import Denoiser, GradientStep
from recon import operators as ops
from recon import reconstruct
from recon._plug_and_play import typical_gain

WIDTH = 128
LEARNED = ("learned", "ridge", "gradient-step")
WEIGHTS = np.geomspace(0.03, 30.0, 7)
RISE = 1e-5  # of the first value, that rounding may add


@dataclass(frozen=True)
class Case:
    """A measurement whose truth is known."""

    name: str
    truth: np.ndarray
    operator: Any
    sigma: float

    @property
    def y(self) -> np.ndarray:
        clean = self.operator(self.truth)
        noise = np.random.default_rng(0).standard_normal(clean.shape)
        if np.iscomplexobj(clean):
            noise = (noise + 1j * np.random.default_rng(1).standard_normal(clean.shape)) / math.sqrt(2)
        return (clean + self.sigma * noise).astype(clean.dtype)


def cases() -> Iterator[Case]:
    """Motion blur, Gaussian blur, sparse-view tomography, undersampled MRI."""
    photo, other = (_middle(image) for image in images("set12", count=2))
    yield Case("motion blur, 1 %", photo, ops.Blur(ten_kernels()[0], shape=photo.shape), 0.01)
    yield Case("Gaussian blur, 3 %", other, ops.Blur(ten_kernels()[9], shape=other.shape), 0.03)
    slice_ = _middle(images("ct", count=1)[0])
    scan = ops.ParallelBeam(slice_.shape, angles=60, spacing=1 / WIDTH)
    yield Case("tomography, 60 views", slice_, scan, 0.01 * float(scan(slice_).max()))
    knee = _middle(images("mri", count=1)[0])
    yield _scan(knee)


def _scan(knee: np.ndarray) -> Case:
    mask = np.random.default_rng(0).random(knee.shape[1]) < 0.2
    mask[WIDTH // 2 - 6 : WIDTH // 2 + 6] = True
    sampled = np.broadcast_to(mask, knee.shape)
    return Case("MRI, 4 times fewer", knee.astype(np.complex64), ops.CartesianMRI(sampled.copy()), 0.01)


def _middle(image: np.ndarray) -> np.ndarray:
    row, column = ((n - WIDTH) // 2 for n in image.shape)
    return np.ascontiguousarray(image[row : row + WIDTH, column : column + WIDTH])


def run(case: Case, prior: Any, strength: Any = "auto") -> tuple[float, float, Any]:
    """PSNR, seconds of processor time, and how it went."""
    begin = time.process_time()
    x, info = reconstruct(case.y, case.operator, prior=prior, noise=case.sigma, strength=strength, return_info=True)
    return psnr(abs(case.truth), abs(x)), time.process_time() - begin, info


def compared(case: Case) -> None:
    """One problem, all priors."""
    _, spent, info = run(case, "tv")
    best = max(run(case, "tv", info.plan.strength * weight)[0] for weight in WEIGHTS)
    print(f"{case.name}: tv at its best weight {best:.2f} dB ({spent:.1f} s with the weight chosen)", flush=True)
    for prior in LEARNED:
        given = GradientStep(case.sigma / typical_gain(case.operator)) if prior == "gradient-step" else prior
        found, spent, info = run(case, given)
        values = np.array(info.history["objective"])
        falls = "no objective" if np.isnan(values).any() else _verdict(values)
        steps = f"{info.iterations} steps, {info.status.name.lower()}"
        print(f"  {prior:14s} {found:.2f} dB ({found - best:+.2f}), {spent:.1f} s, {steps}, {falls}", flush=True)


def network_as_step() -> None:
    """The denoiser that comes with the library beside the gradient step made of it, on parts of Set12."""
    plain = Denoiser(precision="float32")
    for level in (15, 25):
        pairs = [(clean, noisy(clean, level)) for clean in map(_middle, images("set12"))]
        for name, denoiser in (("denoiser", plain), ("its gradient step", GradientStep(level / 255, plain))):
            found = np.mean([psnr(clean, denoiser(v, level / 255)) for clean, v in pairs])
            print(f"Set12, parts of {WIDTH} x {WIDTH}, at {level}: {name} {found:.2f} dB", flush=True)


def _verdict(values: np.ndarray) -> str:
    return "objective falls: " + ("ok" if np.all(np.diff(values) <= RISE * abs(values[0])) else "MISSED")


def main() -> None:
    warnings.simplefilter("ignore")
    wanted = sys.argv[1:]
    for case in cases():
        if not wanted or any(word in case.name for word in wanted):
            compared(case)
    if not wanted or "step" in wanted:
        network_as_step()


if __name__ == "__main__":
    main()
