"""Operators that choose samples or put them in another order: nothing is computed, everything is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import shape_argument


class Restriction(LinearOperator):
    """Some samples are measured, in any order: ``y[k] = x[indices[k]]``.

    Where :class:`Mask` keeps the shape and reads zero elsewhere, this returns the chosen samples alone.

    Parameters
    ----------
    indices : array of int
        Positions, negative ones from the end. A position given twice is measured twice.
    shape : tuple of int
        Shape of the image.
    axis : int, optional
        Axis along which to choose; ``indices`` then has one axis. None counts along the flattened image (row after
        row), and the measurement has the shape of ``indices``.

    Raises
    ------
    DTypeError, ShapeError
        ``indices`` are not integers, are empty, or have more than one axis where ``axis`` is given.
    ArgumentError
        A position or ``axis`` is outside the image.

    Examples
    --------
    >>> x = np.arange(6.0).reshape(2, 3)
    >>> Restriction([5, 0], (2, 3))(x), Restriction([0, 2], (2, 3), axis=1)(x)
    (array([5., 0.]), array([[0., 2.],
           [3., 5.]]))
    """

    nonnegative = True

    def __init__(self, indices: Any, shape: Sequence[int], axis: int | None = None):
        shape = shape_argument("shape", shape)
        self.axis = None if axis is None else axis_argument("axis", axis, shape)
        length = math.prod(shape) if self.axis is None else shape[self.axis]
        self.indices = _positions(indices, length, flat=self.axis is None)
        self._counts = np.bincount(self.indices.reshape(-1), minlength=length)
        self.selects = bool(self._counts.max() == 1)
        if self.axis is None:
            super().__init__(shape, self.indices.shape)
        else:
            super().__init__(shape, (*shape[: self.axis], self.indices.size, *shape[self.axis + 1 :]))

    def _apply(self, x: Array) -> Array:
        lines = self._lines(x, self.in_shape)
        chosen = lines[..., self._positions_like(x), :]
        return chosen.reshape((*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape))

    def _adjoint(self, y: Array) -> Array:
        batch = tuple(y.shape[: y.ndim - len(self.out_shape)])
        given = self._lines(y, self.out_shape)
        lines = arrays.zeros((*given.shape[:-2], self._counts.size, given.shape[-1]), y)
        positions = self._positions_like(y)
        if self.selects:
            lines[..., positions, :] = given
        elif arrays.is_torch(y):
            lines = lines.index_add(-2, positions, given)
        else:
            where: Any = (..., positions, slice(None))
            np.add.at(lines, where, given)
        return lines.reshape((*batch, *self.in_shape))

    def _lines(self, array: Array, shape: tuple[int, ...]) -> Array:
        """View of (..., positions, samples beside each other that share a position)."""
        batch = tuple(array.shape[: array.ndim - len(shape)])
        if self.axis is None:
            return array.reshape((*batch, -1, 1))
        before, after = shape[: self.axis], math.prod(shape[self.axis + 1 :])
        return array.reshape((*batch, *before, shape[self.axis], after))

    def _positions_like(self, x: Array) -> Any:
        positions = self.indices.reshape(-1)
        return arrays.namespace(x).from_numpy(positions).to(x.device) if arrays.is_torch(x) else positions

    def diagonal_gram(self) -> np.ndarray:
        counts = self._counts.astype(np.float64)
        if self.axis is None:
            return counts.reshape(self.in_shape)
        beside = (1,) * (len(self.in_shape) - 1 - self.axis)
        return np.array(np.broadcast_to(counts.reshape((-1, *beside)), self.in_shape))

    def norm(self) -> float:
        return math.sqrt(float(self._counts.max()))

    def __repr__(self) -> str:
        along = "" if self.axis is None else f", axis {self.axis}"
        return f"Restriction({self.in_shape} -> {self.out_shape}{along})"


class _Rearrangement(LinearOperator):
    """Every sample once, at another place: ``A^H A = I`` and ``A A^H = I``."""

    nonnegative = True
    selects = True

    def gram(self, x: Array) -> Array:
        return copied(self._admit(x, "x", self.in_shape))

    def diagonal_gram(self) -> np.ndarray:
        return np.ones(self.in_shape)

    def norm(self) -> float:
        return 1.0

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        return b / (1.0 + rho)


class Reshape(_Rearrangement):
    """The same samples in another shape, row after row: ``y = x.reshape(out_shape)``.

    Parameters
    ----------
    in_shape, out_shape : tuple of int
        Shapes with the same number of entries.

    Raises
    ------
    ShapeError
        The numbers of entries differ.

    Examples
    --------
    >>> Reshape((2, 3), (6,))(np.eye(2, 3))
    array([1., 0., 0., 0., 1., 0.])
    """

    def __init__(self, in_shape: Sequence[int], out_shape: Sequence[int]):
        super().__init__(in_shape, out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            raise ShapeError(
                f"out_shape is {self.out_shape}, {math.prod(self.out_shape)} entries; expected "
                f"{math.prod(self.in_shape)}, those of in_shape {self.in_shape}. Pass shapes of as many entries."
            )

    def _apply(self, x: Array) -> Array:
        return copied(x).reshape((*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape))

    def _adjoint(self, y: Array) -> Array:
        return copied(y).reshape((*y.shape[: y.ndim - len(self.out_shape)], *self.in_shape))

    @property
    def H(self) -> LinearOperator:
        return Reshape(self.out_shape, self.in_shape)

    def __repr__(self) -> str:
        return f"Reshape({self.in_shape} -> {self.out_shape})"


class Permute(_Rearrangement):
    """The same samples with the axes in another order: ``y = x.transpose(axes)``.

    Parameters
    ----------
    axes : tuple of int
        Axis ``k`` of the measurement is axis ``axes[k]`` of the image; each axis once, negative ones from the end.
    shape : tuple of int
        Shape of the image.

    Raises
    ------
    ArgumentError
        ``axes`` is no permutation of the axes of the image.

    Examples
    --------
    >>> Permute((2, 0, 1), (4, 5, 3))(np.ones((4, 5, 3))).shape
    (3, 4, 5)
    """

    def __init__(self, axes: Sequence[int], shape: Sequence[int]):
        shape = shape_argument("shape", shape)
        given: tuple[Any, ...] = tuple(axes) if np.ndim(axes) else (axes,)
        self.axes = tuple(axis_argument("axes", axis, shape) for axis in given)
        if sorted(self.axes) != list(range(len(shape))):
            raise ArgumentError(
                f"axes is {given}; expected each axis of shape {shape} once. "
                f"Pass a permutation of {tuple(range(len(shape)))}."
            )
        super().__init__(shape, tuple(shape[axis] for axis in self.axes))
        self._back = tuple(int(axis) for axis in np.argsort(self.axes))

    def _apply(self, x: Array) -> Array:
        return _permuted(x, self.axes)

    def _adjoint(self, y: Array) -> Array:
        return _permuted(y, self._back)

    @property
    def H(self) -> LinearOperator:
        return Permute(self._back, self.out_shape)

    def __repr__(self) -> str:
        return f"Permute({self.axes}, {self.in_shape})"


def copied(x: Array) -> Array:
    """A contiguous copy."""
    return x.clone(memory_format=arrays.namespace(x).contiguous_format) if arrays.is_torch(x) else x.copy()


def _permuted(x: Array, axes: tuple[int, ...]) -> Array:
    batch = x.ndim - len(axes)
    order = (*range(batch), *(batch + axis for axis in axes))
    return copied(x.permute(order) if arrays.is_torch(x) else x.transpose(order))


def axis_argument(name: str, axis: Any, shape: tuple[int, ...]) -> int:
    """An axis of ``shape``, counted from 0."""
    if isinstance(axis, (bool, np.bool_)) or not hasattr(axis, "__index__") or np.ndim(axis):
        raise DTypeError(f"{name} holds {axis!r}; expected integers. Pass axes of shape {shape}, such as 0.")
    if not -len(shape) <= int(axis) < len(shape):
        raise ArgumentError(f"{name} holds {axis}; shape {shape} has {len(shape)} axes. Pass one that it has.")
    return int(axis) % len(shape)


def _positions(indices: Any, length: int, *, flat: bool) -> np.ndarray:
    """Positions within ``length``, none negative."""
    values = arrays.to_numpy(indices)
    if values.dtype.kind == "b":
        raise DTypeError("indices are booleans; expected integers. Pass np.flatnonzero(indices), or use Mask.")
    if values.size == 0 or (values.ndim != 1 and not (flat and values.ndim)):
        wanted = "at least one index" if values.size == 0 else "one axis"
        raise ShapeError(f"indices has shape {values.shape}; expected {wanted}. Pass a list of positions.")
    if values.dtype.kind not in "iu":
        raise DTypeError(f"indices has dtype {values.dtype}; expected integers. Round and convert them.")
    odd = values[(values < -length) | (values >= length)]
    if odd.size:
        raise ArgumentError(f"indices holds {odd[0]}; expected positions below {length}. Leave it out.")
    return (values % length).astype(np.int64)
