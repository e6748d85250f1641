"""What a problem and a run look like, as numbers free of units and sizes, for learned schedules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array

LEAST = 1e-6  # of a ratio, before its logarithm is taken
NORMAL_MEDIAN = 0.6745  # median of the size of normal numbers, over their standard deviation
LEAST_DETAIL = 0.1  # over the noise: less cannot be told
MOST_DETAIL = 2**16  # about as many differences tell


def spectral_moments(operator: Any, *, probes: int = 2, rng: Any = 0) -> tuple[float, float]:
    """``tr(A^H A) / n`` and ``tr((A^H A)^2) / n`` for the operator divided by its norm, by random signs.

    Both lie in [0, 1]; the second is at least the square of the first and at most the first. Equal, all singular values
    are 0 or 1.

    Parameters
    ----------
    operator : LinearOperator
    probes : int
        Random images; each costs one normal operator.
    rng : int or numpy.random.Generator
        Source of the probes; the same for every call by default.

    Examples
    --------
    >>> from recon.operators import Mask
    >>> spectral_moments(Mask(np.arange(100).reshape(10, 10) < 30))
    (0.3, 0.3)
    """
    generator = np.random.default_rng(rng)
    scale = max(operator.norm(), 1e-30)
    first = second = 0.0
    for _ in range(probes):
        signs = (2.0 * generator.integers(0, 2, operator.in_shape) - 1.0).astype(np.float32)
        measured = operator(signs)
        back = operator.adjoint(measured)
        first += arrays.to_float(arrays.dot(measured, measured)) / (scale**2 * signs.size * probes)
        second += arrays.to_float(arrays.dot(back, back)) / (scale**4 * signs.size * probes)
    return round(first, 6), round(second, 6)


def samples_a_pixel(operator: Any) -> float:
    """How many samples, real or complex, are measured for each pixel of the image."""
    sampling = getattr(operator, "sampling", None)
    share = 1.0 if sampling is None else float(sampling.mean())
    return share * math.prod(operator.out_shape) / math.prod(operator.in_shape)


def log_ratio(a: float, b: float) -> float:
    """``log10(a / b)`` within what single precision can tell; 0 where both are 0."""
    if not (math.isfinite(a) and math.isfinite(b)) or a <= 0 >= b:
        return 0.0
    return math.log10(min(max(a, LEAST * b), b / LEAST) / b) if b > 0 else -math.log10(LEAST)


def detail(operator: Any, y: Array, noise: float) -> float:
    """Logarithm of the finest detail of a measurement beyond its noise, over a tenth of the noise; 0 where it is less.

    Edges are few and the median leaves them out: what is more than noise is texture, or grain of the image itself. 0 as
    well where the measurement is no plane image, or one with holes.

    References
    ----------
    D. L. Donoho, I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994).

    Examples
    --------
    >>> from recon.operators import Identity
    >>> grain = np.random.default_rng(0).standard_normal((64, 64))
    >>> round(detail(Identity((64, 64)), np.outer(np.arange(64.0), np.ones(64)) + grain, 0.1), 1)
    2.0
    """
    plane = len(operator.out_shape) == 2 and min(operator.out_shape) > 1 and not arrays.is_complex(y)
    if not plane or operator.sampling is not None or not getattr(operator, "neighbours_alike", True):
        return 0.0
    values = arrays.to_numpy(y)
    step = max(1, math.isqrt(values.size // MOST_DETAIL))
    across = (values[..., 1:] - values[..., :-1])[..., ::step]
    found = 0.5 * np.abs(across[..., 1::step, :] - across[..., :-1:step, :])
    beyond = max((float(np.median(found)) / NORMAL_MEDIAN) ** 2 - noise**2, 0.0) ** 0.5
    return max(log_ratio(beyond, LEAST_DETAIL * noise), 0.0)


@dataclass(frozen=True, slots=True)
class Track:
    """How a run moves: its last image, its last change, and what they say."""

    x: Array
    change: Array | None = None
    relative_change: float = 1.0  # of the image, over its norm
    contraction: float = 0.0  # log10 of the last change over the one before
    cosine: float = 0.0  # between the last change and the one before

    def moved(self, x: Array) -> Track:
        """The track with one more image."""
        change = x - self.x
        size, length = (arrays.to_float(arrays.norm(a)) for a in (x, change))
        relative = length / size if size > 0 else 0.0
        if self.change is None:
            return Track(x, change, relative)
        before = arrays.to_float(arrays.norm(self.change))
        product = arrays.to_float(arrays.dot(change, self.change))
        cosine = product / (length * before) if length * before > 0 else 0.0
        return Track(x, change, relative, log_ratio(length, before), cosine)

    def features(self) -> dict[str, float]:
        """The numbers by name, all of size one or so."""
        return {
            "relative change": log_ratio(self.relative_change, 1.0),
            "contraction": self.contraction,
            "cosine": self.cosine,
        }
