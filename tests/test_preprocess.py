"""From counts to sinograms: fields, logarithm, rotation axis; synthetic scans and a measured one."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon.preprocess import absorption, find_center, flat_dark
from solvers import errors

DATA = Path(os.environ.get("RECON_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
TOOTH = DATA / "real" / "tooth.h5"


def scan(angles: np.ndarray, detectors: int, center: float, seed: int, noise: float) -> np.ndarray:
    """Analytic sinogram of one large and four small random ellipses, holes among them."""
    rng = np.random.default_rng(seed)
    reach = 0.9 * min(center, detectors - 1 - center)
    bodies = [(0.0, 0.0, 0.8 * reach, 0.6 * reach, rng.uniform(0, 3), 0.01)]
    for _ in range(4):
        a = rng.uniform(0.05, 0.3) * reach
        r, turn = rng.uniform(0, reach - a), rng.uniform(0, 6.3)
        size = a, rng.uniform(0.3, 1) * a
        bodies.append((r * np.cos(turn), r * np.sin(turn), *size, rng.uniform(0, 3), rng.uniform(-0.008, 0.02)))
    y, angle = np.zeros((angles.size, detectors)), angles[:, None]
    for x0, y0, a, b, tilt, value in bodies:
        width2 = (a * np.cos(angle - tilt)) ** 2 + (b * np.sin(angle - tilt)) ** 2
        s = np.arange(detectors) - center - x0 * np.cos(angle) - y0 * np.sin(angle)
        y += value * 2 * a * b * np.sqrt(np.maximum(width2 - s**2, 0)) / width2
    return (y + noise * y.max() * rng.standard_normal(y.shape)).astype(np.float32)


SCANS = {
    "half turn": np.arange(120) * np.pi / 120,
    "both ends": np.linspace(0, np.pi, 91),
    "full turn": np.arange(150) * 2 * np.pi / 150,
    "shuffled": np.random.default_rng(0).permutation(np.linspace(0, np.pi, 101)),
}


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("place", [0.38, 0.5, 0.61])
@pytest.mark.parametrize("name", SCANS)
def test_center_is_found_within_a_quarter_of_a_cell(name: str, place: float, noise: float) -> None:
    center = place * 200 + 0.3
    y = scan(SCANS[name], 200, center, seed=int(100 * place), noise=noise)
    assert abs(find_center(y, SCANS[name]) - center) <= 0.25


def test_center_of_a_body_wider_than_the_detector() -> None:
    y = scan(SCANS["half turn"], 400, 204.3, seed=1, noise=0.0)[:, 80:330]
    assert y[:, -1].max() > 0.3 * y.max()
    assert abs(find_center(y, SCANS["half turn"]) - 124.3) <= 0.25


def test_slices_share_their_center() -> None:
    angles = SCANS["both ends"]
    y = np.stack([scan(angles, 160, 75.8, seed, 0.05) for seed in range(3)])
    before = y.copy()
    assert abs(find_center(y, angles) - 75.8) <= 0.25
    np.testing.assert_array_equal(y, before)


def test_center_of_a_narrow_detector() -> None:
    assert abs(find_center(scan(SCANS["half turn"], 40, 18.6, 0, 0.0), SCANS["half turn"]) - 18.6) <= 0.25


@pytest.mark.parametrize(
    "sinogram, angles, error, message",
    [
        (np.eye(5), np.arange(4), errors.ShapeError, "Pass one angle for each view"),
        (np.ones(5), np.arange(5), errors.ShapeError, "sinogram has shape"),
        (np.ones((5, 4)), np.linspace(0, 3.1, 5), errors.ShapeError, "sinogram has 4 detectors"),
        (np.eye(5), np.linspace(0, 1.5, 5), errors.ArgumentError, "expected half a turn"),
        (np.ones((5, 9)), np.linspace(0, 3.1, 5), errors.ArgumentError, "sinogram is constant"),
        (np.full((5, 9), np.nan), np.linspace(0, 3.1, 5), errors.NonFiniteError, "sinogram holds 45 NaN"),
        (np.eye(5) * 1j, np.linspace(0, 3.1, 5), errors.DTypeError, "sinogram is complex"),
    ],
)
def test_a_scan_without_a_center_is_refused(sinogram: Any, angles: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        find_center(sinogram, angles)


def counts(shape: tuple[int, ...] = (7, 3, 20)) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    transmission = rng.uniform(0.1, 1, shape)
    dark, gain = rng.uniform(90, 110, shape[1:]), rng.uniform(900, 1100, shape[1:])
    frames = rng.standard_normal((4, *shape[1:]))
    frames -= frames.mean(axis=0)
    return transmission, dark + transmission * gain, dark + gain + frames, dark - frames


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_flat_dark_undoes_gain_and_offset(dtype: type) -> None:
    transmission, projections, flats, darks = (array.astype(dtype) for array in counts())
    result = flat_dark(projections, flats, darks)
    if dtype == np.uint16:
        assert result.dtype == np.float32
        return
    assert result.dtype == dtype
    np.testing.assert_allclose(result, transmission, rtol=1e-5 if dtype == np.float32 else 1e-12)


def test_darks_may_be_a_number() -> None:
    transmission = np.random.default_rng(0).random((5, 8))
    np.testing.assert_allclose(flat_dark(100 + 50 * transmission, np.full((1, 8), 150.0), 100), transmission)


def test_dead_cells_are_bridged_with_a_warning() -> None:
    projections = np.tile(np.linspace(20.0, 30.0, 11), (4, 1))
    flats, darks = np.full((2, 11), 110.0), np.full((2, 11), 10.0)
    flats[:, 4] = darks[:, 4]
    with pytest.warns(UserWarning, match="1 dead cells"):
        result = flat_dark(projections, flats, darks)
    np.testing.assert_allclose(result, (projections - 10) / 100)
    with pytest.raises(errors.ArgumentError, match="not exchanged"):
        flat_dark(projections, darks, flats)


def test_fields_of_another_shape_are_refused() -> None:
    _, projections, flats, darks = counts()
    with pytest.raises(errors.ShapeError, match="flats has shape"):
        flat_dark(projections, flats[..., :-1], darks)
    with pytest.raises(errors.ShapeError, match=r"Pass one or more whole frames, darks\[None\]"):
        flat_dark(projections, flats, darks[0])
    with pytest.raises(errors.NonFiniteError, match="projections holds 1 NaN"):
        flat_dark(np.where(projections == projections.max(), np.nan, projections), flats, darks)


def test_absorption_is_the_negative_logarithm() -> None:
    t = np.random.default_rng(0).uniform(0.01, 1.3, (6, 5)).astype(np.float32)
    t.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = absorption(t)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, -np.log(t))


def test_starved_values_are_set_to_the_floor_and_counted() -> None:
    t = np.array([1.0, 0.0, -0.2, 1e-9, 0.5])
    with pytest.warns(UserWarning, match=r"3 values \(60 %\)"):
        y = absorption(t, floor=1e-3)
    np.testing.assert_allclose(y, -np.log([1, 1e-3, 1e-3, 1e-3, 0.5]))
    with pytest.raises(errors.ArgumentError, match="floor is 0"):
        absorption(t, floor=0)


@pytest.mark.skipif(not TOOTH.exists(), reason=f"measured scan not found at {TOOTH}; set RECON_DATA to its folder")
def test_measured_tooth() -> None:
    h5py = pytest.importorskip("h5py")
    from recon import operators
    from recon.fbp import fbp

    with h5py.File(TOOTH) as file:
        data = file["exchange"]
        angles = np.deg2rad(data["theta"][:])
        transmission = flat_dark(data["data"][:], data["data_white"][:], data["data_dark"][:])
    y = absorption(transmission).swapaxes(0, 1)
    centers = [find_center(sinogram, angles) for sinogram in y]
    # Both rows are one measurement of one axis; trial reconstructions are sharpest between 295.5 and 296.
    assert all(295.5 < center < 296.1 for center in centers)
    assert abs(centers[0] - centers[1]) < 0.2
    A = operators.ParallelBeam((640, 640), angles, detectors=640, center=find_center(y, angles))
    x = fbp(y[0], A, window="shepp-logan")
    air, enamel = x[60:160, 270:370], x[225:235, 290:340]
    assert abs(air.mean()) < 2e-4
    assert enamel.mean() > 20 * air.std()
    # The same object explains the measurement: residual of a reprojection, over the data.
    assert np.linalg.norm(A(x) - y[0]) < 0.1 * np.linalg.norm(y[0])
