"""Methods for many views with priors: ordered subsets with momentum, and the stochastic primal-dual hybrid gradient.

Ordered subsets with momentum: on the separable quadratic surrogate D of the objective,

    x  <- P(v - D^-1 n grad f_s(v)),   v  <- x + (t - 1)/t' (x - x before)

Stochastic PDHG: of the duals of subsets and of the prior's terms, one drawn at random moves,

    x    <- prox_{T g}(x - T z~)
    p_i  <- prox_{S_i f_i*}(p_i + S_i A_i x),    dz = A_i^H (p_i - p_i before)
    z    <- z + dz,   z~ <- z + dz / probability_i

A step is one pass. Kim, Ramani and Fessler 2015; Chambolle, Ehrhardt, Richtárik and Schönlieb 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from solvers import _dual_terms as duals
from solvers import arrays
from solvers._dual_terms import Dual
from solvers._subsets import column_sums, count_at, parts_of, row_sums, usual_count
from solvers.arrays import Array
from solvers.optimised_gradient import next_momentum
from solvers.regularised import Regularised, SmoothRegularised, require_curvature
from solvers.step_sizes import data_curvature, term_curvature


@dataclass(frozen=True, slots=True)
class OrderedSubsetsState:
    """State of :class:`OrderedSubsets`."""

    x: Array  # image
    v: Array  # point where the next gradient is taken
    t: float  # momentum parameter


@dataclass(frozen=True, eq=False)
class OrderedSubsets(SmoothRegularised):
    """Ordered subsets with momentum, for smooth problems within bounds.

    Subsets are merged as the passes go on; what is left is accelerated gradient descent, which converges.

    Parameters
    ----------
    data, prior, strength
        See :class:`SmoothRegularised`; data term and prior have a bounded curvature.

    Raises
    ------
    ArgumentError
        The data term has no bound of its curvature (photon counts), or the prior no gradient.

    References
    ----------
    D. Kim, S. Ramani, J. A. Fessler, "Combining ordered subsets and momentum for accelerated X-ray CT image
    reconstruction", IEEE Trans. Med. Imaging 34 (2015).

    Examples
    --------
    >>> from priors import NonNegative, Tikhonov
    >>> from recon.operators import ParallelBeam
    >>> from solvers import LeastSquares, OrderedSubsets, unroll
    >>> A, square = ParallelBeam((8, 8), 24), np.pad(np.ones((4, 4)), 2)
    >>> problem = OrderedSubsets(LeastSquares(A, A(square)), Tikhonov() + NonNegative(), 1e-3)
    >>> bool(abs(unroll(problem, np.zeros((8, 8)), 30) - square).max() < 0.05)
    True
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        require_curvature(self)

    @cached_property
    def _subsets(self) -> int:
        return usual_count(self.data.operator)

    @cached_property
    def _levels(self) -> dict[int, tuple[Any, ...]]:
        return {self._subsets >> k: parts_of(self.data, self._subsets >> k) for k in range(self._subsets.bit_length())}

    @cached_property
    def _surrogates(self) -> tuple[Any, float]:
        """Diagonal bounds of the curvature of the data term, and of the prior."""
        operator = self.data.operator
        prior = sum(term_curvature(term, tuple(operator.in_shape)) for term in self._smooth_terms)
        if not getattr(operator, "nonnegative", False):
            return data_curvature(self.data), prior
        back = operator.adjoint(self.data.y)
        return self.data.curvature() * column_sums(operator, row_sums(operator, back)), prior

    def init(self, x0: Array) -> OrderedSubsetsState:
        x = self._project(x0)
        return OrderedSubsetsState(x=x, v=x, t=1.0)

    def step(self, state: OrderedSubsetsState, k: int) -> OrderedSubsetsState:
        count = count_at(k, self._subsets)
        x, v, t = state.x, state.v, state.t
        if count != count_at(max(k - 1, 0), self._subsets):
            v, t = x, 1.0  # momentum of other subsets
        data, prior = self._surrogates
        for part in self._levels[count]:
            gradient = arrays.axpy(float(count), part.gradient(v), self._prior_gradient(v))
            x_next = self._project(v - gradient / (data + self.strength * prior))
            moved = x_next - x
            t = 1.0 if arrays.to_float(arrays.dot(v - x_next, moved)) > 0 else t
            t_next = next_momentum(t)
            x, v, t = x_next, arrays.axpy((t - 1) / t_next, moved, x_next), t_next
        return OrderedSubsetsState(x, v, t)

    def _prior_gradient(self, x: Array) -> Array:
        gradient = arrays.zeros(x.shape, x)
        for term in self._smooth_terms:
            gradient = arrays.axpy(self.strength, term.adjoint(term.function.gradient(term.apply(x))), gradient)
        return gradient


@dataclass(frozen=True, slots=True)
class StochasticPDHGState:
    """State of :class:`StochasticPDHG`; tuples have one entry a dual: the subsets, then the terms of the prior."""

    x: Array  # image
    p: tuple[Array, ...]  # dual variables
    z: Array  # sum_i A_i^H p_i
    z_ahead: Array  # the same extrapolated
    tau: float  # ratio of primal and dual steps
    anchor: tuple[Array, tuple[Array, ...]]  # x and p when tau was last balanced


@dataclass(frozen=True, eq=False)
class StochasticPDHG(Regularised):
    """Stochastic PDHG: random subsets of the views, any prior, and the minimiser in the limit.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. The data term need not be smooth; the prior needs ``terms()`` only.
    rng : int or numpy.random.Generator
        Source of the order in which the subsets move.

    References
    ----------
    A. Chambolle, M. J. Ehrhardt, P. Richtárik, C.-B. Schönlieb, "Stochastic primal-dual hybrid gradient algorithm with
    arbitrary sampling and imaging applications", SIAM J. Optim. 28 (2018).

    Examples
    --------
    >>> from priors import NonNegative, TotalVariation
    >>> from recon.operators import ParallelBeam
    >>> from solvers import LeastSquares, StochasticPDHG, unroll
    >>> A, square = ParallelBeam((8, 8), 24), np.pad(np.ones((4, 4)), 2)
    >>> problem = StochasticPDHG(LeastSquares(A, A(square)), TotalVariation(2) + NonNegative(), 0.1)
    >>> bool(abs(unroll(problem, np.zeros((8, 8)), 40) - square).max() < 0.05)
    True
    """

    rng: Any = 0

    # What is cached below depends on the data and the prior alone: `at` shares it between strengths.

    @cached_property
    def _seed(self) -> int:
        return int(np.random.default_rng(self.rng).integers(2**31))

    @cached_property
    def _primal(self) -> Any:
        return duals.primal_of(self.prior, bounds_only=True)

    @cached_property
    def _subsets(self) -> int:
        return usual_count(self.data.operator)

    @cached_property
    def _duals(self) -> tuple[Dual, ...]:
        parts = parts_of(self.data, self._subsets)
        return (*map(duals.dual_of_data, parts), *duals.duals_of_prior(self.prior, self._primal))

    @cached_property
    def _probabilities(self) -> np.ndarray:
        """Half for the data and half for the prior, each in equal shares."""
        terms = len(self._duals) - self._subsets
        share = 0.5 if terms else 1.0
        return np.array([share / self._subsets] * self._subsets + [(1.0 - share) / max(terms, 1)] * terms)

    @cached_property
    def _metric(self) -> tuple[Any, tuple[Any, ...]]:
        """``d`` and ``s_i`` with ``|s_i^(1/2) A_i d^(1/2)|^2 < probability_i``."""
        pairs = [self._pair(dual) for dual in self._duals[: self._subsets]]
        typical = _mean(pairs[0][1])
        for dual in self._duals[self._subsets :]:
            pairs.append((typical / max(dual.term.norm(), 1e-30) ** 2, typical))
        bound: Any = 0.0
        for (_, column), probability in zip(pairs, self._probabilities, strict=True):
            bound = _larger(column / float(probability), bound)
        return duals.SAFETY / bound, tuple(s for s, _ in pairs)

    def _pair(self, dual: Dual) -> tuple[Any, Any]:
        """``s`` and a diagonal bound of ``A_i^H s A_i``."""
        operator = dual.term.operator
        separable = getattr(dual.term.function, "separable", True)
        if not (separable and getattr(operator, "nonnegative", False)):
            norm = max(operator.norm(), 1e-30)
            return 1.0 / norm, norm
        back = operator.adjoint(dual.term.function.y)
        rows = row_sums(operator, back)
        seen = arrays.namespace(rows).clip(rows, min=1e-3 * max(arrays.to_float(rows.max()), 1e-30))
        columns = operator.adjoint(1 + arrays.zeros(rows.shape, rows))
        least = 1e-3 * max(arrays.to_float(columns.max()), 1e-30)
        return 1 / seen, arrays.namespace(columns).clip(columns, min=least)

    def init(self, x0: Array) -> StochasticPDHGState:
        usable = duals.is_usable(self.data, x0)
        start = x0 if usable else duals.first_guess(self.data, self.data.operator.adjoint(self.data.y))
        p = tuple(arrays.zeros(k.shape, k) for k in (dual.term.apply(x0) for dual in self._duals))
        d, s = self._metric
        residuals = [dual.term.function.loss_gradient(dual.term.apply(start)) for dual in self._duals[: self._subsets]]
        zeros = [0.0 * r for r in residuals]
        tau = duals.start_ratio(duals.size(start, d), duals.joint_size(residuals, zeros, s[: self._subsets]))
        nothing = arrays.zeros(x0.shape, x0)
        return StochasticPDHGState(x0, p, nothing, nothing, tau, (x0, p))

    def restart(self, state: StochasticPDHGState, strength: float, item: int | None = None) -> StochasticPDHGState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        if item is not None:
            state = replace(state, x=state.x[item], p=tuple(pi[item] for pi in state.p))
        p = duals.rescaled(self._duals, state.p, self.strength / strength)
        z = duals.adjoint_sum(self._duals, p, state.x)
        return replace(state, p=p, z=z, z_ahead=z, anchor=(state.x, p))

    def step(self, state: StochasticPDHGState, k: int) -> StochasticPDHGState:
        d, s = self._metric
        x, p, z, ahead = state.x, list(state.p), state.z, state.z_ahead
        moves = max(round(self._subsets / self._probabilities[: self._subsets].sum()), 1)
        for i in np.random.default_rng([self._seed, k]).choice(len(p), size=moves, p=self._probabilities):
            x = self._primal_step(x - state.tau * d * ahead)
            dual = self._duals[i]
            before, p[i] = p[i], dual.step(p[i], dual.term.apply(x), s[i] / state.tau, self.strength)
            change = dual.term.adjoint(p[i] - before)
            z = z + change
            ahead = arrays.axpy(1.0 / float(self._probabilities[i]), change, z)
        return self._balanced(StochasticPDHGState(x, tuple(p), z, ahead, state.tau, state.anchor), k)

    def _primal_step(self, v: Array) -> Array:
        return v if self._primal is None else self._primal.prox(v, 1.0)

    def _balanced(self, state: StochasticPDHGState, k: int) -> StochasticPDHGState:
        if k + 1 not in duals.BALANCE_AT:
            return state
        (x, p), (d, s) = state.anchor, self._metric
        tau = duals.balanced_ratio(state.tau, duals.size(state.x - x, d), duals.joint_size(state.p, p, s))
        return replace(state, tau=tau, anchor=(state.x, state.p))


def _mean(columns: Any) -> float:
    return columns if isinstance(columns, float) else arrays.to_float(columns.mean())


def _larger(a: Any, b: Any) -> Any:
    """The larger of two, numbers or arrays."""
    if isinstance(a, float) and isinstance(b, float):
        return max(a, b)
    array, other = (a, b) if not isinstance(a, float) else (b, a)
    xp = arrays.namespace(array)
    return xp.clip(array, min=other) if isinstance(other, float) else xp.maximum(array, other)
