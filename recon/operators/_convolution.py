"""The way in which an image is convolved: the least costly of those that suit the point spread function."""

from __future__ import annotations

import math
from functools import reduce
from typing import Literal

import numpy as np

from recon.operators._row_transforms import RowTransforms
from recon.operators._tap_sums import ROWS, Direct, Separable, Stops
from solvers.errors import ArgumentError

Method = Literal["auto", "fft", "direct", "separable", "rows"]
METHODS = ("auto", "fft", "direct", "separable", "rows")

Convolution = Direct | Separable | RowTransforms


def convolution_for(
    psf: np.ndarray, shape: tuple[int, ...], method: Method, *, periodic: bool = True
) -> tuple[Convolution | None, Method]:
    """What convolves, None for transforms of the whole image; and the name of the method taken."""
    if method == "auto":
        method = _quickest(psf, shape, periodic=periodic)
    if method == "fft":
        return None, "fft"
    if psf.ndim > 3:
        raise ArgumentError(
            f"method is {method!r} and the psf has {psf.ndim} axes; expected up to three. Pass method='fft'."
        )
    if method == "separable":
        return Separable(_profiles(psf)), method
    return Direct(psf) if method == "direct" else RowTransforms(psf, shape[-1]), method


SMALLEST = 2**16
"""Pixels below which ``auto`` takes transforms: calls are then too short for the difference to matter."""


def _quickest(psf: np.ndarray, shape: tuple[int, ...], *, periodic: bool) -> Method:
    """The method of least cost, in nanoseconds a pixel of single precision on one core.

    Fitted to timings of images of 256 to 2048 pixels a side and of volumes.
    """
    pixels = math.prod(shape)
    if psf.ndim == 1 or psf.ndim > 3 or pixels < SMALLEST:
        return "fft"
    volume, extension = psf.ndim == 3, 0.5
    transform = 0.2 * math.log2(pixels) * (1.0 if periodic else 1.4)
    along_rows = extension + 0.25 * math.log2(shape[-1]) + 0.05 * np.count_nonzero(psf.any(-1))
    costs: dict[Method, float] = {
        "fft": 1.4 * transform if volume else transform,
        "rows": 3.0 + along_rows if volume else along_rows,
    }
    if STOP * np.count_nonzero(psf) < min(costs.values()):
        costs["direct"] = extension + STOP * len(Stops(psf))
    if rank_one(psf) is not None:
        further = 1.0 if volume else 0.0  # an image more is written and read
        costs["separable"] = extension + further + STOP * (psf.shape[-2] + ROWS * psf.shape[-1])
    return min(costs, key=lambda name: costs[name])


STOP = 0.008
"""Nanoseconds for a number read, and its products for as many rows as are summed up together, over these rows."""


def _profiles(psf: np.ndarray) -> list[np.ndarray]:
    profiles = rank_one(psf) if psf.ndim > 1 else None
    if profiles is None:
        raise ArgumentError(
            "method is 'separable' and the psf is not the outer product of its profiles (in double precision); "
            "expected one that is, such as a Gaussian along the axes. Pass method='auto'."
        )
    return profiles


def rank_one(psf: np.ndarray) -> list[np.ndarray] | None:
    """The profiles whose outer product is ``psf`` to rounding, or None."""
    pivot = tuple(int(i) for i in np.unravel_index(np.argmax(np.abs(psf)), psf.shape))
    peak = float(psf[pivot])
    # A tensor of rank one is the product of its fibres through any entry that is not zero.
    profiles = [np.moveaxis(psf, a, -1)[(*pivot[:a], *pivot[a + 1 :])] / peak for a in range(psf.ndim)]
    outer = peak * reduce(np.multiply.outer, profiles)
    if np.abs(outer - psf).max() > 8 * np.finfo(np.float64).eps * abs(peak):
        return None
    return [peak * profiles[0], *profiles[1:]]
