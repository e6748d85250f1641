"""Gradient descent whose steps follow the curvature: the spectral projected gradient.

    minimise  f(x) = data(A x; y) + strength * g(x)  within bounds,   f smooth

    d      <- P(x - alpha * grad f(x)) - x
    x      <- x + lambda d,   lambda halved until f is below the largest of its last values
    alpha  <- <s, s> / <s, r>  or  <s, r> / <r, r>,   s the change of x, r that of the gradient

Barzilai and Borwein 1988 (both steps, in turn: Dai and Fletcher 2005); line search of Grippo, Lampariello and Lucidi
1986; bounds as Birgin, Martínez and Raydan 2000. One forward and one adjoint a step, the line search needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from solvers import arrays
from solvers.arrays import Array
from solvers.regularised import SmoothRegularised

MEMORY = 10  # values that a new one may be as large as
DECREASE = 1e-4  # fraction of the predicted decrease that is asked for
RANGE = 1e10  # between the largest and the smallest step
HALVINGS = 40


@dataclass(frozen=True, slots=True)
class DescentState:
    """State of :class:`GradientDescent`."""

    x: Array  # iterate
    Ax: Array  # forward operator at x
    gradient: Array  # of the objective at x
    alpha: float  # next step along the negative gradient
    first_alpha: float  # what bounds the later ones
    values: tuple[float, ...]  # the last values of the objective


@dataclass(frozen=True, eq=False)
class GradientDescent(SmoothRegularised):
    """Gradient descent with Barzilai-Borwein steps and a non-monotone line search, for smooth problems with bounds.

    Parameters
    ----------
    data, prior, strength
        See :class:`SmoothRegularised`.

    Examples
    --------
    >>> from priors import Tikhonov
    >>> from recon.operators import from_matrix
    >>> from solvers import GradientDescent, LeastSquares, solve
    >>> problem = GradientDescent(LeastSquares(from_matrix(2 * np.eye(3)), np.ones(3)), Tikhonov(), 1.0)
    >>> solve(problem, np.zeros(3)).image.round(3)
    array([0.4, 0.4, 0.4])
    """

    def init(self, x0: Array) -> DescentState:
        x = self._project(self.data.start(x0))
        Ax = self.data.operator(x)
        gradient = self._gradient_at(x, Ax)
        alpha = self._first_step(x, Ax, gradient)
        return DescentState(x, Ax, gradient, alpha, alpha, (arrays.to_float(self._value_at(x, Ax)),))

    def step(self, state: DescentState, k: int) -> DescentState:
        d = self._project(arrays.axpy(-state.alpha, state.gradient, state.x)) - state.x
        if not arrays.to_float(arrays.norm(d)) > 0:
            return state
        length, x, Ax, value = self._search(state, d)
        gradient = self._gradient_at(x, Ax)
        alpha = self._spectral_step(x - state.x, gradient - state.gradient, k)
        low, high = state.first_alpha / RANGE, state.first_alpha * RANGE
        alpha = min(max(alpha, low), high) if alpha > 0 else min(2 * state.alpha / length, high)
        return DescentState(x, Ax, gradient, alpha, state.first_alpha, (*state.values, value)[-MEMORY:])

    def _search(self, state: DescentState, d: Array) -> tuple[float, Array, Array, float]:
        """Halve the step along ``d`` until the objective is low enough; rounding of its value is forgiven."""
        Ad = self.data.operator(d) if self.data.linear else None
        slope = arrays.to_float(arrays.dot(state.gradient, d))
        reference = max(state.values)
        slack = 10 * arrays.eps(state.x) * abs(reference)
        length = 1.0
        for _ in range(HALVINGS):
            x = arrays.axpy(length, d, state.x)
            Ax = self.data.operator(x) if Ad is None else arrays.axpy(length, Ad, state.Ax)
            value = arrays.to_float(self._value_at(x, Ax))
            if value <= reference + DECREASE * length * slope + slack:
                break
            length *= 0.5
        return length, x, Ax, value

    def _spectral_step(self, s: Array, r: Array, k: int) -> float:
        curved = arrays.to_float(arrays.dot(s, r))
        if k % 2 == 0:
            return arrays.to_float(arrays.dot(s, s)) / curved if curved > 0 else 0.0
        return curved / arrays.to_float(arrays.dot(r, r)) if curved > 0 else 0.0

    def _first_step(self, x: Array, Ax: Array, gradient: Array) -> float:
        """Inverse curvature along the first gradient, that of the loss taken for 1: the search corrects it."""
        image = self.data.change(x, Ax, gradient)
        length = arrays.to_float(arrays.dot(image, image))
        return arrays.to_float(arrays.dot(gradient, gradient)) / length if length > 0 else 1.0
