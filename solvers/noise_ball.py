"""The measurement as a constraint: an image explains it to within the noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from solvers import arrays
from solvers.arrays import Array
from solvers.data_terms import DataTerm
from solvers.errors import ArgumentError
from solvers.validation import positive_float

OUTSIDE = 1e-2  # relative distance from the ball that still counts as inside: iterates reach it in the limit


@dataclass(frozen=True)
class NoiseBall(DataTerm):
    """0 where ``|A x - y| <= radius``, infinite elsewhere: the simplest image that explains the data.

    The strength of the prior has no effect.

    Parameters
    ----------
    operator, y
        See :class:`DataTerm`. Each item of a batch has its own ball.
    radius : float
        ``sigma * sqrt(number of samples)`` for noise of standard deviation ``sigma``.

    References
    ----------
    E. J. Candès, J. Romberg, T. Tao, "Stable signal recovery from incomplete and inaccurate measurements", Comm. Pure
    Appl. Math. 59 (2006).

    Examples
    --------
    >>> from recon.operators import Identity
    >>> NoiseBall(Identity((2,)), np.zeros(2), radius=1.0).loss_prox(np.array([3.0, 4.0]), 1.0)
    array([0.6, 0.8])
    """

    radius: float = 0.0

    smooth = False
    separable = False

    def __post_init__(self) -> None:
        positive_float("radius", self.radius, zero=True)

    def part(self, operator: Any, take: Callable[[Array], Array]) -> Self:
        """Refused: the ball is not a sum over samples."""
        raise ArgumentError(
            "NoiseBall cannot be taken in subsets of the measurement. Use ADMM, PDHG or LinearisedADMM."
        )

    def loss(self, w: Array) -> Any:
        outside = self._distances(w - self.y) > (1 + OUTSIDE) * self.radius + arrays.eps(w) * float(abs(self.y).max())
        return math.inf if bool(outside.any()) else 0.0

    def loss_gradient(self, w: Array) -> Array:
        """The way from the ball, along its normal."""
        return w - self.loss_prox(w, 1.0)

    def loss_prox(self, v: Array, step: Any) -> Array:
        r = v - self.y
        distance = arrays.namespace(v).clip(self._distances(r), min=max(self.radius, arrays.eps(v) ** 4))
        return self.y + r * (self.radius / distance)

    def _distances(self, r: Array) -> Array:
        """Norm of each item of a batch, to be broadcast against it."""
        axes = tuple(range(-len(self.operator.out_shape), 0))
        squares = abs(r) ** 2
        if arrays.is_torch(r):
            return squares.sum(dim=axes, keepdim=True) ** 0.5
        return squares.sum(axis=axes, keepdims=True) ** 0.5
