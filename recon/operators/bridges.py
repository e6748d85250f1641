"""Operators from other libraries: PyLops, deepinv, SigPy, and linear functions written in torch.

The objects are recognised by what they offer; none of those libraries is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from recon.operators._torch_functions import OneByOne, TorchFunctions, TorchModel
from recon.operators.base import LinearOperator
from recon.operators.wrappers import Kind, from_callables, from_scipy
from solvers.errors import DTypeError, OperatorError, OptionError, ShapeError

_PYLOPS = ("dims", "dimsd", "matvec", "rmatvec", "shape", "dtype")
_SIGPY = ("ishape", "oshape", "H", "__call__")
_DEEPINV = ("A", "A_adjoint")


def from_pylops(operator: Any) -> LinearOperator:
    """An operator from a ``pylops.LinearOperator``, with its shapes ``dims`` and ``dimsd``.

    The way back is ``pylops.aslinearoperator(A.as_scipy())``.

    Parameters
    ----------
    operator : pylops.LinearOperator
        A complex dtype gives an operator on complex images.

    Raises
    ------
    DTypeError
        ``operator`` has not the attributes of a PyLops operator.
    OperatorError
        It is linear over the real numbers only (``clinear`` is False), such as a transform of real signals.

    Examples
    --------
    >>> import pylops  # doctest: +SKIP
    >>> A = from_pylops(pylops.FirstDerivative((64, 64), axis=0))  # doctest: +SKIP
    """
    _require("operator", operator, "a pylops.LinearOperator", _PYLOPS)
    if getattr(operator, "clinear", True) is False:
        raise OperatorError(
            f"{operator!r} is linear over the real numbers only (clinear=False); expected complex linearity. "
            "Build it for complex signals, for example FFT(..., real=False)."
        )
    return from_scipy(operator, tuple(operator.dims), tuple(operator.dimsd))


def from_sigpy(linop: Any, *, kind: Kind = "complex") -> LinearOperator:
    """An operator from a ``sigpy.linop.Linop``, with its shapes ``ishape`` and ``oshape`` and its adjoint ``H``.

    Parameters
    ----------
    linop : sigpy.linop.Linop
        Of arrays on the CPU.
    kind : {"complex", "real", "any"}
        Arrays that it takes; SigPy does not say.

    Raises
    ------
    DTypeError
        ``linop`` has not the attributes of a Linop.

    Examples
    --------
    >>> import sigpy  # doctest: +SKIP
    >>> A = from_sigpy(sigpy.linop.FFT((64, 64)))  # doctest: +SKIP
    """
    _require("linop", linop, "a sigpy.linop.Linop", _SIGPY)
    return from_callables(linop, linop.H, tuple(linop.ishape), tuple(linop.oshape), kind=kind)


def from_deepinv(physics: Any, in_shape: Sequence[int]) -> LinearOperator:
    """An operator from a linear ``deepinv`` physics: ``y = physics.A(x)``, adjoint ``physics.A_adjoint(y)``.

    numpy arrays pass through CPU tensors; tensors keep their device and their gradients. Complex numbers are two
    channels there, and stay so. Noise models and sensors of the physics are left out.

    Parameters
    ----------
    physics : deepinv.physics.LinearPhysics
        Whatever it was built with; its parameters stay in the precision they have.
    in_shape : tuple of int
        Shape of one image as the physics takes it, without the batch: (channels, rows, columns).

    Raises
    ------
    DTypeError
        ``physics`` has no ``A`` and ``A_adjoint``: it is none, or is not linear.
    OperatorError
        It fails on an image of ``in_shape``, is not linear, or measures a list of tensors.

    Examples
    --------
    >>> import deepinv  # doctest: +SKIP
    >>> A = from_deepinv(deepinv.physics.Tomography(angles=60, img_width=64), (1, 64, 64))  # doctest: +SKIP
    """
    _require("physics", physics, "a linear deepinv physics", _DEEPINV)
    return TorchFunctions(f"from_deepinv({type(physics).__name__})", physics.A, physics.A_adjoint, in_shape)


def from_torch(
    function: Callable[[Any], Any],
    in_shape: Sequence[int],
    *,
    linear: bool = True,
    batched: bool = False,
    kind: Literal["real", "complex"] | None = None,
) -> Any:
    """An operator from a function written in torch; its derivative is found by automatic differentiation.

    Parameters
    ----------
    function : callable
        Takes a tensor of one image, ``in_shape``, and returns that of one measurement. A function that returns complex
        numbers, or takes nothing else, gives a linear operator on complex images.
    in_shape : tuple of int
        Shape of one image.
    linear : bool
        Whether it is linear: a :class:`LinearOperator` with its exact adjoint, else a :class:`NonlinearOperator`.
    batched : bool
        Whether ``function`` takes ``(batch, *in_shape)`` instead; otherwise batches are looped over.
    kind : {"real", "complex"}, optional
        Images that a nonlinear function takes; by default real ones, unless it refuses them.

    Returns
    -------
    LinearOperator or NonlinearOperator

    Raises
    ------
    DTypeError
        ``function`` cannot be called.
    OperatorError
        It fails on an image of ``in_shape``, or two random images show that it is not linear.

    Examples
    --------
    >>> A = from_torch(lambda x: x[..., 1:] - x[..., :-1], (4,))
    >>> A(np.array([0.0, 1.0, 3.0, 6.0])), A.adjoint(np.ones(3))
    (array([1., 2., 3.]), array([-1.,  0.,  0.,  1.]))
    >>> F = from_torch(lambda x: x**2, (2,), linear=False)
    >>> F.vjp(np.array([1.0, 3.0]), np.ones(2))
    array([2., 6.])
    """
    if not callable(function) or isinstance(function, type):
        raise DTypeError(f"function is {function!r}; expected a function of one tensor. Pass one.")
    if kind not in (None, "real", "complex"):
        raise OptionError(f"kind is {kind!r}; expected 'real', 'complex' or None. Pass one of them.")
    whole = function if batched else OneByOne(function)
    if linear:
        return TorchFunctions("from_torch", whole, None, in_shape)
    return TorchModel("from_torch", whole, in_shape, kind)


def adopted(thing: Any, in_shape: Sequence[int] | None) -> LinearOperator | None:
    """The operator that an object of another library stands for, or None where it is none of them."""
    if isinstance(thing, type):
        return None
    if all(hasattr(thing, attribute) for attribute in _PYLOPS):
        return from_pylops(thing)
    if all(hasattr(thing, attribute) for attribute in _SIGPY):
        return from_sigpy(thing)
    if not all(hasattr(thing, attribute) for attribute in _DEEPINV):
        return None
    if in_shape is None:
        raise ShapeError(
            "in_shape is missing; a deepinv physics does not say which images it takes. Pass "
            "operators.from_deepinv(physics, in_shape), with in_shape (channels, rows, columns)."
        )
    return from_deepinv(thing, in_shape)


def _require(name: str, thing: Any, what: str, attributes: tuple[str, ...]) -> None:
    missing = [attribute for attribute in attributes if not hasattr(thing, attribute)]
    if missing or isinstance(thing, type):
        reason = "it is a class" if isinstance(thing, type) else f"it has no {', '.join(missing)}"
        raise DTypeError(f"{name} is {type(thing).__name__}, {reason}; expected {what}. Pass the object itself.")
