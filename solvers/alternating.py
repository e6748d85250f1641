"""Image and parameters of the forward model in turns: proximal alternating linearised minimisation.

    minimise  1/2 |F(x; p) - y|^2 + strength * g(x) + h(p),   h what is known of the parameters

    v  <- x + beta (x - x before)
    x  <- prox_{step strength g}(v - step J_x^H (F(v; p) - y))
    p  <- argmin 1/2 |F(x; p) - y|^2 + h(p)        few parameters: in closed form where h is nothing
    p  <- prox_{step h}(p - step J_p^H (F(x; p) - y))              many of them

The step of each block is held against the descent inequality, ``|F(x') - F(v)|^2 <= |x' - v|^2 / step``, and shortened
until it holds; where the objective rises the momentum is dropped and the block starts again from x. The objective
therefore never rises, which is what convergence to a critical point rests on. Bolte, Sabach and Teboulle 2014;
inertia: Pock and Sabach 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array

FEW = 200  # parameters, up to which their normal matrix is formed
DESCENTS = 100  # accelerated steps on a small problem with a constraint
GROW, SHRINK = 1.2, 0.5
SHORTENED = 40  # times a step is halved before it is taken as it is
ROUNDING = 1e-10  # relative rise of the objective that is none
RIDGE = 1e-12  # of the normal matrix, relative to its trace


@dataclass(frozen=True, slots=True)
class PALMState:
    """State of :class:`PALM`."""

    x: Array  # image
    before: Array  # image one step earlier
    values: dict[str, Any]  # parameters by name
    steps: dict[str, float]  # last step size of each block, the image's under ""
    momentum: int  # steps since the momentum was last dropped
    dual: Any  # dual variable of an iterative proximal map
    value: float  # objective


@dataclass(frozen=True, eq=False)
class PALM:
    """Proximal alternating linearised minimisation with inertia, for a model with unknown parameters.

    Parameters
    ----------
    family : object
        Has ``unknowns`` (name -> object with ``admissible(value, step)``, the proximal map of what is known),
        ``with_values(**values)``, the operator, ``in_parameter(name, x, **values)``, the measurement as a function of a
        parameter, and ``gauge(x, **values)``, which fixes what the measurement leaves open.
    y : array
        Measurement.
    prior : Prior
        Of the image; has ``prox`` and ``value``.
    strength : float
        Regularisation strength.
    start : dict of str to array
        First values of the parameters.
    """

    family: Any
    y: Array
    prior: Any
    strength: float
    start: dict[str, Any]

    def init(self, x0: Array) -> PALMState:
        values, x0 = dict(self.start), arrays.asarray(x0, x0)
        steps = dict.fromkeys(("", *self.family.unknowns), 1.0)
        return PALMState(x0, x0, values, steps, 0, None, self._objective(x0, values))

    def step(self, state: PALMState, k: int) -> PALMState:
        after = self._image_step(state)
        if after.value > state.value * (1 + ROUNDING) and state.momentum:
            after = self._image_step(replace(state, momentum=0))
        for name in self.family.unknowns:
            after = self._parameter_step(after, name)
        values, x = self.family.gauge(after.x, **after.values)
        if x is not after.x:  # in the same units as the image: momentum goes on
            _, before = self.family.gauge(state.x, **after.values)
            after = replace(after, before=before)
        return replace(after, x=x, values=values, value=self._objective(x, values), momentum=after.momentum + 1)

    def objective(self, x: Array) -> Any:
        """The function minimised, at the parameters the run started from."""
        return self._objective(x, self.start)

    def _objective(self, x: Array, values: dict[str, Any]) -> float:
        misfit = self.family.with_values(**values)(x) - self.y
        measure = getattr(self.prior, "estimate", self.prior.value)
        return 0.5 * arrays.to_float(arrays.dot(misfit, misfit)) + self.strength * arrays.to_float(measure(x))

    def _image_step(self, state: PALMState) -> PALMState:
        beta = state.momentum / (state.momentum + 3.0)
        v = arrays.lincomb(1.0 + beta, state.x, -beta, state.before)
        operator = self.family.with_values(**state.values)
        Fv = operator(v)
        gradient = operator.vjp(v, Fv - self.y)
        step, dual = state.steps[""] * GROW, state.dual
        for _ in range(SHORTENED):
            x, dual = self._prox(v - step * gradient, step, state.dual)
            if _descends(operator(x) - Fv, x - v, step):
                break
            step *= SHRINK
        steps = {**state.steps, "": step}
        value = self._objective(x, state.values)
        return PALMState(x, state.x, state.values, steps, state.momentum, dual, value)

    def _prox(self, v: Array, step: float, dual: Any) -> tuple[Array, Any]:
        warm = getattr(self.prior, "prox_from", None)
        if warm is None:
            return self.prior.prox(v, step * self.strength), None
        return warm(v, step * self.strength, dual, iterations=8)

    def _parameter_step(self, state: PALMState, name: str) -> PALMState:
        known, value = self.family.unknowns[name], np.asarray(arrays.to_numpy(state.values[name]), dtype=float)
        model = self.family.in_parameter(name, state.x, **state.values)
        derivative, misfit = model.linearize(value), model(value) - self.y
        slope = np.asarray(derivative.adjoint(misfit))
        if value.size <= FEW:
            found = _minimised(_normal_matrix(derivative, value.shape), slope, value, known)
            return replace(state, values={**state.values, name: found})
        step = state.steps[name] * GROW
        for _ in range(SHORTENED):
            found = known.admissible(value - step * slope, step)
            if _descends(derivative(found - value), found - value, step):
                break
            step *= SHRINK
        return replace(state, values={**state.values, name: found}, steps={**state.steps, name: step})


def _descends(change: Array, way: Array, step: float) -> bool:
    length = arrays.to_float(arrays.dot(way, way))
    return arrays.to_float(arrays.dot(change, change)) <= length / step * (1 + 1e-6)


def _normal_matrix(operator: Any, shape: tuple[int, ...]) -> np.ndarray:
    """``J^H J``, a column for each parameter."""
    n = int(np.prod(shape))
    unit = np.eye(n).reshape(n, *shape)
    return np.stack([np.asarray(operator.gram(e)).reshape(-1) for e in unit], axis=1)


def _minimised(normal: np.ndarray, slope: np.ndarray, at: np.ndarray, known: Any) -> np.ndarray:
    """``argmin_p slope . (p - at) + 1/2 (p - at) . normal (p - at) + h(p)``."""
    if getattr(known, "free", False):
        ridge = RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
        return at - np.linalg.solve(normal + ridge, slope.reshape(-1)).reshape(at.shape)
    step = 1.0 / max(float(np.linalg.norm(normal, 2)), 1e-300)
    p, v, t = at, at, 1.0
    for _ in range(DESCENTS):
        gradient = slope + (normal @ (v - at).reshape(-1)).reshape(at.shape)
        before, p = p, known.admissible(v - step * gradient, step)
        t, last = 0.5 + (0.25 + t * t) ** 0.5, t
        v = p + (last - 1.0) / t * (p - before)
    return p
