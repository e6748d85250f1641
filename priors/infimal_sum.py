"""Infimal sum: the image is a sum of two parts, each good in its own way."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

from priors.base import Prior, step_size
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError
from solvers.validation import positive_int

LOOK = 10  # iterations between looks at the value
STEP_OF_SIZE = 0.3  # step of the splitting for the value, over the root mean square of the image and the value's slope


@dataclass(frozen=True)
class InfimalSum(Prior):
    """``g(x) = min_u first(x - u) + second(u)``, the infimal convolution: the best way to share x out to two priors.

    Examples are edges on a smooth background (``InfimalSum(TotalVariation(), 5 * Sobolev(2))``) and a still scene with
    few changes (``InfimalSum(NuclearNorm(), 0.1 * Sparsity())``). The factors decide what goes where.

    ``prox(v, step)`` minimises ``step first(a) + step second(b) + 1/2 |a + b - v|^2`` over the parts by alternating
    their proximal maps, accelerated; the value takes Douglas-Rachford iterations. Both take many proximal maps of the
    parts, so those should be quick for large images.

    Parameters
    ----------
    first, second : Prior
        Priors with proximal maps, constraints included.
    tol : float
        Change of the parts in an iteration, relative to the image, at which to stop.
    iterations : int
        Most iterations; a warning says if the proximal map needs more.

    References
    ----------
    Chambolle and Lions 1997; acceleration: Beck and Teboulle 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import InfimalSum, Sparsity, Tikhonov
    >>> x = InfimalSum(Sparsity(), Tikhonov()).prox(np.array([0.5, 4.0]), 1.0)
    >>> x.round(3)  # Huber: a square, then a modulus
    array([0.25, 3.  ])
    """

    first: Any
    second: Any
    tol: float = 1e-6
    iterations: int = 2000

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            part = getattr(self, name)
            if not isinstance(part, Prior):
                raise DTypeError(f"{name} is {part!r}; expected a prior. Pass such as priors.TotalVariation().")
        if not 0 < self.tol < 1:
            raise ArgumentError(f"tol is {self.tol}; expected a number between 0 and 1. Pass such as 1e-4.")
        positive_int("iterations", self.iterations)

    @property
    def image_ndim(self) -> int:
        return int(max(self.first.image_ndim, self.second.image_ndim))

    def parts(self, v: Array, step: Any) -> tuple[Array, Array]:
        """The two parts whose sum is the proximal map of ``v``.

        Parameters
        ----------
        v : array
            Image.
        step : float
            Step size.

        Returns
        -------
        first, second : array
            What each prior made of its share.
        """
        v, step = self._admit("v", v), step_size(step)
        a = previous = 0.0 * v
        first = second = None  # dual variables, for parts whose proximal maps iterate
        for k in range(self.iterations):
            r = a + (k / (k + 3)) * (a - previous)
            b, second = self.second.prox_from(v - r, step, second)
            previous = a
            a, first = self.first.prox_from(v - b, step, first)
            if k and self._settled(a - previous, v):
                break
        else:
            warnings.warn(
                f"the proximal map of {self!r} had not settled after {self.iterations} iterations. "
                "Raise iterations or tol.",
                RuntimeWarning,
                stacklevel=2,
            )
        return a, self.second.prox_from(v - a, step, second)[0]

    def _prox(self, v: Array, step: Any) -> Array:
        a, b = self.parts(v, step)
        return a + b

    def estimate(self, x: Array) -> Any:
        """The value from above, after a few iterations."""
        return self._least(self._admit("x", x), LOOK)

    def _value(self, x: Array) -> Any:
        return self._least(x, self.iterations)

    def _least(self, x: Array, iterations: int) -> Any:
        """Douglas-Rachford for ``first(x - u) + second(u)``; the smallest sum at the points looked at."""
        step = self._step_for(x)
        first = second = None
        q, best = 0.0 * x, self.first.value(x) + self.second.value(0.0 * x)
        for k in range(1, iterations + 1):
            u, second = self.second.prox_from(q, step, second)
            part, first = self.first.prox_from(x - 2 * u + q, step, first)
            w = x - part
            q = q + w - u
            if k % LOOK == 0:
                values = [self.first.value(x - point) + self.second.value(point) for point in (u, w)]
                best = min((best, *values), key=arrays.to_float)
                if self._settled(w - u, x):
                    break
        return best

    def _settled(self, change: Array, image: Array) -> bool:
        tol = max(self.tol, 10 * arrays.eps(image))
        return arrays.to_float(arrays.norm(change)) <= tol * arrays.to_float(arrays.norm(image))

    def _step_for(self, x: Array) -> float:
        """A step at which the proximal maps change the image by a part of its size."""
        size = arrays.to_float(arrays.dot(x, x))
        values = [arrays.to_float(prior.value(x)) for prior in (self.first, self.second)]
        known = [value for value in values if math.isfinite(value) and value > 0]
        return STEP_OF_SIZE * size / min(known) if known and size > 0 else 1.0
