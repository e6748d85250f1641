"""Memory of total variation on a volume: ``python -m benchmarks.memory_volume [--settled] [side ...]``, 256 by default.

Denoising, deblurring and inpainting in single precision, with the choice of the strength and at a given one. Each runs
in a process of its own: ``numpy`` is the peak of the arrays that the call allocates (tracemalloc), ``process`` the
growth of the resident memory at its peak, both over the size of the volume; the image returned is included, the
measurement and the operator, which the caller holds, are not. ``estimate`` is what the plan says before. All that a
solve allocates is there after its first steps, so every solve, those of the search included, ends after ``STEPS``; with
``--settled`` they go on, and seconds, strength and PSNR are those of ``reconstruct``. Exits with 1 where the arrays
take more than the limit. Sides below 162 are solved as usual, not in place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.memory import _process_peak

LIMIT = 8.0
SIGMA = 0.05
STEPS = 4
OPERATORS = ("denoise", "deblur", "inpaint")
STRENGTHS = ("auto", "0.02")


def volume(side: int) -> np.ndarray:
    """A ball, a box in it, and waves, in [0, 1]."""
    axes = np.meshgrid(*[np.linspace(-1, 1, side, dtype=np.float32)] * 3, indexing="ij", sparse=True)
    ball = sum(axis**2 for axis in axes) < 0.6
    box = np.maximum(np.maximum(abs(axes[0] - 0.2), abs(axes[1] - 0.2)), abs(axes[2] - 0.2)) < 0.3
    waves = np.float32(0.1) * np.sin(20 * axes[0]) * np.cos(15 * axes[1])
    return (np.float32(0.5) * ball + np.float32(0.3) * box + waves * ball).astype(np.float32)


def problem(name: str, side: int) -> tuple[np.ndarray, Any, np.ndarray]:
    """Truth, operator and measurement."""
    from recon import operators as ops

    truth, rng = volume(side), np.random.default_rng(0)
    profile = np.exp(-0.5 * np.arange(-3, 4) ** 2)
    psf = np.einsum("i,j,k->ijk", *[profile / profile.sum()] * 3)
    operator = {
        "denoise": lambda: ops.Identity(truth.shape),
        "deblur": lambda: ops.Blur(psf, truth.shape),
        "inpaint": lambda: ops.Mask(rng.random(truth.shape, dtype=np.float32) < 0.5),
    }[name]()
    y = operator(truth)
    y += SIGMA * rng.standard_normal(truth.shape, dtype=np.float32)
    return truth, operator, operator(y) if name == "inpaint" else y


def measure(name: str, side: int, given: str, arrays: bool, settled: bool) -> dict[str, Any]:
    """One reconstruction: its peak over the volume, what the plan said, time and quality."""
    import recon._large
    from recon import plan, reconstruct

    strength: Any = given if given == "auto" else float(given)
    max_iter = None if settled else STEPS
    least, recon._large.LARGE = recon._large.LARGE, 0
    _, operator, y = problem(name, 24)
    reconstruct(y, operator, strength=strength, max_iter=20)  # compilation and imports
    recon._large.LARGE = least
    truth, operator, y = problem(name, side)
    found: dict[str, Any] = {"estimate": plan(y, operator, strength=strength).memory / truth.nbytes}
    result = []

    def run(measurement: np.ndarray) -> None:
        result[:] = reconstruct(measurement, operator, strength=strength, max_iter=max_iter, return_info=True)

    begin = time.perf_counter()
    if arrays:
        tracemalloc.start()
        run(y)
        found["peak"] = tracemalloc.get_traced_memory()[1] / truth.nbytes
    else:
        found["peak"] = _process_peak(run, y) / truth.nbytes
    found["seconds"] = time.perf_counter() - begin
    image, info = result
    found["psnr"] = -10 * float(np.log10(np.mean((image - truth) ** 2, dtype=np.float64)))
    return {**found, "steps": info.iterations, "strength": info.plan.strength}


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; returns the number of peaks beyond the limit."""
    settled = "settled" if "--settled" in arguments else "begun"
    sides = [argument for argument in arguments if argument != "--settled"]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    columns = ("numpy", "process", "estimate", "seconds", "strength", "PSNR")
    print(f"{'peak over the volume':24}", *(f"{column:>9}" for column in columns))
    beyond = 0
    for side in sides or ["256"]:
        for name in OPERATORS:
            for given in STRENGTHS:
                runs = []
                for kind in ("arrays", "process"):
                    what = ["--measure", name, side, given, kind, settled]
                    command = [sys.executable, "-m", "benchmarks.memory_volume", *what]
                    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                    runs.append(json.loads(done.stdout.splitlines()[-1]))
                traced, plain = runs
                failed = traced["peak"] > LIMIT
                beyond += failed
                print(
                    f"{name + ' ' + side + '^3, ' + given:24} {traced['peak']:9.2f} {plain['peak']:9.2f} "
                    f"{traced['estimate']:9.2f} {plain['seconds']:9.1f} {plain['strength']:9.3g} {plain['psnr']:9.2f}",
                    "BEYOND" if failed else "",
                    flush=True,
                )
    print(f"limit {LIMIT:g} for the arrays; {beyond} beyond")
    return beyond


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        name, side, given, kind, settled = sys.argv[2:]
        print(json.dumps(measure(name, int(side), given, kind == "arrays", settled == "settled")))
    else:
        sys.exit(min(main(sys.argv[1:]), 1))
