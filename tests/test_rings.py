"""Ring suppression: synthetic stripes go, what is no stripe stays."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import recon._rings
from recon import fbp
from recon.operators import ParallelBeam
from recon.preprocess import suppress_rings
from solvers import errors

ANGLES, CELLS = np.arange(180) * np.pi / 180, 240
BODIES = [(0, 0, 90, 70, 0.3, 1.0), (20, 15, 25, 14, 1.0, 0.8), (-30, -5, 12, 20, 2.0, -0.7), (5, -35, 9, 9, 0.0, 0.9)]


def body(noise: float = 0.0) -> np.ndarray:
    """Analytic sinogram of ellipses, its peak at 1."""
    y, angle = np.zeros((ANGLES.size, CELLS)), ANGLES[:, None]
    for x0, y0, a, b, tilt, value in BODIES:
        width2 = (a * np.cos(angle - tilt)) ** 2 + (b * np.sin(angle - tilt)) ** 2
        s = np.arange(CELLS) - 119.5 - x0 * np.cos(angle) - y0 * np.sin(angle)
        y += value * 2 * a * b * np.sqrt(np.maximum(width2 - s**2, 0)) / width2
    return y / y.max() + noise * np.random.default_rng(1).standard_normal(y.shape)


def offsets() -> np.ndarray:
    """A fluctuating response, and some cells that are far off, two of them neighbours."""
    stripes = 0.02 * np.random.default_rng(0).standard_normal(CELLS)
    stripes[[40, 41, 100, 150, 177]] += [0.1, 0.12, -0.15, 0.2, -0.1]
    return stripes


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_stripes_and_rings_go_down_by_a_clear_factor(noise: float) -> None:
    clean, A = body(noise), ParallelBeam((160, 160), ANGLES, detectors=CELLS)
    striped = clean + offsets()
    mended = suppress_rings(striped)
    assert np.linalg.norm(mended - clean) < 0.45 * np.linalg.norm(striped - clean)
    image = fbp(clean, A)
    assert np.linalg.norm(fbp(mended, A) - image) < 0.3 * np.linalg.norm(fbp(striped, A) - image)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_without_stripes_hardly_anything_changes(noise: float) -> None:
    clean = body(noise)
    assert np.linalg.norm(suppress_rings(clean) - clean) < 2e-3 * np.linalg.norm(clean)
    assert np.abs(suppress_rings(clean) - clean).max() < 0.02


def test_only_one_offset_a_cell_is_taken_away() -> None:
    y = body(0.02) + offsets()
    taken = y - suppress_rings(y)
    np.testing.assert_allclose(taken, np.broadcast_to(taken[0], y.shape), atol=1e-12)


def test_a_straight_line_over_the_cells_stays_whatever_the_angles_do() -> None:
    y = np.random.default_rng(0).random((30, 1)) + 0.1 * np.arange(50)
    for varying in (False, True):
        np.testing.assert_allclose(suppress_rings(y, varying=varying)[:, 4:-4], y[:, 4:-4], atol=1e-12)


def test_a_stripe_that_varies_with_brightness_goes_where_that_is_said() -> None:
    clean = body()
    striped = clean.copy()
    striped[:, 130] **= 1.3
    left = [np.linalg.norm((suppress_rings(striped, varying=v) - clean)[:, 130]) for v in (False, True)]
    assert left[1] < 0.7 * left[0]


def test_wider_medians_take_wider_stripes() -> None:
    clean = body()
    striped = clean + 0.1 * ((np.arange(CELLS) >= 110) & (np.arange(CELLS) < 118))
    left = [np.linalg.norm(suppress_rings(striped, width=w) - clean) for w in (9, 21)]
    assert left[1] < 0.3 * left[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_dtype_and_input(dtype: type) -> None:
    y = np.stack([[body(), body(0.1)], [body() + offsets(), body()]]).astype(dtype)
    y.setflags(write=False)
    out = suppress_rings(y)
    assert out.dtype == dtype and out.shape == y.shape
    np.testing.assert_array_equal(out[1, 0], suppress_rings(y[1, 0]))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"width": 4}, errors.ArgumentError, "width is 4; expected an odd number of cells. Pass 5."),
        ({"width": 1}, errors.ArgumentError, "width is 1"),
        ({"width": 2.5}, errors.DTypeError, "width is 2.5"),
        ({"width": 21}, errors.ShapeError, "sinogram has 12 detectors; expected at least width=21"),
        ({"sinogram": np.ones(9)}, errors.ShapeError, r"sinogram has shape \(9,\)"),
        ({"sinogram": np.full((9, 9), np.nan)}, errors.NonFiniteError, "sinogram holds 81 NaN"),
        ({"sinogram": np.ones((9, 9)) * 1j}, errors.DTypeError, "sinogram is complex"),
    ],
)
def test_wrong_arguments_are_named(change: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        suppress_rings(**{"sinogram": np.ones((8, 12)), **change})


def test_example_in_the_docstring() -> None:
    assert doctest.testmod(recon._rings, extraglobs={"np": np}).failed == 0
