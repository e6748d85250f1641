"""ADMM whose image update is linearised: no linear system, one forward and one adjoint a step.

    minimise  g(x) + sum_i f_i(K_i x)

    x    <- prox_{mu g}(x - mu sum_i K_i^H (K_i x - z_i + u_i) / lambda_i)
    z_i  <- prox_{lambda_i f_i}(K_i x + u_i)
    u_i  <- u_i + K_i x - z_i,                          sum_i mu / lambda_i |K_i|^2 <= 1

Zhang, Burger and Osher 2011 (split inexact Uzawa); Parikh and Boyd 2014, section 4.4.2. The primal-dual hybrid gradient
of the dual problem; there the steps are balanced as here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from solvers import _dual_terms as duals
from solvers import arrays
from solvers._dual_terms import Dual
from solvers.arrays import Array
from solvers.regularised import Regularised, is_constraint


@dataclass(frozen=True, slots=True)
class LinearisedADMMState:
    """State of :class:`LinearisedADMM`; tuples have one entry a term."""

    x: Array  # image
    Kx: tuple[Array, ...]  # K_i x
    z: tuple[Array, ...]  # split variables, K_i x in the limit
    u: tuple[Array, ...]  # dual variables times lambda_i
    mu: float  # primal step; lambda_i is in proportion to it
    anchor: tuple[Array, tuple[Array, ...]]  # x and the dual variables when mu was last balanced


@dataclass(frozen=True, eq=False)
class LinearisedADMM(Regularised):
    """Linearised ADMM for ``data + strength * prior``.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. The data term need not be smooth; the prior needs ``terms()`` only.

    References
    ----------
    X. Zhang, M. Burger, S. Osher, "A unified primal-dual algorithm framework based on Bregman iteration", J. Sci.
    Comput. 46 (2011).

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import from_matrix
    >>> from solvers import LeastSquares, LinearisedADMM, solve
    >>> problem = LinearisedADMM(LeastSquares(from_matrix(2 * np.eye(2)), np.array([1.0, -1.0])), NonNegative(), 1.0)
    >>> solve(problem, np.zeros(2)).image.round(3)
    array([0.5, 0. ])
    """

    # What is cached below depends on the data and the prior alone: `at` shares it between strengths.

    @cached_property
    def _primal(self) -> Any:
        return duals.primal_of(self.prior)

    @cached_property
    def _duals(self) -> tuple[Dual, ...]:
        return (duals.dual_of_data(self.data), *duals.duals_of_prior(self.prior, self._primal))

    @cached_property
    def _shares(self) -> tuple[float, ...]:
        return duals.shares([dual.term.norm() for dual in self._duals])

    def init(self, x0: Array) -> LinearisedADMMState:
        Kx = tuple(dual.term.apply(x0) for dual in self._duals)
        u = tuple(arrays.zeros(k.shape, k) for k in Kx)
        mu = duals.first_ratio(self.data, x0, self.data.operator.adjoint(self.data.y))
        return LinearisedADMMState(x0, Kx, Kx, u, mu, (x0, u))

    def restart(self, state: LinearisedADMMState, strength: float, item: int | None = None) -> LinearisedADMMState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        if item is not None:
            Kx, z, u = (tuple(a[item] for a in group) for group in (state.Kx, state.z, state.u))
            state = replace(state, x=state.x[item], Kx=Kx, z=z, u=u)
        u = duals.rescaled(self._duals, state.u, self.strength / strength)
        return replace(state, u=u, anchor=(state.x, self._dual_variables(u, state.mu)))

    def step(self, state: LinearisedADMMState, k: int) -> LinearisedADMMState:
        mu = state.mu
        pull = [(s / mu) * (Kx - z + u) for s, Kx, z, u in zip(self._shares, state.Kx, state.z, state.u, strict=True)]
        x = self._primal_step(arrays.axpy(-mu, duals.adjoint_sum(self._duals, pull, state.x), state.x), mu)
        Kx = tuple(dual.term.apply(x) for dual in self._duals)
        z = tuple(
            dual.prox(Kxi + ui, (self.strength if dual.tunable else 1.0) * mu / s)
            for dual, Kxi, ui, s in zip(self._duals, Kx, state.u, self._shares, strict=True)
        )
        u = tuple(ui + Kxi - zi for ui, Kxi, zi in zip(state.u, Kx, z, strict=True))
        return self._balanced(LinearisedADMMState(x, Kx, z, u, mu, state.anchor), k)

    def _primal_step(self, v: Array, mu: float) -> Array:
        if self._primal is None:
            return v
        return self._primal.prox(v, mu * (1.0 if is_constraint(self._primal) else self.strength))

    def _dual_variables(self, u: tuple[Array, ...], mu: float) -> tuple[Array, ...]:
        """``u_i / lambda_i``."""
        return tuple((s / mu) * ui for s, ui in zip(self._shares, u, strict=True))

    def _balanced(self, state: LinearisedADMMState, k: int) -> LinearisedADMMState:
        """Bring mu to the ratio of the ways that image and dual variables have gone; those are kept."""
        if k + 1 not in duals.BALANCE_AT:
            return state
        x, before = state.anchor
        p = self._dual_variables(state.u, state.mu)
        mu = duals.balanced_ratio(state.mu, duals.size(state.x - x), duals.joint_size(p, before, self._shares))
        u = tuple((mu / state.mu) * ui for ui in state.u)
        return replace(state, u=u, mu=mu, anchor=(state.x, p))
