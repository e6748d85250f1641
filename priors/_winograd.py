"""A residual U-Net without gradients on a processor, by kernels that need a quarter of the multiplications."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from priors import _winograd_kernels as kernels
from priors._winograd_tiles import OUT
from priors._winograd_weights import Weights, coarser, finer, same
from solvers.arrays import threads
from solvers.lanes import LANES
from solvers.succession import succession

if TYPE_CHECKING:
    from torch import Tensor

    from priors.networks import Architecture, UNet

BLOCK = 4
"""Pixels that are channels of one pixel inside."""
WIDEST = 512
"""Features up to which it is known to pay: transformed weights are four times as large."""
KEPT = 2**24
"""Numbers of a workspace up to which it is kept for the next image."""


def supported(architecture: Architecture) -> bool:
    """Whether the kernels take networks of these sizes."""
    narrow = BLOCK * architecture.channels + 1 <= LANES and max(architecture.widths) <= WIDEST
    return narrow and all(width % LANES == 0 for width in architecture.widths)


@dataclass(frozen=True)
class _Scale:
    """The images of one scale."""

    shape: tuple[int, int]
    x: np.ndarray
    inner: np.ndarray  # within a residual block
    jobs: int  # of a kernel


class _Workspace:
    """All that an image of one size is computed in, borders of zeros included."""

    def __init__(self, architecture: Architecture, shape: tuple[int, int]):
        finest = [-(-length // architecture.multiple) * architecture.multiple // 2 for length in shape]
        self.scales, sums = [], 0
        for k, width in enumerate(architecture.widths):
            inside = (finest[0] >> k, finest[1] >> k)
            x, inner = np.zeros((2, kernels.image_size(inside, width)), np.float32)
            self.scales.append(_Scale(inside, x, inner, kernels.jobs(inside, 2 * threads())))
            sums = max(sums, kernels.products_size(inside, width))
        self.pixels = np.zeros(kernels.image_size(self.scales[0].shape, LANES), np.float32)
        jobs = max(scale.jobs for scale in self.scales)
        self.v = np.zeros((jobs, kernels.inputs_size(max(architecture.widths))), np.float32)
        self.m = np.zeros((jobs, sums), np.float32)
        self.size = 2 * sum(scale.x.size for scale in self.scales) + self.pixels.size + self.v.size + self.m.size


@dataclass(frozen=True)
class _Pass:
    """Kernels on the images of a workspace."""

    space: _Workspace
    run: Callable[..., None]  # as run_jobs

    def launch(self, kernel: Any, scale: _Scale, *args: Any) -> None:
        self.run(kernel, scale.x.size, scale.jobs, scale.jobs, *args)

    def convolve(
        self, scale: _Scale, x: np.ndarray, y: np.ndarray, weights: Weights, add: bool = False, low: float = -np.inf
    ) -> None:
        v = self.space.v.view(weights.u.dtype)
        rest = (scale.shape, weights.widths, weights.depth, add, low)
        self.launch(kernels.convolve, scale, x, y, weights.u, v, self.space.m, *rest)

    def blocks(self, scale: _Scale, blocks: list[tuple[Weights, Weights]]) -> None:
        """``x += B max(A x, 0)`` for each block."""
        for first, second in blocks:
            self.convolve(scale, scale.x, scale.inner, first, low=0.0)
            self.convolve(scale, scale.inner, scale.x, second, add=True)

    def halve(self, fine: _Scale, coarse: _Scale, weights: Weights) -> None:
        self.launch(kernels.halve, coarse, fine.x, coarse.x, weights.u, self.space.m, coarse.shape, weights.widths)

    def double(self, coarse: _Scale, fine: _Scale, weights: Weights) -> None:
        self.launch(kernels.double, coarse, coarse.x, fine.x, weights.u, self.space.m, coarse.shape, weights.widths)


class Winograd:
    """What a :class:`~priors.networks.UNet` computes, to rounding.

    With ``half``, residual blocks multiply numbers in bfloat16; features and sums stay in single precision.

    Tiles of an image start where tiles of the coarsest convolution do. What lies beyond the halo then reaches a tile by
    its rounding alone, through every convolution on the way; one tile more, and it is gone.
    """

    def __init__(self, network: UNet, half: bool = False) -> None:
        self._architecture = architecture = network.architecture
        self.multiple = OUT * architecture.multiple
        self.halo = (-(-architecture.halo // self.multiple) + 1) * self.multiple
        parts: Any = network  # torch's containers do not say what they hold
        self._head, self._tail = same(parts.head.weight), same(parts.tail.weight)
        self._down, self._up = (
            [
                [(same(block.first.weight, half), same(block.second.weight, half)) for block in blocks]
                for blocks in scales
            ]
            for scales in (parts.down, parts.up)
        )
        self._coarser = [coarser(convolution.weight) for convolution in parts.coarser]
        self._finer = [finer(convolution.weight) for convolution in parts.finer]
        self._spare: dict[tuple[int, int], _Workspace] = {}

    def noise(self, v: Tensor, sigma: Tensor) -> Tensor:
        """The noise that the network sees in images ``(batch, channels, rows, columns)`` of levels ``(batch,)``."""
        import torch

        out = torch.empty(v.shape)
        with self._workspace((v.shape[2], v.shape[3])) as space:
            for image, level, target in zip(v.contiguous().numpy(), sigma.tolist(), out.numpy(), strict=True):
                with succession() as run:
                    self._denoise(_Pass(space, run), image, level, target)
        return out

    def _denoise(self, step: _Pass, image: np.ndarray, level: float, out: np.ndarray) -> None:
        scales, pixels = step.space.scales, step.space.pixels
        step.launch(kernels.read_pixels, scales[0], image, level, pixels, scales[0].shape)
        step.convolve(scales[0], pixels, scales[0].x, self._head)
        for fine, coarse, blocks, weights in zip(scales, scales[1:], self._down, self._coarser, strict=False):
            step.blocks(fine, blocks)
            step.halve(fine, coarse, weights)
        step.blocks(scales[-1], self._down[-1])
        ways = zip(scales, scales[1:], self._up, self._finer, strict=False)
        for fine, coarse, blocks, weights in reversed(list(ways)):
            step.double(coarse, fine, weights)
            step.blocks(fine, blocks)
        step.convolve(scales[0], scales[0].x, pixels, self._tail)
        step.launch(kernels.write_pixels, scales[0], pixels, out, scales[0].shape)

    @contextmanager
    def _workspace(self, shape: tuple[int, int]) -> Iterator[_Workspace]:
        """A workspace that nobody else has; the last one is kept, for most images have the size of the last."""
        space = self._spare.pop(shape, None) or _Workspace(self._architecture, shape)
        yield space
        self._spare = {shape: space} if space.size <= KEPT else {}
