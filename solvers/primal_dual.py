"""Primal-dual hybrid gradient with steps that fit the problem.

    minimise  g(x) + sum_i f_i(K_i x)

    x    <- prox_{T g}(w - T sum_i K_i^H p_i)                          T = tau d
    p_i  <- prox_{S_i f_i*}(p_i + S_i K_i (2 x - w))                   S_i = s_i / tau
    w, p <- relaxed beyond x and the new p

d and s_i certify convergence for every tau: ``sum_i |s_i^(1/2) K_i d^(1/2)|^2 <= 1``. They are norms, or where the
operator is non-negative its sums over rows and columns, one for each sample and pixel. Where the normal operator has a
closed form, the data stay in g and their update is exact.

Chambolle and Pock 2011 (with their algorithm 2 for strongly convex g); preconditioning: Pock and Chambolle 2011;
relaxation: Condat 2013; tau as the ratio of the ways that image and dual variables have gone: Applegate et al. 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from solvers import _dual_terms as duals
from solvers import arrays
from solvers._dual_terms import Dual
from solvers.arrays import Array
from solvers.problem_features import log_ratio
from solvers.regularised import Regularised, is_constraint

MOST_RELAXED = 1.99  # steps of learned relaxation
FLOOR = 1e-3  # of sums over rows and columns, relative to the largest


@dataclass(frozen=True, slots=True)
class PDHGState:
    """State of :class:`PDHG`; tuples have one entry a term."""

    x: Array  # image
    w: Array  # relaxed image, from which the next step goes on
    p: tuple[Array, ...]  # dual variables, relaxed
    Kw: tuple[Array, ...]  # K_i w
    Kp: Array  # sum_i K_i^H p_i
    tau: float  # ratio of primal and dual steps
    anchor: tuple[Array, tuple[Array, ...]]  # w and p when tau was last balanced


@dataclass(frozen=True, eq=False)
class PDHG(Regularised):
    """PDHG for ``data + strength * prior``.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. The data term need not be smooth, and the prior needs ``terms()`` only.
    norm : float, optional
        Upper bound of ``|A|``, which then takes the place of sums over rows and columns. None asks the operator.
    step_size : float, optional
        ``tau``, kept. None starts from the sizes of image and residual and balances it.
    relaxation : float
        Over-relaxation in [1, 2).
    accelerate : bool
        Shrink the primal steps as strong convexity of the data allows (identity, well-conditioned closed forms). That
        bounds the error by ``1/k^2``; balanced steps were mostly faster where we measured.
    """

    norm: float | None = None
    step_size: float | None = None
    relaxation: float = 1.8
    accelerate: bool = False

    # What is cached below depends on the data and the prior alone: `at` shares it between strengths.

    @cached_property
    def _exact(self) -> bool:
        """Whether the data are minimised in the primal step."""
        operator = self.data.operator
        return self.norm is None and self.data.quadratic and bool(getattr(operator, "has_solve_shifted", False))

    @cached_property
    def _primal(self) -> Any:
        """The function of the image itself that is taken in the primal step, or None."""
        return None if self._exact else duals.primal_of(self.prior, bounds_only=self._by_sums)

    @cached_property
    def _by_sums(self) -> bool:
        operator = self.data.operator
        separable = getattr(self.data, "separable", True) and getattr(operator, "nonnegative", False)
        return self.norm is None and not self._exact and bool(separable)

    @cached_property
    def _duals(self) -> tuple[Dual, ...]:
        of_prior = duals.duals_of_prior(self.prior, self._primal)
        return of_prior if self._exact else (duals.dual_of_data(self.data), *of_prior)

    @cached_property
    def _metric(self) -> tuple[Any, tuple[Any, ...]]:
        """``d`` and the ``s_i``."""
        if self._by_sums:
            return self._metric_of_sums()
        return 1.0, duals.shares([self._norm_of(dual) for dual in self._duals])

    def _norm_of(self, dual: Dual) -> float:
        return self.norm if self.norm is not None and dual.term.function is self.data else dual.term.norm()

    def _metric_of_sums(self) -> tuple[Array, tuple[Any, ...]]:
        """``|S^(1/2) A x|^2 <= sum_j columns_j x_j^2`` for S the inverse sums of rows; a norm adds to every column."""
        operator = self.data.operator
        columns = _floored(operator.adjoint(1 + arrays.zeros(operator.out_shape, self._back)))
        rows = _floored(operator(1 + arrays.zeros(operator.in_shape, self._back)))
        norms = [dual.term.norm() for dual in self._duals[1:]]
        share = arrays.to_float(columns.mean())  # the terms of the prior together weigh as much as the data
        d = duals.SAFETY / (columns + (share if norms else 0.0))
        return d, (1 / rows, *(share / (len(norms) * max(norm, 1e-30) ** 2) for norm in norms))

    @cached_property
    def _back(self) -> Array:
        """``A^H y``: an image of the kind and dtype that the iterates have."""
        return self.data.operator.adjoint(self.data.y)

    @cached_property
    def _convexity(self) -> float:
        """Strong convexity of the data in the primal step."""
        if not (self.accelerate and self._exact):
            return 0.0
        operator = self.data.operator
        gram = operator.diagonal_gram()
        gram = operator.fourier_gram() if gram is None else gram
        return 0.0 if gram is None else max(float(gram.min()), 0.0)

    def init(self, x0: Array) -> PDHGState:
        Kx = tuple(dual.term.apply(x0) for dual in self._duals)
        p = tuple(arrays.zeros(k.shape, k) for k in Kx)
        Kp = arrays.zeros(x0.shape, x0)
        if not self._exact and duals.is_usable(self.data, x0):
            # At the solution the data's dual variable is the gradient of the loss; the others start from nothing.
            p = (self.data.loss_gradient(Kx[0]), *p[1:])
            Kp = self.data.operator.adjoint(p[0])
        tau = self.step_size if self.step_size is not None else self._first_step(x0)
        return PDHGState(x=x0, w=x0, p=p, Kw=Kx, Kp=Kp, tau=tau, anchor=(x0, p))

    def _first_step(self, x0: Array) -> float:
        """From the sizes, in the metric, of the image and of the dual variable that a first guess gives."""
        if self._exact:
            return duals.first_ratio(self.data, x0, self._back)
        d, s = self._metric
        x = x0 if duals.is_usable(self.data, x0) else duals.first_guess(self.data, self._back)
        residual = self.data.loss_gradient(self.data.operator(x))
        return duals.start_ratio(duals.size(x, d), duals.size(residual, s[0]))

    def restart(self, state: PDHGState, strength: float, item: int | None = None) -> PDHGState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        if item is not None:
            p, Kw = (tuple(a[item] for a in group) for group in (state.p, state.Kw))
            state = replace(state, x=state.x[item], w=state.w[item], p=p, Kw=Kw)
        p = duals.rescaled(self._duals, state.p, self.strength / strength)
        return replace(state, p=p, Kp=duals.adjoint_sum(self._duals, p, state.w), anchor=(state.w, p))

    def step(self, state: PDHGState, k: int) -> PDHGState:
        return self.led(state, k, {})

    def led(self, state: PDHGState, k: int, factors: Mapping[str, Any]) -> PDHGState:
        """A step with other parameters; what is balanced is the classical tau.

        ``factors`` may hold logarithms of factors of tau, ``"pace"``, and of one over the distance of the
        ``"relaxation"`` from 2.
        """
        tau, (d, s) = state.tau * arrays.exp(factors.get("pace", 0.0)), self._metric
        x = self._primal_step(state.w - tau * d * state.Kp, tau)
        theta = 1.0 / (1.0 + 2.0 * self._convexity * tau) ** 0.5 if self._convexity > 0 else 1.0
        Kx, p = [], []
        for dual, Kwi, pi, si in zip(self._duals, state.Kw, state.p, s, strict=True):
            Kx.append(dual.term.apply(x))
            extrapolated = arrays.lincomb(1.0 + theta, Kx[-1], -theta, Kwi)
            p.append(dual.step(pi, extrapolated, si / (tau * theta), self.strength))
        Kp = duals.adjoint_sum(self._duals, p, x)
        if self._convexity > 0:
            return PDHGState(x, x, tuple(p), tuple(Kx), Kp, state.tau * theta, state.anchor)
        relaxation = self.relaxation
        if "relaxation" in factors:
            relaxation = min(max(2 - (2 - relaxation) * arrays.exp(-factors["relaxation"]), 1.0), MOST_RELAXED)
        return self._balanced(self._relaxed(state, x, p, Kx, Kp, relaxation), k)

    def features(self, state: PDHGState) -> dict[str, float]:
        """What a learned schedule is told of a state: numbers free of units, which cost no call of the operator."""
        image, dual = self._ways(state, *state.anchor)
        misfit = 0.0
        if not self._exact:
            sizes = (arrays.to_float(arrays.norm(a)) for a in (state.Kw[0] - self.data.y, self.data.y))
            misfit = log_ratio(*sizes)
        return {
            "balance": log_ratio(image, dual * arrays.to_float(state.tau)),
            "misfit": misfit,
            "exact": float(self._exact),
            "by sums": float(self._by_sums),
        }

    def change(self, before: PDHGState, after: PDHGState) -> float:
        """Size of a step: the least over tau of ``(|image|^2 / tau + tau |dual|^2)^(1/2)``, which is that of no tau."""
        image, dual = self._ways(after, before.w, before.p)
        return math.sqrt(2 * image * dual)

    def _ways(self, state: PDHGState, w: Array, p: tuple[Array, ...]) -> tuple[float, float]:
        """How far image and dual variables are from others."""
        d, s = self._metric
        return duals.size(state.w - w, d), duals.joint_size(state.p, p, s)

    def paced(self, state: PDHGState, factor: float) -> PDHGState:
        """The state with ``factor`` times as long a primal step, and a dual one as much shorter."""
        return replace(state, tau=factor * state.tau)

    def _primal_step(self, v: Array, tau: float) -> Array:
        if self._exact:
            return self.data.operator.solve_shifted(arrays.axpy(1.0 / tau, v, self._back), 1.0 / tau)
        if self._primal is None:
            return v
        return self._primal.prox(v, tau * (1.0 if is_constraint(self._primal) else self.strength))

    def _relaxed(
        self, old: PDHGState, x: Array, p: list[Array], Kx: list[Array], Kp: Array, relaxation: Any
    ) -> PDHGState:
        def beyond(before: Array, new: Array) -> Array:
            return arrays.lincomb(relaxation, new, 1 - relaxation, before)

        relaxed_p = tuple(map(beyond, old.p, p))
        return PDHGState(
            x, beyond(old.w, x), relaxed_p, tuple(map(beyond, old.Kw, Kx)), beyond(old.Kp, Kp), old.tau, old.anchor
        )

    def _balanced(self, state: PDHGState, k: int) -> PDHGState:
        """Move tau towards the ratio of the ways that image and dual variables have gone since it was last moved."""
        if self.step_size is not None or k + 1 not in duals.BALANCE_AT:
            return state
        tau = duals.balanced_ratio(state.tau, *self._ways(state, *state.anchor))
        return replace(state, tau=tau, anchor=(state.w, state.p))


def _floored(sums: Array) -> Array:
    """Sums away from zero: larger ones only make the steps shorter."""
    least = FLOOR * max(arrays.to_float(sums.max()), 1e-30)
    return arrays.namespace(sums).clip(sums, min=least)
