"""What a ridge regulariser does to images in units of its level: value, gradient, proximal map; with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from priors._ridge_body import Ridge
from priors._ridge_descent import minimised, solved

ADJOINT_TOL, ADJOINT_STEPS = 1e-6, 100


def value(ridge: Ridge, x: Tensor) -> Any:
    """``R(x)``: a tensor where gradients are asked for."""
    return ridge.value(x) if _followed(x) else torch.tensor(ridge.plain_value(x), dtype=x.dtype, device=x.device)


def gradient(ridge: Ridge, x: Tensor) -> Tensor:
    """``R'(x)``."""
    return ridge.gradient(x) if _followed(x) else ridge.plain_gradient(x)


def proximal(ridge: Ridge, v: Tensor, step: Any, tol: float, iterations: int) -> Tensor:
    """``argmin_x |x - v|^2 / 2 + step * R(x)``."""
    return _Proximal.apply(v, torch.as_tensor(step, dtype=v.dtype, device=v.device), ridge, tol, iterations)


def _followed(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


class _Proximal(torch.autograd.Function):
    """The proximal map; its derivative follows from the equation that it solves."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, step: Tensor, ridge: Ridge, tol: float, iterations: int) -> Tensor:
        size = float(step)
        curvature = 1 + size * float(ridge.table[:, 2].max())
        x = minimised(ridge, v, size, curvature, tol, iterations)
        ctx.save_for_backward(x, step)
        ctx.ridge = ridge
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, step = ctx.saved_tensors
        hessian = ctx.ridge.hessian(x)
        w = solved(lambda z: z + step * hessian(z), g, ADJOINT_TOL, ADJOINT_STEPS)
        return w, -(w * ctx.ridge.plain_gradient(x)).sum(), None, None, None
