"""Wall clock of learned steps where the data step has a closed form; a part of :mod:`benchmarks.schedules_clock`.

To within 0.1 dB of the oracle: of all numbers of steps, weights and starts that it tries with the truth, the run with
the fewest steps that gets there, beside the learned schedule in four steps, or in eight where four do not do. Both from
nothing, the answer of total variation counted where a run starts from it. Nobody has that oracle: the times of DPIR
whose weight is found by the predicted risk, and of DPIR as ``reconstruct`` sets it up, stand beside it.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.schedules import Problem, by_risk, by_rule, climbed, problems, without
from recon._first_guess import first_guess
from recon._learned_steps import classical_start
from recon.bench.problems import psnr
from recon.learn import problems as learnt
from solvers import unroll
from solvers.learned_plug_and_play import FIRST

DECIBELS = 0.1
LENGTHS = (4, 8)
REPEATS = 3


def _problem(family: str, side: int) -> Problem:
    return problems(family, 2, side, first=1)[0]


def counted(family: str, side: int) -> dict[str, Any]:
    """The shortest classical run that is good enough: power of two of its weight, steps and start; and ours."""
    given = _problem(family, side)
    tried = {(*key, tv): value for tv in (False, True) for key, value in climbed(given, tv).items()}
    best = max(tried.values())
    quickest = min((key for key in tried if tried[key] >= best - DECIBELS), key=lambda key: (key[1], key[2]))
    reached = {length: _learned(given, family, length) for length in LENGTHS}
    length = next((n for n in LENGTHS if reached[n] >= best - DECIBELS), LENGTHS[-1])
    return {"oracle": best, "tried": len(tried), "classical": quickest, "length": length, "learned": reached[length]}


def _learned(given: Problem, family: str, length: int) -> float:
    return psnr(given.truth, unroll(given.learned(without(family), length), given.start, length))


def timed(family: str, side: int, found: dict[str, Any]) -> tuple[float, float, dict[str, tuple[float, float]]]:
    """Seconds of ours and of the classical run; PSNR and seconds of those that know no truth, by name."""
    given, schedule, (power, steps, from_tv) = _problem(family, side), without(family), found["classical"]

    def ours() -> None:
        start = classical_start(given.operator, given.y, given.noise)
        unroll(given.learned(schedule, found["length"]), start, found["length"])

    def classical() -> None:
        if from_tv:
            given.__dict__["start"] = classical_start(given.operator, given.y, given.noise)
        start = given.start if from_tv else first_guess(given.operator, given.y)
        unroll(given.classical(2.0**power, steps, FIRST if from_tv else None), start, steps)

    others = {"by risk": _of(by_risk, given), "by rule": _of(by_rule, given)}
    runs = [(_seconds(ours), _seconds(classical)) for _ in range(1 + REPEATS)][1:]
    ours_took, classical_took = (min(times) for times in zip(*runs, strict=True))
    return ours_took, classical_took, others


def _of(search: Callable[[Problem], float], given: Problem) -> tuple[float, float]:
    """PSNR, found once beforehand so that all is compiled, and seconds."""
    reached = search(given)
    return reached, _seconds(lambda: search(given)) if math.isfinite(reached) else math.nan


def _seconds(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def show(families: Sequence[str], side: int, steps: dict[str, Any]) -> None:
    """Ratios of wall clock, problem by problem, and their medians."""
    ratios = []
    for family in families:
        found = steps[f"closed {side} {family}"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours, classical, others = timed(family, side, found)
        ratios.append([seconds / ours for seconds in (classical, *(took for _, took in others.values()))])
        told = "; ".join(f"{name} {reached:.2f} dB, {took:.3f} s" for name, (reached, took) in others.items())
        print(
            f"{family:>15}: oracle {found['oracle']:.2f} dB, after {found['classical'][1]} steps "
            f"{'from TV ' if found['classical'][2] else ''}{classical:.3f} s ({found['tried']} tried); {told}; "
            f"learned {found['learned']:.2f} dB, {found['length']} steps, {ours:.3f} s; "
            f"ratios {', '.join(f'{ratio:.2f}' for ratio in ratios[-1])}",
            flush=True,
        )
    oracle, risk, rule = np.nanmedian(ratios, 0)
    print(
        f"closed, median ratio of wall clock: oracle {oracle:.2f}, weight by risk {risk:.2f}, by rule {rule:.2f} "
        "(more than 1)"
    )


FAMILIES = tuple(learnt.FAMILIES)
