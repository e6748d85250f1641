"""Proximal gradient and its accelerated form.

    minimise  f(x) + strength * g(x),   f the data term, smooth

    x  <- prox_{step strength g}(v - step * grad f(v))
    v  <- x + (t - 1)/t' * (x - x before)          (FISTA; v = x without acceleration)

Beck and Teboulle 2009, the monotone form from their equations 5.2 to 5.4 of the same year; restart by the gradient test
of O'Donoghue and Candès 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.problem_features import log_ratio
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
        return self.led(state, k, {})

    def led(self, state: GradientState, k: int, factors: Mapping[str, Any]) -> GradientState:
        """A step with other parameters.

        ``factors`` may hold logarithms of factors of the step size, ``"pace"``, unless it is searched, and of the age
        ``t - 1`` of the ``"momentum"``; and by how much of the proximal step to go beyond it, ``"relaxation"``.
        """
        gradient = self.data.operator.vjp(state.v, self.data.loss_gradient(state.Av))
        x, Ax, step, dual = self._descend(state, gradient, arrays.exp(factors.get("pace", 0.0)))
        if not self.accelerated:
            return GradientState(x=x, v=x, Ax=Ax, Av=Ax, t=1.0, step=step, dual=dual)
        best, Abest, value = self._kept(state, x, Ax)
        t = 1.0 if arrays.to_float(arrays.dot(state.v - x, x - state.x)) > 0 else state.t
        aged = 1 + (t - 1) * arrays.exp(factors.get("momentum", 0.0))
        momentum, excess = (aged - 1) / _next(aged), 0.0 if best is x else t / _next(t)
        beyond = factors.get("relaxation", 0.0)
        v = _beyond(_ahead(best, state.x, x, momentum, excess), x, state.v, beyond)
        if self.data.linear:
            Av = _beyond(_ahead(Abest, state.Ax, Ax, momentum, excess), Ax, state.Av, beyond)
        else:
            Av = self.data.operator(v)
        return GradientState(x=best, v=v, Ax=Abest, Av=Av, t=_next(t), step=step, dual=dual, value=value)

    def features(self, state: GradientState) -> dict[str, float]:
        """What a learned schedule is told of a state: numbers free of units, which cost no call of the operator."""
        moved, change = state.v - state.x, state.Av - state.Ax
        bent = self.data.loss_gradient(state.Av) - self.data.loss_gradient(state.Ax)
        curved, length = (arrays.to_float(arrays.dot(*pair)) for pair in ((bent, change), (moved, moved)))
        step = state.step if self.step_size is None else self.step_size
        residual, measured = (arrays.to_float(arrays.norm(a)) for a in (state.Ax - self.data.y, self.data.y))
        return {
            "curvature": log_ratio(curved * arrays.to_float(step), length),
            "age": 1 - 1 / arrays.to_float(state.t),
            "misfit": log_ratio(residual, measured),
            "searched": float(self.step_size is None),
        }

    def objective_at(self, state: GradientState) -> Any:
        """The objective at the image of a state, whose measurement is known."""
        return self.data.loss(state.Ax) + self.penalty(state.x)

    def _kept(self, state: GradientState, x: Array, Ax: Array) -> tuple[Array, Array, float | None]:
        """The new iterate with its value; the old one instead where a monotone run finds that lower."""
        if not self.monotone:
            return x, Ax, None
        value = arrays.to_float(self.data.loss(Ax) + self.penalty(x))
        if state.value is None or value <= state.value:  # a start may be outside the constraints, and lower for it
            return x, Ax, value
        return state.x, state.Ax, state.value

    def _descend(self, state: GradientState, gradient: Array, pace: Any) -> tuple[Array, Array, Any, Any]:
        """One proximal step from v, shortened until the quadratic model is an upper bound."""
        if self.step_size is not None:
            step = self.step_size * pace
            x, dual = self._prior_prox(arrays.axpy(-step, gradient, state.v), step, state.dual, INNER_STEPS)
            return x, self.data.operator(x), self.step_size, dual
        step = state.step * GROW
        while True:
            x, dual = self._prior_prox(arrays.axpy(-step, gradient, state.v), step, state.dual, INNER_STEPS)
            Ax = self.data.operator(x)
            if self._bounded(state, gradient, x, Ax, step) or step < 1e-20 * state.step:
                return x, Ax, step, dual
            step = step * SHRINK

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


def _beyond(v: Array, x: Array, before: Array, share: Any) -> Array:
    """``v + share (x - before)``."""
    return v if isinstance(share, float) and share == 0 else arrays.axpy(share, x - before, v)


def _next(t: Any) -> Any:
    return 0.5 * (1 + (1 + 4 * t * t) ** 0.5)
