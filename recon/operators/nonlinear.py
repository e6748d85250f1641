"""Nonlinear forward operators: what every one of them does, and the derivative as a linear operator.

A subclass writes its physics, ``_apply``, and what it knows of the derivative. Arithmetic that takes tensors needs
nothing more: automatic differentiation gives both products.

Derivatives are linear over the real numbers and adjoint with respect to the real inner product ``Re <a, b>``. For
complex images this is the convention of Wirtinger calculus by which ``vjp(x, F(x) - y)`` is the gradient of
``1/2 |F(x) - y|^2``: ``x - t * gradient`` descends. Where ``F`` is holomorphic, ``J(x)^H`` is the conjugate transpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np

from recon.operators.base import LinearOperator, Operator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OperatorError, ShapeError

GUESS_STEPS = 8  # conjugate gradient steps of a first guess


class NonlinearOperator(Operator):
    """Nonlinear forward operator ``y = F(x)`` with its derivative.

    A subclass writes ``_apply(x)`` and, unless its body takes tensors, one of these: ``_linearize(x)``, the derivative
    as a linear operator; or the products ``_vjp(x, r)`` and ``_jvp(x, d)``. Combine with ``A @ F``, ``F @ A``,
    ``F + G``, ``2 * F``, :func:`stack` and :func:`block_diagonal`, linear operators among them.

    Parameters
    ----------
    in_shape, out_shape : tuple of int
        Shapes of one image and of one measurement, without batch axes.

    Examples
    --------
    >>> class Square(NonlinearOperator):
    ...     def _apply(self, x):
    ...         return x * x
    >>> F = Square((3,), (3,))
    >>> J = F.linearize(np.array([1.0, 2.0, 3.0]))
    >>> J(np.ones(3)), J.adjoint(np.ones(3))
    (array([2., 4., 6.]), array([2., 4., 6.]))
    """

    selects: bool = False
    """Whether each sample that is measured depends on the one pixel at its place, and others are not measured."""

    has_jvp: bool = True
    """Whether :meth:`jvp` is known; gradient methods do without."""

    natural_noise: str | None = None
    """Noise that the measurement has unless something else is said: "poisson" for a counter of photons."""

    def vjp(self, x: Array, r: Array) -> Array:
        """``J(x)^H r``, the adjoint of the derivative at ``x``.

        Parameters
        ----------
        x : array, shape (..., *in_shape)
        r : array, shape (..., *out_shape)
            Of the batch of ``x``.

        Returns
        -------
        array, shape (..., *in_shape)
        """
        x = self._admit(x, "x", self.in_shape)
        return self._derived(x, self._beside(x, r, "r", self.out_shape, self._kind_of_measurement(x)), adjoint=True)

    def jvp(self, x: Array, d: Array) -> Array:
        """``J(x) d``, the derivative at ``x`` in the direction ``d``.

        Parameters
        ----------
        x, d : array, shape (..., *in_shape)

        Returns
        -------
        array, shape (..., *out_shape)
        """
        x = self._admit(x, "x", self.in_shape)
        kind = "complex" if arrays.is_complex(x) else "real"
        return self._derived(x, self._beside(x, d, "d", self.in_shape, kind), adjoint=False)

    def linearize(self, x: Array) -> LinearOperator:
        """The derivative ``J(x)`` as a linear operator, ``F(x + d) = F(x) + J d + O(|d|^2)``.

        What depends on ``x`` alone is computed once. At one image it takes batches of directions, at a batch of images
        one direction for each.

        Parameters
        ----------
        x : array, shape (..., *in_shape)

        Returns
        -------
        LinearOperator
            Linear over the real numbers, ``adjoint`` that of the real inner product.
        """
        x = self._admit(x, "x", self.in_shape)
        if arrays.is_torch(x) and not self.torch_body:
            return Derivative(self, x)
        return self._linearize(x)

    def first_guess(self, y: Array) -> Array | None:
        """An image near the answer, from which a solver starts: the inverse. None where the operator knows of none."""
        return self.inverse(y)

    @property
    def rounding(self) -> float:
        """Standard deviation of what rounding adds to the measurement; 0 where nothing is rounded."""
        return 0.0

    @property
    def starting(self) -> tuple[str, str] | None:
        """Where there are local minima: what :meth:`first_guess` does, and what against them, for the plan."""
        return None

    def inverse(self, y: Array) -> Array | None:
        """An image that is measured as ``y``, roughly, where that can be told at once; None where it cannot."""
        return None

    def data_term(self, y: Array, noise: Any, inner: LinearOperator | None = None) -> Any:
        """A data term of this noise with more structure than one of ``F(x)``, such as a convex one, or None.

        ``inner`` stands before this operator, ``F(inner(x))``; ``y`` may be None where only the structure is asked for.
        """
        return None

    def informative(self, y: Array) -> Array | None:
        """Which samples answer to the image, None for all: one at the end of a sensor's range does not."""
        return None

    def starts(self, y: Array, rng: np.random.Generator) -> Iterator[Array]:
        """Further images to start from where there are local minima: the lowest objective wins."""
        return iter(())

    def example(self, rng: np.random.Generator) -> np.ndarray:
        """A plausible image, on which :func:`recon.check_operator` tries the operator: normal noise."""
        x = rng.standard_normal(self.in_shape)
        return x + 1j * rng.standard_normal(self.in_shape) if self.kind == "complex" else x

    def with_sampling(self, sampling: np.ndarray) -> Any:
        """The same operator measuring only where ``sampling`` (boolean, broadcastable to ``out_shape``) is True."""
        from recon.operators.pointwise import Mask

        return Mask(np.broadcast_to(sampling, self.out_shape)) @ self

    def _linearize(self, x: Array) -> LinearOperator:
        return Derivative(self, x)

    def _vjp(self, x: Array, r: Array) -> Array:
        if self._writes_linearize:
            return self._linearize(x).adjoint(r)
        self._require_torch_body()
        from recon.autograd import vjp_by_torch

        return vjp_by_torch(self, x, r)

    def _jvp(self, x: Array, d: Array) -> Array:
        if self._writes_linearize:
            return self._linearize(x)(d)
        self._require_torch_body()
        from recon.autograd import jvp_by_torch

        return jvp_by_torch(self, x, d)

    @property
    def _writes_linearize(self) -> bool:
        return type(self)._linearize is not NonlinearOperator._linearize

    def _require_torch_body(self) -> None:
        if not self.torch_body:
            raise OperatorError(
                f"{self!r} has no derivative: its body is not written in torch. Give it _vjp(x, r), which returns "
                "J(x)^H r, and _jvp(x, d), which returns J(x) d; or _linearize(x)."
            )

    def _derived(self, x: Array, v: Array, *, adjoint: bool) -> Array:
        """Run the product with the derivative that suits ``x``, and check what comes out."""
        if arrays.is_torch(x) and not self.torch_body:
            from recon.autograd import product_through_numpy

            out = product_through_numpy(self, x, v, adjoint=adjoint)
        else:
            out = self._vjp(x, v) if adjoint else self._jvp(x, v)
        batch = tuple(x.shape[: x.ndim - len(self.in_shape)])
        what, shape = ("vjp", self.in_shape) if adjoint else ("jvp", self.out_shape)
        return self._returned(out, what, batch + shape)

    def _beside(self, x: Array, v: Array, name: str, shape: tuple[int, ...], kind: str) -> Array:
        """``v`` in the precision, library and batch of ``x``."""
        v = arrays.asarray(self._admit(v, name, shape, kind), x)
        batch = tuple(x.shape[: x.ndim - len(self.in_shape)])
        if tuple(v.shape) != batch + shape:
            raise ShapeError(
                f"{name} has shape {tuple(v.shape)} and x {tuple(x.shape)}; expected {name} of shape {batch + shape}, "
                "one for each image. Pass as many of both."
            )
        return v

    def _kind_of_measurement(self, x: Array) -> Literal["real", "complex"]:
        kind = self.out_kind or self.kind
        if kind == "any":
            return "complex" if arrays.is_complex(x) else "real"
        return kind

    def __matmul__(self, other: Any) -> Any:
        return _chained(self, other) if isinstance(other, Operator) else NotImplemented

    def __rmatmul__(self, other: Any) -> Any:
        return _chained(other, self) if isinstance(other, Operator) else NotImplemented

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Operator):
            return NotImplemented
        from recon.operators._nonlinear_combinations import NonlinearSum

        return NonlinearSum(self, other)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return -1.0 * self

    def __sub__(self, other: Any) -> Any:
        return self + (-1.0 * cast(Any, other)) if isinstance(other, Operator) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return -self + other if isinstance(other, Operator) else NotImplemented

    def __mul__(self, factor: Any) -> Any:
        if not isinstance(factor, (int, float, complex, np.number)):
            return NotImplemented
        from recon.operators.pointwise import Identity

        return (factor * Identity(self.out_shape)) @ self

    __rmul__ = __mul__


def _chained(outer: Any, inner: Any) -> NonlinearOperator:
    from recon.operators._nonlinear_combinations import Chain

    return Chain(outer, inner)


def least_squares_guess(operator: LinearOperator, y: Array, seen: Array | None = None) -> Array:
    """A few conjugate gradient steps from zero, on the samples ``seen`` where not all are to count."""
    from solvers.krylov import CG, CGLS
    from solvers.loop import unroll

    weights = None if seen is None else arrays.asarray(seen, y, dtype=y.dtype)
    back = operator.adjoint(y if weights is None else weights * y)
    start = arrays.zeros(tuple(back.shape), back)
    if weights is None:
        return unroll(CGLS(operator, y), start, GUESS_STEPS)
    return unroll(CG(lambda x: operator.adjoint(weights * operator(x)), back), start, GUESS_STEPS)


class PointwiseOperator(NonlinearOperator):
    """A function of each pixel alone: ``y_i = f_i(x_i)``, real.

    A subclass writes ``_apply(x)`` and ``_slope(x)``, the derivative ``f_i'(x_i)``, for arrays and tensors.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image and of the measurement.
    """

    kind = "real"
    pointwise = True

    def __init__(self, shape: Sequence[int]):
        super().__init__(shape, shape)

    def _slope(self, x: Array) -> Array:
        raise NotImplementedError

    def _linearize(self, x: Array) -> LinearOperator:
        return Slopes(self, self._slope(x))


class AtAnImage(LinearOperator):
    """The derivative of an operator at an image, whose batch it shares."""

    def __init__(self, operator: Any, x: Array):
        super().__init__(operator.in_shape, operator.out_shape)
        self.kind = "complex" if arrays.is_complex(x) else "real"
        self.out_kind = operator._kind_of_measurement(x)
        self.batch_shape = tuple(x.shape[: x.ndim - len(operator.in_shape)])
        for name in ("sampling", "interior", "channels", "neighbours_alike", "pointwise", "adjoint_tolerance"):
            setattr(self, name, getattr(operator, name))


class Derivative(AtAnImage):
    """``J(x)`` by the products of the operator, ``jvp`` and ``vjp``."""

    def __init__(self, operator: NonlinearOperator, x: Array):
        super().__init__(operator, x)
        self.operator, self.x = operator, x

    def _apply(self, d: Array) -> Array:
        return self.operator.jvp(self._beside(d, self.in_shape), d)

    def _adjoint(self, r: Array) -> Array:
        return self.operator.vjp(self._beside(r, self.out_shape), r)

    def _beside(self, v: Array, shape: tuple[int, ...]) -> Array:
        """The image in the library, precision and batch of ``v``: one image serves all directions."""
        x = arrays.asarray(self.x if arrays.is_torch(v) else arrays.to_numpy(self.x), v)
        return arrays.namespace(v).broadcast_to(x, (*v.shape[: v.ndim - len(shape)], *self.in_shape))

    def __repr__(self) -> str:
        return f"{self.operator!r}.linearize(x)"


class Slopes(AtAnImage):
    """The derivative of a function of each pixel: a diagonal matrix."""

    def __init__(self, operator: PointwiseOperator, slopes: Array):
        super().__init__(operator, slopes)
        self.slopes = slopes

    def _apply(self, d: Array) -> Array:
        return self._at(d) * d

    def _adjoint(self, r: Array) -> Array:
        return self._at(r) * r

    def gram(self, x: Array) -> Array:
        x = self._admit(x, "x", self.in_shape)
        slopes = self._at(x)
        return slopes * slopes * x

    def _at(self, v: Array) -> Array:
        return arrays.asarray(self.slopes if arrays.is_torch(v) else arrays.to_numpy(self.slopes), v)

    def diagonal_gram(self) -> np.ndarray | None:
        return None if self.batch_shape else arrays.to_numpy(self.slopes) ** 2

    def norm(self) -> float:
        return arrays.to_float(abs(self.slopes).max())
