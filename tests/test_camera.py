"""Camera responses: against the standard, by their inverses, and what clipped samples tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data, util

from recon import reconstruct
from recon._noise_level import estimate_sigma
from recon._selection_problem import measured_count
from recon.noise import Gaussian, Poisson
from recon.operators import (
    Blur,
    CameraResponse,
    Clipping,
    Exposures,
    Identity,
    Logarithm,
    Saturation,
    Unknown,
    stack,
)
from solvers import ADMM, FISTA, ClippedLeastSquares, LevenbergMarquardt, solve
from solvers.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(0)
PHOTO = util.img_as_float32(data.camera())[64:192, 192:320]


def test_srgb_is_the_curve_of_the_standard():
    """Values of IEC 61966-2-1: middle grey, the joint of line and power, and the ends."""
    F = CameraResponse((5,))
    light = np.array([0.0, 0.0031308, 0.2140, 0.5, 1.0])
    np.testing.assert_allclose(F(light), [0.0, 0.04045, 0.5000, 0.7354, 1.0], atol=1e-4)


@pytest.mark.parametrize("curve", ["srgb", 2.2, 1.0, 0.8])
def test_response_inverts_itself(curve):
    F = CameraResponse((50,), curve)
    x = np.linspace(-0.1, 1.2, 50)
    np.testing.assert_allclose(F.inverse(F(x)), x, atol=1e-12)
    inside = np.linspace(0.01, 1, 50)
    if curve != "srgb":
        np.testing.assert_allclose(F(inside), inside ** (1 / curve))


POLYNOMIAL = [0.1, 0.3, 0.6]


def test_polynomial_response_is_the_inverse_of_its_polynomial():
    F = CameraResponse((50,), POLYNOMIAL)
    y = np.linspace(-0.2, 1.2, 50)
    inside = (y >= 0) & (y <= 1)
    np.testing.assert_allclose(F.inverse(y)[inside], sum(c * y[inside] ** (k + 1) for k, c in enumerate(POLYNOMIAL)))
    np.testing.assert_allclose(F(F.inverse(y)), y, atol=1e-10)


@pytest.mark.parametrize("curve", [np.array([2.2]), np.array(POLYNOMIAL)])
def test_value_as_a_function_of_the_curve(curve):
    """Against central differences, the toe and what is beyond white included."""
    x = np.concatenate([np.linspace(-0.1, 1.3, 30), [5e-4]])
    model = CameraResponse(x.shape, curve).in_parameter("curve", x)
    np.testing.assert_allclose(model(curve), CameraResponse(x.shape, curve)(x))
    for direction in np.eye(len(curve)):
        ahead, behind = (CameraResponse(x.shape, curve + h * direction)(x) for h in (1e-5, -1e-5))
        np.testing.assert_allclose(model.linearize(curve)(direction), (ahead - behind) / 2e-5, atol=1e-6)


def exposed(curve, times=(0.5, 1.0, 2.5)):
    """Light, the model of clipped exposures, and a measurement."""
    light = 0.02 + 0.98 * PHOTO[::3, ::3].astype(float) ** 2
    series = stack([t * Identity(light.shape) for t in times])

    def model(of):
        return Clipping(series.out_shape, 0, 1) @ (CameraResponse(series.out_shape, of) @ series)

    y = model(curve)(light)
    return light, model, np.clip(y + 0.005 * RNG.standard_normal(y.shape), 0, 1)


@pytest.mark.parametrize("shape", [None, (4,)])
def test_exposures_of_known_times_tell_the_response(shape):
    light, model, y = exposed(2.2 if shape is None else POLYNOMIAL)
    x, info = reconstruct(y, model(Unknown(shape=shape)), strength=3e-6, max_iter=60, return_info=True)
    found, values = info.unknowns["curve"], np.linspace(0, 1, 20)
    expected = CameraResponse((20,), 2.2 if shape is None else POLYNOMIAL).inverse(values)
    np.testing.assert_allclose(CameraResponse((20,), found).inverse(values), expected, atol=0.02)
    assert shape is None or found.sum() == pytest.approx(1)
    assert np.sqrt(np.mean((x / x.mean() - light / light.mean()) ** 2)) < 0.05


def test_a_chart_tells_the_response_and_one_photograph_does_not():
    light = np.linspace(0.05, 1, 24)
    family = CameraResponse(light.shape, Unknown())
    y = CameraResponse(light.shape, 1.8)(light) + 1e-3 * RNG.standard_normal(24)
    assert family.fit(light, y)["curve"] == pytest.approx(1.8, rel=0.01)
    with pytest.raises(ArgumentError, match="exposures"):
        reconstruct(PHOTO, CameraResponse(PHOTO.shape, Unknown()))
    reconstruct(y, CameraResponse(light.shape, Unknown(start=[1.8])), strength=1e-4)


def test_known_response_of_a_blurred_photograph():
    light = PHOTO[::2, ::2] ** 2.2
    F = CameraResponse(light.shape) @ Blur(np.ones((3, 3)) / 9, light.shape)
    y = F(light) + 0.005 * RNG.standard_normal(light.shape).astype(np.float32)
    x = reconstruct(y, F)
    assert np.mean((x - light) ** 2) < 0.4 * np.mean((F.parts[0].inverse(y) - light) ** 2)


@pytest.mark.parametrize("sharpness", [1.0, 4.0, 10.0])
def test_saturation_rises_to_its_level(sharpness):
    F = Saturation((40,), 0.8, sharpness)
    x = np.linspace(-2, 2, 40)
    assert (np.diff(F(x)) > 0).all()
    assert abs(F(np.full(40, 1e6)) - 0.8).max() < 1e-3
    small = 1e-3 * x
    np.testing.assert_allclose(F(small), small, rtol=0.01)
    np.testing.assert_allclose(F.inverse(F(0.5 * x)), 0.5 * x, atol=1e-9)


def test_clipped_samples_are_one_sided():
    y = np.array([0.0, 0.5, 1.0])
    term = ClippedLeastSquares(Identity((3,)), y, lower=0.0, upper=1.0)
    assert term.loss(np.array([-3.0, 0.5, 7.0])) == 0
    np.testing.assert_allclose(term.loss_gradient(np.array([0.2, 0.7, 0.9])), [0.2, 0.2, -0.1])
    rounded = ClippedLeastSquares(Identity((3,)), y, step=0.2)
    assert rounded.loss(y + 0.09) == 0
    np.testing.assert_allclose(rounded.loss_gradient(y + 0.3), 0.2)


def test_prox_of_the_clipped_misfit_minimises_its_definition():
    y = np.clip(RNG.standard_normal(50), -1, 1)
    term = ClippedLeastSquares(Identity((50,)), y, -1.0, 1.0, 0.1)
    v, step = 2 * RNG.standard_normal(50), 0.7
    w = term.loss_prox(v, step)
    np.testing.assert_allclose(step * term.loss_gradient(w) + w - v, 0, atol=1e-12)


@pytest.mark.parametrize("solver", [ADMM, FISTA, LevenbergMarquardt])
def test_solvers_agree_behind_a_clipped_blur(solver):
    from priors import TotalVariation

    A = Blur(np.ones((3, 3)) / 9, (32, 32))
    x = 1.5 * PHOTO[:32, :32].astype(float)
    y = np.clip(A(x) + 0.01 * RNG.standard_normal((32, 32)), 0, 0.8)
    term = ClippedLeastSquares(A, y, 0.0, 0.8)
    expected = solve(FISTA(term, TotalVariation(), 0.005), y, max_iter=3000, tol=1e-7)
    found = solve(solver(term, TotalVariation(), 0.005), y, max_iter=1000, tol=1e-6)
    assert abs(term.value(found.image) - term.value(expected.image)) < 1e-2 * term.value(expected.image) + 1e-6


def test_what_was_clipped_comes_back_better():
    """A blur carries some of the light of bright pixels to neighbours that are not clipped."""
    A = Blur(np.ones((5, 5)) / 25, PHOTO.shape)
    upper = float(np.quantile(A(PHOTO), 0.8))
    F = Clipping(PHOTO.shape, upper=upper) @ A
    y = np.minimum(A(PHOTO) + 0.005 * RNG.standard_normal(PHOTO.shape), upper).astype(np.float32)
    clipped = y >= upper
    x, info = reconstruct(y, F, noise=0.005, return_info=True)
    ignored = reconstruct(y, A, noise=0.005)
    assert "levenberg-marquardt" in str(info.plan)
    assert np.mean((x - PHOTO)[clipped] ** 2) < 0.5 * np.mean((ignored - PHOTO)[clipped] ** 2)
    assert F.data_term(y, Poisson()) is None
    assert F.data_term(y, Gaussian(1.0)).operator is A
    assert info.residual < 1.1


def test_strength_behind_a_clipped_blur_needs_no_noise_level():
    """Clipped samples are no measurements: counted as such, cross-validation would prefer to fit the noise."""
    light = PHOTO[::2, ::2]
    F = Clipping(light.shape, upper=0.7) @ Blur(np.ones((3, 3)) / 9, light.shape)
    y = np.minimum(F.parts[1](light) + 0.01 * RNG.standard_normal(light.shape), 0.7).astype(np.float32)
    x, info = reconstruct(y, F, return_info=True)
    known = reconstruct(y, F, noise=0.01)
    assert info.choice.criterion == "gcv"
    assert np.mean((x - light) ** 2) < 1.2 * np.mean((known - light) ** 2)
    assert measured_count(F, y) == (y < 0.7).sum()


def test_exposures_span_more_than_one_does():
    scene = np.geomspace(0.002, 4.0, 64).reshape(8, 8)
    F = Exposures((8, 8), times=[0.2, 1.0, 5.0, 25.0], step=1 / 255)
    y = np.round(F(scene) * 255) / 255
    np.testing.assert_allclose(F.first_guess(y), scene, rtol=0.1)
    assert F.data_term(y, Gaussian(1e-3)).operator.diagonal_gram() is not None
    t = F.first_guess(torch.from_numpy(y))
    np.testing.assert_allclose(t.numpy(), F.first_guess(y))
    x = reconstruct(y, F, noise=0.002, prior="tikhonov", strength=1e-6)
    np.testing.assert_allclose(x, scene, rtol=0.1)


def test_noise_level_is_that_of_what_was_not_clipped():
    F = Exposures(PHOTO.shape, times=[1.0, 8.0, 32.0])
    y = np.minimum(np.stack([t * PHOTO for t in F.times]) + 0.05 * RNG.standard_normal((3, *PHOTO.shape)), 1.0)
    assert estimate_sigma(y, Identity(y.shape)) == pytest.approx(0.05, rel=0.1)  # most of it is clipped
    assert estimate_sigma(y, F) == pytest.approx(0.05, rel=0.3)
    assert np.isfinite(estimate_sigma(np.ones_like(y), F))


def test_rounding_is_noise_of_a_known_level():
    """A blurred picture of few levels, whose differences are mostly zero: the estimate alone would be none at all."""
    A, step = Blur(np.ones((3, 3)) / 9, PHOTO.shape), 1 / 12
    y = np.round(A(PHOTO) / step) * step
    x, info = reconstruct(y, Clipping(PHOTO.shape, 0, 1, step) @ A, return_info=True)
    assert info.plan.noise.sigma == pytest.approx(step / np.sqrt(12)) and info.choice.criterion == "sure"
    assert np.mean((x - PHOTO) ** 2) < 0.7 * np.mean((y - PHOTO) ** 2)


def test_speckle_adds_up_in_the_logarithm():
    F = Logarithm(PHOTO.shape) @ Blur(np.ones((3, 3)) / 9, PHOTO.shape)
    clean = 0.2 + PHOTO
    y = F(clean) + 0.1 * RNG.standard_normal(PHOTO.shape).astype(np.float32)
    x = reconstruct(y, F)
    assert np.mean((x - clean) ** 2) < 0.5 * np.mean((np.exp(y) - clean) ** 2)


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: CameraResponse((3,), "rgb"), ArgumentError, "curve"),
        (lambda: CameraResponse((3,), -1.0), ArgumentError, "curve"),
        (lambda: CameraResponse((3,), [1.0, -0.9]), ArgumentError, "falls at the value 1.00"),
        (lambda: CameraResponse((3,), np.eye(2)), ShapeError, "coefficients"),
        (lambda: Saturation((3,), 0.0), ArgumentError, "level"),
        (lambda: Saturation((3,), 1.0, 0.5), ArgumentError, "sharpness"),
        (lambda: Clipping((3,), 1.0, 0.0), ArgumentError, "lower < upper"),
        (lambda: Clipping((3,), step=-1.0), ArgumentError, "step"),
        (lambda: Exposures((3,), 2.0), DTypeError, "times"),
        (lambda: Exposures((3,), [1.0, -1.0]), ArgumentError, "times"),
        (lambda: Logarithm((3,), 0.0), ArgumentError, "toe"),
        (lambda: ClippedLeastSquares(None, None, 1.0, 0.0), ArgumentError, "lower < upper"),
    ],
)
def test_wrong_arguments_are_named(build, error, match):
    with pytest.raises(error, match=match):
        build()
