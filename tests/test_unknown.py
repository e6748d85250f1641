"""Unknown parameters of forward models: families, their calculus, and what is found with the image."""

from __future__ import annotations

import numpy as np
import pytest

from priors import Box
from recon import plan, reconstruct
from recon.operators import Affine, Blur, Diagonal, Identity, Illumination, Mask, Shift, Unknown, Vignetting, stack
from recon.operators._shading import cosine_interpolation, radial_powers, sparse_log_field
from recon.operators.unknown import Family
from solvers import PALM, VariableProjection, solve, steps
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OperatorError, ShapeError

RNG = np.random.default_rng(0)
LENS = np.array([-0.4, 0.05, -0.1])


def photograph(n=64):
    """A photograph with values between 0.05 and 1."""
    from skimage import data

    return 0.05 + 0.95 * data.camera()[: 4 * n : 4, 100 : 100 + 4 * n : 4] / 255.0


def psnr(x, truth):
    return -10 * np.log10(np.mean((x - truth) ** 2))


def moved(shape, shifts=((0, 0), (9, 0), (0, 11), (-8, -7))):
    return stack([Shift(shape, s) for s in shifts])


# --- the families ---------------------------------------------------------------------------------------------------


def test_a_family_with_its_values_is_the_known_operator():
    family = Vignetting(Unknown(), shape=(8, 10))
    known = family.with_values(coefficients=LENS)
    assert isinstance(family, Family) and isinstance(known, Vignetting)
    x = RNG.standard_normal((2, 8, 10))
    np.testing.assert_array_equal(known(x), Vignetting(LENS, (8, 10))(x))
    assert (family.in_shape, family.out_shape) == ((8, 10), (8, 10))


def test_composition_keeps_the_unknowns_and_their_names():
    blur = Blur(np.ones((3, 3)) / 9, (8, 10))
    family = Illumination(Unknown(name="light"), (8, 10)) @ blur @ Vignetting(Unknown(), (8, 10))
    assert set(family.unknowns) == {"light", "coefficients"}
    light, x = 1 + 0.1 * RNG.random((3, 4)), RNG.standard_normal((8, 10))
    expected = Illumination(light, (8, 10))(blur(Vignetting(LENS, (8, 10))(x)))
    np.testing.assert_allclose(family.with_values(light=light, coefficients=LENS)(x), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["light", "coefficients"])
def test_the_model_in_one_parameter_is_the_model(name):
    outer = stack([Blur(np.ones((3, 3)) / 9, (8, 10)), Identity((8, 10))])
    family = outer @ Illumination(Unknown(name="light"), (8, 10)) @ Vignetting(Unknown(), (8, 10))
    values = {"light": 1 + 0.1 * RNG.random((3, 4)), "coefficients": LENS}
    x = RNG.standard_normal((2, 8, 10))
    model = family.in_parameter(name, x, **values)
    y = family.with_values(**values)(x)
    np.testing.assert_allclose(model(values[name]), y, atol=1e-12)
    direction, r = RNG.standard_normal(values[name].shape), RNG.standard_normal(y.shape)
    derivative = model.linearize(values[name])
    moved_values = {**values, name: values[name] + 1e-2 * direction}
    np.testing.assert_allclose(1e-2 * derivative(direction), family.with_values(**moved_values)(x) - y, atol=1e-12)
    assert np.sum(derivative(direction) * r) == pytest.approx(np.sum(direction * derivative.adjoint(r)), rel=1e-10)


def test_gauges_leave_the_measurement_alone():
    blur = Blur(np.ones((3, 3)) / 9, (8, 10))
    family = Illumination(Unknown(), (8, 10)) @ blur
    x, gain = RNG.random((8, 10)), 3 + RNG.random((3, 4))
    values, scaled = family.gauge(x, gain=gain)
    np.testing.assert_allclose(family.with_values(**values)(scaled), family.with_values(gain=gain)(x), rtol=1e-12)
    assert family.with_values(**values).parts[0].values.mean() == pytest.approx(1)


# --- fields ---------------------------------------------------------------------------------------------------------


def test_cosine_interpolation_passes_through_its_samples():
    at = np.arange(4) * 8 + 3.5  # middles of four parts of 32 pixels
    matrix, samples = cosine_interpolation(32, 4), RNG.standard_normal(4)
    np.testing.assert_allclose(np.interp(at, np.arange(32), matrix @ samples), samples, atol=0.03)
    np.testing.assert_allclose(cosine_interpolation(7, 7), np.eye(7), atol=1e-12)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)


def test_radial_powers_are_one_in_the_corners():
    powers = radial_powers((5, 9), 3)
    np.testing.assert_allclose(powers[:, [0, 0, -1, -1], [0, -1, 0, -1]], 1)
    np.testing.assert_allclose(powers[1], powers[0] ** 2)


def test_a_field_over_piecewise_constant_pictures_is_found():
    rows, columns = np.mgrid[:60, :80]
    scene = 0.2 + 0.7 * ((rows // 13 + columns // 17) % 2)
    powers = radial_powers(scene.shape, 3)
    found = sparse_log_field(scene * np.exp(np.tensordot(LENS, powers, 1)), powers)
    np.testing.assert_allclose(found, LENS, atol=1e-3)


# --- what is found --------------------------------------------------------------------------------------------------


def test_one_lens_and_several_frames_of_a_scene():
    scene = photograph(48)
    frames = moved(scene.shape)
    y = Vignetting(LENS, frames.out_shape)(frames(scene)) + 0.005 * RNG.standard_normal(frames.out_shape)
    family = Vignetting(Unknown(), frames.out_shape) @ frames
    x, info = reconstruct(y, family, return_info=True)
    gain = Vignetting(info.unknowns["coefficients"], scene.shape).values
    np.testing.assert_allclose(gain, Vignetting(LENS, scene.shape).values, rtol=0.01)
    known = reconstruct(y, family.with_values(coefficients=LENS))
    assert psnr(x, scene) > psnr(known, scene) - 3
    assert "outnumber" in str(info.plan) and "coefficients" in str(plan(y, family))


def test_one_photograph_is_guessed_and_float32_stays():
    rows, columns = np.mgrid[:60, :80]
    scene = (0.2 + 0.7 * ((rows // 13 + columns // 17) % 2)).astype(np.float32)
    colours = np.stack([scene, 0.5 * scene, 1 - scene], -1)
    light = Illumination([[1.1, 0.9], [1.2, 0.8]], scene.shape)
    y = np.moveaxis(light(np.moveaxis(colours, -1, 0)), 0, -1)
    x, info = reconstruct(y, Illumination(Unknown(shape=(2, 2)), scene.shape), channel_axis=-1, return_info=True)
    assert x.dtype == np.float32 and x.shape == y.shape
    assert Illumination(info.unknowns["gain"], scene.shape).values.mean() == pytest.approx(1)
    scale = np.mean(x) / np.mean(colours)  # brightness belongs to the image
    assert psnr(x / scale, colours) > psnr(y, colours) + 10


def test_a_start_that_is_given_stands():
    scene = photograph(32)
    _, info = reconstruct(scene, Vignetting(Unknown(start=LENS), scene.shape), return_info=True)
    np.testing.assert_array_equal(info.unknowns["coefficients"], LENS)


def test_tensors_and_the_noise_model_go_through():
    torch = pytest.importorskip("torch")
    scene = photograph(16)
    y = torch.from_numpy((Vignetting(LENS, scene.shape)(scene)).astype(np.float32))
    x, info = reconstruct(y, Vignetting(Unknown(), scene.shape), noise=0.01, return_info=True)
    assert isinstance(x, torch.Tensor) and x.dtype == torch.float32 and info.plan.sigma_known
    with pytest.raises(DTypeError, match="real"):
        reconstruct(1j * scene, Vignetting(Unknown(), scene.shape))


def test_a_guess_never_has_a_gain_below_zero():
    rows, columns = np.mgrid[:40, :40] / 40 - 0.5
    steep = np.exp(-30 * (rows**2 + columns**2)) + 1e-3
    family = Vignetting(Unknown(), steep.shape)
    assert family.with_values(**family.estimated(steep)).values.min() > 0
    family = Illumination(Unknown(shape=(4, 4)), steep.shape)
    assert family.with_values(**family.estimated(steep)).values.min() > 0


@pytest.mark.parametrize("unknown", [Unknown(), Unknown(prior=Box(-1, 1))])
def test_alternating_never_raises_its_objective_and_reaches_the_joint_minimum(unknown):
    scene = photograph(16)
    frames = moved(scene.shape, ((0, 0), (5, 0), (0, 6)))
    y = Illumination([[1.1, 0.9]], frames.out_shape)(frames(scene))
    family = Illumination(Unknown(shape=(1, 2), prior=unknown.prior and Box(0.5, 2)), frames.out_shape) @ frames
    start = family.neutral()
    algorithm = PALM(family, y, Box(-np.inf, np.inf), 1.0, start)
    values = []
    for state, _ in zip(steps(algorithm, scene[::-1]), range(50), strict=False):
        values.append(state.value)
    assert np.all(np.diff(values) <= 1e-9 * np.array(values[:-1]) + 1e-15)
    gain = state.values["gain"] / state.values["gain"].mean()  # a prior on it leaves its scale alone
    np.testing.assert_allclose(gain, [[1.1, 0.9]], rtol=2e-3)


def test_variable_projection_reaches_the_truth_in_a_few_steps():
    scene = photograph(24)
    frames = moved(scene.shape)
    family = Vignetting(Unknown(), frames.out_shape) @ frames
    y = family.with_values(coefficients=LENS)(scene)
    found = solve(VariableProjection(family, y, family.neutral()), scene * 0, max_iter=6)
    np.testing.assert_allclose(found.state.values["coefficients"], LENS, atol=1e-3)


def test_a_known_offset_is_subtracted():
    scene = photograph(32)
    A = Blur(np.ones((3, 3)) / 9, scene.shape)
    y = A(scene) + 0.01 * RNG.standard_normal(scene.shape)
    lifted = Affine(A, 0.3)
    np.testing.assert_allclose(reconstruct(y + 0.3, lifted), reconstruct(y, A), atol=1e-6)
    both = Diagonal(2 * np.ones(scene.shape)) @ lifted @ Identity(scene.shape)
    assert isinstance(both, Affine)
    np.testing.assert_allclose(both(scene), 2 * A(scene) + 0.6)
    np.testing.assert_allclose((lifted @ lifted)(scene), A(A(scene) + 0.3) + 0.3, atol=1e-12)
    with pytest.raises(ArgumentError, match="background"):
        reconstruct(y + 0.3, lifted, noise="poisson")


# --- wrong inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Unknown(start=[np.nan]), NonFiniteError, "start"),
        (lambda: Unknown(start=[1.0], shape=(2,)), ShapeError, "start has shape"),
        (lambda: Unknown(bounds=(1, 0)), ArgumentError, "lower < upper"),
        (lambda: Unknown(prior=3), DTypeError, "prox"),
        (lambda: Vignetting(LENS, Unknown()), OperatorError, "shape of Vignetting is Unknown"),
        (lambda: Vignetting([[1.0]], (4, 4)), ShapeError, "coefficients"),
        (lambda: Vignetting([-1.5], (4, 4)), ArgumentError, "more than 0"),
        (lambda: Vignetting([0.1], (4,)), ShapeError, "rows, columns"),
        (lambda: Illumination([1.0], (4, 4)), ShapeError, "gain"),
        (lambda: Illumination(np.ones((9, 9)), (4, 4)), ArgumentError, "samples"),
        (lambda: Illumination([[np.inf]], (4, 4)), NonFiniteError, "gain"),
        (lambda: Affine(np.exp, 1), DTypeError, "linear"),
        (lambda: Affine(Mask(np.eye(3)), np.ones(2)), ShapeError, "offset"),
        (
            lambda: Vignetting(Unknown(), (4, 4)) @ Vignetting(Unknown(), (4, 4)),
            ArgumentError,
            "unknown in both",
        ),
        (lambda: Vignetting(Unknown(), (4, 4)).with_values(gain=1), ArgumentError, "coefficients"),
    ],
)
def test_wrong_inputs(make, error, match):
    with pytest.raises(error, match=match):
        make()
