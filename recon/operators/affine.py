"""A linear operator and a known offset."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators.base import LinearOperator
from recon.operators.nonlinear import NonlinearOperator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError, ShapeError
from solvers.validation import require_finite


class Affine(NonlinearOperator):
    """A linear operator and a known offset: ``y = A x + b``, as stray light, a dark current or haze of known depth.

    :func:`recon.reconstruct` subtracts the offset and solves the linear problem that is left.

    Parameters
    ----------
    linear : LinearOperator
        ``A``.
    offset : array or float
        ``b``, in the unit of the measurement; broadcasts to ``A.out_shape``.

    Raises
    ------
    DTypeError
        ``linear`` is not a LinearOperator, or ``offset`` does not hold numbers.
    ShapeError, NonFiniteError
        ``offset`` does not broadcast to the measurement, or is not finite.

    Examples
    --------
    >>> from recon.operators import Identity
    >>> Affine(Identity((2, 2)), 0.1)(np.ones((2, 2)))
    array([[1.1, 1.1],
           [1.1, 1.1]])
    """

    def __init__(self, linear: LinearOperator, offset: Any):
        if not isinstance(linear, LinearOperator):
            raise DTypeError(f"linear is {linear!r}; expected a LinearOperator. Wrap it: operators.from_callables.")
        super().__init__(linear.in_shape, linear.out_shape)
        self.linear, self.offset = linear, _offset(offset, linear.out_shape)
        self._constant = Constant(self.offset)
        for name in ("kind", "out_kind", "interior", "channels", "neighbours_alike", "pointwise", "adjoint_tolerance"):
            setattr(self, name, getattr(linear, name))

    def _apply(self, x: Array) -> Array:
        return self.linear(x) + self._constant.like(x)

    def _linearize(self, x: Array) -> LinearOperator:
        return self.linear

    def without_offset(self, y: Array) -> Array:
        """``y - b``: what the linear part alone would have measured."""
        y = self._admit(y, "y", self.out_shape)
        return y - self._constant.like(y)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Affine):
            return Affine(self.linear @ other.linear, self(other(np.zeros(other.in_shape))))
        if isinstance(other, LinearOperator):
            return Affine(self.linear @ other, self.offset)
        return super().__matmul__(other)

    def __rmatmul__(self, other: Any) -> Any:
        if isinstance(other, LinearOperator):
            return Affine(other @ self.linear, other(self.offset))
        return super().__rmatmul__(other)

    def __repr__(self) -> str:
        return f"Affine({self.linear!r})"


def _offset(offset: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = arrays.to_numpy(offset)
    if values.dtype.kind not in "biufc":
        raise DTypeError(f"offset has dtype {values.dtype}; expected numbers. Pass the offset of each sample.")
    require_finite("offset", values)
    try:
        return np.array(np.broadcast_to(values, shape), dtype=complex if values.dtype.kind == "c" else float)
    except ValueError:
        raise ShapeError(
            f"offset has shape {values.shape}; expected one that broadcasts to the measurement, {shape}. "
            "Pass one offset, or one for each sample."
        ) from None
