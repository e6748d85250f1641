"""Primal-dual hybrid gradient with adaptive step sizes.

    minimise  g(x) + sum_i f_i(K_i x)

    x    <- prox_{tau g}(x - tau * sum_i K_i^H p_i)
    p_i  <- prox_{sigma_i f_i*}(p_i + sigma_i K_i (2 x - x before))

Chambolle and Pock 2011; steps balanced as Goldstein, Li and Yuan 2015, on relative residuals.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.protocols import Term
from solvers.regularised import Regularised

ADAPT = 0.1  # first relative change of the steps; shrinks so that the changes are summable
ADAPT_DECAY = 0.95
IMBALANCE = 1.5
FIRST_STEP = 0.03


@dataclass(frozen=True, slots=True)
class PDHGState:
    """State of :class:`PDHG`; tuples have one entry a term."""

    x: Array  # image
    p: tuple[Array, ...]  # dual variables
    Kx: tuple[Array, ...]  # K_i x
    Kp: Array  # sum_i K_i^H p_i
    tau: float  # primal step
    adapt: float  # relative change the next balancing makes


@dataclass(frozen=True, eq=False)
class _Dual:
    """One term taken through its dual."""

    term: Term
    prox: Callable[[Array, float], Array]  # (v, step) -> prox of step * f
    tunable: bool  # whether the strength multiplies it
    norm: float  # upper bound of |K|


@dataclass(frozen=True, eq=False)
class PDHG(Regularised):
    """PDHG for ``data + strength * prior``.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. The data term need not be smooth; of the prior's ``terms()`` the first one without
        operator is taken in the primal step, the others through duals.
    norm : float, optional
        Upper bound of ``|A|``; None asks the operator.
    step_size : float, optional
        First primal step; balancing corrects it. None takes it from the sizes of image and residual.
    """

    norm: float | None = None
    step_size: float | None = None

    @cached_property
    def _primal(self) -> Any:
        return next((t.function for t in self.prior.terms() if t.operator is None), None)

    @cached_property
    def _duals(self) -> tuple[_Dual, ...]:
        operator = self.data.operator
        norm = self.norm if self.norm is not None else operator.norm()
        duals = [_Dual(Term(self.data, operator), self.data.loss_prox, False, norm)]
        for term in self.prior.terms():
            if term.function is not self._primal:
                duals.append(_Dual(term, term.function.prox, _is_tunable(term.function), term.norm()))
        return tuple(duals)

    def _weight(self, tunable: bool) -> float:
        return self.strength if tunable else 1.0

    def _sigma(self, dual: _Dual, tau: float) -> float:
        # sum_i tau sigma_i |K_i|^2 <= 1 certifies convergence; the terms share it equally.
        return 0.99 / (len(self._duals) * tau * dual.norm**2)

    def init(self, x0: Array) -> PDHGState:
        Kx = tuple(dual.term.apply(x0) for dual in self._duals)
        # At the solution the data's dual variable is the gradient of the loss; the others start from nothing.
        p = (self.data.loss_gradient(Kx[0]), *(arrays.zeros(k.shape, k) for k in Kx[1:]))
        Kp = self.data.operator.adjoint(p[0])
        tau = self.step_size if self.step_size is not None else self._first_step(x0, p[0])
        return PDHGState(x=x0, p=p, Kx=Kx, Kp=Kp, tau=tau, adapt=ADAPT)

    def _first_step(self, x0: Array, p: Array) -> float:
        """A fraction of the size of the image over that of the data's dual variable, in units of the norm."""
        norm = self._duals[0].norm
        image = _norm(x0) or _norm(self.data.operator.adjoint(self.data.y)) / norm**2
        ratio = image * norm / max(_norm(p), 1e-30)
        return FIRST_STEP * min(max(ratio, 1e-3), 1e3) / norm**2

    def restart(self, state: PDHGState, strength: float, item: int | None = None) -> PDHGState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        if item is not None:
            p, Kx = (tuple(a[item] for a in group) for group in (state.p, state.Kx))
            state = replace(state, x=state.x[item], p=p, Kx=Kx)
        ratio = self.strength / strength
        p = tuple(pi * ratio if d.tunable else pi for d, pi in zip(self._duals, state.p, strict=True))
        parts = [dual.term.adjoint(pi) for dual, pi in zip(self._duals, p, strict=True)]
        return replace(state, p=p, Kp=_total(parts), adapt=ADAPT)

    def step(self, state: PDHGState, k: int) -> PDHGState:
        tau = state.tau
        v = arrays.axpy(-tau, state.Kp, state.x)
        x = v if self._primal is None else self._primal.prox(v, tau * self._weight(_is_tunable(self._primal)))
        Kx, p, parts = [], [], []
        for dual, before, pi in zip(self._duals, state.Kx, state.p, strict=True):
            Kxi = dual.term.apply(x)
            extrapolated = arrays.lincomb(2.0, Kxi, -1.0, before)
            pi_new = _dual_prox(dual.prox, extrapolated, pi, self._sigma(dual, tau), self._weight(dual.tunable))
            Kx.append(Kxi)
            p.append(pi_new)
            parts.append(dual.term.adjoint(pi_new))
        new = PDHGState(x, tuple(p), tuple(Kx), _total(parts), tau, state.adapt)
        return self._balanced(state, new) if state.adapt > 1e-3 and k % 2 == 1 else new

    def _balanced(self, old: PDHGState, new: PDHGState) -> PDHGState:
        """Lengthen the primal step where the primal residual is the larger one, relative to the dual variables' size.

        Sizes are those of the variables times the norms: ``K x`` and ``K^H p`` themselves vanish at the solution.
        """
        primal = _norm(arrays.axpy(-1.0 / new.tau, new.x - old.x, new.Kp - old.Kp))
        dual_sq = size_sq = 0.0
        for dual, p1, p0, k1, k0 in zip(self._duals, new.p, old.p, new.Kx, old.Kx, strict=True):
            sigma = self._sigma(dual, new.tau)
            dual_sq += (_norm(arrays.axpy(-1.0 / sigma, p1 - p0, k1 - k0)) / dual.norm) ** 2
            size_sq += (_norm(p1) * dual.norm) ** 2
        primal /= max(math.sqrt(size_sq), 1e-30)
        dual_residual = math.sqrt(dual_sq) / max(_norm(new.x), 1e-30)
        if primal > IMBALANCE * dual_residual:
            return replace(new, tau=new.tau / (1 - new.adapt), adapt=new.adapt * ADAPT_DECAY)
        if dual_residual > IMBALANCE * primal:
            return replace(new, tau=new.tau * (1 - new.adapt), adapt=new.adapt * ADAPT_DECAY)
        return new


def _total(parts: list[Array]) -> Array:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _norm(x: Array) -> float:
    return arrays.to_float(arrays.norm(x))


def _is_tunable(function: Any) -> bool:
    return not getattr(function, "is_constraint", False)


def _dual_prox(
    prox: Callable[[Array, float], Array], extrapolated: Array, p: Array, sigma: float, weight: float
) -> Array:
    """``prox_{sigma (weight f)*}(p + sigma * extrapolated)`` by Moreau's identity."""
    v = arrays.axpy(sigma, extrapolated, p)
    return arrays.axpy(-sigma, prox(v * (1.0 / sigma), weight / sigma), v)
