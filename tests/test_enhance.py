"""Enhancement: filters of scikit-image and inverted models behind one interface."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data, exposure, filters

from recon import enhance
from recon.operators import ColourMixing, Illumination, Vignetting
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OptionError, ShapeError

RNG = np.random.default_rng(0)
GREY = data.camera()[::4, ::4]
COLOURS = data.coffee()[::5, ::5]


def psnr(x, truth):
    return -10 * np.log10(np.mean((x - truth) ** 2))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("equalise", {"bins": 64}, lambda x: exposure.equalize_hist(x, nbins=64)),
        ("clahe", {"clip": 0.02}, lambda x: exposure.equalize_adapthist(x, clip_limit=0.02)),
        ("gamma", {"gamma": 0.5}, lambda x: x**0.5),
        ("sigmoid", {"cutoff": 0.4, "contrast": 5}, lambda x: exposure.adjust_sigmoid(x, 0.4, 5)),
        ("unsharp", {"radius": 1.5}, lambda x: filters.unsharp_mask(x, 1.5, 1.0)),
    ],
)
def test_filters_are_those_of_scikit_image(name, options, expected):
    x = GREY / 255.0
    np.testing.assert_allclose(enhance(GREY, name, **options), expected(x), atol=2e-4)
    np.testing.assert_allclose(enhance(x, name, **options), expected(x), atol=1e-6)


@pytest.mark.parametrize("name", ["equalise", "clahe", "sigmoid"])
def test_curves_of_brightness_keep_the_ratios_of_colours(name):
    x = 0.2 + 0.2 * COLOURS / 255.0
    found = enhance(x, name, channel_axis=-1)
    kept = (found.max(-1) < 1) & (found.min(-1) > 0.01)
    ratio = found[kept] / found[kept].sum(-1, keepdims=True)
    np.testing.assert_allclose(ratio, x[kept] / x[kept].sum(-1, keepdims=True), atol=1e-6)


def test_any_range_and_axis_of_colours():
    kelvin = 250 + 50 * RNG.random((32, 32))
    found = enhance(kelvin, "equalise")
    assert found.min() >= 250 and found.max() <= 300.001
    last = enhance(COLOURS, "clahe", channel_axis=-1)
    first = enhance(np.moveaxis(COLOURS, -1, 0), "clahe", channel_axis=0)
    np.testing.assert_array_equal(np.moveaxis(first, 0, -1), last)
    assert last.dtype == np.float32 and last.shape == COLOURS.shape


def test_tensors_come_back_as_tensors():
    torch = pytest.importorskip("torch")
    found = enhance(torch.from_numpy(GREY / 255.0), "gamma")
    assert isinstance(found, torch.Tensor) and found.dtype == torch.float64


def test_models_undo_what_they_model():
    rows, columns = np.mgrid[:60, :80]
    scene = 0.2 + 0.6 * ((rows // 13 + columns // 17) % 2) + 0.002 * RNG.standard_normal(rows.shape)
    lens = Vignetting([-0.4, 0.05], scene.shape)
    assert psnr(enhance(lens(scene), "vignetting"), scene) > psnr(lens(scene), scene) + 10
    light = Illumination([[1.1, 0.8], [0.9, 0.6]], scene.shape)
    found = enhance(light(scene), "illumination", grid=(2, 2))
    assert (
        psnr(found / found.mean(), scene / scene.mean())
        > psnr(light(scene) / light(scene).mean(), scene / scene.mean()) + 10
    )
    grey = np.stack([scene] * 3)
    tinted = ColourMixing([0.8, 1.0, 1.2], scene.shape)(grey)
    balanced = enhance(tinted, "white-balance", channel_axis=0)
    assert psnr(balanced, grey) > 35
    noisy = scene + 0.05 * RNG.standard_normal(scene.shape)
    assert psnr(enhance(np.clip(noisy, 0, 1), "denoise"), scene) > psnr(noisy, scene) + 6


def test_low_light_gives_the_illumination_the_exponent_of_the_eye():
    for level in (0.1, 0.98):
        flat = np.full((24, 24), level)
        np.testing.assert_allclose(enhance(flat, "low-light"), flat ** (1 / 2.2), rtol=1e-3)
    dark = 0.1 * GREY[::2, ::2] / 255.0
    assert enhance(dark, "low-light").mean() > 3 * dark.mean()


def test_comparison_has_every_method_that_takes_the_picture():
    found = enhance.compare(GREY[:40, :40])
    assert set(found) == {"picture", *enhance.methods()} - {"white-balance", "dehaze"}
    np.testing.assert_allclose(found["picture"], GREY[:40, :40] / 255.0, atol=1e-6)
    pytest.importorskip("matplotlib").use("Agg")
    figure = enhance.compare(COLOURS, ["gamma", "dehaze"], channel_axis=-1).plot()
    assert [axes.get_title() for axes in figure.axes][:3] == ["picture", "gamma", "dehaze"]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: enhance(GREY, "clahee"), OptionError, "clahe"),
        (lambda: enhance(GREY, "gamma", gama=2), OptionError, "gamma"),
        (lambda: enhance(GREY, "denoise", strenght=2), OptionError, "strength"),
        (lambda: enhance(GREY, "gamma", gamma=-1), ArgumentError, "gamma"),
        (lambda: enhance(GREY, "dehaze"), ArgumentError, "colours"),
        (lambda: enhance(COLOURS), ShapeError, "channel_axis"),
        (lambda: enhance(GREY * 1j), DTypeError, "real"),
        (lambda: enhance(np.full((4, 4), np.nan)), NonFiniteError, "image"),
    ],
)
def test_wrong_inputs(call, error, match):
    with pytest.raises(error, match=match):
        call()
