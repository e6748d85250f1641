"""The predicted risk, and the search that makes it small.

One number judges every choice: an unbiased estimate of how wrong the reconstruction is. With m measurements, their
noise level sigma, and the divergence ``div`` of ``y -> A x(y)``,

    SURE      |A x - y|^2 / m + 2 sigma^2 div / m              where sigma is known (Stein 1981)
    GCV       |A x - y|^2 / m / (1 - div / m)^2                where it is not (Golub, Heath and Wahba 1979)
    held-out  |A' x' - y'|^2 / m'                              where it picks samples: y' are kept back from x'

``div = b . (A x(y + eps b) - A x(y)) / eps`` for one random sign vector b (Ramani, Blu and Unser 2008): the probe is
solved beside the measurement, as a batch of two. Poisson counts use the variance-weighted form with ``sigma^2 = y``.

SURE and GCV judge the predicted measurement. Where ``A`` is a convolution they are carried over to the image: products
are weighted by ``(A A^H / |A|^2 + PASSED)^-1``, so that every frequency which the operator passes counts alike (after
Eldar 2009); the noise level is then that of the residual at the smallest GCV. Where the operator picks pixels, the risk
of the image is that of the pixels seen (predicted) and of those not seen (held out), each with its share.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recon.noise import Poisson
from solvers import arrays
from solvers.arrays import Array
from solvers.loop import solve

HELD_OUT = 0.1  # fraction of the samples kept back
FACTOR = 3.0  # first spacing of the strengths tried
FINE = 1.5  # spacing at which the search ends
MAX_TRIALS = 14
ENOUGH = 1e-7  # risk over the power of the measurement (70 dB below it) that need not become smaller
LEVEL = 1e-4  # relative change of the risk that is no change
INTERPOLATES = 0.95  # effective degrees of freedom over measurements from which GCV says nothing
KEPT = 3  # states kept to start from: the bracket of the search
LARGE = 2**22  # pixels from which memory matters more, and only the last state is kept
PASSED = 1e-2  # squared transfer, of the largest, below which a frequency counts as not passed


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
    level: float | None = None  # noise level by the residual at the smallest GCV
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
    patience: int = 1  # looks that must find a solve converged


def choose_strength(problem: Problem, start: float, criterion: str, rng: np.random.Generator) -> Choice:
    """Find the strength with the smallest predicted risk.

    Parameters
    ----------
    problem : Problem
        What to solve.
    start : float
        First strength; the search is bracketed from there.
    criterion : str
        How a strength is judged: "sure", "gcv", "held-out", "seen and unseen", "gcv and held-out", or one of
        :mod:`recon._criteria`. "seen and unseen" adds the predicted risk of the pixels seen to the held-out one. "gcv
        and held-out" returns the geometric mean of both minimisers: cross-validation sees fewer samples and errs
        towards strong, GCV under aliasing towards weak.
    rng : numpy.random.Generator
        Source of the probe and of the samples kept back.
    """
    if criterion == "gcv and held-out":
        first = choose_strength(problem, start, "gcv", rng)
        second = choose_strength(problem, first.strength, "held-out", rng)
        strength = math.sqrt(first.strength * second.strength)
        trials = first.trials + second.trials
        return Choice(strength, criterion, trials, first.divergence, first.level, first.warm)
    from recon import _criteria

    if criterion in ("discrepancy", "l-curve"):
        seeker = (_criteria.Discrepancy if criterion == "discrepancy" else _criteria.LCurve)(problem)
        strength, trials = seeker.choose(start)
        return Choice(strength, criterion, trials, warm=seeker.warm)
    judges: dict[str, Callable[[], Any]] = {
        "held-out": lambda: _HeldOut(problem, rng),
        "seen and unseen": lambda: _SeenAndUnseen(problem, rng),
        "whiteness": lambda: _criteria.Whiteness(problem),
    }
    judge = judges.get(criterion, lambda: _Predicted(problem, rng))()
    power = arrays.to_float(arrays.dot(problem.y, problem.y)) / measured_count(problem.operator, problem.y)
    strength, trials = minimise(judge.measure, judge.rank, start, enough=ENOUGH * power)
    return Choice(strength, criterion, trials, judge.divergence, judge.level, judge.warm)


def minimise(
    measure: Callable[[float], Any], rank: Callable[[list[Any]], list[float]], start: float, *, enough: float = 0.0
) -> tuple[float, tuple[Trial, ...]]:
    """Minimise a risk over log-strength: steps of ``FACTOR`` until it rises on both sides, then parabolas.

    ``measure`` gives the figures of one strength, ``rank`` the risks of all that were tried, from their figures. A
    search that leads ever further ends where the risk is flat or below ``enough``.
    """
    figures: dict[float, Any] = {}
    tried: dict[float, float] = {}
    t, steps = 0.0, 0
    while len(tried) < MAX_TRIALS:
        figures[t] = measure(start * math.exp(t))
        risks = rank(list(figures.values()))
        tried = {at: r if math.isfinite(r) else math.inf for at, r in zip(figures, risks, strict=True)}
        points = sorted(tried)
        best = min(points, key=tried.__getitem__)
        i = points.index(best)
        if math.isinf(tried[best]):  # nothing but interpolation so far
            t = points[-1] + math.log(FACTOR)
        elif i in (0, len(points) - 1):
            if _flat(points, tried, i) or tried[best] <= enough:
                break
            # From far away (data without noise want next to no strength) the steps lengthen.
            t = best + math.copysign(math.log(FACTOR) * (1 + steps // 3), i - 0.5)
            steps += 1
        else:
            t = _vertex(points[i - 1 : i + 2], tried)
            if points[i + 1] - points[i - 1] <= 2 * math.log(FINE) or abs(t - best) < 0.4 * math.log(FINE):
                best = t
                break
    trials = tuple(Trial(start * math.exp(t), value) for t, value in tried.items())
    return start * math.exp(best), trials


def _flat(points: list[float], values: dict[float, float], i: int) -> bool:
    """Whether the last two steps towards the end point ``i`` changed next to nothing."""
    towards = [values[t] for t in (points[:3] if i == 0 else points[:-4:-1])]
    return len(towards) == 3 and math.isfinite(towards[2]) and towards[2] - towards[0] <= LEVEL * abs(towards[2])


def _vertex(points: list[float], values: dict[float, float]) -> float:
    """Abscissa of the vertex of the parabola through three points whose middle one is the lowest."""
    a, b, c = points
    p, q = (b - a) * (values[b] - values[c]), (b - c) * (values[b] - values[a])
    if not math.isfinite(p) or not math.isfinite(q) or p == q:
        return b
    return b - 0.5 * ((b - a) * p - (b - c) * q) / (p - q)


class Warm:
    """Solves one strength after another, each from the state of the nearest one."""

    item: int | None = None  # which of a batch is the measurement itself

    def __init__(self, problem: Problem, operator: Any, y: Array, x0: Array):
        self.problem, self.operator, self.y, self.x0 = problem, operator, y, x0
        self.family: Any = None  # the last algorithm; the next one shares what it worked out
        self.kept: list[tuple[Any, float]] = []  # states of the last solves, and their strengths
        self.divergence: float | None = None
        self.level: float | None = None

    def solve(self, strength: float) -> Array:
        if self.family is None:
            self.family = self.problem.build(self.operator, self.y, strength)
        algorithm = self.family = self.family.at(strength)
        state = algorithm.restart(*self._nearest(strength)) if self.kept else algorithm.init(self.x0)
        found = solve(
            algorithm,
            state=state,
            max_iter=self.problem.max_iter,
            tol=self.problem.tol,
            objective=False,
            patience=self.problem.patience,
            region=self.operator.interior,
        )
        few = arrays.size(self.x0) > LARGE
        self.kept = [*([] if few else self.kept[1 - KEPT :]), (found.state, strength)]
        return found.image

    def warm(self, algorithm: Any) -> Any:
        """A start of ``algorithm``, for the measurement alone, from the last solve."""
        return algorithm.restart(*self._nearest(algorithm.strength), self.item)

    def _nearest(self, strength: float) -> tuple[Any, float]:
        return min(self.kept, key=lambda kept: abs(math.log(kept[1] / strength)))


@dataclass(frozen=True)
class _Figures:
    """What one strength gives; squares and products are divided by the number of measurements."""

    residual: float  # |y - A x|^2
    divergence: float  # b . (A x(y + eps b) - A x(y)) / eps
    image_residual: float  # both again, with the weights that carry them over to the image
    image_divergence: float


class _Predicted(Warm):
    """Predicted risk by SURE or generalised cross-validation, with a Monte-Carlo divergence."""

    item = 0

    def __init__(self, problem: Problem, rng: np.random.Generator):
        y = problem.y
        self.count = measured_count(problem.operator, y)
        self.weights, probe, self.gain = _probe(problem, rng)
        self.filter: Any = None if isinstance(problem.noise, Poisson) else _to_image(problem.operator)
        xp = arrays.namespace(y)
        super().__init__(problem, problem.operator, xp.stack([y, y + probe]), xp.stack([problem.x0] * 2))

    def measure(self, strength: float) -> _Figures:
        fit, shifted = self.operator(self.solve(strength))
        misfit, response = self.problem.y - (fit + background(self.problem.noise)), shifted - fit
        residual, divergence = self._mean(misfit, self.weights * misfit), self._mean(self.gain, response)
        if self.filter is None:
            return _Figures(residual, divergence, residual, divergence)
        image_residual = self._mean(misfit, self._filtered(misfit))
        return _Figures(residual, divergence, image_residual, self._mean(self.gain, self._filtered(response)))

    def rank(self, tried: list[_Figures]) -> list[float]:
        variance = 1.0 if isinstance(self.problem.noise, Poisson) else self.problem.noise.sigma**2
        gcv = [_gcv(f) for f in tried]
        best = tried[int(np.argmin(gcv))]
        self.divergence = best.divergence
        self.level = math.sqrt(best.residual / (1 - min(best.divergence, INTERPOLATES)))
        if not self.problem.sigma_known:
            if self.filter is None:
                return gcv
            variance = self.level**2
        return [f.image_residual + 2 * variance * f.image_divergence for f in tried]

    def _mean(self, a: Array, b: Array) -> float:
        return arrays.to_float(arrays.dot(a, b)) / self.count

    def _filtered(self, array: Array) -> Array:
        return arrays.filter_fourier(array, self.filter, len(self.operator.in_shape))


def _gcv(figures: _Figures) -> float:
    """Generalised cross-validation; infinite where the data are interpolated, zero residual over zero."""
    if figures.divergence >= INTERPOLATES:
        return math.inf
    return figures.residual / (1 - figures.divergence) ** 2


def _to_image(operator: Any) -> np.ndarray | None:
    """Spectrum of ``(A A^H / |A|^2 + PASSED)^-1`` where the operator is a convolution, else None."""
    transfer = operator.transfer()
    if transfer is None:
        return None
    gram = np.abs(transfer) ** 2
    return 1.0 / (gram / gram.max() + PASSED)


def _probe(problem: Problem, rng: np.random.Generator) -> tuple[Any, Array, Array]:
    """Weights of the residual, the probe added to y, and the array whose product with the response is the divergence.

    It is ``sum_i d(A x)_i / d y_i``, for Poisson counts ``sum_i weight_i variance_i d(A x)_i / d y_i``.
    """
    y, operator = problem.y, problem.operator
    signs = _signs(y, operator, rng)
    if isinstance(problem.noise, Poisson):
        mean = arrays.namespace(y).clip(operator(problem.x0) + background(problem.noise), min=1.0)
        counts = arrays.namespace(y).clip(y, min=0.0)
        # Not beyond zero: scaled counts may be smaller than one.
        width = arrays.namespace(y).minimum(0.1 * counts**0.5, counts)
        return 1.0 / mean, width * signs, signs * (counts / (width + (counts == 0))) / mean
    level = problem.noise.sigma
    if not level > 0:  # noiseless: any small probe shows the divergence
        level = 1e-3 * arrays.to_float(arrays.norm(y)) / math.sqrt(arrays.size(y))
    width = 0.1 * level
    return 1.0, width * signs, signs * (1.0 / width)


def _signs(y: Array, operator: Any, rng: np.random.Generator) -> Array:
    """Random signs where something was measured, in the real and the imaginary part where y is complex."""
    shape = tuple(y.shape)
    signs = 2.0 * rng.integers(0, 2, shape, dtype=np.int8) - 1.0
    if arrays.is_complex(y):
        signs = signs + 1j * (2.0 * rng.integers(0, 2, shape, dtype=np.int8) - 1.0)
    if operator.sampling is not None:
        signs = signs * operator.sampling
    return arrays.asarray(signs, y)


def background(noise: Any) -> float:
    """What is expected beside the image."""
    return noise.background if isinstance(noise, Poisson) else 0.0


def measured_count(operator: Any, y: Array) -> int:
    """Number of real numbers measured."""
    sampled = arrays.size(y)
    if operator.sampling is not None:
        sampled = int(np.broadcast_to(operator.sampling, tuple(y.shape)).sum())
    return sampled * (2 if arrays.is_complex(y) else 1)


class _HeldOut(Warm):
    """Prediction of samples that the reconstruction was not shown."""

    def __init__(self, problem: Problem, rng: np.random.Generator):
        operator = problem.operator
        measured = np.broadcast_to(True if operator.sampling is None else operator.sampling, operator.out_shape)
        back = measured & (rng.random(operator.out_shape) < HELD_OUT)
        self.back = arrays.asarray(back, problem.y)
        self.count = max(measured_count(operator.with_sampling(back), problem.y), 1)
        kept = operator.with_sampling(measured & ~back)
        super().__init__(problem, kept, problem.y * arrays.asarray(measured & ~back, problem.y), problem.x0)

    def measure(self, strength: float) -> float:
        fit = self.problem.operator(self.solve(strength)) + background(self.problem.noise)
        misfit = (fit - self.problem.y) * self.back
        return arrays.to_float(arrays.dot(misfit, misfit)) / self.count

    def rank(self, tried: list[float]) -> list[float]:
        return tried


class _SeenAndUnseen:
    """Risk of an image of which some pixels were measured: predicted for those, held-out for the others."""

    def __init__(self, problem: Problem, rng: np.random.Generator):
        self.seen, self.unseen = _Predicted(problem, rng), _HeldOut(problem, rng)
        self.share = float(np.mean(problem.operator.sampling))
        self.warm = self.seen.warm

    @property
    def divergence(self) -> float | None:
        return self.seen.divergence

    @property
    def level(self) -> float | None:
        return self.seen.level

    def measure(self, strength: float) -> tuple[_Figures, float]:
        return self.seen.measure(strength), self.unseen.measure(strength)

    def rank(self, tried: list[tuple[_Figures, float]]) -> list[float]:
        # Both estimates carry the same noise variance on top, so their weighted sum is the risk plus a constant.
        seen = self.seen.rank([figures for figures, _ in tried])
        return [self.share * r + (1 - self.share) * h for r, (_, h) in zip(seen, tried, strict=True)]


def natural_criterion(operator: Any, noise: Any, sigma_known: bool) -> str:
    """The criterion that suits how the operator measures.

    Predicted risk where it mixes the whole image, also held-out samples where it picks pixels, or samples of a mixture
    (undersampled k-space).
    """
    predicted = "sure" if sigma_known or isinstance(noise, Poisson) else "gcv"
    if operator.sampling is None or bool(np.all(operator.sampling)):
        return predicted
    return "seen and unseen" if operator.selects else "gcv and held-out"
