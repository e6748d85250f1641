"""Proximal gradient and its accelerated form.

    minimise  f(x) + strength * g(x),   f the data term, smooth

    x  <- prox_{step strength g}(v - step * grad f(v))
    v  <- x + (t - 1)/t' * (x - x before)          (FISTA; v = x without acceleration)

Beck and Teboulle 2009, the monotone form from their equations 5.2 to 5.4 of the same year; restart by the gradient test
of O'Donoghue and Candès 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.regularised import Regularised, require_smooth

GROW = 1.25  # backtracking tries a step this much longer each time, so that a local curvature is made use of
SHRINK = 0.5
INNER_STEPS = 8  # of an iterative proximal map that starts from its last dual variable


@dataclass(frozen=True, slots=True)
class GradientState:
    """State of :class:`ProximalGradient` and :class:`FISTA`."""

    x: Array  # iterate
    v: Array  # point where the next gradient is taken
    Ax: Array  # forward operator at x
    Av: Array  # forward operator at v
    t: float  # momentum parameter
    step: float  # last step size
    dual: Any  # dual variable of an iterative proximal map, its warm start whatever the step and strength
    value: float | None = None  # objective at x, where a monotone run compares it


@dataclass(frozen=True, eq=False)
class ProximalGradient(Regularised):
    """Proximal gradient for ``data + strength * prior``.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. The data term is smooth; the prior has ``prox``, and is warm-started if it also has
        ``prox_from``.
    step_size : float, optional
        At most ``1 / (curvature * norm(A)^2)``. None finds it by backtracking, which also lets the step grow.
    """

    step_size: float | None = None

    accelerated = False
    monotone = False

    def __post_init__(self) -> None:
        require_smooth(self)

    def init(self, x0: Array) -> GradientState:
        Ax = self.data.operator(x0)
        step = self.step_size if self.step_size is not None else self._first_step(x0, Ax)
        return GradientState(x=x0, v=x0, Ax=Ax, Av=Ax, t=1.0, step=step, dual=None)

    def restart(self, state: GradientState, strength: float, item: int | None = None) -> GradientState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        if item is not None:
            dual = None if state.dual is None else state.dual[item]
            state = replace(state, x=state.x[item], Ax=state.Ax[item], dual=dual)
        return replace(state, v=state.x, Av=state.Ax, t=1.0, value=None)

    def step(self, state: GradientState, k: int) -> GradientState:
        gradient = self.data.operator.vjp(state.v, self.data.loss_gradient(state.Av))
        x, Ax, step, dual = self._descend(state, gradient)
        if not self.accelerated:
            return GradientState(x=x, v=x, Ax=Ax, Av=Ax, t=1.0, step=step, dual=dual)
        best, Abest, value = self._kept(state, x, Ax)
        t = 1.0 if arrays.to_float(arrays.dot(state.v - x, x - state.x)) > 0 else state.t
        t_next = 0.5 * (1 + math.sqrt(1 + 4 * t * t))
        momentum, excess = (t - 1) / t_next, 0.0 if best is x else t / t_next
        v = _ahead(best, state.x, x, momentum, excess)
        Av = _ahead(Abest, state.Ax, Ax, momentum, excess) if self.data.linear else self.data.operator(v)
        return GradientState(x=best, v=v, Ax=Abest, Av=Av, t=t_next, step=step, dual=dual, value=value)

    def _kept(self, state: GradientState, x: Array, Ax: Array) -> tuple[Array, Array, float | None]:
        """The new iterate with its value; the old one instead where a monotone run finds that lower."""
        if not self.monotone:
            return x, Ax, None
        value = arrays.to_float(self.data.loss(Ax) + self.penalty(x))
        if state.value is None or value <= state.value:  # a start may be outside the constraints, and lower for it
            return x, Ax, value
        return state.x, state.Ax, state.value

    def _descend(self, state: GradientState, gradient: Array) -> tuple[Array, Array, float, Any]:
        """One proximal step from v, shortened until the quadratic model is an upper bound."""
        if self.step_size is not None:
            v = arrays.axpy(-self.step_size, gradient, state.v)
            x, dual = self._prior_prox(v, self.step_size, state.dual, INNER_STEPS)
            return x, self.data.operator(x), self.step_size, dual
        step = state.step * GROW
        while True:
            x, dual = self._prior_prox(arrays.axpy(-step, gradient, state.v), step, state.dual, INNER_STEPS)
            Ax = self.data.operator(x)
            if self._bounded(state, gradient, x, Ax, step) or step < 1e-20 * state.step:
                return x, Ax, step, dual
            step *= SHRINK

    def _bounded(self, state: GradientState, gradient: Array, x: Array, Ax: Array, step: float) -> bool:
        """Whether the quadratic model at v is an upper bound at x.

        ``f(x) - f(v) - <f'(v), x - v>`` is at most ``<f'(x) - f'(v), x - v>``, and half of it for a quadratic f. The
        products are taken between measurements, where no difference of two large values is lost in rounding. A
        nonlinear operator leaves the values themselves, but for their rounding.
        """
        if not self.data.linear:
            return self._bounded_in_value(state, gradient, x, Ax, step)
        moved, change = x - state.v, Ax - state.Av
        curved = arrays.dot(self.data.loss_gradient(Ax) - self.data.loss_gradient(state.Av), change)
        length = arrays.to_float(arrays.dot(moved, moved))
        if length <= (10 * arrays.eps(x)) ** 2 * arrays.to_float(arrays.dot(x, x)):
            return True  # nothing but rounding, which must not shorten the step for good
        return arrays.to_float(curved) <= length / (step if self.data.quadratic else 2 * step)

    def _bounded_in_value(self, state: GradientState, gradient: Array, x: Array, Ax: Array, step: float) -> bool:
        moved, value = x - state.v, arrays.to_float(self.data.loss(state.Av))
        model = value + arrays.dot(gradient, moved) + arrays.dot(moved, moved) / (2 * step)
        slack = 10 * arrays.eps(x) * abs(value)
        return arrays.to_float(self.data.loss(Ax)) <= arrays.to_float(model) + slack

    def _first_step(self, x0: Array, Ax: Array) -> float:
        """Inverse curvature along the first gradient; backtracking shortens it where other directions are steeper."""
        gradient = self.data.operator.vjp(x0, self.data.loss_gradient(Ax))
        image = self.data.change(x0, Ax, gradient)
        length = arrays.to_float(arrays.dot(image, image))
        return arrays.to_float(arrays.dot(gradient, gradient)) / length if length > 0 else 1.0


@dataclass(frozen=True, eq=False)
class FISTA(ProximalGradient):
    """Accelerated proximal gradient with adaptive restart.

    Parameters
    ----------
    data, prior, strength, step_size
        See :class:`ProximalGradient`.
    monotone : bool
        Never let the objective rise, at the price of its evaluation (no further forward operation).

    References
    ----------
    A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM J. Imaging Sci. 2 (2009); "Fast
    gradient-based algorithms for constrained total variation image denoising and deblurring problems", IEEE Trans.
    Image Process. 18 (2009), the monotone form.
    """

    monotone: bool = False

    accelerated = True


def _ahead(best: Array, before: Array, x: Array, momentum: float, excess: float) -> Array:
    """``best + momentum (best - before) + excess (x - best)``, with the one of the two that is not zero."""
    if best is x:
        return arrays.lincomb(1 + momentum, best, -momentum, before)
    return arrays.lincomb(1 - excess, best, excess, x)
