"""Networks prepared for inference equal the plain torch module: odd sizes, borders, batches, what falls back."""

from __future__ import annotations

import pytest
import torch

from priors import _fused_blocks, _precision
from priors._torch_threads import all_threads, one_thread
from priors._winograd import Winograd, supported
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
    found = _precision._prepared(grey, _precision.HALF).noise(v, sigma)
    assert (found - plain).abs().max() <= 1.2 * (grey.in_half().noise(v, sigma) - plain).abs().max()


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 130, 121)])
def test_winograd_is_the_plain_network(grey: UNet, shape: tuple[int, ...]) -> None:
    v, sigma = torch.randn(shape), torch.linspace(0.5, 1.0, shape[0])
    plain = grey.noise(v, sigma)
    quick = Winograd(grey)
    for _ in range(2):  # the second time in what the first left behind
        assert (quick.noise(v, sigma) - plain).abs().max() <= 1e-5 * plain.abs().max()


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(3, (16,), (2,)),
        Architecture(2, (48, 16), (1, 0, 1)),
        Architecture(1, (16, 32, 16), (1, 1, 1, 0, 1)),
    ],
)
def test_winograd_of_other_sizes(architecture: Architecture) -> None:
    plain = network(architecture)
    v, sigma = torch.randn(1, architecture.channels, 30, 46), torch.ones(1)
    expected = plain.noise(v, sigma)
    assert supported(architecture)
    assert (Winograd(plain).noise(v, sigma) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    "architecture", [Architecture(4, (32,), (1,)), Architecture(1, (24,), (1,)), Architecture(1, (256,), (1,))]
)
def test_other_sizes_run_directly(architecture: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not supported(architecture)
    monkeypatch.setattr(_precision, "_times", lambda: {_precision.WINOGRAD: 1.0, _precision.DIRECT: 2.0})
    v = torch.zeros(1, architecture.channels, 128, 128)
    found = _precision.network(network(architecture), "float32", v, torch.tensor(1.0))
    assert not isinstance(found.network, Winograd)


def test_what_is_measured_to_be_quickest_runs(grey: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    v, sigma = torch.zeros(1, 1, 128, 128), torch.tensor(1.0)
    monkeypatch.setattr(_precision, "_computes_in_half", lambda: True)
    for times, precision, form in (
        ((1.0, 2.0, 1.0), "auto", "winograd"),
        ((1.0, 2.0, 0.8), "auto", "bfloat16"),
        ((1.0, 2.0, 0.8), "float32", "winograd"),
        ((1.0, 2.0, 3.0), "bfloat16", "bfloat16"),
        ((2.0, 1.0, 1.0), "auto", "float32"),
    ):
        measured = dict(zip(("winograd", "float32", "bfloat16"), times, strict=True))
        monkeypatch.setattr(_precision, "_times", lambda measured=measured: measured)
        assert _precision.network(grey, precision, v, sigma).network is _precision._prepared(grey, form)
    assert _precision.network(grey, "float32", v[..., :64, :64], sigma).network is _precision._prepared(grey, "float32")


def test_torch_has_its_threads_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
        with all_threads():
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_a_processor_that_fuses_nothing_runs_the_network_itself(grey: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("unsupported")

    monkeypatch.setattr(_fused_blocks, "_packed", refuse)
    assert _fused_blocks.fused(grey) is grey
