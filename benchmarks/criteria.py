"""What each criterion for the strength loses against the oracle weight: ``python -m benchmarks.criteria``."""

from __future__ import annotations

import numpy as np

from benchmarks.problems import psnr, selection_problems
from benchmarks.strength import oracle, solve
from recon._decide import STRENGTHS

NAMES = tuple(name for name in STRENGTHS if name != "joint")  # which takes a prior with several weights


def main() -> None:
    losses: dict[str, list[float]] = {name: [] for name in NAMES}
    print(f"{'loss in dB':26s}" + "".join(f"{name:>13s}" for name in NAMES))
    for problem in selection_problems():
        near = None
        for name in NAMES:
            image, info = solve(problem, strength=name, return_info=True)
            if near is None:
                near, limit = oracle(problem, info.plan.strength)
            losses[name].append(limit - psnr(problem.truth, image))
        print(f"{problem.name:26s}" + "".join(f"{losses[name][-1]:13.3f}" for name in NAMES), flush=True)
    for label, figure in (("mean", np.mean), ("worst", np.max)):
        print(f"{label:26s}" + "".join(f"{figure(losses[name]):13.3f}" for name in NAMES))


if __name__ == "__main__":
    main()
