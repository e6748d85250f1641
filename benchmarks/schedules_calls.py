"""Learned steps where operator calls are what costs: ``python -m benchmarks.schedules tv plug``.

Problems of ``recon.learn.costly_problems`` on test images (``benchmarks.data``). tv: operator calls to a gap of 1e-3 of
the objective with total variation, of the best classical solver of ``recon bench`` (from its first guess, its calls
included, norms not), of the proximal quasi-Newton solver at its constants, with the schedule trained without the
family (``benchmarks/held_out``), and at the best setting of the grid. plug: calls until the PSNR is within 0.1 dB of
that of ADMM with conjugate gradients inside after 200 steps at the usual level of the denoiser; of the classical
solvers, each at that level and at twice that, and of :class:`solvers.ModelledDPIR` at its constants and with the
schedule trained without the family. Both print the ratio of processor times as well, features counted and norms not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from priors import Denoiser, PlugAndPlay, TotalVariation
from recon._first_guess import first_guess
from recon._plug_and_play import measured_noise, typical_gain, usual_strength
from recon.bench._trace import Counter
from recon.bench.problems import psnr
from recon.learn.costly_problems import FAMILIES, Costly, costly
from recon.learn.modelled_steps import DECIBELS, DENOISER, modelled
from recon.learn.modelled_steps import FAMILIES as PLUG_FAMILIES
from recon.learn.newton_steps import GAP, GRID, calls_to_gap, least_of, objective_of
from recon.noise import Gaussian
from solvers import (
    ADMM,
    FISTA,
    PD3O,
    PDHG,
    POGM,
    Anderson,
    CondatVu,
    DouglasRachford,
    LearnedSchedule,
    LeastSquares,
    LinearisedADMM,
    ProximalGradient,
    ProximalNewton,
    arrays,
)

HELD_OUT = Path(__file__).parent / "held_out"
MOST = 500
"""Operator calls after which a run is given up."""
STEPS, STEPS_LARGE, MODELLED = 200, 60, 15
SMALL = 128
"""Pixels a side, up to which the answer is that after so many steps."""
HELD = 5
"""Steps for which a goal is kept before it counts."""
LEVELS = (1, 2)
"""Of the denoiser in classical plug-and-play, over the usual one."""

Build = Callable[[Any, Any, float, float], Any]
CLASSICAL: dict[str, Build] = {
    "pogm": lambda data, prior, strength, norm: POGM(data, prior, strength),
    "admm": lambda data, prior, strength, norm: ADMM(data, prior, strength),
    "admm, 1 cg": lambda data, prior, strength, norm: ADMM(data, prior, strength, cg_iterations=1),
    "admm, 4 cg": lambda data, prior, strength, norm: ADMM(data, prior, strength, cg_iterations=4),
    "fista": lambda data, prior, strength, norm: FISTA(data, prior, strength),
    "pdhg": lambda data, prior, strength, norm: PDHG(data, prior, strength),
    "pdhg, norms": lambda data, prior, strength, norm: PDHG(data, prior, strength, norm=norm),
    "condat-vu": lambda data, prior, strength, norm: CondatVu(data, prior, strength),
    "pd3o": lambda data, prior, strength, norm: PD3O(data, prior, strength),
    "linearised-admm": lambda data, prior, strength, norm: LinearisedADMM(data, prior, strength),
    "douglas-rachford": lambda data, prior, strength, norm: DouglasRachford(data, prior, strength),
    "anderson, gradient": lambda data, prior, strength, norm: Anderson(
        ProximalGradient(data, prior, strength, step_size=1 / norm**2)
    ),
    "anderson, admm": lambda data, prior, strength, norm: Anderson(ADMM(data, prior, strength, balance=False)),
}


class Timed:
    """An algorithm whose steps are timed, by the operator calls so far."""

    def __init__(self, algorithm: Any, counter: Counter):
        self.algorithm, self.counter = algorithm, counter
        self.seconds, self.at = 0.0, {}  # type: float, dict[int, float]

    def init(self, x0: np.ndarray) -> Any:
        return self._timed(self.algorithm.init, x0)

    def step(self, state: Any, k: int) -> Any:
        return self._timed(self.algorithm.step, state, k)

    def _timed(self, method: Callable[..., Any], *args: Any) -> Any:
        begin = time.process_time()
        state = method(*args)
        self.seconds += time.process_time() - begin
        self.at.setdefault(self.counter.calls, self.seconds)
        return state


class Started:
    """An algorithm that starts from the first guess, whose calls count."""

    def __init__(self, algorithm: Any, operator: Any, y: np.ndarray):
        self.algorithm, self.operator, self.y = algorithm, operator, y
        self.step = algorithm.step

    def init(self, x0: np.ndarray) -> Any:
        return self.algorithm.init(first_guess(self.operator, self.y))


def problems(family: str, count: int, side: int) -> Iterator[Costly]:
    """Seeded problems of one family, on photographs and slices."""
    number = list(FAMILIES).index(family)
    for i in range(count):
        rng = np.random.default_rng((9, number, i))
        name = ("bsd68", "mri" if "coil" in family or family == "spokes" else "ct")[(i + number) % 2]
        pictures = data.images(name)
        picture = pictures[(7 * number + 5 * i) % len(pictures)]
        factor = max(1, min(picture.shape) // side)
        factor = min(2, factor) if name == "bsd68" else factor
        yield costly(family, _reduced(picture, factor), side, rng)


def _reduced(picture: np.ndarray, factor: int) -> np.ndarray:
    rows, columns = (n // factor * factor for n in picture.shape)
    return picture[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor).mean((1, 3))


def held_out(family: str, kind: str = "total-variation") -> LearnedSchedule | None:
    """The schedule trained without a family."""
    path = HELD_OUT / f"{kind}-without-{family.replace(' ', '-')}.safetensors"
    return LearnedSchedule.load(path) if path.exists() else None


@dataclass
class Rows:
    """Calls of one problem, and seconds of processor time."""

    best: float
    name: str
    constants: float
    learned: float
    oracle: float
    quickest: float
    seconds: float


def compare(problem: Costly) -> Rows:
    """Operator calls to the gap."""
    objective, goal = objective_of(problem), (1 + GAP) * least_of(problem, 70)
    counter, norm = Counter(problem.operator), problem.operator.norm()
    zeros = np.zeros(problem.operator.in_shape, problem.truth.dtype)
    measured = LeastSquares(counter.operator, problem.y)

    def calls(algorithm: Any, most: float) -> tuple[float, float]:
        timed = Timed(algorithm, counter)
        found = calls_to_gap(counter, timed, zeros, objective, goal, int(most))[0]
        return (found, timed.at[int(found)]) if found <= most else (math.inf, math.inf)

    def newton(schedule: Any) -> ProximalNewton:
        return ProximalNewton(LeastSquares(counter.operator, problem.y), TotalVariation(), problem.strength, schedule)

    runs = {}
    for solver, build in CLASSICAL.items():
        algorithm = build(LeastSquares(counter.operator, problem.y), TotalVariation(), problem.strength, norm)
        # No solver is followed far beyond what the best one so far took.
        most = min(2 * min((found for found, _ in runs.values()), default=MOST), MOST)
        runs[solver] = calls(Started(algorithm, counter.operator, measured.y), most)
    name = min(runs, key=lambda solver: runs[solver][0])
    constants, seconds = calls(newton(None), MOST)
    schedule = held_out(problem.family)
    learned = constants
    if schedule is not None:
        learned, seconds = calls(newton(schedule), MOST)
    oracle = min(constants, learned)
    for setting in GRID:
        oracle = min(oracle, calls(newton(lambda features, s=setting: s), min(oracle, MOST))[0])
    quickest = min(spent for _, spent in runs.values())
    return Rows(runs[name][0], name, constants, learned, oracle, quickest, seconds)


def tv(count: int, side: int) -> None:
    """Total variation: operator calls to a gap of 1e-3."""
    head = ("family", "best classical", "constants", "learned", "oracle", "ratio", "of seconds")
    print("  ".join(f"{name:>14}" for name in head))
    ratios: list[tuple[float, ...]] = []
    for family in FAMILIES:
        for problem in problems(family, count, side):
            row = compare(problem)
            ratios.append((row.best / row.learned, row.best / row.constants, row.quickest / row.seconds))
            shown = (family, f"{row.best:.0f}", f"{row.constants:.0f}", f"{row.learned:.0f}", f"{row.oracle:.0f}")
            quotients = (f"{ratios[-1][i]:.2f}" for i in (0, 2))
            print("  ".join(f"{text:>14}" for text in (*shown, *quotients)), f"  {row.name}", flush=True)
    learned, constants, seconds = (float(np.median([r[i] for r in ratios])) for i in range(3))
    print(f"median ratio: learned {learned:.2f} (at least 2.5), constants {constants:.2f}; least {min(ratios)[0]:.2f}")
    print(f"median ratio of processor time, learned: {seconds:.2f}")


@dataclass(frozen=True)
class BarzilaiBorwein:
    """Plug-and-play gradient steps ``D(x - step grad f(x))`` with the step of Barzilai and Borwein."""

    data: Any
    denoise: Callable[[np.ndarray], np.ndarray]
    norm: float

    def init(self, x0: np.ndarray) -> Any:
        return _Point(x0, self._gradient(x0), 1 / self.norm**2)

    def _gradient(self, x: np.ndarray) -> np.ndarray:
        return self.data.operator.adjoint(self.data.operator(x) - self.data.y)

    def step(self, state: Any, k: int) -> Any:
        x = self.denoise(arrays.axpy(-state.step, state.gradient, state.x))
        gradient = self._gradient(x)
        moved, bent = x - state.x, gradient - state.gradient
        curved = float(arrays.dot(moved, bent))
        longest = 10 / self.norm**2
        step = min(float(arrays.dot(moved, moved)) / curved, longest) if curved > 0 else 1 / self.norm**2
        return _Point(x, gradient, step)


@dataclass(frozen=True)
class _Point:
    x: np.ndarray
    gradient: np.ndarray
    step: float


def classical_plug(problem: Costly, counted: Any, denoiser: Any, factor: float) -> dict[str, Any]:
    """Classical plug-and-play at a multiple of the level of noise that the data leave in the image."""
    noise, norm = Gaussian(problem.sigma), problem.operator.norm()
    level = factor * measured_noise(problem.y, noise) / typical_gain(problem.operator)
    prior, measured = PlugAndPlay(denoiser, level), LeastSquares(counted, problem.y)
    strength = usual_strength(problem.y, noise)
    step = 1 / norm**2
    admm = ADMM(measured, prior, strength / level**2, scale=1.0, balance=False, relaxation=1.0)
    return {
        "admm, 2 cg": admm,
        "admm, 8 cg": replace(admm, cg_iterations=8),
        "admm, 1 cg": replace(admm, cg_iterations=1),
        "nesterov": FISTA(measured, prior, strength, step_size=step),
        "barzilai-borwein": BarzilaiBorwein(measured, lambda v: prior.prox(v, 1.0), norm),
        "anderson": Anderson(ProximalGradient(measured, prior, strength, step_size=step)),
    }


@dataclass
class Run:
    """Calls and processor time until the goal was reached to stay, and the last and the best PSNR."""

    calls: float
    seconds: float
    last: float
    best: float


def followed(problem: Costly, counter: Counter, algorithm: Any, goal: float, steps: int, most: Any = None) -> Run:
    """Runs an algorithm until the goal was kept for ``HELD`` steps, or it took more than ``most`` of calls and time."""
    counter.calls, timed, reached = 0, Timed(algorithm, counter), None
    values = [-math.inf]
    state = timed.init(np.zeros(problem.operator.in_shape, problem.truth.dtype))
    for k in range(steps):
        state = timed.step(state, k)
        values.append(psnr(problem.truth, state.x))
        if not values[-1] >= goal:
            reached = None
        elif reached is None:
            reached = (k, counter.calls, timed.seconds)
        elif k == reached[0] + HELD:
            break
        if reached is None and most is not None and counter.calls > most.calls and timed.seconds > most.seconds:
            break
    _, calls, seconds = reached or (0, math.inf, math.inf)
    return Run(calls, seconds, values[-1], max(values))


def compare_plug(problem: Costly, denoiser: Any, steps: int) -> tuple[dict[str, Run], Run, Run, float]:
    """The classical runs, the modelled ones at the constants and learned, and the goal."""
    counter = Counter(problem.operator)
    peers = {
        f"{name}{'' if factor == 1 else f' x {factor}'}": Started(algorithm, counter.operator, problem.y)
        for factor in LEVELS
        for name, algorithm in classical_plug(problem, counter.operator, denoiser, factor).items()
    }
    reference = followed(problem, counter, peers["admm, 2 cg"], math.inf, steps)
    goal = reference.last - DECIBELS
    runs: dict[str, Run] = {}
    for name, algorithm in peers.items():
        finished = [run for run in runs.values() if math.isfinite(run.calls)]
        least = [min(getattr(run, what) for run in finished) if finished else math.inf for what in ("calls", "seconds")]
        runs[name] = followed(problem, counter, algorithm, goal, steps, Run(*least, 0.0, 0.0))
    schedule = held_out(problem.family, "modelled-plug-and-play")
    own = [
        followed(problem, counter, modelled(problem, counter.operator, denoiser, s), goal, MODELLED)
        for s in (None, schedule)
    ]
    return runs, own[0], own[1], goal


def plug(count: int, side: int) -> None:
    """Plug-and-play: operator calls to within 0.1 dB of the answer of ADMM after 200 steps (60 of large images)."""
    denoiser, ratios, steps = Denoiser(DENOISER), [], STEPS if side <= SMALL else STEPS_LARGE
    for family in PLUG_FAMILIES:
        for problem in problems(family, count, side):
            runs, constants, learned, goal = compare_plug(problem, denoiser, steps)
            best = min(runs, key=lambda name: runs[name].calls)
            quickest = min(runs, key=lambda name: runs[name].seconds)
            calls = [runs[best].calls / run.calls for run in (learned, constants)]
            ratios.append((*calls, runs[quickest].seconds / learned.seconds))
            print(
                f"{family:>12}, to {goal:.2f} dB: {best} {runs[best].calls:.0f} calls, "
                f"constants {constants.calls:.0f} ({constants.last:.2f} dB), "
                f"learned {learned.calls:.0f} ({learned.last:.2f} dB), ratio {calls[0]:.2f}; "
                f"{quickest} {runs[quickest].seconds:.2f} s, learned {learned.seconds:.2f} s, "
                f"ratio {ratios[-1][2]:.2f}",
                flush=True,
            )
    learned, constants, seconds = np.median(ratios, 0)
    print(f"median ratio of calls: learned {learned:.2f} (at least 3), constants {constants:.2f}")
    print(f"median ratio of processor time, learned: {seconds:.2f}; least of calls {min(ratios)[0]:.2f}")


SECTIONS = {section.__name__: section for section in (tv, plug)}
