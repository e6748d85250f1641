"""Operators from what a user already has: a pair of functions, a scipy ``LinearOperator``, a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from recon.operators._matrix import Matrix, matrix_shapes
from recon.operators.base import LinearOperator, Operator
from recon.operators.nonlinear import NonlinearOperator
from solvers import arrays
from solvers.errors import ArgumentError, DTypeError, OperatorError, OptionError, ShapeError, suggestion
from solvers.validation import shape_argument

Function = Callable[[np.ndarray], np.ndarray]
Product = Callable[[np.ndarray, np.ndarray], np.ndarray]
Kind = Literal["any", "real", "complex"]


def from_callables(
    forward: Function,
    adjoint: Function | None = None,
    in_shape: Sequence[int] = (),
    out_shape: Sequence[int] = (),
    *,
    vjp: Product | None = None,
    jvp: Product | None = None,
    kind: Kind = "real",
    out_kind: Kind | None = None,
) -> Any:
    """An operator from functions of numpy arrays: ``y = forward(x)`` and ``x = adjoint(y)``, or ``r -> vjp(x, r)``.

    Batches are looped over and CPU tensors are passed as arrays, so the functions see one read-only image or
    measurement at a time. What they return is brought to the precision they were given.

    Parameters
    ----------
    forward, adjoint : callable
        ``adjoint`` is the exact adjoint of a linear ``forward``, not an inverse:
        ``<forward(x), y> == <x, adjoint(y)>``. :func:`recon.check_operator` measures whether it is.
    in_shape, out_shape : tuple of int
        Shapes of one image and of one measurement.
    vjp : callable, optional
        Instead of ``adjoint`` for a nonlinear ``forward``: ``vjp(x, r)`` is ``J(x)^H r``, the adjoint of its derivative
        at ``x``. Gradient methods need no more.
    jvp : callable, optional
        ``jvp(x, d)`` is ``J(x) d``; Gauss-Newton methods ask for it.
    kind : {"real", "complex", "any"}
        Arrays that the functions take: real only, complex only, or both.
    out_kind : {"real", "complex", "any"}, optional
        What a nonlinear ``forward`` gives, where it is of another kind: "real" for magnitudes of complex images.

    Returns
    -------
    LinearOperator or NonlinearOperator

    Raises
    ------
    DTypeError
        A function cannot be called.
    ArgumentError
        Neither ``adjoint`` nor ``vjp`` is given, or both.
    OperatorError
        On use: a function writes to its input or returns the wrong shape or dtype.

    Examples
    --------
    >>> A = from_callables(np.cumsum, lambda y: np.cumsum(y[::-1])[::-1], in_shape=(3,), out_shape=(3,))
    >>> A(np.ones(3)), A.adjoint(np.ones(3))
    (array([1., 2., 3.]), array([3., 2., 1.]))
    >>> F = from_callables(np.exp, vjp=lambda x, r: np.exp(x) * r, in_shape=(3,), out_shape=(3,))
    >>> F.vjp(np.zeros(3), np.ones(3))
    array([1., 1., 1.])
    """
    if (adjoint is None) == (vjp is None):
        raise ArgumentError(
            f"adjoint and vjp are {'both given' if vjp else 'missing'}; expected adjoint(y) of a linear forward or "
            "vjp(x, r) of a nonlinear one. Pass one of them."
        )
    if vjp is None:
        return _Callables(forward, adjoint, in_shape, out_shape, kind)
    return _CallableModel(forward, vjp, jvp, in_shape, out_shape, kind, out_kind)


class _FunctionBody(Operator):
    """An operator whose bodies are functions of one image each."""

    torch_body = False
    _functions: dict[str, Any]

    def _keep(self, functions: dict[str, Any], kind: Kind) -> None:
        for name, function in functions.items():
            if not callable(function):
                raise DTypeError(f"{name} is {function!r}; expected a function. Pass one.")
        known = ("any", "real", "complex")
        if kind not in known:
            raise OptionError(f"kind is {kind!r}; expected one of {known}.{suggestion(kind, known)} Pass one.")
        self.kind = kind
        self._functions = functions

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return self._each("forward", x, shape=self.out_shape)

    def _each(
        self, name: str, *given: np.ndarray, shape: tuple[int, ...], axes: int | None = None, dtype: Any = None
    ) -> np.ndarray:
        """Apply a function to each image of a batch (``axes`` are those of one), and to what belongs to it."""
        batch = given[0].shape[: given[0].ndim - (len(self.in_shape) if axes is None else axes)]
        out = np.empty(batch + shape, dtype=dtype or given[0].dtype)
        for index in np.ndindex(*batch):
            out[index] = self._one(name, [array[index] for array in given], shape, out.dtype)
        return out

    def _one(self, name: str, items: Sequence[np.ndarray], given: tuple[int, ...], dtype: Any) -> np.ndarray:
        views = [item.view() for item in items]
        for view in views:
            view.flags.writeable = False
        try:
            result = np.asarray(self._functions[name](*views))
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise OperatorError(
                f"the {name} of {self!r} writes to its input; operators never change it. "
                "Let the function start from a copy: x = x.copy()."
            ) from error
        except NotImplementedError as error:
            raise OperatorError(
                f"the {name} of {self!r} is not implemented ({error}); expected both directions. "
                "Give the scipy LinearOperator matvec and rmatvec."
            ) from error
        if result.shape != given:
            raise OperatorError(
                f"the {name} of {self!r} returned shape {result.shape}; expected {given}. "
                "Make it return an array of that shape."
            )
        if result.dtype.kind not in "biufc":
            raise OperatorError(
                f"the {name} of {self!r} returned dtype {result.dtype}; expected numbers. Return a numeric array."
            )
        if np.iscomplexobj(result) and not np.issubdtype(dtype, np.complexfloating):
            raise OperatorError(
                f"the {name} of {self!r} returned complex numbers for a real array; expected real ones. "
                'Return the real part, or build the operator with kind="complex".'
            )
        return result

    def __repr__(self) -> str:
        return f"from_callables({self.in_shape} -> {self.out_shape})"


class _Callables(_FunctionBody, LinearOperator):
    costly = True  # whoever wraps functions has something of size behind them

    def __init__(self, forward: Function, adjoint: Any, in_shape: Sequence[int], out_shape: Sequence[int], kind: Kind):
        self._keep({"forward": forward, "adjoint": adjoint}, kind)
        super().__init__(in_shape, out_shape)

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        return self._each("adjoint", y, shape=self.in_shape, axes=len(self.out_shape))


class _CallableModel(_FunctionBody, NonlinearOperator):
    def __init__(
        self,
        forward: Function,
        vjp: Product,
        jvp: Product | None,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        kind: Kind,
        out_kind: Kind | None,
    ):
        self._keep({"forward": forward, "vjp": vjp} | ({} if jvp is None else {"jvp": jvp}), kind)
        super().__init__(in_shape, out_shape)
        self.has_jvp, self.out_kind = jvp is not None, out_kind

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return self._each("forward", x, shape=self.out_shape, dtype=self._measured_dtype(x))

    def _vjp(self, x: np.ndarray, r: np.ndarray) -> np.ndarray:
        return self._each("vjp", x, r, shape=self.in_shape)

    def _measured_dtype(self, x: np.ndarray) -> Any:
        return arrays.complex_dtype(x) if self._kind_of_measurement(x) == "complex" else arrays.real_dtype(x)

    def _jvp(self, x: np.ndarray, d: np.ndarray) -> np.ndarray:
        if not self.has_jvp:
            raise OperatorError(
                f"{self!r} has no jvp; this solver takes the derivative in a direction, J(x) d. Pass "
                "from_callables(..., jvp=...), or use a gradient method: solver='fista' or 'lbfgs'."
            )
        return self._each("jvp", x, d, shape=self.out_shape, dtype=self._measured_dtype(x))


def from_scipy(
    linear_operator: Any, in_shape: Sequence[int] | None = None, out_shape: Sequence[int] | None = None
) -> LinearOperator:
    """An operator from a ``scipy.sparse.linalg.LinearOperator``, or any object with ``shape``, ``matvec``, ``rmatvec``.

    Parameters
    ----------
    linear_operator : LinearOperator
        Of shape (m, n). A complex dtype gives an operator on complex images.
    in_shape, out_shape : tuple of int, optional
        Shapes of the image (n pixels) and of the measurement (m samples); vectors by default.

    Raises
    ------
    ShapeError
        A shape does not hold n or m entries.
    OperatorError
        On use: ``rmatvec`` is not implemented.

    Examples
    --------
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> A = from_scipy(aslinearoperator(np.eye(6)), in_shape=(2, 3))
    >>> A(np.ones((2, 3))).shape
    (6,)
    """
    in_shape, out_shape = matrix_shapes(linear_operator, in_shape, out_shape)
    is_complex = np.issubdtype(getattr(linear_operator, "dtype", None) or np.float64, np.complexfloating)
    forward = partial(_on_vectors, linear_operator.matvec, out_shape)
    adjoint = partial(_on_vectors, linear_operator.rmatvec, in_shape)
    return _Callables(forward, adjoint, in_shape, out_shape, "complex" if is_complex else "real")


def _on_vectors(function: Function, shape: tuple[int, ...], array: np.ndarray) -> np.ndarray:
    return np.asarray(function(array.reshape(-1))).reshape(shape)


def from_matrix(
    matrix: Any, in_shape: Sequence[int] | None = None, out_shape: Sequence[int] | None = None
) -> LinearOperator:
    """An operator from a matrix: ``y = M x`` on flattened images.

    Parameters
    ----------
    matrix : array or scipy.sparse matrix, shape (m, n)
        A complex one gives an operator on complex images.
    in_shape, out_shape : tuple of int, optional
        Shapes of the image (n pixels) and of the measurement (m samples); vectors by default.

    Raises
    ------
    ShapeError
        ``matrix`` has not two axes, or a shape does not hold n or m entries.
    DTypeError, NonFiniteError
        ``matrix`` does not hold finite numbers.

    Examples
    --------
    >>> A = from_matrix([[1.0, 2.0, 3.0, 4.0]], in_shape=(2, 2))
    >>> A(np.ones((2, 2))), round(A.norm() / 30**0.5, 1)
    (array([10.]), 1.0)
    """
    return Matrix(matrix, in_shape, out_shape)


def as_operator(
    thing: Any,
    *,
    y: Any = None,
    x0: Any = None,
    in_shape: Sequence[int] | None = None,
    out_shape: Sequence[int] | None = None,
) -> Any:
    """Turn whatever describes a forward model into an operator.

    Parameters
    ----------
    thing : Operator, scipy LinearOperator, matrix, tuple of two callables, or an operator of PyLops, SigPy or deepinv
        Operators are returned as they are. A tuple is ``(forward, adjoint)``.
    y, x0 : array, optional
        Measurement and image whose shapes stand in for ``out_shape`` and ``in_shape``. A complex ``y`` makes a pair of
        callables an operator on complex images.
    in_shape, out_shape : tuple of int, optional
        Shapes of one image and one measurement. A pair of callables needs ``out_shape`` or ``y``; where it is given no
        shape of the image, ``adjoint`` is called once to find it.

    Raises
    ------
    DTypeError
        ``thing`` is none of these.
    ShapeError, OperatorError
        The shapes do not fit, or the functions break the contract.

    Examples
    --------
    >>> as_operator((lambda x: 2 * x, lambda y: 2 * y), y=np.ones((4, 4)))
    from_callables((4, 4) -> (4, 4))
    """
    from scipy import sparse

    if isinstance(thing, Operator):
        return thing
    if isinstance(thing, (tuple, list)) and len(thing) == 2 and all(map(callable, thing)):
        return _from_pair(thing[0], thing[1], in_shape or _shape_of(x0), out_shape or _shape_of(y), y)
    from recon.operators.bridges import adopted

    if (recognised := adopted(thing, in_shape or _shape_of(x0))) is not None:
        return recognised
    is_matrix = isinstance(thing, np.ndarray) or arrays.is_torch(thing) or sparse.issparse(thing)
    has_products = not isinstance(thing, type) and all(hasattr(thing, name) for name in ("shape", "matvec", "rmatvec"))
    if is_matrix or has_products:
        wrap = from_matrix if is_matrix else from_scipy
        m, n = thing.shape if len(thing.shape) == 2 else (0, 0)
        return wrap(thing, in_shape or _shape_of(x0, n), out_shape or _shape_of(y, m))
    remedy = "Pass operators.Blur(psf, shape) or the like, a scipy LinearOperator, a matrix or (forward, adjoint)."
    if isinstance(thing, type):
        remedy = f"Build it first: {thing.__name__}(...)."
    elif callable(thing):
        remedy = "A function alone has no adjoint: pass the pair (forward, adjoint)."
    raise DTypeError(f"operator is {_short(thing)}; expected a forward operator. {remedy}")


def _shape_of(array: Any, size: int | None = None) -> tuple[int, ...] | None:
    """Shape of an array that may be missing; with ``size``, only if it holds that many entries (it has no batch)."""
    shape = None if array is None else tuple(np.shape(array))
    return shape if shape and (size is None or math.prod(shape) == size) else None


def _from_pair(
    forward: Function, adjoint: Function, in_shape: Sequence[int] | None, out_shape: Sequence[int] | None, y: Any
) -> LinearOperator:
    if out_shape is None:
        raise ShapeError(
            "out_shape is missing; a pair of callables does not say what it measures. Pass out_shape=y.shape, "
            "or build the operator with from_callables(forward, adjoint, in_shape, out_shape)."
        )
    is_complex = y is not None and arrays.is_complex(y)
    if in_shape is None:
        probe = np.zeros(shape_argument("out_shape", out_shape), dtype=complex if is_complex else float)
        in_shape = np.shape(adjoint(probe))
    return _Callables(forward, adjoint, in_shape, out_shape, "complex" if is_complex else "real")


def _short(thing: Any) -> str:
    text = repr(thing)
    return text if len(text) <= 60 else f"{text[:57]}..."
