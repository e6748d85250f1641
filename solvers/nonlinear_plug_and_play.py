"""Plug-and-play restoration with any smooth data term, of nonlinear operators as well.

    x  <- argmin loss(F(x); y) + rho_k/2 |x - z|^2      a few Gauss-Newton steps from the last x
    z  <- D(x, sigma_k),    rho_k = strength / sigma_k^2

The levels ``sigma_k`` fall as in :mod:`solvers.plug_and_play`. The last one is the noise that the data leave in the
image, told by the derivative at the start, weighed by the curvatures ``W`` of the loss: a typical gain of
``W^(1/2) J``. Zhang et al. 2022, with the data's proximal map linearised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.krylov import CG
from solvers.loop import unroll
from solvers.plug_and_play import FIRST_LEVEL
from solvers.regularised import Regularised, require_smooth, require_strength
from solvers.validation import positive_float, positive_int

NEWTON_STEPS = 3  # of one proximal map of the data
CG_STEPS = 8  # in each
HALVINGS = 6
POWER_STEPS = 5


@dataclass(frozen=True, slots=True)
class NonlinearDPIRState:
    """State of :class:`NonlinearDPIR`."""

    x: Array  # image: what the denoiser returned
    start: Array  # where the run began
    first: float  # first level of the denoiser
    last: float  # its last level
    fit: Array  # image near the last one that explains the data


@dataclass(frozen=True, eq=False)
class NonlinearDPIR(Regularised):
    """Plug-and-play in a few steps with a falling noise level, for nonlinear operators and counts.

    Parameters
    ----------
    data, prior, strength
        See :class:`DPIR`; a smooth data term, of any operator.
    noise : float
        Standard deviation of the noise in the data where the loss is least squares without weights; 1 for a likelihood.
    length : int
        Number of steps.
    first : float, optional
        First level of the denoiser. None takes 0.85 times the standard deviation of the start.

    Raises
    ------
    ArgumentError
        The data term has no curvature, or the noise or the length is not positive.

    References
    ----------
    K. Zhang, Y. Li, W. Zuo, L. Zhang, L. Van Gool, R. Timofte, "Plug-and-play image restoration with deep denoiser
    prior", IEEE Trans. Pattern Anal. Mach. Intell. 44 (2022).

    Examples
    --------
    >>> from priors import NonLocalMeans, PlugAndPlay
    >>> from recon.operators import Saturation
    >>> from solvers import LeastSquares, NonlinearDPIR, solve
    >>> F = Saturation((16, 16), level=2.0)
    >>> y = F(np.ones((16, 16))) + 0.1 * np.random.default_rng(0).standard_normal((16, 16))
    >>> problem = NonlinearDPIR(LeastSquares(F, y), PlugAndPlay(NonLocalMeans()), 0.23 * 0.1**2, noise=0.1)
    >>> bool(abs(solve(problem, y).image - 1).max() < 0.1)
    True
    """

    noise: float = 1.0
    length: int = 8
    first: float | None = None

    def __post_init__(self) -> None:
        require_smooth(self)
        require_strength(self)
        positive_float("noise", self.noise)
        positive_int("length", self.length)
        if self.first is not None:
            positive_float("first", self.first)

    def init(self, x0: Array) -> NonlinearDPIRState:
        x0 = self.data.start(x0)
        spread = arrays.to_float(arrays.norm(x0 - x0.mean())) / math.sqrt(max(arrays.size(x0), 1))
        first = self.first if self.first is not None else FIRST_LEVEL * spread
        last = self.noise / self._typical_gain(x0)
        return NonlinearDPIRState(x0, x0, max(first, last), last, x0)

    def restart(self, state: NonlinearDPIRState, strength: float, item: int | None = None) -> NonlinearDPIRState:
        """Begin afresh, from the same start."""
        return self.init(state.start if item is None else state.start[item])

    def step(self, state: NonlinearDPIRState, k: int) -> NonlinearDPIRState:
        share = min(k / max(self.length - 1, 1), 1.0)
        variance = (state.first ** (1 - share) * state.last**share) ** 2
        fit = self._explained(state.x, variance / self.strength, state.fit)
        return replace(state, x=self.prior.prox(fit, variance), fit=fit)

    def _explained(self, v: Array, step: float, x: Array) -> Array:
        """``argmin_x step loss(F(x)) + 1/2 |x - v|^2``, some Gauss-Newton steps on from ``x``."""
        Fx = self.data.operator(x)
        for _ in range(NEWTON_STEPS):
            J, weights = self.data.operator.linearize(x), self.data.curvatures(Fx)
            gradient = arrays.axpy(step, J.adjoint(self.data.loss_gradient(Fx)), x - v)
            x, Fx = self._lower(x, Fx, _newton(J, weights, step, -gradient), v, step)
        return x

    def _lower(self, x: Array, Fx: Array, d: Array, v: Array, step: float) -> tuple[Array, Array]:
        """The image ``d`` away and what it measures, or as far as the objective does not rise."""
        before = self._value(x, Fx, v, step)
        slack = 10 * arrays.eps(x) * abs(before)  # or the last steps, which only gradients need, would be refused
        for halvings in range(HALVINGS):
            ahead = arrays.axpy(0.5**halvings, d, x)
            Fahead = self.data.operator(ahead)
            if self._value(ahead, Fahead, v, step) <= before + slack:
                return ahead, Fahead
        return x, Fx

    def _value(self, x: Array, Fx: Array, v: Array, step: float) -> float:
        away = x - v
        return step * arrays.to_float(self.data.loss(Fx)) + 0.5 * arrays.to_float(arrays.dot(away, away))

    def _typical_gain(self, x: Array) -> float:
        """Geometric mean of the largest gain of ``W^(1/2) J`` and that of white images."""
        J, weights = self.data.operator.linearize(x), self.data.curvatures(self.data.operator(x))
        signs = 2.0 * np.random.default_rng(0).integers(0, 2, tuple(x.shape)) - 1.0
        v = arrays.asarray(signs, x) + 0 * x
        answers, white, largest = v, 0.0, 0.0
        for k in range(POWER_STEPS):
            answers = J.adjoint(weights * J(v))
            size = arrays.to_float(arrays.norm(answers))
            if not size > 0:
                break
            if k == 0:
                white = arrays.to_float(arrays.dot(v, answers)) / arrays.size(x)
            largest = size / arrays.to_float(arrays.norm(v))
            v = answers / size
        return max((white * largest) ** 0.25, 1e-30) if white * largest > 0 else 1.0


def _newton(J: Any, weights: Array, step: float, right: Array) -> Array:
    """``(I + step J^H W J)^-1 right``: closed where every pixel is measured alone, else by conjugate gradients."""
    diagonal = J.diagonal_gram() if getattr(J, "pointwise", False) else None
    if diagonal is not None:
        return right / (1 + step * weights * arrays.asarray(diagonal, weights))
    system = CG(lambda u: arrays.axpy(step, J.adjoint(weights * J(u)), u), right)
    return unroll(system, arrays.zeros(tuple(right.shape), right), CG_STEPS)
