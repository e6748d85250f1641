"""Entropy of positive images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from priors.base import Prior
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError
from solvers.validation import positive_float

NEWTON_STEPS = 8  # from a start within a factor of two; quadratic


@dataclass(frozen=True)
class Entropy(Prior):
    """``g(x) = sum_i x_i log(x_i / level) - x_i + level`` for ``x >= 0``, infinite elsewhere: maximum entropy.

    The Kullback-Leibler divergence of the image from a constant one. It is 0 at ``x = level``, keeps the image
    positive, and restrains bright pixels less than a square does. ``prox(v, step) = step * W(level / step * exp(v /
    step))`` with Lambert's function W.

    Parameters
    ----------
    level : float
        Value of a pixel about which nothing is known, above 0, in the unit of the image.

    Raises
    ------
    DTypeError
        If the image is complex.

    References
    ----------
    Gull and Daniell 1978; proximal map: Combettes and Pesquet 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import Entropy
    >>> x = Entropy(2.0).prox(np.array([-3.0, 2.0, 50.0]), 1.0)
    >>> bool((x > 0).all()), round(float(x[1]), 6)
    (True, 2.0)
    """

    level: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", positive_float("level", self.level))

    def gradient(self, x: Array) -> Array:
        """``log(x / level)``, where ``x > 0``; its value next to 0 elsewhere, so that a step leads back."""
        x = self._admit("x", x)
        return arrays.namespace(x).log(x.clip(min=self.level * arrays.eps(x) ** 4) / self.level)

    def _value(self, x: Array) -> Any:
        xp = arrays.namespace(x)
        positive = xp.where(x > 0, x, 1.0 + 0 * x)
        total = (xp.where(x > 0, x * xp.log(positive / self.level), 0 * x) - x + self.level).sum()
        if bool((x < 0).any()):
            total = total * 0 + math.inf
        return total if arrays.is_torch(x) else float(total)

    def _prox(self, v: Array, step: Any) -> Array:
        if not arrays.is_torch(step) and step == 0:
            return v.clip(min=0)
        xp, dtype = arrays.namespace(v), v.dtype
        wide = v.to(xp.float64) if arrays.is_torch(v) else v.astype(np.float64)
        log_argument = wide / step + (math.log(self.level) - (step.log() if arrays.is_torch(step) else math.log(step)))
        x = step * lambert_of_exp(log_argument)
        return x.to(dtype) if arrays.is_torch(v) else x.astype(dtype)

    def _admit(self, name: str, x: Any) -> Array:
        x = super()._admit(name, x)
        if arrays.is_complex(x):
            raise DTypeError(
                f"{name} has dtype {x.dtype}; {self!r} takes real images. Pass {name}.real or its modulus."
            )
        return x


def lambert_of_exp(a: Array) -> Array:
    """``W(exp(a))``: the root w of ``w + log w = a``, without overflow, by Newton's method on ``log w`` or on w."""
    xp = arrays.namespace(a)
    small = a < 1.0
    # For small a the unknown is u = log w: u + exp(u) = a.
    u = xp.where(small, a, 0 * a)
    u = u - (xp.exp(u) / (1 + xp.exp(u)))
    large = xp.where(small, 1.0 + 0 * a, a)
    w = large - xp.log(large)
    w = xp.where(w > 0.5, w, 0 * w + 0.5)
    for _ in range(NEWTON_STEPS):
        e = xp.exp(u)
        u = u - (u + e - xp.where(small, a, 1.0 + 0 * a)) / (1 + e)
        w = w * (1 + large - xp.log(w)) / (1 + w)
    return xp.where(small, xp.exp(u), w)
