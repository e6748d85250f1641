"""The fast Walsh-Hadamard transform beside other ways: ``python -m benchmarks.hadamard``.

Images of n x n pixels, float32, on the CPU. ``scipy.linalg.hadamard(n * n)`` would hold n^4 entries, so the matrix
enters as ``H X H``, along rows and along columns. Calls take turns and the shortest of several counts; compare ratios.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import hadamard as hadamard_matrix

from benchmarks.projector import shortest
from recon.operators._walsh import hadamard
from solvers.arrays import threads

ROUNDS = 30


def butterflies(x: np.ndarray) -> np.ndarray:
    """The transform in numpy, a pass over the image for each of its stages."""
    shape, h = x.shape, 1
    while h < x.size:
        x = x.reshape(-1, 2, h)
        x = np.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], axis=1)
        h *= 2
    return x.reshape(shape)


def contenders(x: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Every way to transform one image."""
    matrix = (hadamard_matrix(len(x)) / np.sqrt(len(x))).astype(x.dtype)
    calls: dict[str, Callable[[], Any]] = {
        "recon": lambda: hadamard(x.reshape(-1)),
        "H X H": lambda: matrix @ x @ matrix,
        "numpy": lambda: butterflies(x),
    }
    if importlib.util.find_spec("deepinv") is not None:
        import torch
        from deepinv.physics.singlepixel import hadamard_2d

        image = torch.from_numpy(x)[None, None]
        calls["deepinv"] = lambda: hadamard_2d(image)
    return calls


def main() -> None:
    """Print the table."""
    print(f"float32, {threads()} threads; microseconds, and how many times recon takes")
    for n in (64, 256, 1024):
        calls = contenders(np.random.default_rng(0).standard_normal((n, n)).astype(np.float32))
        times = [1e6 * s for s in shortest([(call, ROUNDS) for call in calls.values()])]
        cells = [f"{name} {t:.0f} ({t / times[0]:.1f})" for name, t in zip(calls, times, strict=True)]
        print(f"{n:5d} x {n:<5d}", "   ".join(cells))


if __name__ == "__main__":
    main()
