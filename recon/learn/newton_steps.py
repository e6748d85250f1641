"""Training of the learned schedule of the proximal quasi-Newton solver: ``python -m recon.learn.newton_steps``.

Every lesson is a random problem on which all settings of a grid were tried: the operator calls that each took to a gap
of 1e-3. The network is then fitted to the table, in seconds, so that it can be fitted anew without any one family: it
minimises the mean logarithm of the calls, interpolated between the settings of the grid.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from priors import TotalVariation
from recon.bench._trace import Counter
from recon.learn.costly_problems import FAMILIES, Costly, costly
from recon.learn.images import Collection, Source, collect
from recon.learn.schedule_network import ScheduleNetwork
from solvers import LearnedSchedule, LeastSquares
from solvers.proximal_newton import FEATURES, OUTPUTS, ProximalNewton

GAP = 1e-3
MOST = 90
"""Operator calls after which a run is given up."""
GRID = tuple(
    {"floor": math.log(floor), "start": math.log(start)}
    for floor, start in product((0.1, 0.4, 1.5, 5.0, 20.0), (1 / 3, 1.0))
)
"""Settings tried: logarithms of factors."""
SIDE = 40
REACH = {"floor": 1.3, "start": 1.1}
"""Distances between settings that are about as different."""
ROUNDS = 400
RATE = 0.01
WIDTHS = (8,)
SEEN = 2.0
"""Standard deviations of the lessons' features, beyond which the nearest ones decide."""
BEYOND = 0.05
"""Weight of the squared distance to the grid."""


@dataclass(frozen=True)
class Study:
    """What a table of lessons is about."""

    features: tuple[str, ...]
    outputs: Mapping[str, float]
    """Largest logarithms of the factors."""
    grid: tuple[dict[str, float], ...]
    """Settings tried."""
    reach: Mapping[str, float]
    """Distances between settings that are about as different."""
    lesson: Callable[[Costly], tuple[list[float], list[float]]]
    """Features, and the logarithm of the calls of each setting."""
    families: tuple[str, ...]
    side: int
    command: str
    scales: tuple[int, ...] = (1,)
    """Pixels of pictures for each pixel of a problem, a side."""
    decay: float = 1.0
    """Of the weights in the fit: the fewer the lessons, the larger."""


@dataclass(frozen=True)
class Lessons:
    """A row for each problem."""

    features: np.ndarray  # (rows, FEATURES)
    calls: np.ndarray  # (rows, GRID): logarithms
    family: np.ndarray  # (rows,): names


def calls_to_gap(
    counter: Counter, algorithm: Any, start: np.ndarray, objective: Callable[[Any], float], goal: float, most: int
) -> tuple[float, float]:
    """Operator calls until the objective is at most ``goal``, and the smallest one; beyond ``most`` an estimate."""
    counter.calls, k, reached = 0, 0, None
    state = algorithm.init(start)
    least = math.inf
    while counter.calls < most:
        state = algorithm.step(state, k)
        k, value = k + 1, objective(state.x)
        least = min(least, value)
        if not value <= goal:
            reached = None
        elif reached is None:
            reached = counter.calls
        if value <= goal - 0.5 * (goal - goal / (1 + GAP)):
            break
    if reached is not None:
        return float(reached), least
    excess = math.log10(max(least / goal - 1, 1e-6) / GAP + 1) if math.isfinite(least) else 10.0
    return most * (1.1 + 0.3 * excess), least


def objective_of(problem: Costly) -> Callable[[Any], float]:
    """In double precision."""
    wide = np.result_type(problem.y.dtype, np.float64)
    algorithm = ProximalNewton(
        LeastSquares(problem.operator, problem.y.astype(wide)), TotalVariation(), problem.strength
    )
    return lambda x: float(algorithm.objective(np.asarray(x).astype(np.result_type(x.dtype, np.float64))))


def least_of(problem: Costly, steps: int = 50) -> float:
    """The minimum, from a long run in double precision."""
    y = problem.y.astype(np.result_type(problem.y.dtype, np.float64))
    algorithm = ProximalNewton(
        LeastSquares(problem.operator, y), TotalVariation(), problem.strength, inner=16, memory=50
    )
    state = algorithm.init(np.zeros(problem.operator.in_shape, np.result_type(problem.truth.dtype, np.float64)))
    objective, last = objective_of(problem), math.inf
    for k in range(steps):
        state = algorithm.step(state, k)
        if k % 10 == 9:
            value = objective(state.x)
            if value > last * (1 - 1e-6):
                break
            last = value
    return min(last, objective(state.x))


def lesson(problem: Costly) -> tuple[list[float], list[float]]:
    """Features, and the logarithm of the calls of each setting."""
    least, objective = least_of(problem), objective_of(problem)
    start = np.zeros(problem.operator.in_shape, problem.truth.dtype)
    counter, found = Counter(problem.operator), []
    for setting in GRID:
        algorithm = ProximalNewton(
            LeastSquares(counter.operator, problem.y), TotalVariation(), problem.strength, partial(_always, setting)
        )
        found.append(math.log(calls_to_gap(counter, algorithm, start, objective, least * (1 + GAP), MOST)[0]))
    return [algorithm.features[name] for name in FEATURES], found


def _always(setting: Mapping[str, float], features: Mapping[str, float]) -> Mapping[str, float]:
    """A schedule that does not look at the problem."""
    return setting


def gathered(study: Study, images: Collection, path: Path, minutes: float, say: Callable[[str], Any]) -> Lessons:
    """Lessons on random problems of all families in turn, written after each; the same call goes on from there."""
    features, calls, family, spent = [], [], [], 0.0
    if path.exists():
        with np.load(path) as old:
            features, calls, family = (list(old[name]) for name in ("features", "calls", "family"))
            spent = float(old["spent"])
    begin, before = time.perf_counter(), spent
    while spent < 60 * minutes:
        number = len(family)
        rng = np.random.default_rng((1, number))
        name = study.families[number % len(study.families)]
        found = study.lesson(costly(name, _picture(study, images, rng), study.side, rng))
        features.append(found[0])
        calls.append(found[1])
        family.append(name)
        spent = before + time.perf_counter() - begin
        np.savez(path, features=np.array(features), calls=np.array(calls), family=np.array(family), spent=spent)
        say(f"{number} {name}: {math.exp(min(found[1])):.0f} to {math.exp(max(found[1])):.0f} calls")
    return Lessons(np.array(features), np.array(calls), np.array(family))


def _picture(study: Study, images: Collection, rng: np.random.Generator) -> np.ndarray:
    """A random patch, at one of the scales."""
    scale = int(rng.choice(study.scales)) if len(study.scales) > 1 else study.scales[0]
    patch = images.patches(rng, 1, scale * study.side)[0, 0]
    patch = patch.reshape(study.side, scale, study.side, scale).mean((1, 3))
    return patch - patch.min()


def fitted(
    study: Study, lessons: Lessons, *, without: str | None = None, constant: bool = False, card: Any = None
) -> LearnedSchedule:
    """The schedule of the lessons, without those of one family; a constant one does not look at the problem."""
    kept = lessons.family != without
    table = torch.from_numpy(lessons.features[kept])
    calls = torch.from_numpy(lessons.calls[kept] - lessons.calls[kept].min(1, keepdims=True))
    weights = np.array([1.0 / (lessons.family[kept] == name).sum() for name in lessons.family[kept]])
    share = torch.from_numpy(weights / weights.sum())
    reach = torch.tensor([study.reach[name] for name in study.outputs], dtype=torch.float64)
    places = torch.tensor([[s[name] for name in study.outputs] for s in study.grid], dtype=torch.float64) / reach
    blank = LearnedSchedule.untrained(study.features, study.outputs, widths=WIDTHS)
    spread = np.maximum(table.std(0).numpy(), 1e-3) * (1e9 if constant else 1.0)
    network = ScheduleNetwork(replace(blank, mean=table.mean(0).numpy(), scale=spread, seen=SEEN))
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=study.decay)
    for _ in range(ROUNDS):
        distances = ((network.table(table)[:, None] / reach - places) ** 2).sum(-1)
        near = torch.softmax(-distances, 1)
        # Beyond the grid nothing is known: distances to it are taken back.
        loss = (share * ((near * calls).sum(1) + BEYOND * distances.min(1).values)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.schedule(card)


TOTAL_VARIATION = Study(
    FEATURES, OUTPUTS, GRID, REACH, lesson, tuple(FAMILIES), SIDE, "python -m recon.learn.newton_steps"
)


def main(study: Study = TOTAL_VARIATION, arguments: Sequence[str] | None = None) -> None:
    """Gather lessons for some minutes, fit the schedule and those without one family each, and write them."""
    parser = argparse.ArgumentParser(prog=study.command, description=main.__doc__)
    parser.add_argument("--data", action="append", required=True, metavar="FOLDER[:WEIGHT]")
    parser.add_argument("--minutes", type=float, required=True, help="of lessons, over all runs")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file; lessons stand beside it")
    parser.add_argument("--leave-one-out", action="store_true", help="also fit without each family")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    images = collect([Source.parse(text) for text in given.data], 1, max(study.scales) * study.side, 0)
    path = given.out.with_suffix(".npz")
    lessons = gathered(study, images, path, given.minutes, lambda text: print(text, flush=True))
    card = {
        "command": f"{study.command} --data ... --minutes ... --out ...",
        "data": [Path(text.split(":")[0]).name for text in given.data],
        "lessons": len(lessons.family),
        "minutes": given.minutes,
        "machine": f"{platform.machine()}, one thread",
    }
    fitted(study, lessons, card=card).save(given.out)
    if given.leave_one_out:
        for name in study.families:
            path = given.out.with_name(f"{given.out.stem}-without-{name.replace(' ', '-')}.safetensors")
            fitted(study, lessons, without=name, card=card).save(path)


if __name__ == "__main__":
    main()
