"""Learned schedules of plug-and-play restoration: ``python -m benchmarks.schedules [part ...]``.

Problems of ``recon.learn.problems`` on test images (``benchmarks.data``), noise level known. Each family is restored
with a schedule that was trained without it (``benchmarks/held_out``), from the answer of total variation, as
``reconstruct`` does. The oracle is the best PSNR of the classical DPIR over 4 to 100 steps and a grid of its weight,
chosen with the truth, from the first guess or, with the levels that suit it, from the answer of total variation; its
denoiser sees every image upright, as published, that of learned steps and of ``rule`` sees it turned. A step is a call
of the denoiser; that answer takes none. ``tv`` and ``plug`` are problems without a closed form
(:mod:`benchmarks.schedules_calls`).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data, schedules_calls, schedules_first_order
from priors import Denoiser, PlugAndPlay
from recon import reconstruct
from recon._first_guess import first_guess
from recon._learned_steps import classical_start
from recon._nonlinear import is_nonlinear
from recon.bench.problems import noisy, psnr
from recon.learn import lessons
from recon.learn.problems import FAMILIES, noise_model
from solvers import DPIR, LearnedDPIR, LearnedNonlinearDPIR, LearnedSchedule, NonlinearDPIR, solve, unroll
from solvers.learned_plug_and_play import FIRST

HELD_OUT = Path(__file__).parent / "held_out"
SECTIONS = schedules_calls.SECTIONS | schedules_first_order.SECTIONS
SETS = ("bsd68", "set12", "ct", "mri")
SIZE = 128
SIZES = {"superresolution": 144}  # which every factor divides
LENGTHS = (8, 24, 100, 50, 16, 12, 6, 4)
FAR = 0.5
"""Decibels under the best so far, from which on no other weights are tried for a number of steps."""
PRIOR = PlugAndPlay(Denoiser())

Best = tuple[float, int, float, str]
"""PSNR of the best classical run, its steps, its factor of the weight and its start."""


@dataclass(frozen=True)
class Problem:
    """A measurement with its truth."""

    name: str
    truth: np.ndarray
    operator: Any
    noise: Any
    y: np.ndarray

    def classical(self, factor: float = 1.0, length: int = 8, first: float | None = None) -> DPIR | NonlinearDPIR:
        """The classical schedule at a multiple of its weight, its first level over the last one."""
        start = self.start if is_nonlinear(self.operator) and first is not None else None
        return lessons.classical(self.operator, self.y, self.noise, PRIOR, factor, length, first, start)

    def learned(self, schedule: Any, length: int) -> LearnedDPIR | LearnedNonlinearDPIR:
        """The schedule that a network proposes."""
        return lessons.problem(self.operator, self.y, self.noise, PRIOR, schedule, length)

    @cached_property
    def guess(self) -> np.ndarray:
        """What classical steps start from."""
        return first_guess(self.operator, self.y)

    @cached_property
    def start(self) -> np.ndarray:
        """What learned steps start from."""
        return classical_start(self.operator, self.y, self.noise)

    def psnr(self, algorithm: Any, start: np.ndarray) -> float:
        """Of the answer."""
        return psnr(self.truth, unroll(algorithm, start, algorithm.length))


def problems(family: str, count: int = 4, side: int = SIZE, first: int = 0) -> list[Problem]:
    """Seeded problems of one family, on crops of photographs and slices."""
    found, number = [], list(FAMILIES).index(family)
    size = SIZES.get(family, SIZE) * side // SIZE
    for i in range(first, count):
        rng = np.random.default_rng((7, number, i))
        name = "mri" if family == "mri" else SETS[i % len(SETS)]
        pictures = data.images(name)
        picture = pictures[(7 * number + 5 * i) % len(pictures)]
        picture = picture[::2, ::2] if name == "ct" else picture
        row, column = (int(rng.integers((n - size) // 2, (n - size) * 3 // 4 + 1)) for n in picture.shape)
        truth = np.ascontiguousarray(picture[row : row + size, column : column + size])
        found.append(measured(f"{family} {i}", truth, *FAMILIES[family](rng, size), seed=i))
    return found


def measured(name: str, truth: np.ndarray, operator: Any, sigma: float | None, seed: int) -> Problem:
    """A noisy measurement; without a level, of counts."""
    noise, clean = noise_model(sigma), operator(truth)
    y = noise.sample(clean, seed) if sigma is None else noisy(clean, operator, sigma, seed=seed)
    return Problem(name, truth, operator, noise, y)


def oracle(problem: Problem) -> Best:
    """The best run of the classical schedule."""
    best: list[Best] = []
    for from_tv in (False, True):
        found = climbed(problem, from_tv)
        power, length = max(found, key=lambda key: found[key])
        best.append((found[power, length], length, 2.0**power, "TV" if from_tv else "guess"))
    return max(best)


def climbed(problem: Problem, from_tv: bool) -> dict[tuple[int, int], float]:
    """PSNR by power of two of the weight and by steps, from one start; the weight is climbed for each number."""
    found: dict[tuple[int, int], float] = {}
    start = problem.start if from_tv else problem.guess

    def at(power: int, length: int) -> float:
        if (power, length) not in found:
            classical = problem.classical(2.0**power, length, FIRST if from_tv else None)
            found[power, length] = problem.psnr(classical, start)
        return found[power, length]

    power = 0
    for length in LENGTHS:
        if found and at(power, length) < max(found.values()) - FAR:
            continue
        while not (at(power, length) >= at(power - 1, length) and at(power, length) >= at(power + 1, length)):
            power += 1 if at(power + 1, length) > at(power - 1, length) else -1
    return found


def by_risk(problem: Problem) -> float:
    """DPIR in 8 steps, its weight chosen by the predicted risk; of nonlinear operators none is predicted."""
    if is_nonlinear(problem.operator):
        return math.nan
    image = reconstruct(
        problem.y, problem.operator, noise=problem.noise, strength="sure", prior=PRIOR,
        solver=lambda data, prior, strength: replace(problem.classical(), data=data, prior=prior, strength=strength),
    )  # fmt: skip
    return psnr(problem.truth, image)


def by_rule(problem: Problem) -> float:
    """DPIR as ``reconstruct`` sets it up."""
    solver = "nonlinear-dpir" if is_nonlinear(problem.operator) else "dpir"
    return psnr(
        problem.truth,
        reconstruct(problem.y, problem.operator, noise=problem.noise, prior=PRIOR, solver=solver),
    )


def without(family: str, folder: Path = HELD_OUT) -> LearnedSchedule:
    """The schedule that was trained without a family; that of the library where it has not seen it."""
    path = folder / f"plug-and-play-without-{family}.safetensors"
    return LearnedSchedule.load(path if path.exists() else "plug-and-play")


def seconds(problem: Problem, schedule: LearnedSchedule) -> tuple[float, float]:
    """Processor time of a learned solve of 8 steps, features counted, and of the classical one with as many."""
    both = problem.learned(to_the_end(schedule), 8), problem.classical()
    times = [[], []]  # type: tuple[list[float], ...] | list[list[float]]
    for _ in range(3):
        for algorithm, spent in zip(both, times, strict=True):
            begin = time.process_time()
            unroll(replace(algorithm), problem.start, 8)
            spent.append(time.process_time() - begin)
    return min(times[0]), min(times[1])


def to_the_end(schedule: LearnedSchedule) -> Callable[[Mapping[str, float]], dict[str, float]]:
    """The schedule that takes all steps."""
    return lambda features: {**schedule(features), "stop": 0.0}


COLUMNS = (
    "guess", "tv", "dpir-8", "risk", "rule", "const-8", "untaught", "learned-8", "learned-4", "stopped", "oracle",
)  # fmt: skip


def measure(
    problem: Problem, schedule: LearnedSchedule, constants: LearnedSchedule, best: Best
) -> tuple[list[float], int]:
    """PSNR by column, and the steps that the schedule took by itself; prints them."""
    highest, length, factor, start = best
    found = solve(problem.learned(schedule, 8), problem.start)
    row = [
        psnr(problem.truth, problem.guess),
        psnr(problem.truth, problem.start),
        problem.psnr(problem.classical(), problem.guess),
        by_risk(problem),
        by_rule(problem),
        problem.psnr(problem.learned(constants, 8), problem.start),
        problem.psnr(problem.learned(lambda features: {}, 8), problem.start),
        problem.psnr(problem.learned(to_the_end(schedule), 8), problem.start),
        problem.psnr(problem.learned(to_the_end(schedule), 4), problem.start),
        psnr(problem.truth, found.image),
        highest,
    ]
    cells = "".join(f"{value:10.2f}" for value in row)
    chosen = f"{length:3} steps, weight x {factor:g}, from {start}"
    print(f"{problem.name:18}{cells}{found.iterations:3}   {chosen}; {problem.operator!r}", flush=True)
    return row, found.iterations


def closed(families: Sequence[str] = ()) -> None:
    """Plug-and-play where the data step has a closed form: PSNR beside the oracle."""
    compare(families or list(FAMILIES), problems, oracle)


def compare(
    families: Sequence[str],
    drawn: Callable[[str], list[Problem]],
    best: Callable[[Problem], Best],
    folder: Path = HELD_OUT,
) -> None:
    """Each family restored with the schedule of a folder that was trained without it, beside the best classical run."""
    print(f"{'PSNR, dB':18}" + "".join(f"{name:>10}" for name in COLUMNS))
    constants = LearnedSchedule.load(folder / "plug-and-play-constants.safetensors")
    rows, steps, times = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for family in families:
            schedule = without(family, folder)
            found = drawn(family)
            for problem in found:
                row, taken = measure(problem, schedule, constants, best(problem))
                rows.append(row)
                steps.append(taken)
            times.append(seconds(found[0], schedule))
            print(
                f"{family + ', mean':18}" + "".join(f"{value:10.2f}" for value in np.mean(rows[-len(found) :], axis=0))
            )
    table = np.array(rows)
    eight, four, stopped = (table[:, -1] - table[:, COLUMNS.index(name)] for name in COLUMNS[7:10])
    for told, loss in (
        ("8 steps", eight),
        (f"8 steps, ended by the schedule after {np.mean(steps):.1f},", stopped),
    ):
        print(
            f"{told} under the oracle: mean {loss.mean():.2f} dB, at most 0.1; worst {loss.max():.2f}, at most 0.3; "
            f"{(loss > 0.3).sum()} of {len(loss)} beyond it"
        )
    print(f"4 steps under the oracle: mean {four.mean():.2f} dB, at most 0.3; worst {four.max():.2f}")
    lost = stopped - eight
    print(f"ended by the schedule, under all 8 steps: mean {lost.mean():.3f} dB, at most 0.05; worst {lost.max():.2f}")
    for name in ("dpir-8", "risk", "rule", "const-8", "untaught"):
        loss = table[:, -1] - table[:, COLUMNS.index(name)]
        loss = loss[np.isfinite(loss)]
        if len(loss):
            print(f"{name} under the oracle: mean {loss.mean():.2f} dB, worst {loss.max():.2f}, of {len(loss)}")
    learned, classical = np.sum(times, axis=0)
    print(f"processor time of 8 steps: learned {learned:.2f} s, classical {classical:.2f} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """The sections, families or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", help="closed, tv, plug, first-order, or families with a closed form; all by default"
    )
    parser.add_argument("--count", type=int, default=2, help="problems of a family, but for closed")
    parser.add_argument("--side", type=int, default=96, help="pixels of theirs")
    given = parser.parse_args(arguments)
    parts = given.parts or ["closed", *SECTIONS]
    for name in parts:
        if name not in ("closed", *SECTIONS, *FAMILIES):
            known = ", ".join(("closed", *SECTIONS, *FAMILIES))
            sys.exit(f"part is {name!r}; expected some of {known}. Pass one of them.")
    families = [name for name in parts if name in FAMILIES]
    if families or "closed" in parts:
        print(f"-- {closed.__doc__}", flush=True)
        closed(families)
    for name in parts:
        if name in SECTIONS:
            print(f"-- {SECTIONS[name].__doc__}", flush=True)
            SECTIONS[name](given.count, given.side)


if __name__ == "__main__":
    main()
