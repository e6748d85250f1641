"""How a nonlinear operator is reconstructed: where the solver starts, and from which of several starts it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator, Operator
from recon.operators.nonlinear import least_squares_guess
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.krylov import CG
from solvers.loop import solve, unroll

TRIAL_STEPS = 100  # of the solve that judges a start
TRIAL_TOL = 5e-3
INVERSE_STEPS = 10  # conjugate gradient steps that stand for an inverse
POWER_STEPS = 5


def is_nonlinear(operator: Any) -> bool:
    """Whether an operator has no adjoint but that of its derivative."""
    return isinstance(operator, Operator) and not isinstance(operator, LinearOperator)


def is_curve(operator: Any) -> bool:
    """Whether each sample is a smooth function of the real pixel at its place, and of no other."""
    return is_nonlinear(operator) and operator.pointwise and operator.kind == "real" and operator.has_jvp


def nonlinear_guess(operator: Any, y: Array) -> Array:
    """The operator's own first guess; else a few steps on the problem linearised at zero, or at one where that is flat.

    A step is kept only where it explains the measurement better than the image at which it was linearised.
    """
    own = operator.first_guess(y)
    if own is not None:
        return own
    flat = _blank(operator, y)
    if not operator.has_jvp:
        return flat
    for level in (0.0, 1.0):
        x = flat + level
        J = operator.linearize(x)
        residual = y - operator(x)
        if arrays.to_float(arrays.norm(J.adjoint(residual))) > 0:
            step = least_squares_guess(J, residual)
            return x + step if _misfit(operator, x + step, y) < _misfit(operator, x, y) else x
    return flat


def _blank(operator: Any, y: Array) -> Array:
    """Zeros of the images' shape and kind."""
    batch = tuple(y.shape[: y.ndim - len(operator.out_shape)])
    kind = operator.kind if operator.kind != "any" else "complex" if arrays.is_complex(y) else "real"
    like = arrays.asarray(np.zeros(1, dtype=complex if kind == "complex" else float), y)
    return arrays.zeros(batch + operator.in_shape, like)


def _misfit(operator: Any, x: Array, y: Array) -> float:
    size = arrays.to_float(arrays.norm(operator(x) - y))
    return size if np.isfinite(size) else np.inf


def best_start(
    algorithm: Any, operator: Any, y: Array, first: Array, rng: np.random.Generator
) -> tuple[Array, int, int]:
    """The start from which a short solve reaches the lowest objective: the image reached, which it was, of how many."""
    starts = [first, *operator.starts(y, rng)]
    if len(starts) == 1:
        return first, 1, 1
    reached = [solve(algorithm, x0, max_iter=TRIAL_STEPS, tol=TRIAL_TOL, objective=False).image for x0 in starts]
    values = [arrays.to_float(algorithm.objective(x)) for x in reached]
    values = [value if np.isfinite(value) else np.inf for value in values]
    best = int(np.argmin(values))
    return reached[best], best + 1, len(starts)


def carried_to_image(operator: Any, x: Array, passed: float) -> Callable[[Array], Array] | None:
    """``P^H P`` with ``P = |J| (J^H J + passed |J|^2)^-1 J^H``, which weighs a prediction as its share of the image.

    ``J`` is the derivative at ``x``; unless it is diagonal, a few conjugate gradient steps stand for each inverse. None
    where there is no derivative in a direction.
    """
    if not operator.has_jvp:
        return None
    J = operator.linearize(x)
    square = _square_of_norm(J, x)
    if not square > 0:
        return None
    diagonal = J.diagonal_gram() if J.pointwise else None
    if diagonal is not None:
        weights = square * diagonal / (diagonal + passed * square) ** 2
        return lambda array: arrays.asarray(weights, array) * array

    def inverse(b: Array) -> Array:
        system = CG(lambda v: arrays.axpy(passed * square, v, J.gram(v)), b)
        return unroll(system, arrays.zeros(tuple(b.shape), b), INVERSE_STEPS)

    return lambda array: square * J(inverse(inverse(J.adjoint(array))))


def _square_of_norm(J: Any, x: Array) -> float:
    """``|J|^2`` by a few power iterations: a scale."""
    signs = 2.0 * np.random.default_rng(0).integers(0, 2, tuple(x.shape)) - 1.0
    v, square = arrays.asarray(signs, x), 0.0
    if arrays.is_complex(x):
        v = v + 0 * x
    for _ in range(POWER_STEPS):
        v = v * (1 / arrays.to_float(arrays.norm(v)))
        v = J.gram(v)
        square = arrays.to_float(arrays.norm(v))
        if not 0 < square < np.inf:
            return 0.0
    return square


def nonlinear_solver(operator: Any, *, with_denoiser: bool = False) -> tuple[str, str]:
    """Name of the solver that suits a nonlinear operator, and the reason."""
    if with_denoiser and operator.has_jvp:
        return "nonlinear-dpir", "a denoiser, told less noise from step to step; Gauss-Newton steps between"
    if not operator.has_jvp:
        return "fista", "the operator is nonlinear and gives gradients only"
    return "levenberg-marquardt", "the operator is nonlinear: damped Gauss-Newton steps, conjugate gradients inside"


def require_nonlinear_solver(name: str, operator: Any, noise: Any, taken: tuple[str, ...]) -> None:
    """Refuse a solver that takes linear operators only."""
    if not is_nonlinear(operator) or name in taken:
        return
    data = operator.data_term(None, noise)
    if data is None or not data.linear:
        raise ArgumentError(
            f"solver is {name!r}, which takes linear operators; {operator!r} is not. "
            f"Use solver='auto', {', '.join(map(repr, taken[:-1]))} or {taken[-1]!r}."
        )
