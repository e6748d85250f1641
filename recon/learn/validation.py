"""How good a network is on images that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from recon.learn.images import Picture
from recon.learn.settings import Network

LEVELS = (15 / 255, 25 / 255, 50 / 255)
LARGEST = 256


@torch.inference_mode()
def validate(network: Network, pictures: Sequence[Picture], levels: Sequence[float] = LEVELS) -> list[float]:
    """Mean PSNR in dB over the centres of the pictures, for each noise level; images range over [0, 1]."""
    return [float(np.mean([_psnr(network, picture, sigma) for picture in pictures])) for sigma in levels]


def _psnr(network: Network, picture: Picture, sigma: float) -> float:
    device = next(network.parameters()).device
    size = min(LARGEST, *picture.pixels.shape[1:])
    row, column = ((n - size) // 2 for n in picture.pixels.shape[1:])
    clean = torch.from_numpy(picture.patch(row, column, size))[None].to(device)
    noise = np.random.default_rng(0).standard_normal(clean.shape, dtype=np.float32)
    noisy = clean + sigma * torch.from_numpy(noise).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        denoised = network(noisy.contiguous(memory_format=torch.channels_last), torch.full((1,), sigma, device=device))
    return -10 * math.log10(max(float((denoised.float() - clean).square().mean()), 1e-12))
