"""Calibration to an instrument: what it changes, files, safety, and what is refused."""

from __future__ import annotations

import doctest
import itertools
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from priors import Denoiser, weights
from recon import Calibration, calibrate, cli, files, plan, reconstruct
from recon import _calibration_search as searching
from recon import calibration as module
from recon import operators as ops
from recon._calibration_images import ellipses, simulated_images
from recon.learn import Settings
from solvers.errors import ArgumentError, DTypeError, FileError, OptionError, ShapeError

SHAPE = (32, 32)
SCANNER = ops.Blur(np.ones((3, 5)) / 15, SHAPE)


def neutral(operator: Any = SCANNER, **given: Any) -> Calibration:
    return Calibration(repr(operator), tuple(operator.in_shape), tuple(operator.out_shape), **given)


def measurement(operator: Any = SCANNER) -> np.ndarray:
    rng = np.random.default_rng(0)
    clean = operator(ellipses(SHAPE, rng))
    return (clean + 0.01 * rng.standard_normal(clean.shape)).astype(clean.dtype)


def test_a_neutral_calibration_is_the_usual_reconstruction() -> None:
    y = measurement()
    assert np.array_equal(reconstruct(y, SCANNER, calibration=neutral()), reconstruct(y, SCANNER, prior="learned"))


def test_a_calibration_changes_weight_level_and_steps() -> None:
    y = measurement()
    usual = plan(y, SCANNER, prior="learned", noise=0.01)
    own = plan(y, SCANNER, noise=0.01, calibration=neutral(weight=0.5, level=2.0, length=12))
    assert "calibrated: weight x 0.5, last level x 2, 12 steps" in str(own)
    from solvers import LeastSquares

    data = LeastSquares(SCANNER, y)
    plain, changed = (p.solver(data, p.prior, p.strength) for p in (usual, own))
    assert changed.strength == 0.5 * plain.strength
    assert changed.level == 2.0 * plain.level
    assert changed.length == 12


def test_a_file_gives_the_calibration_back(tmp_path: Path) -> None:
    own = neutral(weight=0.25, level=1.5, length=16, psnr=(30.0, 31.5))
    own.save(tmp_path / "scanner.json")
    assert Calibration.load(tmp_path / "scanner.json") == own
    assert own.gain == 1.5


def test_a_denoiser_travels_with_its_calibration(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    weights.write(tmp_path / "a" / "own.safetensors", weights.read("fast-grey"))
    neutral(denoiser=str(tmp_path / "a" / "own.safetensors")).save(tmp_path / "a" / "scanner.json")
    (tmp_path / "b").mkdir()
    for name in ("scanner.json", "scanner.safetensors"):
        shutil.move(tmp_path / "a" / name, tmp_path / "b" / name)
    found = Calibration.load(tmp_path / "b" / "scanner.json")
    v = np.random.default_rng(0).standard_normal(SHAPE)
    assert np.allclose(Denoiser(found.denoiser)(v, 0.5), Denoiser()(v, 0.5))
    found.save(tmp_path / "b" / "scanner.json")  # onto itself
    assert Calibration.load(tmp_path / "b" / "scanner.json") == found


def test_the_command_line_takes_a_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write(tmp_path / "y.npy", measurement())
    files.write(tmp_path / "psf.npy", np.ones((3, 5)) / 15)
    (tmp_path / "blur.yaml").write_text("operator: blur\npsf: psf.npy\n", encoding="utf-8")
    neutral(weight=0.5).save(tmp_path / "scanner.json")
    call = ["plan", str(tmp_path / "y.npy"), "--operator", str(tmp_path / "blur.yaml")]
    assert cli.main([*call, "--calibration", str(tmp_path / "scanner.json")]) == 0
    assert "calibrated: weight x 0.5" in capsys.readouterr().out
    assert cli.main([*call, "--calibration", str(tmp_path / "none.json")]) == 2


def tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which a second passes whenever it is looked at."""
    clock = itertools.count()
    fake = SimpleNamespace(perf_counter=lambda: float(next(clock)))
    monkeypatch.setattr(module, "time", fake)
    monkeypatch.setattr(searching, "time", fake)


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quality that is known: best at a quarter of the weight, 1.5 times the level and 16 steps."""

    def quality(calibration: Calibration, scans: Any) -> float:
        off = np.log2([calibration.weight / 0.25, calibration.level / 1.5])
        return 30 - float(np.sum(off**2)) + (calibration.length == 16)

    monkeypatch.setattr(searching, "mean_psnr", quality)
    monkeypatch.setattr(module, "mean_psnr", quality)


def test_the_search_finds_the_best(target: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tick(monkeypatch)
    found = calibrate(SCANNER, minutes=10)
    assert found.weight == pytest.approx(0.25, rel=0.15)
    assert found.level == pytest.approx(1.5, rel=0.1)
    assert found.length == 16
    assert found.gain > 4
    tick(monkeypatch)
    assert calibrate(SCANNER, minutes=0.2).gain <= found.gain


def test_the_gain_is_that_of_reconstruct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "search", lambda start, scans, deadline: replace(start, level=0.9))
    monkeypatch.setattr(module, "ACCEPTED", -100.0)
    lines: list[str] = []
    image = 50 * ellipses(SHAPE, np.random.default_rng(0))
    found = calibrate(SCANNER, [image], minutes=0.01, noise=0.03, rng=4, progress=lines.append)
    rng = np.random.default_rng(4)
    scan = [searching.Scan.of(SCANNER, image, 0.03, rng) for _ in range(2)][1]  # the first one is searched on
    for psnr, given in zip(found.psnr, ({"prior": "learned"}, {"calibration": found}), strict=True):
        x = reconstruct(scan.y, SCANNER, noise=scan.sigma, **given)
        assert psnr == pytest.approx(20 * np.log10(np.ptp(image) / np.sqrt(np.mean((x - image) ** 2))))
    assert "dB on 1 images" in lines[0]
    assert scan.psnr(found) == pytest.approx(found.psnr[1])


def test_what_does_not_help_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "search", lambda start, scans, deadline: replace(start, weight=1e6))
    monkeypatch.setattr(module, "mean_psnr", lambda calibration, scans: 30 - np.log10(calibration.weight))
    with pytest.warns(UserWarning, match="the usual schedule is kept"):
        found = calibrate(SCANNER, minutes=0.01)
    assert found.weight == 1.0 and found.gain == 0.0


def test_the_denoiser_is_adapted_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "search", lambda start, scans, deadline: start)
    monkeypatch.setattr(module, "mean_psnr", lambda calibration, scans: float(calibration.denoiser != "fast"))
    images = [1000 * ellipses((40, 40), np.random.default_rng(i)) for i in range(4)]
    operator = ops.Identity((40, 40))
    settings = Settings(widths=(8,), blocks=(1,), batch=2, patch=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = calibrate(operator, images, minutes=1e-4, adapt=tmp_path / "own.safetensors", settings=settings)
    assert found.denoiser == str(tmp_path / "own.safetensors")
    assert weights.read(found.denoiser).card["command"].startswith("adapt_denoiser(3 images")


def test_made_images_suit_the_operator() -> None:
    images = simulated_images(SCANNER, np.random.default_rng(0))
    assert len(images) == 8 and all(i.shape == SHAPE and i.dtype == np.float32 for i in images)
    assert all(i.min() >= 0 and i.max() <= 1 and np.ptp(i) > 0.2 for i in images)
    coil = ops.CartesianMRI(np.ones((20, 30), dtype=bool))
    images = simulated_images(coil, np.random.default_rng(0))
    assert all(i.shape == (20, 30) and i.dtype == np.complex64 and np.abs(i).max() <= 1 + 1e-6 for i in images)


def test_wrong_inputs_are_refused(tmp_path: Path) -> None:
    image = np.ones(SHAPE)
    for given, error, match in [
        ({"operator": 3}, DTypeError, "linear operator"),
        ({"operator": ops.Logarithm(SHAPE)}, DTypeError, "nonlinear"),
        ({"operator": ops.Identity((4, 8, 8))}, ArgumentError, "Pass images"),
        ({"images": []}, ArgumentError, "empty"),
        ({"images": [image[:8]]}, ShapeError, r"\(32, 32\)"),
        ({"images": [image * np.nan]}, ValueError, "NaN"),
        ({"adapt": "own.safetensors"}, ArgumentError, "without images"),
        ({"minutes": 0}, ArgumentError, "minutes"),
        ({"noise": -1}, ArgumentError, "noise"),
        ({"minute": 1}, OptionError, "minutes"),
    ]:
        with pytest.raises(error, match=match):
            calibrate(**({"operator": SCANNER} | given))
    y = measurement()
    for given, error, match in [
        ({"calibration": "scanner.json"}, DTypeError, "Calibration.load"),
        ({"calibration": neutral(ops.Identity((8, 8)))}, ShapeError, "Calibrate this operator"),
        ({"calibration": neutral(weight=2.0), "noise": "poisson", "y": 100 + 0 * y}, ArgumentError, "Gaussian noise"),
        ({"calibration": neutral(), "prior": "tv"}, ArgumentError, "Leave out prior"),
        ({"calibration": neutral(), "solver": "fista"}, ArgumentError, "Leave out solver"),
        ({"calibration": neutral(), "strength": 1.0}, ArgumentError, "Leave out strength"),
    ]:
        with pytest.raises(error, match=match):
            reconstruct(**({"y": y, "operator": SCANNER} | given))
    with pytest.raises(ArgumentError, match="with_values"):
        plan(np.ones(SHAPE), ops.Blur(ops.Unknown(shape=(5, 5)), SHAPE), calibration=neutral())
    with pytest.raises(ArgumentError, match="ends in"):
        neutral().save(tmp_path / "scanner.npz")
    with pytest.raises(FileError, match="cannot be read"):
        Calibration.load(tmp_path / "none.json")
    (tmp_path / "other.json").write_text('{"format": "x"}')
    with pytest.raises(FileError, match="holds no calibration"):
        Calibration.load(tmp_path / "other.json")


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0
