"""Every prior that has a name reconstructs; names that do not exist are answered with the nearest."""

from __future__ import annotations

import numpy as np
import pytest

from priors import Entropy, HuberTV
from recon import plan, reconstruct
from recon._named_priors import NAMES
from recon.operators import Blur, FiniteDifference, Identity, Mask, block_diagonal
from solvers.errors import OptionError


def measurement(scale=1.0):
    i, j = np.mgrid[0:24, 0:20]
    truth = scale * (1 + ((i - 12) ** 2 + (j - 9) ** 2 < 40) + 0.02 * i)
    A = Blur(np.ones((3, 3)) / 9, shape=truth.shape)
    return truth, A, A(truth) + 0.02 * scale * np.random.default_rng(0).standard_normal(truth.shape)


OF_SERIES = ("low-rank", "locally-low-rank")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("none", *OF_SERIES)])
def test_every_name_reconstructs(name):
    truth, A, y = measurement()
    x, info = reconstruct(y, A, prior=name, return_info=True)
    assert info.status.ok
    assert np.linalg.norm(x - truth) < np.linalg.norm(y - truth)
    assert info.plan.strength > 0


def test_scales_come_from_the_measurement():
    for scale in (1.0, 1000.0):
        truth, A, y = measurement(scale)
        huber, entropy = plan(y, A, prior="huber-tv").prior, plan(y, A, prior="entropy").prior
        assert isinstance(huber, HuberTV) and huber.delta == pytest.approx(0.05 * truth.std(), rel=0.2)
        assert isinstance(entropy, Entropy) and entropy.level == pytest.approx(truth.mean(), rel=0.05)
    flat = plan(np.zeros((8, 8)), Identity((8, 8)), prior="huber-tv", noise=1.0).prior
    assert flat.delta == 0.05


def test_number_of_axes_and_channels():
    y = np.random.default_rng(0).standard_normal((9, 3))
    assert "1-D, channels coupled" in str(plan(y, Identity(9), prior="tgv", channel_axis=-1))
    assert plan(y[:, 0], FiniteDifference(9).H @ FiniteDifference(9), prior="laplacian").prior.ndim == 1


def series(moved):
    """Eight frames of an edge that moves by ``moved`` pixels in all, each seen through a mask of its own."""
    x = np.arange(24)
    edges = 12 + moved * np.arange(8) / 7
    truth = np.stack([np.tile(1 / (1 + np.exp(2 * (edge - x))), (16, 1)) for edge in edges])
    A = block_diagonal([Mask(mask) for mask in np.random.default_rng(0).random(truth.shape) < 0.5])
    return truth, A, A(truth + 0.02 * np.random.default_rng(1).standard_normal(truth.shape))


@pytest.mark.parametrize("name", ["auto", "tgv", "huber-tv", "sobolev", "laplacian"])
def test_time_is_an_axis_of_its_own(name):
    _, A, y = series(2.0)
    prior = plan(y, A, prior=name).prior
    assert prior.ndim == 3
    assert prior.spacing[0] < 0.5
    assert prior.spacing[1:] == (1, 1)


def test_frames_of_a_quick_scene_are_further_apart():
    distances = [plan(y, A).prior.spacing[0] for _, A, y in map(series, (0.0, 2.0, 8.0))]
    assert distances == sorted(distances)
    assert distances[2] > 2 * distances[0]
    still = plan(np.ones((1, 4, 4)), block_diagonal([Identity((4, 4))]))
    assert still.prior.spacing[0] < 1
    assert "2-D and time" in str(still)


@pytest.mark.parametrize("name", OF_SERIES)
def test_low_rank_of_a_series(name):
    truth, A, y = series(0.0)
    x = reconstruct(y, A, prior=name)
    assert np.linalg.norm(x - truth) < 0.3 * np.linalg.norm(y - truth)
    bands = reconstruct(y, Identity((16, 24)), prior=name, channel_axis=0)
    assert bands.shape == truth.shape


def test_low_rank_needs_a_series():
    _, A, y = measurement()
    with pytest.raises(OptionError, match="no series"):
        plan(y, A, prior="locally-low-rank")


def test_wrong_names():
    _, A, y = measurement()
    with pytest.raises(OptionError, match="Did you mean 'huber-tv'"):
        plan(y, A, prior="hubertv")
    with pytest.raises(OptionError, match="Did you mean 'laplacian'"):
        plan(y, A, prior="laplace")
