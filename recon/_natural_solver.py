"""Which solver suits a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recon._learned_steps import (
    LEARNED_CURVES,
    LEARNED_NEWTON,
    LEARNED_STEPS,
    BuildProximalNewton,
    takes_learned_curves,
    takes_learned_newton,
    takes_learned_steps,
)
from recon._nonlinear import is_nonlinear, nonlinear_solver
from recon._plug_and_play import (
    GROUPED_STEPS,
    MODELLED_STEPS,
    denoiser_of,
    takes_groups,
    takes_modelled_steps,
)
from recon._regulariser import regulariser_solver
from recon._solver_names import SOLVERS, named_solver
from recon.decisions import Decision
from recon.noise import Gaussian
from solvers.errors import OptionError, suggestion


def decide_solver(
    solver: Any, noise: Any, prior: Any, operator: Any, decisions: dict[str, Decision]
) -> Callable[..., Any]:
    """A callable (data, prior, strength) -> algorithm."""
    if callable(solver):
        decisions["solver"] = Decision(getattr(solver, "__name__", repr(solver)), "given")
        return solver
    if solver not in SOLVERS:
        raise OptionError(
            f"solver is {solver!r}; expected one of {', '.join(SOLVERS)}, or a callable (data, prior, strength)."
            f"{suggestion(str(solver), SOLVERS)} Pass one of them."
        )
    if solver == "auto":
        name, reason = natural_solver(noise, prior, operator)
        build, _ = named_solver(name, noise, prior, operator)
        if reason == LEARNED_NEWTON:
            build = BuildProximalNewton()
    else:
        name = solver
        build, reason = named_solver(name, noise, prior, operator)
    decisions["solver"] = Decision(name, reason)
    return build


def natural_solver(noise: Any, prior: Any, operator: Any) -> tuple[str, str]:
    """Its name, and the reason."""
    if is_nonlinear(operator):
        if isinstance(noise, Gaussian) and takes_learned_curves(prior, operator):
            return "learned-nonlinear-dpir", LEARNED_CURVES
        return nonlinear_solver(operator, with_denoiser=denoiser_of(prior) is not None)
    quadratic = isinstance(noise, Gaussian)
    learned = regulariser_solver(prior, noise, operator)
    if learned is not None:
        return learned
    if denoiser_of(prior) is not None:
        if quadratic and takes_learned_steps(prior, operator):
            return "learned-dpir", LEARNED_STEPS
        if quadratic and takes_modelled_steps(prior, operator):
            return "modelled-dpir", MODELLED_STEPS
        if quadratic and takes_groups(prior, operator):
            return "dpir", GROUPED_STEPS
        if quadratic:
            return "dpir", "a denoiser, told less noise from step to step"
        return "admm", "a denoiser in place of the prior's proximal map"
    if quadratic and all(getattr(term.function, "is_quadratic", False) for term in prior.terms()):
        return "cg", "the objective is quadratic"
    on_the_image = all(term.operator is None for term in prior.terms())
    if quadratic and on_the_image and len(prior.terms()) == 1 and operator.has_solve_shifted:
        return "douglas-rachford", "closed form of the data, exact proximal map of the prior"
    if quadratic and on_the_image and operator.kind == "complex":
        return "pdhg", "the prior's proximal map is exact, and no linear system is left"
    if quadratic and operator.has_solve_shifted and (on_the_image or _is_sparse_in_a_frame(prior)):
        return "pdhg", "closed form of the data, and the prior's terms need no linear system"
    if operator.fourier_gram() is not None:
        return "admm", "the normal operator is diagonal in Fourier space: closed form"
    if quadratic and operator.has_solve_shifted and operator.neighbours_alike and _is_planar_variation(prior):
        return "douglas-rachford", "closed form of the data, a quick proximal map of the prior"
    if quadratic and operator.factors() is not None:
        return "admm", "data and prior split into closed forms"
    if quadratic and takes_learned_newton(operator) and _is_planar_variation(prior):
        return "proximal-newton", LEARNED_NEWTON
    return "admm", "conjugate gradients inside, preconditioned and warm-started"


def _is_sparse_in_a_frame(prior: Any) -> bool:
    """Whether a prior is of coefficients in a redundant frame, on which ADMM takes hundreds of steps."""
    from priors import WaveletFrame

    return any(isinstance(term.operator, WaveletFrame) for term in prior.terms())


def _is_planar_variation(prior: Any) -> bool:
    """Whether a prior is total variation of images, perhaps within bounds; its proximal map starts from the last."""
    from priors import TotalVariation

    parts = [part for part in getattr(prior, "parts", (prior,)) if not hasattr(part, "bounds")]
    return len(parts) == 1 and isinstance(parts[0], TotalVariation) and parts[0].ndim < 3
