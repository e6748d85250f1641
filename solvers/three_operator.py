"""Primal-dual splittings that take the data term by its gradient: no inverse of the operator, no dual of its size.

    minimise  f(x) + g(x) + sum_i h_i(K_i x),   f smooth with curvature L

    x    <- prox_{tau g}(x - tau grad f(x) - tau sum_i K_i^H p_i)
    p_i  <- prox_{sigma_i h_i*}(p_i + sigma_i K_i v)

    v = 2 x - x before                                                     (Condat-Vũ)
    v = 2 x - x before + tau (grad f(x before) - grad f(x))                (PD3O)

With ``sum_i sigma_i |K_i|^2 <= 1 / r`` the first converges for ``1/tau >= L/2 + 1/r``, the second for
``tau = r < 2/L``. Condat 2013; Vũ 2013; Yan 2018. The ratio r is balanced as in :mod:`solvers.primal_dual`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from solvers import _dual_terms as duals
from solvers import arrays
from solvers._dual_terms import Dual
from solvers.arrays import Array
from solvers.regularised import Regularised, is_constraint, require_curvature
from solvers.step_sizes import data_curvature


@dataclass(frozen=True, slots=True)
class ThreeOperatorState:
    """State of :class:`CondatVu` and :class:`PD3O`; tuples have one entry a term."""

    x: Array  # image
    p: tuple[Array, ...]  # dual variables
    Kp: Array  # sum_i K_i^H p_i
    gradient: Array  # of the data term at x
    ratio: float  # of primal and dual steps
    anchor: tuple[Array, tuple[Array, ...]]  # x and p when the ratio was last balanced


@dataclass(frozen=True, eq=False)
class _ThreeOperator(Regularised):
    def __post_init__(self) -> None:
        require_curvature(self)

    # What is cached below depends on the data and the prior alone: `at` shares it between strengths.

    @cached_property
    def _curvature(self) -> float:
        return max(data_curvature(self.data), 1e-30)

    @cached_property
    def _primal(self) -> Any:
        return duals.primal_of(self.prior)

    @cached_property
    def _duals(self) -> tuple[Dual, ...]:
        return duals.duals_of_prior(self.prior, self._primal)

    @cached_property
    def _shares(self) -> tuple[float, ...]:
        return duals.shares([dual.term.norm() for dual in self._duals])

    def _steps(self, ratio: float) -> tuple[float, float]:
        """The primal step, and what the shares are divided by for the dual ones."""
        raise NotImplementedError

    def _ahead(self, old: Array, x: Array, old_gradient: Array, gradient: Array, tau: float) -> Array:
        """``v``."""
        raise NotImplementedError

    def init(self, x0: Array) -> ThreeOperatorState:
        p = tuple(arrays.zeros(k.shape, k) for k in (dual.term.apply(x0) for dual in self._duals))
        ratio = 2.0 / self._curvature
        if p:
            ratio = duals.first_ratio(self.data, x0, self.data.operator.adjoint(self.data.y))
        return ThreeOperatorState(x0, p, arrays.zeros(x0.shape, x0), self.data.gradient(x0), ratio, (x0, p))

    def restart(self, state: ThreeOperatorState, strength: float, item: int | None = None) -> ThreeOperatorState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        if item is not None:
            p = tuple(pi[item] for pi in state.p)
            state = replace(state, x=state.x[item], p=p, gradient=state.gradient[item])
        p = duals.rescaled(self._duals, state.p, self.strength / strength)
        return replace(state, p=p, Kp=duals.adjoint_sum(self._duals, p, state.x), anchor=(state.x, p))

    def step(self, state: ThreeOperatorState, k: int) -> ThreeOperatorState:
        tau, r = self._steps(state.ratio)
        x = self._primal_step(arrays.axpy(-tau, state.gradient + state.Kp, state.x), tau)
        gradient = self.data.gradient(x)
        v = self._ahead(state.x, x, state.gradient, gradient, tau)
        p = tuple(
            dual.step(pi, dual.term.apply(v), s / r, self.strength)
            for dual, pi, s in zip(self._duals, state.p, self._shares, strict=True)
        )
        Kp = duals.adjoint_sum(self._duals, p, x)
        return self._balanced(ThreeOperatorState(x, p, Kp, gradient, state.ratio, state.anchor), k)

    def _primal_step(self, v: Array, tau: float) -> Array:
        if self._primal is None:
            return v
        return self._primal.prox(v, tau * (1.0 if is_constraint(self._primal) else self.strength))

    def _balanced(self, state: ThreeOperatorState, k: int) -> ThreeOperatorState:
        if not self._duals or k + 1 not in duals.BALANCE_AT:
            return state
        x, p = state.anchor
        ratio = duals.balanced_ratio(state.ratio, duals.size(state.x - x), duals.joint_size(state.p, p, self._shares))
        return replace(state, ratio=ratio, anchor=(state.x, state.p))


@dataclass(frozen=True, eq=False)
class CondatVu(_ThreeOperator):
    """Condat-Vũ splitting for ``data + strength * prior``.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. The data term has a bounded curvature; the prior needs ``terms()`` only.

    Raises
    ------
    ArgumentError
        The data term has no bound of its curvature (photon counts).

    References
    ----------
    L. Condat, "A primal-dual splitting method for convex optimization involving Lipschitzian, proximable and linear
    composite terms", J. Optim. Theory Appl. 158 (2013), algorithm 3.1.

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import from_matrix
    >>> from solvers import CondatVu, LeastSquares, solve
    >>> problem = CondatVu(LeastSquares(from_matrix(2 * np.eye(2)), np.array([1.0, -1.0])), NonNegative(), 1.0)
    >>> solve(problem, np.zeros(2)).image.round(3)
    array([0.5, 0. ])
    """

    def _steps(self, ratio: float) -> tuple[float, float]:
        return 1.0 / (0.5 * self._curvature + 1.0 / ratio), ratio

    def _ahead(self, old: Array, x: Array, old_gradient: Array, gradient: Array, tau: float) -> Array:
        return arrays.lincomb(2.0, x, -1.0, old)


@dataclass(frozen=True, eq=False)
class PD3O(_ThreeOperator):
    """Primal-dual three-operator splitting for ``data + strength * prior``: steps up to twice those of Condat-Vũ.

    Parameters
    ----------
    data, prior, strength
        See :class:`CondatVu`.

    Raises
    ------
    ArgumentError
        The data term has no bound of its curvature (photon counts).

    References
    ----------
    M. Yan, "A new primal-dual algorithm for minimizing the sum of three functions with a linear operator", J. Sci.
    Comput. 76 (2018).

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import from_matrix
    >>> from solvers import PD3O, LeastSquares, solve
    >>> problem = PD3O(LeastSquares(from_matrix(2 * np.eye(2)), np.array([1.0, -1.0])), NonNegative(), 1.0)
    >>> solve(problem, np.zeros(2)).image.round(3)
    array([0.5, 0. ])
    """

    def _steps(self, ratio: float) -> tuple[float, float]:
        tau = min(ratio, 1.9 / self._curvature)
        return tau, tau

    def _ahead(self, old: Array, x: Array, old_gradient: Array, gradient: Array, tau: float) -> Array:
        return arrays.axpy(tau, old_gradient - gradient, arrays.lincomb(2.0, x, -1.0, old))
