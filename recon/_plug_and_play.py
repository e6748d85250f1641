"""How plug-and-play restoration is set up: steps, weight, and the noise that the data leave in the image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from recon._first_guess import unseen_error
from recon._selection_problem import Choice, measured_count
from recon.decisions import Decision, Plan, Request
from recon.noise import Gaussian, Poisson
from solvers import arrays
from solvers.arrays import Array

USUAL_WEIGHT = 0.23  # of the prior against the data, over what probabilities would give: Zhang et al. 2022
LIGHTEST, HEAVIEST = 0.05, 0.5  # the same, where it follows from the operator
TOLD = 0.85  # noise of the data step over the level that the denoiser is told
MIDDLE = 4.0  # the level at which it is compared, over the noise
SPACING = 1.2  # between the weights tried in a search: the risk is steep on the side of small ones
HALVINGS = 12  # of the interval in which the weight is looked for
STEPS = 6  # from a classical image on; more lose detail
NEARLY_ALL = 0.7  # numbers measured for each of the image, from which on the data alone say what is there
STEPS_FEW = 10  # where there are fewer
STEPS_UNSEEN = 24  # where part of the image is not measured, and what is known has to spread into it
MOMENTUM_UNSEEN = 0.65
MOMENTUM_FEW = 0.7
FIRST_FEW, LAST_FEW = 2.3, 0.7  # levels over the usual last one, from a classical image on
LAST_UNSEEN = 0.5  # last level over the noise
LEAST_UNSEEN = 1e-2  # and over the root mean square of the samples
FIRST_HOLES, LAST_HOLES = 2.0, 0.08  # levels over the error of interpolation, where pixels are missing
NOISE_HOLES = 0.65  # last level over the noise, there
CLEAN_HOLES = 0.25  # noise over the error of interpolation, up to which what is left of the data is added again
FIRST_CLEAN, LAST_CLEAN = 2.5, 1.5  # levels over the error of interpolation, there
LEFT_CLEAN = 0.4  # error of what was filled in, over that of interpolation
POSITIONS = 8  # of the denoiser, whose answers are averaged
FIRST_GROUPS, LAST_GROUPS = 1.5, 0.6  # levels over the error of interpolation, for groups of similar patches after that
AVERAGED_GROUPS = 6
SMALLEST_GROUPS, LARGEST_GROUPS = 64, 2**18  # pixels a side, and of the image: half a minute
LEAST_LEFT = 0.05  # degrees of freedom that a residual has, over the measurements
SETTLING = (
    "admm", "condat-vu", "douglas-rachford", "fista", "half-quadratic", "linearised-admm", "pd3o", "pdhg", "pogm",
)  # fmt: skip
"""Solvers with one level of noise, which end where they settle."""
FROM_CLASSICAL = ("dpir", "learned-dpir", "learned-nonlinear-dpir", "modelled-dpir", "nonlinear-dpir")
QUIETEST = 2e-3  # noise over the root mean square of the measurement, below which denoisers were not trained


def denoiser_of(prior: Any) -> Any:
    """The plug-and-play part of a prior, or None."""
    from priors import PlugAndPlay

    functions = [getattr(term.function, "prior", term.function) for term in prior.terms()]
    found = [function for function in functions if isinstance(function, PlugAndPlay)]
    return found[0] if found else None


def starts_from_classical(plan: Plan) -> bool:
    """Whether a plan is of plug-and-play, which starts from an image that is good already."""
    in_steps = plan.decisions["solver"].choice in FROM_CLASSICAL
    return isinstance(plan.noise, Gaussian) and (in_steps or isinstance(plan.solver, BuildSettling))


def from_classical(request: Request, choice: Choice | None, image: Array) -> Request:
    """The request that starts from a classical image, whose residual also tells the noise better than ``y`` does."""
    y, operator = request.y, request.operator
    known = None if choice is None or request.before is None else (request.before, choice)
    request = replace(request, x0=image, before=None, known=known)
    picked = is_partial(operator) and not arrays.is_complex(y)  # pixels: their residual says nothing of those between
    if request.plan.sigma_known or picked or choice is None or choice.divergence is None:
        return request
    misfit = arrays.to_float(arrays.norm(operator(image) - y)) / math.sqrt(measured_count(operator, y))
    level = misfit / math.sqrt(max(1.0 - choice.divergence, LEAST_LEFT))
    # In the quietest part of k-space there is signal besides the noise, and some is left in the residual.
    noise = Gaussian(min(level, float(request.plan.noise.sigma)) if arrays.is_complex(y) else level)
    plans = [_of_noise(plan, noise, y) for plan in (request.plan, *request.candidates)]
    return replace(request, plan=plans[0], candidates=tuple(plans[1:]))


def _of_noise(plan: Plan, noise: Gaussian, y: Array) -> Plan:
    """The plan of a denoiser at another noise level; other plans as they are."""
    from recon._learned_steps import denoiser_strength

    if plan.usual is None or not hasattr(plan.solver, "at"):
        return plan
    usual = denoiser_strength(plan.decisions["solver"].choice, y, noise, plan.operator)
    said = {"noise": Decision(f"Gaussian, about {noise.sigma:.3g}", "residual of the classical image")}
    strength = plan.strength
    if strength == plan.usual:
        strength, said["strength"] = usual, Decision(f"{usual:.4g}", plan.decisions["strength"].reason)
    decisions = {**plan.decisions, **said}
    solver = plan.solver.at(noise)
    return replace(plan, noise=noise, solver=solver, strength=strength, usual=usual, decisions=decisions)


class BuildDPIR:
    """``(data, prior, strength) -> DPIR`` with the levels and steps that suit the operator, from a classical image."""

    def __init__(self, noise: Any):
        self.noise = noise

    def at(self, noise: Any) -> BuildDPIR:
        """The same for another noise."""
        return BuildDPIR(noise)

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        from priors import Denoiser
        from solvers import DPIR

        if data.y is None or isinstance(self.noise, Poisson):
            return DPIR(data, prior, strength)
        part = denoiser_of(prior)
        own = isinstance(getattr(part, "denoiser", None), Denoiser)
        problem = DPIR(data, prior, strength, turns=own, **_schedule(data.operator, data.y, self.noise))
        unfit = arrays.is_complex(data.y) or getattr(data.y, "requires_grad", False)
        grouped = problem.dual and takes_groups(prior, data.operator) and not unfit
        return _with_groups(problem) if grouped else problem


GROUPED_STEPS = (
    "a denoiser, told less noise from step to step; where noise is little, then groups of similar patches, and the mean"
)


def takes_groups(prior: Any, operator: Any) -> bool:
    """Whether similar patches are to help to fill in missing pixels where noise is little: of single planes."""
    from priors import Denoiser

    part = denoiser_of(prior)
    own = isinstance(getattr(part, "denoiser", None), Denoiser) and not part.denoiser.channels and part.level is None
    shape = operator.in_shape
    sized = len(shape) == 2 and min(shape) >= SMALLEST_GROUPS and math.prod(shape) <= LARGEST_GROUPS
    return own and sized and operator.kind != "complex" and has_holes(operator)


def _with_groups(problem: Any) -> Any:
    """The mean with what groups of similar patches make of the answer."""
    from priors import PlugAndPlay, SimilarPatches
    from solvers.mean_of_two import GuidedDPIR, MeanOfTwo

    data, strength, error = problem.data, problem.strength, problem.level / LAST_CLEAN
    levels = {"level": LAST_GROUPS * error, "first": FIRST_GROUPS * error}
    steps = {"length": problem.length, "consistent": problem.consistent, "dual": True, "average": AVERAGED_GROUPS}
    groups = GuidedDPIR(data, PlugAndPlay(SimilarPatches()), strength, **levels, **steps)
    return MeanOfTwo(data, problem.prior, strength, problem, groups)


MODELLED_STEPS = "a denoiser where products are costly: one product a step, a model of the data for the rest"
MODELLED: dict[str, Any] = {"length": 16, "momentum": MOMENTUM_UNSEEN, "begin": 0, "inner": 1}
MODELLED_ENOUGH: dict[str, Any] = {"length": 6, "momentum": 0.0, "begin": 0, "inner": 1}


def takes_modelled_steps(prior: Any, operator: Any) -> bool:
    """Whether plug-and-play on a model of the data was shown to be quicker and as good: costly products, planes."""
    from priors import Denoiser

    part = denoiser_of(prior)
    own = isinstance(getattr(part, "denoiser", None), Denoiser) and not part.denoiser.channels and part.level is None
    plane = len(operator.in_shape) == 2 and not operator.frames and not is_partial(operator)
    return own and plane and operator.costly and operator.mean_response() is not None


class BuildModelledDPIR(BuildDPIR):
    """``(data, prior, strength) -> ModelledDPIR`` with levels and steps, from a classical image."""

    def at(self, noise: Any) -> BuildModelledDPIR:
        """The same for another noise."""
        return BuildModelledDPIR(noise)

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        from priors import Denoiser
        from solvers import ModelledDPIR

        if data.y is None or isinstance(self.noise, Poisson):
            return ModelledDPIR(data, prior, strength)
        own = isinstance(getattr(denoiser_of(prior), "denoiser", None), Denoiser)
        steps = MODELLED_ENOUGH if share_measured(data.operator) >= NEARLY_ALL else MODELLED
        level = measured_noise(data.y, self.noise) / typical_gain(data.operator)
        levels = LAST_FEW * level, FIRST_FEW * level
        return ModelledDPIR(data, prior, strength, levels[0], first=levels[1], turns=own, **steps)


class BuildSettling:
    """``(data, prior, strength) -> algorithm`` of a solver that has one level of noise for the denoiser."""

    def __init__(self, name: str, solver: Any, noise: Any):
        self.name, self.solver, self.noise = name, solver, noise

    def at(self, noise: Any) -> BuildSettling:
        """The same for another noise."""
        return BuildSettling(self.name, self.solver, noise)

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        if data.y is None:
            return self.solver(data, prior, strength)
        level = measured_noise(data.y, self.noise) / typical_gain(data.operator)
        return self.solver(data, with_least_level(prior, level), strength, **self._steps(level, strength))

    def _steps(self, level: float, strength: float) -> dict[str, Any]:
        """Steps at which the denoiser is told the level: splittings are not stable with a denoiser at any others."""
        if self.name == "admm":
            return {"scale": level**2, "balance": False}
        return {"step_size": level**2 / strength} if self.name in ("douglas-rachford", "pdhg") else {}


def with_least_level(prior: Any, level: float) -> Any:
    """The prior whose denoiser is told no less noise than this; one whose level was given is left as it is."""
    from priors import LeastLevel

    def limited(part: Any) -> Any:
        return part if part.level is not None else replace(part, denoiser=LeastLevel(part.denoiser, level))

    return _with_denoiser(prior, limited)


def between_steps(prior: Any) -> Any:
    """The prior whose denoiser may round more coarsely, as more steps follow; None where it is not the library's."""
    from priors import Denoiser

    found = None if prior is None else getattr(denoiser_of(prior), "denoiser", None)
    if not isinstance(found, Denoiser) or found.precision != "auto":
        return None
    return _with_denoiser(prior, lambda part: replace(part, denoiser=replace(found, precision="coarse")))


def _with_denoiser(prior: Any, change: Callable[[Any], Any]) -> Any:
    """The prior with its plug-and-play part changed."""
    from priors import PlugAndPlay
    from priors.base import Scaled, Sum

    if isinstance(prior, Sum):
        return Sum(tuple(_with_denoiser(part, change) for part in prior.parts))
    if isinstance(prior, Scaled):
        return replace(prior, prior=_with_denoiser(prior.prior, change))
    return change(prior) if isinstance(prior, PlugAndPlay) else prior


def _schedule(operator: Any, y: Array, model: Gaussian) -> dict[str, Any]:
    """Levels and steps."""
    noise = measured_noise(y, model)
    if has_holes(operator):
        from solvers.plug_and_play import FIRST_LEVEL

        return _filling(unseen_error(operator, y, noise), noise, FIRST_LEVEL * _spread_seen(operator, y))
    if is_partial(operator):
        least = LEAST_UNSEEN * arrays.to_float(arrays.norm(y)) / math.sqrt(measured_count(operator, y))
        level = max(LAST_UNSEEN * noise, least) / operator.norm()
        return {"level": level, "length": STEPS_UNSEEN, "momentum": MOMENTUM_UNSEEN, "consistent": 1.0}
    level = noise / typical_gain(operator)
    if operator.has_solve_shifted or share_measured(operator) >= NEARLY_ALL:
        return {"level": level, "length": STEPS}
    levels = {"level": LAST_FEW * level, "first": FIRST_FEW * level}
    return {**levels, "length": STEPS_FEW, "momentum": MOMENTUM_FEW}


def _filling(error: float, noise: float, highest: float) -> dict[str, Any]:
    """Levels and steps where pixels are missing, by the error of their interpolation.

    The dual variable makes up for what a denoiser takes off that is no noise, so that its level may stay high. It
    brings back noise as well, hence only where there is little.
    """
    from solvers.learned_plug_and_play import LEFT

    if noise <= CLEAN_HOLES * error:
        steps = {"length": STEPS_UNSEEN, "consistent": (LEFT_CLEAN / LAST_CLEAN) ** 2 * USUAL_WEIGHT}
        levels = {"level": min(LAST_CLEAN * error, highest), "first": min(FIRST_CLEAN * error, highest)}
        return {**levels, **steps, "dual": True, "average": POSITIONS}
    level, first = max(NOISE_HOLES * noise, LAST_HOLES * error), max(FIRST_HOLES * error, 2 * noise)
    steps = {"length": STEPS_UNSEEN, "momentum": MOMENTUM_UNSEEN, "consistent": LEFT**2 * USUAL_WEIGHT}
    return {"level": level, "first": first, **steps}


def _spread_seen(mask: Any, y: Array) -> float:
    """Standard deviation of the pixels that a mask leaves."""
    return float(arrays.to_numpy(mask.adjoint(y))[..., arrays.to_numpy(mask.diagonal_gram()) > 0].std())


def share_measured(operator: Any) -> float:
    """Numbers measured for each number of the image."""
    parts = [2 if kind == "complex" else 1 for kind in (operator.out_kind, operator.kind)]
    return parts[0] * math.prod(operator.out_shape) / (parts[1] * math.prod(operator.in_shape))


def is_partial(operator: Any) -> bool:
    """Whether an operator picks samples and leaves others out, as masks and the colour filters of a sensor do."""
    if operator.sampling is not None and not bool(np.all(operator.sampling)):
        return True
    return bool(operator.selects) and share_measured(operator) < 1


def has_holes(operator: Any) -> bool:
    """Whether an operator measures pixels as they are, and leaves some of them out."""
    return bool(operator.selects and operator.pointwise) and is_partial(operator)


def usual_strength(y: Array, noise: Any) -> float:
    """The weight of a denoiser that has proved itself: 0.23 times the variance of the noise."""
    return USUAL_WEIGHT * (1.0 if isinstance(noise, Poisson) else measured_noise(y, noise) ** 2)


def matched_strength(y: Array, noise: Any, operator: Any) -> float:
    """The geometric mean of the usual strength and the one at which the denoiser is told the noise that it sees.

    A data step ``(A^H A + rho)^-1 (A^H y + rho z)`` turns white noise of level ``sigma`` into some of level
    ``sigma * gain(rho)``. With ``rho = weight * sigma^2 / level^2`` the weight follows from
    ``sigma * gain(rho) = TOLD * level``. Blurs that pass little of the detail want a smaller one than others.
    """
    usual = usual_strength(y, noise)
    if isinstance(noise, Poisson) or not getattr(operator, "has_solve_shifted", False):
        return usual
    matched = 0.0 if is_partial(operator) else _matched_weight(operator)
    return usual * min(max(math.sqrt(USUAL_WEIGHT * matched), LIGHTEST), HEAVIEST) / USUAL_WEIGHT


def _matched_weight(operator: Any) -> float:
    """The weight at which data step and denoiser agree on the noise."""
    signs = np.random.default_rng(0).integers(0, 2, operator.out_shape) * 2.0 - 1.0
    back = operator.adjoint(signs.astype(np.complex64 if operator.out_kind == "complex" else np.float32))
    level = MIDDLE / operator.norm()  # noise of level 1
    low, high = math.log(1e-3 * USUAL_WEIGHT), math.log(1e2 * USUAL_WEIGHT)
    for _ in range(HALVINGS):
        weight = 0.5 * (low + high)
        seen = operator.solve_shifted(back, math.exp(weight) / level**2)
        noise = arrays.to_float(arrays.norm(seen)) / math.sqrt(arrays.size(seen))
        low, high = (weight, high) if noise > TOLD * level else (low, weight)
    return math.exp(low)


def measured_noise(y: Array, noise: Gaussian) -> float:
    """Noise level of the measurement, kept above what denoisers know."""
    rms = arrays.to_float(arrays.norm(y)) / math.sqrt(arrays.size(y))
    return max(float(noise.sigma), QUIETEST * rms, np.finfo(float).tiny)


def typical_gain(operator: Any) -> float:
    """Geometric mean of the largest gain ``|A|`` and that of white images, ``sqrt(tr(A^H A) / n)``.

    The noise that smooth images see is the first one's, the noise of detail the other's. On deblurring, tomography and
    MRI a last level of the denoiser in between lost least.
    """
    signs = (2.0 * np.random.default_rng(0).integers(0, 2, operator.in_shape) - 1.0).astype(np.float32)
    white = arrays.to_float(arrays.norm(operator(signs))) / math.sqrt(signs.size)
    return max(math.sqrt(operator.norm() * white), 1e-30)
