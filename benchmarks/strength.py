"""How much is lost by letting the strength be chosen: ``python -m benchmarks.strength``.

For each problem, the best PSNR over a fine grid of strengths (chosen with the truth) beside the PSNR that
``reconstruct(y, operator)`` reaches knowing nothing.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.problems import Problem, psnr, selection_problems
from recon import reconstruct

GRID = 1.2  # ratio of neighbouring strengths of the oracle


def oracle(problem: Problem, near: float) -> tuple[float, float]:
    """Best strength and its PSNR: climb the grid from ``near`` until both neighbours are worse."""
    found: dict[int, float] = {}

    def at(i: int) -> float:
        if i not in found:
            image = reconstruct(
                problem.y, problem.operator, prior="tv", strength=near * GRID**i, max_iter=2000, tol=3e-4
            )
            found[i] = psnr(problem.truth, image)
        return found[i]

    i = 0
    while not (at(i) >= at(i - 1) and at(i) >= at(i + 1)):
        i += 1 if at(i + 1) > at(i - 1) else -1
    return near * GRID**i, at(i)


def main() -> None:
    losses = []
    print(
        f"{'problem':26s} {'criterion':18s} {'strength':>9s} {'oracle':>9s} "
        f"{'PSNR':>6s} {'best':>6s} {'loss':>6s} {'s':>6s}"
    )
    for problem in selection_problems():
        start = time.perf_counter()
        image, info = reconstruct(problem.y, problem.operator, prior="tv", return_info=True)
        seconds = time.perf_counter() - start
        reached = psnr(problem.truth, image)
        best, limit = oracle(problem, info.plan.strength)
        losses.append(limit - reached)
        print(
            f"{problem.name:26s} {info.plan.criterion:18s} {info.plan.strength:9.3g} {best:9.3g} {reached:6.2f} "
            f"{limit:6.2f} {losses[-1]:6.3f} {seconds:6.2f}",
            flush=True,
        )
    print(
        f"loss against the oracle weight over {len(losses)} problems: "
        f"mean {np.mean(losses):.3f} dB, worst {max(losses):.3f} dB"
    )


if __name__ == "__main__":
    main()
