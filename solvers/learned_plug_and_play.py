"""Plug-and-play restoration whose steps a learned schedule sets.

    v    <- z + momentum_k (z - z before)
    x    <- argmin 1/2 |A x - y|^2 + rho_k/2 |x - v|^2
    z    <- D(x, sigma_k)
    and once, at the end,    z <- z + answer (argmin 1/2 |A x - y|^2 + rho/2 |x - z|^2  -  z)

``rho_k = strength / sigma_k^2`` and ``sigma_k`` are those of Zhang et al. 2022 (DPIR) times learned factors: levels
that fall geometrically to that of the noise, but never below what noise the data step lets through,
``noise * gain(rho_k)`` with ``gain(rho)^2 = tr(A^H A (A^H A + rho)^-2) / n`` by one random probe: the denoiser is told
what it sees, whatever a schedule says. Where every pixel is measured with a gain of its own the noise differs from
place to place, and the denoiser sees the image in units of the noise there: ``z <- s D(x / s, sigma_k)``. Levels and
penalties are in a unit that grows where gains are small, so that dark places keep pace with bright ones. The momentum
and the share of the data in the answer are learned as well; there ``rho`` weighs the noise against what a denoiser
leaves. A schedule departs from what suits problems of any kind (``UNTAUGHT``): one for operators that see all, one for
the others. What it is told are ratios (:mod:`solvers.problem_features`): how much the operator sees, how large the
noise is, what detail of the measurement is more than noise, and after each step by how much the image misses the data
and what the denoiser removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from solvers import arrays
from solvers._data_prox import data_prox
from solvers._local_mean import local_mean
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.plug_and_play import in_position
from solvers.problem_features import detail, log_ratio, samples_a_pixel, spectral_moments
from solvers.regularised import require_strength
from solvers.splitting import TwoProximalMaps
from solvers.validation import positive_float, positive_int

OF_PROBLEM = (
    "seen", "evenness", "measured", "noise", "roughness", "start misfit", "amplification", "weakness", "curved",
    "uneven", "detail",
)  # fmt: skip
OF_RUN = ("share", "length", "misfit", "removed", "moved", "cosine", "passed")
FEATURES = OF_PROBLEM + OF_RUN
BLUNT = 4  # power whose mean stands for the larger of two levels
FIRST_LEVEL = 0.85  # over the standard deviation of the start; 49/255 for photographs
FIRST = 3.3  # first classical level over the last one, from a classical image on
UNEVEN, CLEAR = 0.33, 0.5
"""Power of the gain around a place to which its unit falls, where the logarithm (of ten) of the image's spread over the
last level is larger than that."""
FAINT = 1e-3  # squared gain, over the typical one, below which places are alike
AROUND = 4  # pixels on each side, over which the noise of a place is taken
LEFT = 0.37  # error of a denoised image over the level that its denoiser was told
BOUNDS = {"penalty": 6.0, "level": 3.0, "momentum": 1.1, "answer": 1.5}
"""Largest logarithms of the factors of penalty and level, largest momentum and share of the data in the answer."""
UNTAUGHT = {"penalty": 0.0, "level": -0.25, "momentum": 0.2, "answer": 0.0}
"""What schedules depart from. On 54 problems of nine families these constants came as near to the best classical run as
what had been learned on the other eight families from the classical steps on."""
UNTAUGHT_PARTIAL = {"penalty": -0.5, "level": -0.3, "momentum": 0.65, "answer": 0.3}
"""The same where there are fewer numbers than pixels: what is known has to spread."""
UNTAUGHT_EXACT = UNTAUGHT_PARTIAL | {"answer": 0.9}
"""The same where they are more exact than denoisers know."""
STOP = {"stop": 1.0}
"""The schedule may say also whether the next step is to be the last one: above ``SURE`` it is, late in the run."""
SURE = 0.5
LATE, CERTAIN = 0.65, 0.99
"""How far along the run is when it may be ended so, and above what value before: what is lost there is much."""
LEAST_STEPS = 4  # that are taken whatever it says


@dataclass(frozen=True, slots=True)
class LearnedDPIRState:
    """State of :class:`LearnedDPIR`."""

    x: Array  # image: what the denoiser returned
    before: Array  # the one before
    start: Array  # where the run began
    first: float  # first classical level of the denoiser
    fit: Array  # image nearest to the last one that explains the data
    problem: Mapping[str, float]  # features that stay
    run: Mapping[str, float]  # features of the last step
    finished: bool = False  # whether the schedule ended the run early: further steps do nothing


@dataclass(frozen=True, slots=True)
class Told:
    """What a step tells the denoiser."""

    fit: Array  # image to be denoised
    level: Any  # level of its noise
    passed: float  # level of the noise that the data step let through
    places: Any = 1.0  # level of the noise in each place over the typical one
    answer: Any = None  # share of a last data step in what is returned; None where more steps follow
    early: bool = False  # whether it is the last one by the schedule's own will


@dataclass(frozen=True, eq=False)
class LearnedDPIR(TwoProximalMaps):
    """Plug-and-play restoration in as few steps as a learned schedule needs.

    Parameters
    ----------
    data, prior, strength
        See :class:`DPIR`. The data term has a closed form.
    level : float
        Last level of the classical schedule, in the unit of the image.
    length : int
        Number of steps.
    noise : float
        Standard deviation of the noise in the data.
    schedule : callable
        Features to the logarithms of the factors of ``"penalty"`` and ``"level"``, the ``"momentum"`` and the share of
        the data in the ``"answer"``: a :class:`LearnedSchedule`. Zeros are the classical schedule. It may also say
        ``"stop"``: above 0.5 the next step is the last one, from two thirds of the way on; at 1 from the fourth on.
    first : float, optional
        First level of the classical schedule. None takes 0.85 times the standard deviation of the start.
    texture : float
        What the differences of neighbours in the start add to the first level, times this and in quadrature: where
        not all was measured the start is off by more than noise.
    turns : bool
        See :class:`DPIR`.
    data_noise : float, optional
        Standard deviation of the noise that the last data step takes the data to have: ``noise`` is not below what
        denoisers know, and data may be more exact. None takes ``noise``.
    between : Prior, optional
        Denoiser of all steps but the last: a quicker one, whose rounding the steps that follow take off. None takes
        ``prior``.

    Raises
    ------
    ArgumentError
        The data term is not plain least squares or has no closed form, or a number is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import NonLocalMeans, PlugAndPlay
    >>> from recon.operators import Identity
    >>> from solvers import LearnedDPIR, LearnedSchedule, LeastSquares, solve
    >>> from solvers.learned_plug_and_play import BOUNDS, FEATURES
    >>> y = np.ones((16, 16)) + 0.1 * np.random.default_rng(0).standard_normal((16, 16))
    >>> parts = LeastSquares(Identity((16, 16)), y), PlugAndPlay(NonLocalMeans()), 0.23 * 0.1**2
    >>> untrained = LearnedSchedule.untrained(FEATURES, BOUNDS)
    >>> problem = LearnedDPIR(*parts, level=0.1, noise=0.1, schedule=untrained)
    >>> bool(abs(solve(problem, y).image - 1).max() < 0.1)
    True
    """

    level: float = 0.01
    length: int = 8
    noise: float = 0.01
    schedule: Callable[[Mapping[str, float]], Mapping[str, Any]] = lambda features: {}
    first: float | None = None
    turns: bool = False
    texture: float = 0.0
    data_noise: float | None = None
    between: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_strength(self)
        positive_float("level", self.level)
        positive_float("noise", self.noise)
        positive_int("length", self.length)
        if self.first is not None:
            positive_float("first", self.first)
        if self.texture != 0:
            positive_float("texture", self.texture)
        if self.data_noise is not None:
            positive_float("data_noise", self.data_noise)
        if not getattr(self.data.operator, "has_solve_shifted", False):
            raise ArgumentError(
                f"the operator is {self.data.operator!r}, which has no closed form of the data step; expected one "
                "whose has_solve_shifted is True. Use DPIR."
            )

    @cached_property
    def _of_operator(self) -> dict[str, float]:
        """Features of the operator: the mean squared singular value; 1 where all are equal or 0; what is measured."""
        operator = self.data.operator
        first, second = spectral_moments(operator)
        evenness, measured = second / first if first > 0 else 0.0, min(samples_a_pixel(operator), 2.0)
        weakness = (1 - evenness) * measured  # what is measured, but faintly
        curved = float(getattr(operator, "curved", False))  # a nonlinear one, near an image
        uneven = (1 - curved) * (self._gains is not None)
        found = {"seen": first, "evenness": evenness, "measured": measured, "weakness": weakness}
        return found | {"curved": curved, "uneven": uneven}

    def init(self, x0: Array) -> LearnedDPIRState:
        spread = arrays.to_float(arrays.norm(x0 - x0.mean())) / math.sqrt(max(arrays.size(x0), 1))
        first = self.first if self.first is not None else FIRST_LEVEL * spread
        first = math.hypot(first, self.texture * _differences(x0))
        noise = log_ratio(self.level, _size(x0 - x0.mean()))
        problem = self._of_operator | {
            "noise": noise,
            # Singular values that are neither 0 nor the largest amplify noise, the more the less there is to stop it.
            "amplification": (1 - self._of_operator["evenness"]) * noise,
            "roughness": _roughness(x0),
            "start misfit": self._misfit(x0),
            "detail": detail(self.data.operator, self.data.y, self.noise),
        }
        first = max(first, self.level)
        passed = log_ratio(arrays.to_float(self._passed(self.strength / first**2)), first)
        run = {"misfit": problem["start misfit"], "removed": 0.0, "moved": 0.0, "cosine": 0.0, "passed": passed}
        return LearnedDPIRState(x0, x0, x0, first, x0, problem, run)

    def restart(self, state: Any, strength: float, item: int | None = None) -> Any:
        """Begin afresh, from the same start."""
        return self.init(state.start if item is None else state.start[item])

    def step(self, state: LearnedDPIRState, k: int) -> LearnedDPIRState:
        if state.finished:
            return state
        told = self.before_denoising(state, k)
        return self.after_denoising(state, self.denoised(told, k), told)

    def before_denoising(self, state: LearnedDPIRState, k: int) -> Told:
        """What step ``k`` tells the denoiser."""
        share, last, early = min(k / max(self.length - 1, 1), 1.0), k >= self.length - 1, False
        found = self._told_by_schedule(state, share)
        if not last and k >= LEAST_STEPS - 1 and found["stop"] > (SURE if share >= LATE else CERTAIN):
            share, last, early = 1.0, True, True
            found = self._told_by_schedule(state, share)
        classical = state.first ** (1 - share) * self.level**share
        penalty = self.strength / classical**2 * arrays.exp(found["penalty"])
        v = state.x + found["momentum"] * (state.x - state.before)
        wanted, answer = classical * arrays.exp(found["level"]), found["answer"] if last else None
        if self._gains is not None:
            told = self._told_in_units(v, wanted, penalty, self._units(self._gains, state.problem["noise"]))
            return replace(told, answer=answer, early=early)
        fit, passed = data_prox(self.data, self._back, v, 1.0 / penalty, state.fit), self._passed(penalty)
        return Told(fit, _larger(wanted, passed), arrays.to_float(passed), 1.0, answer, early)

    def _told_in_units(self, v: Array, wanted: Any, penalty: Any, units: Array) -> Told:
        """What a step tells where each pixel has a gain and a unit of its own."""
        penalty = penalty / units**2
        around = self._passed_around(penalty)
        levels = _larger(wanted * units, around)
        level, passed = (_root_mean_square(a) for a in (levels, around))
        fit = (self._back + penalty * v) / (self._gains + penalty)
        return Told(fit, level, arrays.to_float(passed), levels / level)

    def _units(self, squares: Array, noise: float) -> Array:
        """Unit of each place, in which levels and penalties are even: larger where gains are small.

        Places that say little take as few steps as others then. Where the image is faint beside the noise, units are
        one: what denoisers leave there grows with the level that they are told.
        """
        typical = arrays.to_float(squares.max() * squares.mean()) ** 0.5
        power = UNEVEN * min(max(-noise / CLEAR, 0.0), 1.0)
        units = (local_mean(squares, AROUND) / typical + FAINT) ** (-power / 2)
        return units / _root_mean_square(units) ** 0.5

    def _told_by_schedule(self, state: LearnedDPIRState, share: float) -> dict[str, Any]:
        """Parameters of a step so far along."""
        place = {"share": share, "length": 1.0 / self.length}
        return _bounded(self.schedule({**state.problem, **state.run, **place}), self.untaught)

    @property
    def untaught(self) -> dict[str, float]:
        """Parameters of every step where nothing was learned."""
        if self._of_operator["measured"] >= 1:
            return UNTAUGHT
        exact = self.data_noise is not None and self.data_noise < self.noise
        return UNTAUGHT_EXACT if exact else UNTAUGHT_PARTIAL

    def denoised(self, told: Told, k: int) -> Array:
        """What the denoiser makes of it."""
        even, variance = told.fit / told.places, told.level**2
        prior = self.prior if told.answer is not None or self.between is None else self.between
        if self.turns:
            x = in_position(lambda turned: prior.prox(turned, variance), even, k % 8)
        else:
            x = prior.prox(even, variance)
        return x * told.places

    def after_denoising(self, state: LearnedDPIRState, x: Array, told: Told) -> LearnedDPIRState:
        """The state with the denoised image."""
        if told.answer is not None:
            step = (LEFT * told.level / (self.data_noise or self.noise)) ** 2
            x = x + told.answer * (data_prox(self.data, self._back, x, step, told.fit) - x)
        run = self._run(state, x, told.fit, arrays.to_float(told.level), told.passed)
        return LearnedDPIRState(x, state.x, state.start, state.first, told.fit, state.problem, run, told.early)

    @cached_property
    def _probe(self) -> Array:
        """``A^H`` of white noise of level 1, in the real and the imaginary part."""
        return self.data.operator.adjoint(arrays.asarray(self._signs, self.data.y))

    @cached_property
    def _signs(self) -> np.ndarray:
        return random_signs(self.data.operator.out_shape, arrays.is_complex(self.data.y))

    def _passed(self, penalty: Any) -> Any:
        """Level of the noise that a data step lets through."""
        seen = self.data.operator.solve_shifted(self._probe, penalty)
        count = arrays.size(seen) * (2 if arrays.is_complex(seen) else 1)
        return self.noise * arrays.norm(seen) / math.sqrt(count)

    @cached_property
    def _gains(self) -> Array | None:
        """Squared gain of each pixel, where every one is measured and they differ."""
        operator = self.data.operator
        squares = operator.diagonal_gram() if operator.sampling is None else None
        return None if squares is None or squares.min() == squares.max() else arrays.asarray(squares, self._back)

    def _passed_around(self, penalty: Any) -> Array:
        """Level of the noise that a data step lets through, place by place."""
        gains = self._gains
        return self.noise * local_mean(gains / (gains + penalty) ** 2, AROUND) ** 0.5

    def _run(self, state: LearnedDPIRState, x: Array, fit: Array, level: float, passed: float) -> dict[str, float]:
        """Features of a step: the misfit over the noise; what was removed, moved and let through over the level."""
        change, last = x - state.x, state.x - state.before
        lengths = arrays.to_float(arrays.norm(change)) * arrays.to_float(arrays.norm(last))
        return {
            "misfit": self._misfit(x),
            "removed": log_ratio(_size(x - fit), level),
            "moved": log_ratio(_size(change), level),
            "passed": log_ratio(passed, level),
            "cosine": arrays.to_float(arrays.dot(change, last)) / lengths if lengths > 0 else 0.0,
        }

    def _misfit(self, x: Array) -> float:
        """Logarithm of the misfit over the noise."""
        residual = self.data.operator(x) - self.data.y
        sampling = getattr(self.data.operator, "sampling", None)
        share = 1.0 if sampling is None else max(float(sampling.mean()), 1e-30)
        return log_ratio(_size(residual) / math.sqrt(share), self.noise)


def random_signs(shape: tuple[int, ...], in_both_parts: bool) -> np.ndarray:
    """White noise of level 1; the same for every call."""
    rng = np.random.default_rng(0)
    real, *imaginary = (2.0 * rng.integers(0, 2, shape) - 1.0 for _ in range(1 + in_both_parts))
    return real + 1j * imaginary[0] if imaginary else real


def _bounded(found: Mapping[str, Any], untaught: Mapping[str, float]) -> dict[str, Any]:
    """The parameters within their bounds, untaught where they are no numbers; tensors are those of a training."""
    bounded = {}
    for name, bound in (BOUNDS | STOP).items():
        value, usual = found.get(name, 0.0), untaught.get(name, 0.0)
        if arrays.is_torch(value):
            value = usual + value
        else:
            value = min(max(usual + float(value), -bound), bound) if math.isfinite(value) else usual
        bounded[name] = value
    return bounded


def _larger(a: Any, b: Any) -> Any:
    """The larger of two levels, and a little more where they are alike."""
    return (a**BLUNT + b**BLUNT) ** (1 / BLUNT)


def _size(x: Array) -> float:
    """Root mean square, that of the real and the imaginary part for complex arrays."""
    count = arrays.size(x) * (2 if arrays.is_complex(x) else 1)
    return arrays.to_float(arrays.norm(x)) / math.sqrt(max(count, 1))


def _root_mean_square(x: Array) -> Any:
    """Of real numbers; tensors keep their gradients."""
    return (x**2).mean() ** 0.5


def _roughness(x: Array) -> float:
    """Logarithm of the differences of neighbours over the spread: fine texture or large smooth parts."""
    return log_ratio(_differences(x), _size(x - x.mean()))


def _differences(x: Array) -> float:
    """Root mean square of the differences of neighbours."""
    found = [x[..., 1:, :] - x[..., :-1, :] if x.ndim > 1 else x[:0], x[..., 1:] - x[..., :-1]]
    sizes = [_size(d) for d in found if arrays.size(d)]
    return math.sqrt(sum(size**2 for size in sizes) / len(sizes)) if sizes else 0.0
