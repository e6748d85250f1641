"""A blur that changes over the image: every point spreads by the PSF of its place."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.problems import photograph, psnr
from recon import psf as psfs
from recon import reconstruct
from recon._operator_checks import dense
from recon.operators import Blur, VaryingBlur
from solvers.errors import ArgumentError, DTypeError, OptionError, ShapeError

RNG = np.random.default_rng(0)


def spread(shape, psf_of):
    """The matrix of a periodic blur, a point after the other."""
    columns = []
    for place in np.ndindex(*shape):
        out, psf = np.zeros(shape), psf_of(place)
        for j in np.ndindex(*psf.shape):
            target = tuple((p + i - k // 2) % n for p, i, k, n in zip(place, j, psf.shape, shape, strict=True))
            out[target] += psf[j]
        columns.append(out.ravel())
    return np.stack(columns, axis=1)


def test_a_grid_is_interpolated_linearly_between_its_middles():
    given = RNG.random((2, 3, 3, 2))
    shape = (6, 9)

    def psf_of(place):
        rows, columns = ((p + 0.5) * g / n - 0.5 for p, g, n in zip(place, (2, 3), shape, strict=True))
        weights = [
            np.interp(np.arange(g), [c - 1, c, c + 1], [0, 1, 0])  # the hat around c
            for g, c in ((2, np.clip(rows, 0, 1)), (3, np.clip(columns, 0, 2)))
        ]
        return np.einsum("i,j,ijkl->kl", *weights, given)

    A = VaryingBlur(given, shape, tolerance=0)
    np.testing.assert_allclose(dense(A), spread(shape, psf_of), atol=1e-13)
    np.testing.assert_allclose(A.psf_at((4, 7)), psf_of((4, 7)), atol=1e-13)


def test_scattered_psfs_are_interpolated_by_inverse_squared_distance():
    given, positions = RNG.random((3, 2, 3)), np.array([[0, 0], [4, 5], [2.5, 6]])

    def psf_of(place):
        squares = np.square(np.array(place) - positions).sum(axis=1)
        if squares.min() == 0:
            return given[squares.argmin()]
        return np.tensordot(1 / squares, given, axes=1) / (1 / squares).sum()

    A = VaryingBlur(given, (5, 7), positions, tolerance=0)
    np.testing.assert_allclose(dense(A), spread((5, 7), psf_of), atol=1e-11)


@pytest.mark.parametrize("boundary", ["periodic", "reflecting", "unknown"])
def test_equal_psfs_are_a_blur(boundary):
    psf = RNG.random((4, 3))
    A, B = VaryingBlur(np.tile(psf, (2, 2, 1, 1)), (9, 8), boundary=boundary), Blur(psf, (9, 8), boundary=boundary)
    assert len(A.components) == 1
    assert A.in_shape == B.in_shape
    assert A.interior == B.interior
    x = RNG.standard_normal(A.in_shape)
    np.testing.assert_allclose(A(x), B(x), atol=1e-12)


def test_the_components_keep_to_the_tolerance():
    given = np.array([[psfs.gaussian(0.8 + 0.1 * k, size=13) for k in range(8)]])
    whole, few = (VaryingBlur(given, (32, 64), tolerance=t) for t in (0, 1e-2))
    assert len(few.components) < 4 < len(whole.components)
    error = np.array([few.psf_at((5, 8 * k + 3)) - whole.psf_at((5, 8 * k + 3)) for k in range(8)])
    assert np.linalg.norm(error) < 1e-2 * np.linalg.norm(given)
    assert len(VaryingBlur(given, (32, 64), rank=2).components) == 2


def test_brightness_is_kept_where_the_psfs_keep_it():
    given = np.array([[psfs.gaussian(s, size=11) for s in (0.5, 1.5)], [psfs.gaussian(s, size=11) for s in (1, 2)]])
    x = RNG.random((20, 30))
    assert VaryingBlur(given, (20, 30), tolerance=0)(x).sum() == pytest.approx(x.sum())


def test_deblurring_knows_the_psf_of_each_place():
    truth = photograph("camera", 64)
    given = np.array([[psfs.gaussian(s, size=11) for s in (0.4, 1.8)]])
    A = VaryingBlur(given, truth.shape, boundary="reflecting")
    y = A(truth) + 0.005 * np.random.default_rng(0).standard_normal(truth.shape, dtype=np.float32)
    average = Blur(given[0].mean(axis=0), truth.shape, boundary="reflecting")
    everywhere, on_average = (psnr(truth, reconstruct(y, B, strength=1e-3, max_iter=100)) for B in (A, average))
    assert everywhere > max(on_average, psnr(truth, y)) + 1


def test_positions_are_pixels_of_the_measurement():
    given, positions = RNG.random((2, 3, 3)), [[0, 0], [7, 8]]
    A = VaryingBlur(given, (8, 9), positions, boundary="unknown", tolerance=0)
    corner = tuple(part.start for part in A.interior)
    np.testing.assert_allclose(A.psf_at(corner), given[0], atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"psfs": np.ones((3, 3)), "shape": (8, 8)}, ShapeError, "grid"),
        ({"psfs": np.ones((3, 3, 3)), "shape": (8, 8)}, ShapeError, "grid"),
        (
            {"psfs": np.ones((2, 3, 3)), "shape": (8, 8), "positions": [[1, 1]]},
            ShapeError,
            r"positions has shape \(1, 2",
        ),
        ({"psfs": np.ones((1, 1, 9, 3)), "shape": (8, 8)}, ShapeError, "Crop the psf"),
        ({"psfs": np.ones((1, 2, 3, 3)) * 1j, "shape": (8, 8)}, DTypeError, "complex128"),
        ({"psfs": np.ones((1, 2, 3, 3)), "shape": (8, 8), "rank": 3}, ArgumentError, "rank is 3; expected at most 2"),
        ({"psfs": np.ones((1, 2, 3, 3)), "shape": (8, 8), "tolerance": -1}, ArgumentError, "tolerance is -1"),
        ({"psfs": np.ones((1, 2, 3, 3)), "shape": (8, 8), "boundary": "wrap"}, OptionError, "boundary is 'wrap'"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(arguments, error, match):
    with pytest.raises(error, match=match):
        VaryingBlur(**arguments)
