"""A network for inference on a processor: convolutions do what follows them before their results leave the cache."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from priors.networks import Residual, UNet

SAME: tuple[Any, ...] = ([1, 1], [1, 1], [1, 1], 1)
"""Padding, strides, dilation and groups of a block's convolutions."""


class FusedResidual(nn.Module):
    """What a :class:`~priors.networks.Residual` computes, without gradients.

    The rectifier and the sum are part of the convolutions, and the weights lie as oneDNN reads them.
    """

    def __init__(self, block: Residual) -> None:
        super().__init__()
        self._first, self._second = _packed(block.first.weight), _packed(block.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        convolution = torch.ops.mkldnn._convolution_pointwise
        inner = convolution(x, self._first, None, *SAME, "relu", [], "")
        return convolution.binary(inner, x, self._second, None, *SAME, "add", 1.0, None, [], None)


def _packed(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(weight.detach(), *SAME)
    return packed


def fused(network: UNet) -> UNet:
    """A copy of the network for inference, or the network itself where its processor or torch fuses nothing."""
    if network.head.weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return network
    quick = copy.deepcopy(network)
    try:
        for blocks in (*quick.down, *quick.up):
            for position, block in enumerate(blocks):
                blocks[position] = FusedResidual(block)
                _try(blocks[position], block.first.weight)
    except (AttributeError, RuntimeError):  # these functions of torch are its compiler's own: not every build has them
        return network
    return quick.eval()


def _try(block: nn.Module, weight: Tensor) -> None:
    """Run a block once, on one pixel: some processors refuse an arithmetic only then."""
    with torch.no_grad():
        block(weight.new_zeros(1, weight.shape[1], 1, 1))
