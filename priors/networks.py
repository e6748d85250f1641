"""Networks that denoise, as torch modules. What loads torch at import time is here, in `_fused_blocks` and
in the ridge network's modules."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from solvers.errors import ArgumentError, ShapeError
from solvers.validation import positive_int

UNSHUFFLE = 2
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Architecture:
    """Sizes of a :class:`UNet`.

    Parameters
    ----------
    channels : int
        Channels of the image: 1 grey, 3 colour.
    widths : sequence of int
        Feature channels of each scale, the finest first. One scale is a plain residual network.
    blocks : sequence of int
        Residual blocks of each scale on the way down, and from the second coarsest scale on the way up:
        ``2 * len(widths) - 1`` numbers.
    """

    channels: int = 1
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] = (2, 2, 2, 2, 2)

    def __post_init__(self) -> None:
        positive_int("channels", self.channels)
        object.__setattr__(self, "widths", tuple(positive_int("widths", n) for n in self.widths))
        object.__setattr__(self, "blocks", tuple(positive_int("blocks", n, minimum=0) for n in self.blocks))
        if not self.widths or len(self.blocks) != 2 * len(self.widths) - 1:
            raise ArgumentError(
                f"blocks is {self.blocks} and widths is {self.widths}; expected a number of blocks for each scale on "
                f"the way down and up, {max(2 * len(self.widths) - 1, 1)} in all. Pass as many."
            )

    @property
    def multiple(self) -> int:
        """Images are padded to a multiple of this many pixels: one pixel of the coarsest scale."""
        return UNSHUFFLE * 2 ** (len(self.widths) - 1)

    @property
    def halo(self) -> int:
        """Pixels around an output pixel that it can depend on, rounded up to a multiple of ``multiple``."""
        last = len(self.widths) - 1
        reach = 2 * UNSHUFFLE  # head and tail
        for position, blocks in enumerate(self.blocks):
            scale = position if position <= last else 2 * last - position
            reach += 2 * blocks * UNSHUFFLE * 2**scale
        return (-(-reach // self.multiple) + (last > 0)) * self.multiple

    def as_dict(self) -> dict[str, Any]:
        """The sizes as plain numbers and lists, for a file."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


class Residual(nn.Module):
    """``x + B max(A x, 0)`` with 3 x 3 convolutions A and B; B starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = _conv(width, width)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(x), inplace=True))


class UNet(nn.Module):
    r"""Residual U-Net without biases on 2 x 2 blocks of pixels: ``D(v, sigma) = v - N([v, sigma])``.

    Without biases, ``D(c v, c sigma) = c D(v, sigma)`` for every ``c > 0``: what the network knows does not depend on
    the unit of the image. The noise level enters as one more channel. Convolutions are dense, which costs less time
    than depthwise ones of the same quality.

    References
    ----------
    Ronneberger et al. 2015; noise level as a channel on pixel-unshuffled images: Zhang et al. 2018 (FFDNet); no biases:
    Mohan et al. 2020.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.coarse = False
        widths, blocks = architecture.widths, architecture.blocks
        last = len(widths) - 1
        pixels = UNSHUFFLE**2 * architecture.channels
        self.head = _conv(pixels + 1, widths[0])
        self.down = nn.ModuleList([_blocks(n, k) for n, k in zip(widths, blocks, strict=False)])
        self.up = nn.ModuleList([_blocks(n, k) for n, k in zip(widths, reversed(blocks[last + 1 :]), strict=False)])
        self.coarser = nn.ModuleList([nn.Conv2d(a, b, 2, 2, bias=False) for a, b in pairwise(widths)])
        self.finer = nn.ModuleList([nn.ConvTranspose2d(b, a, 2, 2, bias=False) for a, b in pairwise(widths)])
        self.tail = _conv(widths[0], pixels)
        nn.init.zeros_(self.tail.weight)

    @property
    def multiple(self) -> int:
        """Tiles of an image start at a multiple of this many pixels."""
        return self.architecture.multiple

    @property
    def halo(self) -> int:
        """Pixels around a tile that it depends on.

        In half precision twice as many: narrow images go through other kernels, which round otherwise.
        """
        return self.architecture.halo * (2 if self.coarse else 1)

    def forward(self, v: Tensor, sigma: Tensor) -> Tensor:
        """Denoise images ``(batch, channels, rows, columns)`` of noise levels ``(batch,)``, in the same unit."""
        return v - self.noise(v, sigma)

    def noise(self, v: Tensor, sigma: Tensor) -> Tensor:
        """The noise that the network sees in the images."""
        rows, columns = self._check(v, sigma)
        image = _mirrored(v, self.architecture.multiple)
        return _pixels(self._features(image, sigma))[..., :rows, :columns]

    def _features(self, image: Tensor, sigma: Tensor) -> Tensor:
        x = functional.pixel_unshuffle(image, UNSHUFFLE)
        level = sigma.to(x.dtype).view(-1, 1, 1, 1).expand(x.shape[0], 1, *x.shape[2:])
        x = self.head(torch.cat((x, level), 1).contiguous(memory_format=torch.channels_last))
        x = x.bfloat16() if self.coarse else x
        skipped = []
        for blocks, coarser in zip(self.down, self.coarser, strict=False):
            x = blocks(x)
            skipped.append(x)
            x = coarser(x)
        x = self.down[-1](x)
        for blocks, finer in zip(reversed(self.up), reversed(self.finer), strict=True):
            x = blocks(skipped.pop() + finer(x))
        return self.tail(x.float() if self.coarse else x)

    def project(self) -> None:
        """Nothing: all weights are allowed."""

    def in_half(self) -> UNet:
        """A copy that computes in bfloat16 but for the convolutions that touch pixels, which have more digits."""
        half = copy.deepcopy(self).bfloat16()
        half.head, half.tail, half.coarse = copy.deepcopy(self.head), copy.deepcopy(self.tail), True
        return half

    def _check(self, v: Tensor, sigma: Tensor) -> tuple[int, int]:
        channels = self.architecture.channels
        if v.ndim != 4 or v.shape[1] != channels or 0 in v.shape:
            raise ShapeError(
                f"v has shape {tuple(v.shape)}; expected (batch, {channels}, rows, columns), none of them 0. "
                "Reshape it, or use priors.Denoiser, which takes images of any leading axes."
            )
        if sigma.shape != (v.shape[0],):
            raise ShapeError(
                f"sigma has shape {tuple(sigma.shape)}; expected one level for each of the {v.shape[0]} images. "
                "Expand it."
            )
        return v.shape[2], v.shape[3]


def placed(network: Network, device: torch.device | str) -> Network:
    """The network on a device, its weights in the order that convolutions there are quick with."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def start_from(network: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Copy the weights of another network where shapes allow; between grey and colour they are spread over the colours.

    Returns the names of the weights that stay as they were.
    """
    left = []
    with torch.no_grad():
        for name, own in network.state_dict().items():
            given = weights.get(name)
            if given is None:
                left.append(name)
            elif given.shape == own.shape:
                own.copy_(given)
            elif not _spread(name, own, given.to(own.dtype)):
                left.append(name)
    return left


def _spread(name: str, own: Tensor, given: Tensor) -> bool:
    """Weights of a grey network as those of a colour one: each colour is denoised as its grey image would be."""
    pixels = UNSHUFFLE**2
    if name == "head.weight" and own.shape[0] == given.shape[0] and given.shape[1] == pixels + 1:
        colours = (own.shape[1] - 1) // pixels
        for colour in range(colours):  # pixel_unshuffle orders channels as (colour, row, column)
            own[:, colour * pixels : (colour + 1) * pixels] = given[:, :-1] / colours
        own[:, -1:] = given[:, -1:]
        return True
    if name == "tail.weight" and own.shape[1] == given.shape[1] and given.shape[0] == pixels:
        own.copy_(given.repeat(own.shape[0] // pixels, 1, 1, 1))
        return True
    return False


def _pixels(x: Tensor) -> Tensor:
    """``pixel_shuffle``, which is slow where channels come last, as here."""
    blocks = x.permute(0, 2, 3, 1).unflatten(-1, (-1, UNSHUFFLE, UNSHUFFLE))
    return blocks.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def _mirrored(v: Tensor, multiple: int) -> Tensor:
    """Images continued to a multiple of so many pixels.

    Mirrored noise looks like noise. The last row, repeated, looks like an edge: that cost 0.05 to 0.2 dB on images of
    321 x 481 pixels. Mirrored about the middle of the last row rather than its end, they lost 0.005 dB.
    """
    for axis in (-2, -1):
        size = v.shape[axis]
        beyond = size - 1 - torch.arange(-size % multiple, device=v.device)
        v = torch.cat((v, v.index_select(axis, beyond.clamp(min=0))), axis) if len(beyond) else v
    return v


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(width) for _ in range(count)))
