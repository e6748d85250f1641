"""Networks prepared for inference equal the plain torch module: odd sizes, borders, batches, what falls back."""

from __future__ import annotations

import pytest
import torch

from priors import _fused_blocks, _precision
from priors.networks import Architecture, UNet, placed


def network(architecture: Architecture, seed: int = 0) -> UNet:
    """Random weights, none of them zero, of a size that keeps features of order one."""
    torch.manual_seed(seed)
    made = placed(UNet(architecture), "cpu").eval().requires_grad_(False)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=float(weight[0].numel() ** -0.5))
    return made


@pytest.fixture(scope="module")
def grey() -> UNet:
    return network(Architecture(1, (32, 64, 128), (1, 2, 1, 1, 1)))


SHAPES = [(1, 1, 64, 64), (3, 1, 40, 56), (1, 1, 37, 75), (2, 1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_fused_blocks_are_the_plain_network(grey: UNet, shape: tuple[int, ...]) -> None:
    v, sigma = torch.randn(shape), torch.linspace(0.5, 1.0, shape[0])
    plain = grey.noise(v, sigma)
    found = _fused_blocks.fused(grey).noise(v, sigma)
    assert (found - plain).abs().max() <= 1e-6 * plain.abs().max()


def test_half_precision_is_fused_alike(grey: UNet) -> None:
    v, sigma = torch.randn(1, 1, 64, 64), torch.ones(1)
    plain = grey.noise(v, sigma)
    found = _precision._prepared(grey, True).noise(v, sigma)
    assert (found - plain).abs().max() <= 1.2 * (grey.in_half().noise(v, sigma) - plain).abs().max()


def test_a_processor_that_fuses_nothing_runs_the_network_itself(grey: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("unsupported")

    monkeypatch.setattr(_fused_blocks, "_packed", refuse)
    assert _fused_blocks.fused(grey) is grey
