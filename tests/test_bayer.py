"""Colour filter arrays: which pixel sees which colour, and demosaicing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from skimage import data

from benchmarks.problems import psnr
from recon import reconstruct
from recon.noise import estimate_sigma
from recon.operators import Bayer
from solvers.errors import OptionError, ShapeError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("shape", [(4, 6), (5, 3), (1, 1)])
def test_every_pixel_sees_the_colour_of_its_filter(pattern, shape):
    x = RNG.standard_normal((3, *shape))
    y = Bayer(shape, pattern)(x)
    for i, j in np.ndindex(*shape):
        assert y[i, j] == x["RGB".index(pattern[2 * (i % 2) + j % 2]), i, j]


def test_half_the_pixels_are_green_and_each_is_seen_once():
    seen = Bayer((6, 8)).diagonal_gram()
    np.testing.assert_array_equal(seen.sum(axis=0), 1)
    assert seen.sum(axis=(1, 2)).tolist() == [12, 24, 12]


def test_colours_are_not_taken_for_noise():
    colour = np.array([0.9, 0.4, 0.1])[:, None, None]
    clean = Bayer((41, 64), "GRBG")(colour * np.linspace(0.5, 1, 64) * np.ones((3, 41, 64)))
    noise = 0.02 * np.random.default_rng(0).standard_normal(clean.shape)
    assert estimate_sigma(clean + noise, Bayer((41, 64), "GRBG")) == pytest.approx(0.02, rel=0.1)


def bilinear(y, A):
    """The mean of the nearest pixels that see the colour."""
    weights = np.outer([1, 2, 1], [1, 2, 1])
    values, seen = A.adjoint(y), A.diagonal_gram()
    return np.stack(
        [
            scipy.ndimage.convolve(v, weights, mode="mirror") / scipy.ndimage.convolve(s, weights, mode="mirror")
            for v, s in zip(values, seen, strict=True)
        ]
    )


def test_demosaicing_beats_bilinear_interpolation():
    truth = np.moveaxis(data.astronaut()[20:116, 170:266], -1, 0).astype(np.float32) / 255
    A = Bayer(truth.shape[1:])
    y = A(truth) + 0.01 * np.random.default_rng(1).standard_normal(truth.shape[1:], dtype=np.float32)
    assert psnr(truth, reconstruct(y, A, prior="tv")) > psnr(truth, bilinear(y, A)) + 0.5


@pytest.mark.parametrize("noise", ["auto", 0.01])
def test_of_the_priors_the_one_that_fills_in_colours_is_taken(noise):
    truth = np.moveaxis(data.astronaut()[20:148, 170:298], -1, 0).astype(np.float32) / 255
    A = Bayer(truth.shape[1:])
    y = A(truth) + 0.01 * np.random.default_rng(1).standard_normal(truth.shape[1:], dtype=np.float32)
    either = [psnr(truth, reconstruct(y, A, noise=noise, prior=prior)) for prior in ("tv", "learned")]
    assert psnr(truth, reconstruct(y, A, noise=noise)) > max(either) - 0.1


def test_wrong_patterns_and_shapes_say_what_is_wrong():
    with pytest.raises(OptionError, match=r"pattern is 'rggb'.*Did you mean 'RGGB'"):
        Bayer((4, 4), "rggb")
    with pytest.raises(ShapeError, match="Leave out the colours"):
        Bayer((3, 4, 4))


def test_colours_that_were_not_measured_come_back_by_the_learned_prior():
    photo = np.moveaxis(data.astronaut()[60:156, 180:276] / np.float32(255), -1, 0)
    sensor = Bayer(photo.shape[1:])
    y = sensor(photo) + 0.005 * np.random.default_rng(0).standard_normal(sensor.out_shape).astype(np.float32)
    errors = [np.linalg.norm(reconstruct(y, sensor, prior=prior) - photo) for prior in ("tv", "learned")]
    assert errors[1] < 0.6 * errors[0]
