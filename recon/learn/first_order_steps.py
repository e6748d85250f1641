"""Training of the schedules of first-order methods: ``python -m recon.learn.first_order_steps fista|pdhg``.

Runs of a random number of steps on random problems are unrolled; every iterate is judged by the logarithm of its gap
to the least objective known. Nothing is refused on the way: the network learns what happens after its own steps.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.files import replacing
from recon.learn import meta
from recon.learn.first_order_problems import FAMILIES, NONLINEAR, SIDE, Exercise
from recon.learn.images import Collection, Source, collect
from recon.learn.schedule_network import ScheduleNetwork
from solvers import LearnedSchedule, Safeguarded
from solvers.acceleration import leaves, with_leaves
from solvers.learned_first_order import BOUNDS, FEATURES, LearnedSteps, with_learned_steps

GAP = 1e-4
"""Relative gap below which nothing is gained."""
WORST = 10.0
"""And above which nothing is lost."""
LENGTHS = (10, 36)
LATER = 0.7
"""Share of runs that are judged from a later step on."""
LATEST = 80
POOL = 10
"""Problems of a family that are drawn from: each minimum takes as long as some runs."""
SEARCHED = 0.1
"""Share of linear problems whose step is searched."""
START: dict[str, dict[str, float]] = {"proximal-gradient": {"relaxation": 0.9}, "primal-dual": {}}
"""Where training starts: FISTA with most of the relaxation of the optimised gradient method."""
WIDTHS = (24, 24)
SEEN = 2.5
RATE = 6e-3
BATCH = 3
FOLDS = 2
"""Parts into which the families fall, each left out in turn."""


def kept(kind: str, fold: int | None = None) -> tuple[str, ...]:
    """Families that a kind of method takes, without those of a fold."""
    own = [name for name in FAMILIES if kind == "proximal-gradient" or name not in NONLINEAR]
    return tuple(name for i, name in enumerate(own) if fold is None or i % FOLDS != fold)


def left_out(kind: str, fold: int) -> tuple[str, ...]:
    """The others."""
    return tuple(name for name in kept(kind) if name not in kept(kind, fold))


@dataclass(frozen=True, eq=False)
class Stream:
    """Random problems of some families, each drawn again from time to time."""

    kind: str
    images: Collection
    families: tuple[str, ...]
    side: int = SIDE
    drawn: dict[tuple[str, int], Exercise] = field(default_factory=dict)

    def __call__(self, rng: np.random.Generator) -> meta.Task:
        """A run of a random number of steps on one of them."""
        exercise = self.exercise(str(rng.choice(self.families)), int(rng.integers(POOL)))
        length = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
        searched, before = rng.random() < SEARCHED, int(rng.integers(LATEST)) if rng.random() < LATER else 0

        def loss(schedule: Any) -> Tensor:
            return judged(self.kind, exercise, schedule, length, searched, before)

        return meta.Task(loss, loss)

    def exercise(self, family: str, number: int) -> Exercise:
        """The problem of a number, the same each time."""
        if (family, number) not in self.drawn:
            rng = np.random.default_rng((11, list(FAMILIES).index(family), number))
            self.drawn[family, number] = Exercise.drawn(family, self.images, rng, self.side)
        return self.drawn[family, number]


def algorithm(kind: str, exercise: Exercise, data: Any, searched: bool = False) -> Any:
    """The classical method."""
    return exercise.pdhg(data) if kind == "primal-dual" else exercise.fista(data, searched=searched)


def judged(
    kind: str, exercise: Exercise, schedule: Any, length: int, searched: bool = False, before: int = 0
) -> Tensor:
    """Mean logarithm of the gap of ``length`` iterates, after as many guarded steps without gradients as ``before``."""
    data = replace(exercise.data, y=torch.from_numpy(exercise.data.y))
    plain = algorithm(kind, exercise, data, searched)
    run = Safeguarded(plain, LearnedSteps(plain, schedule), merit=lambda state: 0.0)
    state = run.init(torch.from_numpy(exercise.start))
    if before:
        begun = _begun(kind, exercise, schedule, searched, before)
        inner, track = (with_leaves(part, map(torch.from_numpy, leaves(part))) for part in (begun.inner, begun.track))
        state = replace(state, x=inner.x, inner=inner, track=track)
    gaps = []
    for k in range(before, before + length):
        state = run.step(state, k)
        gaps.append(plain.objective(state.x) / exercise.least - 1)
    return (torch.stack(gaps).clamp(0, WORST) + GAP).log10().mean()


@torch.no_grad()
def _begun(kind: str, exercise: Exercise, schedule: Any, searched: bool, count: int) -> Any:
    """The state after some guarded steps, in numpy."""

    def told(features: Any) -> dict[str, float]:
        return {name: float(value) for name, value in schedule(features).items()}

    guarded = with_learned_steps(algorithm(kind, exercise, exercise.data, searched), told)
    state = guarded.init(exercise.start)
    for k in range(count):
        state = guarded.step(state, k)
    return state


def normalised(stream: Stream, rng: Any = 0, count: int = 30) -> LearnedSchedule:
    """The schedule that training starts from, its features scaled by those of classical runs."""
    generator, found = np.random.default_rng(rng), []
    names = FEATURES[stream.kind]

    def told(features: Any) -> dict[str, float]:
        found.append([features[name] for name in names])
        return {}

    for i in range(count):
        exercise = stream.exercise(stream.families[i % len(stream.families)], i // len(stream.families))
        _begun(stream.kind, exercise, told, bool(generator.random() < SEARCHED), LATEST)
    table = np.array(found)
    blank = LearnedSchedule.untrained(names, BOUNDS[stream.kind], widths=WIDTHS)
    weight, bias = blank.layers[-1]
    begun = np.array([START[stream.kind].get(name, 0.0) for name in blank.outputs])
    layers = (*blank.layers[:-1], (weight, bias + np.arctanh(begun / blank.bound)))
    return replace(blank, mean=table.mean(0), scale=table.std(0) + 1e-1, seen=SEEN, layers=layers)


def train(
    stream: Stream, path: Path, say: Callable[[str], Any], card: dict[str, Any] | None = None, **budget: Any
) -> LearnedSchedule:
    """The schedule that a stream teaches, written to ``path``; a checkpoint beside it lets the same call go on."""
    torch.set_num_threads(1)  # the images are small
    learned = meta.train(
        ScheduleNetwork(normalised(stream)), stream, meta.MAML(inner_steps=0, meta_rate=RATE, batch=BATCH),
        **budget, checkpoint=path.with_suffix(".checkpoint.safetensors"), progress=say,
    )  # fmt: skip
    assert isinstance(learned.module, ScheduleNetwork)
    found = learned.module.schedule({**(card or {}), "steps": learned.progress.steps})
    with replacing(path) as temporary:
        found.save(temporary)
    return found


KINDS = {"fista": "proximal-gradient", "pdhg": "primal-dual"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a schedule for some minutes, and those without the families of a fold each, and write them."""
    parser = argparse.ArgumentParser(prog="python -m recon.learn.first_order_steps", description=main.__doc__)
    parser.add_argument("method", choices=KINDS)
    parser.add_argument("--data", action="append", required=True, metavar="FOLDER[:WEIGHT]")
    parser.add_argument("--minutes", type=float, required=True, help="for each schedule, over all runs")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file; checkpoints stand beside it")
    parser.add_argument("--leave-out", action="store_true", help="also train without each fold of the families")
    given = parser.parse_args(arguments)
    kind, sources = KINDS[given.method], [Source.parse(text) for text in given.data]
    card = {
        "command": f"python -m recon.learn.first_order_steps {given.method} --data ... --minutes ... --out ...",
        "data": [source.folder.name for source in sources],
        "minutes": given.minutes,
        "machine": f"{platform.machine()}, one thread",
    }
    stream = Stream(kind, collect(sources, 1, 3 * SIDE, 0), kept(kind))
    for fold in (None, *range(FOLDS if given.leave_out else 0)):
        out = given.out
        if fold is not None:
            out = out.with_name(f"{out.stem}-without-{'-'.join(left_out(kind, fold))}.safetensors")
        part = replace(stream, families=kept(kind, fold))
        train(part, out, lambda text: print(text, flush=True), card, minutes=given.minutes)


if __name__ == "__main__":
    main()
