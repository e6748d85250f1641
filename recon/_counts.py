"""Photon counts as a measurement with Gaussian noise, its variance seen in the counts around: what denoisers take."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._plug_and_play import denoiser_of
from recon.noise import Poisson, Working, weighted
from solvers import arrays
from solvers._local_mean import local_mean
from solvers.arrays import Array

REACH = 2
"""Counts to each side over which their mean is taken, where neighbours are alike."""
LEAST = 1.0
"""Least variance: where nothing was counted, one photon more would still not surprise."""
REASON = ("least squares, weighted", "each count by the inverse of the variance seen around it, for the denoiser")


def apply(prior: Any, solver: Any, model: Any, y: Array, operator: Any) -> bool:
    """Whether the problem is one of counts and a denoiser, which no likelihood of counts is solved with."""
    several = prior if isinstance(prior, (list, tuple)) else [prior]
    chosen = isinstance(solver, str) and solver == "auto"
    return chosen and isinstance(model, Poisson) and _one_image(y, operator) and any(map(_is_denoiser, several))


def _one_image(y: Array, operator: Any) -> bool:
    """Whether there is one measurement, with one map of variances."""
    return tuple(y.shape) == tuple(operator.out_shape)


def _is_denoiser(prior: Any) -> bool:
    if isinstance(prior, str) or prior is None:
        return prior == "learned"
    if hasattr(prior, "terms"):
        return denoiser_of(prior) is not None
    return callable(prior) and not hasattr(prior, "adjoint")


def with_gaussian_noise(working: Working) -> Working:
    """The problem with the background taken off and each count weighted by the inverse of its variance."""
    y, operator = working.y, working.operator
    alike = getattr(operator, "neighbours_alike", True) and y.ndim > 1
    expected = local_mean(y, REACH) if alike else y + LEAST
    sigma = np.sqrt(np.maximum(arrays.to_numpy(expected), LEAST))
    return weighted(y - working.model.background, operator, sigma, REASON)
