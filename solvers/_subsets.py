"""Parts of a measurement: every n-th entry of its first axis (views of a scan), each with its operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array

VIEWS_A_SUBSET = 6  # fewer see too little of the image
MOST_SUBSETS = 16
HALVE_EVERY = 3  # passes after which subsets are merged in pairs, down to the whole: that makes the iteration converge


@dataclass(frozen=True, eq=False)
class Rows:
    """An operator of which only some entries of the first axis of the measurement are read; it still computes all.

    An operator that computes them alone offers ``rows(indices)``.
    """

    operator: Any
    indices: np.ndarray

    def __call__(self, x: Array) -> Array:
        return take_rows(self.operator(x), self.indices, len(self.operator.out_shape))

    def adjoint(self, y: Array) -> Array:
        ndim = len(self.operator.out_shape)
        whole = arrays.zeros((*y.shape[: y.ndim - ndim], *self.operator.out_shape), y)
        whole[_position(y.ndim - ndim, self.indices)] = y
        return self.operator.adjoint(whole)

    def vjp(self, x: Array, r: Array) -> Array:
        return self.adjoint(r)

    def norm(self) -> float:
        """That of the whole, which bounds it."""
        return float(self.operator.norm())

    @property
    def in_shape(self) -> tuple[int, ...]:
        return tuple(self.operator.in_shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (len(self.indices), *self.operator.out_shape[1:])


def take_rows(y: Array, indices: np.ndarray, ndim: int) -> Array:
    """The entries ``indices`` of the first of the last ``ndim`` axes."""
    return y[_position(y.ndim - ndim, indices)]


def _position(batch_axes: int, indices: np.ndarray) -> tuple[Any, ...]:
    return (slice(None),) * batch_axes + (indices,)


def parts_of(data: Any, count: int) -> tuple[Any, ...]:
    """Data terms whose sum is ``data``, each of every ``count``-th entry; neighbours differ most."""
    operator = data.operator
    if count == 1:
        return (data,)
    first = np.argsort((np.arange(count) * 0.5 * (5**0.5 - 1)) % 1.0)  # multiples of the golden section spread evenly
    return tuple(_part(data, np.arange(start, operator.out_shape[0], count)) for start in first)


def _part(data: Any, indices: np.ndarray) -> Any:
    operator = data.operator
    offered = getattr(operator, "rows", None)
    part = Rows(operator, indices) if offered is None else offered(indices)
    ndim = len(operator.out_shape)
    return data.part(part, lambda y: take_rows(y, indices, ndim))


def usual_count(operator: Any) -> int:
    """Number of subsets to start with: a power of two.

    One where each would cost as much as the whole, and where entries are no views that all see the whole image: every
    16th row of a blurred image says nothing about most of its pixels.
    """
    if not hasattr(operator, "rows"):
        return 1
    most = min(operator.out_shape[0] // VIEWS_A_SUBSET, MOST_SUBSETS)
    return 1 << max(most.bit_length() - 1, 0)


def count_at(k: int, start: int) -> int:
    """Number of subsets in pass ``k``."""
    return max(start >> (k // HALVE_EVERY), 1)


def row_sums(operator: Any, like: Array) -> Array:
    """``A 1``."""
    return operator(1 + arrays.zeros(operator.in_shape, like))


def column_sums(operator: Any, weights: Array) -> Array:
    """``A^T weights``, kept away from zero: a pixel that nothing sees then stays where it is."""
    sums = operator.adjoint(weights)
    return arrays.namespace(sums).clip(sums, min=1e-6 * max(arrays.to_float(sums.max()), 1e-30))
