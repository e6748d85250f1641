"""Images denoised as a whole, or in tiles that give the same image in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from priors._torch_threads import all_threads

if TYPE_CHECKING:
    from torch import Tensor

    from priors.networks import UNet


class Network(Protocol):
    """A :class:`~priors.networks.UNet`, or what computes the same."""

    @property
    def multiple(self) -> int:
        """Pixels of which tiles start at a multiple, so that they are computed as in the whole image."""
        ...

    @property
    def halo(self) -> int:
        """Pixels around a tile that it depends on, a multiple of ``multiple``."""
        ...

    def noise(self, v: Tensor, sigma: Tensor) -> Tensor:
        """The noise in images ``(batch, channels, rows, columns)`` of levels ``(batch,)``."""
        ...


@dataclass(frozen=True)
class Runner:
    """A network, its first convolution in single precision, the others in the arithmetic chosen."""

    network: Network

    def noise(self, images: Tensor, sigma: Tensor) -> Tensor:
        """The noise in images ``(batch, channels, rows, columns)`` of one level.

        The network sees them in units of the noise: half precision then rounds alike in every unit of the image.
        """
        import torch

        scaled = (images / sigma).to(torch.float32, memory_format=torch.channels_last)
        with all_threads():
            noise = self.network.noise(scaled, scaled.new_ones(len(scaled)))
        return sigma * noise


def whole(network: UNet, images: Tensor, sigma: Tensor) -> Tensor:
    """Images denoised at once, in single precision and with gradients."""
    single = images.float()
    with all_threads():
        return single - network.noise(single, sigma.float().expand(len(images)))


def tiled(runner: Runner, images: Tensor, sigma: Tensor, tile: int) -> Tensor:
    """Images ``(images, channels, rows, columns)`` denoised one tile after the other, small ones several at once.

    Around a tile stand the pixels that its own depend on (the halo), so it comes out as in the whole image.
    """
    rows, columns = images.shape[-2:]
    out = images.new_empty(images.shape)
    together = max(1, tile * tile // (rows * columns))
    small = rows * columns <= tile * tile
    multiple, halo = runner.network.multiple, runner.network.halo
    for start in range(0, len(images), together):
        batch, target = images[start : start + together], out[start : start + together]
        for row in windows(rows, rows if small else tile, multiple, halo):
            for column in windows(columns, columns if small else tile, multiple, halo):
                part = batch[..., row.read, column.read]
                noise = runner.noise(part, sigma)[..., row.inside, column.inside]
                target[..., row.own, column.own] = part[..., row.inside, column.inside] - noise
    return out


@dataclass(frozen=True)
class Window:
    """A tile along one axis."""

    read: slice  # with its halo, in the image
    own: slice  # without, in the image
    inside: slice  # without, in what was read


def windows(length: int, tile: int, multiple: int, halo: int) -> Iterator[Window]:
    """Windows of about ``tile`` pixels that cover an axis; they start at a multiple of ``multiple``."""
    count = -(-length // tile)
    width = -(-length // (count * multiple)) * multiple
    for start in range(0, length, width):
        stop = min(start + width, length)
        low, high = max(start - halo, 0), min(stop + halo, length)
        yield Window(slice(low, high), slice(start, stop), slice(start - low, stop - low))
