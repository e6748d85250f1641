"""Where restoration takes learned steps, and how it is set up."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from recon._first_guess import first_guess, unseen_error
from recon._nonlinear import is_curve
from recon._plug_and_play import (
    between_steps,
    denoiser_of,
    has_holes,
    is_partial,
    matched_strength,
    measured_noise,
    share_measured,
    typical_gain,
    usual_strength,
)
from recon.decisions import Plan
from recon.noise import Gaussian
from solvers import arrays

LEAST_MEASURED = 0.2  # numbers for each pixel
TEXTURE = 0.3  # first level over the differences of neighbours in the start, times the samples a pixel
FIRST_HOLES = 2.0, 0.8, 0.8  # and where pixels are missing: over the last one, the error of interpolation, differences
LAST_UNSEEN = 0.03  # last one over the spread, where pixels are missing
EXACT = 0.1  # least noise that data are taken to have in the answer, over the least that a denoiser knows
START_TOL = 0.02
"""Distance from its limit, over its norm, at which a classical image is near enough to start from."""
LEARNED_STEPS = "a denoiser and a closed form of the data: steps as learned on other operators"
LEARNED = "learned-dpir", "learned-nonlinear-dpir"
LEARNED_CURVES = "a denoiser, each sample a curve of one pixel: steps as learned on other operators"
LEARNED_STOP = "at most 8 steps", "as learned: none that is expected to gain less than 0.01 dB"


def takes_learned_steps(prior: Any, operator: Any) -> bool:
    """Whether learned steps of plug-and-play were shown to help: the library's denoiser, plane images, closed forms.

    On blurs whose samples are as fine as the image the classical steps are as good, on missing pixels safer. Of k-space
    the learned ones are as good in a third of the steps where the noise is known, and a little worse where it is not.
    """
    from recon.operators import Blur

    if not (_is_own(prior) and operator.has_solve_shifted and len(operator.in_shape) == 2):
        return False
    factors = operator.factors()
    if is_partial(operator) or operator.transfer() is not None or isinstance(operator, Blur):
        return False
    if factors is not None and factors[0].selects:  # a blur whose samples are coarser, however much
        return factors[1].transfer() is not None
    return math.prod(operator.out_shape) >= LEAST_MEASURED * math.prod(operator.in_shape)


def takes_learned_curves(prior: Any, operator: Any) -> bool:
    """Whether they were shown to help a nonlinear operator: plane images of which each sample tells one pixel."""
    return _is_own(prior) and is_curve(operator) and len(operator.in_shape) == 2


def _is_own(prior: Any) -> bool:
    """Whether a prior is the library's denoiser of grey images, told what noise there is."""
    from priors import Denoiser

    part = denoiser_of(prior)
    denoiser = getattr(part, "denoiser", None)
    return isinstance(denoiser, Denoiser) and not denoiser.channels and part.level is None


def denoiser_strength(solver: str, y: Any, noise: Any, operator: Any) -> float:
    """The weight of a denoiser: learned steps depart from one that is the same for all operators."""
    return usual_strength(y, noise) if solver in LEARNED else matched_strength(y, noise, operator)


def classical_start(operator: Any, y: np.ndarray, noise: Any, tol: float | None = START_TOL) -> np.ndarray:
    """The answer of total variation, from which plug-and-play starts; None is the usual tolerance."""
    from recon._curves import by_parabolas
    from recon.reconstruct import reconstruct

    if is_curve(operator):
        return np.ascontiguousarray(by_parabolas(operator, y, noise, tol))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a start nothing is claimed
        return np.ascontiguousarray(reconstruct(y, operator, prior="tv", noise=noise, tol=tol))


def enough_for_start(before: Plan, plan: Plan) -> Plan:
    """The classical plan, solved no closer than learned steps need; an unknown noise is told by its residual."""
    learned = plan.decisions["solver"].choice in LEARNED
    return replace(before, tol=max(before.tol, START_TOL)) if learned and before.sigma_known else before


class BuildLearnedDPIR:
    """``(data, prior, strength) -> LearnedDPIR`` whose last classical level is what the data leave in the image."""

    def __init__(self, noise: Gaussian, schedule: Any = None, length: int = 8):
        self.noise, self.schedule, self.length = noise, schedule, length

    def at(self, noise: Any) -> BuildLearnedDPIR:
        """The same for another noise."""
        return BuildLearnedDPIR(noise, self.schedule, self.length)

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        from priors import Denoiser
        from solvers import LearnedDPIR, LearnedSchedule

        if self.schedule is None:
            self.schedule = LearnedSchedule.load("plug-and-play")
        if data.y is None:
            return LearnedDPIR(data, prior, strength, schedule=self.schedule)
        noise = measured_noise(data.y, self.noise)
        levels = _levels(data.operator, data.y, noise)
        own = prior is not None and isinstance(getattr(denoiser_of(prior), "denoiser", None), Denoiser)
        return LearnedDPIR(
            data, prior, strength, length=self.length, noise=noise, schedule=self.schedule, turns=own,
            between=between_steps(prior), data_noise=max(float(self.noise.sigma), EXACT * noise), **levels,
        )  # fmt: skip


def _levels(operator: Any, y: Any, noise: float) -> dict[str, float]:
    """Last and first classical level: where not all is measured, the start is off by more than noise.

    Pixels that are missing stay off without any noise.
    """
    from solvers.learned_plug_and_play import FIRST
    from solvers.problem_features import samples_a_pixel

    level = noise / typical_gain(operator)
    if has_holes(operator):
        level = math.hypot(level, LAST_UNSEEN * float(arrays.to_numpy(first_guess(operator, y)).std()))
        over_level, over_error, texture = FIRST_HOLES
        error = _depth(operator) * unseen_error(operator, y, noise)
        return {"level": level, "first": math.hypot(over_level * level, over_error * error), "texture": texture}
    if not is_partial(operator) and share_measured(operator) >= 1:
        return {"level": level, "first": FIRST * level}
    return {"level": level, "first": level, "texture": TEXTURE / samples_a_pixel(operator)}


def _depth(mask: Any) -> float:
    """Root mean square distance of the missing pixels from what was measured, in pixels."""
    from scipy.ndimage import distance_transform_edt

    distance = distance_transform_edt(mask.diagonal_gram() == 0)
    return float(np.sqrt(np.mean(distance[distance > 0] ** 2)))


LEARNED_NEWTON = "quasi-Newton steps of one product each, their model started as learned on other operators"
MODELLED = 2**19
"""Most pixels of an image: the model of its data holds many like it."""


def takes_learned_newton(operator: Any) -> bool:
    """Whether learned quasi-Newton steps were shown to be faster: costly products, plane images of moderate size."""
    plane = not operator.frames and len(operator.in_shape) == 2
    return operator.costly and plane and math.prod(operator.in_shape) <= MODELLED


class BuildProximalNewton:
    """``(data, prior, strength) -> ProximalNewton`` whose model starts from what was learned on other operators."""

    @cached_property
    def _schedule(self) -> Any:
        from solvers import LearnedSchedule

        return LearnedSchedule.load("total-variation")

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        from solvers import ProximalNewton

        return ProximalNewton(data, prior, strength, self._schedule)
