"""The optimiser of the networks: orthogonalised momentum for weights between features, Adam for the first and last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ORTHOGONAL = 10.0
"""Learning rate of the orthogonalised updates over that of Adam."""
DECAY = 0.05
"""Share of an orthogonalised step that weights shrink by: without it they grow until no gradient can turn them."""
BETAS = (0.9, 0.99)
EPSILON = 1e-8
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration; it brings singular values near to 1 in five steps."""


class Muon:
    """Gradient descent whose steps have singular values near 1; Adam for the weights that touch pixels.

    A step moves every direction of a weight alike, also those with small gradients, which saves about half of the
    training time of Adam here. All of its memory is in ``tensors``, so a file of tensors resumes it.

    Parameters
    ----------
    network : torch.nn.Module
        Its weights are changed in place.
    orthogonal : bool
        Whether there are weights between features; otherwise all is Adam.

    References
    ----------
    Jordan et al. 2024 (Muon); Kingma and Ba 2015 (Adam).
    """

    def __init__(self, network: nn.Module, orthogonal: bool = True) -> None:
        self.weights = dict(network.named_parameters())
        self.hidden = [name for name in self.weights if orthogonal and not name.startswith(("head.", "tail."))]
        self.tensors: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            self.tensors[f"{name}.momentum"] = torch.zeros_like(weight)
            if name not in self.hidden:
                self.tensors[f"{name}.square"] = torch.zeros_like(weight)

    @torch.no_grad()
    def step(self, gradients: Iterable[Tensor], rate: float, count: int) -> None:
        """Take the step of number ``count`` (from 0); the gradients are in the order of the weights."""
        given = dict(zip(self.weights, gradients, strict=True))
        for names in self._alike():
            self._orthogonal(names, [given[name] for name in names], ORTHOGONAL * rate)
        for name in [name for name in self.weights if name not in self.hidden]:
            self._adam(name, given[name], rate, count)

    def _alike(self) -> Iterable[list[str]]:
        """The weights between features, those of one shape together: a device takes them in as many calls as one."""
        groups: dict[torch.Size, list[str]] = {}
        for name in self.hidden:
            groups.setdefault(self.weights[name].shape, []).append(name)
        return groups.values()

    def _orthogonal(self, names: Sequence[str], gradients: list[Tensor], rate: float) -> None:
        momenta = [self.tensors[f"{name}.momentum"] for name in names]
        torch._foreach_mul_(momenta, MOMENTUM)
        torch._foreach_add_(momenta, gradients)
        ahead = torch._foreach_add(gradients, momenta, alpha=MOMENTUM)
        updates = orthogonalised(torch.stack([step.flatten(1) for step in ahead]))
        rows, columns = updates.shape[1:]
        weights: list[Tensor] = [self.weights[name] for name in names]
        steps: list[Tensor] = [update.view(weight.shape) for update, weight in zip(updates, weights, strict=True)]
        torch._foreach_mul_(weights, 1 - rate * DECAY)
        torch._foreach_add_(weights, steps, alpha=-rate * max(1.0, rows / columns) ** 0.5)

    def _adam(self, name: str, gradient: Tensor, rate: float, count: int) -> None:
        mean, square = self.tensors[f"{name}.momentum"], self.tensors[f"{name}.square"]
        adam_step(self.weights[name], gradient, mean, square, rate, count)


class Adam:
    """Adam with all of its memory in ``tensors``, so a file of tensors resumes it.

    Parameters
    ----------
    weights : dict of str to Tensor
        Changed in place.

    References
    ----------
    Kingma and Ba 2015.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = dict(weights)
        self.tensors = {
            f"{name}.{moment}": torch.zeros_like(weight)
            for name, weight in self.weights.items()
            for moment in ("momentum", "square")
        }

    def step(self, gradients: Mapping[str, Tensor], rate: float, count: int) -> None:
        """Take the step of number ``count`` (from 0)."""
        for name, gradient in gradients.items():
            mean, square = self.tensors[f"{name}.momentum"], self.tensors[f"{name}.square"]
            adam_step(self.weights[name], gradient, mean, square, rate, count)


@torch.no_grad()
def adam_step(weight: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, rate: float, count: int) -> None:
    """Change a weight, and the running means of its gradient and of the square of that, in place."""
    mean.lerp_(gradient, 1 - BETAS[0])
    square.lerp_(gradient.square(), 1 - BETAS[1])
    unbiased = [1 - beta ** (count + 1) for beta in BETAS]
    weight.addcdiv_(mean, (square / unbiased[1]).sqrt() + EPSILON, value=-rate / unbiased[0])


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """Matrices, in the last two axes, with their singular values brought near to 1.

    By Newton-Schulz iterations in half precision.
    """
    wide = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    x = (wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)).bfloat16()
    a, b, c = POLYNOMIAL
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide is matrix else x.mT).to(matrix.dtype)


def mean_of(gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Mean of the gradients that several workers found, in their order."""
    if len(gradients) == 1:
        return list(gradients[0])
    return [torch.stack(parts).mean(0) for parts in zip(*gradients, strict=True)]
