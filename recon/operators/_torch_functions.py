"""Operators whose bodies are torch functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator, Operator
from recon.operators.nonlinear import NonlinearOperator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OperatorError
from solvers.validation import shape_argument

NOT_LINEAR = 1e-3  # relative deviation at which a function is not linear; rounding in single precision is 1e-6
IN_SINGLE = {"float64": 1e-6, "complex128": 1e-6}  # adjoint error of a body that computes in single precision

TensorFunction = Callable[[Any], Any]


class _TorchBody(Operator):
    """An operator whose forward takes tensors of shape (batch, \\*in_shape), in one precision or any."""

    _name: str
    _forward: TensorFunction
    _precision: str | None = None  # in which the functions compute; None is that of the argument

    def _first_call(self, in_shape: tuple[int, ...], kind: str | None = None) -> tuple[Any, Any]:
        """An image and its measurement, in the first precision and kind (or that given) that the function takes."""
        import torch

        refused = None
        trials = [(None, torch.float64), ("single", torch.float32), (None, torch.complex128)]
        for precision, dtype in trials[2:] if kind == "complex" else trials:
            probe = torch.ones((1, *in_shape), dtype=dtype)
            try:
                with torch.no_grad():
                    answer = self._forward(probe)
            except (RuntimeError, TypeError, ValueError) as error:
                refused = refused or error
                continue
            if not arrays.is_torch(answer) or answer.ndim < 2 or len(answer) != 1:
                shape = tuple(getattr(answer, "shape", ()))
                raise OperatorError(
                    f"{self._name} returned {type(answer).__name__} of shape {shape} for a tensor of shape "
                    f"{tuple(probe.shape)}; expected one tensor with a leading batch axis of 1. "
                    "Let the function return one tensor, of at least one axis an image."
                )
            self._precision = precision
            return probe, answer
        raise OperatorError(
            f"{self._name} fails on a tensor of shape {(1, *in_shape)}: {refused}. "
            "Pass the in_shape of one image, without the batch axis."
        ) from refused

    def _run_torch(self, function: TensorFunction, array: Array, taken: tuple[int, ...], given: tuple[int, ...]) -> Any:
        if not arrays.is_torch(array):
            import torch

            # A copy: a tensor of the caller's memory could be written to.
            with torch.no_grad():
                result = self._run_torch(function, torch.from_numpy(np.array(array)), taken, given)
            return np.ascontiguousarray(result.detach().resolve_conj().numpy())
        batch = tuple(array.shape[: array.ndim - len(taken)])
        out = function(self._in_precision(array.reshape((-1, *taken))))
        if tuple(out.shape[1:]) != given:
            raise OperatorError(
                f"{self._name} gave shape {tuple(out.shape)} for {(len(out), *taken)}; expected {(len(out), *given)}. "
                "Let the functions take and return (batch, ...)."
            )
        if out.is_complex() and not array.is_complex() and self.out_kind != "complex":
            raise OperatorError(f"{self._name} gave complex numbers for real ones; expected real ones. Return .real.")
        dtype = arrays.complex_dtype(array) if out.is_complex() else arrays.real_dtype(array)
        out = out.to(array.dtype if self.out_kind is None else dtype).reshape((*batch, *given))
        return out.clone() if out.data_ptr() == array.data_ptr() else out

    def _in_precision(self, tensor: Any) -> Any:
        if self._precision is None:
            return tensor
        import torch

        return tensor.to(torch.complex64 if tensor.is_complex() else torch.float32)

    def __repr__(self) -> str:
        return f"{self._name}({self.in_shape} -> {self.out_shape})"


class TorchFunctions(_TorchBody, LinearOperator):
    """``y = forward(x)`` with ``adjoint(y)``, or the adjoint by automatic differentiation.

    Parameters
    ----------
    name : str
        What ``repr`` and errors call it.
    forward : callable
        Takes (batch, \\*in_shape).
    adjoint : callable, optional
        Takes (batch, \\*out_shape).
    in_shape : tuple of int
        Shape of one image.
    """

    def __init__(self, name: str, forward: TensorFunction, adjoint: TensorFunction | None, in_shape: Sequence[int]):
        self._name, self._forward, self._backward = name, forward, adjoint
        in_shape = shape_argument("in_shape", in_shape)
        probe, answer = self._first_call(in_shape)
        super().__init__(in_shape, shape_argument("out_shape", tuple(answer.shape[1:])))
        self.kind = "complex" if probe.is_complex() or answer.is_complex() else "real"
        if self._precision == "single" or arrays.eps(answer) > 1e-10:
            self.adjoint_tolerance = IN_SINGLE
        self._require_linear()

    def _require_linear(self) -> None:
        import torch

        generator = torch.Generator().manual_seed(0)
        dtype = torch.complex128 if self.kind == "complex" else torch.float64
        scale = 1.5j if self.kind == "complex" else -1.5
        a, b = (torch.randn(self.in_shape, dtype=dtype, generator=generator) for _ in range(2))
        with torch.no_grad():
            together, apart = self._apply(a + scale * b), self._apply(a) + scale * self._apply(b)
        off = float((together - apart).abs().norm() / (apart.abs().norm() + together.abs().norm() + 1e-300))
        if off > NOT_LINEAR:
            raise OperatorError(
                f"{self._name} is not linear: f(a + s b) is {off:.2g} off f(a) + s f(b). Remove offsets, clipping, "
                "normalisation and random numbers, or pass linear=False for a nonlinear model."
            )

    def _apply(self, x: Array) -> Array:
        return self._run_torch(self._forward, x, self.in_shape, self.out_shape)

    def _adjoint(self, y: Array) -> Array:
        function = self._backward or self._vjp
        return self._run_torch(function, y, self.out_shape, self.in_shape)

    def _vjp(self, y: Any) -> Any:
        import torch

        with torch.enable_grad():
            x = torch.zeros((len(y), *self.in_shape), dtype=y.dtype, device=y.device, requires_grad=True)
            out = self._forward(x)
            # Keeping the graph lets gradients flow through the adjoint too.
            return torch.autograd.grad(out, x, y.to(out.dtype), create_graph=y.requires_grad)[0]


class TorchModel(_TorchBody, NonlinearOperator):
    """``y = forward(x)``, nonlinear, its derivative by automatic differentiation.

    Parameters
    ----------
    name : str
        What ``repr`` and errors call it.
    forward : callable
        Takes (batch, \\*in_shape).
    in_shape : tuple of int
        Shape of one image.
    kind : {"real", "complex"}, optional
        Images that it takes; by default real ones, unless it refuses them.
    """

    def __init__(self, name: str, forward: TensorFunction, in_shape: Sequence[int], kind: str | None):
        self._name, self._forward = name, forward
        in_shape = shape_argument("in_shape", in_shape)
        probe, answer = self._first_call(in_shape, kind)
        super().__init__(in_shape, shape_argument("out_shape", tuple(answer.shape[1:])))
        self.kind = "complex" if probe.is_complex() else "real"
        self.out_kind = "complex" if answer.is_complex() else "real"
        if self._precision == "single" or arrays.eps(answer) > 1e-10:
            self.adjoint_tolerance = IN_SINGLE

    def _apply(self, x: Array) -> Array:
        return self._run_torch(self._forward, x, self.in_shape, self.out_shape)


class OneByOne:
    """A function of one image as a function of a batch (a class, so that it pickles)."""

    def __init__(self, function: TensorFunction):
        self.function = function

    def __call__(self, batch: Any) -> Any:
        import torch

        return torch.stack([self.function(item) for item in batch])
