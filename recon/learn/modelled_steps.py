"""Training of the schedule of plug-and-play by operator calls: ``python -m recon.learn.modelled_steps``.

A lesson is a random problem on which all settings of a grid were tried: the operator calls that each took until the
PSNR is within 0.1 dB of a long run of ADMM with conjugate gradients inside, the better of two levels of the denoiser.
The network is fitted to the table (:mod:`recon.learn.newton_steps`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from priors import Denoiser, PlugAndPlay
from recon._first_guess import first_guess
from recon._plug_and_play import measured_noise, typical_gain, usual_strength
from recon.bench._trace import Counter
from recon.bench.problems import psnr
from recon.learn.costly_problems import Costly
from recon.learn.newton_steps import Study, main
from recon.noise import Gaussian
from solvers import ADMM, LeastSquares, ModelledDPIR
from solvers.modelled_plug_and_play import FEATURES, OUTPUTS

DECIBELS = 0.1
STEPS, LONG = 12, 100
LEVELS = (1.0, 2.0)
"""Of the denoiser in the long runs, over the usual one."""
MOST = 60
"""Calls beyond which it makes no difference."""
LATE = 1.5
"""Calls of a run that does not get there, over those that it took; and as much more for each decibel that it lacks."""
GRID = tuple(
    {"weight": math.log(weight), "level": math.log(level), "floor": math.log(floor)}
    for weight, level, floor in product((0.5, 1.4, 4.0), (0.75, 1.25, 2.1), (0.5, 2.0))
)
"""Settings tried: logarithms of factors."""
SIDE = 56
SMALL: dict[str, Any] = {"length": 2, "inner": 4}
LARGE: dict[str, Any] = {"length": 4, "inner": 2}
LARGEST = 128**2
"""Pixels up to which denoisings cost little beside products, and the model errs little."""
FAMILIES = ("parallel", "limited", "fan", "coil lines", "coil points", "spokes")
DENOISER = "fast-grey"


def lesson(problem: Costly) -> tuple[list[float], list[float]]:
    """Features, and the logarithm of the calls of each setting."""
    denoiser, counter, found = Denoiser(DENOISER), Counter(problem.operator), []
    goal = max(_long(problem, denoiser, factor) for factor in LEVELS) - DECIBELS
    start, features = np.zeros(problem.operator.in_shape, problem.truth.dtype), {}

    def told(setting: dict[str, float], given: dict[str, float]) -> dict[str, float]:
        features.update(given)
        return setting

    for setting in GRID:
        algorithm = modelled(problem, counter.operator, denoiser, partial(told, setting))
        counter.calls = 0
        values = list(trace(algorithm, start, STEPS, problem.truth, counter))
        found.append(math.log(min(_calls(values, goal), MOST)))
    return [features[name] for name in FEATURES], found


def modelled(problem: Costly, operator: Any, denoiser: Any, schedule: Callable[..., Any] | None) -> ModelledDPIR:
    """The algorithm for a problem, with another copy of its operator."""
    noise = Gaussian(problem.sigma)
    level = measured_noise(problem.y, noise) / typical_gain(problem.operator)
    data, strength = LeastSquares(operator, problem.y), usual_strength(problem.y, noise)
    steps = SMALL if problem.truth.size <= LARGEST else LARGE
    return ModelledDPIR(data, PlugAndPlay(denoiser), strength, level, schedule=schedule, **steps)


def trace(algorithm: Any, start: np.ndarray, steps: int, truth: np.ndarray, counter: Counter) -> Iterator[Any]:
    """Calls and PSNR after each step."""
    state = algorithm.init(start)
    for k in range(steps):
        state = algorithm.step(state, k)
        yield counter.calls, psnr(truth, state.x)


def _long(problem: Costly, denoiser: Any, factor: float) -> float:
    """PSNR of a long run of ADMM at a multiple of the usual level."""
    noise = Gaussian(problem.sigma)
    level = factor * measured_noise(problem.y, noise) / typical_gain(problem.operator)
    data, prior = LeastSquares(problem.operator, problem.y), PlugAndPlay(denoiser, level)
    penalty = usual_strength(problem.y, noise) / level**2
    algorithm = ADMM(data, prior, penalty, scale=1.0, balance=False, relaxation=1.0, cg_iterations=4)
    state = algorithm.init(first_guess(problem.operator, problem.y))
    for k in range(LONG):
        state = algorithm.step(state, k)
    return psnr(problem.truth, state.x)


def _calls(values: list[tuple[int, float]], goal: float) -> float:
    """Calls from which on the goal is kept, between two looks by the PSNR; an estimate where it is not."""
    calls, found = (np.array(v, float) for v in zip(*values, strict=True))
    below = np.flatnonzero(~(found >= goal))
    if not below.size:
        return float(calls[0])
    last = int(below[-1])
    if last + 1 == len(calls):
        lacking = goal - found[-1] if math.isfinite(found[-1]) else 10.0
        return float(calls[-1] * (LATE + LATE * min(lacking, 10.0)))
    share = (goal - found[last]) / max(found[last + 1] - found[last], 1e-9) if math.isfinite(found[last]) else 1.0
    return float(calls[last] + share * (calls[last + 1] - calls[last]))


PLUG_AND_PLAY = Study(
    FEATURES, OUTPUTS, GRID, {"weight": 0.9, "level": 0.5, "floor": 1.2}, lesson, FAMILIES, SIDE,
    "python -m recon.learn.modelled_steps", (1, 2, 3),
)  # fmt: skip


if __name__ == "__main__":
    main(PLUG_AND_PLAY)
