"""Where ``reconstruct`` takes learned steps: ``python -m benchmarks.schedules_default [family ...]``.

Problems of ``recon.learn.problems`` on test images (``benchmarks.data``), restored by the learned steps and by the
classical ones as ``reconstruct`` sets both up: by name, or by itself where a star marks that it takes learned ones.
The schedule is that of the library, which has seen the family on other images. With the noise level known, and with one
that is estimated.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence

import numpy as np

from benchmarks.schedules import PRIOR, Problem, problems
from recon import plan, reconstruct
from recon._nonlinear import is_nonlinear
from recon.bench.problems import psnr
from recon.learn.problems import FAMILIES

NAMES = {False: ("learned-dpir", "dpir"), True: ("learned-nonlinear-dpir", "nonlinear-dpir")}
"""Learned and classical steps, of linear and nonlinear operators."""


def restored(problem: Problem, noise: object, solver: str) -> tuple[float, float]:
    """PSNR and seconds."""
    begin = time.perf_counter()
    x = reconstruct(problem.y, problem.operator, prior=PRIOR, noise=noise, solver=solver)
    return psnr(problem.truth, x), time.perf_counter() - begin


def compare(family: str, count: int, known: bool) -> None:
    """Print what a family gains by learned steps."""
    found, taken = [], False
    for problem in problems(family, count):
        noise = problem.noise if known else "auto"
        learned, classical = NAMES[is_nonlinear(problem.operator)]
        chosen = plan(problem.y, problem.operator, prior=PRIOR, noise=noise).decisions["solver"].choice
        taken = chosen == learned
        found.append([restored(problem, noise, name) for name in ("auto" if taken else learned, classical)])
    decibels, seconds = np.moveaxis(np.array(found), 2, 0)
    gain, spent = decibels[:, 0] - decibels[:, 1], np.median(seconds[:, 1] / seconds[:, 0])
    print(
        f"{family:>15}{'*' if taken else ' '} noise {'known    ' if known else 'estimated'} "
        f"classical {decibels[:, 1].mean():.2f}, learned {decibels[:, 0].mean():.2f} dB: {gain.mean():+.2f} on the "
        f"mean, {gain.min():+.2f} to {gain.max():+.2f}, better on {(gain > 0).sum()} of {count}; "
        f"{spent:.1f} times as fast",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The families given, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=[], help=f"some of {', '.join(FAMILIES)}; all by default")
    parser.add_argument("--count", type=int, default=16, help="problems of a family")
    given = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for family in given.families or FAMILIES:
            for known in (True, False):
                if known or family != "transmission":  # counts have no level to be estimated
                    compare(family, given.count, known)


if __name__ == "__main__":
    main()
