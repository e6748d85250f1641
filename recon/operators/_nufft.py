"""Fourier transforms between a grid and points anywhere, by finufft.

A plan of finufft holds buffers that one call at a time may use, and does not pickle. Plans are therefore lent from a
stock: a call takes one, or makes one where none is idle, and gives it back. Nothing of a call stays in them. Each runs
on one thread, for its sums then have one order; transforms of a batch run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import numpy as np

from solvers.errors import ArgumentError
from solvers.validation import positive_float

LEAST_EPS, LARGEST_EPS = 1e-12, 1e-3
_WIDE_BELOW = 1e-8  # tolerance that a grid 1.25 times as fine no longer reaches; twice as fine does

_making_plans = Lock()  # the transform's planner is not known to be safe from two threads at once


def tolerance(name: str, value: Any) -> float:
    """Return ``value`` as a tolerance that the transform reaches."""
    eps = positive_float(name, value)
    if not LEAST_EPS <= eps <= LARGEST_EPS:
        raise ArgumentError(
            f"{name} is {eps:g}; expected a relative tolerance from {LEAST_EPS:g} to {LARGEST_EPS:g}. "
            "Pass 1e-6, or 1e-12 for the last digits."
        )
    return eps


class NUFFT:
    r"""``y_j = sum_n e^{-i w_j . n} x_n`` and its adjoint, with ``n`` counted from the middle ``N // 2`` of each axis.

    Always computed in double precision: in single precision the points alone are rounded by more than ``eps``.

    Parameters
    ----------
    points : ndarray, shape (ndim, m)
        Radians a pixel.
    shape : tuple of int
        Grid.
    eps : float
        Relative tolerance.
    """

    def __init__(self, points: np.ndarray, shape: tuple[int, ...], eps: float):
        self.points = np.ascontiguousarray(points, dtype=np.float64)
        self.shape, self.eps = shape, eps
        self._idle: dict[int, list[Any]] = {1: [], 2: []}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Samples (m,) of one grid."""
        with self._plan(2) as plan:
            return plan.execute(np.ascontiguousarray(x, dtype=np.complex128))

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        """The grid that samples (m,) of one image spread to."""
        with self._plan(1) as plan:
            return plan.execute(np.ascontiguousarray(y, dtype=np.complex128))

    @contextmanager
    def _plan(self, kind: int) -> Iterator[Any]:
        plan = None
        with suppress(IndexError):
            plan = self._idle[kind].pop()
        plan = plan or self._new_plan(kind)
        yield plan
        self._idle[kind].append(plan)

    def _new_plan(self, kind: int) -> Any:
        import finufft

        with _making_plans:
            plan = finufft.Plan(
                kind,
                self.shape,
                eps=self.eps,
                isign=1 if kind == 1 else -1,
                dtype=np.complex128,
                nthreads=1,
                upsampfac=1.25 if self.eps >= _WIDE_BELOW else 2.0,
            )
            plan.setpts(*self.points)
        return plan

    def __reduce__(self) -> tuple[Any, ...]:
        return NUFFT, (self.points, self.shape, self.eps)
