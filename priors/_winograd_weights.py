"""Weights of a network in the order in which the kernels of Winograd's filtering read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from priors._winograd_tiles import RUNS, transformed
from solvers.lanes import LANES

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """Weights as the products read them."""

    u: np.ndarray
    widths: tuple[int, int]  # channels of the images, input and output
    depth: int  # channels of the input that are looked at

    @classmethod
    def of(cls, products: np.ndarray, widths: tuple[int, int], half: bool = False) -> Weights:
        """Of matrices ``(products, inputs, outputs)``; in bfloat16 the inputs go in pairs."""
        count, depth, outputs = products.shape
        pair, together = 1 + half, RUNS * LANES if outputs % (RUNS * LANES) == 0 else LANES
        u = products.reshape(count, depth // pair, pair, -1, together).transpose(0, 3, 1, 4, 2)
        u = np.ascontiguousarray(u, np.float32).ravel()
        return cls(_rounded(u) if half else u, widths, depth)


def _rounded(u: np.ndarray) -> np.ndarray:
    """Numbers in bfloat16, as integers of 16 bits."""
    import torch

    rounded: np.ndarray = torch.from_numpy(u).bfloat16().view(torch.int16).numpy()
    return rounded


def same(weight: Tensor, half: bool = False) -> Weights:
    """Of a 3 x 3 convolution. Images have at least LANES channels: the output gets channels of zeros."""
    products = transformed(_array(weight))
    inputs, outputs = (max(width, LANES) for width in products.shape[1:])
    padded = np.pad(products, ((0, 0), (0, 0), (0, outputs - products.shape[2])))
    return Weights.of(padded, (inputs, outputs), half)


def coarser(weight: Tensor) -> Weights:
    array = _array(weight)  # (coarse, fine, 2, 2)
    rows = array.transpose(2, 3, 1, 0).reshape(2, -1, array.shape[0])
    return Weights.of(rows, array.shape[1::-1])


def finer(weight: Tensor) -> Weights:
    array = _array(weight)  # (coarse, fine, 2, 2)
    rows = array.transpose(2, 0, 3, 1).reshape(2, array.shape[0], -1)
    return Weights.of(rows, array.shape[:2])


def _array(weight: Tensor) -> np.ndarray:
    array: np.ndarray = weight.detach().numpy()
    return array
