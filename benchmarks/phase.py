"""Phase retrieval from four coded diffraction patterns: ``python -m benchmarks.phase``.

A complex image of 128 x 128 (two photographs, one its amplitude and one its phase), other random patterns for each
seed. Without noise: the relative error, up to the global phase that cannot be seen. With white noise of 20 dB on the
intensities: the error beside that of the same call started from the truth. ``reconstruct(y, F, prior="none")`` each
time, so that nothing but the data speaks; and some with the prior that it takes when not told.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from skimage import data, transform

from recon import operators as ops
from recon import reconstruct

SIDE, PATTERNS = 128, 4
SEEDS, NOISY_SEEDS, PRIOR_SEEDS = 100, 8, 2
NOISE_DB = 20.0
EXACT, ENOUGH, LOSS = 1e-5, 95, 1.0


def scene(side: int) -> np.ndarray:
    """A complex image, complex64."""
    amplitude, phase = (
        transform.resize(picture() / 255, (side, side), anti_aliasing=True) for picture in (data.camera, data.moon)
    )
    return (amplitude * np.exp(2j * phase)).astype(np.complex64)


def distance(x: np.ndarray, truth: np.ndarray) -> float:
    """Relative error after the best global phase."""
    turn = np.vdot(x, truth)
    return float(np.linalg.norm(x * turn / abs(turn) - truth) / np.linalg.norm(truth))


def noisy(y: np.ndarray, seed: int) -> np.ndarray:
    sigma = 10 ** (-NOISE_DB / 20) * float(np.sqrt((y**2).mean()))
    return y + sigma * np.random.default_rng(seed).standard_normal(y.shape).astype(np.float32)


def without_noise(truth: np.ndarray) -> None:
    begin, errors = time.perf_counter(), []
    for seed in range(SEEDS):
        F = ops.CodedDiffraction(PATTERNS, truth.shape, rng=seed)
        errors.append(distance(reconstruct(F(truth), F, prior="none"), truth))
    exact = int(np.sum(np.array(errors) <= EXACT))
    print(
        f"without noise: error at most {EXACT:g} for {exact} of {SEEDS} seeds (limit: at least {ENOUGH}); "
        f"median {np.median(errors):.1e}, largest {max(errors):.1e}; {time.perf_counter() - begin:.0f} s",
        flush=True,
    )


def with_noise(truth: np.ndarray, seeds: int, prior: str) -> None:
    begin, losses, errors = time.perf_counter(), [], []
    for seed in range(seeds):
        F = ops.CodedDiffraction(PATTERNS, truth.shape, rng=seed)
        y = noisy(F(truth), seed)
        own, oracle = (distance(reconstruct(y, F, prior=prior, x0=x0), truth) for x0 in (None, truth))
        losses.append(20 * np.log10(own / oracle))
        errors.append(own)
    print(
        f"{NOISE_DB:g} dB noise, prior {prior}: error {np.mean(errors):.4f}; over that started from the truth mean "
        f"{np.mean(losses):+.3f} dB, worst of {seeds} seeds {max(losses):+.3f} dB (limit {LOSS:g}); "
        f"{time.perf_counter() - begin:.0f} s",
        flush=True,
    )


def main(arguments: Sequence[str] = ()) -> None:
    truth = scene(SIDE)
    without_noise(truth)
    with_noise(truth, NOISY_SEEDS, "none")
    with_noise(truth, PRIOR_SEEDS, "auto")


if __name__ == "__main__":
    main()
