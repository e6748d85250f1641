"""Several operators side by side: measurements of one image, or of one image each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from recon.operators._combinations import Combined, added
from recon.operators.base import LinearOperator, Operator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError


class Layout:
    """How the arrays of several parts make one: on a new axis, or flat and one after the other."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], flatten: bool):
        self.shapes, self.flatten = tuple(shapes), flatten
        self.sizes = tuple(math.prod(shape) for shape in shapes)
        self.shape: tuple[int, ...] = (sum(self.sizes),) if flatten else (len(shapes), *shapes[0])

    def join(self, parts: Sequence[Array]) -> Array:
        """One array from those of the parts, batch axes kept."""
        batch_axes = parts[0].ndim - len(self.shapes[0])
        xp = arrays.namespace(parts[0])
        if self.flatten:
            return xp.concatenate([part.reshape((*part.shape[:batch_axes], -1)) for part in parts], -1)
        return xp.stack(list(parts), batch_axes)

    def split(self, array: Array) -> list[Array]:
        """Views of the parts, batch axes kept."""
        batch = tuple(array.shape[: array.ndim - len(self.shape)])
        if not self.flatten:
            return [array[(slice(None),) * len(batch) + (k,)] for k in range(len(self.shapes))]
        ends = np.cumsum(self.sizes)
        return [
            array[..., end - length : end].reshape((*batch, *shape))
            for end, length, shape in zip(ends, self.sizes, self.shapes, strict=True)
        ]

    def split_shift(self, rho: Any) -> list[Any]:
        """What broadcasts against the whole, as what broadcasts against each part."""
        position = len(rho.shape) - len(self.shape) if np.ndim(rho) else -1
        if position < 0:  # one number, or one for each pixel of a part
            return [rho] * len(self.shapes)
        if rho.shape[position] == len(self.shapes) and not self.flatten:
            return [rho[(slice(None),) * position + (k,)] for k in range(len(self.shapes))]
        if rho.shape[position] == 1:
            kept = rho[(slice(None),) * position + (0,)]
            return [kept.reshape((*kept.shape, *(1,) * len(shape))) if self.flatten else kept for shape in self.shapes]
        return self.split(rho)


def operator_list(name: str, operators: Any) -> list[Any]:
    """``operators`` as a list of operators, at least one."""
    given = list(operators) if isinstance(operators, Iterable) else [operators]
    if not given:
        raise ArgumentError(f"operators is empty; {name} expected at least one. Pass a list of them.")
    for operator in given:
        if not isinstance(operator, Operator):
            raise DTypeError(
                f"operators holds {operator!r}; {name} expected operators. Wrap matrices and functions first, "
                "with operators.from_matrix or operators.from_callables."
            )
    return given


def all_linear(operators: Sequence[Any]) -> bool:
    """Whether each of them is linear."""
    return all(isinstance(operator, LinearOperator) for operator in operators)


def stack_layout(operators: Sequence[Any], flatten: bool) -> Layout:
    """Layout of the measurements of one image by several operators."""
    first = operators[0]
    for operator in operators[1:]:
        if operator.in_shape != first.in_shape:
            raise ShapeError(
                f"stack got {operator!r} beside {first!r}; expected the same in_shape. Build them for one image."
            )
        if not flatten and operator.out_shape != first.out_shape:
            raise ShapeError(
                f"stack got out_shape {operator.out_shape} beside {first.out_shape}; expected equal ones. "
                "Pass flatten=True to concatenate the flattened measurements."
            )
    return Layout([operator.out_shape for operator in operators], flatten)


def block_layouts(operators: Sequence[Any], flatten: bool) -> tuple[Layout, Layout]:
    """Layouts of several images and of their measurements, by an operator each."""
    first = operators[0]
    for operator in operators[1:]:
        if not flatten and (operator.in_shape, operator.out_shape) != (first.in_shape, first.out_shape):
            raise ShapeError(
                f"block_diagonal got {operator!r} beside {first!r}; expected equal in_shape and out_shape. "
                "Pass flatten=True to concatenate flattened images and measurements."
            )
    images = Layout([operator.in_shape for operator in operators], flatten)
    return images, Layout([operator.out_shape for operator in operators], flatten)


class Stack(Combined):
    """Several measurements of one image."""

    def __init__(self, operators: Sequence[LinearOperator], flatten: bool):
        self._measurements = stack_layout(operators, flatten)
        super().__init__(operators, operators[0].in_shape, self._measurements.shape)
        self.nonnegative = all(operator.nonnegative for operator in operators)
        self.sampling = joint_sampling(operators, self._measurements)

    def _apply(self, x: Array) -> Array:
        return self._measurements.join([operator(x) for operator in self.parts])

    def _adjoint(self, y: Array) -> Array:
        parts = self._measurements.split(y)
        total = self.parts[0].adjoint(parts[0])
        for operator, part in zip(self.parts[1:], parts[1:], strict=True):
            total = added(total, operator.adjoint(part))
        return total

    def gram(self, x: Array) -> Array:
        total = self.parts[0].gram(x)
        for operator in self.parts[1:]:
            total = added(total, operator.gram(x))
        return total

    def fourier_gram(self) -> np.ndarray | None:
        return _total([operator.fourier_gram() for operator in self.parts])

    def diagonal_gram(self) -> np.ndarray | None:
        return _total([operator.diagonal_gram() for operator in self.parts])

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        parts = _sampled(self, self._measurements, sampling)
        return super().with_sampling(sampling) if parts is None else Stack(parts, self._measurements.flatten)

    def __repr__(self) -> str:
        return f"stack({', '.join(map(repr, self.parts))})"


class BlockDiagonal(Combined):
    """Several images, each measured by an operator of its own."""

    def __init__(self, operators: Sequence[LinearOperator], flatten: bool):
        self._images, self._measurements = block_layouts(operators, flatten)
        super().__init__(operators, self._images.shape, self._measurements.shape)
        self.nonnegative = all(operator.nonnegative for operator in operators)
        self.selects = all(operator.selects for operator in operators)
        self.frames = not flatten and not self.channels
        self.sampling = joint_sampling(operators, self._measurements)

    def _apply(self, x: Array) -> Array:
        parts = zip(self.parts, self._images.split(x), strict=True)
        return self._measurements.join([operator(part) for operator, part in parts])

    def _adjoint(self, y: Array) -> Array:
        parts = zip(self.parts, self._measurements.split(y), strict=True)
        return self._images.join([operator.adjoint(part) for operator, part in parts])

    def gram(self, x: Array) -> Array:
        parts = zip(self.parts, self._images.split(self._admit(x, "x", self.in_shape)), strict=True)
        return self._images.join([operator.gram(part) for operator, part in parts])

    def norm(self) -> float:
        return max(operator.norm() for operator in self.parts)

    def diagonal_gram(self) -> np.ndarray | None:
        diagonals = [operator.diagonal_gram() for operator in self.parts]
        return None if any(diagonal is None for diagonal in diagonals) else self._images.join(diagonals)

    def fourier_gram(self) -> np.ndarray | None:
        first, *others = (operator.fourier_gram() for operator in self.parts)
        if self._images.flatten or first is None or not all(_equal(first, gram) for gram in others):
            return None
        return np.broadcast_to(first, self.in_shape)

    def factors(self) -> tuple[LinearOperator, LinearOperator] | None:
        pairs: list[Any] = [operator.factors() for operator in self.parts]
        if self._spectrum is not None or self._images.flatten or not _alike(pairs):
            return super().factors()
        return BlockDiagonal([pair[0] for pair in pairs], False), BlockDiagonal([pair[1] for pair in pairs], False)

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        parts = _sampled(self, self._measurements, sampling)
        return super().with_sampling(sampling) if parts is None else BlockDiagonal(parts, self._images.flatten)

    @property
    def has_solve_shifted(self) -> bool:
        return all(operator.has_solve_shifted for operator in self.parts)

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        parts = zip(self.parts, self._images.split(b), self._images.split_shift(rho), strict=True)
        return self._images.join([operator.solve_shifted(part, shift) for operator, part, shift in parts])

    @property
    def H(self) -> LinearOperator:
        return BlockDiagonal([operator.H for operator in self.parts], self._images.flatten)

    def __repr__(self) -> str:
        return f"block_diagonal({', '.join(map(repr, self.parts))})"


def joint_sampling(operators: Sequence[LinearOperator], layout: Layout) -> np.ndarray | None:
    if all(operator.sampling is None for operator in operators):
        return None
    everywhere = [True if operator.sampling is None else operator.sampling for operator in operators]
    parts = zip(everywhere, layout.shapes, strict=True)
    return np.asarray(layout.join([np.broadcast_to(sampling, shape) for sampling, shape in parts]))


def _sampled(operator: Combined, layout: Layout, sampling: np.ndarray) -> list[LinearOperator] | None:
    """The parts, measuring only where ``sampling`` is True; None where one would measure nothing."""
    whole = np.broadcast_to(sampling, operator.out_shape)
    kept = layout.split(whole if operator.sampling is None else whole & operator.sampling)
    if not all(part.any() for part in kept):
        return None
    return [part.with_sampling(own) for part, own in zip(operator.parts, kept, strict=True)]


def _alike(pairs: Sequence[Any]) -> bool:
    """Whether all operators have factors, of equal shapes, and inner ones with one spectrum of ``B^H B``."""
    if any(pair is None for pair in pairs):
        return False
    outer, inner = pairs[0]
    spectrum, shapes = inner.fourier_gram(), (outer.in_shape, outer.out_shape)
    return all(
        (first.in_shape, first.out_shape) == shapes and _equal(second.fourier_gram(), spectrum)
        for first, second in pairs
    )


def _equal(left: np.ndarray | None, right: np.ndarray | None) -> bool:
    return left is not None and right is not None and np.array_equal(left, right)


def _total(grams: Sequence[np.ndarray | None]) -> np.ndarray | None:
    known = [gram for gram in grams if gram is not None]
    return sum(known[1:], start=known[0]) if len(known) == len(grams) else None
