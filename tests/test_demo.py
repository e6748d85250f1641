"""The demo: its measurements are physically right, its answers beat the classical ones, its errors can be read."""

from __future__ import annotations

import builtins
import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("matplotlib")

from recon import _demo_measured, _demo_simulated, demo, files, operators
from recon._demo_picture import draw
from recon._demo_scene import Panel, Result, Scene, solve_scene

TOY = np.pad(np.ones((8, 8), np.float32), 12)


def toy(truth: np.ndarray | None = TOY, **changes: Any) -> Scene:
    """A square, blurred a little: a scene of no time."""
    operator = operators.Blur(np.ones((3, 3)) / 9, TOY.shape)
    y = operator(TOY) + 0.02 * np.random.default_rng(0).standard_normal(TOY.shape).astype(np.float32)
    panels = Panel("truth", TOY, (0, 1)), Panel("measured", np.zeros((5, 40)), (0, 1))
    scene = Scene("toy", y, operator, lambda: y, "as measured", panels, (0, 1), truth)
    return dataclasses.replace(scene, **changes)


@pytest.fixture(scope="module")
def tomography() -> Scene:
    return _demo_simulated.tomography()


@pytest.fixture(scope="module")
def resonance() -> Result:
    return solve_scene(_demo_simulated.resonance())


def test_attenuation_of_air_and_water() -> None:
    np.testing.assert_allclose(_demo_simulated.attenuation([-2000, -1000, 0, 1000]), [0, 0, 0.2, 0.4], rtol=1e-6)


def test_every_view_of_the_ct_slice_holds_its_mass(tomography: Scene) -> None:
    """The integral of a projection along the detector is that of the slice, in 1/cm times cm^2."""
    assert tomography.truth is not None
    spacing = tomography.operator.spacing
    assert 0.04 < spacing < 0.05  # cm: a head is 20 cm across
    mass = tomography.truth.sum(dtype=np.float64) * spacing**2
    np.testing.assert_allclose(tomography.y.sum(axis=1, dtype=np.float64) * spacing, mass, rtol=3e-3)
    assert 200 < mass / _demo_simulated.WATER < 350  # square centimetres of water: the section of a head


def test_the_ct_noise_is_one_percent(tomography: Scene) -> None:
    noise = tomography.y - tomography.operator(tomography.truth)
    assert np.std(noise) / np.sqrt(np.mean(tomography.y**2)) == pytest.approx(0.01, rel=0.02)


def test_the_photograph_is_what_the_blurred_whole_shows_of_it() -> None:
    scene = _demo_simulated.photograph()
    assert scene.operator.in_shape == (512, 512)
    assert scene.y.shape == (492, 492, 3)
    assert scene.truth is not None and scene.truth.shape == scene.y.shape


def test_mri_beats_zero_filling(resonance: Result) -> None:
    assert resonance.ours.psnr > resonance.classical.psnr + 3
    assert resonance.ours.ssim > resonance.classical.ssim + 0.05


def test_the_chosen_strength_is_near_the_best(resonance: Result) -> None:
    from recon import reconstruct

    scene, chosen = resonance.scene, resonance.info.plan.strength
    assert scene.truth is not None
    errors = [
        float(np.linalg.norm(scene.show(reconstruct(scene.y, scene.operator, strength=factor * chosen)) - scene.truth))
        for factor in (1 / 3, 1, 3)
    ]
    assert errors[1] < 1.02 * min(errors)


def test_nothing_is_tuned() -> None:
    """What scenes pass on says what the data are, never how to solve."""
    told = [make().options for make in _demo_simulated.simulated()]
    assert set().union(*told) <= {"channel_axis", "bounds", "noise"}


def test_the_table_and_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("recon._demo_simulated.simulated", lambda: iter([toy]))
    assert demo.main(["--simulated", "--output", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr().out
    assert "as measured" in printed and "gcv" in printed
    assert files.read(tmp_path / "new" / "recon-demo.png").array.ndim == 3
    assert not (tmp_path / "new" / "recon-demo-measured.png").exists()


def test_a_scene_without_truth_has_no_scores(tmp_path: Path) -> None:
    result = solve_scene(toy(truth=None))
    assert result.ours.psnr is None
    assert "-" in demo.rows(result)
    draw([result, solve_scene(toy())], tmp_path / "two.png")
    assert (tmp_path / "two.png").stat().st_size > 10_000


def test_doubts_are_printed_not_raised() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = solve_scene(toy(options={"max_iter": 1}))
    assert "note: The solver had not settled" in demo.rows(result)


def test_missing_pydicom_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    real = builtins.__import__

    def without_pydicom(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "pydicom":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pydicom)
    assert demo.main(["--simulated", "--output", str(tmp_path)]) == 2
    assert "pip install recon-imaging[dicom,plot]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_a_file_is_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "here").write_text("")
    assert demo.main(["--simulated", "--output", str(tmp_path / "here")]) == 2
    assert "here" in capsys.readouterr().err


def test_a_wrong_data_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("RECON_DATA", str(tmp_path / "nowhere"))
    assert demo.main(["--output", str(tmp_path)]) == 2
    assert "RECON_DATA" in capsys.readouterr().err


def place() -> Path:
    found = _demo_measured.folder()
    if found is None or len(list(_demo_measured.measured(found))) < 3:
        pytest.skip("the measured data do not stand beside the project; RECON_DATA names their folder")
    return found


def test_measured_scenes_are_scaled_and_finite() -> None:
    for make in _demo_measured.measured(place()):
        scene = make()
        assert np.isfinite(scene.y).all()
        assert scene.y.shape[-len(scene.operator.out_shape) :] == scene.operator.out_shape
        assert not scene.options


@pytest.mark.slow
def test_the_head_is_sharper_than_zero_filled() -> None:
    result = solve_scene(_demo_measured.head(place()))
    gradients = [np.abs(np.diff(answer.picture)).mean() for answer in (result.classical, result.ours)]
    assert gradients[1] > 1.2 * gradients[0]
    # The measured samples are explained, up to the noise and the sensitivities.
    assert result.info.residual < 2


@pytest.mark.slow
def test_every_simulated_answer_beats_the_classical_one(tmp_path: Path) -> None:
    results = demo.run(tmp_path, simulated_only=True)
    assert len(results) == 3
    for result in results:
        assert result.ours.psnr > result.classical.psnr + 3, result.scene.name
        assert result.ours.ssim > result.classical.ssim + 0.05, result.scene.name
        assert result.info.status.ok, result.scene.name
    assert (tmp_path / "recon-demo.png").stat().st_size > 500_000
