"""Super-resolution operators: antialiasing kernels, decimation, resampling, shifts and several frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.ndimage
from PIL import Image

from benchmarks.problems import photograph, psnr
from recon import reconstruct
from recon._operator_checks import dense
from recon.operators import Downsample, MultiFrame, Resample, Shift
from recon.operators._antialias import antialiasing_psf, mtf_sigma, profile
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OptionError, ShapeError

RNG = np.random.default_rng(0)
REFERENCE = Path(__file__).resolve().parents[2] / "shared/data/kernels/kernels_bicubicx234.mat"


def keys(t):
    """Cubic convolution, equation 15 of Keys (1981)."""
    t = abs(t)
    if t < 1:
        return 3 / 2 * t**3 - 5 / 2 * t**2 + 1
    return -1 / 2 * t**3 + 5 / 2 * t**2 - 4 * t + 2 if t < 2 else 0.0


def imresize(x, factor):
    """Coarse pixels of a row by the definition: a stretched kernel at the middle of each block, borders mirrored."""
    n = len(x)
    mirrored = np.concatenate([x, x[::-1]])
    out = []
    for i in range(n // factor):
        middle = factor * i + (factor - 1) / 2
        near = range(int(np.floor(middle - 2 * factor)), int(np.ceil(middle + 2 * factor)) + 1)
        weights = [keys((middle - j) / factor) for j in near]
        out.append(sum(w * mirrored[j % (2 * n)] for w, j in zip(weights, near, strict=True)) / sum(weights))
    return np.array(out)


# --- antialiasing kernels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8])
def test_bicubic_profile_is_the_stretched_kernel_of_keys(factor):
    weights = profile("bicubic", factor)
    middle = (len(weights) - 1) / 2
    expected = [keys((j - middle) / factor) / factor for j in range(len(weights))]
    np.testing.assert_allclose(weights, expected, atol=1e-15)
    assert len(weights) % 2 == factor % 2


@pytest.mark.parametrize("kernel", ["area", "bicubic", "gaussian"])
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7])
def test_profiles_are_symmetric_and_of_unit_sum(kernel, factor):
    weights = profile(kernel, factor)
    assert weights.sum() == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-16)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_gaussian_has_its_transfer_at_the_nyquist_frequency(factor):
    weights = profile("gaussian", factor)
    t = np.arange(len(weights)) - (len(weights) - 1) / 2
    assert (weights * np.cos(np.pi / factor * t)).sum() == pytest.approx(0.3, abs=1e-3)
    assert mtf_sigma(2 * factor, 0.2) == pytest.approx(2 * mtf_sigma(factor, 0.2))


def test_the_transfer_of_a_camera_is_a_parameter():
    wave = np.cos(np.pi / 4 * (np.arange(64) - 1.5))  # the coarse Nyquist frequency, with its crests on coarse pixels
    for mtf in (0.15, 0.5):
        coarse = Downsample(4, (64,), psf="gaussian", mtf=mtf)(wave)
        np.testing.assert_allclose(np.abs(coarse), mtf, atol=1e-3)
    with pytest.raises(ArgumentError, match="mtf is given without"):
        Downsample(2, (8,), mtf=0.2)
    with pytest.raises(ArgumentError, match=r"mtf is 1\.5"):
        Downsample(2, (8,), psf="gaussian", mtf=1.5)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_bicubic_downsampling_is_the_definition_away_from_the_borders(factor):
    x = RNG.standard_normal((3, 20 * factor))
    coarse = Downsample((1, factor), x.shape, psf="bicubic")(x)
    expected = np.stack([imresize(row, factor) for row in x])
    np.testing.assert_allclose(coarse[:, 2:-2], expected[:, 2:-2], atol=1e-13)
    np.testing.assert_allclose(Resample(x.shape, coarse.shape)(x), expected, atol=1e-13)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference kernels stand beside the project only")
@pytest.mark.parametrize(("index", "factor"), [(0, 2), (1, 3), (2, 4)])
def test_bicubic_matches_the_kernels_that_super_resolution_is_measured_with(index, factor):
    """They are least-squares fits to bicubic pairs of photographs, used with the first pixel of each block."""
    reference = scipy.io.loadmat(REFERENCE)["kernels"][0, index].astype(float)
    x = scipy.ndimage.gaussian_filter(RNG.standard_normal((96, 96)), 1.5, mode="wrap")
    theirs = scipy.ndimage.convolve(x, reference, mode="wrap")[::factor, ::factor]
    ours = Downsample(factor, x.shape, psf="bicubic")(x)
    assert np.std(ours - theirs) < 0.02 * np.std(theirs)
    psf = antialiasing_psf("bicubic", (factor, factor), x.shape)
    start = 24 - (factor - 1) // 2 - len(psf) // 2  # theirs is centred as seen from the first pixel of the block
    around = np.zeros((49, 49))
    around[start : start + len(psf), start : start + len(psf)] = psf
    overlap = (around[12:37, 12:37] * reference).sum()
    assert overlap / np.sqrt((psf**2).sum() * (reference**2).sum()) > 0.99


def test_a_kernel_larger_than_the_image_wraps_around():
    x = RNG.standard_normal((1, 6))
    coarse = Downsample((1, 3), (1, 6), psf="bicubic")(x)
    repeated = Downsample((1, 3), (1, 30), psf="bicubic")(np.tile(x, 5))
    np.testing.assert_allclose(coarse, repeated[:, :2], atol=1e-14)


def test_area_is_the_default_and_the_mean_of_each_block():
    x = RNG.standard_normal((6, 8))
    np.testing.assert_array_equal(Downsample(2, x.shape)(x), Downsample(2, x.shape, psf="area")(x))


@pytest.mark.parametrize("psf", ["area", "bicubic", "gaussian"])
def test_closed_form_of_the_shifted_inverse(psf):
    A = Downsample((2, 3), (8, 9), psf=psf)
    matrix, b = dense(A), RNG.standard_normal((8, 9))
    expected = np.linalg.solve(matrix.T @ matrix + 0.01 * np.eye(72), b.ravel()).reshape(b.shape)
    np.testing.assert_allclose(A.solve_shifted(b, 0.01), expected, atol=1e-11)


def test_wrong_factors_and_kernels_say_what_is_wrong():
    with pytest.raises(DTypeError, match=r"factor is 1\.5; expected integers.*Resample"):
        Downsample(1.5, (6, 6))
    with pytest.raises(OptionError, match="Did you mean 'bicubic'"):
        Downsample(2, (6, 6), psf="bicubik")


# --- resampling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [((40, 50), (17, 33)), ((20, 24), (45, 31)), ((30, 31), (30, 15))])
@pytest.mark.parametrize(("kernel", "pillow"), [("bicubic", "BICUBIC"), ("linear", "BILINEAR")])
def test_resampling_is_pillows_away_from_the_borders(sizes, kernel, pillow):
    x = RNG.standard_normal(sizes[0]).astype(np.float32)
    theirs = np.asarray(Image.fromarray(x).resize(sizes[1][::-1], Image.Resampling[pillow]))
    ours = Resample(*sizes, kernel=kernel)(x)
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=2e-5)


def test_area_is_the_integral_over_the_pixel():
    x = RNG.standard_normal(14)
    steps = np.interp(np.linspace(0, 14, 6), np.arange(15), np.concatenate([[0], np.cumsum(x)]))
    np.testing.assert_allclose(Resample((14,), (5,), kernel="area")(x), np.diff(steps) / (14 / 5), atol=1e-13)


@pytest.mark.parametrize("kernel", ["area", "bicubic", "gaussian", "linear"])
def test_constants_stay_and_the_same_size_is_the_identity(kernel):
    np.testing.assert_allclose(Resample((9, 8), (5, 13), kernel=kernel)(np.ones((9, 8))), 1, rtol=1e-13)
    if kernel != "gaussian":
        x = RNG.standard_normal((5, 6))
        np.testing.assert_allclose(Resample((5, 6), (5, 6), kernel=kernel)(x), x, atol=1e-14)


def test_without_antialiasing_it_interpolates():
    x = RNG.standard_normal(12)
    np.testing.assert_allclose(Resample((12,), (4,), kernel="linear", antialias=False)(x), x[1::3], atol=1e-14)


def test_super_resolution_beats_interpolation():
    truth = photograph("camera", 96)
    A = Resample(truth.shape, (32, 32))
    y = A(truth) + 0.002 * np.random.default_rng(0).standard_normal((32, 32), dtype=np.float32)
    interpolated = Resample((32, 32), truth.shape)(y)
    assert psnr(truth, reconstruct(y, A, strength=3e-4)) > psnr(truth, interpolated) + 0.5


def test_wrong_resampling_says_what_is_wrong():
    with pytest.raises(ShapeError, match="as many axes"):
        Resample((4, 4), (2,))
    with pytest.raises(OptionError, match="Did you mean 'bicubic'"):
        Resample((4, 4), (2, 2), kernel="bicubi")


# --- shifts and several frames --------------------------------------------------------------------------------------


def test_whole_shifts_roll():
    x = RNG.standard_normal((6, 7))
    np.testing.assert_allclose(Shift((6, 7), (2, -3))(x), np.roll(x, (2, -3), axis=(0, 1)), atol=1e-13)


@pytest.mark.parametrize("shape", [(7, 9), (6, 8)])
def test_shifts_move_waves(shape):
    """A wave that is whole on the grid is sampled elsewhere, exactly."""
    rows, columns = np.indices(shape)

    def wave(r, c):
        return np.cos(2 * np.pi * (r / shape[0] - 2 * c / shape[1]) + 0.4)

    np.testing.assert_allclose(Shift(shape, (0.3, -1.6))(wave(rows, columns)), wave(rows - 0.3, columns + 1.6))


def test_odd_sizes_shift_back_and_even_ones_keep_real_images_real():
    x = RNG.standard_normal((5, 7))
    A = Shift((5, 7), (0.4, 0.9))
    np.testing.assert_allclose(A.H(A(x)), x, atol=1e-13)
    nyquist = (-1.0) ** np.arange(6)
    np.testing.assert_allclose(Shift((6,), [0.3])(nyquist), np.cos(0.3 * np.pi) * nyquist, atol=1e-13)


@pytest.mark.parametrize("psf", ["area", "bicubic", np.arange(12.0).reshape(3, 4)])
@pytest.mark.parametrize(("factor", "shape"), [(2, (8, 10)), ((3, 1), (9, 7))])
def test_each_frame_is_the_shifted_image_downsampled(psf, factor, shape):
    shifts = RNG.uniform(-3, 3, (4, 2))
    x = RNG.standard_normal((2, *shape))
    frames = MultiFrame(shifts, factor, shape, psf=psf)(x)
    for k, shift in enumerate(shifts):
        alone = Downsample(factor, shape, psf=psf) @ Shift(shape, shift)
        np.testing.assert_allclose(frames[:, k], alone(x), atol=1e-12)


def test_frames_have_a_closed_form():
    A = MultiFrame(RNG.uniform(-2, 2, (3, 2)), 2, (6, 8))
    matrix, b = dense(A), RNG.standard_normal((2, 6, 8))
    for rho in (0.05, np.array([0.1, 2.0]).reshape(2, 1, 1)):
        solved = [
            np.linalg.solve(matrix.T @ matrix + r * np.eye(48), image.ravel()).reshape(6, 8)
            for r, image in zip(np.broadcast_to(np.ravel(rho), 2), b, strict=True)
        ]
        np.testing.assert_allclose(A.solve_shifted(b, rho), solved, atol=1e-11)
    np.testing.assert_allclose(A.norm(), np.linalg.norm(matrix, 2), rtol=1e-10)


def test_all_the_fractions_of_a_pixel_make_the_fine_image():
    """Four frames half a coarse pixel apart hold every fine pixel; without blur the image is read off them."""
    x = RNG.standard_normal((8, 8))
    A = MultiFrame([[0, 0], [0, 1], [1, 0], [1, 1]], 2, (8, 8), psf=np.ones((1, 1)))
    np.testing.assert_allclose(A.gram(x), x, atol=1e-13)


def test_eight_frames_are_better_than_one():
    truth = photograph("camera", 96)
    shifts = np.random.default_rng(1).uniform(0, 3, (8, 2))
    shifts[0] = 0
    scores = []
    for frames in (1, 8):
        A = MultiFrame(shifts[:frames], 3, truth.shape)
        y = A(truth)
        y += 0.01 * np.random.default_rng(2).standard_normal(y.shape, dtype=np.float32)
        scores.append(psnr(truth, reconstruct(y, A)))
    assert scores[1] > scores[0] + 3


def test_wrong_shifts_say_what_is_wrong():
    with pytest.raises(ShapeError, match=r"shift has shape \(1,\); expected \(2,\)"):
        Shift((4, 4), [1.0])
    with pytest.raises(DTypeError, match="shift has dtype complex128"):
        Shift((4,), [1j])
    with pytest.raises(NonFiniteError, match="shifts holds 1 NaN"):
        MultiFrame([[0, np.nan]], 2, (4, 4))
    with pytest.raises(ShapeError, match=r"\(frames, 2\)"):
        MultiFrame([0.5, 0.5], 2, (4, 4))
