"""The parallel-beam projector: against a naive twin, against analytic line integrals, and its contracts."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recon.operators import ParallelBeam, _planar_scan
from solvers import errors, kernels

RNG = np.random.default_rng(0)
ANGLES = np.concatenate([RNG.uniform(-9, 9, 9), np.arange(-3, 6) * np.pi / 4, [1e-9, np.pi / 4 + 1e-12]])

GEOMETRIES = {
    "square": {"shape": (33, 33)},
    "wide": {"shape": (20, 47), "spacing": 0.7},
    "tall": {"shape": (45, 18), "detectors": 31, "center": 9.3},
    "fine cells": {"shape": (24, 30), "detector_spacing": 0.09, "detectors": 300},
    "coarse cells": {"shape": (40, 40), "spacing": 0.5, "detector_spacing": 2.6},
    "cells beside the image": {"shape": (16, 16), "detectors": 9, "center": 60.0},
    "cells far away": {"shape": (9, 8), "detectors": 5, "center": -1e12},
    "cells over one edge": {"shape": (64, 64), "detectors": 20, "center": -10.0},
    "one row": {"shape": (1, 40)},
    "one column": {"shape": (40, 1)},
    "one pixel": {"shape": (1, 1), "detectors": 5},
    "one cell": {"shape": (12, 13), "detectors": 1},
}


def make(name: str, angles: np.ndarray = ANGLES) -> ParallelBeam:
    geometry = dict(GEOMETRIES[name])
    return ParallelBeam(geometry.pop("shape"), angles, **geometry)


def naive_projection(x: np.ndarray, A: ParallelBeam) -> np.ndarray:
    """Joseph's sums at quarters of a pixel, linear between them, view by view."""
    y = np.zeros(A.out_shape)
    ratio = A.detector_spacing / A.spacing
    for k, angle in enumerate(A.angles):
        image, cos, sin = x, np.cos(angle), np.sin(angle)
        if abs(cos) < abs(sin):
            image, cos, sin = x.T, -sin, -cos
        rows, columns = image.shape
        padded = np.pad(image, ((0, 0), (1, 1)))
        crossing = np.arange(rows) - 0.5 * (rows - 1)

        def joseph(t: np.ndarray, padded=padded, tilt=sin / cos * crossing) -> np.ndarray:
            grid = np.arange(-1, padded.shape[1] - 1)
            return sum(np.interp(t + s, grid, row, left=0, right=0) for s, row in zip(tilt, padded, strict=True))

        t = 0.5 * (columns - 1) + (np.arange(A.detectors) - A.center) * ratio / cos
        below, fraction = np.floor(4 * t) / 4, (4 * t) % 1
        y[k] = A.spacing / abs(cos) * ((1 - fraction) * joseph(below) + fraction * joseph(below + 0.25))
    return y


def ellipse_integrals(A: ParallelBeam, x0: float, y0: float, a: float, b: float, tilt: float) -> np.ndarray:
    """Chords of an ellipse of value 1, in the unit of ``spacing``."""
    u = (np.arange(A.detectors) - A.center) * A.detector_spacing
    angle = A.angles[:, None]
    width2 = (a * np.cos(angle - tilt)) ** 2 + (b * np.sin(angle - tilt)) ** 2
    s = u - x0 * np.cos(angle) - y0 * np.sin(angle)
    return 2 * a * b * np.sqrt(np.maximum(width2 - s**2, 0)) / width2


def ellipse_image(A: ParallelBeam, x0: float, y0: float, a: float, b: float, tilt: float, fine: int = 8) -> np.ndarray:
    """Area of each pixel inside the ellipse; x to the right, y upwards, the axis in the middle."""
    (rows, columns), h = A.in_shape, A.spacing
    x = ((np.arange(columns * fine) + 0.5) / fine - 0.5 * columns) * h - x0
    y = -((np.arange(rows * fine) + 0.5) / fine - 0.5 * rows)[:, None] * h - y0
    along, across = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    inside = (along / a) ** 2 + (across / b) ** 2 < 1
    return inside.reshape(rows, fine, columns, fine).mean(axis=(1, 3))


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_projection_equals_the_naive_twin(name: str) -> None:
    A = make(name)
    x = RNG.standard_normal(A.in_shape)
    expected = naive_projection(x, A)
    scale = np.abs(expected).max() or 1.0
    assert np.abs(A(x) - expected).max() <= 1e-12 * max(scale, 1)
    assert np.abs(A(x.astype(np.float32)) - expected).max() <= 2e-6 * max(scale, 1)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-7), (np.float64, 1e-15)])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_adjoint_is_exact(name: str, dtype: type, tolerance: float) -> None:
    A = make(name)
    x, y = RNG.standard_normal(A.in_shape).astype(dtype), RNG.standard_normal(A.out_shape).astype(dtype)
    Ax, Aty = A(x).astype(np.float64), A.adjoint(y).astype(np.float64)
    gap = abs(np.vdot(Ax, y.astype(np.float64)) - np.vdot(x.astype(np.float64), Aty))
    assert gap <= tolerance * max(np.linalg.norm(Ax) * np.linalg.norm(y), 1e-300)
    assert Ax.any() == Aty.any() == (name not in ("cells beside the image", "cells far away"))


def test_adjoint_is_the_transpose_entry_by_entry() -> None:
    A = ParallelBeam((6, 9), np.arange(7) * 0.5, detectors=8, spacing=0.8, center=3.1)
    forward = A(np.eye(54).reshape(54, 6, 9)).reshape(54, -1).T
    backward = A.adjoint(np.eye(56).reshape(56, 7, 8)).reshape(56, -1).T
    np.testing.assert_allclose(backward, forward.T, atol=1e-14)
    assert (forward >= 0).all()
    assert np.linalg.norm(forward, 2) <= A.norm() <= 1.02 * np.linalg.norm(forward, 2)


@pytest.mark.parametrize("shape", [(129, 129), (96, 140)])
@pytest.mark.parametrize("place", [(0.0, 0.0, 36.0, 36.0, 0.0), (10.0, -8.5, 34.0, 20.0, 0.6)], ids=["disc", "ellipse"])
@pytest.mark.parametrize("center, spacing, cells", [(None, 1.0, 1.0), (97.7, 0.5, 0.4)])
def test_ellipse_has_its_analytic_chords(
    shape: tuple[int, int], place: tuple[float, ...], center: float | None, spacing: float, cells: float
) -> None:
    A = ParallelBeam(shape, 60, spacing=spacing, detector_spacing=cells, center=center, detectors=None)
    ellipse = (*(spacing * v for v in place[:4]), place[4])
    measured, exact = A(ellipse_image(A, *ellipse)), ellipse_integrals(A, *ellipse)
    # Chords end in infinite slopes, which pixels blur; away from the ends they must fit.
    inside = exact > 0.5 * exact.max(axis=1, keepdims=True)
    np.testing.assert_allclose(measured[inside], exact[inside], rtol=0.02)
    assert relative(measured, exact) < 0.015
    seen = exact[:, 0] + exact[:, -1] == 0
    np.testing.assert_allclose(measured.sum(1)[seen], exact.sum(1)[seen], rtol=5e-3)


def test_gaussian_blob_has_its_analytic_integrals() -> None:
    A = ParallelBeam((96, 128), np.linspace(-4, 4, 41), spacing=0.25, detector_spacing=0.3, center=70.2)
    x = (np.arange(128) - 63.5) * 0.25
    y = -(np.arange(96) - 47.5)[:, None] * 0.25
    sigma, x0, y0 = 1.5, 3.0, -2.0
    blob = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))
    s = (np.arange(A.detectors) - 70.2) * 0.3 - (x0 * np.cos(A.angles) + y0 * np.sin(A.angles))[:, None]
    exact = np.sqrt(2 * np.pi) * sigma * np.exp(-(s**2) / (2 * sigma**2))
    assert relative(A(blob), exact) < 3e-3


@pytest.mark.parametrize("shape", [(31, 31), (20, 34)])
def test_view_at_angle_0_sums_columns_and_at_a_quarter_turn_rows_from_below(shape: tuple[int, int]) -> None:
    x = RNG.random(shape)
    A = ParallelBeam(shape, [0.0, np.pi / 2, np.pi], detectors=shape[1], spacing=0.5)
    np.testing.assert_allclose(A(x)[0], 0.5 * x.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(A(x)[2], A(x)[0][::-1], rtol=1e-12)
    B = ParallelBeam(shape, [np.pi / 2], detectors=shape[0])
    np.testing.assert_allclose(B(x)[0], x.sum(axis=1)[::-1], rtol=1e-12)


def test_default_detector_covers_the_diagonal_and_faces_the_columns() -> None:
    for shape in [(33, 33), (20, 47), (512, 512)]:
        A = ParallelBeam(shape, 4)
        assert A.detectors >= np.hypot(*shape) > A.detectors - 3
        assert (A.detectors - shape[1]) % 2 == 0
        x = np.ones(shape)
        np.testing.assert_allclose(A(x).sum(axis=1)[[0, 2]], x.sum(), rtol=1e-12)


def test_turns_like_scikit_image() -> None:
    from skimage.transform import radon

    A = ParallelBeam((129, 129), 40, detectors=129)
    x = sum(
        v * ellipse_image(A, *e)
        for v, e in [(1.0, (0, 0, 50, 40, 0.3)), (0.5, (20, 10, 15, 8, 1.0)), (-0.4, (-10, -25, 9, 12, 0.0))]
    )
    assert relative(A(x), radon(x, np.rad2deg(A.angles), circle=True).T) < 5e-3


def test_an_integer_stands_for_equal_steps_over_half_a_turn() -> None:
    np.testing.assert_array_equal(ParallelBeam((8, 8), 5).angles, np.arange(5) * (np.pi / 5))


@pytest.mark.parametrize("pays", [True, False], ids=["parallel", "serial"])
def test_batch_equals_loop_whatever_the_threads(pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    A = make("wide")
    x, y = RNG.standard_normal((2, 3, *A.in_shape)), RNG.standard_normal((2, 3, *A.out_shape))
    one_by_one = [A(image) for image in x.reshape(-1, *A.in_shape)]
    back_one_by_one = [A.adjoint(sinogram) for sinogram in y.reshape(-1, *A.out_shape)]
    monkeypatch.setattr(kernels, "parallel_pays", lambda size: pays)
    monkeypatch.setattr(kernels, "threads", lambda: 3)
    monkeypatch.setattr(_planar_scan, "SCRATCH_BYTES", 500_000)  # so that the batch is taken in pieces
    assert len(A._pieces(x.reshape(-1, *A.in_shape))) > 1
    np.testing.assert_array_equal(A(x).reshape(6, *A.out_shape), one_by_one)
    np.testing.assert_array_equal(A.adjoint(y).reshape(6, *A.in_shape), back_one_by_one)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_inputs_are_not_changed(dtype: type) -> None:
    A = make("tall")
    x, y = RNG.random(A.in_shape).astype(dtype), RNG.random(A.out_shape).astype(dtype)
    x.setflags(write=False)
    y.setflags(write=False)
    assert A(x).dtype == A.adjoint(y).dtype == dtype
    assert A(x).flags.c_contiguous and A.adjoint(y).flags.c_contiguous
    np.testing.assert_array_equal(A(np.asfortranarray(x)), A(x))
    np.testing.assert_array_equal(A.adjoint(np.asfortranarray(y)), A.adjoint(y))
    integers = np.arange(np.prod(A.in_shape)).reshape(A.in_shape)
    np.testing.assert_array_equal(A(integers), A(integers.astype(np.float32)))


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, 2.0])
def test_a_single_view_spreads_what_it_sums(angle: float) -> None:
    A = ParallelBeam((6, 9), [angle])
    forward = A(np.eye(54).reshape(54, 6, 9)).reshape(54, -1).T
    backward = A.adjoint(np.eye(len(forward)).reshape(-1, *A.out_shape)).reshape(-1, 54)
    np.testing.assert_allclose(backward, forward, atol=1e-14)


def test_linearity() -> None:
    A = make("square")
    x, z = RNG.standard_normal((2, *A.in_shape))
    np.testing.assert_allclose(A(2 * x - 3 * z), 2 * A(x) - 3 * A(z), atol=1e-12)


def test_calls_from_several_threads() -> None:
    A = ParallelBeam((96, 96), 64)
    x = RNG.standard_normal((8, *A.in_shape)).astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(A.gram, x))
    np.testing.assert_array_equal(together, [A.gram(image) for image in x])


def test_pickles() -> None:
    A = make("tall")
    B = pickle.loads(pickle.dumps(A))
    x = RNG.random(A.in_shape)
    np.testing.assert_array_equal(A(x), B(x))
    assert repr(A) == repr(B) == "ParallelBeam(shape=(45, 18), angles=20, detectors=31)"
    assert not A.angles.flags.writeable and not B.angles.flags.writeable


def test_angles_are_copied() -> None:
    angles = np.linspace(0, 3, 10)
    A = ParallelBeam((16, 16), angles)
    x = RNG.random((16, 16))
    before = A(x)
    angles[:] = 0
    np.testing.assert_array_equal(A(x), before)


@pytest.mark.parametrize("name", ["wide", "fine cells", "cells over one edge", "one pixel"])
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-5), (np.float64, 1e-11)])
def test_torch_body_equals_numba_body(name: str, dtype: type, tolerance: float) -> None:
    torch = pytest.importorskip("torch")
    A = make(name)
    x, y = RNG.standard_normal((2, *A.in_shape)).astype(dtype), RNG.standard_normal((2, *A.out_shape)).astype(dtype)
    forward, backward = A._apply_torch(torch.from_numpy(x)).numpy(), A._adjoint_torch(torch.from_numpy(y)).numpy()
    assert forward.dtype == backward.dtype == dtype
    assert relative(forward, A(x)) < tolerance
    assert relative(backward, A.adjoint(y)) < tolerance
    np.testing.assert_array_equal(A._apply_torch(torch.from_numpy(x[0])).numpy(), forward[0])


def test_a_tensor_gets_the_adjoint_as_its_gradient() -> None:
    torch = pytest.importorskip("torch")
    A = make("square")
    x, r = RNG.standard_normal(A.in_shape), RNG.standard_normal(A.out_shape)
    tensor = torch.from_numpy(x).requires_grad_()
    (A(tensor) * torch.from_numpy(r)).sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), A.adjoint(r), rtol=1e-12)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"angles": []}, errors.ShapeError, "angles has shape (0,)"),
        ({"angles": [[0.0, 1.0]]}, errors.ShapeError, "angles has shape (1, 2)"),
        ({"angles": 0.5}, errors.ShapeError, "angles has shape ()"),
        ({"angles": [0, np.nan, np.inf]}, errors.NonFiniteError, "2 NaN or infinite values, the first at index 1"),
        ({"angles": True}, errors.DTypeError, "angles is True"),
        ({"angles": [1j]}, errors.DTypeError, "angles has dtype complex128"),
        ({"angles": ["0"]}, errors.DTypeError, "angles has dtype"),
        ({"angles": [[1], [1, 2]]}, errors.DTypeError, "angles is a ragged sequence"),
        ({"angles": 0}, errors.ArgumentError, "angles is 0"),
        ({"detectors": True}, errors.DTypeError, "detectors is True"),
        ({"detectors": -3}, errors.ArgumentError, "detectors is -3"),
        ({"detectors": 7.0}, errors.DTypeError, "detectors is 7.0"),
        ({"spacing": 0.0}, errors.ArgumentError, "spacing is 0.0"),
        ({"detector_spacing": np.nan}, errors.ArgumentError, "detector_spacing is nan"),
        ({"center": np.inf}, errors.ArgumentError, "center is inf"),
        ({"center": "left"}, errors.DTypeError, "center is 'left'"),
        ({"shape": (4, 4, 4)}, errors.ShapeError, "shape is (4, 4, 4)"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, error: type, message: str) -> None:
    arguments = {"shape": (8, 8), "angles": 4, **arguments}
    with pytest.raises(error) as caught:
        ParallelBeam(arguments.pop("shape"), arguments.pop("angles"), **arguments)
    assert message in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    "shape, remedy",
    [
        ((181, 64), "Pass 181 angles."),
        ((180, 65), "Pass detectors=65."),
        ((64, 180), "with its last two axes exchanged"),
        ((64,), "Pass one row of detectors"),
    ],
)
def test_a_wrong_sinogram_gets_its_remedy(shape: tuple[int, ...], remedy: str) -> None:
    A = ParallelBeam((32, 32), 180, detectors=64)
    with pytest.raises(errors.ShapeError) as caught:
        A.adjoint(np.zeros(shape))
    for part in (str(shape), "ParallelBeam(shape=(32, 32), angles=180, detectors=64)", remedy):
        assert part in str(caught.value)


def test_complex_images_are_refused() -> None:
    with pytest.raises(errors.DTypeError, match="takes real arrays"):
        make("square")(np.zeros((33, 33), complex))
