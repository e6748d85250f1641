"""The parallel projector of volumes: slices as by the planar one, and tilted rays."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from recon.operators import ParallelBeam, ParallelBeam3D
from solvers import errors

RNG = np.random.default_rng(0)
ANGLES = np.array([0.0, 0.4, np.pi / 2, 2.2, 4.0, -1.0])


def gaussian(A: ParallelBeam3D, middle: np.ndarray, sigma: float) -> np.ndarray:
    z, y, x = (
        (np.arange(n) - 0.5 * (n - 1)) * h
        for n, h in zip(A.in_shape, (A.spacing[0], -A.spacing[1], A.spacing[2]), strict=True)
    )
    squares = ((z - middle[2]) ** 2)[:, None, None] + ((y - middle[1]) ** 2)[:, None] + (x - middle[0]) ** 2
    return np.exp(-0.5 * squares / sigma**2)


def integrals(A: ParallelBeam3D, middle: np.ndarray, sigma: float) -> np.ndarray:
    """Of the Gaussian, by the docstring's unit vectors."""
    y = np.empty(A.out_shape)
    v, u = ((np.arange(n) - c) * s for n, c, s in zip(A.detectors, A.center, A.detector_spacing, strict=True))
    for k, angle in enumerate(A.angles):
        e = np.array([np.cos(angle), np.sin(angle), 0])
        n = np.array([-np.sin(angle) * np.cos(A.tilt), np.cos(angle) * np.cos(A.tilt), np.sin(A.tilt)])
        f = np.cross(e, n)
        beside = (u - middle @ e) ** 2 + ((v - middle @ f) ** 2)[:, None]
        y[k] = np.sqrt(2 * np.pi) * sigma * np.exp(-0.5 * beside / sigma**2)
    return y


@pytest.mark.parametrize("change", [{}, {"spacing": 0.5}, {"detectors": (5, 9), "center": (2.0, 3.1)}])
def test_slices_are_projected_as_by_the_planar_projector(change: dict) -> None:
    A = ParallelBeam3D((5, 8, 9), ANGLES, **change)
    planar = {
        "detectors": A.detectors[1],
        "center": A.center[1],
        "spacing": A.spacing[2],
    }
    B = ParallelBeam((8, 9), ANGLES, **planar)
    x, y = RNG.standard_normal((2, *A.in_shape)), RNG.standard_normal((2, *A.out_shape))
    np.testing.assert_array_equal(A(x), B(x).swapaxes(-3, -2))
    np.testing.assert_array_equal(A.adjoint(y), B.adjoint(y.swapaxes(-3, -2)))


@pytest.mark.parametrize(
    "change",
    [
        {"tilt": 0.0, "detectors": (50, 70)},
        {"tilt": 0.5},
        {"tilt": -0.7, "detector_spacing": (0.8, 1.2)},
        {"tilt": 0.3, "spacing": (1.3, 0.9, 1.0), "center": (35.0, 30.5)},
    ],
)
def test_gaussian_blob_has_its_analytic_integrals(change: dict) -> None:
    A = ParallelBeam3D((34, 44, 40), ANGLES, **change)
    middle, sigma = np.array([3.0, -4.0, 2.5]), 3.5
    exact = integrals(A, middle, sigma)
    assert np.linalg.norm(A(gaussian(A, middle, sigma)) - exact) < 0.02 * np.linalg.norm(exact)


def test_adjoint_of_tilted_rays_is_the_transpose_entry_by_entry() -> None:
    A = ParallelBeam3D((4, 6, 5), ANGLES[:3], tilt=0.6, detectors=(7, 8))
    forward = A(np.eye(120).reshape(120, 4, 6, 5)).reshape(120, -1).T
    backward = A.adjoint(np.eye(168).reshape(168, 3, 7, 8)).reshape(168, -1).T
    np.testing.assert_allclose(backward, forward.T, atol=1e-14)


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_torch_body_equals_numba_body(tilt: float) -> None:
    torch = pytest.importorskip("torch")
    A = ParallelBeam3D((5, 8, 9), ANGLES, tilt=tilt)
    x, y = RNG.standard_normal((2, *A.in_shape)), RNG.standard_normal((2, *A.out_shape))
    np.testing.assert_allclose(A._apply_torch(torch.from_numpy(x)), A(x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(A._adjoint_torch(torch.from_numpy(y)), A.adjoint(y), rtol=0, atol=1e-12)
    assert A.gram(torch.zeros(A.in_shape, device="meta")).device.type == "meta"


def test_the_detector_covers_the_volume_by_default() -> None:
    for tilt in (0.0, 0.6, -0.3):
        A = ParallelBeam3D((10, 14, 12), 20, tilt=tilt)
        y = A(np.pad(np.ones((8, 12, 10)), 1))
        assert not y[:, 0].any() and not y[:, -1].any() and not y[:, :, 0].any() and not y[:, :, -1].any()
    assert ParallelBeam3D((10, 14, 12), 20).detectors == (10, ParallelBeam((14, 12), 20).detectors)


def test_pickles() -> None:
    A = ParallelBeam3D((5, 6, 7), 4, tilt=0.2)
    x = RNG.random(A.in_shape)
    B = pickle.loads(pickle.dumps(A))
    np.testing.assert_array_equal(A(x), B(x))
    assert repr(B) == repr(A) == f"ParallelBeam3D(shape=(5, 6, 7), angles=4, detectors={A.detectors})"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"shape": (8, 8)}, errors.ShapeError, "shape is (8, 8)"),
        ({"tilt": 30.0}, errors.ArgumentError, "tilt is 30; expected radians"),
        ({"tilt": "1"}, errors.DTypeError, "tilt is '1'"),
        ({"detectors": 9}, errors.ShapeError, "detectors is 9"),
        ({"spacing": (1.0, 0.0, 1.0)}, errors.ArgumentError, "spacing[1] is 0.0"),
        ({"center": 4.0}, errors.ShapeError, "center is 4.0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, error: type, message: str) -> None:
    arguments = {"shape": (4, 8, 8), "angles": 4, **arguments}
    with pytest.raises(error) as caught:
        ParallelBeam3D(arguments.pop("shape"), arguments.pop("angles"), **arguments)
    assert message in str(caught.value)
