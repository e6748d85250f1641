"""How plug-and-play restoration is set up: which prior is one, and the noise that the data leave in the image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.noise import Gaussian, Poisson
from solvers import arrays

USUAL_WEIGHT = 0.23  # of the prior against the data, over what probabilities would give: Zhang et al. 2022
STEPS = 8
QUIETEST = 2e-3  # noise in the image, over its root mean square, below which denoisers were not trained


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
        level = image_noise(data.operator, data.y, self.noise)
        return DPIR(data, prior, strength, level=level, length=STEPS)


def image_noise(operator: Any, y: Any, noise: Gaussian) -> float:
    """Standard deviation of the noise carried back to the image by ``A^H / gain^2``.

    The gain is that of white images: ``gain^2 = tr(A^H A) / n`` by one random image of signs.
    """
    gain = white_gain(operator)
    rms = arrays.to_float(arrays.norm(y)) / math.sqrt(arrays.size(y))
    return max(float(noise.sigma), QUIETEST * rms) / gain


def white_gain(operator: Any) -> float:
    """``sqrt(tr(A^H A) / n)``, estimated by one image of random signs."""
    signs = (2.0 * np.random.default_rng(0).integers(0, 2, operator.in_shape) - 1.0).astype(np.float32)
    return max(arrays.to_float(arrays.norm(operator(signs))) / math.sqrt(signs.size), 1e-30)
