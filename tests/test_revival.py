"""Features that died: they get fresh weights, live, and leave what the network computes as it was."""

from __future__ import annotations

import copy

import pytest
import torch

from priors.networks import Architecture, UNet
from recon.learn.revival import revive


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    network = UNet(Architecture(1, (16, 32), (2, 1, 1)))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return network


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, 32, 32, generator=generator), torch.tensor([0.1, 0.2])


def killed(network: UNet, features: list[int]) -> None:
    """Their weights look at the noise level alone, with the wrong sign: the level enters a feature of its own."""
    with torch.no_grad():
        network.head.weight[3] = 0
        network.head.weight[3, -1] = 1.0  # positive wherever the level is
        block = network.down[0][0]
        block.first.weight[features] = 0
        block.first.weight[features, 3] = -1.0


def alive(network: UNet, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    found = []
    hook = network.down[0][0].first.register_forward_hook(lambda *given: found.append((given[2] > 0).any((0, 2, 3))))
    network(*batch)
    hook.remove()
    return found[0]


def gradients(network: UNet, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    network.zero_grad()
    network(*batch).square().sum().backward()
    return network.down[0][0].second.weight.grad.abs().amax((0, 2, 3))


def test_dead_features_live_again_and_the_answer_stays(network: UNet, batch) -> None:
    dead = [2, 5, 11]
    killed(network, dead)
    assert not gradients(network, batch)[dead].any()  # so no training brings them back
    before, others = network(*batch), copy.deepcopy(network.state_dict())
    assert revive(network, *batch, seed=3) == len(dead)
    torch.testing.assert_close(network(*batch), before)
    assert alive(network, batch).all()
    assert (gradients(network, batch)[dead] > 0).all()
    kept = [k for k in range(16) if k not in dead]
    for name, weight in network.state_dict().items():
        if name == "down.0.0.first.weight":
            torch.testing.assert_close(weight[kept], others[name][kept], rtol=0, atol=0)
        elif name != "down.0.0.second.weight":
            torch.testing.assert_close(weight, others[name], rtol=0, atol=0)


def test_nothing_happens_to_what_lives(network: UNet, batch) -> None:
    revive(network, *batch, seed=2)  # one is dead by chance
    before = copy.deepcopy(network.state_dict())
    assert revive(network, *batch, seed=3) == 0
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, before[name])


def test_the_mean_of_the_weights_follows(network: UNet, batch) -> None:
    killed(network, [4])
    mean = copy.deepcopy(network)
    revive(network, *batch, seed=3, mean=mean)
    torch.testing.assert_close(mean(*batch), network(*batch))
    assert torch.equal(mean.down[0][0].first.weight[4], network.down[0][0].first.weight[4])


def test_the_same_seed_gives_the_same_weights(network: UNet, batch) -> None:
    killed(network, [4, 6])
    other = copy.deepcopy(network)
    revive(network, *batch, seed=3)
    revive(other, *batch, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
