"""Bands of an image whose noise differs: each is weighted by the inverse of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._noise_level import estimate_sigma, relative_band_levels
from recon.noise import Gaussian, Working
from recon.operators._stacks import BlockDiagonal
from solvers import arrays
from solvers.arrays import Array

UNLIKE = 1.5  # ratio of the levels from which bands are weighted


class Bands(BlockDiagonal):
    """One operator for every band of an image, each measurement multiplied by a weight."""

    def __init__(self, one: Any, weights: np.ndarray):
        super().__init__([one if w == 1 else float(w) * one for w in weights], flatten=False)
        self.one, self.weights = one, weights
        self.channels, self.frames = True, False

    def with_sampling(self, sampling: np.ndarray) -> Any:
        whole = np.broadcast_to(sampling, self.out_shape)
        if (whole == whole[0]).all():
            return Bands(self.one.with_sampling(whole[0]), self.weights)
        return super().with_sampling(sampling)

    def objection(self, y: Array) -> str | None:
        found = (self.one.objection(band) for band in arrays.namespace(y).moveaxis(y, -len(self.one.out_shape) - 1, 0))
        return next((text for text in found if text is not None), None)


def one_band(operator: Any) -> Any:
    """What measures one band, which is what a prior with a channel axis looks at."""
    return operator.one if isinstance(operator, Bands) else operator


def weighted_bands(y: Array, operator: Any) -> tuple[Working, np.ndarray] | None:
    """The problem with the noise of all bands alike, and their levels; None where it is nearly so already.

    Parameters
    ----------
    y : array
        Measurement, ``(..., bands, *operator.out_shape)``.
    operator : LinearOperator
        What measured each of the bands.
    """
    relative = relative_band_levels(y, operator)
    if relative is None or relative.max() < UNLIKE * relative.min():
        return None
    # Scaled so that weights are 1 where all levels are.
    weights = 1.0 / (relative * np.sqrt(np.mean(relative**-2.0)))
    whitened = y * arrays.asarray(weights.reshape(-1, *(1,) * len(operator.out_shape)), y)
    level = estimate_sigma(whitened, operator)
    reason = ("least squares, weighted", "each band by the inverse of its variance")
    return Working(whitened, Bands(operator, weights), Gaussian(level), False, reason), level / weights
