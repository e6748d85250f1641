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
Eldar 2009); the noise level is then that of the residual at the smallest GCV. Where the operator picks samples, the
risk is that of the samples seen (predicted) and of those not seen (held out), each with its share. Samples of k-space
that are held out count by how many around them were not measured: what is missing is not like what is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recon._nonlinear import carried_to_image, is_nonlinear
from recon._search import FACTOR, Trial, minimise
from recon.noise import Poisson
from solvers import arrays
from solvers.arrays import Array
from solvers.loop import Status, solve

HELD_OUT = 0.1  # fraction of the samples kept back
USUAL_TOL = 5e-3  # of the solves of a search
OF_FRAMES = 0.02  # their risk falls for long by little: judged as usual, up to 0.9 dB was lost (benchmarks.frames)
COMPARED_TOL = 1e-3  # the same where risks of different priors are to be compared
BALANCE = 1.5  # strength * prior(x) at the best strength, over the variance of the noise that is fitted; 1 to 3
NOTICEABLE = 0.3  # gain over the best trial, relative to the noise fitted, up to which a parabola is believed
ENOUGH = 1e-7  # risk over the power of the measurement (70 dB below it) that need not become smaller
INTERPOLATES = 0.95  # effective degrees of freedom over measurements from which GCV says nothing
FIRST = 0.5  # how much more strictly the first solve is judged, which the others start from
SHARE = 0.33  # least steps of the others, over those of the first
FEWEST = 4  # steps of a solve that starts from another, half of those of the first
LOOK_EVERY = 2  # steps from one look at the risk to the next
SETTLED = 0.1  # change of the risk still to come, over that of the noise fitted, at which a solve ends
HELD_SETTLED = 0.02  # the same over the risk itself
SLOWEST, UNKNOWN = 0.95, 0.8  # largest share of a change that is left at the next look; the share assumed at first
KEPT = 3  # states kept to start from: the bracket of the search
LARGE = 2**22  # pixels from which memory matters more, and only the last state is kept
MOST_FITTED = 0.5  # degrees of freedom over samples from which samples are held out as well
NEARBY = 3.0  # width of the neighbourhood that a sample stands for, in samples
TINY = 1e-30
PASSED = 1e-2  # squared transfer, of the largest, below which a frequency counts as not passed


@dataclass(frozen=True)
class Choice:
    """A strength and how it was found."""

    strength: float
    criterion: str
    trials: tuple[Trial, ...] = ()
    divergence: float | None = None  # effective degrees of freedom over measurements, at the strength chosen
    level: float | None = None  # noise level by the residual at the smallest GCV
    warm: Any = field(default=None, repr=False)  # algorithm -> state: a start from the last solve of the search
    risk: float = math.inf  # the smallest of the trials, by what was judged last
    figures: Any = field(default=None, repr=False)  # behind the risk, where it took the noise level from the residual
    rivals: tuple[Rival, ...] = ()  # every prior that was compared, or balance of its weights
    chosen: str = ""  # the balance chosen
    unsettled: tuple[float, ...] = ()  # strengths at which the solver had not settled


@dataclass(frozen=True)
class Rival:
    """A prior that was compared with others, at its best strength."""

    prior: str
    strength: float
    risk: float


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
    early: bool = True  # whether a solve may end when its risk has settled, before the image has

    @property
    def slack(self) -> float:
        """How much of the usual inaccuracy of the search a tolerance allows."""
        usual = OF_FRAMES if getattr(self.operator, "frames", False) else 1.0
        return usual * min(self.tol / USUAL_TOL, 1.0) if self.early else 0.0


def choose_strength(
    problem: Problem, start: float, criterion: str, rng: np.random.Generator, *, hold_out: bool | None = None
) -> Choice:
    """Find the strength with the smallest predicted risk.

    Parameters
    ----------
    problem : Problem
        What to solve.
    start : float
        First strength; the search is bracketed from there.
    criterion : str
        How a strength is judged: "sure", "gcv", "held-out", "seen and unseen", or one of :mod:`recon._criteria`. "seen
        and unseen" adds the predicted risk of the samples seen to the held-out one, each with its share.
    rng : numpy.random.Generator
        Source of the probe and of the samples kept back.
    hold_out : bool, optional
        Whether "seen and unseen" holds samples out. By default it does where it needs to; risks that are to be compared
        must agree in this.
    """
    if criterion == "seen and unseen":
        return _with_held_out(problem, start, rng, hold_out)
    from recon import _criteria

    if criterion in ("discrepancy", "l-curve"):
        seeker = (_criteria.Discrepancy if criterion == "discrepancy" else _criteria.LCurve)(problem)
        strength, trials = seeker.choose(start)
        return _chosen(strength, criterion, trials, seeker)
    judges: dict[str, Callable[[], Any]] = {
        "held-out": lambda: _HeldOut(problem, rng),
        "whiteness": lambda: _criteria.Whiteness(problem),
    }
    judge = judges.get(criterion, lambda: _Predicted(problem, rng))()
    strength, trials = _searched(problem, judge, start)
    return _chosen(strength, criterion, trials, judge)


def common_risks(choices: Sequence[Choice]) -> list[float]:
    """Risks that can be compared: where each took the noise level from its own residual, with that of the best one."""
    figures = [choice.figures for choice in choices]
    if any(f is None for f in figures):
        return [choice.risk for choice in choices]
    variance = _level(min(figures, key=_gcv)) ** 2
    return [f.image_residual + 2 * variance * f.image_divergence for f in figures]


def _chosen(strength: float, criterion: str, trials: tuple[Trial, ...], judge: Warm) -> Choice:
    risk = min(trial.risk for trial in trials)
    return Choice(
        strength, criterion, trials, judge.divergence, judge.level, judge.warm, risk, judge.best,
        unsettled=tuple(judge.unsettled),
    )  # fmt: skip


def _searched(
    problem: Problem, judge: Any, start: float, before: Sequence[float] = ()
) -> tuple[float, tuple[Trial, ...]]:
    power = arrays.to_float(arrays.dot(problem.y, problem.y)) / measured_count(problem.operator, problem.y)
    return minimise(
        judge.measure, judge.rank, start, enough=ENOUGH * power, before=before, propose=judge.propose,
        matters=lambda: judge.noticeable,
    )  # fmt: skip


def _with_held_out(problem: Problem, start: float, rng: np.random.Generator, hold_out: bool | None) -> Choice:
    """The smallest predicted risk; where it fits most of the samples, which it judges badly, held-out ones join in."""
    seen, unseen = _Predicted(problem, rng), _HeldOut(problem, rng)
    strength, trials = _searched(problem, seen, start)
    if hold_out is None:
        hold_out = seen.divergence is not None and seen.divergence >= MOST_FITTED
    if not hold_out:
        return _chosen(strength, "sure" if problem.sigma_known else "gcv", trials, seen)
    first, *others = sorted((trial.strength for trial in trials), key=lambda tried: abs(math.log(tried / strength)))
    strength, trials = _searched(problem, _SeenAndUnseen(problem, seen, unseen), first, others[:2])
    seen.best = None
    return _chosen(strength, "seen and unseen", trials, seen)


class Warm:
    """Solves one strength after another, each from the state of the nearest one."""

    item: int | None = None  # which of a batch is the measurement itself
    noticeable = 0.0  # gain of risk up to which a parabola is believed without a trial

    def __init__(self, problem: Problem, operator: Any, y: Array, x0: Array):
        self.problem, self.operator, self.y, self.x0 = problem, operator, y, x0
        self.family: Any = None  # the last algorithm; the next one shares what it worked out
        self.kept: list[tuple[Any, float, int | None]] = []  # last states, their strengths, which item of them to take
        self.divergence: float | None = None
        self.level: float | None = None
        self.best: Any = None  # figures of the best trial, where the noise level followed from them
        self.unsettled: list[float] = []  # strengths at which the solver reached its last step
        self.pace = 0  # steps of the first solve
        self.noticed = 0.0  # change of the risk still to come at which a solve ends

    def solve(self, strength: float, settled: Callable[[Any, int], bool] | None = None) -> Array:
        """The image at a strength; ``settled`` may end the solve before the image has settled."""
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
            callback=settled,
        )
        self.pace = self.pace or found.iterations
        if found.status in (Status.MAX_ITER, Status.DIVERGED):
            self.unsettled.append(strength)
        few = arrays.size(self.x0) > LARGE
        self.kept = [*([] if few else self.kept[1 - KEPT :]), (found.state, strength, None)]
        return found.image

    def propose(self, strength: float, figures: Any) -> float | None:
        """A better strength than the first one, whose figures were just measured, if the judge can tell."""
        return None

    def warm(self, algorithm: Any) -> Any:
        """A start of ``algorithm``, for the measurement alone, from the last solve."""
        state, strength, item = self._nearest(algorithm.strength)
        return algorithm.restart(state, strength, self.item if item is None else item)

    def follow(self, other: Warm) -> None:
        """Start the next solve from the last states of another judge."""
        self.kept = [(state, strength, other.item) for state, strength, _ in other.kept]
        self.pace, self.noticed = other.pace, other.noticed

    def _nearest(self, strength: float) -> tuple[Any, float, int | None]:
        return min(self.kept, key=lambda kept: abs(math.log(kept[1] / strength)))


class _Settling:
    """Callback that ends a solve when the risk has settled.

    It looks at the mean of two iterates: those of splitting methods swing about their limit, and the risk with them.
    """

    def __init__(self, figures: Callable[[Array], Any], risk: Callable[[Any], tuple[float, float]], pace: int):
        self.fewest = 2 * FEWEST if pace == 0 else max(FEWEST, SHARE * pace)
        self.share = FIRST if pace == 0 else 1.0
        self.figures, self.risk = figures, risk  # of an image; risk and the least change of it that is noticed
        self.images: list[Array] = []  # the last two
        self.found: Any = None  # figures of their mean
        self.value = self.change = math.inf

    def __call__(self, state: Any, k: int) -> bool:
        self.images = [*self.images[-1:], state.x]
        self.found = None
        return k >= self.fewest - LOOK_EVERY and k % LOOK_EVERY == 0 and self._settled(k)

    def _settled(self, k: int) -> bool:
        risk, noticed = self.risk(self.result())
        change, before = abs(risk - self.value), self.change
        self.value, self.change = risk, change
        # Changes shrink by q a look; at first, when q is not known, slowly.
        q = min(change / before, SLOWEST) if math.isfinite(before) and before > 0 else UNKNOWN
        return k >= self.fewest and max(change * q / (1 - q), change) <= noticed * self.share

    def result(self) -> Any:
        """Figures at the end of the solve."""
        if self.found is None:
            self.found = self.figures(0.5 * (self.images[0] + self.images[-1]))
        return self.found


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
        self.measured: dict[float, _Figures] = {}  # by the logarithm of the strength
        self.count = measured_count(problem.operator, y)
        self.weights, probe, self.gain = _probe(problem, rng)
        self.filter: Any = None if isinstance(problem.noise, Poisson) else _to_image(problem)
        xp = arrays.namespace(y)
        super().__init__(problem, problem.operator, xp.stack([y, y + probe]), xp.stack([problem.x0] * 2))

    def measure(self, strength: float) -> _Figures:
        key = round(math.log(strength), 9)
        if key not in self.measured:
            settling = _Settling(self._figures, self._risk, self.pace)
            self.solve(strength, settling)
            self.measured[key] = settling.result()
        return self.measured[key]

    def _risk(self, figures: _Figures) -> tuple[float, float]:
        """Of one strength alone; and what change of it matters."""
        variance = self._variance(figures)
        self.noticed = SETTLED * self.problem.slack * 2 * variance * figures.image_divergence
        if not self.problem.sigma_known and self.filter is None:
            return _gcv(figures), self.noticed
        return figures.image_residual + 2 * variance * figures.image_divergence, self.noticed

    def _figures(self, images: Array) -> _Figures:
        fit, shifted = self.operator(images)
        misfit, response = self.problem.y - (fit + background(self.problem.noise)), shifted - fit
        residual, divergence = self._mean(misfit, self.weights * misfit), self._mean(self.gain, response)
        if self.filter is None:
            return _Figures(residual, divergence, residual, divergence)
        image_residual = self._mean(misfit, self._filtered(misfit))
        return _Figures(residual, divergence, image_residual, self._mean(self.gain, self._filtered(response)))

    def rank(self, tried: list[_Figures]) -> list[float]:
        gcv = [_gcv(f) for f in tried]
        best = tried[int(np.argmin(gcv))]
        self.divergence, self.level = best.divergence, _level(best)
        variance = self._variance(best)
        self.noticeable = NOTICEABLE * self.problem.slack * 2 * variance * best.image_divergence
        if not self.problem.sigma_known and self.filter is None:
            return gcv
        risks = [f.image_residual + 2 * variance * f.image_divergence for f in tried]
        if not self.problem.sigma_known and self.filter is not None:
            self.best = tried[int(np.argmin(risks))]
        return risks

    def propose(self, strength: float, figures: _Figures) -> float | None:
        """Where the prior would be in balance with the noise fitted: ``strength * prior(x) = BALANCE sigma^2 div``."""
        penalty = getattr(self.family, "penalty", None)
        if penalty is None or not figures.divergence < INTERPOLATES:
            return None
        fitted = BALANCE * self._variance(figures) * figures.divergence * self.count
        value = arrays.to_float(penalty(self.kept[-1][0].x[self.item]))
        return strength * fitted / value if value > 0 < fitted else None

    def _variance(self, figures: _Figures) -> float:
        if isinstance(self.problem.noise, Poisson):
            return 1.0
        return float(self.problem.noise.sigma**2) if self.problem.sigma_known else _level(figures) ** 2

    def _mean(self, a: Array, b: Array) -> float:
        return arrays.to_float(arrays.dot(a, b)) / self.count

    def _filtered(self, array: Array) -> Array:
        if callable(self.filter):
            return self.filter(array)
        return arrays.filter_fourier(array, self.filter, len(self.operator.in_shape))


def _gcv(figures: _Figures) -> float:
    """Generalised cross-validation; infinite where the data are interpolated, zero residual over zero."""
    if figures.divergence >= INTERPOLATES:
        return math.inf
    return figures.residual / (1 - figures.divergence) ** 2


def _level(figures: _Figures) -> float:
    """Noise level by the residual."""
    return math.sqrt(figures.residual / (1 - min(figures.divergence, INTERPOLATES)))


def _to_image(problem: Problem) -> Any:
    """Spectrum of ``(A A^H / |A|^2 + PASSED)^-1`` where the operator is a convolution, else None.

    Where it is not linear, the same by its derivative at the first guess, as a callable.
    """
    if is_nonlinear(problem.operator):
        return carried_to_image(problem.operator, problem.x0, PASSED)
    transfer = problem.operator.transfer()
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
    elif is_nonlinear(operator) and (telling := operator.informative(y)) is not None:
        sampled = max(int(telling.sum()), 1)
    return sampled * (2 if arrays.is_complex(y) else 1)


class _HeldOut(Warm):
    """Prediction of samples that the reconstruction was not shown.

    Each stands for those around it that were not measured: in the middle of k-space, where nearly all are, for hardly
    any. Pixels count alike.
    """

    def __init__(self, problem: Problem, rng: np.random.Generator):
        operator = problem.operator
        measured = np.broadcast_to(True if operator.sampling is None else operator.sampling, operator.out_shape)
        back = measured & (rng.random(operator.out_shape) < HELD_OUT)
        weights = back * (1.0 if operator.selects else _unseen_nearby(measured))
        self.back = arrays.asarray(weights**0.5, problem.y)
        alike = arrays.size(problem.y) // back.size * (2 if arrays.is_complex(problem.y) else 1)
        self.count = max(alike * float(weights.sum()), TINY)
        kept = operator.with_sampling(measured & ~back)
        super().__init__(problem, kept, problem.y * arrays.asarray(measured & ~back, problem.y), problem.x0)

    def measure(self, strength: float) -> float:
        settling = _Settling(
            self._figures, lambda risk: (risk, max(self.noticed, HELD_SETTLED * self.problem.slack * risk)), self.pace
        )
        self.solve(strength, settling)
        return settling.result()

    def propose(self, strength: float, figures: float) -> float | None:
        """Fewer samples want a stronger prior."""
        return strength * FACTOR

    def _figures(self, image: Array) -> float:
        fit = self.problem.operator(image) + background(self.problem.noise)
        misfit = (fit - self.problem.y) * self.back
        return arrays.to_float(arrays.dot(misfit, misfit)) / self.count

    def rank(self, tried: list[float]) -> list[float]:
        return tried


def _unseen_nearby(measured: np.ndarray) -> np.ndarray:
    """Samples not measured over samples measured, around each."""
    from scipy.ndimage import gaussian_filter

    share = gaussian_filter(measured.astype(np.float64), NEARBY, mode="nearest").clip(TINY, 1.0)
    return (1 - share) / share


class _SeenAndUnseen:
    """Risk of all that the operator could measure: predicted for the samples seen, held-out for the others."""

    def __init__(self, problem: Problem, seen: _Predicted, unseen: _HeldOut):
        self.seen, self.unseen = seen, unseen
        self.share = float(np.mean(problem.operator.sampling))

    @property
    def noticeable(self) -> float:
        return self.seen.noticeable

    def propose(self, strength: float, figures: tuple[_Figures, float]) -> float | None:
        return self.seen.propose(strength, figures[0])

    def measure(self, strength: float) -> tuple[_Figures, float]:
        seen = self.seen.measure(strength)
        self.unseen.follow(self.seen)
        return seen, self.unseen.measure(strength)

    def rank(self, tried: list[tuple[_Figures, float]]) -> list[float]:
        # Both estimates carry the same noise variance on top, so their weighted sum is the risk plus a constant.
        seen = self.seen.rank([figures for figures, _ in tried])
        return [self.share * r + (1 - self.share) * h for r, (_, h) in zip(seen, tried, strict=True)]


def natural_criterion(operator: Any, noise: Any, sigma_known: bool) -> str:
    """The criterion that suits how the operator measures.

    Predicted risk where it mixes the whole image, also held-out samples where it picks some: of pixels, of k-space.
    """
    predicted = "sure" if sigma_known or isinstance(noise, Poisson) else "gcv"
    if operator.sampling is None or bool(np.all(operator.sampling)):
        return predicted
    return "seen and unseen"
