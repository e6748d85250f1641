"""The optimiser of the networks: orthogonalised momentum for weights between features, Adam for the first and last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

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
    workers : int
        Threads that a step will be spread over: to orthogonalise is a third of the time of a step on small batches.

    References
    ----------
    Jordan et al. 2024 (Muon); Kingma and Ba 2015 (Adam).
    """

    def __init__(self, network: nn.Module, orthogonal: bool = True, workers: int = 1) -> None:
        self.workers = workers
        self.weights = dict(network.named_parameters())
        self.hidden = [name for name in self.weights if orthogonal and not name.startswith(("head.", "tail."))]
        self.tensors: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            self.tensors[f"{name}.momentum"] = torch.zeros_like(weight)
            if name not in self.hidden:
                self.tensors[f"{name}.square"] = torch.zeros_like(weight)

    def step(self, gradients: Iterable[Tensor], rate: float, count: int, each: Callable[..., Any] = map) -> None:
        """Take the step of number ``count`` (from 0); the gradients are in the order of the weights.

        ``each`` maps a function over what can be done at once, as the ``map`` of an executor.
        """
        given = dict(zip(self.weights, gradients, strict=True))
        jobs = [
            partial(self._orthogonal, names, [given[name] for name in names], ORTHOGONAL * rate)
            for names in self._alike()
        ]
        list(each(_done, jobs))
        for name in [name for name in self.weights if name not in self.hidden]:
            self._adam(name, given[name], rate, count)

    def _alike(self) -> Iterable[list[str]]:
        """The weights between features, those of one shape together: a device takes them in as many calls as one.

        For several workers in as many parts, the largest first.
        """
        groups: dict[torch.Size, list[str]] = {}
        for name in self.hidden:
            groups.setdefault(self.weights[name].shape, []).append(name)
        largest = sorted(groups.items(), key=lambda group: -group[0].numel())
        parts = (names[part :: self.workers] for _, names in largest for part in range(self.workers))
        return [names for names in parts if names]

    @torch.no_grad()  # of its thread
    def _orthogonal(self, names: Sequence[str], gradients: list[Tensor], rate: float) -> None:
        momenta = [self.tensors[f"{name}.momentum"] for name in names]
        torch._foreach_mul_(momenta, MOMENTUM)
        torch._foreach_add_(momenta, gradients)
        ahead = torch._foreach_add(gradients, momenta, alpha=MOMENTUM)
        # Columns in the order of channels_last, so that nothing is copied across memory: any order would do.
        shape = ahead[0].movedim(1, -1).shape
        updates = orthogonalised(torch.stack([step.movedim(1, -1).flatten(1) for step in ahead]))
        rows, columns = updates.shape[1:]
        weights: list[Tensor] = [self.weights[name] for name in names]
        steps: list[Tensor] = [update.view(shape).movedim(-1, 1) for update in updates]
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


def _done(job: Callable[[], Any]) -> Any:
    return job()


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
    x = (wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)).bfloat16().reshape(-1, *wide.shape[-2:])
    a, b, c = POLYNOMIAL
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.reshape(wide.shape)
    return (x if wide is matrix else x.mT).to(matrix.dtype)


def mean_of(gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Mean of the gradients that several workers found, in their order; the first worker's are overwritten."""
    total = list(gradients[0])
    for others in gradients[1:]:
        torch._foreach_add_(total, list(others))
    if len(gradients) > 1:
        torch._foreach_mul_(total, 1 / len(gradients))
    return total
