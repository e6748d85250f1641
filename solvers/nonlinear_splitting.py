"""Primal-dual hybrid gradient and linearised ADMM for nonlinear operators: no linear system, no second derivative.

    minimise  g(x) + f_0(F(x)) + sum_i f_i(K_i x)

with K_0 = F and K_0'(x) its derivative. The primal-dual hybrid gradient method,

    x    <- prox_{tau g}(x - tau sum_i K_i'(x)^H p_i)
    p_i  <- prox_{sigma_i f_i*}(p_i + sigma_i K_i(2 x - x before)),    sigma_i = s_i / tau

and linearised ADMM, its twin,

    x    <- prox_{mu g}(x - mu sum_i K_i'(x)^H (K_i(x) - z_i + u_i) / lambda_i),    lambda_i = mu / s_i
    z_i  <- prox_{lambda_i f_i}(K_i(x) + u_i)
    u_i  <- u_i + K_i(x) - z_i

with ``sum_i s_i |K_i'|^2 < 1`` at the image reached; the norm of the derivative is estimated anew a few times. Near a
solution at which the curvature of F is small against that of f_0, both converge (Valkonen 2014; Benning, Knoll,
Schoenlieb and Valkonen 2016). Elsewhere nothing is promised: Gauss-Newton methods are safer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from solvers import _dual_terms as duals
from solvers import arrays
from solvers._dual_terms import Dual
from solvers.arrays import Array
from solvers.regularised import Regularised, is_constraint

MARGIN = 1.1  # of the estimated norm: power iterations come from below, and the derivative changes
FIRST_POWERS, POWERS = 12, 4  # power iterations at the start, and from the last vector on


@dataclass(frozen=True, slots=True)
class NonlinearPDHGState:
    """State of :class:`NonlinearPDHG`; tuples have one entry a term."""

    x: Array  # image
    p: tuple[Array, ...]  # dual variables
    tau: float  # ratio of primal and dual steps
    shares: tuple[float, ...]  # the s_i
    steepest: Array  # direction in which the derivative gains most
    anchor: tuple[Array, tuple[Array, ...]]  # x and p when tau was last balanced


@dataclass(frozen=True, slots=True)
class NonlinearADMMState:
    """State of :class:`NonlinearADMM`; tuples have one entry a term."""

    x: Array  # image
    Kx: tuple[Array, ...]  # K_i(x)
    z: tuple[Array, ...]  # split variables, K_i(x) in the limit
    u: tuple[Array, ...]  # dual variables times lambda_i
    mu: float  # primal step
    shares: tuple[float, ...]  # the s_i
    steepest: Array  # direction in which the derivative gains most
    anchor: tuple[Array, tuple[Array, ...]]  # x and the dual variables when mu was last balanced


@dataclass(frozen=True, eq=False)
class _Linearised(Regularised):
    @cached_property
    def _primal(self) -> Any:
        return duals.primal_of(self.prior)

    @cached_property
    def _duals(self) -> tuple[Dual, ...]:
        return (duals.dual_of_data(self.data), *duals.duals_of_prior(self.prior, self._primal))

    def _measured(self, x: Array) -> tuple[Array, ...]:
        return tuple(dual.term.apply(x) for dual in self._duals)

    def _pulled(self, x: Array, p: tuple[Array, ...]) -> Array:
        """``sum_i K_i'(x)^H p_i``."""
        of_prior = (dual.term.adjoint(pi) for dual, pi in zip(self._duals[1:], p[1:], strict=True))
        return sum(of_prior, self.data.operator.vjp(x, p[0]))

    def _primal_step(self, v: Array, step: float) -> Array:
        if self._primal is None:
            return v
        return self._primal.prox(v, step * (1.0 if is_constraint(self._primal) else self.strength))

    def _shares(self, x: Array, v: Array, powers: int) -> tuple[tuple[float, ...], Array]:
        """The ``s_i``, and the direction in which the derivative at ``x`` gains most."""
        J, gain = self.data.operator.linearize(x), 0.0
        for _ in range(powers):
            v = v / max(arrays.to_float(arrays.norm(v)), 1e-30)
            v = J.adjoint(J(v))
            gain = arrays.to_float(arrays.norm(v)) ** 0.5
        norms = [dual.term.norm() for dual in self._duals[1:]]
        return duals.shares([MARGIN * gain, *norms]), v if gain > 0 else 1 + 0 * v

    def _first_shares(self, x0: Array) -> tuple[tuple[float, ...], Array]:
        signs = 2.0 * np.random.default_rng(0).integers(0, 2, tuple(x0.shape)) - 1.0
        return self._shares(x0, arrays.asarray(signs, x0) + 0 * x0, FIRST_POWERS)


@dataclass(frozen=True, eq=False)
class NonlinearPDHG(_Linearised):
    """Primal-dual hybrid gradient for ``data + strength * prior`` with a nonlinear operator.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. The data term needs the proximal map of its loss only; the prior ``terms()``.

    References
    ----------
    T. Valkonen, "A primal-dual hybrid gradient method for nonlinear operators with applications to MRI", Inverse
    Problems 30 (2014).

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import Saturation
    >>> from solvers import LeastSquares, NonlinearPDHG, solve
    >>> F = Saturation((2,), level=1.0)
    >>> solve(NonlinearPDHG(LeastSquares(F, F(np.array([0.5, -0.3]))), NonNegative(), 1.0), np.ones(2)).image.round(3)
    array([0.5, 0. ])
    """

    def init(self, x0: Array) -> NonlinearPDHGState:
        shares, steepest = self._first_shares(x0)
        Kx = self._measured(x0)
        p = (self.data.loss_gradient(Kx[0]), *(arrays.zeros(tuple(k.shape), k) for k in Kx[1:]))
        tau = duals.start_ratio(duals.size(x0), duals.size(p[0], shares[0]))
        return NonlinearPDHGState(x0, p, tau, shares, steepest, (x0, p))

    def restart(self, state: Any, strength: float, item: int | None = None) -> NonlinearPDHGState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        if item is not None:
            state = replace(state, x=state.x[item], p=tuple(a[item] for a in state.p), steepest=state.steepest[item])
        p = duals.rescaled(self._duals, state.p, self.strength / strength)
        return replace(state, p=p, anchor=(state.x, p))

    def step(self, state: NonlinearPDHGState, k: int) -> NonlinearPDHGState:
        x = self._primal_step(arrays.axpy(-state.tau, self._pulled(state.x, state.p), state.x), state.tau)
        ahead = self._measured(arrays.lincomb(2.0, x, -1.0, state.x))
        p = tuple(
            dual.step(pi, Kx, s / state.tau, self.strength)
            for dual, pi, Kx, s in zip(self._duals, state.p, ahead, state.shares, strict=True)
        )
        new = replace(state, x=x, p=p)
        return self._balanced(new) if k + 1 in duals.BALANCE_AT else new

    def _balanced(self, state: NonlinearPDHGState) -> NonlinearPDHGState:
        (x, p), shares = state.anchor, state.shares
        tau = duals.balanced_ratio(state.tau, duals.size(state.x - x), duals.joint_size(state.p, p, shares))
        shares, steepest = self._shares(state.x, state.steepest, POWERS)
        return replace(state, tau=tau, shares=shares, steepest=steepest, anchor=(state.x, state.p))


@dataclass(frozen=True, eq=False)
class NonlinearADMM(_Linearised):
    """Linearised ADMM for ``data + strength * prior`` with a nonlinear operator.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. The data term needs the proximal map of its loss only; the prior ``terms()``.

    References
    ----------
    M. Benning, F. Knoll, C.-B. Schoenlieb, T. Valkonen, "Preconditioned ADMM with nonlinear operator constraint",
    System Modeling and Optimization (2016).

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import Saturation
    >>> from solvers import LeastSquares, NonlinearADMM, solve
    >>> F = Saturation((2,), level=1.0)
    >>> solve(NonlinearADMM(LeastSquares(F, F(np.array([0.5, -0.3]))), NonNegative(), 1.0), np.ones(2)).image.round(3)
    array([0.5, 0. ])
    """

    def init(self, x0: Array) -> NonlinearADMMState:
        shares, steepest = self._first_shares(x0)
        Kx = self._measured(x0)
        u = tuple(arrays.zeros(tuple(k.shape), k) for k in Kx)
        mu = duals.start_ratio(duals.size(x0), duals.size(self.data.loss_gradient(Kx[0]), shares[0]))
        return NonlinearADMMState(x0, Kx, Kx, u, mu, shares, steepest, (x0, u))

    def restart(self, state: Any, strength: float, item: int | None = None) -> NonlinearADMMState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        if item is not None:
            Kx, z, u = (tuple(a[item] for a in group) for group in (state.Kx, state.z, state.u))
            state = replace(state, x=state.x[item], Kx=Kx, z=z, u=u, steepest=state.steepest[item])
        u = duals.rescaled(self._duals, state.u, self.strength / strength)
        return replace(state, u=u, anchor=(state.x, _divided(u, state.shares, state.mu)))

    def step(self, state: NonlinearADMMState, k: int) -> NonlinearADMMState:
        mu, shares = state.mu, state.shares
        off = tuple(Kx - z + u for Kx, z, u in zip(state.Kx, state.z, state.u, strict=True))
        pull = self._pulled(state.x, _divided(off, shares, mu))
        x = self._primal_step(arrays.axpy(-mu, pull, state.x), mu)
        Kx = self._measured(x)
        z = tuple(
            dual.prox(Kxi + ui, (self.strength if dual.tunable else 1.0) * mu / s)
            for dual, Kxi, ui, s in zip(self._duals, Kx, state.u, shares, strict=True)
        )
        u = tuple(ui + Kxi - zi for ui, Kxi, zi in zip(state.u, Kx, z, strict=True))
        new = replace(state, x=x, Kx=Kx, z=z, u=u)
        return self._balanced(new) if k + 1 in duals.BALANCE_AT else new

    def _balanced(self, state: NonlinearADMMState) -> NonlinearADMMState:
        """Bring mu to the ratio of the ways that image and dual variables have gone; those are kept."""
        x, before = state.anchor
        p = _divided(state.u, state.shares, state.mu)
        mu = duals.balanced_ratio(state.mu, duals.size(state.x - x), duals.joint_size(p, before, state.shares))
        shares, steepest = self._shares(state.x, state.steepest, POWERS)
        u = tuple((mu / s) * pi for s, pi in zip(shares, p, strict=True))
        return replace(state, u=u, mu=mu, shares=shares, steepest=steepest, anchor=(state.x, p))


def _divided(u: tuple[Array, ...], shares: tuple[float, ...], mu: float) -> tuple[Array, ...]:
    """``u_i / lambda_i``."""
    return tuple((s / mu) * ui for s, ui in zip(shares, u, strict=True))
