"""Forward-backward splitting the other way round: a gradient step of the prior, the proximal map of the data.

    minimise  f(x) + strength * g(x),   f least squares or any data term with a proximal map in the image, g smooth

    x  <- prox_{tau f}(x - tau * strength * grad g(x)),   tau halved until the objective has decreased enough

For a prior that is expensive or not convex and data that are easy to invert. Attouch, Bolte and Svaiter 2013; with a
denoiser in the gradient: Hurault, Leclaire and Papadakis 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from solvers import arrays
from solvers._data_prox import data_prox, require_least_squares
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.regularised import SmoothRegularised

DECREASE = 0.1  # of |change|^2 over the step, by which the objective is to fall
GROW = 1.5  # the next step is tried this much longer
SHRINK = 0.5
HALVINGS = 15


@dataclass(frozen=True, slots=True)
class DataProximalState:
    """State of :class:`DataProximalGradient`."""

    x: Array  # iterate
    value: float  # objective at x
    step: float  # tau


@dataclass(frozen=True, eq=False)
class DataProximalGradient(SmoothRegularised):
    """Gradient steps of a smooth prior and proximal steps of the data, each lowering the objective.

    Parameters
    ----------
    data, prior, strength
        See :class:`SmoothRegularised`; the data term is least squares, and there are no bounds. Where the operator
        has no ``solve_shifted``, the data step is a few conjugate gradient steps, and whatever they reach is tested.

    Raises
    ------
    ArgumentError
        The data term is not least squares, or there are bounds on the image.

    Examples
    --------
    >>> from priors import Tikhonov
    >>> from recon.operators import from_matrix
    >>> from solvers import DataProximalGradient, LeastSquares, solve
    >>> problem = DataProximalGradient(LeastSquares(from_matrix(2 * np.eye(3)), np.ones(3)), Tikhonov(), 1.0)
    >>> solve(problem, np.zeros(3), tol=1e-6).image.round(3)
    array([0.4, 0.4, 0.4])
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        require_least_squares(self)
        if self._bounds:
            raise ArgumentError(
                f"prior is {self.prior!r}; DataProximalGradient takes no bounds. Use LBFGS or GradientDescent."
            )

    @cached_property
    def _back(self) -> Array:
        return self.data.operator.adjoint(self.data.y)

    def init(self, x0: Array) -> DataProximalState:
        return DataProximalState(x0, arrays.to_float(self.objective(x0)), 1.0 / max(self.strength, 1e-30))

    def step(self, state: DataProximalState, k: int) -> DataProximalState:
        gradient = self.strength * self._prior_gradient(state.x)
        tau, slack = GROW * state.step, 10 * arrays.eps(state.x) * abs(state.value)
        for _ in range(HALVINGS):
            x = data_prox(self.data, self._back, arrays.axpy(-tau, gradient, state.x), tau, state.x)
            value, moved = arrays.to_float(self.objective(x)), x - state.x
            fall = DECREASE / tau * arrays.to_float(arrays.dot(moved, moved))
            if value <= state.value - fall + slack:
                return DataProximalState(x, min(value, state.value), tau)
            tau *= SHRINK
        return state  # nothing lower: it rests

    def _prior_gradient(self, x: Array) -> Array:
        return sum(term.adjoint(term.function.gradient(term.apply(x))) for term in self._smooth_terms)
