"""Point spread functions: sums, centres, widths and closed forms of physics."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy.special import j0, j1

from recon import psf as psfs
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError

MADE = {
    "gaussian": psfs.gaussian(1.3),
    "gaussian 3-d": psfs.gaussian((1, 2, 0.5)),
    "uniform": psfs.uniform((3, 5)),
    "motion": psfs.motion(11.3, 25),
    "defocus": psfs.defocus(4.4),
    "airy": psfs.airy(0.55, 0.9, 0.08),
}


def grids(psf):
    return [grid - n // 2 for grid, n in zip(np.indices(psf.shape), psf.shape, strict=True)]


@pytest.mark.parametrize("name", MADE)
def test_unit_sum_no_negative_entries_and_its_centroid_at_the_centre(name):
    psf = MADE[name]
    assert psf.dtype == np.float64
    assert psf.sum() == pytest.approx(1)
    assert psf.min() >= 0
    np.testing.assert_allclose([(grid * psf).sum() for grid in grids(psf)], 0, atol=1e-9)


def test_examples():
    assert doctest.testmod(psfs, extraglobs={"np": np}).failed == 0


def test_gaussian_has_its_standard_deviations():
    psf = psfs.gaussian((2.0, 3.0))
    rows, columns = grids(psf)
    np.testing.assert_allclose([np.sqrt((g**2 * psf).sum()) for g in (rows, columns)], [2, 3], rtol=2e-3)
    assert psfs.gaussian(2, size=(5, 7)).shape == (5, 7)


@pytest.mark.parametrize("degrees", [0, 30, 90, 135, -17])
def test_motion_is_a_line_of_its_length_and_direction(degrees):
    length = 21.4
    psf = psfs.motion(length, degrees)
    rows, columns = grids(psf)
    towards = np.array([-np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))])
    along, across = rows * towards[0] + columns * towards[1], rows * towards[1] - columns * towards[0]
    assert (along**2 * psf).sum() == pytest.approx(length**2 / 12 + 1 / 12, rel=0.01)  # of the line and of a pixel
    assert (across**2 * psf).sum() < 0.2
    assert np.abs((along * across * psf).sum()) < 0.05 * (along**2 * psf).sum()


def test_motion_along_the_axes_is_a_box():
    np.testing.assert_allclose(psfs.motion(5)[2], np.full(5, 0.2), atol=1e-12)
    np.testing.assert_allclose(psfs.motion(5, 90), psfs.motion(5).T, atol=1e-12)


def test_camera_shake_is_a_path_of_its_length_that_rng_decides():
    psf = psfs.camera_shake(30, size=41, rng=3)
    np.testing.assert_array_equal(psf, psfs.camera_shake(30, size=41, rng=np.random.default_rng(3)))
    assert not np.array_equal(psf, psfs.camera_shake(30, size=41, rng=4))
    assert psf.sum() == pytest.approx(1)
    np.testing.assert_allclose([(grid * psf).sum() for grid in grids(psf)], 0, atol=0.2)
    assert 5 < np.count_nonzero(psf) < 75  # a path of 30 pixels enters no more than about twice as many
    straight = psfs.camera_shake(30, smoothness=0.9999, rng=0)
    wild = psfs.camera_shake(30, smoothness=0.0, rng=0)
    assert len(straight) > len(wild)


def test_defocus_is_a_disc():
    radius = 5.3
    psf = psfs.defocus(radius)
    distance = np.hypot(*grids(psf))
    flat = 1 / (np.pi * radius**2)
    np.testing.assert_allclose(psf[distance < radius - 0.75], flat, rtol=1e-3)
    assert not psf[distance > radius + 0.75].any()
    np.testing.assert_allclose((distance**2 * psf).sum(), radius**2 / 2, rtol=0.02)
    np.testing.assert_array_equal(psf, psf.T)
    assert psfs.defocus(0.3).tolist() == [[1.0]]


def test_airy_holds_the_light_that_the_closed_form_says():
    wavelength, na, pixel = 0.5, 0.8, 0.02
    psf = psfs.airy(wavelength, na, pixel, size=401)
    distance = np.hypot(*grids(psf))

    def encircled(radius):
        v = 2 * np.pi * na * radius * pixel / wavelength
        return 1 - j0(v) ** 2 - j1(v) ** 2

    for radius in (8, 19, 60):
        shares = psf[distance <= radius].sum(), encircled(radius) / encircled(225)
        assert shares[0] == pytest.approx(shares[1], abs=0.02)
    first_dark_ring = 0.61 * wavelength / na / pixel  # Rayleigh's criterion
    assert psf[200, 200 + round(first_dark_ring)] < 1e-3 * psf.max()


def test_airy_is_averaged_over_large_pixels():
    fine, coarse = psfs.airy(0.5, 0.8, 0.05, size=63), psfs.airy(0.5, 0.8, 0.15, size=21)
    np.testing.assert_allclose(fine.reshape(21, 3, 21, 3).sum(axis=(1, 3)), coarse, atol=2e-4)


@pytest.mark.parametrize("shift", [(0, 0), (4, -3)])
def test_measured_removes_the_background_centres_and_normalises(shift):
    rng = np.random.default_rng(0)
    truth = psfs.gaussian(1.5, size=13)
    image = np.full((41, 45), 300.0) + rng.normal(0, 1, (41, 45))
    image[14 + shift[0] : 27 + shift[0], 16 + shift[1] : 29 + shift[1]] += 5000 * truth
    psf = psfs.measured(image, size=13)
    np.testing.assert_allclose(psf, truth, atol=2e-3)
    assert psf.sum() == pytest.approx(1)
    assert psfs.measured(image).shape == (41 - 2 * abs(shift[0]), 45 - 2 * abs(shift[1]))
    np.testing.assert_array_equal(psfs.measured(image.astype(np.float32), size=3).shape, (3, 3))


@pytest.mark.parametrize(
    ("make", "error", "parts"),
    [
        (lambda: psfs.gaussian(0), ArgumentError, ["sigma is 0", "above 0", "Pass"]),
        (lambda: psfs.gaussian("a"), DTypeError, ["sigma"]),
        (lambda: psfs.gaussian([]), ShapeError, ["sigma is empty"]),
        (lambda: psfs.gaussian((1, 2), size=(3, 3, 3)), ShapeError, ["size has 3 entries", "expected 2"]),
        (lambda: psfs.uniform(2.5), DTypeError, ["size is 2.5", "integer"]),
        (lambda: psfs.motion(9, size=5), ArgumentError, ["size is 5", "at least 9", "Pass 9"]),
        (lambda: psfs.motion(9, np.nan), ArgumentError, ["degrees", "finite"]),
        (lambda: psfs.camera_shake(9, smoothness=1.0), ArgumentError, ["smoothness is 1", "below 1"]),
        (lambda: psfs.airy(0.5, -1, 0.1), ArgumentError, ["na is -1"]),
        (lambda: psfs.defocus(3, size=0), ArgumentError, ["size is 0"]),
        (lambda: psfs.measured(np.ones((8, 8))), ArgumentError, ["does not rise", "surroundings"]),
        (lambda: psfs.measured(np.eye(8), size=9), ArgumentError, ["size is 9", "leaves the image"]),
        (lambda: psfs.measured(np.ones((2, 8))), ShapeError, ["(2, 8)", "at least 3"]),
        (lambda: psfs.measured(1j * np.eye(8)), DTypeError, ["complex128"]),
        (lambda: psfs.measured(np.full((8, 8), np.nan)), NonFiniteError, ["image holds 64"]),
    ],
)
def test_wrong_parameters_say_what_is_wrong(make, error, parts):
    with pytest.raises(error) as caught:
        make()
    assert all(part in str(caught.value) for part in parts), str(caught.value)
