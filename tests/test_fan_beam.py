"""The fan-beam projector: against a naive twin, against analytic line integrals, and its contracts."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from recon.operators import FanBeam, ParallelBeam, _planar_scan
from solvers import errors, kernels

RNG = np.random.default_rng(0)
ANGLES = np.concatenate([RNG.uniform(-9, 9, 9), np.arange(-3, 6) * np.pi / 4, [1e-9, 0.6]])
NEAR = {"source_distance": 60.0, "detector_distance": 30.0}

GEOMETRIES = {
    "flat": {"shape": (33, 33), **NEAR},
    "curved": {"shape": (33, 33), **NEAR, "detector": "curved"},
    "wide": {"shape": (20, 47), "spacing": 0.7, **NEAR},
    "tall, off centre": {"shape": (45, 18), **NEAR, "detectors": 31, "center": 9.3, "axis_offset": 2.5},
    "curved, off centre": {"shape": (30, 28), **NEAR, "center": 20.3, "axis_offset": -4.0, "detector": "curved"},
    "source at the corner": {"shape": (40, 40), "source_distance": 28.3, "detector_distance": 0.0, "detectors": 80},
    "source at the corner, curved": {
        "shape": (24, 40),
        "source_distance": 23.4,
        "detector_distance": 20.0,
        "detector": "curved",
        "axis_offset": 1.0,
    },
    "fine cells": {"shape": (24, 30), **NEAR, "detector_spacing": 0.09, "detectors": 300},
    "coarse cells": {"shape": (40, 40), "spacing": 0.5, **NEAR, "detector_spacing": 2.6},
    "cells beside the image": {"shape": (16, 16), **NEAR, "detectors": 9, "center": 60.0},
    "far source": {"shape": (70, 65), "source_distance": 1e5, "detector_distance": 0.0},
    "one row": {"shape": (1, 40), **NEAR},
    "one column": {"shape": (40, 1), **NEAR},
    "one pixel": {"shape": (1, 1), **NEAR, "detectors": 5},
    "one cell": {"shape": (12, 13), **NEAR, "detectors": 1},
}


def make(name: str, angles: np.ndarray = ANGLES) -> FanBeam:
    geometry = dict(GEOMETRIES[name])
    return FanBeam(geometry.pop("shape"), angles, **geometry)


def rays(A: FanBeam) -> tuple[np.ndarray, np.ndarray]:
    """Source (views, 2) and unit directions (views, cells, 2), x to the right and y upwards."""
    t, gamma = A.angles[:, None], A.fan_angles
    along = np.stack([np.cos(t), np.sin(t)], axis=-1)
    away = np.stack([-np.sin(t), np.cos(t)], axis=-1)
    source = -A.source_distance * away - A.axis_offset * along
    return source[:, 0], np.cos(gamma)[:, None] * away + np.sin(gamma)[:, None] * along


def joseph(x: np.ndarray, A: FanBeam) -> np.ndarray:
    """Linear interpolation where each ray crosses the rows, or the columns, and nothing else."""
    y = np.zeros(A.out_shape)
    sources, directions = rays(A)
    rows, columns = x.shape
    for k, (source, cells) in enumerate(zip(sources / A.spacing, directions, strict=True)):
        column, row = source[0] + 0.5 * (columns - 1), 0.5 * (rows - 1) - source[1]
        for d, (right, up) in enumerate(cells):
            image, start, slope = x, (row, column), right / -up if up else np.inf
            if abs(right) > abs(up):
                image, start, slope = x.T, (column, row), -up / right
            grid = np.arange(-1, image.shape[1] + 1)
            for i, line in enumerate(np.pad(image, ((0, 0), (1, 1)))):
                y[k, d] += np.interp(start[1] + (i - start[0]) * slope, grid, line, left=0, right=0)
            y[k, d] *= A.spacing * math.hypot(1, slope)
    return y


def ellipse_integrals(A: FanBeam, x0: float, y0: float, a: float, b: float, tilt: float) -> np.ndarray:
    """Chords of an ellipse of value 1: the ray and the ellipse in coordinates where it is the unit circle."""
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]]) / [[a], [b]]
    source, directions = rays(A)
    s = ((source - (x0, y0)) @ turn.T)[:, None]
    d = directions @ turn.T
    dd, sd, ss = (d * d).sum(-1), (s * d).sum(-1), (s * s).sum(-1)
    return 2 * np.sqrt(np.maximum(sd**2 - dd * (ss - 1), 0)) / dd


def ellipse_image(A: FanBeam, x0: float, y0: float, a: float, b: float, tilt: float, fine: int = 8) -> np.ndarray:
    """Area of each pixel inside the ellipse."""
    (rows, columns), h = A.in_shape, A.spacing
    x = ((np.arange(columns * fine) + 0.5) / fine - 0.5 * columns) * h - x0
    y = -((np.arange(rows * fine) + 0.5) / fine - 0.5 * rows)[:, None] * h - y0
    along, across = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    inside = (along / a) ** 2 + (across / b) ** 2 < 1
    return inside.reshape(rows, fine, columns, fine).mean(axis=(1, 3))


def blob_integrals(A: FanBeam, x0: float, y0: float, sigma: float) -> np.ndarray:
    source, directions = rays(A)
    to = np.array([x0, y0]) - source
    s = directions[..., 0] * to[:, None, 1] - directions[..., 1] * to[:, None, 0]
    return np.sqrt(2 * np.pi) * sigma * np.exp(-(s**2) / (2 * sigma**2))


def blob_image(A: FanBeam, x0: float, y0: float, sigma: float) -> np.ndarray:
    rows, columns = A.in_shape
    x = (np.arange(columns) - 0.5 * (columns - 1)) * A.spacing
    y = -(np.arange(rows) - 0.5 * (rows - 1))[:, None] * A.spacing
    return np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_projection_is_josephs_for_a_smooth_image(name: str) -> None:
    # A cell reads between quarters of a pixel, where Joseph's sums of a smooth image are nearly straight.
    A = make(name)
    rows, columns = A.in_shape
    x = 1 + np.cos(0.3 * np.arange(rows))[:, None] * np.sin(0.4 + 0.25 * np.arange(columns))
    x = x * np.hanning(rows + 2)[1:-1, None] * np.hanning(columns + 2)[1:-1]
    expected, measured = joseph(x, A), A(x)
    # In one row or column the peaks of the interpolation are not summed away.
    tolerance = 2e-3 if min(rows, columns) > 1 else 0.02
    assert np.abs(measured - expected).max() <= tolerance * max(expected.max(), 1)
    np.testing.assert_allclose(A(x.astype(np.float32)), measured, atol=2e-6 * max(measured.max(), 5))


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-7), (np.float64, 1e-15)])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_adjoint_is_exact(name: str, dtype: type, tolerance: float) -> None:
    A = make(name)
    x, y = RNG.standard_normal(A.in_shape).astype(dtype), RNG.standard_normal(A.out_shape).astype(dtype)
    Ax, Aty = A(x).astype(np.float64), A.adjoint(y).astype(np.float64)
    gap = abs(np.vdot(Ax, y.astype(np.float64)) - np.vdot(x.astype(np.float64), Aty))
    assert gap <= tolerance * max(np.linalg.norm(Ax) * np.linalg.norm(y), 1e-300)
    assert Ax.any() == Aty.any() == (name != "cells beside the image")


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_adjoint_is_the_transpose_entry_by_entry(detector: str) -> None:
    A = FanBeam((6, 9), np.arange(7) * 0.9, source_distance=7.0, detector_distance=4.0, spacing=0.8, detector=detector)
    m, n = A.out_shape[0] * A.out_shape[1], 54
    forward = A(np.eye(n).reshape(n, 6, 9)).reshape(n, m).T
    backward = A.adjoint(np.eye(m).reshape(m, *A.out_shape)).reshape(m, n).T
    np.testing.assert_allclose(backward, forward.T, atol=1e-14)
    assert (forward >= 0).all()
    assert np.linalg.norm(forward, 2) <= A.norm() <= 1.02 * np.linalg.norm(forward, 2)


@pytest.mark.parametrize("shape", [(129, 129), (96, 140)])
@pytest.mark.parametrize("place", [(0.0, 0.0, 36.0, 36.0, 0.0), (10.0, -8.5, 34.0, 20.0, 0.6)], ids=["disc", "ellipse"])
@pytest.mark.parametrize(
    "geometry",
    [
        {"source_distance": 220.0, "detector_distance": 110.0},
        {"source_distance": 96.0, "detector_distance": 0.0, "detector": "curved", "axis_offset": 3.0},
        {"source_distance": 60.0, "detector_distance": 50.0, "spacing": 0.5, "center": 97.7, "axis_offset": -2.0},
    ],
    ids=["flat", "near, curved, axis beside", "flat, off centre"],
)
def test_ellipse_has_its_analytic_chords(shape: tuple[int, int], place: tuple[float, ...], geometry: dict) -> None:
    A = FanBeam(shape, 60, **geometry)
    ellipse = (*(A.spacing * v for v in place[:4]), place[4])
    measured, exact = A(ellipse_image(A, *ellipse)), ellipse_integrals(A, *ellipse)
    # Chords end in infinite slopes, which pixels blur; away from the ends they must fit.
    inside = exact > 0.5 * exact.max(axis=1, keepdims=True)
    np.testing.assert_allclose(measured[inside], exact[inside], rtol=0.02)
    assert relative(measured, exact) < 0.015


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_gaussian_blob_has_its_analytic_integrals(detector: str) -> None:
    geometry = {"spacing": 0.25, "detector_spacing": 0.4, "center": 70.2, "axis_offset": 1.3, "detector": detector}
    A = FanBeam((96, 128), np.linspace(-4, 4, 41), source_distance=45.0, detector_distance=20.0, **geometry)
    assert relative(A(blob_image(A, 3.0, -2.0, 1.5)), blob_integrals(A, 3.0, -2.0, 1.5)) < 3e-3


@pytest.mark.parametrize("detector", ["flat", "curved"])
def test_far_source_measures_as_parallel_beam(detector: str) -> None:
    views = {"detectors": 60, "center": 27.3, "detector_spacing": 0.8}
    A = FanBeam(
        (32, 37), ANGLES, source_distance=1e7, detector_distance=0.0, detector=detector, axis_offset=2.4, **views
    )
    B = ParallelBeam((32, 37), ANGLES, **{**views, "center": 27.3 + 2.4 / 0.8})
    x = blob_image(A, 3.0, -2.0, 4.0)
    assert relative(A(x), B(x)) < 3e-4


def test_at_angle_0_the_source_is_below_and_cells_count_from_left_to_right() -> None:
    A = FanBeam((11, 11), [0.0], source_distance=20.0, detector_distance=20.0, detectors=41, detector_spacing=1.0)
    x = np.zeros((11, 11))
    x[0, 8] = 1  # 5 above and 3 to the right of the axis: 25 from the source, whose ray passes the axis at 3 * 20 / 25
    shadow = A(x)[0]
    assert np.average(np.arange(41), weights=shadow) == pytest.approx(20 + 3 * 40 / 25, abs=0.05)


def test_default_detector_sees_the_whole_image_from_everywhere() -> None:
    for geometry in ({}, {"detector": "curved"}, {"axis_offset": 6.0}, {"axis_offset": -6.0, "detector": "curved"}):
        A = FanBeam((20, 31), 90, source_distance=40.0, detector_distance=10.0, **geometry)
        wide = FanBeam((20, 31), 90, **{**A._geometry(), "detectors": A.detectors + 20, "center": A.center + 10})
        assert (A.detectors - 31) % 2 == 0
        assert not wide(np.ones((20, 31)))[:, [0, 8, -9, -1]].any()


def test_an_integer_stands_for_equal_steps_over_a_turn() -> None:
    np.testing.assert_array_equal(FanBeam((8, 8), 5, **NEAR).angles, np.arange(5) * (2 * np.pi / 5))


@pytest.mark.parametrize("pays", [True, False], ids=["parallel", "serial"])
def test_batch_equals_loop_whatever_the_threads(pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    A = make("wide")
    x, y = RNG.standard_normal((2, 3, *A.in_shape)), RNG.standard_normal((2, 3, *A.out_shape))
    one_by_one = [A(image) for image in x.reshape(-1, *A.in_shape)]
    back_one_by_one = [A.adjoint(sinogram) for sinogram in y.reshape(-1, *A.out_shape)]
    monkeypatch.setattr(kernels, "parallel_pays", lambda size: pays)
    monkeypatch.setattr(kernels, "threads", lambda: 3)
    monkeypatch.setattr(_planar_scan, "SCRATCH_BYTES", 200_000)  # so that the batch is taken in pieces
    assert len(A._pieces(x.reshape(-1, *A.in_shape))) > 1
    np.testing.assert_array_equal(A(x).reshape(6, *A.out_shape), one_by_one)
    np.testing.assert_array_equal(A.adjoint(y).reshape(6, *A.in_shape), back_one_by_one)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_inputs_are_not_changed(dtype: type) -> None:
    A = make("curved, off centre")
    x, y = RNG.random(A.in_shape).astype(dtype), RNG.random(A.out_shape).astype(dtype)
    x.setflags(write=False)
    y.setflags(write=False)
    assert A(x).dtype == A.adjoint(y).dtype == dtype
    np.testing.assert_array_equal(A(np.asfortranarray(x)), A(x))
    np.testing.assert_array_equal(A.adjoint(np.asfortranarray(y)), A.adjoint(y))


@pytest.mark.parametrize("name", ["tall, off centre", "source at the corner, curved"])
def test_pickles(name: str) -> None:
    A = make(name)
    B = pickle.loads(pickle.dumps(A))
    x = RNG.random(A.in_shape)
    np.testing.assert_array_equal(A(x), B(x))
    assert repr(A) == repr(B) == f"FanBeam(shape={A.in_shape}, angles=20, detectors={A.detectors})"
    assert len(pickle.dumps(A)) < 1500


@pytest.mark.parametrize("name", ["wide", "curved, off centre", "source at the corner", "fine cells", "far source"])
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-11)])
def test_torch_body_equals_numba_body(name: str, dtype: type, tolerance: float) -> None:
    torch = pytest.importorskip("torch")
    A = make(name, ANGLES[::3])
    x, y = RNG.standard_normal((2, *A.in_shape)).astype(dtype), RNG.standard_normal((2, *A.out_shape)).astype(dtype)
    forward, backward = A._apply_torch(torch.from_numpy(x)).numpy(), A._adjoint_torch(torch.from_numpy(y)).numpy()
    assert forward.dtype == backward.dtype == dtype
    assert relative(forward, A(x)) < tolerance
    assert relative(backward, A.adjoint(y)) < tolerance


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"angles": []}, errors.ShapeError, "angles has shape (0,)"),
        ({"angles": [0, np.nan]}, errors.NonFiniteError, "angles holds 1 NaN"),
        ({"shape": (4, 4, 4)}, errors.ShapeError, "shape is (4, 4, 4)"),
        ({"source_distance": 5.0}, errors.ArgumentError, "expected more than half the diagonal of the image, 5.65685"),
        ({"source_distance": "far"}, errors.DTypeError, "source_distance is 'far'"),
        ({"detector_distance": -1.0}, errors.ArgumentError, "detector_distance is -1.0"),
        ({"detectors": 0}, errors.ArgumentError, "detectors is 0"),
        ({"detector_spacing": 0.0}, errors.ArgumentError, "detector_spacing is 0.0"),
        ({"center": "left"}, errors.DTypeError, "center is 'left'"),
        ({"axis_offset": np.inf}, errors.ArgumentError, "axis_offset is inf"),
        ({"axis_offset": True}, errors.DTypeError, "axis_offset is True"),
        ({"detector": "curvy"}, errors.OptionError, "Did you mean 'curved'"),
        ({"detector": None}, errors.OptionError, "detector is None"),
        ({"detector": "curved", "detectors": 900}, errors.ArgumentError, "expected less than 90"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, error: type, message: str) -> None:
    arguments = {"shape": (8, 8), "angles": 4, **NEAR, **arguments}
    with pytest.raises(error) as caught:
        FanBeam(arguments.pop("shape"), arguments.pop("angles"), **arguments)
    assert message in str(caught.value)
    assert "expected" in str(caught.value)


def test_a_wrong_sinogram_gets_its_remedy() -> None:
    A = FanBeam((32, 32), 180, detectors=64, **NEAR)
    with pytest.raises(errors.ShapeError, match=r"FanBeam\(shape=\(32, 32\), angles=180.* Pass 181 angles."):
        A.adjoint(np.zeros((181, 64)))


@pytest.mark.parametrize("degrees", [np.arange(0, 360, 2), np.linspace(0, 360, 361)[:-1], np.linspace(0, 180, 67)])
def test_degrees_get_a_warning(degrees: np.ndarray) -> None:
    with pytest.warns(UserWarning, match=r"looks like degrees; expected radians. Pass np.deg2rad\(angles\)"):
        FanBeam((8, 8), degrees, **NEAR)
    with pytest.warns(UserWarning, match="looks like degrees"):
        ParallelBeam((8, 8), degrees)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("angles", [np.arange(200) * 1.9416, np.linspace(-12, 12, 25), np.arange(12), [100.03]])
def test_radians_get_none(angles: np.ndarray) -> None:
    ParallelBeam((8, 8), angles)
