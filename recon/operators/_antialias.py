"""Kernels of resampling: what a coarse pixel sees of the fine ones."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from solvers.errors import OptionError, suggestion

KERNELS = ("area", "bicubic", "gaussian")
MTF = 0.3
"""Contrast that the Gaussian kernel leaves at the Nyquist frequency of the coarse pixels, as of many space cameras."""


def keys(t: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel of Keys with ``a = -1/2``, of support (-2, 2)."""
    t = np.abs(t)
    inner = (1.5 * t - 2.5) * t**2 + 1.0
    outer = ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0
    return np.where(t <= 1, inner, np.where(t < 2, outer, 0.0))


def mtf_sigma(factor: float, mtf: float = MTF) -> float:
    """Standard deviation, in fine pixels, of the Gaussian whose transfer is ``mtf`` at half a cycle a coarse pixel."""
    return factor * math.sqrt(-2.0 * math.log(mtf)) / math.pi


def profile(kernel: str, factor: int, mtf: float = MTF) -> np.ndarray:
    """Weights along one axis, of unit sum, centred on the block; their number is odd if ``factor`` is."""
    if kernel == "area":
        return np.full(factor, 1.0 / factor)
    if factor == 1:
        return np.ones(1)
    sigma = mtf_sigma(factor, mtf)
    reach = 2 * factor - 1 if kernel == "bicubic" else math.ceil(4 * sigma)
    half = 0.5 if factor % 2 == 0 else 0.0
    t = np.arange(-reach - half, reach + half + 1)
    weights = keys(t / factor) if kernel == "bicubic" else np.exp(-0.5 * (t / sigma) ** 2)
    return weights / weights.sum()


def antialiasing_psf(kernel: str, factors: tuple[int, ...], shape: tuple[int, ...], mtf: float = MTF) -> np.ndarray:
    """The kernel as a point spread function of a periodic image of ``shape``."""
    if kernel not in KERNELS:
        listed = ", ".join(map(repr, KERNELS))
        raise OptionError(
            f"psf is {kernel!r}; expected an array or one of {listed}.{suggestion(kernel, KERNELS)} Pass one of them."
        )
    return reduce(
        np.multiply.outer, [_wrapped(profile(kernel, f, mtf), n) for f, n in zip(factors, shape, strict=True)]
    )


def _wrapped(weights: np.ndarray, n: int) -> np.ndarray:
    """Weights of a periodic axis of ``n`` pixels, their centre ``k // 2`` kept the centre."""
    k = len(weights)
    if k <= n:
        return weights
    out = np.zeros(n)
    np.add.at(out, (np.arange(k) - k // 2 + n // 2) % n, weights)
    return out
