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
    points : ndarray, shape (ndim, m), or None
        Radians a pixel. None: each call gives its own.
    shape : tuple of int
        Grid.
    eps : float
        Relative tolerance.
    """

    def __init__(self, points: np.ndarray | None, shape: tuple[int, ...], eps: float):
        self.points: Any = None if points is None else np.ascontiguousarray(points, dtype=np.float64)
        self.shape, self.eps = shape, eps
        self._idle: dict[int, list[Any]] = {1: [], 2: []}

    def forward(self, x: np.ndarray, points: np.ndarray | None = None) -> np.ndarray:
        """Samples (m,) of one grid."""
        with self._plan(2, points) as plan:
            return plan.execute(np.ascontiguousarray(x, dtype=np.complex128))

    def adjoint(self, y: np.ndarray, points: np.ndarray | None = None) -> np.ndarray:
        """The grid that samples (m,) of one image spread to."""
        with self._plan(1, points) as plan:
            return plan.execute(np.ascontiguousarray(y, dtype=np.complex128))

    @contextmanager
    def _plan(self, kind: int, points: np.ndarray | None) -> Iterator[Any]:
        plan = None
        with suppress(IndexError):
            plan = self._idle[kind].pop()
        plan = plan or self._new_plan(kind)
        if points is not None:
            plan.setpts(*np.ascontiguousarray(points, dtype=np.float64))
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
            if self.points is not None:
                plan.setpts(*self.points)
        return plan

    def __reduce__(self) -> tuple[Any, ...]:
        return NUFFT, (self.points, self.shape, self.eps)


class RealNUFFT:
    r"""``y_j = sum_n e^{-2 pi i f_j . n} x_n`` of real images and the real part of its adjoint, some points at a time.

    Upper and lower half of an image are the two parts of a complex grid half as large, for a transform in double
    precision takes four times the memory of an image in single precision. At ``-f`` a real image has the conjugate of
    what it has at ``f``, which tells the halves apart.

    Parameters
    ----------
    shape : tuple of int
        Image; n is counted from the middle ``N // 2`` of each axis.
    eps : float
        Relative tolerance.
    """

    def __init__(self, shape: tuple[int, ...], eps: float):
        self.shape, self._upper = shape, -(-shape[0] // 2)
        self._transform = NUFFT(None, (self._upper, *shape[1:]), eps)

    def joined(self, image: np.ndarray) -> np.ndarray:
        """The halves of an image as one grid."""
        grid = np.zeros((self._upper, *self.shape[1:]), np.complex128)
        grid.real = image[: self._upper]
        grid.imag[: self.shape[0] - self._upper] = image[self._upper :]
        return grid

    def forward(self, grid: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Samples (m,) of a grid of halves at the first m of points (ndim, 2 m); the others are their opposites."""
        at, opposite = self._transform.forward(grid, points).reshape(2, -1)
        np.conjugate(opposite, out=opposite)
        share = self._share(points[0, : at.size])
        at *= share
        opposite *= np.subtract(1, share, out=share)
        at += opposite
        at *= self._offset(points[0, : at.size])
        return at

    def add_adjoint(self, samples: np.ndarray, points: np.ndarray, image: np.ndarray) -> None:
        """Add what samples (m,) spread to, its real part, to an image; the samples are overwritten."""
        np.conjugate(samples, out=samples)
        samples *= self._offset(points[0, : samples.size])
        both = np.empty((2, samples.size), np.complex128)
        np.multiply(samples, self._share(points[0, : samples.size]), out=both[0])
        np.subtract(samples, both[0], out=both[1])
        np.conjugate(both[0], out=both[0])
        grid = self._transform.adjoint(both.reshape(-1), points)
        image[: self._upper] += grid.real
        image[self._upper :] += grid.imag[: self.shape[0] - self._upper]

    def _share(self, down: np.ndarray) -> np.ndarray:
        """Of a sample ``T + B``, the factor of ``T + i B``; that of ``T - i B`` is what it lacks to one."""
        share = _wave(-self._upper, down)
        share *= -0.5j
        share += 0.5
        return share

    def _offset(self, down: np.ndarray) -> np.ndarray:
        """The upper half's middle is not that of the image."""
        return _wave(self.shape[0] // 2 - self._upper // 2, down)


def _wave(pixels: int, points: np.ndarray) -> np.ndarray:
    wave = np.multiply(points, 1j * pixels)
    return np.exp(wave, out=wave)
