"""Proximal quasi-Newton: each operator call is spent on a direction, all else on a model of the data.

    d  <- argmin_d  <f'(x), d> + 1/2 <d, H d> + strength * g(x + d)       (inner steps of ADMM: no operator call)
    t  <- argmin_t  f(x + t d) + strength * g(x + t d)                     (exact: f is quadratic)
    x  <- x + t d;   H <- H with A^H A d                                   (one forward, one adjoint)

H is a convolution, from the response of ``A^H A`` at the centre of the image, updated to be exact along all directions
measured (:class:`solvers.curvature_model.CurvatureModel`). The first ones are those of conjugate gradients on the data.

Lee, Sun and Saunders 2014 (proximal Newton-type methods); Schnabel 1983 (several secants at once).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from solvers import arrays
from solvers._data_prox import require_least_squares
from solvers.admm import ADMM, ADMMState
from solvers.arrays import Array
from solvers.curvature_model import CurvatureModel, ModelInverse, descended, floored_spectrum
from solvers.errors import ArgumentError
from solvers.problem_features import log_ratio
from solvers.regularised import Regularised, is_constraint
from solvers.safeguard import finite
from solvers.validation import positive_float, positive_int

GOLDEN = 0.5 * (math.sqrt(5) - 1)
PATIENCE = 3  # steps in a row without a lower objective, at which ADMM takes over
SEARCHED = 4  # points at which the objective is looked at along a direction
REFRESH = 25  # steps after which A^H A x is computed afresh, before its rounding errors add up
MOST_STARTS = 12  # first steps of conjugate gradients
LONGEST = 2.0  # step along a direction
FEWEST, SLOWLY = 3, 3  # inner steps of the first step, and steps after which there is one more
FEATURES = (
    "mean", "evenness", "negative", "lower tenth", "median", "upper tenth", "reach", "measured", "penalty", "complex",
)  # fmt: skip
OUTPUTS = {"floor": 4.0, "start": 1.5}
"""Largest logarithms of learned factors."""
WILD = 20.0  # logarithm of a factor beyond which no schedule is followed


@dataclass(frozen=True, slots=True)
class ProximalNewtonState:
    """State of :class:`ProximalNewton`."""

    x: Array  # image
    Gx: Array  # A^H A x
    inner: ADMMState  # where the inner steps are: their split variables are those of the prior
    model: CurvatureModel  # of the data
    roughness: float  # strength times the prior, at x
    solved: ModelInverse | None = None  # the last inverse of the model, from which the next one follows
    failures: int = 0  # steps in a row that did not lower the objective
    classical: int | None = None  # step at which the model was given up for ADMM


class _Modelled(ADMM):
    """ADMM whose data are a model: ``right`` and ``solved`` give the x-update."""

    right: Any = None
    solved: Any = None

    @cached_property
    def _data_gram(self) -> Any:
        return None

    @cached_property
    def _factors(self) -> Any:
        return None

    @property
    def spectrum(self) -> Array:
        """Eigenvalues of the convolution at the frequencies in use."""
        assert self._spectra is not None  # the operators of the prior are convolutions
        return arrays.asarray(self._spectra[0], self._back)

    def of(self, right: Array, solved: Callable[[Array], Array]) -> _Modelled:
        """The same around another point."""
        other = copy.copy(self)
        object.__setattr__(other, "right", right)
        object.__setattr__(other, "solved", solved)
        return other

    def _solve_x(self, state: ADMMState) -> tuple[Array, Array | None]:
        total = self.right
        for bi, rho in zip(state.b, state.rho, strict=True):
            total = arrays.axpy(rho, bi, total)
        return self.solved(total), None

    def begin(self, x: Array) -> ADMMState:
        """The state at an image."""
        rho = self._first_penalties(x)
        starts = [split.start(x, self._step(split, r)) for split, r in zip(self._splits, rho, strict=True)]
        variables, b = zip(*starts, strict=True)
        return ADMMState(x, variables, b, rho, self._inverse(rho), None)


@dataclass(frozen=True, eq=False)
class ProximalNewton(Regularised):
    """Proximal quasi-Newton for least squares where operator calls are what costs.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. Least squares without weights; the operators of the prior's ``terms()`` are
        convolutions (total variation, wavelets, bounds).
    schedule : callable, optional
        Features of the problem to logarithms of factors of ``floor`` and ``start``: a
        :class:`LearnedSchedule`. None leaves them as they are.
    floor : float
        Least eigenvalue of the convolution that the model starts from, over the largest.
    start : int
        Conjugate gradient steps on the data before the first step; their directions are measured as well.
    inner : int
        Most inner steps, which call no operator; the first steps take fewer.
    memory : int
        Directions along which the model is exact.
    bound : int
        Steps after which ADMM goes on.

    Raises
    ------
    ArgumentError
        The data term is not plain least squares, the operator of a term of the prior is no convolution, or a number is
        out of range.

    Notes
    -----
    No step of the model raises the objective. Where several in a row do not lower it or one is not finite, ADMM goes on
    from there, as it does after ``bound`` steps. So whatever the schedule, the limit is the minimiser.

    References
    ----------
    J. D. Lee, Y. Sun, M. A. Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM J. Optim.
    24 (2014).

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import from_matrix
    >>> from solvers import LeastSquares, ProximalNewton, solve
    >>> data = LeastSquares(from_matrix(2 * np.eye(2)), np.array([1.0, -1.0]))
    >>> solve(ProximalNewton(data, NonNegative(), 1.0), np.zeros(2)).image.round(3)
    array([0.5, 0. ])
    """

    schedule: Callable[[Mapping[str, float]], Mapping[str, float]] | None = None
    floor: float = 0.02
    start: int = 3
    inner: int = 12
    memory: int = 8
    bound: int = 200

    def __post_init__(self) -> None:
        require_least_squares(self)
        positive_float("floor", self.floor)
        for name, least in (("start", 0), ("inner", 1), ("memory", 1), ("bound", 0)):
            positive_int(name, getattr(self, name), minimum=least)
        for term in self.prior.terms():
            if term.fourier_gram(tuple(self.data.operator.in_shape)) is None:
                raise ArgumentError(
                    f"prior is {self.prior!r}, one of whose operators is no convolution; ProximalNewton takes its "
                    "inner steps in Fourier space. Use ADMM or PDHG."
                )

    @cached_property
    def _inner(self) -> _Modelled:
        """The inner steps, around no point yet."""
        inner = _Modelled(self.data, self.prior, self.strength)
        for name in ("_back", "_impulse_response"):  # the two that cost operator calls
            inner.__dict__[name] = getattr(self._plain, name)
        shape = tuple(self.data.operator.in_shape)
        floor = self.floor * self._factors["floor"]
        inner.__dict__["_impulse_gram"] = floored_spectrum(inner._impulse_response, floor, shape)
        return inner

    @cached_property
    def _plain(self) -> ADMM:
        return ADMM(self.data, self.prior, self.strength)

    @cached_property
    def _factors(self) -> Mapping[str, float]:
        """What the schedule makes of the problem, as factors; whatever it says, they can be computed with."""
        found = dict(self.schedule(self.features)) if self.schedule is not None else {}
        return {name: math.exp(_tamed(found.get(name, 0.0))) for name in OUTPUTS}

    @cached_property
    def features(self) -> dict[str, float]:
        """What the schedule is told: numbers free of units, which cost no operator call beyond the model's."""
        inner, operator = self._plain, self.data.operator
        response = inner._impulse_response
        spectrum = np.fft.fftn(response).real
        seen = np.maximum(spectrum, 0.0)
        most, mean = max(float(seen.max()), 1e-30), float(seen.mean())
        sampling = getattr(operator, "sampling", None)
        count = math.prod(operator.out_shape) * (1.0 if sampling is None else float(np.mean(sampling)))
        penalty = float(np.mean(inner._first_penalties(inner._back)))
        middle = [float(np.quantile(seen, share)) for share in (0.1, 0.5, 0.9)]
        return {
            "mean": log_ratio(mean, most),
            "evenness": mean**2 / max(float(np.mean(seen**2)), 1e-30),
            "negative": float(np.abs(spectrum - seen).sum() / np.abs(spectrum).sum()),
            "lower tenth": log_ratio(middle[0], most),
            "median": log_ratio(middle[1], most),
            "upper tenth": log_ratio(middle[2], most),
            "reach": float(np.abs(response.flat[0]) ** 2 / (np.abs(response) ** 2).sum()),
            "measured": log_ratio(count, math.prod(operator.in_shape)),
            "penalty": log_ratio(penalty, most),
            "complex": float(arrays.is_complex(inner._back)),
        }

    def init(self, x0: Array) -> ProximalNewtonState:
        """The state at ``x0``; a start of zeros costs no call."""
        inner = self._inner
        model = CurvatureModel(inner.spectrum, inner._ndim)
        steps = min(round(self.start * self._factors["start"]), MOST_STARTS)
        x, Gx, pairs = descended(self.data.operator.gram, inner._back, x0, steps)
        model, begun = model.learned_all(pairs, self.memory), inner.begin(x)
        return ProximalNewtonState(x, Gx, begun, model, arrays.to_float(self.penalty(x)))

    def at(self, strength: float) -> Self:
        """The same problem at another strength. What was worked out once is shared, the model's start as well."""
        other = super().at(strength)
        for name in ("_inner", "_plain"):
            if name in other.__dict__:
                other.__dict__[name] = other.__dict__[name].at(strength)
        return other

    def restart(self, state: ProximalNewtonState, strength: float, item: int | None = None) -> ProximalNewtonState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one.

        What was measured of the data holds at every strength.
        """
        if state.classical is not None:
            return self.init(state.x if item is None else state.x[item])
        if item is not None and self.data.operator.sampling is not None:
            return self.init(state.x[item])  # a search may have kept samples back: other products
        x, Gx, model = state.x, state.Gx, state.model
        if item is not None:
            x, Gx, model = x[item], Gx[item], model.item(item)
        inner = self._inner.restart(state.inner, strength, item)
        return ProximalNewtonState(x, Gx, inner, model, arrays.to_float(self.penalty(x)))

    def step(self, state: ProximalNewtonState, k: int) -> ProximalNewtonState:
        if state.classical is None and k < self.bound:
            found = self._by_model(state, k)
            if found is not None:
                return found
        return self._by_admm(state, k)

    def _by_model(self, state: ProximalNewtonState, k: int) -> ProximalNewtonState | None:
        """A step of the model, or None where it fails, is not finite or has not lowered the objective for long."""
        try:
            inner, solved = self._minimised(state, k)
            d = self._feasible(inner.x) - state.x
            Gd = self.data.operator.gram(d)
            t, roughness = self._searched(state, d, Gd)
            x, Gx = arrays.axpy(t, d, state.x), arrays.axpy(t, Gd, state.Gx)
            if (k + 1) % REFRESH == 0:
                Gx = self.data.operator.gram(x)
            model = state.model.learned(d, Gd, self.memory)
            failures = 0 if t > 0 else state.failures + 1  # the inner steps go on: a better direction may follow
            found = ProximalNewtonState(x, Gx, inner, model, roughness, solved, failures)
        except (ArithmeticError, ValueError, RuntimeError):  # a singular matrix, from a schedule out of its mind
            return None
        return found if failures < PATIENCE and finite(found.x) and finite(found.inner) else None

    def _minimised(self, state: ProximalNewtonState, k: int) -> tuple[ADMMState, ModelInverse]:
        """The inner state after some steps on the model around the image."""
        right = state.model(state.x) - state.Gx + self._inner._back
        solved = state.model.inverse(state.inner.inverse, state.solved)
        inner, found = self._inner.of(right, solved), state.inner
        count = min(FEWEST + k // SLOWLY, self.inner)  # far from the minimum the model is not worth minimising well
        for i in range(count):
            balanced = i + 1 == count  # the model's inverse is that of the penalties of this step
            found = inner.step(found, k if balanced else 0)
        return found, solved

    def _searched(self, state: ProximalNewtonState, d: Array, Gd: Array) -> tuple[float, float]:
        """The step along a direction that lowers the objective most, or 0, and the prior's share of it there."""
        slope = arrays.to_float(arrays.dot(d, state.Gx - self._inner._back))
        curvature = arrays.to_float(arrays.dot(d, Gd))

        def rise(t: float) -> tuple[float, float, float]:
            roughness = arrays.to_float(self.penalty(arrays.axpy(t, d, state.x)))
            return t * slope + 0.5 * t * t * curvature + roughness - state.roughness, t, roughness

        longest = 1.0 if self._bounds else LONGEST
        low, high = 0.0, longest
        points = [rise(longest - GOLDEN * longest), rise(GOLDEN * longest)]
        best = min((0.0, 0.0, state.roughness), rise(1.0), *points)
        for _ in range(SEARCHED):
            left, right = points
            if left[0] <= right[0]:
                high = right[1]
                points = [rise(high - GOLDEN * (high - low)), left]
            else:
                low = left[1]
                points = [right, rise(low + GOLDEN * (high - low))]
            best = min(best, *points)
        return best[1], best[2]

    @cached_property
    def _bounds(self) -> tuple[Any, ...]:
        return tuple(term for term in self.prior.terms() if is_constraint(term.function))

    def _feasible(self, x: Array) -> Array:
        """The image within its constraints: between two such images the objective is finite."""
        for term in self._bounds:
            x = term.function.prox(x, 1.0) if term.operator is None else x
        return x

    def _by_admm(self, state: ProximalNewtonState, k: int) -> ProximalNewtonState:
        """A classical step, the first one from the image."""
        begun = self._plain.init(state.x) if state.classical is None else state.inner
        first = k if state.classical is None else state.classical
        inner = self._plain.step(begun, k - first)
        return ProximalNewtonState(inner.x, state.Gx, inner, state.model, 0.0, None, 0, first)


def _tamed(logarithm: Any) -> float:
    """A logarithm to follow; 0 where it is no number."""
    value = float(logarithm)
    return min(max(value, -WILD), WILD) if math.isfinite(value) else 0.0
