"""Bands with noise of their own: levels are found, weigh the data, and the plan says so."""

from __future__ import annotations

import numpy as np
import pytest

from recon import operators as ops
from recon import plan, reconstruct
from recon._bands import Bands, weighted_bands
from recon._noise_level import relative_band_levels
from recon.psf import gaussian
from solvers import arrays

N = 64
LEVELS = np.array([0.01, 0.02, 0.1])


def scene() -> np.ndarray:
    """Two bands of one scene and a darker one."""
    rows, columns = np.mgrid[:N, :N] / N
    picture = 0.3 + 0.5 * (np.hypot(rows - 0.5, columns - 0.4) < 0.3) - 0.2 * (columns > 0.7)
    return np.stack([picture, 1 - picture, 0.5 * picture])


def measured(operator, levels=LEVELS, dtype=np.float32):
    noise = np.random.default_rng(0).standard_normal((3, *operator.out_shape))
    return (operator(scene()) + np.reshape(levels, (-1, 1, 1)) * noise).astype(dtype)


def error(x):
    return float(np.sqrt(np.mean((np.asarray(x) - scene()) ** 2)))


@pytest.mark.parametrize("operator", [ops.Identity((N, N)), ops.Blur(gaussian(1.2), (N, N))])
def test_the_levels_of_bands_are_found(operator):
    _, found = weighted_bands(measured(operator), operator)
    np.testing.assert_allclose(found, LEVELS, rtol=0.1)


def test_texture_and_brightness_do_not_set_bands_apart():
    texture = np.random.default_rng(1).random((N, N)) * (np.mgrid[:N, :N][0] > N // 3)
    clean = np.stack([texture, 0.2 * texture, texture])
    y = clean + 0.01 * np.random.default_rng(2).standard_normal(clean.shape)
    np.testing.assert_allclose(relative_band_levels(y, ops.Identity((N, N))), 1.0, rtol=0.1)
    assert weighted_bands(y, ops.Identity((N, N))) is None


@pytest.mark.parametrize(
    ("y", "operator"),
    [
        (np.ones((3, N, N)) + 1j, ops.Identity((N, N))),
        (np.ones((3, N, N)), ops.Mask(np.arange(N * N).reshape(N, N) % 2 == 0)),
        (np.ones((3, 16, 16)), ops.Identity((16, 16))),
        (np.zeros((3, N, N)), ops.Identity((N, N))),
    ],
)
def test_where_levels_cannot_be_told_all_bands_are_alike(y, operator):
    assert weighted_bands(y, operator) is None


def test_each_band_is_weighted_by_its_own_noise_and_the_plan_says_so():
    A = ops.Blur(gaussian(1.2), (N, N))
    y = measured(A)
    x, info = reconstruct(np.moveaxis(y, 0, -1), A, channel_axis=-1, return_info=True)
    assert x.shape == (N, N, 3) and x.dtype == np.float32 and info.trusted
    assert "3 bands" in info.plan.decisions["noise"].reason and "weighted" in info.plan.decisions["data term"].choice
    alike = reconstruct(y, A, channel_axis=0, noise=float(np.sqrt(np.mean(LEVELS**2))))
    assert error(np.moveaxis(x, -1, 0)) < 0.8 * error(alike)


def test_bands_alike_or_a_level_given_leave_the_problem_as_it_is():
    A = ops.Identity((N, N))
    assert plan(measured(A, (0.02, 0.02, 0.02)), A, channel_axis=0).operator is A
    assert plan(measured(A), A, channel_axis=0, noise=0.05).operator is A
    assert plan(measured(A), A).operator is A  # a batch, whose images are reconstructed one by one


def test_weighted_bands_are_the_operator_of_each_times_its_weight():
    A, weights = ops.Blur(gaussian(1.2), (N, N)), np.array([2.0, 1.0, 0.5])
    B = Bands(A, weights)
    x = np.random.default_rng(3).standard_normal(B.in_shape)
    np.testing.assert_allclose(B(x), weights[:, None, None] * A(x), atol=1e-12)
    assert arrays.dot(B(x), x) == pytest.approx(arrays.dot(x, B.adjoint(x)), rel=1e-12)
    kept = np.zeros(B.out_shape, bool)
    kept[:, ::2] = True
    assert isinstance(B.with_sampling(kept), Bands)
    kept[0] = True
    np.testing.assert_allclose(B.with_sampling(kept)(x), kept * B(x), atol=1e-12)


def test_an_objection_to_one_band_is_one_to_all():
    A = ops.Blur(gaussian(1.5), (128, 128))
    whole = np.random.default_rng(4).random((3, 16, 16)).repeat(8, axis=1).repeat(8, axis=2)
    blurred = A(whole) + 0.002 * np.random.default_rng(5).standard_normal(whole.shape)
    assert Bands(A, np.ones(3)).objection(blurred) is None
    blurred[2] += np.linspace(0, 5, 128)  # does not wrap around
    assert A.objection(blurred[2]) is not None
    assert Bands(A, np.ones(3)).objection(blurred) is not None
