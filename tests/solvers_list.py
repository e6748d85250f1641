"""The solvers that pass the public battery: each a builder and the number of steps within which it must be done."""

from __future__ import annotations

from typing import Any

from solvers import ADMM, FISTA, OGM, PDHG, POGM, GradientDescent, LeastSquares, ProximalGradient, RegularisedCG


def regularised(solver: Any, **options: Any) -> Any:
    """``(operator, y, function, strength)`` -> algorithm, for a solver of ``data + strength * prior``."""
    return lambda operator, y, function, strength: solver(LeastSquares(operator, y), function, strength, **options)


SOLVERS: dict[str, tuple[Any, int]] = {
    "admm": (regularised(ADMM), 60),
    "cg": (regularised(RegularisedCG), 13),
    "fista": (regularised(FISTA), 60),
    "fista, monotone": (regularised(FISTA, monotone=True), 60),
    "gradient descent": (regularised(GradientDescent), 50),
    "ogm": (regularised(OGM), 70),
    "pdhg": (regularised(PDHG), 2000),
    "pogm": (regularised(POGM), 60),
    "proximal gradient": (regularised(ProximalGradient), 90),
}
