"""Networks prepared for inference equal the plain torch module: odd sizes, borders, batches, what falls back."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import priors
from priors import _fused_blocks, _precision
from priors._precision import Form
from priors._tiling import Runner, tiled
from priors._torch_threads import all_threads, one_thread
from priors._winograd import Winograd, supported
from priors._winograd_tiles import HALVES
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


@pytest.mark.parametrize("shape", [(37, 75), (64, 9)])
def test_images_are_mirrored_up_to_a_multiple(grey: UNet, shape: tuple[int, int]) -> None:
    v, sigma = torch.randn(1, 1, *shape), torch.ones(1)
    around = (0, 0), (0, 0), (0, -shape[0] % 8), (0, -shape[1] % 8)
    longer = torch.from_numpy(np.pad(v.numpy(), around, mode="symmetric"))
    expected = grey.noise(longer, sigma)[..., : shape[0], : shape[1]]
    assert torch.equal(grey.noise(v, sigma), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_fused_blocks_are_the_plain_network(grey: UNet, shape: tuple[int, ...]) -> None:
    v, sigma = torch.randn(shape), torch.linspace(0.5, 1.0, shape[0])
    exact = copy.deepcopy(grey).double().noise(v.double(), sigma.double())
    rounding = (grey.noise(v, sigma) - exact).abs().max()
    assert rounding <= 1e-5 * exact.abs().max()
    assert (_fused_blocks.fused(grey).noise(v, sigma) - exact).abs().max() <= 2 * rounding


def test_half_precision_is_fused_alike(grey: UNet) -> None:
    v, sigma = torch.randn(1, 1, 64, 64), torch.ones(1)
    plain = grey.noise(v, sigma)
    found = _precision._prepared(grey, Form(half=True)).noise(v, sigma)
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
    "architecture", [Architecture(4, (32,), (1,)), Architecture(1, (24,), (1,)), Architecture(1, (528,), (1,))]
)
def test_other_sizes_run_directly(architecture: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not supported(architecture)
    monkeypatch.setattr(_precision, "_seconds", lambda form: 1.0 if form.winograd else 2.0)
    v = torch.zeros(1, architecture.channels, 128, 128)
    found = _precision.network(network(architecture), "float32", v, torch.tensor(1.0))
    assert not isinstance(found.network, Winograd)


QUICKEST = [  # times of single precision and bfloat16, each first directly, then by Winograd's filtering
    ((4.0, 2.0, 3.0, 1.0), "auto", Form(winograd=True)),
    ((4.0, 2.0, 1.0, 3.0), "auto", Form(half=True)),
    ((4.0, 2.0, 3.0, 2.0), "auto", Form(winograd=True)),
    ((1.0, 2.0, 3.0, 3.0), "auto", Form()),
    ((4.0, 2.0, 3.0, 1.0), "float32", Form(winograd=True)),
    ((4.0, 2.0, 9.0, 8.0), "bfloat16", Form(half=True, winograd=True)),
    ((4.0, 2.0, 8.0, 9.0), "bfloat16", Form(half=True)),
]


@pytest.mark.parametrize("times, precision, form", QUICKEST)
def test_the_form_measured_to_be_quickest_runs(
    grey: UNet, times: tuple[float, ...], precision: str, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = (Form(), Form(winograd=True), Form(half=True), Form(half=True, winograd=True))
    monkeypatch.setattr(_precision, "_computes_in_half", lambda: True)
    monkeypatch.setattr(_precision, "_seconds", dict(zip(forms, times, strict=True)).__getitem__)
    if form.winograd and form.half and not HALVES:
        pytest.skip("the processor does not multiply bfloat16")
    v, sigma = torch.zeros(1, 1, 128, 128), torch.tensor(1.0)
    assert _precision.network(grey, precision, v, sigma).network is _precision._prepared(grey, form)
    small = _precision.network(grey, "float32", v[..., :64, :64], sigma)
    assert small.network is _precision._prepared(grey, Form())


@pytest.mark.skipif(not HALVES, reason="the processor does not multiply bfloat16")
@pytest.mark.parametrize("shape", SHAPES)
def test_products_in_half_precision_round_little(shape: tuple[int, ...]) -> None:
    single = priors.load_denoiser("fast-grey")
    v, sigma = torch.randn(shape), torch.ones(shape[0])
    found, plain = Winograd(single, half=True).noise(v, sigma), single.noise(v, sigma)
    assert (found - plain).abs().max() <= 0.1 and (found - plain).square().mean() <= 0.02**2


@pytest.mark.parametrize(
    "half", [False, pytest.param(True, marks=pytest.mark.skipif(not HALVES, reason="no bfloat16"))]
)
def test_tiles_are_the_whole_image(half: bool) -> None:
    runner = Runner(Winograd(priors.load_denoiser("fast-grey"), half))
    rows, columns = np.mgrid[:300, :500]
    v = torch.from_numpy(np.float32(np.sin(rows / 9) * np.cos(columns / 7)))[None, None]
    v, sigma = v + 0.2 * torch.randn(v.shape), torch.tensor(0.2)
    whole = tiled(runner, v, sigma, 1024)
    assert (tiled(runner, v, sigma, 96) - whole).abs().max() <= 1e-5


def test_several_threads_denoise_at_once() -> None:
    quick = Winograd(network(Architecture(1, (32, 64), (1, 1, 1))))
    images = [torch.randn(1, 1, size, 90) for size in (90, 90, 70, 90)] * 3
    alone = [quick.noise(v, torch.ones(1)) for v in images]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda v: quick.noise(v, torch.ones(1)), images)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


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
