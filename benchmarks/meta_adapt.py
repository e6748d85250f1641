"""Adaptation to a few images, and calibration: ``python -m benchmarks.meta denoiser`` and ``... instruments``."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import folder, images
from benchmarks.denoise import mean_psnr, verdict
from benchmarks.problems import measure, psnr
from priors import Denoiser
from recon import Calibration, calibrate, reconstruct
from recon import operators as ops
from recon.learn import adapt_denoiser
from recon.sampling import variable_density_lines

HELD_OUT = Path(__file__).parent / "held_out"
PHOTOGRAPHS = HELD_OUT / "fast-grey-photographs.safetensors"
SLICES = 8
WHITE = 2400.0
"""Value of the 16-bit slices, Hounsfield units + 1024, that is white in the 8-bit ones: water is 0.43 in both."""
LEVEL = 25
GAIN_LIMIT = 0.5
SIZE = 128


def slices(name: str, count: int) -> list[np.ndarray]:
    """Evenly spaced training slices, float32."""
    from skimage.io import imread

    paths = sorted(folder("train", name).rglob("*.png"))
    chosen = np.linspace(0, len(paths) - 1, count).round().astype(int)
    return [np.asarray(imread(paths[i])).astype(np.float32) for i in chosen]


def denoiser(minutes: float = 1.0) -> None:
    """From photographs to CT by eight slices: test slices, on which nothing was trained.

    The shipped denoiser has seen CT already. What a modality that is new to a network gains is shown by one of the same
    form and training that saw photographs alone, as schedules are shown on families of operators they did not see.
    """
    for name, start in (("shipped", "fast-grey"), ("of photographs", PHOTOGRAPHS)):
        with tempfile.TemporaryDirectory() as place:
            begin = time.perf_counter()
            adapted = adapt_denoiser(
                [x / WHITE for x in slices("ct", SLICES)], Path(place) / "ct.safetensors", denoiser=start,
                minutes=minutes, sigma=LEVEL / 255, progress=print,
            )  # fmt: skip
            spent = time.perf_counter() - begin
            for level in (15, LEVEL, 50):
                before, after = (mean_psnr(d, "ct", level) for d in (Denoiser(start), adapted))
                limit = f" (limit {GAIN_LIMIT}: {verdict(after - before >= GAIN_LIMIT)})" if level == LEVEL else ""
                print(f"test/ct at {level}: {name} {before:.2f} dB, adapted to {SLICES} slices at {LEVEL} "
                      f"{after:.2f} dB, gain {after - before:+.2f}{limit}", flush=True)  # fmt: skip
            print(f"adaptation took {spent:.0f} s (limit {60 * minutes:.0f}: {verdict(spent <= 60 * minutes)})")


def reduced(image: np.ndarray) -> np.ndarray:
    """To 128 x 128, the largest value 1."""
    from skimage.transform import resize

    small = resize(image, (SIZE, SIZE), anti_aliasing=True).astype(np.float32)
    return small / small.max()


def scanners() -> Iterator[tuple[str, Any, float, str]]:
    """Instruments: name, operator, noise over the measurement, images."""
    mask = np.broadcast_to(variable_density_lines(SIZE, 4, rng=0), (SIZE, SIZE)).copy()
    yield "CT, 30 views", ops.ParallelBeam((SIZE, SIZE), angles=30, spacing=1 / SIZE), 0.01, "ct"
    yield "MRI, a quarter of the lines", ops.CartesianMRI(mask), 0.03, "mri"


def quality(operator: Any, name: str, noise: float, calibration: Calibration | None) -> float:
    """Mean PSNR over the test images."""
    given = {"prior": "learned"} if calibration is None else {"calibration": calibration}
    found = []
    for image in images(name):
        truth = reduced(image)
        clean = operator(truth)
        problem = measure(name, truth, operator, noise * float(np.linalg.norm(clean)) / clean.size**0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = reconstruct(problem.y, operator, **given)
        found.append(psnr(truth, np.abs(x).astype(np.float32)))
    return float(np.mean(found))


def instruments(minutes: float = 1.0) -> None:
    """A CT scanner and an MRI mask, calibrated on made images and on slices of other people."""
    for name, operator, noise, kind in scanners():
        plain = quality(operator, kind, noise, None)
        for source, given in (("made images", None), ("training slices", [reduced(x) for x in slices(kind, 9)])):
            calibration = calibrate(operator, given, minutes=minutes, noise=noise)
            own = quality(operator, kind, noise, calibration)
            print(f"{name}, calibrated on {source}: {calibration}; test images {plain:.2f} -> {own:.2f} dB, "
                  f"{own - plain:+.2f} (limit 0: {verdict(own >= plain)})", flush=True)  # fmt: skip
