"""Image correction: flicker, colour mixing, haze; the parameters known, and estimated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from recon import reconstruct
from recon.operators import (
    Blur,
    ColourMixing,
    Flicker,
    Haze,
    Identity,
    Illumination,
    SpectralMixing,
    Unknown,
    Vignetting,
    stack,
)
from recon.operators.haze import guided_filter
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OperatorError, ShapeError

RNG = np.random.default_rng(0)
MATRIX = np.array([[0.8, 0.2, 0.05], [0.1, 0.9, 0.1], [0.02, 0.25, 0.7]])


def colours(step=6):
    """Bands of a photograph, values between 0 and 1."""
    from skimage import data

    return np.moveaxis(data.coffee()[::step, ::step] / 255.0, -1, 0)


def grey(n=48):
    from skimage import data

    return data.camera()[: 4 * n : 4, 100 : 100 + 4 * n : 4] / 255.0


def psnr(x, truth):
    return -10 * np.log10(np.mean((x - truth) ** 2))


def exposures(frames=8):
    gain = np.exp(0.15 * np.random.default_rng(1).standard_normal(frames))
    offset = 0.05 * np.random.default_rng(2).standard_normal(frames)
    gain = gain / gain.mean()
    return gain, offset - gain * offset.mean()


# --- the models -----------------------------------------------------------------------------------------------------


def test_flicker_is_a_gain_and_an_offset_a_frame():
    x, (gain, offset) = RNG.standard_normal((2, 8, 3, 4)), exposures()
    expected = gain[:, None, None] * x + offset[:, None, None]
    np.testing.assert_allclose(Flicker(gain, (8, 3, 4), offset)(x), expected)


def test_gains_are_a_diagonal_colour_matrix():
    x = RNG.standard_normal((3, 4, 5))
    gains = np.array([0.5, 1, 2])
    np.testing.assert_allclose(ColourMixing(gains, (4, 5))(x), x * gains[:, None, None])
    np.testing.assert_allclose(ColourMixing(MATRIX, (4, 5))(x), SpectralMixing(MATRIX, (4, 5))(x))


def test_haze_is_koschmieders_law():
    x, t, a = RNG.random((2, 3, 4, 5)), 0.2 + 0.8 * RNG.random((4, 5)), np.array([0.7, 0.8, 0.9])[:, None, None]
    np.testing.assert_allclose(Haze(t, a[:, 0, 0], (3, 4, 5))(x), t * x + a * (1 - t))


CASES = {
    "flicker": (lambda u: Flicker(u, (8, 6, 7), exposures()[1]), "gain", exposures()[0], (8, 6, 7)),
    "offset": (lambda u: Flicker(exposures()[0], (8, 6, 7), u), "offset", exposures()[1], (8, 6, 7)),
    "gains": (lambda u: ColourMixing(u, (6, 7)), "matrix", np.array([0.8, 1.0, 1.3]), (3, 6, 7)),
    "matrix": (lambda u: ColourMixing(u, (6, 7)), "matrix", MATRIX, (3, 6, 7)),
    "transmission": (
        lambda u: Haze(u, [0.7, 0.8, 0.9], (3, 6, 7)),
        "transmission",
        0.5 + 0.1 * grey(48)[:6, :7],
        (3, 6, 7),
    ),
    "airlight": (lambda u: Haze(0.6, u, (3, 6, 7)), "airlight", np.array([0.7, 0.8, 0.9]), (3, 6, 7)),
    "vignetting": (lambda u: Vignetting(u, (6, 7)), "coefficients", np.array([-0.3, 0.1]), (6, 7)),
    "illumination": (lambda u: Illumination(u, (6, 7)), "gain", 1 + 0.2 * RNG.random((2, 3)), (6, 7)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_known_image_tells_the_parameter(name):
    make, parameter, value, shape = CASES[name]
    family = make(Unknown(shape=value.shape))
    x = RNG.random((2, *shape))
    found = family.fit(x, family.with_values(**{parameter: value})(x))
    np.testing.assert_allclose(found[parameter], value, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_the_model_in_its_parameter_has_its_adjoint(name):
    make, parameter, value, shape = CASES[name]
    family = make(Unknown(shape=value.shape))
    x = RNG.random((2, *shape))
    model = family.in_parameter(parameter, x, **{parameter: value})
    y = family.with_values(**{parameter: value})(x)
    np.testing.assert_allclose(model(value), y, atol=1e-12)
    direction, r = RNG.standard_normal(value.shape), RNG.standard_normal(y.shape)
    J = model.linearize(value)
    assert np.sum(J(direction) * r) == pytest.approx(np.sum(direction * J.adjoint(r)), rel=1e-9)


# --- known parameters: inverted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flicker", "colours", "haze", "vignetting"])
def test_known_parameters_invert(name):
    A, scene = {
        "flicker": lambda: (Flicker(exposures(4)[0], (4, 32, 32), exposures(4)[1]), np.stack([grey(32)] * 4)),
        "colours": lambda: (ColourMixing(MATRIX, colours(9).shape[1:]), colours(9)),
        "haze": lambda: (Haze(0.8, [0.7, 0.8, 0.9], colours(9).shape), colours(9)),
        "vignetting": lambda: (Vignetting([-0.4], (48, 48)), grey()),
    }[name]()
    y = A(scene)
    x = reconstruct(y + 0.005 * RNG.standard_normal(y.shape), A)
    assert psnr(x, scene) > 40


# --- unknown parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_offset", [False, True])
def test_flicker_of_a_still_scene_vanishes(with_offset):
    scene, (gain, offset) = grey(), exposures()
    still = stack([Identity(scene.shape)] * len(gain))
    A = Flicker(gain, (8, 48, 48), offset if with_offset else 0.0) @ still
    y = A(scene) + 0.005 * RNG.standard_normal(A.out_shape)
    family = Flicker(Unknown(), (8, 48, 48), Unknown() if with_offset else 0.0) @ still
    x, info = reconstruct(y, family, return_info=True)
    np.testing.assert_allclose(info.unknowns["gain"], gain, rtol=3e-3)
    assert psnr(x, scene) > psnr(reconstruct(y, A), scene) - 1


def test_flicker_of_a_pan_shrinks():
    from skimage import data

    big, (gain, offset) = data.camera() / 255.0, exposures()
    series = np.stack([big[100 + 3 * k : 220 + 3 * k : 2, 60 + 4 * k : 200 + 4 * k : 2] for k in range(len(gain))])
    for known in (0.0, Unknown()):
        A = Flicker(gain, series.shape, offset if known else 0.0)
        y = A(series) + 0.005 * RNG.standard_normal(series.shape)
        found = Flicker(Unknown(), series.shape, known).estimated(y)
        assert (found["gain"] / gain).std() < gain.std() / 20


def test_gauges_follow_the_convention():
    gain, offset = exposures()
    family = Flicker(Unknown(), (8, 3, 4), Unknown())
    x, given = RNG.random((8, 3, 4)), {"gain": 3 * gain, "offset": offset + 0.5}
    values, moved = family.gauge(x, **given)
    assert values["gain"].mean() == pytest.approx(1) and values["offset"].mean() == pytest.approx(0)
    np.testing.assert_allclose(family.with_values(**values)(moved), family.with_values(**given)(x), atol=1e-12)


def test_white_balance_of_grey_edges_is_exact():
    scene = RNG.random((1, 40, 40)) * np.ones((3, 1, 1))
    gains = np.array([0.8, 1.0, 1.3])
    found = ColourMixing(Unknown(), (40, 40)).estimated(ColourMixing(gains, (40, 40))(scene))
    np.testing.assert_allclose(found["matrix"], gains, rtol=1e-12)


def test_haze_of_a_scene_with_dark_patches():
    rows, columns = np.mgrid[:90, :120]
    scene = np.stack([(rows // 2 + columns // 2 + k) % 3 == 0 for k in range(3)]).astype(float)
    scene[:, :20] = 0.0
    depth = np.where(rows < 20, 8.0, np.linspace(0.2, 1.2, 120)[None])  # a sky, and a ramp
    truth, air = np.exp(-depth), np.array([0.8, 0.85, 0.9])
    y = Haze(truth, air, scene.shape)(scene)
    found = Haze(Unknown(), Unknown(), scene.shape).estimated(y)
    np.testing.assert_allclose(found["airlight"], air, atol=0.01)
    np.testing.assert_allclose(found["transmission"][40:, 10:-10], truth[40:, 10:-10], atol=0.1)


def test_the_guided_filter_keeps_lines_of_its_guide_and_means_where_it_is_flat():
    guide = RNG.random((30, 30))
    np.testing.assert_allclose(guided_filter(2 * guide + 1, guide, 3, 1e-12), 2 * guide + 1, atol=1e-6)
    twice = uniform_filter(uniform_filter(guide, 7, mode="nearest"), 7, mode="nearest")
    np.testing.assert_allclose(guided_filter(guide, np.ones((30, 30)), 3, 1e-3), twice, atol=1e-12)


def test_a_product_of_lens_and_blur_is_found_behind_the_blur():
    rows, columns = np.mgrid[:60, :80]
    scene = 0.2 + 0.7 * ((rows // 13 + columns // 17) % 2)
    blur = Blur(np.ones((3, 3)) / 9, scene.shape)
    lens = Vignetting([-0.4, 0.05], scene.shape)
    y = (blur @ lens)(scene) + 0.003 * RNG.standard_normal(scene.shape)
    _, info = reconstruct(y, blur @ Vignetting(Unknown(shape=(2,)), scene.shape), return_info=True)
    found = Vignetting(info.unknowns["coefficients"], scene.shape).values
    assert np.sqrt(np.mean((found / lens.values - 1) ** 2)) < 0.05


# --- wrong inputs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Flicker([1.0, 2.0], (3, 4, 4)), ShapeError, "one a frame"),
        (lambda: Flicker([1.0, 0.0, 2.0], (3, 4, 4)), ArgumentError, "gain of frame 1"),
        (lambda: Flicker(["a"], (1, 4, 4)), DTypeError, "gain"),
        (lambda: Flicker(1.0, (4,)), ShapeError, "frames"),
        (lambda: ColourMixing(np.ones((3, 2)), (4, 4)), ShapeError, "SpectralMixing"),
        (lambda: ColourMixing(np.ones((3, 3)), (4, 4)), ArgumentError, "singular"),
        (lambda: ColourMixing([1.0, np.nan, 1.0], (4, 4)), NonFiniteError, "matrix"),
        (
            lambda: ColourMixing(Unknown(shape=(3, 3)), (4, 4)).estimated(np.ones((3, 4, 4))),
            OperatorError,
            "chart",
        ),
        (lambda: Haze(0.0, 1.0, (3, 4, 4)), ArgumentError, "transmission"),
        (lambda: Haze(0.5, [1.0, 1.0], (3, 4, 4)), ShapeError, "airlight"),
        (lambda: Haze(0.5, 1.0, (4, 4)), ShapeError, "bands"),
    ],
)
def test_wrong_inputs(make, error, match):
    with pytest.raises(error, match=match):
        make()
