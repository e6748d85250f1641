"""Satellite imaging: mixed bands, pansharpening, gaps, stripes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from recon import plan, reconstruct
from recon._line_gains import level_lines
from recon._operator_checks import dense
from recon.gaps import landsat7_gaps
from recon.operators import Destripe, Mask, Pansharpening, SpectralMixing, stack
from recon.operators._folding import alias_weights, cosine_2d, fold, inverse_cosine_2d, unfold
from recon.preprocess import destripe
from recon.spec import load_operator
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OptionError, ShapeError

RNG = np.random.default_rng(0)


def scene(size=48, bands=3):
    """Bands of one photograph, with values between 0 and 1."""
    from skimage import data

    return np.moveaxis(data.astronaut()[40 : 40 + 4 * size : 4, 160 : 160 + 4 * size : 4, :bands] / 255.0, -1, 0)


def psnr(x, truth):
    return -10 * np.log10(np.mean((x - truth) ** 2))


def upsampled(bands, factor):
    """Cubic interpolation of every band, pixel centres aligned."""
    rows, columns = ((np.arange(n * factor) + 0.5) / factor - 0.5 for n in bands.shape[1:])
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([scipy.ndimage.map_coordinates(b, grid, order=3, mode="reflect") for b in bands])


# --- spectral mixing ------------------------------------------------------------------------------------------------


def test_spectral_mixing_is_a_matrix_at_each_pixel():
    response, x = RNG.standard_normal((3, 5)), RNG.standard_normal((2, 5, 4, 6))
    np.testing.assert_allclose(SpectralMixing(response, (4, 6))(x), np.einsum("kb,nbij->nkij", response, x))


def test_unmixing_recovers_the_abundances():
    wavelengths = np.linspace(0, 1, 20)
    endmembers = np.stack([np.exp(-(((wavelengths - c) / 0.3) ** 2)) + 0.1 for c in (0.1, 0.5, 0.8)], axis=1)
    rows, columns = np.mgrid[:32, :32] / 32
    abundances = np.stack([(rows < 0.5) * 1.0, (rows >= 0.5) * (columns < 0.4), (rows >= 0.5) * (columns >= 0.4)])
    A = SpectralMixing(endmembers, (32, 32))
    found = reconstruct(A(abundances) + 0.02 * RNG.standard_normal(A.out_shape), A, bounds=(0, np.inf))
    assert found.min() >= 0
    assert np.abs(found - abundances).max() < 0.1


@pytest.mark.parametrize(
    ("response", "error", "match"),
    [
        (np.ones(3), ShapeError, r"response has shape \(3,\)"),
        ([["a", "b"]], DTypeError, "response has dtype"),
        ([[np.nan, 1.0]], NonFiniteError, "response holds 1"),
    ],
)
def test_spectral_mixing_says_what_is_wrong(response, error, match):
    with pytest.raises(error, match=match):
        SpectralMixing(response, (4, 4))


# --- pansharpening --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "factor"), [(5, 2), (4, 3), (3, 4), (1, 4), (6, 1)])
def test_folding_reads_cosines_at_the_centres_of_blocks(n, factor):
    fine, centres = n * factor, np.arange(n) * factor + (factor - 1) / 2
    norms = np.where(np.arange(fine) == 0, 1.0, np.sqrt(2.0)) / np.sqrt(fine)
    at_centres = np.cos(np.pi * np.multiply.outer(centres + 0.5, np.arange(fine)) / fine) * norms
    spectrum = RNG.standard_normal((fine, fine))
    weights = np.multiply.outer(alias_weights(n, factor), alias_weights(n, factor))
    expected = at_centres @ spectrum @ at_centres.T
    np.testing.assert_allclose(inverse_cosine_2d(fold(spectrum * weights, factor)), expected, atol=1e-12)
    coarse = RNG.standard_normal((n, n))
    np.testing.assert_allclose(np.vdot(fold(spectrum, factor), coarse), np.vdot(spectrum, unfold(coarse, factor)))
    np.testing.assert_allclose(inverse_cosine_2d(cosine_2d(spectrum)), spectrum, atol=1e-12)


@pytest.mark.parametrize("factor", [3, 5])
def test_coarse_bands_are_gaussian_averages_of_that_mtf(factor):
    x, mtf = RNG.random((1, 60, 75)), 0.25
    sigma = factor / np.pi * np.sqrt(-2 * np.log(mtf))
    blurred = scipy.ndimage.gaussian_filter(x[0], sigma, mode="reflect", truncate=9)
    A = Pansharpening(x.shape, factor, band_mtf=mtf)
    ms, pan = A.unpack(A(x))
    np.testing.assert_allclose(ms[0], blurred[factor // 2 :: factor, factor // 2 :: factor], atol=1e-4)
    np.testing.assert_array_equal(pan, x[0])


def test_even_factors_read_the_middle_of_each_block():
    x = np.broadcast_to(np.arange(64.0), (1, 64, 64))
    A = Pansharpening(x.shape, 4)
    ms, _ = A.unpack(A(x))
    np.testing.assert_allclose(ms[0, 8, 4:-4], 4 * np.arange(4, 12) + 1.5, atol=1e-3)


def test_panchromatic_image_and_layout():
    x, w = RNG.random((2, 3, 8, 4)), np.array([0.2, 0.5, 0.3])
    A = Pansharpening((3, 8, 4), 2, pan_response=w)
    y = A(x)
    ms, pan = A.unpack(y)
    assert (ms.shape, pan.shape) == ((2, 3, 4, 2), (2, 8, 4))
    np.testing.assert_allclose(pan, np.einsum("b,nbij->nij", w, x))
    np.testing.assert_array_equal(A.pack(ms, pan), y)
    np.testing.assert_allclose(dense(A)[12 * 2 :], np.kron(w, np.eye(32)), atol=1e-14)


@pytest.mark.parametrize("mtf", [0.3, [0.2, 0.4]])
def test_pansharpening_solves_with_one_shift_an_image(mtf):
    A = Pansharpening((2, 6, 4), 2, band_mtf=mtf, pan_response=[0.9, 0.4])
    b, rho = RNG.standard_normal((2, 2, 6, 4)), np.array([0.1, 2.0]).reshape(2, 1, 1, 1)
    each = np.stack([A.solve_shifted(b[i], float(rho[i, 0, 0, 0])) for i in range(2)])
    np.testing.assert_allclose(A.solve_shifted(b, rho), each, atol=1e-12)
    matrix = dense(A)
    first = np.linalg.solve(matrix.T @ matrix + 0.1 * np.eye(48), b[0].ravel())
    np.testing.assert_allclose(each[0].ravel(), first, atol=1e-10)
    np.testing.assert_allclose(A.norm(), np.linalg.norm(matrix, 2))


def test_pansharpening_beats_upsampling_and_brovey():
    truth, factor, w = scene(), 4, np.array([0.3, 0.4, 0.3])
    A = Pansharpening(truth.shape, factor, pan_response=w)
    y = A(truth) + 0.005 * RNG.standard_normal(A.out_shape)
    ms, pan = A.unpack(y)
    coarse = upsampled(ms, factor)
    brovey = coarse * pan / np.maximum(np.einsum("b,bij->ij", w, coarse), 1e-3)
    found = reconstruct(y, A, noise=0.005)
    assert psnr(found, truth) > max(psnr(coarse, truth), psnr(brovey, truth)) + 1


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (((8, 8), 2), ShapeError, r"expected \(bands, rows, columns\)"),
        (((3, 9, 8), 2), ShapeError, r"Crop the images to \(3, 8, 8\)"),
        (((3, 8, 8), 2, 1.5), ArgumentError, "band_mtf is 1.5"),
        (((3, 8, 8), 2, [0.3, 0.3]), ShapeError, "expected 3 numbers"),
        (((3, 8, 8), 2, 0.3, [0, 0, 0]), ArgumentError, "pan_response is zero"),
        (((3, 8, 8), 2, "a"), DTypeError, "band_mtf has dtype"),
    ],
)
def test_pansharpening_says_what_is_wrong(arguments, error, match):
    with pytest.raises(error, match=match):
        Pansharpening(*arguments)


def test_pack_says_which_image_does_not_fit():
    A = Pansharpening((3, 8, 8), 2)
    with pytest.raises(ShapeError, match=r"ms has shape \(4, 4, 3\)"):
        A.pack(np.ones((4, 4, 3)), np.ones((8, 8)))
    with pytest.raises(ShapeError, match=r"pan has shape \(4, 4\)"):
        A.pack(np.ones((3, 4, 4)), np.ones((4, 4)))


# --- gaps and dates -------------------------------------------------------------------------------------------------


def runs(column):
    """Lengths of the gaps in one column of a mask, those cut off by the border left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], ~column, [0]]).astype(int)))
    starts, stops = edges[::2], edges[1::2]
    inside = (starts > 0) & (stops < column.size)
    return (stops - starts)[inside], ((stops + starts - 1) / 2)[inside]


def test_landsat7_gaps_are_wedges_that_alternate():
    mask = landsat7_gaps((400, 801), widest=14, period=32)
    assert mask[:, 360:440].all()
    for column in (0, 800):
        lengths, middles = runs(mask[:, column])
        assert set(lengths) <= {13, 14}
        np.testing.assert_allclose(np.diff(middles), 32)
    half, _ = runs(mask[:, 180])
    assert 6 <= half.min() <= half.max() <= 8
    np.testing.assert_array_equal(mask[:384, 0], np.roll(mask[:, 800], -16)[:384])
    assert 0.17 < 1 - mask.mean() < 0.2


def test_landsat7_gaps_of_a_part_of_a_scene():
    whole = landsat7_gaps((100, 1000), swath=2000, center=-200, tilt=0.2, offset=5)
    np.testing.assert_array_equal(
        landsat7_gaps((100, 400), swath=2000, center=-500, tilt=0.2, offset=5), whole[:, 300:700]
    )
    np.testing.assert_array_equal(whole[5:], landsat7_gaps((95, 1000), swath=2000, center=-200, tilt=0.2))
    _, left = runs(whole[:, 400])
    _, right = runs(whole[:, 405])
    np.testing.assert_allclose(right[1] - left[1], 5 * np.tan(0.2), atol=1)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"shape": (4, 4, 3)}, ShapeError, "Bands share"),
        ({"shape": (4, 4), "widest": 33}, ArgumentError, "less than the period"),
        ({"shape": (4, 4), "swath": -1}, ArgumentError, "swath is -1"),
    ],
)
def test_landsat7_gaps_say_what_is_wrong(arguments, error, match):
    with pytest.raises(error, match=match):
        landsat7_gaps(**arguments)


def test_gaps_are_filled_in():
    truth, mask = scene(), landsat7_gaps((48, 48), widest=5, period=16, swath=40)
    y = Mask(mask)(truth + 0.01 * RNG.standard_normal(truth.shape))
    found = reconstruct(y, Mask(mask), channel_axis=0)
    flat = np.where(mask, y, (y.sum((1, 2)) / mask.sum())[:, None, None])
    assert psnr(found[:, ~mask], truth[:, ~mask]) > psnr(flat[:, ~mask], truth[:, ~mask]) + 4


def test_dates_with_their_own_clouds_make_one_scene():
    truth = scene(bands=1)[0]
    gains, clear = (1.0, 0.7, 1.2), RNG.random((3, 48, 48)) < 0.6
    A = stack([gain * Mask(m) for gain, m in zip(gains, clear, strict=True)])
    y = A(truth) + 0.02 * A.sampling * RNG.standard_normal(A.out_shape)
    weights = np.einsum("d,dij->ij", np.square(gains), clear)
    np.testing.assert_allclose(A.diagonal_gram(), weights)
    seen = clear.any(axis=0)
    average = np.where(seen, A.adjoint(y) / np.maximum(weights, 1e-9), y.mean())
    assert psnr(reconstruct(y, A), truth) > psnr(average, truth) + 3


def test_a_stack_that_measures_less_is_a_stack():
    masks, less = RNG.random((2, 5, 6)) < 0.6, RNG.random((2, 5, 6)) < 0.7
    A = stack([2 * Mask(m) for m in masks])
    fewer = A.with_sampling(less)
    np.testing.assert_array_equal(fewer.diagonal_gram(), 4 * (masks & less).sum(axis=0))
    less[1] = False
    np.testing.assert_allclose(dense(A.with_sampling(less))[30:], 0)


# --- stripes --------------------------------------------------------------------------------------------------------


def test_destripe_sees_an_image_up_to_the_offset_of_each_line():
    x, offsets = RNG.standard_normal((2, 7, 5)), RNG.standard_normal((2, 5))
    A = Destripe((7, 5))
    np.testing.assert_allclose(A(x + offsets[:, None]), x - x.mean(axis=1, keepdims=True), atol=1e-14)
    np.testing.assert_allclose(A.offsets(x + offsets[:, None], x), offsets)
    rows = Destripe((7, 5), axis=-1)
    np.testing.assert_allclose(rows(x), x - x.mean(axis=2, keepdims=True), atol=1e-14)
    assert rows.offsets(x, x).shape == (2, 7)


def test_destripe_with_a_spread_is_least_squares_over_image_and_offsets():
    lines, spread = 6, 0.7
    r = RNG.standard_normal((lines, 1))  # measured - x
    A = Destripe((lines, 1), spread=spread)
    rows = np.vstack([np.ones((lines, 1)), [[1 / spread]]])
    offset, cost, *_ = np.linalg.lstsq(rows, np.append(r, 0.0), rcond=None)
    np.testing.assert_allclose(A.offsets(r, np.zeros_like(r)), offset)
    np.testing.assert_allclose(np.sum(A(r) ** 2), cost[0])


def ground():
    from skimage import data

    return 0.1 + data.moon()[::4, ::4] / 255.0


@pytest.mark.parametrize(("axis", "shape"), [(-2, (1, 128)), (-1, (128, 1))])
def test_offsets_are_found_and_nothing_else_is_changed(axis, shape):
    truth = ground()
    offsets = 0.1 * RNG.standard_normal(128)
    measured = truth + offsets.reshape(shape) + 0.01 * RNG.standard_normal(truth.shape)
    found, stripes = destripe(measured, axis, return_stripes=True)
    assert stripes.shape == (128,)
    assert np.std(stripes - offsets) < 0.25 * np.std(offsets)
    np.testing.assert_allclose(found + stripes.reshape(shape), measured)


def test_gains_are_found_in_each_band():
    truth = np.stack([ground(), ground()[::-1], ground()[:, ::-1]])
    gains = np.exp(0.1 * RNG.standard_normal((3, 1, 128)))
    found, stripes = destripe((truth * gains).astype(np.float32), kind="gain", return_stripes=True)
    assert found.dtype == stripes.dtype == np.float32
    assert np.std(np.log(stripes / gains[:, 0])) < 0.25 * np.std(np.log(gains))
    np.testing.assert_allclose(found * stripes[:, None], truth * gains, rtol=1e-5)


def test_gains_and_offsets_are_found_together():
    from skimage import data

    truth = data.coins()[:160, :128] / 255.0
    gains, offsets = 1 + 0.15 * RNG.standard_normal(128), 0.03 * RNG.standard_normal(128)
    measured = truth * gains + offsets + 0.003 * RNG.standard_normal(truth.shape)
    found, stripes = destripe(measured, kind="both", return_stripes=True)
    assert stripes.shape == (2, 128)
    np.testing.assert_allclose(found * stripes[1] + stripes[0], measured)
    assert np.std(found - truth) < 0.7 * np.std(destripe(measured) - truth) < 0.6 * np.std(measured - truth)
    turned = destripe(measured.T, axis=-1, kind="both")
    np.testing.assert_allclose(turned, found.T)


def test_lines_are_leveled_exactly_where_the_scene_is_the_same_for_all():
    scene, gains = np.linspace(0, 1, 40)[:, None] * np.ones(30), 1 + 0.2 * np.cos(2.1 * np.arange(30))
    offsets = 0.1 * np.sin(1.7 * np.arange(30))
    offset, gain = level_lines(gains * scene + offsets, scene, lambda values: values * 0)
    np.testing.assert_allclose(gain, gains, rtol=0.02)
    np.testing.assert_allclose(offset, offsets, atol=0.02)


def test_slow_variations_of_the_scene_stay():
    ramp = np.broadcast_to(np.linspace(0, 1, 96), (64, 96)) + 0.01 * RNG.standard_normal((64, 96))
    offsets = 0.05 * RNG.standard_normal(96)
    assert np.std(destripe(ramp + offsets) - ramp) < 0.5 * np.std(offsets)
    for kind in ("offset", "gain", "both"):
        np.testing.assert_allclose(destripe(np.ones((8, 8)), kind=kind), np.ones((8, 8)))


@pytest.mark.parametrize(
    ("image", "options", "error", "match"),
    [
        (np.ones((8, 3)), {}, ShapeError, r"image has shape \(8, 3\)"),
        (np.ones((8, 8)), {"axis": 0}, ArgumentError, "axis is 0"),
        (np.zeros((8, 8)), {"kind": "gain"}, ArgumentError, "gains take values above 0"),
        (np.ones((8, 8)), {"kind": "gains"}, OptionError, "Did you mean 'gain'"),
        (np.full((8, 8), np.nan), {}, NonFiniteError, "image holds 64"),
        (np.ones((8, 8), complex), {}, DTypeError, "the modulus"),
        (RNG.random((8, 8)), {"period": 0}, ArgumentError, "period is 0"),
    ],
)
def test_destriping_says_what_is_wrong(image, options, error, match):
    with pytest.raises(error, match=match):
        destripe(image, **options)


def test_destripe_operator_says_what_is_wrong():
    with pytest.raises(ArgumentError, match="axis is 2; the image has 2"):
        Destripe((4, 4), axis=2)
    with pytest.raises(DTypeError, match="axis is None"):
        Destripe((4, 4), axis=None)
    with pytest.raises(ArgumentError, match="spread is -1"):
        Destripe((4, 4), spread=-1)


# --- specifications -------------------------------------------------------------------------------------------------


def test_specifications_name_the_operators():
    response, w = [[0.2, 0.8], [1.0, 0.0], [0.5, 0.5]], [0.3, 0.7]
    for spec, expected in (
        ({"operator": "spectral_mixing", "response": response, "shape": [2, 3]}, SpectralMixing(response, (2, 3))),
        (
            {"operator": "pansharpening", "shape": [2, 4, 4], "factor": 2, "band_mtf": [0.2, 0.3], "pan_response": w},
            Pansharpening((2, 4, 4), 2, [0.2, 0.3], w),
        ),
        (
            {"operator": "pansharpening", "shape": [2, 4, 4], "factor": 2, "band_mtf": 0.4},
            Pansharpening((2, 4, 4), 2, 0.4),
        ),
        ({"operator": "destripe", "shape": [3, 4], "axis": -1, "spread": 2.0}, Destripe((3, 4), -1, 2.0)),
    ):
        built = load_operator(spec)
        assert type(built) is type(expected)
        np.testing.assert_array_equal(dense(built), dense(expected))


# --- images of bands ------------------------------------------------------------------------------------------------


def test_bands_of_an_image_are_coupled_and_not_differenced():
    A = SpectralMixing(RNG.random((3, 2)), (8, 8))
    for operator in (A, Mask(RNG.random((3, 8, 8)) < 0.5) @ A, 2 * A, stack([A, A])):
        assert operator.channels
        prior = plan(operator(np.ones((2, 8, 8))), operator).prior
        assert (prior.ndim, prior.channel_axis) == (2, -3)
    assert not A.H.channels
    prior = plan(A(np.ones((2, 8, 8))), A, prior="wavelet").prior
    assert prior.ndim == 2
