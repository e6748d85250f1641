"""Coil sensitivities found with the image: ``python -m benchmarks.joint_coils``.

A photograph in an ellipse, eight coils, noise of 1 %; fewer and fewer lines in the centre of k-space. PSNR of
``reconstruct(y, CartesianMRI(mask, coils))`` with the true sensitivities and with those of each way to find them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.problems import photograph, psnr
from recon import operators as ops
from recon import reconstruct
from recon.bench.problems import coils
from recon.coils import espirit, nlinv, sensitivities_from_center
from solvers.errors import ArgumentError

SIDE, COILS, NOISE = 128, 8, 0.01
CENTRES = ((24, 3), (16, 4), (8, 3), (6, 4))  # lines in the middle; every so many elsewhere


def scene() -> np.ndarray:
    rows, columns = np.ogrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return np.asarray(photograph("camera", SIDE) * (rows**2 + (columns / 0.85) ** 2 < 0.75), dtype=np.complex64)


def measured(truth: np.ndarray, lines: int, every: int) -> tuple[np.ndarray, np.ndarray]:
    """k-space and its mask."""
    mask = np.zeros(truth.shape, dtype=bool)
    mask[::every] = True
    mask[(SIDE - lines) // 2 : (SIDE + lines) // 2] = True
    A = ops.CartesianMRI(mask, coils(COILS, truth.shape))
    real, imaginary = np.random.default_rng(0).standard_normal((2, *A.out_shape), dtype=np.float32)
    return A(truth) + np.float32(NOISE) * mask * (real + 1j * imaginary), mask


def main(arguments: Sequence[str] = ()) -> None:
    truth = scene()
    ways = {"joint": nlinv, "ESPIRiT": espirit, "of the centre": sensitivities_from_center}
    for lines, every in CENTRES:
        y, mask = measured(truth, lines, every)

        def reached(sensitivities: np.ndarray) -> float:
            return psnr(abs(truth), abs(reconstruct(y, ops.CartesianMRI(mask, sensitivities))))  # noqa: B023

        known = reached(coils(COILS, truth.shape))
        print(f"{lines:2d} lines in the centre, {1 / mask.mean():.1f} times faster: known {known:.2f} dB", end="")
        for name, way in ways.items():
            try:
                print(f", {name} {reached(way(y)):.2f}", end="", flush=True)
            except ArgumentError:
                print(f", {name}: centre too small", end="", flush=True)
        print()


if __name__ == "__main__":
    main()
