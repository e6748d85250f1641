"""A residual U-Net without gradients on a processor, by kernels that need a quarter of the multiplications."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from priors import _winograd_kernels as kernels
from priors._winograd_tiles import OUT
from priors._winograd_weights import Weights, coarser, finer, same
from solvers.arrays import threads
from solvers.kernels import run_jobs
from solvers.lanes import LANES

if TYPE_CHECKING:
    from torch import Tensor

    from priors.networks import Architecture, UNet

BLOCK = 4
"""Pixels that are channels of one pixel inside."""
WIDEST = 512
"""Features up to which it is known to pay: transformed weights are four times as large."""
KEPT = 2**24
"""Numbers of a workspace up to which it is kept for the next image."""
UNITS_A_THREAD = 2
"""Into how many units a thread's share of a step is cut: others take one from a thread that is held up."""
LINE = 64
"""Bytes of a line of the cache."""
EMPTY = np.zeros(0, np.float32)
PIXELS = 0
"""The first of the images that a network computes in; two of each scale follow."""


def supported(architecture: Architecture) -> bool:
    """Whether the kernels take networks of these sizes."""
    narrow = BLOCK * architecture.channels + 1 <= LANES and max(architecture.widths) <= WIDEST
    return narrow and all(width % LANES == 0 for width in architecture.widths)


@dataclass(frozen=True)
class _Step:
    """One step of a network: ``kind`` of the kernels' list, on a scale, from one image to another."""

    kind: int
    scale: int
    source: int
    target: int
    weights: Weights | None = None
    at: int = 0  # where its weights begin


def _aligned(count: int, kind: Any = np.float32) -> np.ndarray:
    """Zeros that begin where a line of the cache does: runs then lie in one line each."""
    size = count * np.dtype(kind).itemsize
    spare = np.zeros(size + LINE, np.uint8)
    first = -spare.ctypes.data % LINE
    return spare[first : first + size].view(kind)


def _joined(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Arrays one after the other in one, and where each begins."""
    places = np.cumsum([0, *(array.size for array in arrays)]).tolist()
    joined = _aligned(places[-1], arrays[0].dtype if arrays else np.float32)
    for array, at in zip(arrays, places, strict=False):
        joined[at : at + array.size] = array
    return joined, places


def _of(scale: int) -> tuple[int, int]:
    """The images of a scale: what goes from block to block, and what is within one."""
    return 2 * scale + 1, 2 * scale + 2


class _Workspace:
    """All that an image of one size is computed in, borders of zeros included, and the table of steps."""

    def __init__(self, architecture: Architecture, steps: Sequence[_Step], shape: tuple[int, int]):
        finest = [-(-length // architecture.multiple) * architecture.multiple // 2 for length in shape]
        shapes = [(finest[0] >> k, finest[1] >> k) for k in range(len(architecture.widths))]
        sizes = [kernels.image_size(shapes[0], LANES)]
        for inside, width in zip(shapes, architecture.widths, strict=True):
            sizes += 2 * [kernels.image_size(inside, width)]
        places = np.cumsum([0, *sizes])
        self.arena = _aligned(places[-1])
        self.largest = max(sizes)
        crew = threads()
        v = kernels.inputs_size(max(architecture.widths))
        m = max(map(kernels.products_size, shapes, architecture.widths))
        self.v, self.m = (_aligned(crew * count).reshape(crew, count) for count in (v, m))
        units = [kernels.units(inside, UNITS_A_THREAD * crew) for inside in shapes]
        self.steps = np.array([_row(step, places, shapes, units) for step in steps])
        self.claims = np.zeros((len(steps), max(units)), np.int64)
        self.done = np.zeros(len(steps), np.int64)
        self.size = self.arena.size + self.v.size + self.m.size


def _row(step: _Step, places: np.ndarray, shapes: Sequence[tuple[int, int]], units: Sequence[int]) -> list[int]:
    """A step as the kernels read it."""
    widths, depth = (step.weights.widths, step.weights.depth) if step.weights else ((0, 0), 0)
    images = (int(places[step.source]), int(places[step.target]))
    return [step.kind, units[step.scale], *images, step.at, *shapes[step.scale], *widths, depth]


class Winograd:
    """What a :class:`~priors.networks.UNet` computes, to rounding.

    With ``half``, residual blocks multiply numbers in bfloat16; features and sums stay in single precision.

    Tiles of an image start where tiles of the coarsest convolution do. What lies beyond the halo then reaches a tile by
    its rounding alone, in single precision a tile further. In half precision what is rounded otherwise is rounded
    otherwise again in the next convolution: they agreed to the bit from ten tiles on for a halo of six. It is doubled.
    """

    def __init__(self, network: UNet, half: bool = False) -> None:
        self._architecture = architecture = network.architecture
        self.multiple = OUT * architecture.multiple
        tiles = -(-architecture.halo // self.multiple)
        self.halo = (2 * tiles if half else tiles + 1) * self.multiple
        steps = list(_steps(network, half))
        in_blocks = (kernels.RECTIFY, kernels.ADD)
        self._plain, plain = _joined([s.weights.u for s in steps if s.weights and s.kind not in in_blocks])
        self._blocks, blocks = _joined([s.weights.u for s in steps if s.weights and s.kind in in_blocks])
        places = {False: iter(plain), True: iter(blocks)}
        self._steps = [
            replace(s, weights=replace(s.weights, u=EMPTY), at=next(places[s.kind in in_blocks])) if s.weights else s
            for s in steps
        ]
        self._spare: dict[tuple[int, int], _Workspace] = {}

    def noise(self, v: Tensor, sigma: Tensor) -> Tensor:
        """The noise that the network sees in images ``(batch, channels, rows, columns)`` of levels ``(batch,)``."""
        import torch

        out = torch.empty(v.shape)
        with self._workspace((v.shape[2], v.shape[3])) as space:
            for image, level, target in zip(v.contiguous().numpy(), sigma.tolist(), out.numpy(), strict=True):
                self._denoise(space, image, level, target)
        return out

    def _denoise(self, space: _Workspace, image: np.ndarray, level: float, out: np.ndarray) -> None:
        space.claims[:] = space.done[:] = 0
        crew, weights = len(space.v), (self._plain, self._blocks)

        def take_part(thread: int) -> None:
            v, m = space.v[thread], space.m[thread]
            scratch, shared = (v, v.view(self._blocks.dtype), m), (space.steps, space.claims, space.done)
            behind = 0
            while behind < len(space.steps):
                behind = kernels.run(thread, crew, behind, *shared, image, level, out, space.arena, *weights, *scratch)
                if behind < len(space.steps):
                    time.sleep(0)  # the others need the core

        run_jobs(take_part, space.largest, crew)

    @contextmanager
    def _workspace(self, shape: tuple[int, int]) -> Iterator[_Workspace]:
        """A workspace that nobody else has; the last one is kept, for most images have the size of the last."""
        space = self._spare.pop(shape, None) or _Workspace(self._architecture, self._steps, shape)
        yield space
        self._spare = {shape: space} if space.size <= KEPT else {}


def _steps(network: UNet, half: bool) -> Iterator[_Step]:
    """What a network does, with its weights as the kernels read them."""
    parts: Any = network  # torch's containers do not say what they hold
    last, finest = len(network.architecture.widths) - 1, _of(0)[0]

    def blocks(scale: int, modules: Any) -> Iterator[_Step]:
        x, inner = _of(scale)
        for block in modules:
            yield _Step(kernels.RECTIFY, scale, x, inner, same(block.first.weight, half))
            yield _Step(kernels.ADD, scale, inner, x, same(block.second.weight, half))

    yield _Step(kernels.READ, 0, PIXELS, PIXELS)
    yield _Step(kernels.CONVOLVE, 0, PIXELS, finest, same(parts.head.weight))
    for scale in range(last):
        yield from blocks(scale, parts.down[scale])
        yield _Step(kernels.HALVE, scale + 1, _of(scale)[0], _of(scale + 1)[0], coarser(parts.coarser[scale].weight))
    yield from blocks(last, parts.down[last])
    for scale in reversed(range(last)):
        yield _Step(kernels.DOUBLE, scale + 1, _of(scale + 1)[0], _of(scale)[0], finer(parts.finer[scale].weight))
        yield from blocks(scale, parts.up[scale])
    yield _Step(kernels.CONVOLVE, 0, finest, PIXELS, same(parts.tail.weight))
    yield _Step(kernels.WRITE, 0, PIXELS, PIXELS)
