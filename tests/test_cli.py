"""The command line: real reconstructions, one message for each mistake, exit codes that scripts can use."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import recon
from recon import files, operators
from recon.cli import main
from solvers.loop import Status

RNG = np.random.default_rng(0)
ROOT = Path(__file__).resolve().parents[1]
SPEC = "operator: blur\npsf: {gaussian: {sigma: 1.5}}\n"


def phantom(shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return (0.2 + 0.5 * (x**2 + y**2 < 0.5) + 0.2 * (abs(x - 0.2) + abs(y) < 0.3)).astype(np.float32)


def blurred(truth: np.ndarray, sigma: float = 0.01, **kwargs: Any) -> np.ndarray:
    i = np.arange(13) - 6
    profile = np.exp(-0.5 * (i / 1.5) ** 2)
    blur = operators.Blur(np.outer(profile, profile) / profile.sum() ** 2, truth.shape, **kwargs)
    return (blur(truth) + sigma * RNG.normal(size=truth.shape)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC)
    files.write("y.npy", blurred(phantom()))
    return tmp_path


def run(command: str) -> int:
    return main(command.split())


def outputs(folder: Path) -> list[str]:
    return sorted(set(os.listdir(folder)) - {"spec.yaml", "y.npy"})


def error_of(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def pretend(monkeypatch: pytest.MonkeyPatch, image: np.ndarray | None = None, **changed: Any) -> dict[str, Any]:
    """Put a stand-in for `recon.reconstruct`; returns the arguments it gets."""
    seen: dict[str, Any] = {}
    plan = SimpleNamespace(sigma_known=True, decisions={}, strength=0.5, operator="A", noise="n")
    info = {"plan": plan, "status": Status.CONVERGED, "iterations": 3, "residual": 1.0, "seconds": {"total": 0.1}}
    info |= {"warnings": (), "trusted": True, "history": {"change": [np.float32(1.0), float("nan")]}, **changed}

    def stand_in(y: np.ndarray, operator: Any, **kwargs: Any) -> Any:
        seen.update(kwargs, y=y, operator=operator)
        return (np.zeros(operator.in_shape, np.float32) if image is None else image), SimpleNamespace(**info)

    monkeypatch.setattr(recon, "reconstruct", stand_in)
    return seen


# --- real reconstructions ---------------------------------------------------------------------------------------------


def test_a_blurred_image_is_restored_in_silence(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("reconstruct y.npy x.npy --operator spec.yaml --report report.json") == 0
    assert capfd.readouterr() == ("", "")
    image, measured = files.read("x.npy").array, files.read("y.npy").array
    assert image.dtype == np.float32
    assert error_of(image, phantom()) < 0.75 * error_of(measured, phantom())
    report = json.loads((folder / "report.json").read_text())
    assert (report["status"], report["exit_code"], report["version"]) == ("converged", 0, recon.__version__)
    assert report["strength"] > 0
    assert {"noise", "prior", "solver", "strength"} <= set(report["plan"])
    assert len(report["history"]["change"]) == len(report["history"]["iteration"]) > 0
    assert outputs(folder) == ["report.json", "x.npy"]

    again = ["--strength", repr(report["strength"]), "--prior", "tv", "--solver", "admm", "--tol", "1e-4"]
    assert main(["reconstruct", "y.npy", "again.npy", "--operator", "spec.yaml", *again]) == 0
    assert error_of(files.read("again.npy").array, image) < 0.01


def test_png_to_png(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bright = np.clip(blurred(phantom() * 1.1), 0, 1)
    files.write("y.png", np.rint(bright * 255).astype(np.uint8))
    assert run("reconstruct y.png x.png --operator spec.yaml --strength 0.01") == 2
    message = capfd.readouterr().err
    assert "values lie outside 0 to 255" in message and "--range" in message and "--clip" in message
    assert outputs(folder) == ["y.png"]
    assert run("reconstruct y.png x.png --operator spec.yaml --strength 1 --clip") == 0
    image = files.read("x.png").array
    assert image.dtype == np.uint8
    assert error_of(image / 255, phantom() * 1.1) < error_of(bright, phantom() * 1.1)


def test_colours_are_taken_from_the_file(folder: Path) -> None:
    bands = [0.8, 0.6, 0.4]
    files.write("y.png", np.stack([blurred(c * phantom()).clip(0, 1) for c in bands], -1))
    assert run("reconstruct y.png x.npy --operator spec.yaml --max-iter 30") in (0, 3)
    image = files.read("x.npy").array
    assert image.shape == (64, 64, 3)
    for k, c in enumerate(bands):
        assert error_of(image[..., k] / 255, c * phantom()) < 0.1


def test_unknown_boundaries_give_the_measured_frame(folder: Path) -> None:
    large = phantom((90, 90))
    files.write("y.npy", blurred(large)[13:77, 13:77])
    (folder / "spec.yaml").write_text(SPEC + "boundary: unknown\n")
    assert run("reconstruct y.npy x.npy --operator spec.yaml --max-iter 60") in (0, 3)
    image = files.read("x.npy").array
    assert image.shape == (64, 64)
    assert error_of(image, large[13:77, 13:77]) < error_of(files.read("y.npy").array, large[13:77, 13:77])


def test_complex_images_need_magnitude(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[::2] = mask[28:36] = 1
    files.write("mask.npy", mask)
    files.write("k.npy", operators.CartesianMRI(mask)(phantom()))
    (folder / "mri.yaml").write_text("operator: cartesian_mri\nmask: mask.npy\n")
    command = "reconstruct k.npy x.png --operator mri.yaml --prior tikhonov --strength 1e-3 --noise 1e-3"
    assert run(command) == 2
    assert "--magnitude" in capfd.readouterr().err
    assert not (folder / "x.png").exists()
    assert run(f"{command} --magnitude --range 0 2") in (0, 3)
    assert files.read("x.png").array.shape == (64, 64)


def test_an_answer_that_the_data_contradict_is_written_with_code_3(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # The operator is the identity with noise 1e-4, but a strength far too high flattens the image.
    (folder / "spec.yaml").write_text("operator: identity\n")
    code = run("reconstruct y.npy x.npy --operator spec.yaml --noise 1e-4 --prior tv --strength 10")
    assert code == 3
    assert "recon: warning: The residual is" in capfd.readouterr().err
    assert (folder / "x.npy").exists()


def test_plan_prints_and_writes_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("plan y.npy --operator spec.yaml --noise 0.01 --max-iter 7") == 0
    out, err = capfd.readouterr()
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "0.01" in rows["noise"] and "given" in rows["noise"]
    assert "at most 7 steps" in rows["stop"]
    assert {"prior", "solver", "strength"} <= set(rows)
    assert not err and not outputs(folder)


def test_operators_lists_them_all(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["operators"]) == 0
    out = capfd.readouterr().out
    assert "blur\n    Convolution with a point spread function" in out
    assert "psf, shape, boundary='periodic'" in out
    assert "parallel_beam\n" in out and "angles" in out


# --- what is passed on ------------------------------------------------------------------------------------------------


def test_options_reach_reconstruct(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = pretend(monkeypatch)
    options = "--prior wavelet --solver fista --noise 0.5 --strength 2 --max-iter 9 --tol 1e-5 --bounds -1 4"
    assert main(["reconstruct", "y.npy", "x.npy", "--operator", "spec.yaml", *options.split()]) == 0
    expected = {"prior": "wavelet", "solver": "fista", "noise": 0.5, "strength": 2.0, "max_iter": 9, "tol": 1e-5}
    expected |= {"bounds": (-1.0, 4.0), "channel_axis": None, "progress": False, "return_info": True}
    expected |= {"calibration": None}
    assert {key: value for key, value in seen.items() if key not in ("y", "operator")} == expected
    np.testing.assert_array_equal(seen["y"], files.read("y.npy").array)
    assert run("reconstruct y.npy x.npy --operator spec.yaml") == 0
    assert [seen[name] for name in ("prior", "solver", "noise", "strength", "max_iter", "tol", "bounds")] == [
        "auto", "auto", "auto", "auto", None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("terminal", "quiet", "talks"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_progress_on_a_terminal_only(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    terminal: bool,
    quiet: bool,
    talks: bool,
) -> None:
    seen = pretend(monkeypatch, warnings=("mind the gap",))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert main(["reconstruct", "y.npy", "x.npy", "--operator", "spec.yaml", *["--quiet"] * quiet]) == 0
    out, err = capfd.readouterr()
    assert seen["progress"] is talks
    assert not out
    assert ("x.npy, 64 x 64 float32" in err) is talks
    assert "recon: warning: mind the gap" in err


def test_a_channel_axis_given_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write("y.png", RNG.integers(0, 255, (32, 20, 3)).astype(np.uint8))
    seen = pretend(monkeypatch)
    assert run("reconstruct y.png x.npy --operator spec.yaml") == 0
    assert (seen["channel_axis"], seen["operator"].out_shape) == (-1, (32, 20))
    files.write("y.npy", RNG.normal(size=(32, 5, 20)))
    assert run("reconstruct y.npy x.npy --operator spec.yaml --channel-axis 1") == 0
    assert (seen["channel_axis"], seen["operator"].out_shape) == (1, (32, 20))
    (folder / "whole.yaml").write_text("operator: identity\nshape: [32, 20, 3]\n")
    assert run("reconstruct y.png x.npy --operator whole.yaml") == 0
    assert seen["channel_axis"] is None, "the operator takes the colours as an axis of its own"


def test_hdf5_in_and_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write("scan.h5:/a/data", blurred(phantom()))
    files.write("scan.h5:/a/dark", np.zeros((3, 3)))
    seen = pretend(monkeypatch, image=phantom())
    assert run("reconstruct scan.h5:/a/data out.h5:/r/x --operator spec.yaml") == 0
    assert seen["y"].shape == (64, 64)
    np.testing.assert_array_equal(files.read("out.h5:/r/x").array, phantom())
    assert run("reconstruct scan.h5 out.h5 --dataset a/data --operator spec.yaml") == 0
    assert run("reconstruct scan.h5 out.h5 --operator spec.yaml") == 2


# --- mistakes ---------------------------------------------------------------------------------------------------------

GOOD = ["reconstruct", "y.npy", "x.npy", "--operator", "spec.yaml"]


def changed(position: int, value: str) -> list[str]:
    return [*GOOD[:position], value, *GOOD[position + 1 :]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage: recon"),
        (["reconstrut"], "No such command 'reconstrut'"),
        (["reconstruct", "y.npy"], "Missing argument 'OUTPUT'"),
        (["reconstruct", "y.npy", "x.npy"], "Missing option '--operator'"),
        ([*GOOD, "--prio", "tv"], "--prior"),
        ([*GOOD, "--max-iter", "many"], "'many' is not a valid integer"),
        ([*GOOD, "--noise", "loud"], "'loud'; expected auto, gaussian, poisson, poisson-gaussian, impulse"),
        ([*GOOD, "--strength", "strong"], "'strong'; expected auto or a number"),
        ([*GOOD, "--bounds", "1"], "--bounds"),
        ([*GOOD, "--prior", "tvv"], "Did you mean 'tv'"),
        ([*GOOD, "--solver", "fisto"], "Did you mean 'fista'"),
        ([*GOOD, "--max-iter", "-3"], "max_iter is -3"),
        ([*GOOD, "--noise", "-1"], "noise is -1"),
        ([*GOOD, "--bounds", "2", "1"], "expected lower < upper"),
        ([*GOOD, "--channel-axis", "7"], "channel_axis is 7"),
        ([*GOOD, "--dataset", "a"], "Leave dataset out"),
        (changed(1, "absent.npy"), "absent.npy does not exist"),
        (changed(1, "cut.npy"), "cut.npy is a damaged, truncated"),
        (changed(1, "garbage.png"), "garbage.png is not a PNG"),
        (changed(1, "nan.npy"), "y holds 1 NaN or infinite values, the first at index (3, 4)"),
        (changed(1, "cube.npy"), "shape"),
        (changed(2, "y.npy"), "the output y.npy is also an input"),
        (changed(2, "link.npy"), "the output link.npy is also an input"),
        (changed(2, "spec.yaml"), "'.yaml' cannot be written"),
        (changed(2, "x.jpg"), "'.jpg' cannot be written"),
        (changed(2, "absent/x.npy"), "absent does not exist"),
        (changed(4, "absent.yaml"), "absent.yaml cannot be read"),
        (changed(4, "bad.yaml"), "bad.yaml, line 2: blur has no parameter 'psff'"),
        (changed(4, "broken.yaml"), "broken.yaml, line 1, column 16: malformed YAML"),
        ([*GOOD, "--report", "report.txt"], "expected a file name that ends in .json"),
        ([*GOOD, "--report", "absent/report.json"], "absent does not exist"),
    ],
)
def test_a_mistake_is_one_message_and_writes_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    measured = files.read("y.npy").array
    (folder / "cut.npy").write_bytes((folder / "y.npy").read_bytes()[:3000])
    (folder / "garbage.png").write_bytes(b"garbage")
    files.write("nan.npy", np.where(np.arange(64 * 64).reshape(64, 64) == 3 * 64 + 4, np.nan, measured))
    files.write("cube.npy", np.zeros(5))
    (folder / "link.npy").symlink_to("y.npy")
    (folder / "bad.yaml").write_text("operator: blur\npsff: [[1]]\n")
    (folder / "broken.yaml").write_text("operator: [blur")
    before = sorted(os.listdir(folder))
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert message in err
    assert "Traceback" not in err + out and not out
    assert sorted(os.listdir(folder)) == before
    np.testing.assert_array_equal(files.read("y.npy").array, measured)


def test_divergence_is_written_with_code_3(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    doubts = ("The solver diverged.",)
    pretend(monkeypatch, status=Status.DIVERGED, trusted=False, residual=float("inf"), warnings=doubts)
    assert main([*GOOD, "--report", "r.json"]) == 3
    assert capfd.readouterr().err == "recon: warning: The solver diverged.\n"
    report = json.loads((folder / "r.json").read_text())
    assert (report["exit_code"], report["status"], report["residual_over_noise"]) == (3, "diverged", None)
    assert report["history"] == {"change": [1.0, None]}
    assert outputs(folder) == ["r.json", "x.npy"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "recon: interrupted"),
        (MemoryError("3 TiB"), 1, "recon: not enough memory (3 TiB)"),
        (ZeroDivisionError("oops"), 1, "recon: unexpected ZeroDivisionError: oops"),
    ],
)
def test_other_endings(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.delenv("RECON_DEBUG", raising=False)
    monkeypatch.setattr(recon, "reconstruct", fail)
    files.write("x.npy", np.ones(3))
    assert main(GOOD) == code
    out, err = capfd.readouterr()
    assert message in err and len(err.strip().splitlines()) == 1 and not out
    np.testing.assert_array_equal(files.read("x.npy").array, np.ones(3))
    assert outputs(folder) == ["x.npy"]
    if code == 1:
        monkeypatch.setenv("RECON_DEBUG", "1")
        with pytest.raises(type(error)):
            main(GOOD)


def test_ctrl_c_leaves_no_half_written_file(folder: Path) -> None:
    # The child is stopped in the middle of writing: half of the new image is in the temporary file.
    code = """if True:
        import sys, time
        from recon import files
        from recon.cli import main

        def slow(path, array, metadata, dataset):
            path.write_bytes(array.tobytes()[: array.nbytes // 2])
            print("writing", flush=True)
            time.sleep(60)

        files.npy.write = slow
        sys.exit(main(sys.argv[1:]))
    """
    files.write("x.npy", np.ones(3))
    before = (folder / "x.npy").read_bytes()
    arguments = [sys.executable, "-c", code, *GOOD, "--prior", "tikhonov", "--strength", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        # A shell that starts the tests in the background has them ignore the signal, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert child.stdout is not None and child.stdout.readline() == "writing\n"
        assert len(outputs(folder)) == 2, "the half-written temporary file stands beside the output"
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    assert child.returncode == 130
    assert err.endswith("recon: interrupted; no file is left half-written\n")
    assert (folder / "x.npy").read_bytes() == before
    assert outputs(folder) == ["x.npy"]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["reconstruct", "--help"]])
def test_version_and_help_are_light(arguments: list[str]) -> None:
    code = f"""if True:
        import sys
        from recon.cli import main

        sys.exit(main({arguments}) or bool({{"torch", "numba", "scipy"}} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert recon.__version__ in done.stdout or "Usage: recon" in done.stdout


def test_bench_of_a_measurement_of_ones_own(folder, capsys):
    files.write("small.npy", blurred(phantom((24, 24))))
    assert run("bench --input small.npy --operator spec.yaml --solver auto --seconds 0.02 --no-peers --json t") == 0
    table = capsys.readouterr().out
    assert "small.npy" in table and "auto" in table
    assert "nan" not in table  # nobody knows the truth, so there are no decibels
    (found,) = json.loads(Path("t").read_text())["problems"]
    assert found["solvers"][0]["objective"][-1] > 0
