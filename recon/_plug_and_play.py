"""How plug-and-play restoration is set up: steps, weight, and the noise that the data leave in the image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.noise import Gaussian, Poisson
from solvers import arrays
from solvers.arrays import Array

USUAL_WEIGHT = 0.23  # of the prior against the data, over what probabilities would give: Zhang et al. 2022
STEPS = 8
STEPS_UNSEEN = 24  # where part of the image is not measured, and what is known has to spread into it
QUIETEST = 2e-3  # noise over the root mean square of the measurement, below which denoisers were not trained


def denoiser_of(prior: Any) -> Any:
    """The plug-and-play part of a prior, or None."""
    from priors import PlugAndPlay

    functions = [getattr(term.function, "prior", term.function) for term in prior.terms()]
    found = [function for function in functions if isinstance(function, PlugAndPlay)]
    return found[0] if found else None


class BuildDPIR:
    """``(data, prior, strength) -> DPIR`` whose last noise level is what the data leave in the image."""

    def __init__(self, noise: Any):
        self.noise = noise

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        from solvers import DPIR

        if data.y is None or isinstance(self.noise, Poisson):
            return DPIR(data, prior, strength)
        operator = data.operator
        unseen = operator.sampling is not None and not bool(np.all(operator.sampling))
        level = measured_noise(data.y, self.noise) / typical_gain(operator)
        return DPIR(data, prior, strength, level=level, length=STEPS_UNSEEN if unseen else STEPS)


def usual_strength(y: Array, noise: Any) -> float:
    """The weight of a denoiser that has proved itself: 0.23 times the variance of the noise."""
    return USUAL_WEIGHT * (1.0 if isinstance(noise, Poisson) else measured_noise(y, noise) ** 2)


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
