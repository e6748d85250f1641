"""By which arithmetic and kernels a network runs here: measured once for a process, among those that there are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from priors._tiling import Network, Runner
from priors._torch_threads import all_threads

if TYPE_CHECKING:
    from torch import Tensor

    from priors.networks import UNet

ROUNDING = 0.3
"""Least noise level over the image's standard deviation at which half precision is taken: what it rounds differently in
another unit of the image is a tenth of the noise at some pixel of a large image."""
COARSE = 0.1 * ROUNDING
"""The same for images that are denoised again: what was rounded is noise that the next step takes off."""
WORTH = 1.1
"""How much quicker than single precision half precision has to be."""
SMALL = 64 * 64
"""Pixels of an image up to which there is nothing to gain from kernels that have to be loaded first."""
ROUNDS = 4
SIZE = 192
REST = 0.01
"""Seconds until threads that spin after what was timed before have come to rest."""


@dataclass(frozen=True)
class Form:
    """One way to run a network."""

    half: bool = False
    winograd: bool = False


def network(single: UNet, precision: str, images: Tensor, sigma: Tensor) -> Runner:
    """The network in the precision asked for; ``auto`` and ``coarse`` decide by the processor, the noise and the image.

    By itself it takes no bfloat16 in Winograd's form, which rounds twice as coarsely: a hundredth of the noise.
    """
    device = images.device.type
    kernels = device == "cpu" and images.shape[-2] * images.shape[-1] > SMALL and _taken(single)
    form = _quickest(precision == "bfloat16", kernels)
    least = {"auto": ROUNDING, "coarse": COARSE}.get(precision)
    if least is not None and float(sigma) >= least * float(images.std(correction=0)):
        form = Form(half=True) if _half_is_quicker(device, form) else form
    return Runner(_prepared(single, form))


@lru_cache(maxsize=8)
def _prepared(single: UNet, form: Form) -> Network:
    return _inference(single, form)


def _inference(single: UNet, form: Form) -> Network:
    if form.winograd:
        from priors._winograd import Winograd

        return Winograd(single, form.half)
    from priors._fused_blocks import fused

    return fused(single.in_half() if form.half else single)


def _taken(single: UNet) -> bool:
    """Whether the project's own kernels take the network."""
    from priors._winograd import supported

    return supported(single.architecture)


def _quickest(half: bool, kernels: bool) -> Form:
    """The quicker form in one precision, with or without the project's own kernels."""
    direct, winograd = Form(half), Form(half, winograd=True)
    return winograd if kernels and _seconds(winograd) < _seconds(direct) else direct


def _half_is_quicker(device: str, single: Form) -> bool:
    """Whether bfloat16 pays. Processors without it are not even tried, so noise in the timing cannot decide."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return device == "cpu" and _computes_in_half() and _seconds(single) > WORTH * _seconds(Form(half=True))


def _computes_in_half() -> bool:
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _there(form: Form) -> bool:
    """Whether this processor has a form."""
    from priors._winograd_tiles import COMPILED, HALVES

    if form.winograd:
        return HALVES if form.half else COMPILED
    return _computes_in_half() or not form.half


@lru_cache(maxsize=4)
def _seconds(form: Form) -> float:
    """Best time of a small network; without end where the processor does not have the form."""
    import torch

    from priors.networks import Architecture, UNet, placed

    if not _there(form):
        return float("inf")
    with torch.random.fork_rng(devices=()), torch.no_grad():  # the caller's random numbers stay as they are
        network = _inference(placed(UNet(Architecture(1, (64,), (2,))), "cpu"), form)
        v, sigma = torch.zeros(1, 1, SIZE, SIZE), torch.ones(1)
        network.noise(v, sigma)  # compiles
        time.sleep(REST)
        with all_threads():
            return min(_timed(network, v, sigma) for _ in range(ROUNDS))


def _timed(network: Network, v: Tensor, sigma: Tensor) -> float:
    start = time.perf_counter()
    network.noise(v, sigma)
    return time.perf_counter() - start
