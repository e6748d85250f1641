"""In which arithmetic a network runs here: measured once for a process, on a processor that can."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from priors._tiling import Runner

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from priors.networks import UNet

ROUNDING = 0.3
"""Least noise level over the image's standard deviation at which half precision is taken: what it rounds differently in
another unit of the image is a tenth of the noise at some pixel of a large image."""
WORTH = 1.1
"""How much quicker it has to be."""
ROUNDS = 5
SIZE = 128


def network(single: UNet, precision: str, images: Tensor, sigma: Tensor) -> Runner:
    """The network in the precision asked for; ``auto`` decides by the processor, the noise and the image."""
    if precision == "auto":
        coarse = float(sigma) >= ROUNDING * float(images.std(correction=0))
        precision = "bfloat16" if coarse and _half_is_quicker(images.device.type) else "float32"
    return Runner(_prepared(single, precision == "bfloat16"))


@lru_cache(maxsize=16)
def _prepared(single: UNet, half: bool) -> UNet:
    from priors._fused_blocks import fused

    return fused(single.in_half() if half else single)


def _half_is_quicker(device: str) -> bool:
    """Whether bfloat16 pays. Processors without it are not even tried, so noise in the timing cannot decide."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    if device != "cpu" or not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return False
    return _measured()


@lru_cache(maxsize=1)
def _measured() -> bool:
    """Best times of a convolution in turns: what else the machine does then hits both."""
    import torch

    times = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    with torch.no_grad():
        for _ in range(ROUNDS):
            for dtype in times:
                times[dtype] = min(times[dtype], _seconds(dtype))
    return times[torch.float32] > WORTH * times[torch.bfloat16]


def _seconds(dtype: torch.dtype) -> float:
    import torch

    x = torch.ones(1, 64, SIZE, SIZE, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.ones(64, 64, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    start = time.perf_counter()
    torch.nn.functional.conv2d(x, weight, padding=1)
    return time.perf_counter() - start
