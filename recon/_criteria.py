"""Criteria for the strength beside the predicted risk: the classical ones, by name.

    discrepancy   |A x - y|^2 = m sigma^2 (Morozov 1966): needs a noise level that is right
    whiteness     the residual's autocorrelation is least, |r * r|^2 / |r|^4 (Almeida and Figueiredo 2013)
    l-curve       the curve (log |A x - y|, log prior(x)) bends most (Hansen 1992)

``python -m benchmarks.criteria`` compares them. None is as good as the predicted risk, which is why it is the default.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon._search import MAX_TRIALS, Trial
from recon._selection_problem import Problem, measured_count
from recon._warm import Warm
from recon.noise import Poisson
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError

CLOSE = 0.01  # log residual over noise that is near enough
FACTOR = 3.0  # spacing of the strengths tried
L_CURVE_REACH = 3  # strengths tried to each side


class Discrepancy(Warm):
    """The residual is as large as the noise."""

    def __init__(self, problem: Problem):
        super().__init__(problem, problem.operator, problem.y, problem.x0)
        if not isinstance(problem.noise, Poisson) and not problem.noise.sigma > 0:
            raise ArgumentError(
                "strength is 'discrepancy' and the noise level 0; expected noise. Pass noise= a standard deviation, "
                "or strength='auto'."
            )

    def measure(self, strength: float) -> float:
        """Mean squared residual over the variance of the noise."""
        fit = self.operator(self.solve(strength))
        misfit, noise = self.y - fit, self.problem.noise
        if isinstance(noise, Poisson):
            misfit = misfit / arrays.namespace(self.y).clip(fit + noise.background, min=1.0) ** 0.5
        count = measured_count(self.operator, self.y)
        level = 1.0 if isinstance(noise, Poisson) else noise.sigma**2
        return arrays.to_float(arrays.dot(misfit, misfit)) / count / level

    def choose(self, start: float) -> tuple[float, tuple[Trial, ...]]:
        """Where the residual, which grows with the strength, meets the noise; the risk of a trial is their distance."""
        found: dict[float, float] = {}  # log strength -> log residual over noise
        t = math.log(start)
        while len(found) < MAX_TRIALS:
            found[t] = math.log(max(self.measure(math.exp(t)), 1e-300))
            if abs(found[t]) < CLOSE:
                break
            below = max((p for p in found if found[p] < 0), default=None)
            above = min((p for p in found if found[p] > 0), default=None)
            if below is None or above is None:
                t += math.copysign(math.log(FACTOR), -found[t])
            else:
                t = below + (above - below) * found[below] / (found[below] - found[above])
        trials = tuple(Trial(math.exp(p), abs(value)) for p, value in found.items())
        return min(trials, key=lambda trial: trial.risk).strength, trials


class Whiteness(Warm):
    """The residual looks most like white noise."""

    def __init__(self, problem: Problem):
        super().__init__(problem, problem.operator, problem.y, problem.x0)

    def measure(self, strength: float) -> float:
        misfit = self.y - self.operator(self.solve(strength))
        axes = tuple(range(-len(self.operator.out_shape), 0))
        spectrum = arrays.fftn(misfit * (1.0 + 0.0j), axes)
        power = spectrum.real**2 + spectrum.imag**2
        total = arrays.to_float(power.sum())
        return arrays.to_float((power * power).sum()) / total**2 if total > 0 else math.inf

    def rank(self, tried: list[float]) -> list[float]:
        return tried


class LCurve(Warm):
    """Residual and prior over a wide range of strengths."""

    def __init__(self, problem: Problem):
        super().__init__(problem, problem.operator, problem.y, problem.x0)

    def choose(self, start: float) -> tuple[float, tuple[Trial, ...]]:
        """The strength at the corner; the risk of a trial is the negative curvature there."""
        strengths = [start * FACTOR**i for i in range(L_CURVE_REACH, -L_CURVE_REACH - 1, -1)]
        points = np.array([self._point(s) for s in strengths])
        curvature = [-math.inf, *(_curvature(*points[i - 1 : i + 2]) for i in range(1, len(points) - 1)), -math.inf]
        trials = tuple(Trial(s, -c) for s, c in zip(strengths, curvature, strict=True))
        return strengths[int(np.argmax(curvature))], trials

    def _point(self, strength: float) -> tuple[float, float]:
        image: Array = self.solve(strength)
        misfit = arrays.to_float(arrays.norm(self.y - self.operator(image)))
        value = arrays.to_float(self.family.prior.value(image))
        return math.log(max(misfit, 1e-300)), math.log(max(value, 1e-300))


def _curvature(a: Any, b: Any, c: Any) -> float:
    """Signed curvature of the circle through three points (Menger), positive at the corner of an L."""
    ab, bc, ac = b - a, c - b, c - a
    area = ab[0] * bc[1] - ab[1] * bc[0]
    lengths = math.hypot(*ab) * math.hypot(*bc) * math.hypot(*ac)
    return -2.0 * area / lengths if lengths > 0 else -math.inf
