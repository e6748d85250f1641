"""Early stopping as regularisation: the discrepancy principle.

An iteration on least squares without a prior fits the large structures first and the noise last. It is stopped at the
first iterate whose residual is as large as the noise,

    |A x - y| <= safety * sigma * sqrt(count)

Morozov 1966; for conjugate gradients: Nemirovskii 1986, Hanke 1995.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.validation import positive_float, positive_int


@dataclass(frozen=True, slots=True)
class DiscrepancyState:
    """State of :class:`Discrepancy`."""

    x: Array  # iterate
    inner: Any  # state of the algorithm
    done: bool  # whether the residual has come down to the noise; the iterate then stays


@dataclass(frozen=True, eq=False)
class Discrepancy:
    """An algorithm on least squares, stopped where its residual is that of the noise.

    Parameters
    ----------
    algorithm : Algorithm
        With ``operator`` and ``y``, such as :class:`solvers.CGLS`, :class:`solvers.LSQR` and :class:`solvers.LSMR`.
        One with ``residual_norm(state)`` is not charged a forward operation a step.
    sigma : float
        Standard deviation of the noise.
    count : int, optional
        Number of measured values; by default all of ``y``.
    safety : float
        At least 1: by how much the residual may exceed the noise.

    Raises
    ------
    ArgumentError, DTypeError
        A number is not positive, or ``safety`` below 1.

    References
    ----------
    M. Hanke, "Conjugate gradient type methods for ill-posed problems", 1995, algorithm 3.2.

    Examples
    --------
    >>> from recon.operators import from_matrix
    >>> from solvers import CGLS, Discrepancy, solve
    >>> scales = np.geomspace(1, 1e-3, 20)
    >>> y = scales + 0.01 * np.random.default_rng(0).standard_normal(20)
    >>> plain = CGLS(from_matrix(np.diag(scales)), y)
    >>> far, near = (solve(a, np.zeros(20)).image - 1 for a in (plain, Discrepancy(plain, 0.01)))
    >>> bool(np.linalg.norm(near) < np.linalg.norm(far) / 2)
    True
    """

    algorithm: Any
    sigma: float
    count: int | None = None
    safety: float = 1.02

    def __post_init__(self) -> None:
        positive_float("sigma", self.sigma, zero=True)
        if self.count is not None:
            positive_int("count", self.count)
        if positive_float("safety", self.safety) < 1:
            raise ArgumentError(f"safety is {self.safety}; expected at least 1: the noise cannot be undercut. Pass 1.")

    def init(self, x0: Array) -> DiscrepancyState:
        return self._judged(self.algorithm.init(x0))

    def step(self, state: DiscrepancyState, k: int) -> DiscrepancyState:
        return state if state.done else self._judged(self.algorithm.step(state.inner, k))

    def at(self, strength: float) -> Discrepancy:
        """The same: there is no strength."""
        return self

    def restart(self, state: DiscrepancyState, strength: float, item: int | None = None) -> DiscrepancyState:
        """Start again from the image of a state."""
        return self.init(state.x if item is None else state.x[item])

    def objective(self, x: Array) -> Any:
        """That of the algorithm."""
        return self.algorithm.objective(x)

    def _judged(self, inner: Any) -> DiscrepancyState:
        count = arrays.size(self.algorithm.y) if self.count is None else self.count
        return DiscrepancyState(inner.x, inner, self._residual(inner) <= self.safety * self.sigma * math.sqrt(count))

    def _residual(self, inner: Any) -> float:
        known = getattr(self.algorithm, "residual_norm", None)
        if known is not None:
            return float(known(inner))
        return arrays.to_float(arrays.norm(self.algorithm.operator(inner.x) - self.algorithm.y))
