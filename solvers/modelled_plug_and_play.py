"""Plug-and-play restoration that knows what a product costs beside a denoising.

    d    <- (H + rho_k I)^-1 (A^H y + rho_k z - (A^H A + rho_k I) fit)
    fit  <- fit + t d,    t minimises 1/2 |A x - y|^2 + rho_k/2 |x - z|^2 along d;    H <- H with A^H A d
    z    <- D(fit, sigma_k), and some times more with fit + d for fit, which calls no operator
    x    <- z + answer (fit - z),    fit being that near z

The data step of :class:`solvers.DPIR` is one quasi-Newton step or a few from the last one, on a model of ``A^H A`` that
is exact along every direction measured so far (:class:`solvers.deflated_inverse.Directions`) and a convolution across
them: what the operator says that an impulse becomes on average (``mean_response``), or else the convolution that fits
best what was measured so far. Both cost no call. Where products are costly one of them serves several denoisings, where
denoisings are, several products serve one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.curvature_model import descended, measured_spectrum
from solvers.deflated_inverse import Directions, Filter, filter_of
from solvers.errors import ArgumentError
from solvers.plug_and_play import DPIR, FIRST_LEVEL
from solvers.problem_features import log_ratio
from solvers.validation import positive_float, positive_int

FLOOR, FLOOR_PERIODIC, FLOOR_MEASURED = 0.003, 0.4, 0.4
FEATURES = ("noise", "mean", "measured", "complex")
OUTPUTS = {"weight": 1.4, "level": 0.75}
"""Largest logarithms of learned factors of the strength and the last level."""


@dataclass(frozen=True, slots=True)
class ModelledDPIRState:
    """State of :class:`ModelledDPIR`."""

    x: Array  # image
    z: Array  # what the denoiser returned
    before: Array  # the one before
    start: Array  # where the run began
    first: float  # first level of the denoiser
    last: float  # its last level
    weight: float  # strength, times what is learned
    floor: float  # least eigenvalue of the model that is trusted, over its unit
    fit: Array  # image near z that explains the data
    Gfit: Array  # A^H A of it
    fitted: bool  # whether it is near the last z, or near the one before
    model: Filter  # of the data, across what was measured
    measured: Directions  # and along it


@dataclass(frozen=True, eq=False)
class ModelledDPIR(DPIR):
    """DPIR for operators without a closed form, in few operator calls or few denoisings.

    Parameters
    ----------
    data, prior, strength, level, length, first, momentum
        See :class:`DPIR`.
    schedule : callable, optional
        Features of the problem to logarithms of factors of the strength (``"weight"``) and the last level: a
        :class:`LearnedSchedule`. None leaves them as they are.
    floor : float, optional
        Least eigenvalue of the model that is trusted: over the largest where the response is given over twice the
        image, else over the mean. None takes one that suits what the model is.
    begin : int
        Conjugate gradient steps on the data before the first step; their directions are measured as well.
    memory : int
        Directions along which the model is exact.
    inner : int
        Denoisings for each data step; all but the first follow one on the model alone.
    products : int
        Quasi-Newton steps in each data step, a forward and an adjoint each.
    answer : float
        Share of the data step in the image, from 0 to 1; the rest is what the denoiser returned.

    Raises
    ------
    ArgumentError
        The data term is not plain least squares, or a number is out of its range.

    References
    ----------
    K. Zhang, Y. Li, W. Zuo, L. Zhang, L. Van Gool, R. Timofte, "Plug-and-play image restoration with deep denoiser
    prior", IEEE Trans. Pattern Anal. Mach. Intell. 44 (2022).

    Examples
    --------
    >>> from priors import NonLocalMeans, PlugAndPlay
    >>> from recon.operators import ParallelBeam
    >>> from solvers import LeastSquares, ModelledDPIR, unroll
    >>> A = ParallelBeam((16, 16), 12, spacing=1 / 16)
    >>> problem = ModelledDPIR(LeastSquares(A, A(np.ones((16, 16)))), PlugAndPlay(NonLocalMeans()), 1e-6, level=0.01)
    >>> bool(abs(unroll(problem, np.zeros((16, 16)), 8) - 1).mean() < 0.1)
    True
    """

    length: int = 2
    momentum: float = 0.8
    schedule: Callable[[Mapping[str, float]], Mapping[str, float]] | None = None
    floor: float | None = None
    begin: int = 1
    memory: int = 20
    inner: int = 4
    products: int = 1
    answer: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.floor is not None:
            positive_float("floor", self.floor)
        positive_int("begin", self.begin, minimum=0)
        positive_int("memory", self.memory)
        positive_int("inner", self.inner)
        positive_int("products", self.products)
        if not 0 <= self.answer <= 1:
            raise ArgumentError(
                f"answer is {self.answer}; expected a share from 0 to 1. Pass 0 for the denoised image."
            )

    @cached_property
    def _known(self) -> Filter | None:
        """The model that costs no call, or None."""
        operator = self.data.operator
        response = getattr(operator, "mean_response", lambda: None)()
        if response is None:
            return None
        spectrum = arrays.asarray(np.ascontiguousarray(np.fft.fftn(response).real), self._back)
        return filter_of(spectrum, tuple(operator.in_shape), self._back)

    def _model(self, measured: Directions) -> Filter:
        """The same, or what was measured says."""
        if self._known is not None or not measured.D:
            return self._known or self._flat
        spectrum = measured_spectrum(self.data.operator, list(zip(measured.D, measured.G, strict=True)), 0.0)
        return filter_of(spectrum, tuple(self.data.operator.in_shape), self._back)

    @cached_property
    def _flat(self) -> Filter:
        """Where nothing was measured."""
        shape = tuple(self.data.operator.in_shape)
        return filter_of(self.data.operator.norm() ** 2 + arrays.zeros(shape, self._back).real, shape, self._back)

    def _least(self, model: Filter) -> float:
        """The usual floor: a response over twice the image is near ``A^H A``, a periodic one is not."""
        if self.floor is not None:
            return self.floor
        periodic = model.grid == model.shape
        return (FLOOR_PERIODIC if self._known is not None else FLOOR_MEASURED) if periodic else FLOOR

    def init(self, x0: Array) -> ModelledDPIRState:  # type: ignore[override]
        """The state at ``x0``; a start of zeros costs no call."""
        x, Gx, pairs = descended(self.data.operator.gram, self._back, x0, self.begin)
        measured = Directions()
        for pair in pairs:
            measured = measured.learned(*pair, self.memory)
        model = self._model(measured)
        spread = arrays.to_float(arrays.norm(x - x.mean())) / math.sqrt(max(arrays.size(x), 1))
        factors = self._factors(model, spread)
        weight, last, floor = self.strength * factors["weight"], self.level * factors["level"], self._least(model)
        first = self.first if self.first is not None else FIRST_LEVEL * spread
        return ModelledDPIRState(x, x, x, x0, max(first, last), last, weight, floor, x, Gx, False, model, measured)

    def _factors(self, model: Filter, spread: float) -> dict[str, float]:
        """What the schedule makes of the problem; whatever it says, they can be computed with."""
        found = dict(self.schedule(self.features(model, spread))) if self.schedule is not None else {}
        return {name: math.exp(_bounded(found.get(name, 0.0), bound)) for name, bound in OUTPUTS.items()}

    def features(self, model: Filter, spread: float) -> dict[str, float]:
        """What the schedule is told: numbers free of units, which cost no operator call."""
        operator = self.data.operator
        seen = np.maximum(arrays.to_numpy(model.spectrum), 0.0)
        seen = seen / max(float(seen.max()), 1e-30)
        sampling = getattr(operator, "sampling", None)
        count = math.prod(operator.out_shape) * (1.0 if sampling is None else float(np.mean(sampling)))
        return {
            "noise": log_ratio(self.level, spread),
            "mean": log_ratio(float(seen.mean()), 1.0),
            "measured": log_ratio(count, math.prod(operator.in_shape)),
            "complex": float(arrays.is_complex(self._back)),
        }

    def restart(self, state: ModelledDPIRState, strength: float, item: int | None = None) -> ModelledDPIRState:  # type: ignore[override]
        """Begin afresh, from the same start."""
        return self.init(state.start if item is None else state.start[item])

    def step(self, state: ModelledDPIRState, k: int) -> ModelledDPIRState:  # type: ignore[override]
        first = self.inner * k
        state = state if state.fitted else self._fitted(state, first)
        state = self._denoised_from(state, state.fit, first)
        for i in range(first + 1, first + self.inner):
            z, rho, _ = self._ahead(state, i)
            state = self._denoised_from(state, state.fit + self._direction(state, z, rho), i)
        if self.answer == 0:
            return replace(state, x=state.z, fitted=False)
        state = self._fitted(state, first + self.inner)
        return replace(state, x=arrays.axpy(self.answer, state.fit - state.z, state.z))

    def _denoised_from(self, state: ModelledDPIRState, fit: Array, i: int) -> ModelledDPIRState:
        """Denoising ``i``."""
        return replace(state, z=self._denoised(fit, None, self._ahead(state, i)[2], i), before=state.z)

    def _fitted(self, state: ModelledDPIRState, i: int) -> ModelledDPIRState:
        """The data step near what denoisings led to."""
        z, rho, _ = self._ahead(state, i)
        for _ in range(self.products):
            state = self._measured(state, z, rho)
        return replace(state, fitted=True)

    def _ahead(self, state: ModelledDPIRState, i: int) -> tuple[Array, float, float]:
        """Where the last step led, the penalty and the variance that the denoiser is told."""
        share = min(i / max(self.inner * self.length - 1, 1), 1.0)
        variance = (state.first ** (1 - share) * state.last**share) ** 2
        z = state.z if self.momentum == 0 else arrays.axpy(self.momentum, state.z - state.before, state.z)
        return z, state.weight / variance, variance

    def _slope(self, state: ModelledDPIRState, z: Array, rho: float) -> Array:
        return arrays.axpy(rho, z - state.fit, self._back - state.Gfit)

    def _direction(self, state: ModelledDPIRState, z: Array, rho: float) -> Array:
        """From the last measured image to what the model of the data says near ``z``."""
        r = self._slope(state, z, rho)
        return state.measured.inverse(r, rho, lambda v: state.model.inverse(v, rho, state.floor))

    def _measured(self, state: ModelledDPIRState, z: Array, rho: float) -> ModelledDPIRState:
        """As far along the direction as the data say near ``z``."""
        d = self._direction(state, z, rho)
        Gd = self.data.operator.gram(d)
        curvature = arrays.dot(d, Gd) + rho * arrays.dot(d, d)
        if not arrays.to_float(curvature) > 0:
            return state
        t = arrays.dot(d, self._slope(state, z, rho)) / curvature
        fit, Gfit = arrays.axpy(t, d, state.fit), arrays.axpy(t, Gd, state.Gfit)
        measured = state.measured.learned(d, Gd, self.memory)
        return replace(state, fit=fit, Gfit=Gfit, model=self._model(measured), measured=measured)


def _bounded(logarithm: float, bound: float) -> float:
    """Within its bound; 0 where it is no number."""
    value = float(logarithm)
    return min(max(value, -bound), bound) if math.isfinite(value) else 0.0
