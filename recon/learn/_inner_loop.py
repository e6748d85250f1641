"""Gradient steps on the weights of a module that stay apart from it, so that gradients pass through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call

from solvers.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError

Model: TypeAlias = Callable[..., Any]
Loss: TypeAlias = Callable[[Model], Tensor]


def trainable(module: nn.Module) -> dict[str, Tensor]:
    """The weights that take gradients, by name, without those gradients' history."""
    if not isinstance(module, nn.Module):
        raise DTypeError(f"module is {type(module).__name__}; expected a torch.nn.Module. Wrap it in one.")
    found = {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}
    if not found:
        raise ArgumentError(
            "module has no weights that take gradients; expected at least one. Call module.requires_grad_(True) on a "
            "copy of it."
        )
    return found


def bound(module: nn.Module, weights: Mapping[str, Tensor]) -> Model:
    """The module as a function that computes with other weights; its buffers are copied, so that it never changes."""
    state = {name: buffer.clone() for name, buffer in module.named_buffers()} | dict(weights)

    def model(*args: Any, **kwargs: Any) -> Any:
        return functional_call(module, state, args, kwargs)

    return model


def descend(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    loss: Loss,
    steps: int,
    rates: Mapping[str, Tensor],
    *,
    second_order: bool = False,
) -> tuple[dict[str, Tensor], float]:
    """Weights after gradient steps on a loss, and the loss before the last of them.

    Gradients pass to the weights given and to the rates; without ``second_order`` as if the gradients of the steps were
    constants.
    """
    found, value = dict(weights), float("nan")
    for _ in range(steps):
        error = checked(loss(bound(module, found)), "support loss")
        gradients = torch.autograd.grad(
            error, list(found.values()), create_graph=second_order, allow_unused=True, materialize_grads=True
        )
        found = {name: w - rates[name] * g for (name, w), g in zip(found.items(), gradients, strict=True)}
        value = float(error.detach())
    return found, value


def checked(loss: Any, name: str) -> Tensor:
    """A loss that is one finite number with gradients."""
    if not isinstance(loss, Tensor) or loss.ndim:
        given = f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{type(loss).__name__}"
        raise ShapeError(f"the {name} is {given}; expected a torch scalar. Return for example the mean of the errors.")
    if not loss.requires_grad:
        raise ArgumentError(
            f"the {name} does not depend on the weights; expected a loss of what the model given to it returns. "
            "Compute it with that model, not with the module, and without torch.no_grad()."
        )
    if not bool(torch.isfinite(loss.detach())):
        raise NonFiniteError(
            f"the {name} is {float(loss.detach())}; expected a finite number. Lower the rate or take fewer steps, or "
            "look for NaN in the task."
        )
    return loss
