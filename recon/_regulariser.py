"""How learned regularisers are set up: the level they are told, and their strength."""

from __future__ import annotations

import math
from typing import Any

from recon._plug_and_play import measured_noise, typical_gain
from recon.noise import Gaussian, Poisson
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OptionError

TOLD = 0.57
"""Level that the ridge regulariser is told, over the noise that the data leave in the image."""
WEIGHTS = {"RidgeRegulariser": 0.65, "GradientStep": 30.0, "RED": 0.23}
"""Strengths, over ``(sigma / level)^2``."""


def named_ridge(y: Array, operator: Any, noise: Any) -> tuple[Any, str]:
    """The ridge regulariser at the level that suits the noise in the image, and what to call it."""
    from priors import RidgeRegulariser

    if len(operator.in_shape) < 2:
        raise OptionError(
            f"prior is 'ridge', which knows images; {operator!r} gives signals of shape {operator.in_shape}. "
            "Pass prior='tv' or 'wavelet'."
        )
    level = TOLD * _noise_level(y, noise) / typical_gain(operator)
    return RidgeRegulariser(level), f"learned ridge regulariser, level {level:.3g}"


def named_red(denoiser: Any, title: str, y: Array, operator: Any, noise: Any) -> tuple[Any, str]:
    """Regularisation by denoising at the level that the data leave in the image, and what to call it."""
    from priors import RED

    level = _noise_level(y, noise) / typical_gain(operator)
    return RED(denoiser, level), f"regularisation by denoising, {title}, level {level:.3g}"


def regulariser_of(prior: Any) -> Any:
    """The learned regulariser in a prior, or None."""
    functions = [getattr(term.function, "prior", term.function) for term in prior.terms()]
    found = [function for function in functions if type(function).__name__ in WEIGHTS]
    return found[0] if found else None


def regulariser_strength(prior: Any, y: Array, noise: Any) -> float | None:
    """The strength that suits the level of a learned regulariser; None for other priors."""
    found = regulariser_of(prior)
    if found is None:
        return None
    variance = 1.0 if isinstance(noise, Poisson) else _noise_level(y, noise) ** 2
    return WEIGHTS[type(found).__name__] * variance / found.level**2


def regulariser_solver(prior: Any, noise: Any, operator: Any) -> tuple[str, str] | None:
    """The solver for a learned regulariser, or None where there is none."""
    found = type(regulariser_of(prior)).__name__
    if found not in WEIGHTS:
        return None
    bounded = any(hasattr(term.function, "bounds") for term in prior.terms())
    if found == "GradientStep" and isinstance(noise, Gaussian) and operator.has_solve_shifted and not bounded:
        return "data-proximal", "closed form of the data, gradient steps of the denoiser that lower the objective"
    if found == "RED":
        return "lbfgs", "a prior that is known by its gradient"
    return "lbfgs", "a smooth prior; the objective decreases in every step"


def _noise_level(y: Array, noise: Any) -> float:
    """Standard deviation of the measurement."""
    if isinstance(noise, Poisson):
        return math.sqrt(max(arrays.to_float(abs(y).mean()), 1.0))
    return measured_noise(y, noise)
