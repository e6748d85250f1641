"""Operators of which at least one part is nonlinear: compositions, sums, several side by side.

A combination computes forward and gives its derivative: that of its parts, combined alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators._combinations import (
    Sum,
    added,
    chained_kinds,
    joint_kind,
    joint_out_kind,
    loosest,
    require_equal_shapes,
    require_fit,
)
from recon.operators._stacks import BlockDiagonal, Layout, Stack, block_layouts, joint_sampling, stack_layout
from recon.operators.base import LinearOperator
from recon.operators.nonlinear import NonlinearOperator, least_squares_guess
from solvers import arrays
from solvers.arrays import Array


class _Combined(NonlinearOperator):
    """A nonlinear operator made of ``parts``."""

    def __init__(self, parts: Sequence[Any], in_shape: tuple[int, ...], out_shape: tuple[int, ...]):
        super().__init__(in_shape, out_shape)
        self.parts = tuple(parts)
        self.adjoint_tolerance = loosest([part.adjoint_tolerance for part in parts])
        self.channels = any(part.channels and part.in_shape == self.in_shape for part in parts)
        self.neighbours_alike = all(part.neighbours_alike for part in parts)
        self.has_jvp = all(getattr(part, "has_jvp", True) for part in parts)

    def _vjp(self, x: Array, r: Array) -> Array:
        return self._linearize(x).adjoint(r)

    def _jvp(self, x: Array, d: Array) -> Array:
        return self._linearize(x)(d)


class Chain(_Combined):
    """``F(G(x))``."""

    def __init__(self, outer: Any, inner: Any):
        require_fit(outer, inner)
        super().__init__((outer, inner), inner.in_shape, outer.out_shape)
        self.kind, self.out_kind = chained_kinds(outer, inner)
        self.sampling = outer.sampling
        self.pointwise = outer.pointwise and inner.pointwise
        self.selects = outer.selects and inner.pointwise
        self.interior = inner.interior
        self.natural_noise = getattr(outer, "natural_noise", None)

    def _apply(self, x: Array) -> Array:
        outer, inner = self.parts
        return outer(inner(x))

    def _linearize(self, x: Array) -> LinearOperator:
        outer, inner = self.parts
        return _ChainRule(self, outer.linearize(inner(x)), inner.linearize(x), x)

    def data_term(self, y: Array, noise: Any, inner: Any = None) -> Any:
        outer, own = self.parts
        if inner is not None or not isinstance(outer, NonlinearOperator) or not isinstance(own, LinearOperator):
            return None
        return outer.data_term(y, noise, own)

    @property
    def rounding(self) -> float:
        return float(getattr(self.parts[0], "rounding", 0.0))

    def informative(self, y: Array) -> Array | None:
        return self.parts[0].informative(y) if isinstance(self.parts[0], NonlinearOperator) else None

    def first_guess(self, y: Array) -> Array | None:
        return self._guess(y, None)

    def _guess(self, y: Array, seen: Array | None) -> Array | None:
        """:meth:`first_guess`, told which samples answer to the image; the others only stand in where none does."""
        outer, inner = self.parts
        between = outer.inverse(y) if isinstance(outer, NonlinearOperator) else None
        if between is None:
            return None
        if outer.pointwise and outer.informative(y) is not None:
            seen = outer.informative(y) if seen is None else seen & outer.informative(y)
        if isinstance(inner, Chain):
            return inner._guess(between, seen if outer.pointwise else None)
        if not isinstance(inner, LinearOperator):
            return inner.first_guess(between)
        guess = least_squares_guess(inner, between)
        return guess if seen is None else guess + least_squares_guess(inner, between - inner(guess), seen)

    def example(self, rng: np.random.Generator) -> np.ndarray:
        inner = self.parts[1]
        if isinstance(inner, NonlinearOperator):
            return inner.example(rng)
        return super().example(rng)

    def __repr__(self) -> str:
        return " @ ".join(map(repr, self.parts))


class _ChainRule(LinearOperator):
    """``J_F(G(x)) J_G(x)``."""

    def __init__(self, whole: Chain, outer: LinearOperator, inner: LinearOperator, x: Array):
        super().__init__(whole.in_shape, whole.out_shape)
        self.kind = "complex" if arrays.is_complex(x) else "real"
        self.out_kind = whole._kind_of_measurement(x)
        self.outer, self.inner = outer, inner
        self.batch_shape = tuple(x.shape[: x.ndim - len(whole.in_shape)])
        self.sampling, self.interior, self.pointwise = whole.sampling, whole.interior, whole.pointwise
        self.adjoint_tolerance = whole.adjoint_tolerance

    def _apply(self, d: Array) -> Array:
        return self.outer(self.inner(d))

    def _adjoint(self, r: Array) -> Array:
        back = self.outer.adjoint(r)
        # Real numbers are taken for complex ones between the two: the adjoint of that is the real part.
        real = self.inner.measured_kind == "real" or (self.inner.kind == "any" and self.kind == "real")
        return self.inner.adjoint(back.real if real and arrays.is_complex(back) else back)

    def __repr__(self) -> str:
        return f"{self.outer!r} @ {self.inner!r}"


class NonlinearSum(_Combined):
    """``F(x) + G(x)``."""

    def __init__(self, left: Any, right: Any):
        require_equal_shapes(left, right)
        super().__init__((left, right), left.in_shape, left.out_shape)
        self.kind = joint_kind((left, right))
        self.out_kind = joint_out_kind(self.parts, self.kind)
        self.pointwise = left.pointwise and right.pointwise

    def _apply(self, x: Array) -> Array:
        left, right = self.parts
        return added(left(x), right(x))

    def _linearize(self, x: Array) -> LinearOperator:
        return _like(self, Sum(*(part.linearize(x) for part in self.parts)))

    def example(self, rng: np.random.Generator) -> np.ndarray:
        return _example(self.parts, rng)

    def __repr__(self) -> str:
        return f"({self.parts[0]!r} + {self.parts[1]!r})"


class NonlinearStack(_Combined):
    """Several measurements of one image."""

    def __init__(self, operators: Sequence[Any], flatten: bool):
        self._measurements = stack_layout(operators, flatten)
        super().__init__(operators, operators[0].in_shape, self._measurements.shape)
        self.kind = joint_kind(operators)
        self.out_kind = joint_out_kind(operators, self.kind)
        self.sampling = joint_sampling(operators, self._measurements)

    def _apply(self, x: Array) -> Array:
        return self._measurements.join([operator(x) for operator in self.parts])

    def _linearize(self, x: Array) -> LinearOperator:
        return _like(self, Stack([part.linearize(x) for part in self.parts], self._measurements.flatten))

    def example(self, rng: np.random.Generator) -> np.ndarray:
        return _example(self.parts, rng)

    def __repr__(self) -> str:
        return f"stack({', '.join(map(repr, self.parts))})"


class NonlinearBlockDiagonal(_Combined):
    """Several images, each measured by an operator of its own."""

    def __init__(self, operators: Sequence[Any], flatten: bool):
        self._images: Layout
        self._images, self._measurements = block_layouts(operators, flatten)
        super().__init__(operators, self._images.shape, self._measurements.shape)
        self.kind = joint_kind(operators)
        self.out_kind = joint_out_kind(operators, self.kind)
        self.sampling = joint_sampling(operators, self._measurements)

    def _apply(self, x: Array) -> Array:
        parts = zip(self.parts, self._images.split(x), strict=True)
        return self._measurements.join([operator(part) for operator, part in parts])

    def _linearize(self, x: Array) -> LinearOperator:
        parts = zip(self.parts, self._images.split(x), strict=True)
        blocks = [operator.linearize(part) for operator, part in parts]
        return _like(self, BlockDiagonal(blocks, self._images.flatten))

    def example(self, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(self._images.join([_example([part], rng) for part in self.parts]))

    def __repr__(self) -> str:
        return f"block_diagonal({', '.join(map(repr, self.parts))})"


def _like(whole: _Combined, derivative: LinearOperator) -> LinearOperator:
    derivative.out_kind = whole.out_kind
    return derivative


def _example(parts: Sequence[Any], rng: np.random.Generator) -> np.ndarray:
    for part in parts:
        if isinstance(part, NonlinearOperator):
            return part.example(rng)
    return rng.standard_normal(parts[0].in_shape)
