"""Least squares of a sensor with an end to its range, and with steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.data_terms import DataTerm
from solvers.errors import ArgumentError
from solvers.validation import positive_float


@dataclass(frozen=True)
class ClippedLeastSquares(DataTerm):
    """``1/2 |A x - I(y)|^2``, the distance to the interval ``I(y)`` of values that read as ``y``.

    A sample at the upper end of the range says ``A x >= upper``, one at the lower end ``A x <= lower``, and one that
    was rounded to a multiple of ``step`` that ``A x`` is within half a step.

    Parameters
    ----------
    operator, y
        See :class:`DataTerm`.
    lower, upper : float
        Ends of the range.
    step : float
        Distance of the levels, 0 where values were not rounded.
    slack : float
        How far inside an end a sample still counts as clipped.

    Examples
    --------
    >>> from recon.operators import Identity
    >>> data = ClippedLeastSquares(Identity((3,)), np.array([0.5, 1.0, 1.0]), upper=1.0)
    >>> data.gradient(np.array([0.7, 0.8, 2.0])).round(2)
    array([ 0.2, -0.2,  0. ])
    """

    lower: float = -math.inf
    upper: float = math.inf
    step: float = 0.0
    slack: float = 0.0

    def __post_init__(self) -> None:
        positive_float("step", self.step, zero=True)
        positive_float("slack", self.slack, zero=True)
        if not self.lower < self.upper:
            raise ArgumentError(f"lower and upper are {self.lower} and {self.upper}; expected lower < upper.")

    def loss(self, w: Array) -> Any:
        r = self.loss_gradient(w)
        return 0.5 * arrays.dot(r, r)

    def loss_gradient(self, w: Array) -> Array:
        return w - self._nearest(w)

    def loss_prox(self, v: Array, step: Any) -> Array:
        return (v + step * self._nearest(v)) / (1 + step)

    def curvatures(self, w: Array) -> Array:
        """1 beside the interval and 0 in it: the curvature of the parabola that is left."""
        return arrays.asarray(self.loss_gradient(w) != 0, w, dtype=w.dtype)

    def curvature(self) -> float:
        return 1.0

    def _nearest(self, w: Array) -> Array:
        """The point of the interval that is nearest."""
        xp, half = arrays.namespace(w), 0.5 * self.step
        low = xp.where(self.y <= self.lower + self.slack, -math.inf + 0 * self.y, self.y - half)
        high = xp.where(self.y >= self.upper - self.slack, math.inf + 0 * self.y, self.y + half)
        return xp.minimum(xp.maximum(w, low), high)
