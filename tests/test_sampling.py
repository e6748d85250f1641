"""Masks measure as much as asked, where asked, and the same for one seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from recon import sampling
from recon.operators import CartesianMRI
from recon.sampling import (
    caipirinha,
    poisson_disc,
    radial_lines,
    uniform_lines,
    variable_density_lines,
    variable_density_points,
)
from solvers.errors import ArgumentError, DTypeError, ShapeError

RANDOM = {
    "lines": lambda **options: variable_density_lines(300, 4, **options),
    "points": lambda **options: variable_density_points((60, 51), 5, **options),
    "disc": lambda **options: poisson_disc((60, 51), 5, **options),
}


@pytest.mark.parametrize("acceleration", [2.5, 4])
def test_lines_are_full_at_the_centre_and_as_many_as_asked(acceleration):
    lines = variable_density_lines(300, acceleration)
    assert lines.sum() == round(300 / acceleration)
    assert lines[150 - 12 : 150 + 13].all()
    assert not lines[:100].all()


def test_lines_get_rarer_outwards_unless_told_not_to():
    drawn = [variable_density_lines(200, 4, center=0, rng=seed) for seed in range(200)]
    often = np.mean(drawn, axis=0)
    assert often[60:140].mean() > 3 * often[:40].mean()
    even = np.mean([variable_density_lines(200, 4, center=0, decay=0, rng=seed) for seed in range(200)], axis=0)
    assert even[60:140].mean() == pytest.approx(even[:40].mean(), rel=0.1)


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_a_seed_is_a_mask(make):
    np.testing.assert_array_equal(make(rng=3), make(rng=np.random.default_rng(3)))
    np.testing.assert_array_equal(make(), make(rng=0))
    assert (make(rng=3) != make(rng=4)).any()


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_the_centre_is_measured_in_full(make):
    mask = make(center=0.2)
    middle = tuple(slice(n // 2 - n // 16, n // 2 + n // 16 + 1) for n in mask.shape)
    assert mask[middle].all()


def test_points_are_as_many_as_asked_and_make_an_operator():
    mask = variable_density_points((40, 30), 6)
    assert mask.sum() == 200
    assert CartesianMRI(mask).in_shape == (40, 30)


def test_poisson_discs_keep_their_distance_and_leave_no_holes():
    mask = poisson_disc((96, 80), 8, center=0, decay=0)
    points = np.argwhere(mask)
    nearest = cKDTree(points).query(points, k=2)[0][:, 1].min()
    assert nearest >= 2
    everywhere = np.argwhere(np.ones_like(mask))
    assert cKDTree(points).query(everywhere)[0].max() < 2 * nearest


def test_poisson_discs_grow_outwards():
    mask = poisson_disc((96, 96), 8, decay=3)
    assert mask.sum() == pytest.approx(96 * 96 / 8, rel=0.03)
    assert mask[32:64, 32:64].mean() > 1.5 * mask.mean()


def test_uniform_lines():
    lines = uniform_lines(64, 4, center=0, offset=2)
    np.testing.assert_array_equal(np.flatnonzero(lines), np.arange(2, 64, 4))


def test_radial_lines_pass_the_centre_and_reach_the_edge():
    mask = radial_lines((33, 40), 8)
    assert mask[16, 20]
    assert mask[16].all()
    assert mask[:, 20].all()
    assert 0.15 < mask.mean() < 0.3


def test_caipirinha_rows_are_shifted():
    mask = caipirinha((12, 12), (3, 4), shift=2, center=0)
    assert mask.mean() == pytest.approx(1 / 12)
    for row in (0, 3, 6, 9):
        np.testing.assert_array_equal(np.flatnonzero(mask[row]) % 4, 3 * [2 * (row // 3) % 4])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: variable_density_lines(64, 0.5), ArgumentError, "acceleration is 0.5"),
        (lambda: variable_density_lines(64, 8, center=0.5), ArgumentError, "Lower either"),
        (lambda: poisson_disc((64, 64), 8, center=0.9), ArgumentError, "Lower either"),
        (lambda: variable_density_lines(6.4, 2), DTypeError, "count"),
        (lambda: uniform_lines(64, 4, center=2), ArgumentError, "fraction from 0 to 1"),
        (lambda: poisson_disc((8, 8, 8), 4), ShapeError, "two axes"),
        (lambda: caipirinha((8, 8), 4), ArgumentError, "two integers"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_examples_in_docstrings():
    import doctest

    assert doctest.testmod(sampling, extraglobs={"np": np}).failed == 0
