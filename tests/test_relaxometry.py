"""Relaxation: signals by their formulas, fits against scipy, maps with a prior."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import curve_fit

from recon import reconstruct
from recon.operators import CartesianMRI, Relaxometry, block_diagonal
from solvers.errors import ArgumentError, OptionError, ShapeError

RNG = np.random.default_rng(0)
TIMES = np.array([12.0, 25.0, 40.0, 60.0, 90.0, 140.0, 200.0, 300.0])
CURVES = {
    "decay": lambda t, a, T: a * np.exp(-t / T),
    "saturation": lambda t, a, T: a * (1 - np.exp(-t / T)),
    "inversion": lambda t, a, T: a * (1 - 2 * np.exp(-t / T)),
}


def maps(shape):
    return 0.5 + RNG.random(shape), 40 + 80 * RNG.random(shape)


@pytest.mark.parametrize("model", CURVES)
def test_signal_is_that_of_the_formula(model):
    amplitude, time = maps((3, 4))
    F = Relaxometry(TIMES, (3, 4), model)
    expected = CURVES[model](TIMES[:, None, None], amplitude, time)
    x = F.maps_of(amplitude, time)
    np.testing.assert_allclose(F(x), expected)
    np.testing.assert_allclose(F.relaxation_time(x), time)


@pytest.mark.parametrize("model", CURVES)
def test_fit_is_that_of_scipy_voxel_by_voxel(model):
    amplitude, time = maps((4, 8))
    F = Relaxometry(TIMES, (4, 8), model)
    y = F(F.maps_of(amplitude, time)) + 0.01 * RNG.standard_normal(F.out_shape)
    x = F.fit(y)
    for index in np.ndindex(4, 8):
        expected, _ = curve_fit(CURVES[model], TIMES, y[(slice(None), *index)], p0=(1.0, 70.0))
        assert x[(0, *index)] == pytest.approx(expected[0], rel=1e-3)
        assert F.relaxation_time(x)[index] == pytest.approx(expected[1], rel=1e-3)


def test_fit_of_a_batch_of_tensors_in_single_precision():
    F = Relaxometry(TIMES, (3, 5))
    x = np.stack([F.maps_of(*maps((3, 5))) for _ in range(2)]).astype(np.float32)
    fitted = F.fit(torch.from_numpy(F(x)))
    assert fitted.dtype == torch.float32
    np.testing.assert_allclose(fitted.numpy(), x, rtol=1e-3)


def test_voxels_without_signal_stay_finite():
    F = Relaxometry(TIMES, (2,))
    assert np.isfinite(F.fit(np.zeros(F.out_shape))).all()
    assert np.isfinite(F.fit(RNG.standard_normal(F.out_shape))).all()


def test_a_prior_makes_maps_less_noisy():
    amplitude, time = np.ones((32, 32)), np.full((32, 32), 60.0)
    amplitude[8:24, 8:24], time[12:20, 4:28] = 1.5, 100.0
    F = Relaxometry(TIMES, (32, 32))
    y = (F(F.maps_of(amplitude, time)) + 0.05 * RNG.standard_normal(F.out_shape)).astype(np.float32)
    x = reconstruct(y, F, noise=0.05)

    def error(found):
        return np.sqrt(np.mean((F.relaxation_time(found) - time) ** 2))

    assert error(x) < 0.5 * error(F.fit(y))


def test_maps_from_k_space():
    amplitude, time = np.ones((16, 16)), np.full((16, 16), 60.0)
    time[4:12, 4:12] = 100.0
    F = Relaxometry(TIMES, (16, 16))
    mask = RNG.random((16, 16)) < 0.6
    mask[6:10, 6:10] = True
    G = block_diagonal([CartesianMRI(mask)] * len(TIMES)) @ F
    y = G(F.maps_of(amplitude, time))
    x = reconstruct(y, G, noise=1e-3, strength=1e-4, x0=F.maps_of(amplitude, np.full((16, 16), 70.0)))
    assert np.sqrt(np.mean((F.relaxation_time(x) - time) ** 2)) < 3


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (([10.0], (3,)), ShapeError, "two different times"),
        (([10.0, 10.0], (3,)), ShapeError, "two different times"),
        (([-1.0, 10.0], (3,)), ArgumentError, "below zero"),
        (([1.0, 10.0], (3,), "decays"), OptionError, "Did you mean 'decay'"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, match):
    with pytest.raises(error, match=match):
        Relaxometry(*arguments)
