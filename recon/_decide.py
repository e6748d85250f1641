"""How noise, prior and strength are decided."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from recon._arguments import checked_bounds
from recon._bands import weighted_bands
from recon._coil_noise import weighted_coils
from recon._named_priors import NAMES as PRIORS
from recon._named_priors import named_prior
from recon._noise_level import estimate_looks, sigma_found
from recon._noise_other import Impulse, Rician, Speckle
from recon._nonlinear import is_nonlinear
from recon.decisions import Decision, Plan
from recon.noise import LEAST_SQUARES, Gaussian, NoiseModel, Poisson, PoissonGaussian, Working
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OptionError, suggestion
from solvers.validation import positive_float

NOISES = ("auto", "gaussian", "poisson", "poisson-gaussian", "impulse", "speckle", "rician")
BLANK = 1e-6  # level of a measurement of zeros
STRENGTHS = ("auto", "joint", "sure", "gcv", "discrepancy", "whiteness", "l-curve")


def decide_noise(noise: Any, y: Array, operator: Any, bands: bool, decisions: dict[str, Decision]) -> Working:
    """The problem that the solvers see under the noise, and whether its level is known rather than estimated."""
    reason = "given"
    if isinstance(noise, str) and noise == "auto" and getattr(operator, "natural_noise", None):
        noise, reason = operator.natural_noise, "what the operator counts"
    if isinstance(noise, str) and noise in ("auto", "gaussian"):
        unlike = weighted_bands(y, operator) if bands and not is_nonlinear(operator) else None
        of = "bands" if unlike is not None else "coils"
        unlike = weighted_coils(y, operator) if unlike is None else unlike
        if unlike is not None:
            working, levels = unlike
            said = f"Gaussian, about {levels.min():.3g} to {levels.max():.3g}"
            decisions["noise"] = Decision(
                said, f"estimated from the measurement, one level for each of {len(levels)} {of}"
            )
            decisions["data term"] = Decision(*working.data_term)
            return working
        (sigma, plain), rounding = sigma_found(y, operator), getattr(operator, "rounding", 0.0)
        if sigma < rounding:
            decisions["noise"] = Decision(f"Gaussian, {rounding:.3g}", "rounding; the measurement shows no more")
            decisions["data term"] = Decision(*LEAST_SQUARES)
            return Working(y, operator, Gaussian(rounding), True, LEAST_SQUARES)
        about = "about" if getattr(operator, "neighbours_alike", True) else "below"
        # Where samples mix many pixels, the residual tells the level as well, and what the model gets wrong besides.
        known = plain and (operator.pointwise or operator.selects)
        where = ", where it is free of texture" if known else ""
        decisions["noise"] = Decision(f"Gaussian, {about} {sigma:.3g}", f"estimated from the measurement{where}")
        decisions["data term"] = Decision(*LEAST_SQUARES)
        return _with_a_level(Working(y, operator, Gaussian(sigma), known, LEAST_SQUARES))
    if isinstance(noise, str):
        if noise not in NOISES:
            raise OptionError(
                f"noise is {noise!r}; expected one of {', '.join(map(repr, NOISES))}, a standard deviation, or a noise "
                f"model.{suggestion(noise, NOISES)} Pass one of them."
            )
        if noise == "speckle":
            noise, reason = Speckle(estimate_looks(y, operator)), "looks estimated from the measurement"
        elif noise in ("poisson-gaussian", "rician"):
            kind: Any = Rician if noise == "rician" else PoissonGaussian
            noise, reason = kind.estimated(y, operator), "estimated from the measurement"
        else:
            noise = Poisson() if noise == "poisson" else Impulse()
    if not isinstance(noise, NoiseModel):
        noise = Gaussian(noise if np.ndim(noise) else positive_float("noise", noise, zero=True))
    working = _with_a_level(noise.working(y, operator))
    decisions["noise"] = Decision(str(noise), reason)
    decisions["data term"] = Decision(*working.data_term)
    return working


def _with_a_level(working: Working) -> Working:
    """The problem of a blank frame with next to no noise: its image is zero in any unit, and strengths need one."""
    if working.model != Gaussian(0.0) or arrays.to_float(arrays.norm(working.y)) > 0:
        return working
    return replace(working, model=Gaussian(BLANK), known=True)


def decide_prior(
    prior: Any, y: Array, bounds: Any, operator: Any, channels: bool, noise: Any, decisions: dict[str, Decision]
) -> tuple[Any, bool]:
    """The prior with the bounds, and whether it has a strength to choose."""
    from priors import Box, PlugAndPlay, TorchDenoiser

    tunable = True
    if isinstance(prior, str) or prior is None:
        name = "none" if prior is None else prior
        if name not in PRIORS:
            raise OptionError(
                f"prior is {prior!r}; expected one of {', '.join(PRIORS)}, or a prior object."
                f"{suggestion(name, PRIORS)} Pass one of them."
            )
        prior, title = named_prior(name, y, operator, channels, noise)
        tunable = name != "none"
        reason = "edges are kept, nothing is assumed of the content" if name == "auto" else "given"
        decisions["prior"] = Decision(title, reason)
    elif isinstance(prior, type):
        raise DTypeError(f"prior is the class {prior.__name__}; expected a prior. Pass {prior.__name__}(...).")
    elif all(hasattr(prior, attribute) for attribute in ("prox", "terms", "value")):
        tunable = not getattr(prior, "is_constraint", False)
        decisions["prior"] = Decision(repr(prior), "given")
    elif hasattr(prior, "adjoint"):
        raise DTypeError(
            f"prior is {prior!r}, a transform; expected a prior. Pass priors.Sparsity({type(prior).__name__}(...)) for "
            "images that are sparse in it."
        )
    elif callable(prior):
        module = "torch" in sys.modules and isinstance(prior, sys.modules["torch"].nn.Module)
        prior = PlugAndPlay(TorchDenoiser(prior) if module else prior)
        decisions["prior"] = Decision(repr(prior.denoiser), "given, a denoiser")
    else:
        raise DTypeError(
            f"prior is {prior!r}; expected a name ({', '.join(PRIORS)}), an object with value, prox and terms such as "
            "priors.TotalVariation(), or a denoiser D(v, sigma)."
        )
    if bounds is not None:
        box = Box(*checked_bounds(bounds, operator))
        prior = prior + box
        decisions["bounds"] = Decision(f"[{box.lower}, {box.upper}]", "given")
    return prior, tunable


def decide_calibrated(
    calibration: Any, operator: Any, channels: bool, *, prior: Any, solver: Any, strength: Any
) -> Any:
    """The prior of a calibration, which also decides solver and strength; they must have been left to it."""
    from recon.calibration import Calibration

    if not isinstance(calibration, Calibration):
        raise DTypeError(
            f"calibration is {calibration!r}; expected what recon.calibrate returns. Read a file with Calibration.load."
        )
    for name, given in (("prior", prior), ("solver", solver), ("strength", strength)):
        if not (isinstance(given, str) and given == "auto"):
            raise ArgumentError(
                f"{name} is {given!r} and a calibration is given, which decides it. Leave out {name}, or calibration."
            )
    calibration.require(operator)
    return calibration.prior(channels)


def refuse_for_unknowns(calibration: Any) -> None:
    """Raise if there is a calibration, where the operator has unknown parameters."""
    if calibration is not None:
        raise ArgumentError(
            "calibration is given and the operator has unknown parameters; a calibration is of one operator. "
            "Find them first, then reconstruct with operator.with_values(...)."
        )


def several(priors: Any, strength: Any) -> Any:
    """The priors to choose from, checked as a list."""
    if len(priors) < 2:
        raise ArgumentError(f"prior is {priors!r}; expected two or more to choose from. Pass the one by itself.")
    if not isinstance(strength, str) or strength in ("discrepancy", "whiteness", "l-curve"):
        raise ArgumentError(
            f"prior is a list and strength {strength!r}; priors are compared by their predicted risks, each at its own "
            "strength. Pass strength='auto', or one prior."
        )
    return priors


def undecided(candidates: tuple[Plan, ...]) -> Plan:
    """The plan before the priors are compared: that of the first, which says so."""
    names = ", ".join(c.decisions["prior"].choice for c in candidates)
    for candidate in candidates:
        if candidate.criterion is None:
            raise ArgumentError(
                f"prior is a list that holds {candidate.decisions['prior'].choice}, whose strength is not chosen; "
                "expected priors with a strength. Leave it out."
            )
    first = candidates[0]
    said = {"prior": Decision(f"one of {names}", "smallest predicted risk")}
    solvers = {c.decisions["solver"].choice for c in candidates}
    if len(solvers) > 1:
        said["solver"] = Decision(" or ".join(sorted(solvers)), "as the prior needs")
    return replace(first, decisions={**first.decisions, **said})


def require_balance(prior: Any) -> None:
    rebalanced = getattr(prior, "rebalanced", None)
    if rebalanced is None or rebalanced(1.0) is None:
        raise ArgumentError(
            f"strength is 'joint' and the prior {prior!r}, which has one weight; expected one with several, such as "
            "'tgv' or a sum of two priors. Pass strength='auto'."
        )


def decide_strength(
    strength: Any, tunable: bool, criterion: str, usual: float | None, decisions: dict[str, Decision]
) -> tuple[float | None, str | None]:
    if not tunable:
        decisions["strength"] = Decision("none", "the prior has no strength")
        return 0.0, None
    if isinstance(strength, str):
        if strength not in STRENGTHS:
            raise OptionError(
                f"strength is {strength!r}; expected one of {', '.join(STRENGTHS)}, or a number above 0."
                f"{suggestion(strength, STRENGTHS)} Pass one of them."
            )
        if strength == "joint":
            decisions["strength"] = Decision("selected, with the balance of the prior", f"smallest risk: {criterion}")
            return None, criterion
        if strength != "auto":
            decisions["strength"] = Decision("selected", f"criterion given: {strength}")
            return None, strength
        if usual is not None:
            decisions["strength"] = Decision(f"{usual:.4g}", "what has proved itself for denoisers, over the noise")
            return usual, None
        decisions["strength"] = Decision("selected", f"smallest predicted risk: {criterion}")
        return None, criterion
    number = positive_float("strength", strength)
    decisions["strength"] = Decision(f"{number:g}", "given")
    return number, None
