"""The settings that come with the documentation: networks of the size they say, that train and can be tiled."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from priors import _precision, _tiling
from priors.networks import Architecture, placed
from recon.learn import Settings

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "training"
LARGEST = 16 * 2**20


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_settings_give_networks_that_train(path: Path) -> None:
    settings = Settings.read(path)
    torch.manual_seed(0)
    network = settings.network()
    assert 2 * sum(weight.numel() for weight in network.parameters()) <= LARGEST
    v = torch.randn(1, settings.channels, 24, 24)
    loss = (network(v, torch.tensor([0.1])) - 0.5 * v).square().sum()
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert any(bool(gradient.any()) for gradient in gradients)


def test_the_large_network_is_tiled_without_seams() -> None:
    torch.manual_seed(0)
    settings = Settings.read(FOLDER / "quality.toml")
    network = placed(settings.network(), "cpu").requires_grad_(False)
    assert isinstance(settings.architecture, Architecture)
    for name, weight in network.named_parameters():
        if name.endswith("second.weight") or name.startswith("tail"):
            torch.nn.init.normal_(weight, std=0.02)
    v, sigma = torch.randn(1, 1, 44, 2 * settings.architecture.halo + 96), torch.tensor(0.5)
    whole = _tiling.tiled(_tiling.Runner(network), v, sigma, 4096)
    tiles = _tiling.tiled(_precision.network(network, "float32", v, sigma), v, sigma, 64)
    assert float((tiles - whole).abs().max()) < 1e-4 * float(whole.abs().max())
    assert float((whole - v).abs().max()) > 0.05
