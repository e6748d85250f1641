"""Optimised gradient methods: half the number of steps of FISTA in the worst case.

    minimise  f(x) + strength * g(x),   L the curvature of f

    w  <- x - grad f(x) / L
    z  <- w + (t - 1)/t' (w - w before) + t/t' (w - x) + (t - 1)/(L gamma t') (z before - x)
    x  <- prox_{gamma' strength g}(z),   gamma' = (2 t + t' - 1) / (L t')

without the last two where there is no proximal map. Kim and Fessler 2016 (OGM); Taylor, Hendrickx and Glineur 2017
(POGM); both restarted where the momentum points uphill: Kim and Fessler 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.regularised import Regularised, SmoothRegularised, require_curvature
from solvers.step_sizes import data_curvature, term_curvature

PROX_STEPS = 12  # of an iterative proximal map that starts from its last dual variable


@dataclass(frozen=True, slots=True)
class OGMState:
    """State of :class:`OGM`."""

    x: Array  # iterate, one gradient step from v before
    v: Array  # point where the next gradient is taken
    t: float  # momentum parameter


@dataclass(frozen=True, eq=False)
class OGM(SmoothRegularised):
    """Optimised gradient method with adaptive restart, for smooth problems.

    Parameters
    ----------
    data, prior, strength
        See :class:`SmoothRegularised`; the data term and the prior have a bounded curvature, and there are no bounds.

    Raises
    ------
    ArgumentError
        The data term has no bound of its curvature (photon counts), or there are bounds on the image.

    References
    ----------
    D. Kim, J. A. Fessler, "Optimized first-order methods for smooth convex minimization", Math. Program. 159 (2016).

    Examples
    --------
    >>> from priors import Tikhonov
    >>> from recon.operators import from_matrix
    >>> from solvers import OGM, LeastSquares, solve
    >>> problem = OGM(LeastSquares(from_matrix(2 * np.eye(3)), np.ones(3)), Tikhonov(), 1.0)
    >>> solve(problem, np.zeros(3)).image.round(3)
    array([0.4, 0.4, 0.4])
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        require_curvature(self)
        if self._bounds:
            raise ArgumentError(
                f"prior is {self.prior!r}; OGM takes no bounds. Use POGM or FISTA, which project onto them."
            )

    @cached_property
    def _curvatures(self) -> tuple[float, float]:
        """Bounds of the curvature of the data term and of the prior."""
        shape = tuple(self.data.operator.in_shape)
        return data_curvature(self.data), sum(term_curvature(term, shape) for term in self._smooth_terms)

    @property
    def _curvature(self) -> float:
        data, prior = self._curvatures
        return max(data + self.strength * prior, 1e-30)

    def init(self, x0: Array) -> OGMState:
        return OGMState(x=x0, v=x0, t=1.0)

    def step(self, state: OGMState, k: int) -> OGMState:
        gradient = self._gradient_at(state.v, self.data.operator(state.v))
        x = arrays.axpy(-1.0 / self._curvature, gradient, state.v)
        moved = x - state.x
        uphill = arrays.to_float(arrays.dot(gradient, moved)) > 0
        t = 1.0 if uphill else state.t
        t_next = next_momentum(t)
        v = arrays.axpy((t - 1) / t_next, moved, arrays.axpy(t / t_next, x - state.v, x))
        return OGMState(x=x, v=x if uphill else v, t=1.0 if uphill else t_next)


@dataclass(frozen=True, slots=True)
class POGMState:
    """State of :class:`POGM`."""

    x: Array  # iterate
    w: Array  # gradient step from the iterate before
    z: Array  # what the last proximal map was taken of
    y: Array  # composite gradient step from the iterate before, for the restart
    t: float  # momentum parameter
    gamma: float  # last proximal step
    dual: Any = None  # dual variable of an iterative proximal map


@dataclass(frozen=True, eq=False)
class POGM(Regularised):
    """Proximal optimised gradient method with adaptive restart.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. The data term has a bounded curvature, the prior has ``prox``.

    Raises
    ------
    ArgumentError
        The data term has no bound of its curvature (photon counts).

    References
    ----------
    D. Kim, J. A. Fessler, "Adaptive restart of the optimized gradient method for convex optimization", J. Optim. Theory
    Appl. 178 (2018).

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import from_matrix
    >>> from solvers import POGM, LeastSquares, solve
    >>> problem = POGM(LeastSquares(from_matrix(2 * np.eye(2)), np.array([1.0, -1.0])), NonNegative(), 1.0)
    >>> solve(problem, np.zeros(2)).image.round(3)
    array([0.5, 0. ])
    """

    def __post_init__(self) -> None:
        require_curvature(self)

    @cached_property
    def _curvature(self) -> float:
        return max(data_curvature(self.data), 1e-30)

    def init(self, x0: Array) -> POGMState:
        return POGMState(x=x0, w=x0, z=x0, y=x0, t=1.0, gamma=1.0 / self._curvature)

    def step(self, state: POGMState, k: int) -> POGMState:
        x, L, t = state.x, self._curvature, state.t
        gradient = self.data.operator.adjoint(self.data.loss_gradient(self.data.operator(x)))
        t_next = next_momentum(t)
        gamma = (2 * t + t_next - 1) / (L * t_next)
        w = arrays.axpy(-1.0 / L, gradient, x)
        z = arrays.axpy((t - 1) / t_next, w - state.w, arrays.axpy(t / t_next, w - x, w))
        z = arrays.axpy((t - 1) / (L * state.gamma * t_next), state.z - x, z)
        x_next, dual = self._prior_prox(z, gamma, state.dual, PROX_STEPS)
        composite = arrays.axpy(-1.0 / gamma, x_next - z, gradient)
        y = arrays.axpy(-1.0 / L, composite, x)
        if arrays.to_float(arrays.dot(composite, y - state.y)) > 0:
            return POGMState(x=x_next, w=x_next, z=x_next, y=x_next, t=1.0, gamma=1.0 / L, dual=dual)
        return POGMState(x=x_next, w=w, z=z, y=y, t=t_next, gamma=gamma, dual=dual)


def next_momentum(t: float) -> float:
    """``t' = (1 + sqrt(1 + 4 t^2)) / 2``."""
    return 0.5 * (1 + math.sqrt(1 + 4 * t * t))
