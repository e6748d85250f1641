"""Time that total-variation denoising takes to a given accuracy, beside scikit-image: ``python -m benchmarks.tv``.

Both minimise ``1/2 |x - v|^2 + strength * TV(x)``, isotropic, with the same differences (``weight`` of
``denoise_tv_chambolle`` is the strength). Accuracy is the objective over its minimum, less 1. Each library does the
fewest iterations that reach it; both see the same single-precision image. Compilation is not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from skimage import data
from skimage.restoration import denoise_tv_chambolle

from benchmarks.problems import seconds
from priors import TotalVariation
from solvers.arrays import threads

STRENGTH = 0.1


def noisy_image(size: int, sigma: float = 0.1) -> np.ndarray:
    """A photograph of ``size`` pixels a side, mirrored where it is too small, with noise; in [0, 1], float32."""
    photo = data.camera() / 255.0
    photo = np.pad(photo, [(0, max(0, size - n)) for n in photo.shape], mode="symmetric")[:size, :size]
    return (photo + sigma * np.random.default_rng(0).standard_normal(photo.shape)).astype(np.float32)


def objective(x: np.ndarray, v: np.ndarray, strength: float) -> float:
    """The function minimised, in double precision."""
    x = x.astype(np.float64)
    return 0.5 * float(((x - v) ** 2).sum()) + strength * TotalVariation().value(x)


def ours(v: np.ndarray, strength: float, iterations: int) -> np.ndarray:
    """Fast gradient projection from zero."""
    return TotalVariation().prox_from(v, strength, iterations=iterations)[0]


def peer(v: np.ndarray, strength: float, iterations: int) -> np.ndarray:
    """scikit-image, without its own stopping rule."""
    return denoise_tv_chambolle(v, weight=strength, eps=0, max_num_iter=iterations)


def iterations_to(method: Callable[..., np.ndarray], v: np.ndarray, strength: float, goal: float, guess: int) -> int:
    """Fewest iterations, to 5 %, after which the objective is at most ``goal``."""
    low, high = 0, guess
    while objective(method(v, strength, high), v, strength) > goal:
        low, high = high, high + max(high // 4, 4)
    low = max(low, high // 2)
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if objective(method(v, strength, middle), v, strength) <= goal else (middle, high)
    return high


def compare(
    size: int, strength: float = STRENGTH, accuracies: tuple[float, ...] = (1e-3, 1e-4), repeats: int = 5
) -> list[dict[str, float]]:
    """One row for each accuracy. Numbers of iterations are first sought on a part of the image."""
    v = noisy_image(size)
    rough = {row["accuracy"]: row for row in compare(256, strength, accuracies, 1)} if size > 256 else {}
    best = TotalVariation(tol=1e-6, iterations=5000).prox(v.astype(np.float64), strength)
    least = objective(best, v, strength)
    rows = []
    for accuracy in accuracies:
        goal = least * (1 + accuracy)
        counts = {
            m.__name__: iterations_to(m, v, strength, goal, int(rough.get(accuracy, {}).get(m.__name__, 16)))
            for m in (ours, peer)
        }
        # Interleaved, so that whatever else the machine does meets both.
        times = {"ours": np.inf, "peer": np.inf}
        for _ in range(repeats):
            for method in (ours, peer):
                name = method.__name__
                once = seconds(lambda m=method, n=counts[name]: m(v, strength, n), 1)  # type: ignore[misc]
                times[name] = min(times[name], once)
        rows.append(
            {"size": size, "accuracy": accuracy, **counts, "our ms": 1e3 * times["ours"],
             "peer ms": 1e3 * times["peer"], "ratio": times["peer"] / times["ours"]}
        )  # fmt: skip
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[512, 2048])
    parser.add_argument("--strength", type=float, default=STRENGTH)
    parser.add_argument("--accuracies", type=float, nargs="*", default=[1e-3, 1e-4])
    arguments = parser.parse_args()
    start = time.perf_counter()
    ours(noisy_image(512), STRENGTH, 1)
    print("ours, peer: iterations of this library and of scikit-image")
    print(f"{threads()} threads; first call {time.perf_counter() - start:.1f} s (compilation, or loading what it left)")
    for k, size in enumerate(arguments.sizes):
        for j, row in enumerate(compare(size, arguments.strength, tuple(arguments.accuracies))):
            if k == j == 0:
                print("  ".join(f"{name:>10}" for name in row))
            print("  ".join(f"{value:10.4g}" for value in row.values()), flush=True)


if __name__ == "__main__":
    main()
