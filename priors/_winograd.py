"""A residual U-Net without gradients on a processor, by kernels that need a quarter of the multiplications."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from priors import _winograd_kernels as kernels
from priors._winograd_tiles import OUT, RUNS, transformed
from solvers.arrays import threads
from solvers.kernels import run_jobs
from solvers.lanes import LANES

if TYPE_CHECKING:
    from torch import Tensor

    from priors.networks import Architecture, UNet

BLOCK = 4
"""Pixels that are channels of one pixel inside."""
WIDEST = 128
"""Features up to which the transformed weights of a convolution stay in the cache."""
KEPT = 2**24
"""Numbers of a workspace up to which it is kept for the next image."""


def supported(architecture: Architecture) -> bool:
    """Whether the kernels take networks of these sizes."""
    narrow = BLOCK * architecture.channels + 1 <= LANES and max(architecture.widths) <= WIDEST
    return narrow and all(width % LANES == 0 for width in architecture.widths)


@dataclass(frozen=True)
class _Weights:
    """Weights as the products read them."""

    u: np.ndarray
    widths: tuple[int, int]  # channels of the images, input and output
    depth: int  # channels of the input that are looked at

    @classmethod
    def of(cls, products: np.ndarray, widths: tuple[int, int], half: bool = False) -> _Weights:
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


def _same(weight: Tensor, half: bool = False) -> _Weights:
    """Of a 3 x 3 convolution. Images have at least LANES channels: the output gets channels of zeros."""
    products = transformed(_array(weight))
    inputs, outputs = (max(width, LANES) for width in products.shape[1:])
    padded = np.pad(products, ((0, 0), (0, 0), (0, outputs - products.shape[2])))
    return _Weights.of(padded, (inputs, outputs), half)


def _coarser(weight: Tensor) -> _Weights:
    array = _array(weight)  # (coarse, fine, 2, 2)
    rows = array.transpose(2, 3, 1, 0).reshape(2, -1, array.shape[0])
    return _Weights.of(rows, array.shape[1::-1])


def _finer(weight: Tensor) -> _Weights:
    array = _array(weight)  # (coarse, fine, 2, 2)
    rows = array.transpose(2, 0, 3, 1).reshape(2, array.shape[0], -1)
    return _Weights.of(rows, array.shape[:2])


def _array(weight: Tensor) -> np.ndarray:
    array: np.ndarray = weight.detach().numpy()
    return array


@dataclass(frozen=True)
class _Scale:
    """The images of one scale."""

    shape: tuple[int, int]
    x: np.ndarray
    inner: np.ndarray  # within a residual block; at the finest scale also what touches pixels


class _Workspace:
    """All that an image of one size is computed in, borders of zeros included."""

    def __init__(self, architecture: Architecture, shape: tuple[int, int]):
        finest = [-(-length // architecture.multiple) * architecture.multiple // 2 for length in shape]
        self.scales, sums = [], 0
        for k, width in enumerate(architecture.widths):
            inside = (finest[0] >> k, finest[1] >> k)
            x, inner = np.zeros((2, kernels.image_size(inside, width)), np.float32)
            self.scales.append(_Scale(inside, x, inner))
            sums = max(sums, kernels.products_size(inside, width))
        self.pixels = np.zeros(kernels.image_size(self.scales[0].shape, LANES), np.float32)
        self.jobs = 2 * threads()
        self.v = np.zeros((self.jobs, kernels.inputs_size(max(architecture.widths))), np.float32)
        self.m = np.zeros((self.jobs, sums), np.float32)
        self.size = 2 * sum(scale.x.size for scale in self.scales) + self.pixels.size + self.v.size + self.m.size


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
        self._head, self._tail = _same(parts.head.weight), _same(parts.tail.weight)
        self._down, self._up = (
            [
                [(_same(block.first.weight, half), _same(block.second.weight, half)) for block in blocks]
                for blocks in scales
            ]
            for scales in (parts.down, parts.up)
        )
        self._coarser = [_coarser(convolution.weight) for convolution in parts.coarser]
        self._finer = [_finer(convolution.weight) for convolution in parts.finer]
        self._spare: dict[tuple[int, int], _Workspace] = {}

    def noise(self, v: Tensor, sigma: Tensor) -> Tensor:
        """The noise that the network sees in images ``(batch, channels, rows, columns)`` of levels ``(batch,)``."""
        import torch

        out = torch.empty(v.shape)
        with self._workspace((v.shape[2], v.shape[3])) as space:
            for image, level, target in zip(v.contiguous().numpy(), sigma.tolist(), out.numpy(), strict=True):
                self._run(space, image, level, target)
        return out

    @contextmanager
    def _workspace(self, shape: tuple[int, int]) -> Iterator[_Workspace]:
        """A workspace that nobody else has; the last one is kept, for most images have the size of the last."""
        space = self._spare.pop(shape, None) or _Workspace(self._architecture, shape)
        yield space
        self._spare = {shape: space} if space.size <= KEPT else {}

    def _run(self, space: _Workspace, image: np.ndarray, level: float, out: np.ndarray) -> None:
        finest, pixels, jobs = space.scales[0], space.pixels, space.jobs
        run_jobs(kernels.read_pixels, pixels.size, jobs, jobs, image, level, pixels, finest.shape)
        _convolve(space, finest, pixels, finest.x, self._head)
        for k, coarser in enumerate(self._coarser):
            _blocks(space, space.scales[k], self._down[k])
            _between(kernels.halve, space, space.scales[k + 1], space.scales[k].x, space.scales[k + 1].x, coarser)
        _blocks(space, space.scales[-1], self._down[-1])
        for k in reversed(range(len(self._finer))):
            coarse, fine = space.scales[k + 1], space.scales[k]
            _between(kernels.double, space, coarse, coarse.x, fine.x, self._finer[k])
            _blocks(space, fine, self._up[k])
        _convolve(space, finest, finest.x, pixels, self._tail)
        run_jobs(kernels.write_pixels, pixels.size, jobs, jobs, pixels, out, finest.shape)


def _blocks(space: _Workspace, scale: _Scale, blocks: list[tuple[_Weights, _Weights]]) -> None:
    """``x += B max(A x, 0)`` for each block."""
    for first, second in blocks:
        _convolve(space, scale, scale.x, scale.inner, first, low=0.0)
        _convolve(space, scale, scale.inner, scale.x, second, add=True)


def _convolve(
    space: _Workspace, scale: _Scale, x: np.ndarray, y: np.ndarray, weights: _Weights,
    add: bool = False, low: float = -np.inf,
) -> None:  # fmt: skip
    v = space.v.view(weights.u.dtype)
    rest = (x, y, weights.u, v, space.m, scale.shape, weights.widths, weights.depth, add, low)
    run_jobs(kernels.convolve, x.size, space.jobs, space.jobs, *rest)


def _between(kernel: Any, space: _Workspace, coarse: _Scale, x: np.ndarray, y: np.ndarray, weights: _Weights) -> None:
    rest = (x, y, weights.u, space.m, coarse.shape, weights.widths)
    run_jobs(kernel, x.size, space.jobs, space.jobs, *rest)
