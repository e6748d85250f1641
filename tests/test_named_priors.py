"""Every prior that has a name reconstructs; names that do not exist are answered with the nearest."""

from __future__ import annotations

import numpy as np
import pytest

from priors import Entropy, HuberTV
from recon import plan, reconstruct
from recon._named_priors import NAMES
from recon.operators import Blur, FiniteDifference, Identity
from solvers.errors import OptionError


def measurement(scale=1.0):
    i, j = np.mgrid[0:24, 0:20]
    truth = scale * (1 + ((i - 12) ** 2 + (j - 9) ** 2 < 40) + 0.02 * i)
    A = Blur(np.ones((3, 3)) / 9, shape=truth.shape)
    return truth, A, A(truth) + 0.02 * scale * np.random.default_rng(0).standard_normal(truth.shape)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
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


def test_wrong_names():
    _, A, y = measurement()
    with pytest.raises(OptionError, match="Did you mean 'huber-tv'"):
        plan(y, A, prior="hubertv")
    with pytest.raises(OptionError, match="Did you mean 'laplacian'"):
        plan(y, A, prior="laplace")
