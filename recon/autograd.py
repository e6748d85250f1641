"""Any operator as a differentiable torch function, also where its body is numpy or numba.

The backward pass of ``y = A x`` is ``A^H``, with torch's convention for complex gradients. Both directions are the same
function with the roles exchanged, so gradients of any order, forward-mode derivatives and ``torch.func`` all work.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OperatorError

if TYPE_CHECKING:
    from recon.operators.base import Operator


def through_numpy(operator: Operator, tensor: Array, *, adjoint: bool = False) -> Array:
    """Apply an operator without a torch body to a tensor, with gradients.

    A CPU tensor shares its memory with the numpy body; nothing is copied. A tensor on another device goes to the
    operator's ``_apply_torch`` and ``_adjoint_torch`` where it has them.

    Parameters
    ----------
    operator : Operator
        Its ``_apply`` and ``_adjoint`` take numpy arrays.
    tensor : torch.Tensor
        Of the shape and dtype that the body takes.
    adjoint : bool
        Apply ``A^H`` instead of ``A``; linear operators only.

    Returns
    -------
    torch.Tensor
        On the device of ``tensor``, with gradients.

    Raises
    ------
    OperatorError
        A tensor on another device than the CPU, for which the operator has no body. It is never copied silently.
    """
    _require_body(operator, tensor)
    if hasattr(operator, "adjoint"):
        return _linear_function().apply(operator, tensor, adjoint)
    if tensor.device.type != "cpu":
        return operator._apply_torch(tensor)  # type: ignore[attr-defined]
    return _nonlinear_function().apply(operator, tensor)


def vjp_by_torch(operator: Operator, x: Array, r: Array) -> Array:
    """``J(x)^H r`` of an operator whose body is written in torch, by automatic differentiation."""
    import torch

    if not arrays.is_torch(x):
        shared = torch.from_numpy(np.array(x)), torch.from_numpy(np.array(r))
        return arrays.to_numpy(vjp_by_torch(operator, *shared))
    with torch.enable_grad():
        differentiable = x if x.requires_grad else x.detach().requires_grad_()
        y = operator(differentiable)
        # Keeping the graph lets a training loss flow through this gradient too.
        return torch.autograd.grad(y, differentiable, r, create_graph=x.requires_grad or r.requires_grad)[0]


def jvp_by_torch(operator: Operator, x: Array, d: Array) -> Array:
    """``J(x) d`` of an operator whose body is written in torch, by forward-mode automatic differentiation."""
    import torch
    from torch.autograd import forward_ad

    if not arrays.is_torch(x):
        shared = torch.from_numpy(np.array(x)), torch.from_numpy(np.array(d))
        return arrays.to_numpy(jvp_by_torch(operator, *shared))
    with forward_ad.dual_level():
        with warnings.catch_warnings():
            # The first dual tensor compiles a part of torch in a way that torch itself calls out of date.
            warnings.simplefilter("ignore", DeprecationWarning)
            dual = forward_ad.make_dual(x, d)
        y = forward_ad.unpack_dual(operator(dual))
        # No tangent at all: the measurement does not depend on the image.
        return torch.zeros_like(y.primal) if y.tangent is None else y.tangent


def product_through_numpy(operator: Operator, x: Array, v: Array, *, adjoint: bool) -> Array:
    """``vjp(x, v)`` or ``jvp(x, v)`` of an operator with a numpy body, with gradients with respect to ``v``.

    Parameters
    ----------
    operator : NonlinearOperator
        Its ``_vjp`` and ``_jvp`` take numpy arrays.
    x, v : torch.Tensor
    adjoint : bool
        ``vjp`` instead of ``jvp``.

    Raises
    ------
    OperatorError
        A tensor on another device than the CPU; in the backward pass, a gradient with respect to ``x``.
    """
    _require_body(operator, x)
    return _product_function().apply(operator, x, v, adjoint)


def _require_body(operator: Operator, tensor: Array) -> None:
    if tensor.device.type != "cpu" and not hasattr(operator, "_apply_torch"):
        raise OperatorError(
            f"the tensor is on {tensor.device}; {operator!r} computes on the CPU only. "
            "Pass x.cpu() and move the result back with .to(device)."
        )


def _on_device(operator: Any, tensor: Array, adjoint: bool) -> Array:
    """Run the body for the device of ``tensor``; gradients are the caller's business."""
    import torch

    if tensor.device.type != "cpu":
        return operator._adjoint_torch(tensor) if adjoint else operator._apply_torch(tensor)
    given = arrays.to_numpy(tensor.resolve_neg())
    return torch.from_numpy(_owned(operator._of_kind(given, adjoint=adjoint), given))


def _owned(result: np.ndarray, given: np.ndarray) -> np.ndarray:
    # torch must not see an alias of its own input that it does not know of, nor memory it may not write.
    if np.may_share_memory(result, given) or not result.flags.writeable:
        return np.array(result)
    return np.ascontiguousarray(result)


@lru_cache(maxsize=1)
def _linear_function() -> Any:
    """The autograd function of a linear operator (made on first use: torch is not imported before)."""
    import torch

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(operator: Any, tensor: Any, adjoint: bool) -> Any:
            return _on_device(operator, tensor.detach(), adjoint)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.operator, _, ctx.adjoint = inputs

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return None, Linear.apply(ctx.operator, grad, not ctx.adjoint), None

        @staticmethod
        def jvp(ctx: Any, _operator: Any, tangent: Any, _adjoint: Any) -> Any:
            return Linear.apply(ctx.operator, tangent, ctx.adjoint)

        @staticmethod
        def vmap(_info: Any, in_dims: Any, operator: Any, tensor: Any, adjoint: bool) -> Any:
            return Linear.apply(operator, tensor.movedim(in_dims[1], 0), adjoint), 0

    return Linear


@lru_cache(maxsize=1)
def _nonlinear_function() -> Any:
    """The autograd function of a nonlinear operator with a numpy body; it can be differentiated once."""
    import torch

    class Nonlinear(torch.autograd.Function):
        @staticmethod
        def forward(operator: Any, tensor: Any) -> Any:
            return _on_device(operator, tensor.detach(), False)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.operator, tensor = inputs
            ctx.save_for_backward(tensor)
            ctx.save_for_forward(tensor)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return None, _product_function().apply(ctx.operator, ctx.saved_tensors[0], grad, True)

        @staticmethod
        def jvp(ctx: Any, _operator: Any, tangent: Any) -> Any:
            return _product_function().apply(ctx.operator, ctx.saved_tensors[0], tangent, False)

    return Nonlinear


@lru_cache(maxsize=1)
def _product_function() -> Any:
    """The autograd function of the products with the derivative of a numpy body, which are linear in ``v``."""
    import torch

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(operator: Any, x: Any, v: Any, adjoint: bool) -> Any:
            given = [arrays.to_numpy(tensor.detach().resolve_neg()) for tensor in (x, v)]
            return torch.from_numpy(_owned((operator._vjp if adjoint else operator._jvp)(*given), given[1]))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.operator, x, _, ctx.adjoint = inputs
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            if ctx.needs_input_grad[1]:
                raise OperatorError(
                    f"a second derivative of {ctx.operator!r} was asked for; its body is numpy, and gives one only. "
                    "Detach the image at which the derivative is taken, or write the body in torch."
                )
            return None, None, Product.apply(ctx.operator, ctx.saved_tensors[0], grad, not ctx.adjoint), None

    return Product
