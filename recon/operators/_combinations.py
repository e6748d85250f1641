"""Operators made of operators: products, sums, multiples and adjoints.

Each part runs its own body on tensors, so a combination of torch and numba operators is still differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from recon.operators._fourier import of_real_images
from recon.operators.base import LinearOperator
from recon.operators.pointwise import Identity
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OperatorError, ShapeError

Kind = Literal["any", "real", "complex"]


def joint_kind(operators: Sequence[Any]) -> Kind:
    """The kind of image that all take."""
    kinds = {operator.kind for operator in operators}
    if {"real", "complex"} <= kinds:
        raise OperatorError(
            f"{' and '.join(map(repr, operators))} cannot be combined: one takes real images, the other complex ones. "
            "Combine operators of one kind; A @ RealImage(shape) is A for real images."
        )
    return "complex" if "complex" in kinds else "real" if "real" in kinds else "any"


def joint_out_kind(operators: Sequence[Any], kind: Kind) -> Kind | None:
    """The kind of measurement that all have, None where it is ``kind``, that of their images."""
    kinds = {operator.measured_kind for operator in operators}
    kinds = {kind if own == "any" else own for own in kinds}
    if len(kinds) > 1:
        raise OperatorError(
            f"{' and '.join(map(repr, operators))} cannot be combined: some give real measurements, others complex "
            "ones. Combine operators of one kind; RealImage(shape) @ A makes real measurements complex."
        )
    (joint,) = kinds
    return None if joint == kind else joint


def chained_kinds(outer: Any, inner: Any) -> tuple[Kind, Kind | None]:
    """Kinds of image and of measurement of ``outer @ inner``."""
    given = inner.measured_kind
    if outer.kind == "real" and given == "complex":
        raise OperatorError(
            f"{outer!r} @ {inner!r} cannot be combined: the right one gives complex arrays, the left one takes real "
            "ones. Compose operators of one kind, or take the real part between them: RealImage(shape).H."
        )
    if inner.kind == "any" and given == "any":
        return outer.kind, outer.out_kind
    measured = given if outer.measured_kind == "any" else outer.measured_kind
    return inner.kind, None if measured == inner.kind else measured


class Combined(LinearOperator):
    """An operator made of ``parts``."""

    def __init__(self, parts: Sequence[LinearOperator], in_shape: tuple[int, ...], out_shape: tuple[int, ...]):
        super().__init__(in_shape, out_shape)
        self.parts = tuple(parts)
        self.kind, self.out_kind = self._kinds()
        self.adjoint_tolerance = loosest([part.adjoint_tolerance for part in parts])
        self.channels = any(part.channels and part.in_shape == self.in_shape for part in parts)
        self.frames = any(part.frames and part.in_shape == self.in_shape for part in parts)
        self.neighbours_alike = all(part.neighbours_alike for part in parts)
        self.costly = any(part.costly for part in parts)
        self.batch_shape = max((part.batch_shape for part in parts), key=len)

    @property
    def nonnegative_but_rounding(self) -> bool:
        return all(part.nonnegative_but_rounding for part in self.parts)

    def _kinds(self) -> tuple[Kind, Kind | None]:
        """``kind`` and ``out_kind``, where the parts take and give arrays of one kind."""
        kind = joint_kind(self.parts)
        return kind, joint_out_kind(self.parts, kind)


def loosest(tolerances: Sequence[dict[str, float] | None]) -> dict[str, float] | None:
    allowed: dict[str, float] = {}
    for given in tolerances:
        for name, value in (given or {}).items():
            allowed[name] = max(value, allowed.get(name, 0.0))
    return allowed or None


def product(outer: LinearOperator, inner: LinearOperator) -> LinearOperator:
    """``A B``, from which an identity vanishes."""
    whole = Product(outer, inner)
    return outer if isinstance(inner, Identity) else inner if isinstance(outer, Identity) else whole


def require_fit(outer: Any, inner: Any) -> None:
    """Refuse a composition of operators whose shapes do not fit."""
    if outer.in_shape != inner.out_shape:
        raise ShapeError(
            f"cannot compose {outer!r} @ {inner!r}: the right one gives {inner.out_shape}, the left one takes "
            f"{outer.in_shape}. Build them for matching shapes."
        )


def require_equal_shapes(left: Any, right: Any) -> None:
    """Refuse a sum of operators of different shapes."""
    if (left.in_shape, left.out_shape) != (right.in_shape, right.out_shape):
        raise ShapeError(
            f"cannot add {left!r} and {right!r}: their shapes differ. Build both for one in_shape and out_shape."
        )


class Product(Combined):
    """``A B``."""

    def __init__(self, outer: LinearOperator, inner: LinearOperator):
        require_fit(outer, inner)
        super().__init__((outer, inner), inner.in_shape, outer.out_shape)
        self.nonnegative = outer.nonnegative and inner.nonnegative
        self.selects = outer.selects and inner.selects
        self.pointwise = outer.pointwise and inner.pointwise
        self.sampling = outer.sampling
        if inner.sampling is not None and outer.pointwise:
            self.sampling = inner.sampling if outer.sampling is None else outer.sampling & inner.sampling

    def _apply(self, x: Array) -> Array:
        outer, inner = self.parts
        return outer(inner(x))

    def _kinds(self) -> tuple[Kind, Kind | None]:
        return chained_kinds(*self.parts)

    def _adjoint(self, y: Array) -> Array:
        return self._back(self.parts[0].adjoint(y))

    def gram(self, x: Array) -> Array:
        outer, inner = self.parts
        return self._back(outer.gram(inner(self._admit(x, "x", self.in_shape))))

    def _back(self, between: Array) -> Array:
        """The inner adjoint of what the outer one gives."""
        inner = self.parts[1]
        # Real numbers are taken for complex ones between the two: the adjoint of that is the real part.
        real = inner.measured_kind == "real" or (inner.measured_kind == "any" and self.kind == "real")
        return inner.adjoint(between.real if real and arrays.is_complex(between) else between)

    def transfer(self) -> np.ndarray | None:
        outer, inner = (part.transfer() for part in self.parts)
        return None if outer is None or inner is None else outer * inner

    def fourier_gram(self) -> np.ndarray | None:
        outer, inner = self.parts
        if (own := super().fourier_gram()) is not None:
            return own
        if (scale := _isometry(outer)) is not None:
            return _times(scale, inner.fourier_gram())
        between, transfer = outer.fourier_gram(), inner.transfer()
        if between is None or transfer is None:
            return None
        spectrum = between * (transfer.real**2 + transfer.imag**2)
        return of_real_images(spectrum) if self.kind == "real" else spectrum

    def norm(self) -> float:
        outer, inner = self.parts
        if (scale := _isometry(outer)) is not None:
            return math.sqrt(scale) * inner.norm()
        square = inner.out_kind is None and math.prod(inner.in_shape) == math.prod(inner.out_shape)
        if square and (scale := _isometry(inner)) is not None:
            return math.sqrt(scale) * outer.norm()
        return super().norm()

    def diagonal_gram(self) -> np.ndarray | None:
        outer, inner = self.parts
        if (scale := _isometry(outer)) is not None:
            return _times(scale, inner.diagonal_gram())
        diagonal = outer.diagonal_gram() if inner.selects else None
        return None if diagonal is None else inner.adjoint(diagonal)

    def sensitivity(self) -> np.ndarray | None:
        """That of the inner operator, of whose samples some are picked."""
        outer, inner = self.parts
        return inner.sensitivity() if outer.selects else None

    def factors(self) -> tuple[LinearOperator, LinearOperator] | None:
        own = super().factors()
        left, right = (part.factors() for part in self.parts)
        if own is not None or left is None or right is None:
            return own
        # A = outer @ middle @ selection @ inner: one of the two between must vanish for a single pair to remain.
        (outer, middle), (selection, inner) = left, right
        if isinstance(middle, Identity):
            outer = outer @ selection
        elif isinstance(selection, Identity):
            inner = middle @ inner
        else:
            return None
        return None if outer._diagonal is None or inner._spectrum is None else (outer, inner)

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        outer, inner = self.parts
        return outer.with_sampling(sampling) @ inner

    def __repr__(self) -> str:
        return " @ ".join(map(repr, self.parts))


def _isometry(operator: LinearOperator) -> float | None:
    """``c`` where ``A^H A = c I``, else None."""
    diagonal = None if operator._diagonal is None else operator._diagonal.double
    return float(diagonal.flat[0]) if diagonal is not None and diagonal.min() == diagonal.max() else None


class Sum(Combined):
    """``A + B``."""

    def __init__(self, left: LinearOperator, right: LinearOperator):
        require_equal_shapes(left, right)
        super().__init__((left, right), left.in_shape, left.out_shape)
        self.nonnegative = left.nonnegative and right.nonnegative

    def _apply(self, x: Array) -> Array:
        left, right = self.parts
        return added(left(x), right(x))

    def _adjoint(self, y: Array) -> Array:
        left, right = self.parts
        return added(left.adjoint(y), right.adjoint(y))

    def transfer(self) -> np.ndarray | None:
        left, right = (part.transfer() for part in self.parts)
        return None if left is None or right is None else left + right

    def __repr__(self) -> str:
        return f"({self.parts[0]!r} + {self.parts[1]!r})"


def added(fresh: Array, other: Array) -> Array:
    """``fresh + other``, in the memory of ``fresh`` where torch needs no copy of it for a gradient."""
    return fresh + other if arrays.is_torch(fresh) or fresh.dtype != other.dtype else np.add(fresh, other, out=fresh)


def scaled(fresh: Array, factor: Any) -> Array:
    """``fresh * factor``, in the memory of ``fresh`` where torch needs no copy of it for a gradient."""
    if arrays.is_torch(fresh) or np.result_type(fresh, factor) != fresh.dtype:
        return fresh * factor
    return np.multiply(fresh, factor, out=fresh)


class Scaled(Combined):
    """``factor * A``."""

    def __init__(self, operator: LinearOperator, factor: complex):
        if not np.isfinite(factor):
            raise ArgumentError(f"factor is {factor}; expected a finite number. Scale the operator by a finite factor.")
        super().__init__((operator,), operator.in_shape, operator.out_shape)
        if isinstance(factor, complex):
            if self.measured_kind == "real":
                raise DTypeError(f"factor is {factor}; {operator!r} gives real arrays. Scale it by a real number.")
            self.kind = "complex" if self.kind == "any" else self.kind
        self.factor = factor
        self._keeps_sign = bool(np.isreal(factor) and np.real(factor) >= 0)
        self.nonnegative = operator.nonnegative and self._keeps_sign
        self.sampling, self.pointwise = operator.sampling, operator.pointwise

    @property
    def nonnegative_but_rounding(self) -> bool:
        return self._keeps_sign and super().nonnegative_but_rounding

    def _apply(self, x: Array) -> Array:
        return scaled(self.parts[0](x), self.factor)

    def _adjoint(self, y: Array) -> Array:
        if np.iscomplexobj(self.factor):  # before what may take the real part
            return self.parts[0].adjoint(y * self.factor.conjugate())
        return scaled(self.parts[0].adjoint(y), self.factor)

    def gram(self, x: Array) -> Array:
        return scaled(self.parts[0].gram(self._admit(x, "x", self.in_shape)), abs(self.factor) ** 2)

    def norm(self) -> float:
        return abs(self.factor) * self.parts[0].norm()

    def transfer(self) -> np.ndarray | None:
        return _times(self.factor, self.parts[0].transfer())

    def fourier_gram(self) -> np.ndarray | None:
        return _times(abs(self.factor) ** 2, self.parts[0].fourier_gram())

    def diagonal_gram(self) -> np.ndarray | None:
        return _times(abs(self.factor) ** 2, self.parts[0].diagonal_gram())

    def sensitivity(self) -> np.ndarray | None:
        return self.parts[0].sensitivity()

    def factors(self) -> tuple[LinearOperator, LinearOperator] | None:
        pair = self.parts[0].factors()
        return None if pair is None else (pair[0], self.factor * pair[1])

    @property
    def has_solve_shifted(self) -> bool:
        return self.factor != 0 and self.parts[0].has_solve_shifted

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        square = abs(self.factor) ** 2
        return self.parts[0].solve_shifted(b, rho / square) / square

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        return self.factor * self.parts[0].with_sampling(sampling)

    def __repr__(self) -> str:
        return f"{self.factor:g} * {self.parts[0]!r}"


def _times(factor: complex, values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else factor * values


class Adjoint(Combined):
    """``A^H``."""

    def __init__(self, operator: LinearOperator):
        super().__init__((operator,), operator.out_shape, operator.in_shape)
        self.nonnegative = operator.nonnegative
        self.selects = operator.selects and operator.out_kind is None  # the real part is no entry of a complex matrix

    def _kinds(self) -> tuple[Kind, Kind | None]:
        operator = self.parts[0]
        return operator.measured_kind, None if operator.out_kind is None else operator.kind

    def _apply(self, x: Array) -> Array:
        return self.parts[0].adjoint(x)

    def _adjoint(self, y: Array) -> Array:
        return self.parts[0](y)

    def norm(self) -> float:
        return self.parts[0].norm()

    def transfer(self) -> np.ndarray | None:
        transfer = self.parts[0].transfer()
        # The real part of a convolution is none.
        return None if transfer is None or self.measured_kind != self.kind else transfer.conj()

    def diagonal_gram(self) -> np.ndarray | None:
        return np.asarray(self.parts[0](np.ones(self.out_shape))) if self.selects else None

    @property
    def H(self) -> LinearOperator:
        return self.parts[0]

    def __repr__(self) -> str:
        return f"{self.parts[0]!r}.H"
