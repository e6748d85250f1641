"""Noise models: their samples have the moments that theory gives, and each can be reconstructed under."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import scipy.special
import torch
from skimage import data, util

from recon import (
    Gaussian,
    Impulse,
    Poisson,
    PoissonGaussian,
    Rician,
    Speckle,
    _noise_other,
    noise,
    plan,
    psf,
    reconstruct,
)
from recon._noise_level import estimate_gain, estimate_looks
from recon._operator_checks import dense
from recon.operators import Blur, CartesianMRI, Identity, Mask, ParallelBeam
from solvers.errors import ArgumentError, DTypeError, OperatorError, OptionError, ShapeError

RNG = np.random.default_rng(0)
MANY = 200_000


def photograph(step: int = 4) -> np.ndarray:
    return util.img_as_float64(data.camera())[::step, ::step]


def psnr(truth: np.ndarray, image: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((truth - image) ** 2)))


@pytest.mark.parametrize("module", [noise, _noise_other])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module, extraglobs={"np": np, **vars(module)}).failed == 0


# --- moments of the samples -----------------------------------------------------------------------------------------

MOMENTS = {  # model: (value without noise, expected mean, expected variance)
    "gaussian": (Gaussian(0.3), 2.0, 2.0, 0.09),
    "poisson": (Poisson(), 3.0, 3.0, 3.0),
    "poisson with gain": (Poisson(background=1.0, gain=0.25), 3.0, 4.0, 1.0),
    "poisson and gaussian": (PoissonGaussian(gain=0.5, sigma=0.7, background=1.0), 3.0, 4.0, 2.49),
    "speckle": (Speckle(5), 3.0, 3.0, 9 / 5),
    "rician without signal": (Rician(2.0), 0.0, 2 * math.sqrt(math.pi / 2), 4 * (2 - math.pi / 2)),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_samples_have_the_moments_of_theory(name):
    model, clean, mean, variance = MOMENTS[name]
    noisy = model.sample(np.full(MANY, clean), rng=1)
    assert noisy.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / MANY))
    assert noisy.var() == pytest.approx(variance, rel=0.03)


def test_rician_samples_have_the_mean_of_rice():
    x = 1.5  # sqrt(pi / 2) L_{1/2}(-x^2 / 2)
    t = x**2 / 4
    expected = math.sqrt(math.pi / 2) * ((1 + 2 * t) * scipy.special.ive(0, t) + 2 * t * scipy.special.ive(1, t))
    assert Rician(1.0).sample(np.full(MANY, x), rng=2).mean() == pytest.approx(expected, abs=0.01)


def test_gaussian_noise_of_complex_data_is_in_both_parts():
    noisy = Gaussian(0.5).sample(np.zeros(MANY, complex), rng=0)
    assert noisy.real.std() == pytest.approx(0.5, rel=0.01)
    assert noisy.imag.std() == pytest.approx(0.5, rel=0.01)


def test_gaussian_noise_follows_a_map():
    sigma = np.array([0.1, 0.5, np.inf])
    noisy = Gaussian(sigma).sample(np.ones((MANY, 3)), rng=0)
    np.testing.assert_allclose(noisy.std(axis=0), [0.1, 0.5, 0.0], rtol=0.01)


def test_impulses_replace_their_share():
    clean = np.linspace(0.2, 0.8, MANY)
    noisy = Impulse(0.3, low=0.0, high=1.0).sample(clean, rng=0)
    assert np.mean(noisy != clean) == pytest.approx(0.3, abs=0.01)
    assert set(np.unique(noisy[noisy != clean])) == {0.0, 1.0}
    noisy = Impulse(0.3, "random", low=0.0, high=1.0).sample(clean, rng=0)
    struck = noisy[noisy != clean]
    assert struck.mean() == pytest.approx(0.5, abs=0.01)
    assert struck.var() == pytest.approx(1 / 12, rel=0.03)


@pytest.mark.parametrize("model", [m[0] for m in MOMENTS.values()] + [Impulse(0.2), Impulse(0.2, "random")])
def test_sampling_keeps_the_precision_and_the_input(model):
    clean = RNG.random((4, 5)).astype(np.float32)
    clean.flags.writeable = False
    noisy = model.sample(clean, rng=3)
    assert (noisy.dtype, noisy.shape) == (np.float32, clean.shape)
    np.testing.assert_array_equal(noisy, model.sample(clean, rng=3))
    assert (noisy != model.sample(clean, rng=4)).any()
    tensor = model.sample(torch.from_numpy(clean.copy()), rng=3)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), noisy)


# --- reconstruction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [lambda: Blur(RNG.random((3, 3)), (5, 6)), lambda: ParallelBeam((5, 6), 7)])
def test_weighted_least_squares_is_the_closed_form(build):
    A = build()
    sigma = RNG.uniform(0.1, 2.0, A.out_shape)
    y = RNG.standard_normal(A.out_shape)
    x, info = reconstruct(y, A, noise=sigma, prior="tikhonov", strength=0.1, tol=1e-9, max_iter=2000, return_info=True)
    matrix, weights = dense(A), np.mean(sigma**-2.0) ** -1 / sigma.ravel() ** 2
    system = matrix.T @ (weights[:, None] * matrix) + 0.1 * np.eye(30)
    np.testing.assert_allclose(x.ravel(), np.linalg.solve(system, matrix.T @ (weights * y.ravel())), rtol=1e-5)
    assert "weighted" in str(info)


def test_a_constant_map_changes_nothing():
    A = Blur(np.ones((3, 3)) / 9, (32, 32))
    y = Gaussian(0.05).sample(A(photograph(16)), rng=0)
    plain = reconstruct(y, A, noise=0.05, strength=0.01, tol=1e-4)
    weighted = reconstruct(y, A, noise=np.full((32, 32), 0.05), strength=0.01, tol=1e-4)
    np.testing.assert_allclose(weighted, plain, atol=2e-3)


def test_a_noise_map_beats_one_level():
    truth = photograph()
    A = Blur(np.ones((3, 3)) / 9, truth.shape)
    sigma = np.where(np.arange(truth.shape[1]) < 64, 0.01, 0.2) * np.ones(truth.shape)
    y = Gaussian(sigma).sample(A(truth), rng=0)
    assert psnr(truth, reconstruct(y, A, noise=sigma)) > psnr(truth, reconstruct(y, A)) + 2


def test_rays_of_different_noise_are_weighted():
    truth = photograph(8)
    A = ParallelBeam(truth.shape, 40, spacing=0.1)
    sigma = np.where(np.arange(40) % 4 == 0, 0.5, 0.01)[:, None]
    y = Gaussian(sigma).sample(A(truth), rng=0)
    assert psnr(truth, reconstruct(y, A, noise=sigma)) > psnr(truth, reconstruct(y, A)) + 2


def test_samples_of_infinite_noise_are_left_out():
    truth = photograph(8)
    broken = RNG.random(truth.shape) < 0.3
    y = np.where(broken, 1e3, truth)
    x = reconstruct(y, Identity(truth.shape), noise=np.where(broken, np.inf, 1e-3), strength=1e-3)
    masked = reconstruct(y, Mask(~broken), noise=1e-3, strength=1e-3)
    np.testing.assert_allclose(x, masked, atol=0.02)


def test_a_noise_map_keeps_what_the_operator_does_not_measure():
    mask = RNG.random((8, 9)) < 0.5
    mask[0] = True
    request = plan(np.ones((8, 9)), Mask(mask), noise=np.full((8, 9), 0.1))
    np.testing.assert_array_equal(request.operator.sampling, mask)


def test_photons_of_a_gain_are_counts_in_another_unit():
    truth = 1 + 20 * photograph(8)
    A = Blur(np.ones((3, 3)) / 9, truth.shape)
    counts = Poisson().sample(A(truth), rng=0)
    x = reconstruct(counts, A, noise="poisson", tol=1e-5, strength=0.1)
    # The unit of the image changes; the prior is homogeneous, so that its strength changes by as much.
    scaled = reconstruct(0.2 * counts, A, noise=Poisson(gain=0.2), tol=1e-5, strength=0.5)
    np.testing.assert_allclose(scaled, 0.2 * x, rtol=2e-2)


def test_a_background_of_photons_is_no_misfit():
    truth = 5 + 30 * photograph() ** 2
    A = Blur(np.ones((3, 3)) / 9, truth.shape)
    y = Poisson(background=9.0).sample(A(truth), rng=0)
    x, info = reconstruct(y, A, noise=Poisson(background=9.0), return_info=True)
    assert info.residual == pytest.approx(1.0, abs=0.05)
    around = [reconstruct(y, A, noise=Poisson(background=9.0), strength=f * info.plan.strength) for f in (0.3, 3)]
    assert all(psnr(truth, x) > psnr(truth, other) for other in around)


def test_photons_and_readout_noise_beat_the_assumption_of_white_noise():
    truth = 0.2 + 30 * photograph() ** 2
    A = Blur(np.ones((3, 3)) / 9, truth.shape)
    y = PoissonGaussian(gain=1.0, sigma=1.0).sample(A(truth), rng=0)
    x, info = reconstruct(y, A, noise=PoissonGaussian(1.0, 1.0), return_info=True)
    assert info.trusted
    assert psnr(truth / 30, x / 30) > psnr(truth / 30, reconstruct(y, A) / 30)


@pytest.mark.parametrize(("gain", "sigma"), [(0.01, 0.02), (0.002, 0.05), (0.05, 0.0)])
def test_gain_and_readout_noise_are_found(gain, sigma):
    truth = photograph(2)
    A = Blur(np.ones((5, 5)) / 25, truth.shape)
    y = PoissonGaussian(gain, sigma).sample(A(truth), rng=0)
    found = estimate_gain(y, A)
    np.testing.assert_allclose(
        found[0] * np.array([0.2, 0.8]) + found[1] ** 2, gain * np.array([0.2, 0.8]) + sigma**2, rtol=0.15
    )
    assert found[0] == pytest.approx(gain, rel=0.25)


def test_noise_that_does_not_grow_is_gaussian():
    y = Gaussian(0.1).sample(np.ones((64, 64)), rng=0)
    text = str(plan(y, Identity(y.shape), noise="poisson-gaussian"))
    assert "Gaussian, 0.1" in text or "Gaussian, 0.09" in text or "each, and Gaussian" in text
    with pytest.raises(ShapeError, match="expected two axes"):
        plan(np.ones(9), Identity((9,)), noise="poisson-gaussian")


@pytest.mark.parametrize("kind", ["salt and pepper", "random"])
def test_impulses_are_found_and_left_out(kind):
    truth = photograph()
    y = Impulse(0.2, kind, low=0.0, high=1.0).sample(truth, rng=0)
    x, info = reconstruct(y, Identity(truth.shape), noise=Impulse(kind=kind), strength=0.01, return_info=True)
    assert psnr(truth, x) > psnr(truth, reconstruct(y, Identity(truth.shape))) + 4
    assert info.residual < 1.5
    assert "left out" in info.plan.decisions["data term"].reason


def test_impulses_are_told_from_the_noise_beneath_them():
    truth = photograph()
    A = Blur(np.ones((3, 3)) / 9, truth.shape)
    measured = Gaussian(0.02).sample(A(truth), rng=1)
    y = Impulse(0.2, low=0.0, high=1.0).sample(measured, rng=0)
    x, info = reconstruct(y, A, noise="impulse", return_info=True)
    assert info.residual < 1.5
    assert psnr(truth, x) > psnr(truth, reconstruct(measured, A)) - 2


def test_saturated_regions_are_no_impulses():
    y = np.zeros((32, 32))
    y[8:24, 8:24] = 1.0
    y[0, 0] = y[16, 16] = 0.5
    found = ~plan(y, Identity(y.shape), noise="impulse").operator.sampling
    assert found.mean() < 0.1


def test_speckle_is_additive_in_the_logarithm():
    truth = 0.1 + photograph()
    y = Speckle(4).sample(truth, rng=0)
    assert estimate_looks(y, Identity(truth.shape)) == pytest.approx(4, rel=0.15)
    x = reconstruct(y, Identity(truth.shape), noise=Speckle(4))
    assert psnr(truth, x) > psnr(truth, reconstruct(y, Identity(truth.shape))) + 1
    assert x.min() > 0
    assert x.mean() == pytest.approx(truth.mean(), rel=0.05)
    kept = reconstruct(y, Identity(truth.shape), noise=Speckle(4), bounds=(0.0, 0.5), x0=np.ones(truth.shape))
    assert kept.max() <= 0.5 + 1e-12


def test_speckle_behind_a_blur_is_weighted():
    truth = 0.1 + photograph()
    A = Blur(np.ones((3, 3)) / 9, truth.shape)
    y = Speckle(10).sample(A(truth), rng=0)
    assert psnr(truth, reconstruct(y, A, noise=Speckle(10))) > psnr(truth, reconstruct(y, A))


def test_rician_bias_is_corrected():
    truth = np.zeros((64, 64))
    truth[16:48, 16:48] = 1.5
    y = Rician(1.0).sample(np.broadcast_to(truth, (8, 64, 64)), rng=0)
    x = reconstruct(y, Identity(truth.shape), noise=Rician(1.0)).mean(axis=0)
    plain = reconstruct(y, Identity(truth.shape)).mean(axis=0)
    inside, outside = (slice(24, 40),) * 2, (slice(0, 10),) * 2
    assert abs(x[inside].mean() - 1.5) < 0.15 < plain[inside].mean() - 1.5
    assert abs(x[outside].mean()) < 0.3 < 1.1 < plain[outside].mean()


@pytest.mark.parametrize("sigma", [0.1, 0.25])
def test_correcting_rician_noise_behind_a_blur_beats_not_to(sigma):
    truth = np.zeros((64, 64))
    truth[12:52, 12:52] = photograph(8)[12:52, 12:52]
    A = Blur(psf.gaussian(1.5), truth.shape)
    y = Rician(sigma).sample(A(truth), rng=0)
    assert psnr(truth, reconstruct(y, A, noise=Rician(sigma))) > 1 + psnr(truth, reconstruct(y, A))


def test_the_rician_bias_is_that_of_what_was_measured():
    truth = np.full((64, 64), 2.0)
    A = Mask(np.random.default_rng(0).random(truth.shape) < 0.5)
    working = Rician(1.0).working(A(Rician(1.0).sample(truth, rng=1)), A)
    assert not working.y[~A.sampling].any()
    assert working.y[A.sampling].mean() == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0])
def test_the_level_of_rician_noise_is_found(sigma):
    truth = np.zeros((96, 96))
    truth[24:72, 24:72] = np.linspace(0.2, 2.0, 48)
    y = Rician(sigma).sample(truth, rng=0)
    A = Identity(truth.shape)
    assert Rician.estimated(y, A).sigma == pytest.approx(sigma, rel=0.08)
    assert psnr(truth, reconstruct(y, A, noise="rician")) > psnr(truth, reconstruct(y, A))


def test_no_rician_noise_is_gaussian_of_level_zero():
    assert Rician.estimated(np.ones((8, 8)), Identity((8, 8))) == Gaussian(0.0)


# --- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: Gaussian(-1.0), ArgumentError, "sigma is -1"),
        (lambda: Gaussian("loud"), DTypeError, "sigma is 'loud'"),
        (lambda: Gaussian(np.array([0.1, 0.0])), ArgumentError, "sigma holds 0; expected numbers above 0"),
        (lambda: Gaussian(np.array([0.1, np.nan])), ArgumentError, "sigma holds nan"),
        (lambda: Gaussian(np.array([1j])), DTypeError, "sigma has dtype complex128"),
        (lambda: Poisson(gain=0), ArgumentError, "gain is 0"),
        (lambda: Poisson(background=-1), ArgumentError, "background is -1"),
        (lambda: PoissonGaussian(1.0, -1.0), ArgumentError, "sigma is -1"),
        (lambda: Impulse(1.5), ArgumentError, "fraction is 1.5"),
        (lambda: Impulse(kind="salt"), OptionError, "kind is 'salt'; expected one of"),
        (lambda: Impulse(low=1, high=0), ArgumentError, "low is 1 and high 0"),
        (lambda: Speckle(0), ArgumentError, "looks is 0"),
        (lambda: Rician(0), ArgumentError, "sigma is 0"),
        (lambda: Poisson().sample(np.array([-1.0, 1.0]), rng=0), ArgumentError, "clean goes down to -1"),
        (lambda: Impulse().sample(np.ones(3, complex), rng=0), DTypeError, "complex128"),
    ],
)
def test_wrong_models_say_what_is_wrong(build, error, match):
    with pytest.raises(error, match=match):
        build()


@pytest.mark.parametrize(
    ("model", "y", "error", "match"),
    [
        (np.ones((3, 4)), np.ones((4, 4)), ShapeError, r"sigma has shape \(3, 4\)"),
        ("loud", np.ones((4, 4)), OptionError, "noise is 'loud'"),
        ("speckel", np.ones((4, 4)), OptionError, "Did you mean 'speckle'"),
        (PoissonGaussian(1.0, 1.0), np.ones((4, 4), complex), DTypeError, "Photon counts are real"),
        (Speckle(2), np.eye(4), ArgumentError, r"operators.Mask\(y > 0\)"),
        (Speckle(2), np.ones((4, 4), complex), DTypeError, "intensities"),
        (Rician(1.0), np.ones((4, 4), complex), DTypeError, r"abs\(y\)"),
        ("rician", np.ones((4, 4), complex), DTypeError, r"abs\(y\)"),
        (Impulse(), np.ones((4, 4), complex), DTypeError, "complex128"),
        (Impulse(), np.indices((4, 4)).sum(axis=0) % 2, ArgumentError, "look like impulses"),
    ],
)
def test_measurements_that_a_model_cannot_have(model, y, error, match):
    with pytest.raises(error, match=match):
        plan(y, Identity((4, 4)), noise=model)


def test_rician_noise_is_refused_where_the_measurement_is_complex():
    with pytest.raises(OperatorError, match="noise='gaussian'"):
        plan(np.ones((4, 4)), CartesianMRI(np.ones((4, 4))), noise=Rician(1.0))


@pytest.mark.parametrize(
    "model",
    [
        np.linspace(0.05, 0.2, 16),
        Poisson(gain=0.1),
        PoissonGaussian(0.1, 0.05),
        "poisson-gaussian",
        "rician",
        Impulse(),
        Speckle(10),
        Rician(0.1),
    ],
    ids=str,
)
def test_tensors_are_reconstructed_like_arrays(model):
    y = 1 + 0.1 * RNG.random((16, 16)) + np.add.outer(np.zeros(16), np.linspace(0, 1, 16))
    A = Mask(RNG.random((16, 16)) < 0.9)
    expected = reconstruct(y, A, noise=model, strength=0.01, max_iter=20)
    found = reconstruct(torch.from_numpy(y), A, noise=model, strength=0.01, max_iter=20)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
