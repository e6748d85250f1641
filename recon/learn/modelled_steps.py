"""Training of the schedules of plug-and-play on a model: ``python -m recon.learn.modelled_steps calls|time``.

A lesson is a random problem on which all settings of a grid were tried: the operator calls that each took until the
PSNR is within 0.1 dB of a long run of ADMM with conjugate gradients inside.
One schedule is for few operator calls, with several denoisings for each product, and one for little time where
denoisings take longest, with several products for each of them; there a denoising counts as some calls. The networks
are fitted to the tables (:mod:`recon.learn.newton_steps`).
"""

from __future__ import annotations

import math
import sys
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
LONG = 60
MOST = 900
"""Calls beyond which it makes no difference."""
LATE = 1.5
"""Calls of a run that does not get there, over those that it took; and as much more for each decibel that it lacks."""
GRID = tuple(
    {"weight": math.log(weight), "level": math.log(level)}
    for weight, level in product((0.15, 0.5, 1.5, 4.0), (0.75, 1.25, 2.1))
)
"""Settings tried: logarithms of factors."""
SIDE = 56
SMALL: dict[str, Any] = {"length": 2, "inner": 4}
LARGE: dict[str, Any] = {"length": 4, "inner": 2}
QUICK: dict[str, Any] = {"length": 2, "inner": 1, "products": 2, "momentum": 0.6}
"""How steps are set up for few calls, on small images and on large ones, and for little time."""
STEPS = 7
DENOISING = 8
"""Calls that take as long as a denoising: 9 in tomography of 512 pixels with 180 views, 20 with 12 coils, 3 of fans."""
FIRST = 4.0
"""First level over the usual last one."""
LARGEST = 128**2
"""Pixels up to which denoisings cost little beside products, and the model errs little."""
FAMILIES = ("parallel", "limited", "fan", "coil lines", "coil points", "spokes")
DENOISER = "fast-grey"


def lesson(problem: Costly, quick: bool = False) -> tuple[list[float], list[float]]:
    """Features, and the logarithm of the calls of each setting."""
    denoiser, counter, found = Denoiser(DENOISER), Counter(problem.operator), []
    goal = _long(problem, denoiser) - DECIBELS
    start, features = np.zeros(problem.operator.in_shape, problem.truth.dtype), {}

    def told(setting: dict[str, float], given: dict[str, float]) -> dict[str, float]:
        features.update(given)
        return setting

    for setting in GRID:
        algorithm = modelled(problem, counter.operator, denoiser, partial(told, setting), quick)
        counter.calls = 0
        looks = list(trace(algorithm, start, problem.truth, counter, DENOISING * quick))
        found.append(math.log(min(_calls(looks, goal), MOST)))
    return [features[name] for name in FEATURES], found


def modelled(
    problem: Costly, operator: Any, denoiser: Any, schedule: Callable[..., Any] | None, quick: bool = False
) -> ModelledDPIR:
    """The algorithm for a problem, with another copy of its operator."""
    noise = Gaussian(problem.sigma)
    level = measured_noise(problem.y, noise) / typical_gain(problem.operator)
    data, strength = LeastSquares(operator, problem.y), usual_strength(problem.y, noise)
    small = problem.truth.size <= LARGEST and not quick
    # Samples of k-space tell its frequencies; a few rays tell no pixel.
    answer = float(np.iscomplexobj(problem.truth) and not small)
    steps = QUICK if quick else SMALL if small else LARGE
    return ModelledDPIR(
        data, PlugAndPlay(denoiser), strength, level, first=FIRST * level, schedule=schedule, answer=answer, **steps
    )


def trace(algorithm: Any, start: np.ndarray, truth: np.ndarray, counter: Counter, denoising: float) -> Iterator[Any]:
    """Cost in calls and PSNR after each step."""
    state = algorithm.init(start)
    for k in range(STEPS):
        state = algorithm.step(state, k)
        yield counter.calls + denoising * algorithm.inner * (k + 1), psnr(truth, state.x)


def _long(problem: Costly, denoiser: Any) -> float:
    """PSNR of a long run of ADMM."""
    noise = Gaussian(problem.sigma)
    level = measured_noise(problem.y, noise) / typical_gain(problem.operator)
    data, prior = LeastSquares(problem.operator, problem.y), PlugAndPlay(denoiser, level)
    penalty = usual_strength(problem.y, noise) / level**2
    algorithm = ADMM(data, prior, penalty, scale=1.0, balance=False, relaxation=1.0)
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


REACH = {"weight": 0.9, "level": 0.5}
FEW_CALLS, LITTLE_TIME = (
    Study(
        FEATURES, OUTPUTS, GRID, REACH, partial(lesson, quick=name == "time"), FAMILIES, SIDE,
        f"python -m recon.learn.modelled_steps {name}", (1, 2, 3), 3.0,
    )
    for name in ("calls", "time")
)  # fmt: skip


if __name__ == "__main__":
    main({"calls": FEW_CALLS, "time": LITTLE_TIME}[sys.argv[1]], sys.argv[2:])
