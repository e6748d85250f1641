"""By which arithmetic and kernels a network runs here: measured once for a process, among those that there are."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from priors._tiling import Network, Runner
from priors._torch_threads import all_threads

if TYPE_CHECKING:
    from torch import Tensor

    from priors.networks import Architecture, UNet

ROUNDING = 0.3
"""Least noise level over the image's standard deviation at which half precision is taken: what it rounds differently in
another unit of the image is a tenth of the noise at some pixel of a large image."""
WORTH = 1.1
"""How much quicker than single precision half precision has to be."""
SMALL = 96 * 96
"""Pixels of an image up to which there is nothing to gain from kernels that have to be loaded first."""
ROUNDS = 4
SIZE = 192
DIRECT, HALF, WINOGRAD = "float32", "bfloat16", "winograd"


def network(single: UNet, precision: str, images: Tensor, sigma: Tensor) -> Runner:
    """The network in the precision asked for; ``auto`` decides by the processor, the noise and the image."""
    small = images.shape[-2] * images.shape[-1] <= SMALL
    form = DIRECT if small or not _winograd_is_quicker(images.device.type, single.architecture) else WINOGRAD
    if precision == "auto":
        coarse = float(sigma) >= ROUNDING * float(images.std(correction=0))
        precision = HALF if coarse and _half_is_quicker(images.device.type, form) else DIRECT
    return Runner(_prepared(single, HALF if precision == HALF else form))


@lru_cache(maxsize=16)
def _prepared(single: UNet, form: str) -> Network:
    return _inference(single, form)


def _inference(single: UNet, form: str) -> Network:
    """The network for inference in one of its forms."""
    if form == WINOGRAD:
        from priors._winograd import Winograd

        return Winograd(single)
    from priors._fused_blocks import fused

    return fused(single.in_half() if form == HALF else single)


def _winograd_is_quicker(device: str, architecture: Architecture) -> bool:
    """Whether the project's own kernels take a network and pay."""
    if device != "cpu":
        return False
    from priors._winograd import supported

    return supported(architecture) and _times()[WINOGRAD] < _times()[DIRECT]


def _half_is_quicker(device: str, otherwise: str) -> bool:
    """Whether bfloat16 pays. Processors without it are not even tried, so noise in the timing cannot decide."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    if device != "cpu" or not _computes_in_half():
        return False
    return _times()[otherwise] > WORTH * _times()[HALF]


def _computes_in_half() -> bool:
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@lru_cache(maxsize=1)
def _times() -> dict[str, float]:
    """Best time of a small network in each form, the project's kernels first: torch's threads spin afterwards."""
    import torch

    from priors.networks import Architecture, UNet, placed

    with torch.random.fork_rng(devices=()), torch.no_grad():  # the caller's random numbers stay as they are
        probe = placed(UNet(Architecture(1, (64,), (2,))), "cpu")
        forms = (WINOGRAD, DIRECT, HALF) if _computes_in_half() else (WINOGRAD, DIRECT)
        return {form: _least_seconds(_inference(probe, form)) for form in forms}


def _least_seconds(form: Network) -> float:
    import torch

    v, sigma = torch.zeros(1, 1, SIZE, SIZE), torch.ones(1)
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        with all_threads():
            form.noise(v, sigma)
        times.append(time.perf_counter() - start)
    return min(times[1:])  # the first compiles
