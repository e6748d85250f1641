"""Blur by an unknown kernel: ``python -m benchmarks.blind``.

Eight kernels of camera shake, two photographs, noise of 1 %, the frame of the measurement inside a larger scene. Error
ratio of Levin et al. 2009: squared error of the blind answer, after the best shift and without a border, over that of
the answer with the kernel known. Both are ``reconstruct(y, Blur(...))`` and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from skimage import data, transform

from benchmarks.data import levin_kernels
from recon import operators as ops
from recon import reconstruct

PHOTOGRAPHS = ("camera", "astronaut")
SIDE = 288  # pixels of the scene
NOISE = 0.01
FRAME = (25, 25)  # what is assumed of the kernel
BORDER = 15
FARTHEST = 12.0  # shift in pixels
LIMIT = 3.0
ENOUGH = 12


def scene(name: str) -> np.ndarray:
    """A grey photograph of :mod:`skimage.data`."""
    image = getattr(data, name)() / 255
    grey = image if image.ndim == 2 else image @ (0.299, 0.587, 0.114)
    return transform.resize(grey, (SIDE, SIDE), anti_aliasing=True)


def blurred(image: np.ndarray, kernel: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy measurement whose surroundings are not seen, and the truth in its frame."""
    from scipy.signal import fftconvolve

    y = fftconvolve(image, kernel, "valid")
    truth = image[tuple(slice(k // 2, k // 2 + n) for k, n in zip(kernel.shape, y.shape, strict=True))]
    noise = NOISE * np.random.default_rng(seed).standard_normal(y.shape)
    return (y + noise).astype(np.float32), truth


def answer(y: np.ndarray, kernel: object) -> np.ndarray:
    """What ``reconstruct`` makes of the part in the frame."""
    x, info = reconstruct(y, ops.Blur(kernel, y.shape, boundary="unknown"), return_info=True)
    return x[ops.Blur(info.unknowns.get("psf", kernel), y.shape, boundary="unknown").interior]


def shifted_error(x: np.ndarray, truth: np.ndarray) -> float:
    """Sum of squared differences inside the border after the best shift, a fraction of a pixel included."""
    from scipy.ndimage import shift
    from skimage.registration import phase_cross_correlation

    found, *_ = phase_cross_correlation(truth, x, upsample_factor=20, normalization=None)
    inside = (slice(BORDER, -BORDER),) * 2
    errors = [
        float(((shift(x, away, order=3, mode="nearest") - truth)[inside] ** 2).sum())
        for away in (found, np.zeros(2))
        if abs(away).max() <= FARTHEST
    ]
    return min(errors)


def main(arguments: Sequence[str] = ()) -> None:
    ratios, begin = [], time.perf_counter()
    for name in PHOTOGRAPHS:
        image = scene(name)
        print(f"{name:10s} error ratios", end="", flush=True)
        for seed, kernel in enumerate(levin_kernels()):
            y, truth = blurred(image, kernel, seed)
            blind, known = (shifted_error(answer(y, k), truth) for k in (ops.Unknown(shape=FRAME), kernel))
            ratios.append(blind / known)
            print(f" {ratios[-1]:5.2f}", end="", flush=True)
        print()
    good = int(np.sum(np.array(ratios) <= LIMIT))
    print(
        f"error ratio at most {LIMIT:g}: {good} of {len(ratios)} (limit: at least {ENOUGH}); "
        f"mean {np.mean(ratios):.2f} (limit {LIMIT:g}); {time.perf_counter() - begin:.0f} s"
    )


if __name__ == "__main__":
    main()
