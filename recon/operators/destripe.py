"""Stripes: each column of a detector with an offset of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError
from solvers.validation import positive_float, shape_argument


class Destripe(LinearOperator):
    r"""An image up to an unknown offset of each line: ``A x = x - (1 - keep) mean(x)``, the mean of its line.

    A push-broom detector adds its own offset ``o`` to each column, ``measured = x + o + noise``. The offset that fits
    best is ``mean(measured - x)``, and ``A measured - A x`` is what it leaves: the offsets are unknowns that no longer
    appear. ``reconstruct(A(measured), A)`` gives the image, and then ``A.offsets(measured, x)`` the offsets. Where
    their spread is known, ``keep = 1 / sqrt(1 + lines * spread^2)`` of the mean is kept, and with it what the image
    itself varies from line to line. :func:`recon.preprocess.destripe` does all this.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, in pixels.
    axis : int
        Axis along which a stripe runs: -2 for stripes along columns.
    spread : float, optional
        Standard deviation of the offsets over that of the noise. None knows nothing of them.

    Raises
    ------
    ArgumentError, DTypeError
        ``shape`` has no such axis, or a spread that is not positive.

    Examples
    --------
    >>> A = Destripe((4, 3))
    >>> x, stripes = np.arange(12.0).reshape(4, 3), np.array([5.0, 0.0, -1.0])
    >>> np.allclose(A(x + stripes), A(x)), A.offsets(x + stripes, x)
    (True, array([ 5.,  0., -1.]))
    """

    def __init__(self, shape: Sequence[int], axis: int = -2, spread: float | None = None):
        shape = shape_argument("shape", shape)
        self.axis = _axis(axis, len(shape))
        self.spread = None if spread is None else positive_float("spread", spread)
        # Offsets o ~ N(0, s^2) in noise of 1: the residual m of a mean costs lines * m^2 / (1 + lines s^2).
        self.keep = 0.0 if self.spread is None else 1.0 / math.sqrt(1.0 + shape[self.axis] * self.spread**2)
        super().__init__(shape, shape)

    def _apply(self, x: Array) -> Array:
        return x - (1.0 - self.keep) * self._lines(x.mean(self.axis))

    def _adjoint(self, y: Array) -> Array:
        return self._apply(y)

    def _lines(self, values: Array) -> Array:
        """One value a line, for a broadcast over the axis along which the lines run."""
        return values[(..., None, *(slice(None),) * (-1 - self.axis))]

    def offsets(self, measured: Array, x: Array) -> Array:
        """The offset of each line that explains ``measured`` given ``x``; the shape of the image without ``axis``."""
        difference = self._admit(measured, "measured", self.in_shape) - self._admit(x, "x", self.in_shape)
        return (1.0 - self.keep**2) * difference.mean(self.axis)

    def transfer(self) -> np.ndarray:
        transfer = np.ones(self.in_shape, dtype=complex)
        transfer[self._lines_at_rest()] = self.keep
        return transfer

    def _lines_at_rest(self) -> tuple[Any, ...]:
        """Index of the frequencies that are constant along a line."""
        return (..., 0, *(slice(None),) * (-1 - self.axis))

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        change = 1.0 / (self.keep**2 + rho) - 1.0 / (1.0 + rho)
        return b / (1.0 + rho) + change * self._lines(b.mean(self.axis))

    @property
    def H(self) -> LinearOperator:
        return self

    def __repr__(self) -> str:
        return f"Destripe({self.in_shape}, axis={self.axis}, spread={self.spread})"


def _axis(axis: int, ndim: int) -> int:
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise DTypeError(f"axis is {axis!r}; expected an integer such as -2. Pass the axis along which a stripe runs.")
    if not -ndim <= axis < ndim:
        raise ArgumentError(f"axis is {axis}; the image has {ndim} axes. Pass one of them, such as -2.")
    return int(axis) % ndim - ndim
