"""Learned steps where operator calls are what costs: ``python -m benchmarks.schedules tv plug``.

Problems of ``recon.learn.costly_problems`` on test images (``benchmarks.data``). tv: operator calls to a gap of 1e-3 of
the objective with total variation, of the best classical solver of ``recon bench`` (from its first guess, its calls
included, norms not), of the proximal quasi-Newton solver at its constants, with the schedule trained without the
family (``benchmarks/held_out``), and at the best setting of the grid. plug: calls until the PSNR is within 0.1 dB of
that of ADMM with conjugate gradients inside after 200 steps; nothing of it is learned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from priors import Denoiser, PlugAndPlay, TotalVariation
from recon._first_guess import first_guess
from recon.bench._trace import Counter
from recon.bench.problems import psnr
from recon.learn.costly_problems import FAMILIES, Costly, costly
from recon.learn.newton_steps import GAP, GRID, calls_to_gap, least_of, objective_of
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
    ModelledDPIR,
    ProximalGradient,
    ProximalNewton,
    arrays,
)

HELD_OUT = Path(__file__).parent / "held_out"
MOST = 500
"""Operator calls after which a run is given up."""
STEPS, MODELLED = 200, 15
DECIBELS = 0.1
PLUG_FAMILIES = ("parallel", "limited", "fan", "coil lines", "coil points", "spokes")

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
        factor = max(1, min(picture.shape) // side) if name != "bsd68" else 2
        yield costly(family, _reduced(picture, factor), side, rng)


def _reduced(picture: np.ndarray, factor: int) -> np.ndarray:
    rows, columns = (n // factor * factor for n in picture.shape)
    return picture[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor).mean((1, 3))


def held_out(family: str) -> LearnedSchedule | None:
    """The schedule trained without a family."""
    path = HELD_OUT / f"total-variation-without-{family.replace(' ', '-')}.safetensors"
    return LearnedSchedule.load(path) if path.exists() else None


@dataclass
class Rows:
    """Calls of one problem."""

    best: float
    name: str
    constants: float
    learned: float
    oracle: float


def compare(problem: Costly) -> Rows:
    """Operator calls to the gap."""
    objective, goal = objective_of(problem), (1 + GAP) * least_of(problem, 70)
    counter, norm = Counter(problem.operator), problem.operator.norm()
    zeros = np.zeros(problem.operator.in_shape, problem.truth.dtype)
    measured = LeastSquares(counter.operator, problem.y)

    def calls(algorithm: Any, most: float) -> float:
        found = calls_to_gap(counter, algorithm, zeros, objective, goal, int(most))[0]
        return found if found <= most else math.inf

    def newton(schedule: Any) -> ProximalNewton:
        return ProximalNewton(LeastSquares(counter.operator, problem.y), TotalVariation(), problem.strength, schedule)

    best, name = math.inf, "none"
    for solver, build in CLASSICAL.items():
        algorithm = build(LeastSquares(counter.operator, problem.y), TotalVariation(), problem.strength, norm)
        # No solver is followed beyond what the best one so far took.
        found = calls(Started(algorithm, counter.operator, measured.y), min(best, MOST))
        if found < best:
            best, name = found, solver
    constants = calls(newton(None), MOST)
    schedule = held_out(problem.family)
    learned = constants if schedule is None else calls(newton(schedule), MOST)
    oracle = min(constants, learned)
    for setting in GRID:
        oracle = min(oracle, calls(newton(lambda features, s=setting: s), min(oracle, MOST)))
    return Rows(best, name, constants, learned, oracle)


def tv(count: int, side: int) -> None:
    """Total variation: operator calls to a gap of 1e-3."""
    head = ("family", "best classical", "constants", "learned", "oracle", "ratio")
    print("  ".join(f"{name:>14}" for name in head))
    ratios: list[tuple[float, float]] = []
    for family in FAMILIES:
        for problem in problems(family, count, side):
            row = compare(problem)
            ratios.append((row.best / row.learned, row.best / row.constants))
            shown = (family, f"{row.best:.0f}", f"{row.constants:.0f}", f"{row.learned:.0f}", f"{row.oracle:.0f}")
            print("  ".join(f"{text:>14}" for text in (*shown, f"{ratios[-1][0]:.2f}")), f"  {row.name}", flush=True)
    learned, constants = (float(np.median([r[i] for r in ratios])) for i in range(2))
    print(f"median ratio: learned {learned:.2f} (at least 2.5), constants {constants:.2f}; least {min(ratios)[0]:.2f}")


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


def classical_plug(problem: Costly, counted: Any, denoiser: Any) -> dict[str, Any]:
    """Classical plug-and-play with the level of noise that the data leave in the image."""
    from recon._plug_and_play import measured_noise, typical_gain, usual_strength
    from recon.noise import Gaussian

    noise, norm = Gaussian(problem.sigma), problem.operator.norm()
    level = measured_noise(problem.y, noise) / typical_gain(problem.operator)
    prior, measured = PlugAndPlay(denoiser, level), LeastSquares(counted, problem.y)
    strength = usual_strength(problem.y, noise)
    penalty = strength / level**2
    step = 1 / norm**2
    return {
        "nesterov": FISTA(measured, prior, strength, step_size=step),
        "barzilai-borwein": BarzilaiBorwein(measured, lambda v: prior.prox(v, 1.0), norm),
        "anderson": Anderson(ProximalGradient(measured, prior, strength, step_size=step)),
        "cg in admm": ADMM(measured, prior, penalty, scale=1.0, balance=False, relaxation=1.0),
        "modelled": ModelledDPIR(measured, PlugAndPlay(denoiser), strength, level=level),
    }


def plug(count: int, side: int) -> None:
    """Plug-and-play: operator calls to within 0.1 dB of the answer of ADMM after 200 steps."""
    denoiser, ratios = Denoiser("fast-grey"), []
    for family in PLUG_FAMILIES:
        for problem in problems(family, count, side):
            counter = Counter(problem.operator)
            algorithms = classical_plug(problem, counter.operator, denoiser)
            traces = {name: list(_psnrs(problem, counter, a, name)) for name, a in algorithms.items()}
            modelled = traces.pop("modelled")
            goal = traces["cg in admm"][-1][1] - DECIBELS
            calls = {name: _first(trace, goal) for name, trace in traces.items()}
            best, own = min(calls.values()), _first(modelled, goal)
            ratios.append(best / own if math.isfinite(own) else 0.0)
            ends = ", ".join(f"{n} {calls[n]:.0f} ({t[-1][1]:.2f} dB)" for n, t in traces.items())
            top = max(value for _, value in modelled)
            print(
                f"{family:>14}: {ends}; modelled {own:.0f} ({modelled[-1][1]:.2f} dB, best {top:.2f}); "
                f"ratio {ratios[-1]:.2f}", flush=True,
            )  # fmt: skip
    print(f"median ratio {np.median(ratios):.2f}, at least 3; least {min(ratios):.2f}")


def _psnrs(problem: Costly, counter: Counter, algorithm: Any, name: str) -> Iterator[tuple[int, float]]:
    counter.calls = 0
    modelled = isinstance(algorithm, ModelledDPIR)
    start = np.zeros(problem.operator.in_shape, problem.truth.dtype)
    state = algorithm.init(start if modelled else first_guess(counter.operator, problem.y))
    for k in range(MODELLED if modelled else STEPS):
        state = algorithm.step(state, k)
        yield counter.calls, psnr(problem.truth, state.x)


def _first(trace: list[tuple[int, float]], goal: float) -> float:
    """Calls from which on the goal is kept."""
    kept = math.inf
    for calls, value in reversed(trace):
        if not value >= goal:
            break
        kept = calls
    return float(kept)


SECTIONS = {section.__name__: section for section in (tv, plug)}
