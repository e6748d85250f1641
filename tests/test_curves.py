"""Measurements that are a curve of each pixel: their parabolas, the start that these give, and the steps by default."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recon import plan, reconstruct
from recon._curves import by_parabolas
from recon._first_guess import first_guess
from recon._stages import data_term
from recon.bench.problems import photograph
from recon.learn.problems import FAMILIES
from recon.noise import Gaussian, Poisson
from recon.operators import Blur, CameraResponse, Identity, Saturation, Transmission
from solvers.learned_nonlinear_plug_and_play import parabola

PHOTO = photograph("camera", 64)
CURVES = {
    "saturation": (Saturation(PHOTO.shape, level=0.8), Gaussian(0.02)),
    "camera": (CameraResponse(PHOTO.shape, 2.2, toe=0.01), Gaussian(0.02)),
    "counts": (Transmission(2.0 * Identity(PHOTO.shape), counts=300.0), Poisson()),
}


def measured(name):
    operator, noise = CURVES[name]
    return operator, noise, noise.sample(operator(PHOTO), 0)


def error(x, truth=PHOTO):
    return float(np.sqrt(np.mean((np.asarray(x) - truth) ** 2)))


@pytest.mark.parametrize("name", CURVES)
def test_the_parabola_has_the_slope_of_the_data_and_the_curvature_of_gauss_and_newton(name):
    operator, noise, y = measured(name)
    data = data_term(operator, y.astype(np.float64), noise)
    u = PHOTO.astype(np.float64) + 0.1
    gains, values = parabola(data, u)
    np.testing.assert_allclose(gains * (gains * u - values), data.gradient(u), rtol=1e-6, atol=1e-9)
    slopes = (data.operator(u + 1e-6) - data.operator(u - 1e-6)) / 2e-6
    np.testing.assert_allclose(gains**2, data.curvatures(data.operator(u)) * slopes**2, rtol=1e-4)


@pytest.mark.parametrize("name", ["saturation", "camera"])
def test_the_first_guess_is_the_inverse(name):
    operator, _ = CURVES[name]
    np.testing.assert_allclose(first_guess(operator, operator(PHOTO)), PHOTO, atol=0.02)


@pytest.mark.parametrize("name", CURVES)
def test_two_parabolas_are_near_total_variation(name):
    operator, noise, y = measured(name)
    exact, info = reconstruct(y, operator, prior="tv", noise=noise, return_info=True)
    start = by_parabolas(operator, y, noise, None)
    assert error(start) < 1.05 * error(exact)
    strengths = info.plan.strength * np.array([0.7, 0.85, 1.0, 1.2, 1.4])  # both search for it, each on its own problem
    path = [reconstruct(y, operator, prior="tv", noise=noise, strength=s) for s in strengths]
    assert min(error(start, image) for image in path) < 0.2 * error(exact)


def test_learned_steps_are_the_default_whether_the_noise_is_known_or_not():
    operator, noise, y = measured("saturation")
    chosen = plan(y, operator, prior="learned", noise=noise).decisions["solver"].choice
    estimated = plan(y, operator, prior="learned").decisions["solver"].choice
    assert chosen == estimated == "learned-nonlinear-dpir"


def test_learned_steps_are_better_on_sensors_that_saturate():
    gains = []
    for i, name in enumerate(("camera", "coins", "moon", "brick")):
        truth = photograph(name, 64)
        operator, sigma = FAMILIES["saturation"](np.random.default_rng(i), 64)
        y = Gaussian(sigma).sample(operator(truth), i)
        learned, classical = (
            reconstruct(y, operator, prior="learned", noise=sigma, solver=s) for s in ("auto", "nonlinear-dpir")
        )
        gains.append(math.log(error(classical, truth) / error(learned, truth)))
    assert np.mean(gains) > 0


def test_samples_that_tell_several_pixels_take_classical_steps():
    behind = CURVES["saturation"][0] @ Blur(np.ones((3, 3)) / 9, PHOTO.shape)
    chosen = plan(behind(PHOTO), behind, prior="learned", noise=0.02).decisions["solver"].choice
    assert chosen == "nonlinear-dpir"


def test_tensors_and_batches_are_restored_as_arrays_are():
    operator, noise, y = measured("saturation")
    x = reconstruct(y, operator, prior="learned", noise=noise)
    of_tensor = reconstruct(torch.from_numpy(y), operator, prior="learned", noise=noise)
    np.testing.assert_allclose(of_tensor.numpy(), x, atol=5e-3)
    both = reconstruct(np.stack([y, y[::-1]]), operator, prior="learned", noise=noise)
    assert both.shape == (2, *PHOTO.shape)
    assert max(error(both[0]), error(both[1][::-1])) < 1.05 * error(x)
