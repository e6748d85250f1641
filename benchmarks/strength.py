"""How much is lost by letting the strength be chosen: ``python -m benchmarks.strength [all]``.

For each problem, the best PSNR over a fine grid of strengths (chosen with the truth) beside the PSNR that
``reconstruct(y, operator)`` reaches knowing nothing; and its time over that of a single solve at the oracle strength.
Twelve problems, or with ``all`` the twenty-four of eight operators.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.problems import Problem, psnr, selection_problems, tuning_problems
from recon import reconstruct

GRID = 1.2  # ratio of neighbouring strengths of the oracle


def oracle(problem: Problem, near: float) -> tuple[float, float]:
    """Best strength and its PSNR: climb the grid from ``near`` until both neighbours are worse."""
    found: dict[int, float] = {}

    def at(i: int) -> float:
        if i not in found:
            found[i] = psnr(problem.truth, solve(problem, strength=near * GRID**i, max_iter=2000, tol=3e-4))
        return found[i]

    i = 0
    while not (at(i) >= at(i - 1) and at(i) >= at(i + 1)):
        i += 1 if at(i + 1) > at(i - 1) else -1
    return near * GRID**i, at(i)


def solve(problem: Problem, **options: Any) -> Any:
    """The reconstruction, told nothing but the kind of noise."""
    return reconstruct(problem.y, problem.operator, prior=problem.prior, noise=problem.noise, **options)


def interleaved(*calls: Callable[[], object], repeats: int = 9) -> list[float]:
    """Least processor seconds of each of several calls, made in turns: others may slow some, never quicken."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, spent in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            spent.append(time.process_time() - start)
    return [min(spent) for spent in times]


def main(arguments: Sequence[str] = ()) -> None:
    losses, ratios = [], []
    print(
        f"{'problem':30s} {'criterion':18s} {'strength':>9s} {'oracle':>9s} "
        f"{'PSNR':>6s} {'best':>6s} {'loss':>6s} {'s':>6s} {'single':>6s} {'ratio':>6s}"
    )
    for problem in tuning_problems() if "all" in arguments else selection_problems():
        image, info = solve(problem, return_info=True)
        reached = psnr(problem.truth, image)
        best, limit = oracle(problem, info.plan.strength)
        spent, single = interleaved(lambda: solve(problem), lambda: solve(problem, strength=best))  # noqa: B023
        losses.append(limit - reached)
        ratios.append(spent / single)
        print(
            f"{problem.name:30s} {info.plan.criterion:18s} {info.plan.strength:9.3g} {best:9.3g} {reached:6.2f} "
            f"{limit:6.2f} {losses[-1]:6.3f} {spent:6.3f} {single:6.3f} {ratios[-1]:6.2f}",
            flush=True,
        )
    print(
        f"loss against the oracle weight over {len(losses)} problems: "
        f"mean {np.mean(losses):.3f} dB, worst {max(losses):.3f} dB; "
        f"time over a single solve: median {np.median(ratios):.1f}, most {max(ratios):.1f} "
        "(limits: mean 0.1 dB, worst 0.4 dB, 4 times)"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
