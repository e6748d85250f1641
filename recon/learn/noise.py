"""Noise that a denoiser is trained on. Levels are standard deviations, on the mean over a patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

BRIGHT = 0.05
"""Least grey level that counts photons, so that black has noise as well."""


def gaussian(clean: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """White noise of the same level everywhere."""
    return _levels(sigma) * _normal(clean, generator)


def poisson_gaussian(clean: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """White noise whose variance grows with the grey level, as where photons are counted, plus a constant part."""
    level = clean - clean.amin((-2, -1), keepdim=True) + BRIGHT
    relative = (level / level.mean((-3, -2, -1), keepdim=True)).sqrt()
    return _levels(sigma) * relative * _normal(clean, generator)


def correlated(clean: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """Noise smoothed over about two pixels, as after an interpolation."""
    profile = torch.tensor([0.25, 0.5, 0.25], dtype=clean.dtype)
    kernel = torch.outer(profile, profile)
    kernel = (kernel / kernel.square().sum().sqrt()).to(clean.device)
    wide = functional.pad(_normal(clean, generator), (1, 1, 1, 1), mode="circular")
    smooth = functional.conv2d(wide.flatten(0, 1)[:, None], kernel[None, None])
    return _levels(sigma) * smooth.view(clean.shape)


MODELS: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "gaussian": gaussian,
    "poisson_gaussian": poisson_gaussian,
    "correlated": correlated,
}


def mixed(clean: Tensor, sigma: Tensor, generator: torch.Generator, weights: Mapping[str, float]) -> Tensor:
    """Noise for a batch of patches, each of a model drawn by its weight."""
    names = [name for name, weight in weights.items() if weight > 0]
    if len(names) == 1:
        return MODELS[names[0]](clean, sigma, generator)
    chances = torch.tensor([float(weights[name]) for name in names])
    drawn = torch.multinomial(chances, len(clean), replacement=True, generator=generator).to(clean.device)
    noise = torch.empty_like(clean)
    for index, name in enumerate(names):
        chosen = drawn == index
        noise[chosen] = MODELS[name](clean[chosen], sigma[chosen], generator)
    return noise


def _levels(sigma: Tensor) -> Tensor:
    return sigma.view(-1, 1, 1, 1)


def _normal(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers, drawn on the CPU: the same on every device."""
    return torch.randn(clean.shape, generator=generator).to(clean.device)
