"""The solvers that pass the public battery: each a builder and the number of steps within which it must be done."""

from __future__ import annotations

from typing import Any

import solvers
from solvers import LeastSquares


def regularised(name: str, **options: Any) -> Any:
    """``(operator, y, function, strength)`` -> algorithm, for a solver of ``data + strength * prior``."""
    solver = getattr(solvers, name)
    return lambda operator, y, function, strength: solver(LeastSquares(operator, y), function, strength, **options)


def least_squares(name: str) -> Any:
    """The same for a solver of damped least squares; ``function`` is the damping."""
    solver = getattr(solvers, name)
    return lambda operator, y, function, strength: solver(operator, y, strength)


def anderson(operator: Any, y: Any, function: Any, strength: float) -> Any:
    """On a proximal gradient of fixed steps."""
    build = regularised("ProximalGradient", step_size=1 / operator.norm() ** 2)
    return solvers.Anderson(build(operator, y, function, strength))


def minres(operator: Any, y: Any, function: Any, strength: float) -> Any:
    """On the normal equations."""
    return solvers.MINRES(lambda x: operator.gram(x) + strength * x, operator.adjoint(y))


def half_quadratic(operator: Any, y: Any, function: Any, strength: float) -> Any:
    """At a fixed penalty, and with the strength at which the split problem has the minimiser asked for."""
    beta = 4.0
    return solvers.HalfQuadratic(LeastSquares(operator, y), function, strength * beta / (beta - strength), beta=beta)


SOLVERS: dict[str, tuple[Any, int]] = {
    "admm": (regularised("ADMM"), 60),
    "anderson": (anderson, 40),
    "cg": (regularised("RegularisedCG"), 13),
    "cgls": (least_squares("CGLS"), 13),
    "condat-vu": (regularised("CondatVu"), 90),
    "data-proximal gradient": (regularised("DataProximalGradient"), 60),
    "douglas-rachford": (regularised("DouglasRachford"), 90),
    "fista": (regularised("FISTA"), 60),
    "fista, monotone": (regularised("FISTA", monotone=True), 60),
    "gauss-newton": (regularised("GaussNewton"), 15),
    "gauss-newton, iteratively regularised": (regularised("IRGN"), 25),
    "gradient descent": (regularised("GradientDescent"), 50),
    "half-quadratic": (half_quadratic, 90),
    "l-bfgs": (regularised("LBFGS"), 40),
    "levenberg-marquardt": (regularised("LevenbergMarquardt"), 15),
    "linearised admm": (regularised("LinearisedADMM"), 90),
    "lsmr": (least_squares("LSMR"), 13),
    "lsqr": (least_squares("LSQR"), 13),
    "minres": (minres, 13),
    "nonlinear admm": (regularised("NonlinearADMM"), 120),
    "nonlinear pdhg": (regularised("NonlinearPDHG"), 120),
    "ogm": (regularised("OGM"), 70),
    "ordered subsets": (regularised("OrderedSubsets"), 90),
    "pd3o": (regularised("PD3O"), 90),
    "pdhg": (regularised("PDHG"), 70),
    "pogm": (regularised("POGM"), 60),
    "proximal newton": (regularised("ProximalNewton"), 30),
    "restarted": (lambda *problem: solvers.Restarted(regularised("FISTA")(*problem)), 60),
    "stochastic pdhg": (regularised("StochasticPDHG"), 150),
    "proximal gradient": (regularised("ProximalGradient"), 90),
}
