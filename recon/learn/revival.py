"""Features of a network that have died, given another life."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from priors.networks import Residual

TRIALS = 8
"""Fresh weights can be as dead as the old ones: so often others are tried."""


@torch.no_grad()
def revive(network: nn.Module, v: Tensor, sigma: Tensor, seed: int, mean: nn.Module | None = None) -> int:
    """Give features within residual blocks that are zero on a whole batch fresh weights; returns how many there were.

    A rectified feature that is zero everywhere has no gradient and stays so: large steps drive features there one
    after the other, whole blocks in the end. Their fresh weights enter with no weight in the block's output, so the
    network computes what it did.

    Parameters
    ----------
    network : torch.nn.Module
        With :class:`priors.networks.Residual` blocks; changed in place.
    v, sigma : Tensor
        A batch as the network takes it.
    seed : int
        Of the fresh weights.
    mean : torch.nn.Module, optional
        The running mean of the weights, which gets the same.

    References
    ----------
    Sokar et al. 2023, "The dormant neuron phenomenon in deep reinforcement learning".
    """
    means: dict[str, Any] = dict((mean or network).named_modules())
    generator = torch.Generator().manual_seed(seed)
    first: dict[str, Tensor] = {}
    for _ in range(TRIALS):
        dead = _dead(network, v, sigma)
        first = first or dead
        if not any(features.any() for features in dead.values()):
            break
        for name, block in _residuals(network).items():
            _start_afresh(block, dead[name], generator)
            if mean is not None:
                means[name].first.weight[dead[name]] = block.first.weight[dead[name]]
                means[name].second.weight[:, dead[name]] = 0
    return sum(int(features.sum()) for features in first.values())


def _residuals(network: nn.Module) -> dict[str, Residual]:
    return {name: block for name, block in network.named_modules() if isinstance(block, Residual)}


def _dead(network: nn.Module, v: Tensor, sigma: Tensor) -> dict[str, Tensor]:
    """For each block, the features that are nowhere positive."""
    found: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, given: Any, answer: Tensor) -> None:
            found[name] = ~(answer > 0).any(-1).any(-1).any(0)

        return hook

    hooks = [block.first.register_forward_hook(note(name)) for name, block in _residuals(network).items()]
    try:
        network(v, sigma)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _start_afresh(block: Residual, features: Tensor, generator: torch.Generator) -> None:
    weight = block.first.weight
    inputs = weight[0].numel()
    fresh = torch.randn(weight.shape, generator=generator) * (2 / inputs) ** 0.5
    weight[features] = fresh.to(weight.device)[features]
    block.second.weight[:, features] = 0
