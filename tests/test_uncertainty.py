"""The bootstrap's uncertainty, against the closed form of a linear estimator."""

import numpy as np
import pytest

from recon import reconstruct
from recon.operators import CartesianMRI, Identity
from recon.uncertainty import LOST, bootstrap, coverage
from solvers.errors import ArgumentError

SIGMA, SHRINK = 0.2, 0.7


def simulate(image, rng):
    return image + SIGMA * rng.standard_normal(image.shape)


def test_noise_and_bias_of_a_linear_estimator_both_count():
    image = np.full((40, 40), 2.0)
    found = bootstrap(image, simulate, lambda y: SHRINK * y, 2, np.random.default_rng(0), samples=200)
    expected = np.hypot(SHRINK * SIGMA, (1 - SHRINK) * 2.0)
    assert found.mean() == pytest.approx(expected, rel=0.01)


def test_complex_images_have_a_real_uncertainty():
    image = np.zeros((30, 30), complex)
    noisy = lambda x, rng: x + SIGMA * (rng.standard_normal(x.shape) + 1j * rng.standard_normal(x.shape))  # noqa: E731
    found = bootstrap(image, noisy, lambda y: y, 2, np.random.default_rng(0), samples=50)
    assert found.dtype == float and found.mean() == pytest.approx(np.sqrt(2) * SIGMA, rel=0.02)


def test_coverage_of_errors_that_are_as_expected():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((200, 200))
    image = truth + 0.3 * rng.standard_normal(truth.shape)
    within_one, within_two, ratio = coverage(truth, image, np.full((200, 200), 0.3))
    assert within_one == pytest.approx(0.683, abs=0.01)
    assert within_two == pytest.approx(0.954, abs=0.01)
    assert ratio == pytest.approx(1.0, abs=0.02)


def test_reconstruct_gives_it_on_request():
    y = np.random.default_rng(0).standard_normal((3, 24, 20))
    options = {"prior": "tikhonov", "strength": 1.0, "noise": 1.0}
    image, info = reconstruct(y, Identity((24, 20)), **options, uncertainty=True, return_info=True)
    # x = y / 2: half the noise, and the other half of the image is missing.
    expected = LOST * np.sqrt(0.25 + 0.25 * (image**2).mean())
    assert info.uncertainty.shape == y.shape
    assert np.sqrt((info.uncertainty**2).mean()) == pytest.approx(expected, rel=0.05)
    same = reconstruct(y, Identity((24, 20)), **options, uncertainty=True, return_info=True)[1].uncertainty
    np.testing.assert_array_equal(same, info.uncertainty)


def test_it_is_larger_where_there_is_more_noise():
    rng = np.random.default_rng(0)
    sigma = np.where(np.arange(32) < 16, 0.02, 0.3)[:, None] * np.ones((32, 32))
    truth = np.add.outer(np.arange(32.0), np.arange(32.0)) / 64
    y = truth + sigma * rng.standard_normal(truth.shape)
    info = reconstruct(y, Identity((32, 32)), noise=sigma, uncertainty=True, return_info=True)[1]
    assert info.uncertainty[20:].mean() > 2 * info.uncertainty[:12].mean()


def test_mri_and_counts():
    rng = np.random.default_rng(0)
    mask = rng.random((16, 16)) < 0.6
    y = mask * (rng.standard_normal((16, 16)) + 1j)
    info = reconstruct(y, CartesianMRI(mask), prior="tv", strength=0.1, uncertainty=True, return_info=True)[1]
    assert info.uncertainty.dtype == float
    counts = rng.poisson(40.0, (16, 16)).astype(float)
    options = {"noise": "poisson", "strength": 1e-4, "uncertainty": True, "return_info": True}
    info = reconstruct(counts, Identity((16, 16)), **options)[1]
    assert np.sqrt((info.uncertainty**2).mean()) == pytest.approx(LOST * np.sqrt(40), rel=0.1)


def test_it_comes_with_the_info():
    with pytest.raises(ArgumentError, match="return_info"):
        reconstruct(np.ones((8, 8)), Identity((8, 8)), uncertainty=True)
