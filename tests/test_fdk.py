"""The Feldkamp-Davis-Kress method: values, places and scale of what it reconstructs."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from recon import fbp, fdk
from recon.operators import ConeBeam, FanBeam, Identity
from solvers import errors

DISTANCES = {"source_distance": 120.0, "detector_distance": 60.0}


def ball(A: ConeBeam, middle: tuple[float, float, float], radius: float, fine: int = 3) -> np.ndarray:
    """Share of each voxel within a ball; x, y, z."""
    z, y, x = (
        ((np.arange(n * fine) + 0.5) / fine - 0.5 * n) * h
        for n, h in zip(A.in_shape, (A.spacing[0], -A.spacing[1], A.spacing[2]), strict=True)
    )
    inside = ((z - middle[2]) ** 2)[:, None, None] + ((y - middle[1]) ** 2)[:, None] + (x - middle[0]) ** 2 < radius**2
    slices, rows, columns = A.in_shape
    return inside.reshape(slices, fine, rows, fine, columns, fine).mean(axis=(1, 3, 5))


SCANS = {
    "full turn": {},
    "curved": {"detector": "curved"},
    "short scan": {"angles": np.linspace(0.3, 0.3 + np.pi + 0.9, 110)},
    "backwards, unequal": {"angles": np.cumsum(np.random.default_rng(0).uniform(-0.06, -0.03, 150))},
    "off centre": {"center": (20.0, 36.5), "detectors": (48, 80)},
    "small voxels": {"spacing": 0.5, "source_distance": 60.0, "detector_distance": 30.0},
    "flat voxels": {"spacing": (1.6, 1.0, 1.0), "shape": (20, 48, 48)},
}


@pytest.mark.parametrize("name", SCANS)
def test_a_ball_comes_out_with_its_value_in_its_place(name: str) -> None:
    scan = {"shape": (32, 48, 48), "angles": 140, **DISTANCES, **SCANS[name]}
    A = ConeBeam(scan.pop("shape"), scan.pop("angles"), **scan)
    unit = A.spacing[2]
    middle = (5 * unit, -4 * unit, 2 * unit)
    y = A(ball(A, middle, 12 * unit).astype(np.float32) * np.float32(0.7))
    x = fdk(y, A)
    assert x.dtype == np.float32
    within = ball(A, middle, 9 * unit) == 1
    within[np.abs(np.arange(len(within)) - 0.5 * (len(within) - 1)) > 1.5] = False  # the slices at the source's height
    assert abs(x[within].mean() - 0.7) < 0.007
    assert x[within].std() < 0.014
    whole = ball(A, middle, 9 * unit) == 1
    assert abs(x[whole].mean() - 0.7) < 0.014
    around = ball(A, middle, 15 * unit) == 0
    around[np.abs(np.arange(len(around)) - 0.5 * (len(around) - 1)) > 1.5] = False
    assert np.abs(x[around].mean()) < 0.01


def test_a_single_slice_is_the_filtered_back_projection_of_a_fan() -> None:
    A = ConeBeam((3, 40, 40), 120, **DISTANCES, detectors=(3, 60))
    fan = FanBeam((40, 40), 120, **DISTANCES, detectors=60, detector_spacing=1.5)
    y = fan(np.pad(np.ones((16, 20)), ((12, 12), (10, 10))))
    stack = np.stack([np.zeros_like(y), y, np.zeros_like(y)], axis=1)
    for window in ("ram-lak", "hann"):
        expected = fbp(y, fan, window=window)
        found = fdk(stack, A, window=window)[1]
        assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)  # fans read between samples


def test_it_is_linear_in_batches_and_keeps_the_input() -> None:
    A = ConeBeam((8, 12, 12), 30, **DISTANCES)
    y = np.random.default_rng(0).standard_normal((2, *A.out_shape))
    y.setflags(write=False)
    x = fdk(y, A)
    np.testing.assert_allclose(x[1], fdk(y[1], A), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fdk(2 * y[0] - y[1], A), 2 * x[0] - x[1], atol=1e-9)


def test_a_tensor_gives_a_tensor() -> None:
    torch = pytest.importorskip("torch")
    A = ConeBeam((8, 12, 12), 30, **DISTANCES)
    y = np.random.default_rng(0).random(A.out_shape)
    np.testing.assert_array_equal(fdk(torch.from_numpy(y), A).numpy(), fdk(y, A))
    with pytest.raises(errors.DTypeError, match=r"y\.detach"):
        fdk(torch.from_numpy(y).requires_grad_(), A)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"operator": Identity((4, 4, 4))}, errors.OperatorError, "expected ConeBeam"),
        ({"operator": ConeBeam((8, 12, 12), 20, **DISTANCES, pitch=2.0)}, errors.OperatorError, "pitch=2"),
        ({"window": "han"}, errors.OptionError, "Did you mean 'hann'"),
        ({"y": np.zeros((19, 14, 20))}, errors.ShapeError, "y has shape (19, 14, 20)"),
    ],
)
def test_wrong_arguments_are_named(change: dict, error: type, message: str) -> None:
    A = ConeBeam((8, 12, 12), 20, **DISTANCES, detectors=(14, 20))
    given = {"y": np.zeros((20, 14, 20)), "operator": A, **change}
    with pytest.raises(error) as caught:
        fdk(given.pop("y"), given.pop("operator"), **given)
    assert message in str(caught.value)


def test_the_example_of_its_docstring() -> None:
    assert doctest.testmod(importlib.import_module("recon.fdk"), extraglobs={"np": np}).failed == 0
