"""Gauss-Newton methods for nonlinear operators, any data term and any prior.

    minimise  loss(F(x); y) + strength * sum_i g_i(K_i x)

Quadratic terms of the prior, q, stay with the data; the others are split, z_i = K_i x, as in :mod:`solvers.admm`. With
the derivative J of F at x and the curvatures W of the loss at F(x), a step is

    H d  = -(J^H loss'(F(x)) + q'(x) + sum_i rho_i K_i^H (K_i x - z_i + u_i)),
    H    = J^H W J + q'' + sum_i rho_i K_i^H K_i + mu I,       a few conjugate gradient steps
    x    <- x + d where that lowers the objective (mu grows until it does; or d is halved)
    z, u <- as in ADMM

The damping mu follows the ratio of the decrease to that of the quadratic model (Levenberg 1944, Marquardt 1963; Madsen,
Nielsen and Tingleff 2004). With a linear F it is ADMM with conjugate gradients inside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from solvers import arrays
from solvers._gauss_newton_model import Model, is_quadratic
from solvers._splits import Split
from solvers.admm import ADMM, BALANCE_AT, ADMMState
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.protocols import Term
from solvers.regularised import require_strength
from solvers.validation import positive_float, positive_int

TRIALS = 12  # of one step: ever more damping, or ever shorter
ENOUGH = 1e-3  # decrease over that of the model from which a step is taken
GOOD, POOR = 0.75, 0.25  # from here on the damping shrinks, up to there it grows
LESS, MORE = 0.3, 4.0
FIRST_DAMPING = 1e-3  # over the curvature along the first gradient
LIKE_A_CONVOLUTION = 0.5  # cosine between the normal operator and the convolution it is taken for


@dataclass(frozen=True, slots=True)
class GaussNewtonState(ADMMState):
    """State of :class:`GaussNewton`: that of ADMM, and"""

    Fx: Array  # forward operator at x
    damping: float  # mu, 0 until the first step has shown the scale
    spectrum: (
        Any  # of the periodic convolution that J^H W J is near to, a preconditioner; None where it is near to none
    )


@dataclass(frozen=True, eq=False)
class GaussNewton(ADMM):
    """Gauss-Newton steps, shortened until the objective falls, for ``data + strength * prior``.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. A smooth data term; the prior needs ``terms()`` only.
    scale, relaxation, balance
        As in :class:`ADMM`, for the terms of the prior that are not quadratic.
    cg_iterations : int, optional
        At most as many conjugate gradient steps a linear system, one forward and one adjoint of the derivative each.
        None is 8 where terms are split, since the splits move on meanwhile, and else 12.

    References
    ----------
    J. Nocedal, S. J. Wright, Numerical Optimization, 2006, chapter 10; for the splitting, Boyd et al. 2011.

    Examples
    --------
    >>> from priors import Tikhonov
    >>> from recon.operators import from_callables
    >>> from solvers import LeastSquares, LevenbergMarquardt, solve
    >>> F = from_callables(np.exp, None, (2,), (2,), vjp=lambda x, r: np.exp(x) * r, jvp=lambda x, d: np.exp(x) * d)
    >>> solve(LevenbergMarquardt(LeastSquares(F, np.exp([1.0, 2.0])), Tikhonov(), 0.0), np.zeros(2)).image.round(3)
    array([1., 2.])
    """

    cg_iterations: int | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.cg_iterations is not None:
            positive_int("cg_iterations", self.cg_iterations)
        if not self.data.smooth:
            self.data.curvatures(None)

    # --- the parts of the objective

    @cached_property
    def _quadratic(self) -> tuple[Term, ...]:
        return tuple(term for term in self.prior.terms() if is_quadratic(term))

    @cached_property
    def _splits(self) -> tuple[Split, ...]:
        shape = tuple(self.data.operator.in_shape)
        return tuple(
            Split(
                term, term.function.prox, not getattr(term.function, "is_constraint", False), term.fourier_gram(shape)
            )
            for term in self.prior.terms()
            if not is_quadratic(term)
        )

    @cached_property
    def _factors(self) -> Any:
        return None

    def _scale(self, x0: Array) -> float:
        known = self.scale is not None or arrays.to_float(arrays.norm(x0 - x0.mean())) > 0
        return super()._scale(x0) if known else 1.0

    @cached_property
    def _curvature(self) -> float:
        return 1.0

    def _inverse(self, rho: tuple[float, ...]) -> Any:
        return None  # the preconditioner follows from the state

    # --- the algorithm

    def init(self, x0: Array) -> GaussNewtonState:
        x = self.data.start(x0)
        rho = self._first_penalties(x)
        pairs = [split.start(x, self._step(split, r)) for split, r in zip(self._splits, rho, strict=True)]
        variables, b = zip(*pairs, strict=True) if pairs else ((), ())
        Fx = self.data.operator(x)
        state = GaussNewtonState(x, variables, b, rho, None, None, Fx, 0.0, None)
        return replace(state, spectrum=self._near_convolution(state))

    def restart(self, state: Any, strength: float, item: int | None = None) -> Any:
        """As of :class:`ADMM`; the damping stays."""
        if item is not None:
            state = replace(state, Fx=state.Fx[item])
        return super().restart(state, strength, item)

    def step(self, state: Any, k: int) -> GaussNewtonState:
        x, Fx, damping = self._descend(state, Model(self, state))
        balance = self.balance and k + 1 in BALANCE_AT
        moves = [
            split.move(x, variables, self._step(split, rho), self.relaxation, measure=balance)
            for split, variables, rho in zip(self._splits, state.splits, state.rho, strict=True)
        ]
        variables, b, imbalance = zip(*moves, strict=True) if moves else ((), (), ())
        new = replace(state, x=x, splits=variables, b=b, Fx=Fx, damping=damping)
        return cast(GaussNewtonState, self._balanced(new, imbalance)) if balance else new

    def _descend(self, state: GaussNewtonState, model: Model) -> tuple[Array, Array, float]:
        """A step along the Gauss-Newton direction, halved until it is low enough."""
        direction = model.direction(0.0)
        for _ in range(TRIALS):
            x = state.x + direction.d
            Fx = self.data.operator(x)
            if model.decrease(direction.d, Fx) >= ENOUGH * direction.predicted:
                return x, Fx, 0.0
            direction = direction.halved()
        return state.x, state.Fx, 0.0

    # --- the preconditioner

    def _near_convolution(self, state: GaussNewtonState) -> Any:
        """Spectrum of the normal operator's answer to an impulse, where that describes it at all."""
        if any(split.gram is None for split in self._splits) or len(state.x.shape) < 1:
            return None
        like, shape = state.x, tuple(self.data.operator.in_shape)
        axes = tuple(range(-len(shape), 0))
        gram = Model(self, state).data_gram
        impulse = arrays.zeros(like.shape, like) + arrays.to_device_of(_impulse(shape, like), like)
        answer = arrays.to_numpy(gram(impulse))
        centre = tuple(-(n // 2) for n in shape)
        spectrum = np.fft.fftn(np.roll(answer, centre, axes), axes=axes).real
        spectrum = spectrum.reshape(-1, *shape).mean(0)
        largest = float(spectrum.max())  # zero where the centre is not measured
        spectrum = np.maximum(spectrum / largest, 1e-3) if largest > 0 else np.ones(shape)
        probe = arrays.to_device_of(_signs(tuple(like.shape), like), like)
        filtered = arrays.filter_fourier(probe, spectrum, len(shape))
        true = gram(probe)
        answered, energy = arrays.to_float(arrays.dot(true, filtered)), arrays.to_float(arrays.dot(filtered, filtered))
        alike = answered > LIKE_A_CONVOLUTION * arrays.to_float(arrays.norm(true)) * energy**0.5
        return spectrum * (answered / energy) if alike else None


class LevenbergMarquardt(GaussNewton):
    """Damped Gauss-Newton steps for ``data + strength * prior``: safe far from the answer, quick near it.

    Parameters
    ----------
    data, prior, strength, scale, relaxation, balance, cg_iterations
        See :class:`GaussNewton`.

    References
    ----------
    K. Madsen, H. B. Nielsen, O. Tingleff, Methods for Non-Linear Least Squares Problems, 2004.
    """

    def _descend(self, state: GaussNewtonState, model: Model) -> tuple[Array, Array, float]:
        """The damped step, with ever more damping until it is low enough."""
        damping = state.damping or FIRST_DAMPING * model.curvature_along_gradient()
        for _ in range(TRIALS):
            direction = model.direction(damping)
            x = state.x + direction.d
            Fx = self.data.operator(x)
            decrease = model.decrease(direction.d, Fx)
            if decrease >= ENOUGH * direction.predicted:
                return x, Fx, damping * _change_of_damping(decrease, direction.predicted)
            damping *= MORE
        return state.x, state.Fx, damping


@dataclass(frozen=True, eq=False)
class IRGN(GaussNewton):
    """Iteratively regularised Gauss-Newton: the strength falls from step to step, down to the one asked for.

        strength_k = strength * max(1, first * ratio^k)

    Parameters
    ----------
    data, prior, strength, scale, relaxation, balance, cg_iterations
        See :class:`GaussNewton`.
    first : float
        Factor of the first strength.
    ratio : float
        By which it falls, below 1.

    References
    ----------
    A. B. Bakushinskii, "The problem of the convergence of the iteratively regularized Gauss-Newton method", Comput.
    Math. Math. Phys. 32 (1992).
    """

    first: float = 1e3
    ratio: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_strength(self)
        positive_float("first", self.first)
        if not 0 < self.ratio < 1:
            raise ArgumentError(f"ratio is {self.ratio}; expected a number between 0 and 1. Pass 0.5, for example.")

    def init(self, x0: Array) -> GaussNewtonState:
        return GaussNewton.init(self.at(self._factor(0) * self.strength), x0)

    def step(self, state: Any, k: int) -> GaussNewtonState:
        now = self.at(self._factor(k) * self.strength)
        return GaussNewton.step(now, GaussNewton.restart(now, state, self._factor(k - 1) * self.strength), k)

    def _factor(self, k: int) -> float:
        return max(1.0, self.first * self.ratio ** max(k, 0))


def _change_of_damping(decrease: float, predicted: float) -> float:
    return LESS if decrease > GOOD * predicted else MORE if decrease < POOR * predicted else 1.0


def _impulse(shape: tuple[int, ...], like: Array) -> np.ndarray:
    impulse = np.zeros(shape, dtype=arrays.to_numpy(like).dtype)
    impulse[tuple(n // 2 for n in shape)] = 1.0
    return impulse


def _signs(shape: tuple[int, ...], like: Array) -> np.ndarray:
    signs = np.random.default_rng(0).choice([-1.0, 1.0], shape)
    return signs.astype(arrays.to_numpy(like).dtype)
