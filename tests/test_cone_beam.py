"""The cone-beam projector: against a naive twin, against analytic line integrals, and its contracts."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from recon.operators import ConeBeam, ParallelBeam, ParallelBeam3D
from recon.spec import load_operator
from solvers import errors, kernels

RNG = np.random.default_rng(0)
ANGLES = np.concatenate([RNG.uniform(-9, 9, 5), np.arange(-1, 3) * np.pi / 2, [np.pi / 4, 1e-9]])
SHORT = {"source_distance": 40.0, "detector_distance": 25.0}

GEOMETRIES = {
    "cube": {"shape": (12, 12, 12), **SHORT},
    "odd": {"shape": (9, 13, 10), **SHORT, "detectors": (14, 21), "detector_spacing": (1.1, 1.4)},
    "voxels of three sizes": {"shape": (8, 12, 11), **SHORT, "spacing": (1.3, 0.7, 1.1)},
    "off centre": {"shape": (8, 12, 12), **SHORT, "detectors": (15, 18), "center": (3.2, 12.7)},
    "curved": {"shape": (8, 12, 12), **SHORT, "detector": "curved"},
    "helical": {"shape": (16, 10, 12), **SHORT, "pitch": 5.0, "detectors": (7, 23)},
    "curved helical": {"shape": (16, 10, 12), **SHORT, "pitch": -3.0, "detector": "curved", "detectors": (9, 23)},
    "detector on the axis": {"shape": (8, 9, 10), "source_distance": 30.0, "detector_distance": 0.0},
    "near source": {"shape": (20, 16, 16), "source_distance": 12.5, "detector_distance": 9.3, "detectors": (9, 40)},
    "many columns": {"shape": (5, 20, 20), **SHORT, "detectors": (4, 150), "detector_spacing": (2.0, 0.4)},
    "one slice": {"shape": (1, 12, 9), **SHORT},
    "one row": {"shape": (6, 1, 14), **SHORT},
    "one voxel": {"shape": (1, 1, 1), **SHORT, "detectors": (3, 4)},
    "one cell": {"shape": (7, 8, 9), **SHORT, "detectors": (1, 1)},
    "cells beside the volume": {"shape": (6, 7, 8), **SHORT, "detectors": (5, 6), "center": (70.0, 90.0)},
}


def make(name: str, angles: np.ndarray = ANGLES) -> ConeBeam:
    geometry = dict(GEOMETRIES[name])
    return ConeBeam(geometry.pop("shape"), angles, **geometry)


def ends(A: ConeBeam, k: int, r: int, c: int) -> tuple[np.ndarray, np.ndarray]:
    """Source and cell in x, y, z, as the docstring of ConeBeam has them."""
    angle, R, D = A.angles[k], A.source_distance, A.detector_distance
    right, ahead = np.array([np.cos(angle), np.sin(angle), 0]), np.array([-np.sin(angle), np.cos(angle), 0])
    u, v = (c - A.center[1]) * A.detector_spacing[1], (r - A.center[0]) * A.detector_spacing[0]
    up = np.array([0, 0, 1.0])
    source = -R * ahead + A.pitch * angle / (2 * np.pi) * up
    if A.detector == "curved":
        fan = u / (R + D)
        return source, source + (R + D) * (np.cos(fan) * ahead + np.sin(fan) * right) + v * up
    return source, source + (R + D) * ahead + u * right + v * up


def naive_ray(x: np.ndarray, A: ConeBeam, source: np.ndarray, cell: np.ndarray) -> float:
    """Joseph's sum along one ray."""
    step = np.array([1 / A.spacing[2], -1 / A.spacing[1], 1 / A.spacing[0]])[[2, 1, 0]]  # slices, rows, columns
    start = source[::-1] * step + 0.5 * (np.array(x.shape) - 1)
    course = (cell - source)[::-1] * step
    march = 2 if abs(course[2]) > abs(course[1]) else 1
    across = 3 - march
    total = 0.0
    for q in range(x.shape[march]):
        t = (q - start[march]) / course[march]
        if t <= 0:
            continue
        at = start + t * course
        if not -1 < at[across] < x.shape[across]:
            continue
        plane = np.pad(np.take(x, q, axis=march), 1)
        z, p = np.clip(at[0], -1, x.shape[0]) + 1, at[across] + 1
        k, i = min(int(z), x.shape[0]), int(p)
        f, g = z - k, p - i
        total += (1 - f) * ((1 - g) * plane[k, i] + g * plane[k, i + 1])
        total += f * ((1 - g) * plane[k + 1, i] + g * plane[k + 1, i + 1])
    return total * np.linalg.norm((cell - source) / course[march])


def naive_projection(x: np.ndarray, A: ConeBeam) -> np.ndarray:
    rays = [naive_ray(x, A, *ends(A, *index)) for index in np.ndindex(A.out_shape)]
    return np.reshape(rays, A.out_shape)


def chords(A: ConeBeam, middle: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Lengths that the rays run within an ellipsoid; x, y, z."""
    y = np.zeros(A.out_shape)
    for index in np.ndindex(A.out_shape):
        source, cell = ends(A, *index)
        length = np.linalg.norm(cell - source)
        d, o = (cell - source) / length / radii, (source - middle) / radii
        y[index] = 2 * np.sqrt(max((d @ o) ** 2 - (d @ d) * (o @ o - 1), 0)) / (d @ d)
    return y


def ellipsoid(A: ConeBeam, middle: np.ndarray, radii: np.ndarray, fine: int = 4) -> np.ndarray:
    """Share of each voxel within the ellipsoid."""
    (slices, rows, columns), (hz, hy, hx) = A.in_shape, A.spacing
    z, y, x = (
        ((np.arange(n * fine) + 0.5) / fine - 0.5 * n) * h for n, h in ((slices, hz), (rows, -hy), (columns, hx))
    )
    squares = [((t - m) / r) ** 2 for t, m, r in zip((x, y, z), middle, radii, strict=True)]
    inside = squares[2][:, None, None] + squares[1][:, None] + squares[0] < 1
    return inside.reshape(slices, fine, rows, fine, columns, fine).mean(axis=(1, 3, 5))


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_volumes_are_projected_as_by_the_naive_twin(name: str) -> None:
    A = make(name, ANGLES[1::2])
    x = RNG.standard_normal(A.in_shape)
    expected = naive_projection(x, A)
    largest = max(np.abs(expected).max(), 1)
    np.testing.assert_allclose(A(x), expected, rtol=0, atol=1e-12 * largest)
    np.testing.assert_allclose(A(x.astype(np.float32)), expected, rtol=0, atol=2e-6 * largest)


@pytest.mark.parametrize("rows_a_slice", [0.2, 0.45, 0.7, 1.6, 2.5, 8.0])
def test_rows_of_any_distance_meet_the_naive_twin_and_have_their_exact_adjoint(rows_a_slice: float) -> None:
    rows = {"detectors": (int(60 / rows_a_slice) + 3, 5), "detector_spacing": (rows_a_slice, 2.0)}
    A = ConeBeam((40, 12, 14), [0.3, 1.9], source_distance=14.0, detector_distance=9.0, **rows)
    x, y = RNG.standard_normal(A.in_shape), RNG.standard_normal(A.out_shape)
    np.testing.assert_allclose(A(x), naive_projection(x, A), rtol=0, atol=1e-12 * np.abs(A(x)).max())
    assert abs(np.vdot(A(x), y) - np.vdot(x, A.adjoint(y))) < 1e-14 * np.linalg.norm(A(x)) * np.linalg.norm(y)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-7), (np.float64, 1e-14)])
def test_adjoint_is_exact(name: str, dtype: type, tolerance: float) -> None:
    A = make(name)
    x, y = RNG.standard_normal(A.in_shape).astype(dtype), RNG.standard_normal(A.out_shape).astype(dtype)
    Ax, Aty = A(x).astype(np.float64), A.adjoint(y).astype(np.float64)
    gap = abs(np.vdot(Ax, y.astype(np.float64)) - np.vdot(x.astype(np.float64), Aty))
    assert gap <= tolerance * max(np.linalg.norm(Ax) * np.linalg.norm(y), 1e-300)
    assert Ax.any() == Aty.any() == (name != "cells beside the volume")


@pytest.mark.parametrize("change", [{}, {"pitch": 4.0}, {"detector": "curved"}, {"spacing": (2.0, 1.0, 0.6)}])
def test_adjoint_is_the_transpose_entry_by_entry(change: dict) -> None:
    A = ConeBeam((5, 6, 7), [0.2, 0.9, 4.0], **SHORT, detectors=(6, 9), center=(2.1, 4.4), **change)
    forward = A(np.eye(210).reshape(210, 5, 6, 7)).reshape(210, -1).T
    backward = A.adjoint(np.eye(162).reshape(162, 3, 6, 9)).reshape(162, -1).T
    np.testing.assert_allclose(backward, forward.T, atol=1e-14)
    assert (forward >= 0).all()
    assert np.linalg.norm(forward, 2) <= A.norm() <= 1.02 * np.linalg.norm(forward, 2)


@pytest.mark.parametrize(
    "change", [{}, {"center": (20.2, 30.5)}, {"pitch": 8.0}, {"detector": "curved"}, {"spacing": (1.4, 1.0, 0.9)}]
)
def test_ellipsoid_has_its_analytic_chords(change: dict) -> None:
    geometry = {"source_distance": 90.0, "detector_distance": 45.0, "detectors": (44, 66), **change}
    A = ConeBeam((36, 44, 48), np.array([0.0, 0.6, 2.1, 4.5, -1.2]), **geometry)
    middle, radii = np.array([3.0, -4.5, 2.0]), np.array([13.0, 9.0, 10.0])
    measured, exact = A(ellipsoid(A, middle, radii)), chords(A, middle, radii)
    # Chords end in infinite slopes, which voxels blur; away from the ends they must fit.
    inside = exact > 0.7 * exact.max()
    np.testing.assert_allclose(measured[inside], exact[inside], rtol=0.06)
    assert relative(measured[inside], exact[inside]) < 0.02
    assert relative(measured, exact) < 0.06
    np.testing.assert_allclose(measured.sum(), exact.sum(), rtol=3e-3)


def test_a_far_source_gives_a_stack_of_parallel_views() -> None:
    angles = np.linspace(-3, 3, 9)
    rows, columns = np.linspace(-1, 1, 15)[:, None], np.linspace(-1, 1, 14)
    x = RNG.random((6, 1, 1)) * np.exp(-3 * (rows**2 + (columns - 0.2) ** 2))
    A = ConeBeam(x.shape, angles, source_distance=1e8, detector_distance=1.0, detectors=(6, 21), spacing=0.5)
    expected = ParallelBeam((15, 14), angles, detectors=21, spacing=0.5)(x)
    assert relative(A(x), expected.swapaxes(0, 1)) < 2e-3  # which reads between samples across


def test_rows_run_upwards_and_columns_to_the_right() -> None:
    x = np.zeros((9, 9, 9))
    x[7, 4, 6] = 1  # above and to the right
    y = ConeBeam(x.shape, [0.0], source_distance=1e6, detector_distance=0.0, detectors=(9, 9))(x)
    assert np.unravel_index(y.argmax(), y.shape) == (0, 7, 6)


def test_the_source_of_a_helix_passes_the_middle_at_angle_zero_and_rises() -> None:
    x = np.zeros((33, 9, 9))
    x[16 + 8, 4, 4] = 1
    A = ConeBeam(x.shape, [0.0, np.pi, 2 * np.pi, 4 * np.pi], **SHORT, detectors=(41, 9), pitch=8.0)
    rows = A(x)[:, :, 4].argmax(axis=1) - 20
    np.testing.assert_array_equal(rows, [8, 4, 0, -8])


def test_the_detector_covers_the_volume_by_default() -> None:
    for change in ({}, {"detector": "curved"}, {"detector_spacing": 0.7}, {"spacing": (0.5, 1.0, 2.0)}):
        A = ConeBeam((10, 14, 12), 40, source_distance=30.0, detector_distance=20.0, **change)
        y = A(np.pad(np.ones((8, 12, 10)), 1))
        assert not y[:, 0].any() and not y[:, -1].any() and not y[:, :, 0].any() and not y[:, :, -1].any()
        assert (A.detectors[0] - 10) % 2 == (A.detectors[1] - 12) % 2 == 0


@pytest.mark.parametrize("pays", [True, False], ids=["parallel", "serial"])
def test_batch_equals_loop_whatever_the_threads_and_pieces(pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from recon.operators import _cone_numba

    A = make("odd")
    x, y = RNG.standard_normal((2, *A.in_shape)), RNG.standard_normal((2, *A.out_shape))
    x.setflags(write=False)
    y.setflags(write=False)
    one_by_one, back_one_by_one = [A(volume) for volume in x], [A.adjoint(scan) for scan in y]
    monkeypatch.setattr(kernels, "parallel_pays", lambda size: pays)
    monkeypatch.setattr(kernels, "threads", lambda: 3)
    np.testing.assert_array_equal(A(x), one_by_one)
    np.testing.assert_array_equal(A.adjoint(y), back_one_by_one)
    monkeypatch.setattr(_cone_numba, "SCRATCH_BYTES", 1)
    np.testing.assert_allclose(A.adjoint(y), back_one_by_one, rtol=1e-12, atol=1e-12)


def test_kernels_compile_once_for_all_scans() -> None:
    # Memory that is writeable in one scan and read-only in another is another type to numba.
    tilted = ParallelBeam3D((5, 6, 7), [0.1, 1.2], tilt=0.3)
    kinds = {tuple((t.dtype, t.flags.c_contiguous, t.flags.writeable) for t in A.rays)
             for A in (make("cube"), make("helical"), make("one cell"), tilted)}  # fmt: skip
    assert len(kinds) == 1


def test_pickles() -> None:
    A = make("curved helical")
    B = pickle.loads(pickle.dumps(A))
    x = RNG.random(A.in_shape)
    np.testing.assert_array_equal(A(x), B(x))
    assert repr(A) == repr(B) == "ConeBeam(shape=(16, 10, 12), angles=11, detectors=(9, 23))"
    assert not B.angles.flags.writeable
    assert len(pickle.dumps(A)) < 2000


def test_a_specification_names_it() -> None:
    spec = {"operator": "cone_beam", "shape": [4, 8, 8], "angles": 12, **SHORT, "detectors": [6, 12], "pitch": 1.5}
    A = load_operator({**spec, "detector": "curved", "spacing": [1.0, 0.5, 0.5]})
    B = ConeBeam((4, 8, 8), 12, **SHORT, detectors=(6, 12), pitch=1.5, detector="curved", spacing=(1.0, 0.5, 0.5))
    x = RNG.random(A.in_shape)
    np.testing.assert_array_equal(A(x), B(x))


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-6), (np.float64, 1e-13)])
def test_torch_body_equals_numba_body(
    name: str, dtype: type, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from recon.operators import _cone_torch

    monkeypatch.setattr(_cone_torch, "ELEMENTS", 4000)  # several blocks of planes
    A = make(name, ANGLES[::3])
    x, y = RNG.standard_normal((2, *A.in_shape)).astype(dtype), RNG.standard_normal((2, *A.out_shape)).astype(dtype)
    forward, backward = A._apply_torch(torch.from_numpy(x)).numpy(), A._adjoint_torch(torch.from_numpy(y)).numpy()
    assert forward.dtype == backward.dtype == dtype
    assert np.linalg.norm(forward - A(x)) <= tolerance * np.linalg.norm(forward)
    assert np.linalg.norm(backward - A.adjoint(y)) <= tolerance * np.linalg.norm(backward)


@pytest.mark.parametrize("pitch", [0.0, 6.0])
def test_tensors_stay_on_their_device(pitch: float) -> None:
    # The meta device computes nothing, and refuses to meet the CPU.
    torch = pytest.importorskip("torch")
    A = ConeBeam((6, 8, 7), 9, **SHORT, detectors=(5, 11), pitch=pitch)
    x = torch.zeros(2, *A.in_shape, device="meta")
    y = A(x)
    assert (y.device.type, A.adjoint(y).device.type) == ("meta", "meta")
    assert (tuple(y.shape), tuple(A.gram(x).shape)) == ((2, *A.out_shape), (2, *A.in_shape))


def test_a_tensor_gets_the_adjoint_as_its_gradient() -> None:
    torch = pytest.importorskip("torch")
    A = make("cube")
    x, r = RNG.standard_normal(A.in_shape), RNG.standard_normal(A.out_shape)
    tensor = torch.from_numpy(x).requires_grad_()
    (A(tensor) * torch.from_numpy(r)).sum().backward()
    np.testing.assert_allclose(tensor.grad.numpy(), A.adjoint(r), rtol=1e-12)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"shape": (8, 8)}, errors.ShapeError, "shape is (8, 8)"),
        ({"angles": []}, errors.ShapeError, "angles has shape (0,)"),
        ({"source_distance": 0.0}, errors.ArgumentError, "source_distance is 0.0"),
        ({"source_distance": 3.0}, errors.ArgumentError, "source_distance is 3; the source stands inside the volume"),
        ({"source_distance": 4.5, "angles": [0.0]}, errors.ArgumentError, "no detector covers them"),
        ({"detector_distance": -1.0}, errors.ArgumentError, "detector_distance is -1.0"),
        ({"detectors": 7}, errors.ShapeError, "detectors is 7; expected 2 numbers: rows, columns"),
        ({"detectors": (7, 0)}, errors.ArgumentError, "detectors[1] is 0"),
        ({"detectors": (7.5, 8)}, errors.DTypeError, "detectors[0] is 7.5"),
        ({"spacing": (1.0, 2.0)}, errors.ShapeError, "spacing is (1.0, 2.0); expected 3 numbers"),
        ({"spacing": 0.0}, errors.ArgumentError, "spacing is 0.0"),
        ({"detector_spacing": (1.0, -2.0)}, errors.ArgumentError, "detector_spacing[1] is -2.0"),
        ({"center": 3.0}, errors.ShapeError, "center is 3.0; expected 2 numbers: row, column"),
        ({"center": (3.0, np.nan)}, errors.ArgumentError, "center is nan"),
        ({"pitch": "1"}, errors.DTypeError, "pitch is '1'"),
        ({"pitch": np.inf}, errors.ArgumentError, "pitch is inf"),
        ({"detector": "round"}, errors.OptionError, "detector is 'round'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, error: type, message: str) -> None:
    arguments = {"shape": (8, 8, 8), "angles": [np.pi / 4, 0.0], **SHORT, **arguments}
    with pytest.raises(error) as caught:
        ConeBeam(arguments.pop("shape"), arguments.pop("angles"), **arguments)
    assert message in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    "shape, remedy",
    [
        ((9, 6, 8), "Pass 9 angles."),
        ((10, 7, 8), "Pass detectors=(7, 8)."),
        ((6, 10, 8), "Pass np.swapaxes(y, -3, -2)."),
        ((10,), "Projections are (angles, detector rows, detector columns)."),
    ],
)
def test_wrong_projections_get_their_remedy(shape: tuple[int, ...], remedy: str) -> None:
    A = ConeBeam((4, 5, 6), 10, **SHORT, detectors=(6, 8))
    with pytest.raises(errors.ShapeError) as caught:
        A.adjoint(np.zeros(shape))
    for part in (str(shape), "ConeBeam(shape=(4, 5, 6), angles=10, detectors=(6, 8))", remedy):
        assert part in str(caught.value)
