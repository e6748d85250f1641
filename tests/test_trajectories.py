"""Trajectories go where they say, and their densities make up for how they sample."""

from __future__ import annotations

import numpy as np
import pytest

from recon import trajectories
from recon.operators import NonCartesianMRI
from recon.trajectories import density_compensation, kooshball, radial, rosette, spiral, stack_of, voronoi_density
from solvers.errors import ArgumentError, DTypeError, ShapeError


def disc(n):
    y, x = np.mgrid[:n, :n] - n // 2
    return np.exp(-(x**2 + 2 * (y - 3) ** 2) / (0.02 * n * n))


def test_spokes_are_straight_meet_the_centre_and_turn_evenly():
    k = radial(6, 16, size=8)
    assert not k[:, 8].any()
    np.testing.assert_allclose(np.linalg.norm(k, axis=-1), np.abs(np.arange(16) - 8) / 2 * np.ones((6, 1)))
    np.testing.assert_allclose(np.arctan2(k[:, -1, 0], k[:, -1, 1]), np.arange(6) * np.pi / 6, atol=1e-12)
    assert (k[0, :, 0] == 0).all()


def test_golden_spokes_stay_apart():
    k = radial(21, 2, golden=True)[:, 0]
    angles = np.sort(np.arctan2(k[:, 0], k[:, 1]) % np.pi)
    gaps = np.diff(np.append(angles, angles[0] + np.pi))
    assert gaps.max() < 3 * gaps.min()


def test_spirals_reach_the_edge_with_arms_a_cycle_apart():
    k = spiral(3, 4000, size=24)
    radius = np.linalg.norm(k, axis=-1)
    np.testing.assert_allclose(radius[:, -1], 12)
    along = np.unwrap(np.arctan2(k[:, 1:, 0], k[:, 1:, 1]))
    turns = (along[:, -1] - along[:, 0]) / (2 * np.pi)
    np.testing.assert_allclose(turns * 3, 12, rtol=1e-3)  # 3 spirals cross a ray 12 times on 12 cycles


def test_rosettes_cross_the_centre():
    k = rosette(5, 1000, size=16)
    radius = np.linalg.norm(k, axis=-1)
    assert radius.max() <= 8
    assert ((radius < np.roll(radius, 1)) & (radius <= np.roll(radius, -1)) & (radius < 0.1)).sum() == 10


def test_three_dimensional_ones_cover_their_directions_evenly():
    k = kooshball(500, 4, size=2)
    ends = k[:, 0]
    np.testing.assert_allclose(np.linalg.norm(ends, axis=-1), 1)
    np.testing.assert_allclose(ends.T @ ends / 500, np.eye(3) / 3, atol=0.01)
    stars = stack_of(radial(3, 4), 6)
    assert stars.shape == (6, 3, 4, 3)
    assert set(stars[..., 0].ravel()) == {-3, -2, -1, 0, 1, 2}


@pytest.mark.parametrize("density", [lambda k: density_compensation(k, (32, 32)), voronoi_density])
@pytest.mark.parametrize("k", [radial(60, 64), radial(70, 64, golden=True), spiral(10, 1200, size=32)])
def test_compensated_samples_show_the_image_on_its_scale(density, k):
    image = disc(32)
    A = NonCartesianMRI(k, (32, 32))
    shown = A.adjoint(density(k) * A(image))
    assert np.linalg.norm(shown - image) < 0.06 * np.linalg.norm(image)


def test_voronoi_cells_of_spokes_are_sectors_of_rings():
    w = voronoi_density(radial(90, 64))
    ring = np.abs(np.arange(64) - 32) / 2
    np.testing.assert_allclose(w[:, 2:-2], np.maximum(np.pi / 90 * 0.5 * ring, 0)[2:-2] * np.ones((90, 1)), atol=2.3e-3)
    assert w.sum() == pytest.approx(np.pi * 16**2, rel=0.01)


def test_samples_at_one_place_share_its_cell():
    y, x = np.mgrid[-3:4, -3:4]
    k = np.stack([y, x], axis=-1).reshape(-1, 2)
    w = voronoi_density(np.concatenate([k, k[24:25]]))
    assert w[24] == w[49] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: radial(0, 8), ArgumentError, "spokes"),
        (lambda: radial(4, 8.5), DTypeError, "samples"),
        (lambda: spiral(2, 100, size=-1), ArgumentError, "size"),
        (lambda: stack_of(np.zeros((4, 3)), 2), ShapeError, "positions in a plane"),
        (lambda: voronoi_density(np.zeros((5, 2))), ArgumentError, "1 different positions"),
        (lambda: voronoi_density(np.zeros((5, 3))), ShapeError, "density_compensation"),
        (lambda: density_compensation(np.zeros((5, 2)) + 1j, (8, 8)), DTypeError, "trajectory"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_examples_in_docstrings():
    import doctest

    assert doctest.testmod(trajectories, extraglobs={"np": np}).failed == 0
