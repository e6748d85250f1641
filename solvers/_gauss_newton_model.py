"""The quadratic model behind a Gauss-Newton step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.krylov import CG
from solvers.protocols import Term

FEW, MANY = 8, 12  # conjugate gradient steps with and without splits
SETTLED = 1e-2  # residual of the conjugate gradients, over the first, that ends them


def is_quadratic(term: Term) -> bool:
    """Whether a term of a prior stays with the data."""
    return bool(getattr(term.function, "is_quadratic", False))


class Direction(NamedTuple):
    """A step, and what the model says of it."""

    d: Array
    slope: float  # <gradient, d>
    curved: float  # <d, H d>, without the damping

    @property
    def predicted(self) -> float:
        """By how much the model falls."""
        return -self.slope - 0.5 * self.curved

    def halved(self) -> Direction:
        """Half the step."""
        return Direction(0.5 * self.d, 0.5 * self.slope, 0.25 * self.curved)


class Model:
    """The quadratic model of what a step minimises, at a state."""

    def __init__(self, algorithm: Any, state: Any):
        data = algorithm.data
        self.algorithm, self.state, self.data = algorithm, state, data
        self.J = data.operator.linearize(state.x)
        self.weights = data.curvatures(state.Fx)
        self.data_gradient = self.J.adjoint(data.loss_gradient(state.Fx))
        self.other_gradient = self._other_gradient()

    def _other_gradient(self) -> Array:
        """Gradient of the quadratic terms and of the penalties."""
        out = self.other_gram(self.state.x)
        for bi, rho in zip(self.state.b, self.state.rho, strict=True):
            out = arrays.axpy(-rho, bi, out)
        return out

    def data_gram(self, v: Array) -> Array:
        """``J^H W J v``."""
        return self.J.adjoint(self.weights * self.J(v))

    def other_gram(self, v: Array) -> Array:
        """What quadratic terms and penalties add to it."""
        algorithm, state = self.algorithm, self.state
        out = algorithm._penalty_gram(v, state.rho) if algorithm._splits else arrays.zeros(v.shape, v)
        for term in algorithm._quadratic:
            out = arrays.axpy(algorithm.strength, term.adjoint(term.function.gradient(term.apply(v))), out)
        return out

    @cached_property
    def gradient(self) -> Array:
        """Of all that is minimised."""
        return self.data_gradient + self.other_gradient

    def curvature_along_gradient(self) -> float:
        """``<g, H g> / <g, g>``."""
        g = self.gradient
        size = arrays.to_float(arrays.dot(g, g))
        return arrays.to_float(arrays.dot(g, self._gram(g))) / size if size > 0 else 1.0

    def direction(self, damping: float) -> Direction:
        """``d`` with ``H d = -gradient``, roughly."""
        cg = CG(lambda v: arrays.axpy(damping, v, self._gram(v)), -self.gradient, self._inverse(damping))
        state = cg.init(arrays.zeros(self.gradient.shape, self.gradient))
        first = arrays.to_float(state.rz)
        for k in range(self.algorithm.cg_iterations or (FEW if self.algorithm._splits else MANY)):
            state = cg.step(state, k)
            if not arrays.to_float(state.rz) > SETTLED**2 * first:
                break
        d = state.x
        slope = arrays.to_float(arrays.dot(self.gradient, d))
        # H d is -gradient - r, damping included.
        curved = -slope - arrays.to_float(arrays.dot(state.r, d)) - damping * arrays.to_float(arrays.dot(d, d))
        return Direction(d, slope, curved)

    def _gram(self, v: Array) -> Array:
        return self.data_gram(v) + self.other_gram(v)

    def _inverse(self, damping: float) -> Callable[[Array], Array] | None:
        state, algorithm = self.state, self.algorithm
        if state.spectrum is None:
            return None
        shape = tuple(self.data.operator.in_shape)
        total = state.spectrum + damping
        for split, rho in zip(algorithm._splits, state.rho, strict=True):
            total = total + rho * np.asarray(split.gram)
        for term in algorithm._quadratic:
            gram = term.fourier_gram(shape)
            total = total if gram is None else total + algorithm.strength * np.asarray(gram)
        return lambda r: arrays.filter_fourier(r, 1.0 / total, len(shape))

    def decrease(self, d: Array, Fx: Array) -> float:
        """By how much the objective falls; the rounding of the loss is forgiven."""
        before = arrays.to_float(self.data.loss(self.state.Fx))
        after = arrays.to_float(self.data.loss(Fx))
        other = arrays.to_float(arrays.dot(self.other_gradient, d) + 0.5 * arrays.dot(d, self.other_gram(d)))
        return before - after - other + 10 * arrays.eps(d) * abs(before)
