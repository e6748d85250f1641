"""Bands and complex images as images that a network of few channels denoises one by one, under the same noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

REACH = 4
"""Pixels over which the phase of a complex image is taken as constant."""


@dataclass(frozen=True)
class Transform:
    """Unitary transform of an image into components: white noise keeps its level in each of them.

    Bands become their principal components, so what they share is denoised once, with the contrast of all of them.
    Complex components are turned to the phase of their surroundings, after which the real part holds the magnitude
    of a smooth phase, and both parts are denoised as two images of the same scale.
    """

    channels: int  # of the network; 1: components are images of their own
    vectors: Tensor | None  # (bands, components), the principal ones; None: bands are the components
    phase: Tensor | None  # (components, rows, columns), of modulus 1, for complex images
    means: Tensor  # of the components, taken off

    @classmethod
    def of(cls, bands: Tensor, channels: int) -> Transform:
        """The transform for an image ``(bands, rows, columns)``."""
        vectors = None if len(bands) in (1, channels) else _principal(bands.detach())
        components = _turned(bands, vectors)
        phase = _phase(components.detach()) if bands.is_complex() else None
        images = _real(components, phase).unflatten(0, (-1, channels))
        return cls(channels, vectors, phase, images.mean((1, 2, 3), keepdim=True))

    def split(self, bands: Tensor) -> Tensor:
        """Components without their means, ``(images, channels, rows, columns)``."""
        return _real(_turned(bands, self.vectors), self.phase).unflatten(0, (-1, self.channels)) - self.means

    def join(self, images: Tensor) -> Tensor:
        """The image of those components, ``(bands, rows, columns)``."""
        import torch

        components = (images + self.means.to(images.dtype)).flatten(0, 1)
        if self.phase is not None:
            real, imaginary = components.chunk(2)
            components = torch.complex(real, imaginary) * self.phase
        if self.vectors is None:
            return components
        return torch.tensordot(self.vectors.to(components.dtype), components, 1)


def _principal(bands: Tensor) -> Tensor:
    """Directions of the bands in the order of their variance, ``(bands, bands)``."""
    import torch

    flat = bands.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    covariance = (centred @ centred.mH).to(torch.complex128 if bands.is_complex() else torch.float64)
    return torch.linalg.eigh(covariance)[1].flip(-1).to(bands.dtype)


def _turned(bands: Tensor, vectors: Tensor | None) -> Tensor:
    import torch

    return bands if vectors is None else torch.tensordot(vectors.mH, bands, 1)


def _phase(components: Tensor) -> Tensor:
    """Phase of complex components where the surroundings are averaged, as numbers of modulus 1."""
    import torch
    from torch.nn import functional

    wide = torch.view_as_real(components).movedim(-1, 1).flatten(0, 1)[:, None]
    for _ in range(2):  # a box twice is smooth enough
        wide = functional.avg_pool2d(wide, 2 * REACH + 1, 1, REACH, count_include_pad=False)
    real, imaginary = wide.view(-1, 2, *components.shape[-2:]).unbind(1)
    smooth = torch.complex(real, imaginary)
    modulus = smooth.abs()
    return torch.where(modulus > 0, smooth / modulus.clamp_min(torch.finfo(modulus.dtype).tiny), 1)


def _real(components: Tensor, phase: Tensor | None) -> Tensor:
    """Real images of the components: themselves, or real and imaginary parts relative to the phase."""
    import torch

    if phase is None:
        return components
    relative = components * phase.conj()
    return torch.cat((relative.real, relative.imag))
