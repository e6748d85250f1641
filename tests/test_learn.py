"""Training of denoisers: patches, noise, steps that resume, files, and what is refused."""

from __future__ import annotations

import copy
import itertools
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from priors import Denoiser, load_denoiser, weights
from priors.networks import UNet
from recon import cli, files
from recon.learn import Settings, Source, adapt_denoiser, adaptation, train_denoiser
from recon.learn import denoiser as training
from recon.learn import noise as noises
from recon.learn import trainer as trainer_module
from recon.learn.checkpoint import Progress
from recon.learn.images import collect, turned
from recon.learn.optimiser import Muon, mean_of, orthogonalised
from recon.learn.teacher import Teacher
from recon.learn.trainer import Trainer
from recon.learn.validation import validate
from solvers.errors import ArgumentError, FileError, NonFiniteError, OptionError, ShapeError

TINY = Settings(widths=(8,), blocks=(1,), batch=4, patch=16, validation=1, learning_rate=3e-3)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight small grey photographs: discs on ramps."""
    folder = tmp_path / "photos"
    folder.mkdir()
    y, x = np.mgrid[:40, :48]
    for i in range(8):
        image = 60 + 2.0 * x + 80 * ((x - 6 * i) ** 2 + (y - 20) ** 2 < 80)
        files.write(folder / f"{i}.png", image.clip(0, 255).astype(np.uint8))
    return folder


def images(folder: Path, settings: Settings = TINY):
    return collect([Source(folder)], settings.channels, settings.patch, settings.validation)


def steps(trainer: Trainer, data, numbers: range) -> None:
    with trainer.pool() as executor:
        for count in numbers:
            trainer.step(data, count, count / 40, executor)


def test_training_learns_to_denoise(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "WARM_UP", 5)
    trainer, data = Trainer(TINY, "cpu", cores=2), images(photos)
    held_out = data.held_out["photos"]
    before = validate(trainer.mean, held_out)
    steps(trainer, data, range(40))
    assert validate(trainer.mean, held_out)[2] > before[2] + 2


def test_a_training_that_runs_away_goes_back_and_on(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "WARM_UP", 5)
    trainer, data = Trainer(TINY, "cpu", cores=1), images(photos)
    steps(trainer, data, range(20))
    good = {name: weight.clone() for name, weight in trainer.mean.state_dict().items()}
    with torch.no_grad():
        trainer.network.tail.weight.fill_(math.inf)  # what one step too large may do
    steps(trainer, data, range(20, 20 + trainer_module.PATIENCE))
    for name, weight in trainer.network.state_dict().items():
        torch.testing.assert_close(weight, good[name], rtol=0, atol=0)
    assert trainer.slowed == 0.5
    before = trainer.usual
    steps(trainer, data, range(30, 40))
    assert trainer.usual < 1.2 * before


def test_an_interrupted_training_goes_on_to_the_same_bits(photos: Path, tmp_path: Path) -> None:
    data = images(photos)
    whole, first, second = (Trainer(TINY, "cpu", cores=2) for _ in range(3))
    steps(whole, data, range(6))
    steps(first, data, range(3))
    first.save(tmp_path / "c.safetensors", Progress(3, 1.5, [{"minutes": 0.1}]))
    state = second.resume(tmp_path / "c.safetensors")
    assert (state.steps, state.seconds, state.history) == (3, 1.5, [{"minutes": 0.1}])
    steps(second, data, range(3, 6))
    for group, tensors in whole.groups().items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, second.groups()[group][name]), (group, name)


def test_a_teacher_hands_on_its_mean_over_the_eight_positions() -> None:
    network, rng = load_denoiser("fast-grey"), torch.Generator().manual_seed(0)
    y, x = np.mgrid[:24, :24]
    clean = torch.from_numpy(((x - 12) ** 2 + (y - 9) ** 2 < 50).astype(np.float32)).expand(2, 1, 24, 24)
    sigma = torch.tensor([0.1, 0.2])
    noisy = clean + sigma.view(-1, 1, 1, 1) * torch.randn(clean.shape, generator=rng)
    positions = [(k, axes) for k in range(4) for axes in ([], [3])]
    quality = (
        sum(
            torch.rot90(network(torch.rot90(noisy.flip(f), k, (2, 3)), sigma), -k, (2, 3)).flip(f) for k, f in positions
        )
        / 8
    )
    alone = [Teacher(network, (1.0, 1.0)).target(0 * clean, noisy, sigma, count, 0.0) for count in range(8)]
    assert float((sum(alone) / 8 - quality).abs().max()) < 0.003  # half precision
    assert all(float((one - quality).abs().max()) > 0.01 for one in alone)
    half = Teacher(network, (1.0, 0.0)).target(clean, noisy, sigma, 3, 0.7)
    torch.testing.assert_close(half, 0.5 * (clean + alone[3]), atol=1e-5, rtol=0)
    assert Teacher(network, (1.0, 0.0)).target(clean, noisy, sigma, 3, 1.0) is clean


def test_threads_of_torch_are_given_back(photos: Path) -> None:
    before = torch.get_num_threads()
    steps(Trainer(TINY, "cpu", cores=2), images(photos), range(1))
    assert torch.get_num_threads() == before


def test_a_training_leaves_weights_card_and_checkpoint(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    lines: list[str] = []
    state = train_denoiser([Source(photos, 2)], out, minutes=0.01, settings=TINY, device="cpu", progress=lines.append)
    assert state.steps and state.history and "PSNR" in lines[-1]
    v = np.random.default_rng(0).standard_normal((20, 20)).astype(np.float32)
    assert Denoiser(out)(v, 1.0).shape == v.shape
    card = (tmp_path / "mine.md").read_text(encoding="utf-8")
    assert "recon train --data" in card and "photos:2" in card
    assert str(tmp_path) not in card and str(tmp_path) not in json.dumps(weights.read(out).card)
    assert (tmp_path / "mine.png").exists()
    again = train_denoiser([Source(photos)], out, minutes=0.01, settings=TINY, device="cpu")
    assert again.steps == state.steps  # the time is spent


def test_an_interruption_leaves_a_checkpoint(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer.step

    def interrupted(self, data, count, *rest):
        if count == 2:
            raise KeyboardInterrupt
        return step(self, data, count, *rest)

    monkeypatch.setattr(Trainer, "step", interrupted)
    monkeypatch.setattr(training, "BETWEEN", 1e9)
    with pytest.raises(KeyboardInterrupt):
        train_denoiser([Source(photos)], tmp_path / "m.safetensors", minutes=9, settings=TINY, device="cpu")
    state = Trainer(TINY, "cpu").resume(tmp_path / "m.checkpoint.safetensors")
    assert state.steps == 2
    assert not (tmp_path / "m.safetensors").exists()


def test_a_leg_ends_early_and_the_next_goes_on(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    call = {"minutes": 20 / 60, "settings": TINY, "device": "cpu", "leg": 8 / 60}
    ends = [train_denoiser([Source(photos)], tmp_path / "m.safetensors", **call).seconds for _ in range(3)]
    assert 8 <= ends[0] < 12 and 16 <= ends[1] < 20 <= ends[2] < 24


def test_refining_starts_from_the_weights_given(photos: Path, tmp_path: Path) -> None:
    data = images(photos)
    trainer = Trainer(TINY, "cpu")
    steps(trainer, data, range(20))
    own = tmp_path / "own.safetensors"
    earlier = {"command": "recon train --data first", "minutes": 1.0, "steps": 20, "machine": "a CPU"}
    weights.write(own, weights.Weights(trainer.mean.state_dict(), TINY.architecture.as_dict(), earlier))
    still = Settings(**{**vars(TINY), "learning_rate": 1e-12})
    train_denoiser([Source(photos)], tmp_path / "m.safetensors", minutes=1e-4, settings=still, start=str(own))
    for name, tensor in weights.read(own).tensors.items():
        assert torch.allclose(weights.read(tmp_path / "m.safetensors").tensors[name], tensor, atol=1e-4)
    assert weights.read(tmp_path / "m.safetensors").card["before"] == [earlier]
    card = (tmp_path / "m.md").read_text(encoding="utf-8")
    assert card.index("recon train --data first") < card.index("--from own")


def test_the_command_line(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("widths = [8]\nblocks = [1]\nbatch = 2\npatch = 16\n[noise]\ngaussian = 1\ncorrelated = 1\n")
    out = tmp_path / "m.safetensors"
    options = ["--minutes", "0.005", "--out", str(out), "--config", str(config), "--device", "cpu"]
    assert cli.main(["train", "--data", f"{photos}:2", *options]) == cli.DONE
    assert out.exists() and "PSNR at 15/25/50" in capsys.readouterr().out
    assert cli.main(["train", "--data", str(tmp_path / "nowhere"), *options]) == cli.WRONG_INPUT


@pytest.mark.parametrize("model", noises.MODELS)
def test_noise_has_the_level_asked_for(model: str) -> None:
    clean = torch.linspace(0, 1, 64 * 64).view(1, 1, 64, 64).expand(2, 3, 64, 64)
    sigma = torch.tensor([0.1, 0.3])
    noise = noises.MODELS[model](clean, sigma, torch.Generator().manual_seed(0))
    assert torch.allclose(noise.square().mean((1, 2, 3)).sqrt(), sigma, rtol=0.05)
    assert noise.mean().abs() < 0.02


def test_noise_models_differ_as_their_names_say() -> None:
    clean = torch.cat((torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)), -1)
    sigma, generator = torch.tensor([0.1]), torch.Generator().manual_seed(0)
    counts = noises.poisson_gaussian(clean, sigma, generator)
    assert counts[..., 64:].std() > 3 * counts[..., :64].std()
    smooth = noises.correlated(clean, sigma, generator)
    neighbours = (smooth[..., 1:] * smooth[..., :-1]).mean() / smooth.square().mean()
    assert float(neighbours) == pytest.approx(2 / 3, abs=0.03)  # (1 4 6 4 1) / 6, the profile with itself
    plain = noises.gaussian(clean, sigma, generator)
    assert abs(float((plain[..., 1:] * plain[..., :-1]).mean() / plain.square().mean())) < 0.03


def test_mixed_noise_draws_each_model() -> None:
    clean = torch.zeros(400, 1, 8, 8)
    noise = noises.mixed(
        clean,
        torch.ones(400),
        torch.Generator().manual_seed(0),
        {"gaussian": 3, "poisson_gaussian": 0, "correlated": 1},
    )
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3)) / noise.square().mean((1, 2, 3))
    assert 0.18 < float((neighbours > 0.35).float().mean()) < 0.32


def test_grey_networks_see_luma_and_each_band(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)
    for i in range(2):
        files.write(tmp_path / f"{i}.png", colour)
    found = images(tmp_path).sources[0]
    luma = (0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]).round() / 255
    assert np.allclose(found[0].patch(0, 0, 20)[0] + found[0].mean, luma[:20, :20], atol=1e-6)
    assert found[0].mean == pytest.approx(luma.mean())
    np.savez(tmp_path / "scene.npz", bands=rng.integers(300, 9000, (5, 30, 30)).astype(np.uint16))
    assert len(images(tmp_path).sources[0]) == 2 + 5 - 1  # one is held out
    assert [p.pixels.shape[0] for p in images(tmp_path, Settings(channels=3, patch=16)).sources[0]] == [3, 3, 3]


def test_deep_images_are_scaled_by_their_range(tmp_path: Path) -> None:
    ramp = np.linspace(1000, 5000, 32 * 32).reshape(32, 32).astype(np.uint16)
    for i in range(2):
        files.write(tmp_path / f"{i}.png", ramp)
    picture = images(tmp_path).sources[0][0]
    patch = picture.patch(0, 0, 32) + picture.mean
    assert patch.min() == pytest.approx(0, abs=0.01) and patch.max() == pytest.approx(1, abs=0.01)


def test_sources_are_drawn_by_their_weights(photos: Path, tmp_path: Path) -> None:
    bright = tmp_path / "bright"
    bright.mkdir()
    for i in range(2):
        image = np.full((20, 20), 5, np.uint8)
        image[0, 0] = 255
        files.write(bright / f"{i}.png", image)
    data = collect([Source(photos, 3), Source(bright, 1)], 1, 16, 0)
    patches = data.patches(np.random.default_rng(0), 400, 16)
    flat = patches[:, 0, 6:-6, 6:-6].std((1, 2)) < 1e-6
    assert 0.18 < flat.mean() < 0.32


def test_of_several_patches_that_of_most_contrast_is_taken(tmp_path: Path) -> None:
    image = np.zeros((64, 64), np.uint8)
    image[:, 32:] = np.arange(0, 256, 8)
    for i in range(2):
        files.write(tmp_path / f"{i}.png", image)
    one = collect([Source(tmp_path)], 1, 16, 0)
    background = {
        n: np.mean([np.ptp(p) == 0 for p in replace(one, choice=n).patches(np.random.default_rng(0), 2000, 16)])
        for n in (1, 3)
    }
    share = 17 / 49  # of the columns that a patch can begin at, those from which it sees no ramp
    assert background[1] == pytest.approx(share, abs=0.03) and background[3] == pytest.approx(share**3, abs=0.02)


def test_the_eight_turns_differ_and_keep_the_pixels() -> None:
    patch = np.arange(9.0).reshape(1, 3, 3)
    found = [turned(patch, i) for i in range(8)]
    assert len({f.tobytes() for f in map(np.ascontiguousarray, found)}) == 8
    assert all(sorted(f.ravel()) == sorted(patch.ravel()) for f in found)


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (12, 12)])
def test_orthogonalised_steps(shape: tuple[int, int]) -> None:
    matrix = torch.from_numpy(np.random.default_rng(0).standard_normal(shape)).float()
    found = orthogonalised(matrix)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.4 and (shape == (12, 12) or values.min() > 0.6)
    assert float((found * (u @ v)).sum() / (found.norm() * (u @ v).norm())) > 0.93


def test_matrices_are_orthogonalised_together_as_one_by_one() -> None:
    matrices = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 6, 20))).float()
    together = orthogonalised(matrices)
    apart = torch.stack([orthogonalised(matrix) for matrix in matrices])
    assert float((together - apart).abs().max()) < 0.02  # the rounding of half precision


def test_a_step_of_two_workers_is_that_of_one() -> None:
    torch.manual_seed(0)
    networks = [UNet(replace(TINY, widths=(4, 8), blocks=(2, 1, 2)).architecture)] * 2
    networks[1] = copy.deepcopy(networks[0])
    gradients = [torch.randn_like(weight) for weight in networks[0].parameters()]
    with ThreadPoolExecutor(2) as executor:
        for count in range(3):
            Muon(networks[0]).step(gradients, 1e-2, count)
            Muon(networks[1], workers=2).step(gradients, 1e-2, count, executor.map)
    for name, weight in networks[0].named_parameters():
        torch.testing.assert_close(networks[1].get_parameter(name), weight, atol=0.01, rtol=0)  # of steps of 0.1 each


def test_batches_drawn_ahead_are_those_drawn_in_time(photos: Path) -> None:
    trainers = [Trainer(TINY, "cpu", cores=1) for _ in range(2)]
    trainers[1].ahead = 3
    for trainer in trainers:
        steps(trainer, images(photos), range(4))
    for weight, other in zip(*(trainer.network.parameters() for trainer in trainers), strict=True):
        assert torch.equal(weight, other)


def test_mean_of_gradients() -> None:
    parts = [[torch.tensor([1.0]), torch.tensor([2.0])], [torch.tensor([3.0]), torch.tensor([6.0])]]
    assert [float(g) for g in mean_of(parts)] == [2.0, 4.0]


def test_other_settings_do_not_resume(photos: Path, tmp_path: Path) -> None:
    Trainer(TINY, "cpu").save(tmp_path / "c.safetensors", Progress())
    other = Settings(**{**vars(TINY), "batch": 8})
    with pytest.raises(FileError, match="other settings: batch = 4; expected batch = 8"):
        Trainer(other, "cpu").resume(tmp_path / "c.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"nothing")
    with pytest.raises(FileError, match="not a whole checkpoint"):
        Trainer(TINY, "cpu").resume(tmp_path / "c.safetensors")


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("bacth = 3", OptionError, "Did you mean 'batch'"),
        ("batch = 0", ArgumentError, "batch is 0"),
        ("ema = 1.5", ArgumentError, "ema is 1.5"),
        ("[noise]\ngausian = 1", OptionError, "Did you mean 'gaussian'"),
        ("[noise]\ngaussian = 0", ArgumentError, "weight above 0"),
        ("blocks = [1]", ArgumentError, "blocks is"),
        ("taught = [0.7]", ArgumentError, "taught is"),
        ("taught = [0.7, 1.4]", ArgumentError, "taught is"),
        ('teacher = "fast-grey"\nkind = "ridge"', ArgumentError, "only networks are taught"),
        ("batch = ", FileError, "is not TOML"),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, error: type, message: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        Settings.read(path)


def test_wrong_arguments(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="'fast-colour', a denoiser of 3 channels; expected 1"):
        Trainer(replace(TINY, teacher="fast-colour"), "cpu")
    with pytest.raises(ArgumentError, match=r"ends in \.safetensors"):
        train_denoiser([Source(photos)], tmp_path / "m.pt", minutes=1, settings=TINY)
    with pytest.raises(ArgumentError, match="minutes"):
        train_denoiser([Source(photos)], tmp_path / "m.safetensors", minutes=0, settings=TINY)
    with pytest.raises(ArgumentError, match="at least one folder"):
        collect([], 1, 16, 1)
    with pytest.raises(FileError, match="0 images of at least 16 x 16"):
        collect([Source(tmp_path / "photos")], 3, 16, 1)
    with pytest.raises(FileError, match="not a folder"):
        collect([Source(tmp_path / "none")], 1, 16, 1)
    with pytest.raises(ArgumentError, match="a folder and its weight"):
        Source.parse("none:much")
    assert Source.parse(f"{photos}:2.5") == Source(photos, 2.5)


def textures(count: int, size: int = 48, seed: int = 0) -> list[np.ndarray]:
    """Images of a few broad stripes, in Hounsfield units or so."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    return [
        1000 * np.sign(np.sin(12 * (rng.normal() * x + rng.normal() * y) + rng.normal())) - 200 for _ in range(count)
    ]


@pytest.fixture
def beginner(tmp_path: Path) -> Path:
    """Weights of a network that removes nothing yet."""
    torch.manual_seed(0)
    path = tmp_path / "beginner.safetensors"
    network = UNet(TINY.architecture)
    weights.write(path, weights.Weights(network.state_dict(), TINY.architecture.as_dict(), {}))
    return path


def test_a_denoiser_adapts_to_a_few_images(beginner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    clock = itertools.count()  # a second passes whenever it is looked at: about forty steps
    monkeypatch.setattr(adaptation, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    adapted = adapt_denoiser(
        textures(4), tmp_path / "own.safetensors", denoiser=beginner, minutes=1.5, sigma=400.0,
        settings=replace(TINY, learning_rate=2e-2), device="cpu", progress=lines.append,
    )  # fmt: skip
    clean = textures(1, seed=5)[0]
    noisy = clean + 400 * np.random.default_rng(0).standard_normal(clean.shape)
    assert np.std(adapted(noisy, 400.0) - clean) < 340
    assert "dB on 4 images" in lines[0]
    card = weights.read(tmp_path / "own.safetensors").card
    assert card["command"] == "adapt_denoiser(4 images, minutes=1.5, sigma=400.0)" and card["steps"] > 0
    assert card["settings"]["quietest"] == pytest.approx(0.4 / 2.2, rel=0.02)


def test_an_adaptation_that_harms_is_not_kept(beginner: Path, tmp_path: Path) -> None:
    before = weights.read(beginner).tensors
    with pytest.warns(UserWarning, match="the one it started from is kept"):
        adapt_denoiser(
            textures(2), tmp_path / "own.safetensors", denoiser=beginner, minutes=1e-4,
            settings=replace(TINY, learning_rate=1e3), device="cpu",
        )  # fmt: skip
    after = weights.read(tmp_path / "own.safetensors").tensors
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_wrong_images_to_adapt_to_are_refused(beginner: Path, tmp_path: Path) -> None:
    image = textures(1)[0]
    ridge = tmp_path / "ridge.safetensors"
    weights.write(ridge, weights.Weights({"a": torch.zeros(1)}, {"kind": "ridge", "widths": [4]}, {}))
    for given, error, match in [
        ({"images": []}, ShapeError, "empty"),
        ({"images": [image[:20]]}, ShapeError, "32 pixels"),
        ({"images": [np.stack(3 * [image])]}, ShapeError, r"\(rows, columns\)"),
        ({"images": [0 * image]}, ArgumentError, "contrast"),
        ({"images": [np.where(image > 0, np.nan, image)]}, NonFiniteError, "NaN"),
        ({"sigma": 0.0}, ArgumentError, "sigma"),
        ({"sigma": (3.0, 2.0)}, ArgumentError, "smaller level first"),
        ({"minutes": 0}, ArgumentError, "minutes"),
        ({"denoiser": ridge}, ArgumentError, "a regulariser"),
        ({"out": tmp_path / "own.pt"}, ArgumentError, ".safetensors"),
    ]:
        call = {"images": [image], "out": tmp_path / "own.safetensors", "denoiser": beginner, "minutes": 1e-4} | given
        with pytest.raises(error, match=match):
            adapt_denoiser(**call)


def test_a_training_goes_on_that_knew_fewer_settings(photos: Path, tmp_path: Path) -> None:
    trainer = Trainer(TINY, "cpu", cores=1)
    steps(trainer, images(photos), range(1))
    path = tmp_path / "c.safetensors"
    trainer.save(path, Progress(1))
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    settings = json.loads(header["__metadata__"]["settings"])
    del settings["quietest"]
    header["__metadata__"]["settings"] = json.dumps(settings)
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + content[8 + length :])
    assert Trainer(TINY, "cpu").resume(path).steps == 1
    with pytest.raises(FileError, match="quietest"):
        Trainer(replace(TINY, quietest=0.1), "cpu").resume(path)
