"""Learned denoisers: equivariance, tiles, bands, complex images, gradients, and what is refused."""

from __future__ import annotations

import doctest
import hashlib
import json
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

import priors
from priors import Denoiser, _precision, _tiling, denoisers, weights
from priors._colours import like_a_photograph
from priors._decorrelation import Transform
from priors.networks import Architecture, UNet, start_from
from solvers.errors import ArgumentError, DTypeError, FileError, OptionError, ShapeError
from solvers.weight_files import REGISTRY

SIGMA = 25 / 255
SINGLE = Denoiser(precision="float32")


def scene(rows: int = 61, columns: int = 74) -> np.ndarray:
    """Discs, stripes and a ramp in [0, 1]: something to keep under the noise."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    image = 0.3 + 0.3 * x / columns + 0.2 * (((x - 20) ** 2 + (y - 30) ** 2) < 200) + 0.15 * (np.sin(y / 3) > 0)
    return image.astype(np.float32)


def noisy(clean: np.ndarray, sigma: float = SIGMA, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(clean.shape).astype(np.float32)
    return clean + np.float32(sigma) * noise


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean(np.abs(image - clean) ** 2)))


@pytest.fixture
def file_of_weights(tmp_path: Path) -> Path:
    """A small untrained network in a file, its tail not zero."""
    torch.manual_seed(0)
    network = UNet(Architecture(1, (8, 8), (1, 1, 1)))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    path = tmp_path / "own.safetensors"
    weights.write(path, weights.Weights(network.state_dict(), network.architecture.as_dict(), {"made": "here"}))
    return path


def test_noise_goes_and_the_image_stays() -> None:
    clean = scene()
    image = SINGLE(noisy(clean), SIGMA)
    assert psnr(image, clean) > psnr(noisy(clean), clean) + 8
    assert psnr(SINGLE(clean, 2 / 255), clean) > 42


@pytest.mark.parametrize("scale, offset", [(10_000.0, 0.0), (3000.0, -1024.0), (1e-6, 0.0), (0.2, 5.0)])
def test_every_unit_gives_the_same_image(scale: float, offset: float) -> None:
    v = noisy(scene()).astype(np.float64)
    other = SINGLE(scale * v + offset, scale * SIGMA)
    assert np.abs((other - offset) / scale - SINGLE(v, SIGMA)).max() < 1e-5


def test_for_quality_the_answer_turns_with_the_image() -> None:
    quality, v = Denoiser("quality", precision="float32"), noisy(scene())
    found = quality(v, SIGMA)
    for turned, back in ((np.rot90, partial(np.rot90, k=-1)), (np.fliplr, np.fliplr)):
        assert np.abs(back(quality(turned(v).copy(), SIGMA)) - found).max() < 1e-5
        assert np.abs(back(SINGLE(turned(v).copy(), SIGMA)) - SINGLE(v, SIGMA)).max() > 1e-3
    errors = [psnr(np.rot90(SINGLE(np.rot90(v, k).copy(), SIGMA), -k), scene()) for k in range(4)]
    assert psnr(found, scene()) > np.mean(errors)


def test_half_precision_costs_little() -> None:
    clean = scene()
    half = Denoiser(precision="bfloat16")(noisy(clean), SIGMA)
    assert abs(psnr(half, clean) - psnr(SINGLE(noisy(clean), SIGMA), clean)) < 0.05


def test_half_precision_is_taken_only_well_above_its_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_precision, "_half_is_quicker", lambda *_: True)
    single = priors.load_denoiser("fast-grey")
    images = torch.from_numpy(scene())[None, None]
    spread = float(images.std(correction=0))
    taken = {"auto": _precision.ROUNDING, "coarse": _precision.COARSE}
    cases = [(name, factor * least, factor > 1) for name, least in taken.items() for factor in (0.9, 1.1)]
    for precision, level, half in (*cases, ("float32", 1.0, False)):
        found = _precision.network(single, precision, images, torch.tensor(level * spread)).network
        assert (found is _precision._prepared(single, _precision.Form(half=True))) == half


def test_the_same_input_gives_the_same_bits() -> None:
    v = noisy(scene())
    before = v.copy()
    assert np.array_equal(Denoiser()(v, SIGMA), Denoiser()(v, SIGMA))
    assert np.array_equal(v, before)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2), (17, 9), (64, 33)])
def test_any_size(shape: tuple[int, int]) -> None:
    v = noisy(np.zeros(shape, np.float32))
    image = SINGLE(v, SIGMA)
    assert image.shape == shape and np.isfinite(image).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_the_dtype_stays(dtype: type) -> None:
    assert SINGLE(noisy(scene(20, 20)).astype(dtype), SIGMA).dtype == dtype


def test_integers_are_taken_by_their_values() -> None:
    v = np.round(1000 * noisy(scene()))
    assert np.allclose(SINGLE(v.astype(np.int16), 1000 * SIGMA), SINGLE(v.astype(np.float32), 1000 * SIGMA))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tiles_leave_no_seams(precision: str) -> None:
    v = noisy(scene(413, 290))
    whole = Denoiser(precision=precision)(v, SIGMA)
    tiles = Denoiser(precision=precision, tile=96)(v, SIGMA)
    assert np.abs(whole - tiles).max() <= 1e-4


@pytest.mark.parametrize("widths, blocks", [((8,), (3,)), ((8, 8), (1, 2, 1)), ((4, 8, 8), (1, 0, 2, 1, 0))])
def test_the_halo_holds_all_that_a_pixel_depends_on(widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    architecture = Architecture(1, widths, blocks)
    network = UNet(architecture).double()
    for weight in network.parameters():
        torch.nn.init.uniform_(weight, 0.01, 0.1)  # positive: nothing cancels, no unit is off
    size = 2 * architecture.halo + 3 * architecture.multiple
    v = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    centre = slice(architecture.halo + architecture.multiple, architecture.halo + 2 * architecture.multiple)
    network(v, torch.ones(1))[..., centre, centre].sum().backward()
    touched = v.grad[0, 0].abs().amax(0).nonzero()
    assert touched.min() >= centre.start - architecture.halo and touched.max() < centre.stop + architecture.halo
    assert touched.min() < centre.start - architecture.halo + 2 * architecture.multiple  # and it is not wasteful


@pytest.mark.parametrize("length, tile", [(1000, 256), (97, 64), (64, 64), (1, 64)])
def test_windows_cover_an_axis_once(length: int, tile: int) -> None:
    found = list(_tiling.windows(length, tile, 8, 16))
    assert [i for w in found for i in range(length)[w.own]] == list(range(length))
    for w in found:
        assert list(range(length))[w.read][w.inside] == list(range(length))[w.own]
        assert w.read.start % 8 == 0


def test_a_batch_is_a_loop() -> None:
    batch = np.stack([noisy(scene(), seed=i) for i in range(4)]).reshape(2, 2, *scene().shape)
    levels = np.array([[0.05, 0.1], [0.2, 0.0]], np.float32)
    together = SINGLE(batch, levels)
    for index in np.ndindex(2, 2):
        assert np.allclose(together[index], SINGLE(batch[index], levels[index]), atol=1e-6)
    assert np.array_equal(together[1, 1], batch[1, 1])
    assert np.allclose(SINGLE(batch, 0.1)[0, 1], together[0, 1], atol=1e-6)


def test_tensors_are_denoised_alike_with_gradients() -> None:
    v = torch.from_numpy(noisy(scene(24, 30))).double().requires_grad_()
    sigma = torch.tensor(SIGMA, dtype=torch.float64, requires_grad=True)
    image = SINGLE(v, sigma)
    assert np.allclose(image.detach().numpy(), SINGLE(v.detach().numpy(), SIGMA), atol=1e-6)
    weight = torch.from_numpy(np.random.default_rng(2).standard_normal(v.shape))
    found = torch.autograd.grad((weight * image).sum(), (v, sigma))
    mean, network = v.mean(), priors.load_denoiser("fast-grey")
    plain = mean + network((v - mean).float()[None, None], sigma.float()[None])[0, 0]
    for ours, expected in zip(found, torch.autograd.grad((weight * plain).sum(), (v, sigma)), strict=True):
        assert torch.allclose(ours, expected, atol=1e-4)


def test_gradients_of_a_network() -> None:
    torch.manual_seed(0)
    network = UNet(Architecture(1, (4, 6), (1, 1, 1))).double()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    v = torch.randn(1, 1, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (v, torch.ones(1, dtype=torch.float64, requires_grad=True)), eps=1e-7)


@pytest.mark.parametrize(
    "bands, dtype", [(1, torch.float64), (4, torch.float64), (1, torch.complex128), (3, torch.complex128)]
)
def test_components_are_unitary(bands: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.standard_normal((bands, 30, 20)) + 1j * rng.standard_normal((bands, 30, 20)) + 2)
    image = image if dtype.is_complex else image.real.clone()
    transform = Transform.of(image, 1)
    components = transform.split(image)
    assert components.shape == (bands * (2 if dtype.is_complex else 1), 1, 30, 20)
    assert not components.is_complex()
    assert torch.allclose(transform.join(components), image)
    assert components.mean((1, 2, 3)).abs().max() < 1e-12
    change = torch.randn_like(components)
    moved = transform.join(components + change) - image
    assert torch.allclose(moved.norm(), change.norm())  # white noise keeps its level


def test_bands_together_beat_band_by_band() -> None:
    spectra = np.array([0.4, 0.7, 1.0, 0.8, 0.5, 0.3], np.float32)
    clean = spectra[:, None, None] * scene() + 0.1 * scene()[::-1] * spectra[::-1, None, None]
    v = noisy(clean)
    assert psnr(Denoiser(channels=True)(v, SIGMA), clean) > psnr(Denoiser()(v, SIGMA), clean) + 1


def test_complex_images_keep_magnitude_and_phase() -> None:
    magnitude = scene(96, 96)
    y, x = np.mgrid[:96, :96] / 96
    clean = magnitude * np.exp(1j * (4 * x + 3 * y**2))
    v = noisy(clean.real) + 1j * noisy(clean.imag, seed=1)
    image = SINGLE(v.astype(np.complex64), SIGMA)
    apart = SINGLE(v.real, SIGMA) + 1j * SINGLE(v.imag, SIGMA)
    assert psnr(image, clean) > psnr(apart, clean) > psnr(v, clean)
    turned = SINGLE(v * np.exp(1.1j), SIGMA)
    assert np.allclose(turned, image * np.exp(1.1j), atol=1e-5)


def test_the_example_in_the_docstring() -> None:
    for module in (denoisers, weights):
        assert doctest.testmod(module).failed == 0


def test_it_pickles() -> None:
    copy = pickle.loads(pickle.dumps(SINGLE))
    assert copy == SINGLE


@pytest.mark.parametrize("name", priors.available())
def test_each_file_is_the_registered_one_and_has_its_card(name: str) -> None:
    registry = json.loads((weights.FOLDER / REGISTRY).read_text(encoding="utf-8"))
    content = (weights.FOLDER / registry[name]["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == registry[name]["sha256"]
    assert len(content) <= 16 * 2**20
    assert (weights.FOLDER / f"{name}.md").is_file()


def test_every_denoiser_loads() -> None:
    denoisers = [name for name in priors.available() if name != "ridge"]
    assert denoisers and all(priors.load_denoiser(name).architecture.channels in (1, 3) for name in denoisers)


def test_every_file_of_weights_is_registered() -> None:
    assert {path.stem for path in weights.FOLDER.glob("*.safetensors")} == set(priors.available())


def test_a_flipped_bit_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in weights.FOLDER.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    damaged = bytearray((tmp_path / "fast-grey.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "fast-grey.safetensors").write_bytes(damaged)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(FileError, match=r"fast-grey.safetensors is damaged: its SHA-256 is"):
        weights.read("fast-grey")


def test_weights_of_ones_own(file_of_weights: Path) -> None:
    v = noisy(scene(32, 32))
    image = Denoiser(file_of_weights, precision="float32")(v, SIGMA)
    assert not np.allclose(image, v)
    assert weights.read(file_of_weights).card == {"made": "here"}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".pkl"])
def test_pickles_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"drunet{suffix}"
    torch.save({}, path)
    with pytest.raises(FileError, match=rf"drunet{suffix} is a pickle.*Convert it"):
        Denoiser(path)(scene(), SIGMA)


@pytest.mark.parametrize(
    "content, message", [(b"", "whole"), (b"\x08\0\0\0\0\0\0\0{}      ", "holds no denoiser"), (b"x" * 90, "whole")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message):
        weights.read(path)


def test_wrong_arguments() -> None:
    with pytest.raises(OptionError, match="Did you mean 'fast-grey'"):
        Denoiser("fast-gray")(scene(), SIGMA)
    with pytest.raises(FileError, match="cannot be read"):
        Denoiser("nowhere.safetensors")(scene(), SIGMA)
    with pytest.raises(OptionError, match="precision"):
        Denoiser(precision="half")
    with pytest.raises(DTypeError, match="name"):
        Denoiser(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="tile"):
        Denoiser(tile=8)
    with pytest.raises(ShapeError, match="at least 3 axes"):
        Denoiser(channels=True)(scene(), SIGMA)
    with pytest.raises(ShapeError, match="sigma has shape"):
        SINGLE(scene()[None], np.ones(3))
    with pytest.raises(ArgumentError, match="at least 0"):
        SINGLE(scene(), -0.1)


def test_wrong_networks() -> None:
    with pytest.raises(ArgumentError, match="blocks is"):
        Architecture(1, (8, 8), (1, 1))
    network = UNet(Architecture(3, (8,), (1,)))
    with pytest.raises(ShapeError, match=r"\(batch, 3, rows, columns\)"):
        network(torch.zeros(1, 1, 8, 8), torch.ones(1))
    with pytest.raises(ShapeError, match="sigma"):
        network(torch.zeros(2, 3, 8, 8), torch.ones(1))


def test_a_colour_network_starts_from_a_grey_one() -> None:
    grey = priors.load_denoiser("fast-grey")
    colour = UNet(Architecture(3, grey.architecture.widths, grey.architecture.blocks))
    assert start_from(colour, grey.state_dict()) == []
    v = torch.from_numpy(noisy(scene()))[None, None]
    with torch.no_grad():
        expected = grey(v, torch.tensor([SIGMA])).expand(1, 3, -1, -1)
        assert torch.allclose(colour(v.expand(1, 3, -1, -1), torch.tensor([SIGMA])), expected, atol=1e-5)


def test_loading_leaves_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    denoisers._loaded.cache_clear()
    priors.load_denoiser("fast-grey")
    assert torch.equal(torch.rand(3), expected)


def test_loading_reaches_for_no_network() -> None:
    code = (
        "import socket, torch\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "import priors; priors.load_denoiser('fast-grey')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_three_bands_take_both_networks_where_they_are_like_a_photograph() -> None:
    photo = np.moveaxis(data.coffee()[72:328, 172:428] / np.float32(255), -1, 0)
    negative = photo * np.array([1, 1, -1], np.float32)[:, None, None]
    grey = Denoiser("fast-grey", channels=True)
    for bands, colour in ((photo, True), (negative, False)):
        y = bands + np.float32(SIGMA) * np.random.default_rng(0).standard_normal(bands.shape).astype(np.float32)
        taken, other = Denoiser(channels=True)(y, SIGMA), grey(y, SIGMA)
        assert bool(np.abs(taken - other).max() > 1e-3) is colour
        if colour:
            both = 0.5 * (other + Denoiser("fast-colour", channels=True)(y, SIGMA))
            np.testing.assert_allclose(taken, both, atol=1e-5)
            assert np.linalg.norm(taken - bands) < np.linalg.norm(other - bands)


def test_where_noise_hides_the_edges_bands_are_taken_for_a_photograph() -> None:
    y = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 40, 40)))
    assert like_a_photograph(y, torch.tensor(1.0))
    edge = torch.arange(40.0).expand(40, 40) > 19
    assert not like_a_photograph(torch.stack([20.0 * edge, 20.0 * edge, -20.0 * edge]) + y, torch.tensor(1.0))
