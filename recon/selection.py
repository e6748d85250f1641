"""The predicted risk, and the search that makes it small.

One number judges every choice: how well the reconstruction predicts the noiseless measurement. With m measurements,
their noise level sigma, and the divergence ``div`` of ``y -> A x(y)``,

    SURE      |A x - y|^2 / m + 2 sigma^2 div / m              where sigma is known (Stein 1981)
    GCV       |A x - y|^2 / m / (1 - div / m)^2                where it is not (Golub, Heath and Wahba 1979)
    held-out  |A' x' - y'|^2 / m'                              where the operator picks samples: y' are kept back from x'

``div = b . (A x(y + eps b) - A x(y)) / eps`` for one random sign vector b (Ramani, Blu and Unser 2008): the probe is
solved beside the measurement, as a batch of two. Poisson counts use the variance-weighted form with ``sigma^2 = y``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recon.noise import Gaussian, Poisson
from solvers import arrays
from solvers.arrays import Array
from solvers.loop import solve

HELD_OUT = 0.1  # fraction of the samples kept back
FACTOR = 3.0  # first spacing of the strengths tried
FINE = 1.5  # spacing at which the search ends
MAX_TRIALS = 14


@dataclass(frozen=True)
class Trial:
    """One strength that was tried."""

    strength: float
    risk: float


@dataclass(frozen=True)
class Choice:
    """A strength and how it was found."""

    strength: float
    criterion: str
    trials: tuple[Trial, ...] = ()
    divergence: float | None = None  # effective degrees of freedom over measurements, at the strength chosen
    warm: Any = field(default=None, repr=False)  # algorithm -> state: a start from the last solve of the search


@dataclass(frozen=True)
class Problem:
    """What is solved at each strength: everything but the strength."""

    operator: Any
    y: Array
    noise: Any  # Gaussian or Poisson
    sigma_known: bool
    build: Callable[[Any, Array, float], Any]  # (operator, y, strength) -> algorithm
    x0: Array
    max_iter: int
    tol: float


def choose_strength(problem: Problem, start: float, criterion: str, rng: np.random.Generator) -> Choice:
    """Find the strength with the smallest predicted risk.

    Parameters
    ----------
    problem : Problem
        What to solve.
    start : float
        First strength; the search is bracketed from there.
    criterion : {"sure", "gcv", "held-out", "gcv and held-out"}
        How a strength is judged. The last one returns the geometric mean of both minimisers: cross-validation sees
        fewer samples and errs towards strong, GCV under aliasing towards weak.
    rng : numpy.random.Generator
        Source of the probe and of the samples kept back.
    """
    if criterion == "gcv and held-out":
        first = choose_strength(problem, start, "gcv", rng)
        second = choose_strength(problem, first.strength, "held-out", rng)
        strength = math.sqrt(first.strength * second.strength)
        return Choice(strength, criterion, first.trials + second.trials, first.divergence, first.warm)
    judge = _HeldOut(problem, rng) if criterion == "held-out" else _Predicted(problem, criterion, rng)
    strength, trials = minimise(judge, start)
    return Choice(strength, criterion, trials, judge.divergence, judge.warm)


def minimise(risk: Callable[[float], float], start: float) -> tuple[float, tuple[Trial, ...]]:
    """Minimise ``risk`` over log-strength: steps of ``FACTOR`` until it rises on both sides, then parabolas."""
    tried: dict[float, float] = {}
    t = 0.0
    while len(tried) < MAX_TRIALS:
        value = risk(start * math.exp(t))
        tried[t] = value if math.isfinite(value) else math.inf
        points = sorted(tried)
        best = min(points, key=tried.__getitem__)
        i = points.index(best)
        if i == 0:
            t = best - math.log(FACTOR)
        elif i == len(points) - 1:
            t = best + math.log(FACTOR)
        else:
            t = _vertex(points[i - 1 : i + 2], tried)
            if points[i + 1] - points[i - 1] <= 2 * math.log(FINE) or abs(t - best) < 0.4 * math.log(FINE):
                best = t
                break
    trials = tuple(Trial(start * math.exp(t), value) for t, value in tried.items())
    return start * math.exp(best), trials


def _vertex(points: list[float], values: dict[float, float]) -> float:
    """Abscissa of the vertex of the parabola through three points whose middle one is the lowest."""
    a, b, c = points
    p, q = (b - a) * (values[b] - values[c]), (b - c) * (values[b] - values[a])
    if not math.isfinite(p) or not math.isfinite(q) or p == q:
        return b
    return b - 0.5 * ((b - a) * p - (b - c) * q) / (p - q)


class _Warm:
    """Solves one strength after another, each from the last one's state."""

    item: int | None = None  # which of a batch is the measurement itself

    def __init__(self, problem: Problem, operator: Any, y: Array, x0: Array):
        self.problem, self.operator, self.y, self.x0 = problem, operator, y, x0
        self.family: Any = None  # the algorithm at the first strength; the others share what it worked out
        self.last: Any = None  # state of the last solve, and its strength
        self.divergence: float | None = None

    def solve(self, strength: float) -> Array:
        if self.family is None:
            self.family = self.problem.build(self.operator, self.y, strength)
        algorithm = self.family.at(strength)
        state = algorithm.init(self.x0) if self.last is None else algorithm.restart(*self.last)
        found = solve(
            algorithm, state=state, max_iter=self.problem.max_iter, tol=self.problem.tol, objective=False
        )
        self.last = (found.state, strength)
        return found.image

    def warm(self, algorithm: Any) -> Any:
        """A start of ``algorithm``, for the measurement alone, from the last solve."""
        state, strength = self.last
        return algorithm.restart(state, strength, self.item)


class _Predicted(_Warm):
    """Predicted risk by SURE or generalised cross-validation, with a Monte-Carlo divergence."""

    item = 0

    def __init__(self, problem: Problem, criterion: str, rng: np.random.Generator):
        y = problem.y
        self.criterion = criterion
        self.count = measured_count(problem.operator, y)
        self.weights, self.probe, self.gain = _probe(problem, rng)
        xp = arrays.namespace(y)
        super().__init__(problem, problem.operator, xp.stack([y, y + self.probe]), xp.stack([problem.x0] * 2))

    def __call__(self, strength: float) -> float:
        fit, shifted = self.operator(self.solve(strength))
        misfit = self.problem.y - fit
        residual = arrays.to_float(arrays.dot(misfit, self.weights * misfit)) / self.count
        optimism = arrays.to_float(arrays.dot(self.gain, shifted - fit)) / self.count
        if self.criterion == "sure":
            return residual + 2 * optimism
        self.divergence = min(optimism, 0.99)
        return residual / (1 - self.divergence) ** 2


def _probe(problem: Problem, rng: np.random.Generator) -> tuple[Any, Array, Array]:
    """Weights of the residual, the probe added to y, and the array whose product with the response is the optimism.

    The optimism is ``sum_i weight_i variance_i d(A x)_i / d y_i`` where the noise is known, and the divergence itself
    (weight and variance one) where it is not.
    """
    y, operator = problem.y, problem.operator
    signs = _signs(y, operator, rng)
    if isinstance(problem.noise, Poisson):
        mean = arrays.namespace(y).clip(operator(problem.x0) + problem.noise.background, min=1.0)
        counts = arrays.namespace(y).clip(y, min=0.0)
        width = 0.1 * counts**0.5
        return 1.0 / mean, width * signs, signs * (counts**0.5 / 0.1) / mean
    level = problem.noise.sigma
    if not level > 0:  # noiseless: any small probe shows the divergence
        level = 1e-3 * arrays.to_float(arrays.norm(y)) / math.sqrt(arrays.size(y))
    width = 0.1 * level
    variance = problem.noise.sigma**2 if problem.sigma_known else 1.0
    return 1.0, width * signs, signs * (variance / width)


def _signs(y: Array, operator: Any, rng: np.random.Generator) -> Array:
    """Random signs where something was measured, in the real and the imaginary part where y is complex."""
    shape = tuple(y.shape)
    signs = rng.choice(np.array([-1.0, 1.0]), size=shape)
    if arrays.is_complex(y):
        signs = signs + 1j * rng.choice(np.array([-1.0, 1.0]), size=shape)
    if operator.sampling is not None:
        signs = signs * operator.sampling
    return arrays.asarray(signs, y)


def measured_count(operator: Any, y: Array) -> int:
    """Number of real numbers measured."""
    sampled = arrays.size(y)
    if operator.sampling is not None:
        sampled = int(np.broadcast_to(operator.sampling, tuple(y.shape)).sum())
    return sampled * (2 if arrays.is_complex(y) else 1)


class _HeldOut(_Warm):
    """Prediction of samples that the reconstruction was not shown."""

    def __init__(self, problem: Problem, rng: np.random.Generator):
        operator = problem.operator
        measured = np.broadcast_to(operator.sampling, operator.out_shape)
        back = measured & (rng.random(operator.out_shape) < HELD_OUT)
        self.back = arrays.asarray(back, problem.y)
        self.count = max(measured_count(operator.with_sampling(back), problem.y), 1)
        kept = operator.with_sampling(measured & ~back)
        super().__init__(problem, kept, problem.y * arrays.asarray(measured & ~back, problem.y), problem.x0)

    def __call__(self, strength: float) -> float:
        misfit = (self.problem.operator(self.solve(strength)) - self.problem.y) * self.back
        return arrays.to_float(arrays.dot(misfit, misfit)) / self.count


def natural_criterion(operator: Any, noise: Any, sigma_known: bool) -> str:
    """The criterion that suits how the operator measures.

    Predicted risk where it mixes the whole image, held-out samples where it picks pixels, both where it picks samples
    of a mixture (undersampled k-space).
    """
    predicted = "sure" if sigma_known or isinstance(noise, Poisson) else "gcv"
    if operator.sampling is None or bool(np.all(operator.sampling)):
        return predicted
    return "held-out" if operator.selects else "gcv and held-out"
