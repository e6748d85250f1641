"""Learned steps of proximal gradient and PDHG: ``python -m benchmarks.schedules first-order``.

Problems of ``recon.learn.first_order_problems`` on test images (``benchmarks.data``): operator calls from the first
guess to a gap of 1e-3 of the objective, kept for five steps, of the classical methods with their own step rules and
with a schedule that was trained without the family and some others (``benchmarks/held_out``). A step that takes the
data in closed form counts as two calls; norms are not counted. Processor time is that of the steps, features and
safeguard counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from recon.learn.first_order_problems import FAMILIES, Exercise
from recon.learn.first_order_steps import FOLDS, algorithm, kept, left_out
from solvers import POGM, LearnedSchedule
from solvers.learned_first_order import FEATURES, with_learned_steps
from solvers.operator_calls import counting

HELD_OUT = Path(__file__).parent / "held_out"
GAP = 1e-3
HELD = 5
MOST = 400
"""Steps after which a run is given up."""
CLOSED = 2
"""Calls for which a closed form counts."""


def exercises(family: str, count: int, side: int) -> Iterator[Exercise]:
    """Seeded problems of one family, on photographs and slices."""
    number = list(FAMILIES).index(family)
    for i in range(count):
        rng = np.random.default_rng((13, number, i))
        draws = list(FAMILIES[family].values())
        operator, sigma = draws[i % len(draws)](rng, side)
        rows, columns = operator.in_shape[-2:]
        pictures = data.images(("bsd68", "mri" if family == "k-space" else "ct")[(i + number) % 2])
        bands = [_centre(pictures[(7 * number + 5 * i + b) % len(pictures)], rows, columns) for b in range(5)]
        yield Exercise.measured(family, operator, sigma, np.stack(bands), rng)


def _centre(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    picture = picture[::2, ::2] if min(picture.shape) >= 2 * max(rows, columns) else picture
    row, column = (picture.shape[0] - rows) // 2, (picture.shape[1] - columns) // 2
    return picture[row : row + rows, column : column + columns]


def cost(run: Any, exercise: Exercise) -> tuple[float, float]:
    """Operator calls and processor time to the gap; infinite where it is not met."""
    judge, goal = exercise.fista().objective, (1 + GAP) * exercise.least
    closed = bool(getattr(getattr(run, "algorithm", run), "_exact", False))
    reached = None
    with counting(exercise.data.operator) as made:
        begin = time.process_time()
        state = run.init(exercise.start)
        seconds, calls = time.process_time() - begin, made()
    for k in range(MOST):
        with counting(exercise.data.operator) as made:
            begin = time.process_time()
            state = run.step(state, k)
            seconds += time.process_time() - begin
            calls += CLOSED if closed else made()
        if not judge(state.x) <= goal:
            reached = None
        elif reached is None:
            reached = k, calls, seconds
        elif k == reached[0] + HELD:
            break
    return (math.inf, math.inf) if reached is None else reached[1:]


def held_out(kind: str, family: str) -> LearnedSchedule | None:
    """The schedule trained without a family."""
    fold = next(fold for fold in range(FOLDS) if family in left_out(kind, fold))
    path = HELD_OUT / f"{kind}-without-{'-'.join(left_out(kind, fold))}.safetensors"
    return LearnedSchedule.load(path) if path.exists() else None


def compare(kind: str, exercise: Exercise, schedule: Any) -> dict[str, tuple[float, float]]:
    """Calls and seconds by method."""
    plain = algorithm(kind, exercise, exercise.data)
    runs: dict[str, Any] = {"classical": plain, "learned": with_learned_steps(plain, schedule)}
    if kind == "proximal-gradient" and exercise.bounded:
        runs["searched"] = exercise.fista(searched=True)
        runs["POGM"] = POGM(exercise.data, exercise.prior, exercise.strength)
    return {name: cost(run, exercise) for name, run in runs.items()}


def first_order(count: int, side: int) -> None:
    """Proximal gradient and PDHG: operator calls to a gap of 1e-3, classical and learned."""
    for kind in FEATURES:
        schedules = {family: held_out(kind, family) for family in kept(kind)}
        if None in schedules.values():
            print(f"{kind}: no schedules in {HELD_OUT.name}")
            continue
        rows = []
        for family, schedule in schedules.items():
            for exercise in exercises(family, count, side):
                found = compare(kind, exercise, schedule)
                rows.append(_ratios(found))
                cells = "  ".join(f"{name} {pair[0]:.0f} calls, {pair[1]:.2f} s" for name, pair in found.items())
                prior = type(exercise.prior).__name__
                print(f"{family:>16}, {prior:14}  {cells}  ratio {rows[-1][0]:.2f}", flush=True)
        table = np.array(rows)[:, : None if kind == "proximal-gradient" else 2]
        calls, seconds, *pogm = np.nanmedian(table, 0)
        print(
            f"{kind}: median ratio of calls, the better classical step rule over learned: {calls:.2f} (at least 1.2), "
            f"least {np.nanmin(table[:, 0]):.2f}; of processor time {seconds:.2f}"
            + "".join(f"; of calls of POGM {value:.2f}" for value in pogm)
        )


def _ratios(found: dict[str, tuple[float, float]]) -> tuple[float, float, float]:
    """Calls and seconds of the better classical step rule over those of learned steps, and the calls of POGM."""
    own = [found[name] for name in ("classical", "searched") if name in found]
    (calls, seconds), pogm = found["learned"], found.get("POGM", (math.nan, math.nan))
    return min(c for c, _ in own) / calls, min(s for _, s in own) / seconds, pogm[0] / calls


SECTIONS = {"first-order": first_order}
