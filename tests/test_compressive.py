"""Compressive imaging: Hadamard patterns, random projections, coded apertures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import hadamard

from recon import plan, reconstruct
from recon._operator_checks import dense
from recon.operators import Blur, CodedAperture, RandomProjection, SinglePixel
from recon.operators._cosine_rows import cosine, inverse_cosine
from recon.operators._walsh import hadamard as fast_hadamard
from recon.operators._walsh import sequency
from recon.spec import load_operator
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OptionError, ShapeError

RNG = np.random.default_rng(0)


def blocks(size):
    """A picture of flat parts."""
    image = np.zeros((size, size))
    image[size // 4 : size // 2, size // 8 : -size // 4] = 1.0
    image[size // 2 : -size // 8, size // 3 : size // 2] = 0.6
    return image


def psnr(x, truth):
    return -10 * np.log10(np.mean((x - truth) ** 2))


# --- the transform --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16, 128, 1024, 4096])
def test_fast_transform_is_the_hadamard_matrix(n):
    x = RNG.standard_normal((3, n))
    np.testing.assert_allclose(fast_hadamard(x), x @ hadamard(n) / np.sqrt(n), atol=1e-12)


def test_fast_transform_of_long_vectors_is_that_of_their_halves():
    n = 1 << 17
    x = RNG.standard_normal((2, n)).astype(np.float32)
    low, high = (fast_hadamard(half) / np.sqrt(2) for half in (x[:, : n // 2], x[:, n // 2 :]))
    expected = np.concatenate([low + high, low - high], axis=-1)
    np.testing.assert_allclose(fast_hadamard(x), expected, atol=1e-4)


def test_tensors_are_transformed_alike():
    import torch

    x = RNG.standard_normal((2, 64)) + 1j * RNG.standard_normal((2, 64))
    np.testing.assert_allclose(fast_hadamard(torch.from_numpy(x)).numpy(), fast_hadamard(x), atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 16, 64])
def test_sequency_counts_the_changes_of_sign(n):
    np.testing.assert_array_equal(sequency(n), np.count_nonzero(np.diff(hadamard(n), axis=1), axis=1))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_cosine_transform_of_tensors_is_scipys(n):
    import scipy.fft
    import torch

    x = RNG.standard_normal((3, n))
    expected = scipy.fft.dct(x, norm="ortho")
    np.testing.assert_allclose(cosine(torch.from_numpy(x)).numpy(), expected, atol=1e-13)
    np.testing.assert_allclose(inverse_cosine(torch.from_numpy(expected)).numpy(), x, atol=1e-13)


# --- single pixel ---------------------------------------------------------------------------------------------------


def test_single_pixel_reads_the_patterns():
    matrix = hadamard(32) / np.sqrt(32)
    np.testing.assert_allclose(dense(SinglePixel((4, 8), ordering="natural")), matrix, atol=1e-14)
    np.testing.assert_allclose(dense(SinglePixel((8, 4), 5, ordering="natural")), matrix[:5], atol=1e-14)
    np.testing.assert_allclose(dense(SinglePixel((32,), rows=[7, 0, 9])), matrix[[7, 0, 9]], atol=1e-14)


def test_single_pixel_counts_coarse_patterns_first():
    patterns = dense(SinglePixel((8, 8))).reshape(64, 8, 8)
    changes = [sum(np.count_nonzero(np.diff(np.take(p, 0, 1 - a) > 0)) for a in (0, 1)) for p in patterns]
    assert changes == sorted(changes)
    signal = dense(SinglePixel((16,))) > 0
    np.testing.assert_array_equal(np.count_nonzero(np.diff(signal, axis=1), axis=1), np.arange(16))


def test_random_patterns_hold_the_uniform_one_and_follow_the_generator():
    A, B = SinglePixel((8, 8), 20, "random"), SinglePixel((8, 8), 20, "random", rng=1)
    assert A.rows[0] == B.rows[0] == 0
    assert np.unique(A.rows).size == 20
    assert not np.array_equal(A.rows, B.rows)
    np.testing.assert_array_equal(A.rows, SinglePixel((8, 8), 20, "random").rows)


def test_single_pixel_reconstructs_from_a_quarter_of_the_patterns():
    truth = blocks(32)
    A = SinglePixel(truth.shape, 256)
    y = A(truth) + 0.01 * RNG.standard_normal(A.out_shape)
    assert psnr(reconstruct(y, A), truth) > psnr(A.adjoint(y), truth) + 2


def test_the_noise_of_patterns_follows_from_the_residual():
    truth, level = blocks(32), 0.02
    A = SinglePixel(truth.shape, 512)
    y = A(truth) + level * np.random.default_rng(0).standard_normal(A.out_shape)
    assert "below" in str(plan(y, A))  # neighbouring patterns have nothing in common
    _, info = reconstruct(y, A, return_info=True)
    assert "residual at the smallest predicted risk" in str(info)
    assert level / 1.5 < info.plan.noise.sigma < 1.5 * level
    assert 0.5 < info.residual < 1.1
    _, info = reconstruct(y, A, noise=0.03, return_info=True)
    assert info.plan.noise.sigma == 0.03
    assert not (2 * A).neighbours_alike


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (((6, 8),), ShapeError, r"shape is \(6, 8\).*\(8, 8\)"),
        (((4, 4), 17), ArgumentError, "measurements is 17.*at most 16"),
        (((4, 4), 3, "sequence"), OptionError, "'sequence'.*Did you mean"),
        (((4, 4), None, "natural", [1, 1]), ArgumentError, "rows .*once"),
        (((4, 4), None, "natural", [16]), ArgumentError, "0 to 15"),
        (((4, 4), None, "natural", [0.5]), ArgumentError, "rows has dtype float64"),
    ],
)
def test_single_pixel_says_what_is_wrong(arguments, error, match):
    with pytest.raises(error, match=match):
        SinglePixel(*arguments)


# --- random projections ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["srht", "cosine"])
def test_random_signs_of_the_same_seed_are_measured_as_others_are(kind):
    signs = 2.0 * np.random.default_rng(0).integers(0, 2, (32, 32)) - 1.0
    np.testing.assert_allclose(np.linalg.norm(RandomProjection(300, signs.shape, kind, rng=0)(signs)), 32, rtol=0.15)


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "srht", "cosine"])
def test_random_projections_keep_lengths_on_average(kind):
    x = RNG.standard_normal((8, 8))
    squares = [np.sum(RandomProjection(32, (8, 8), kind, rng=seed)(x) ** 2) for seed in range(400)]
    spread = np.std(squares) / np.sqrt(len(squares))
    assert abs(np.mean(squares) - np.sum(x**2)) < 4 * spread


def test_random_entries_are_what_they_are_called():
    signs = dense(RandomProjection(9, (4, 4), "rademacher"))
    np.testing.assert_allclose(np.abs(signs), 1 / 3)
    np.testing.assert_array_equal(signs, dense(RandomProjection(9, (4, 4), "rademacher", rng=0)))
    assert not np.array_equal(signs, dense(RandomProjection(9, (4, 4), "rademacher", rng=1)))
    normal = dense(RandomProjection(50, (8, 8))) * np.sqrt(50)
    assert abs(normal.std() - 1) < 0.05


@pytest.mark.parametrize("kind", ["srht", "cosine"])
def test_structured_rows_are_orthogonal(kind):
    matrix = dense(RandomProjection(20, (8, 8), kind))
    np.testing.assert_allclose(matrix @ matrix.T, 64 / 20 * np.eye(20), atol=1e-12)


@pytest.mark.parametrize("kind", ["gaussian", "srht"])
def test_random_projections_reconstruct_a_flat_picture(kind):
    truth = blocks(16)
    A = RandomProjection(128, truth.shape, kind)
    assert psnr(reconstruct(A(truth), A, noise=1e-3), truth) > 35


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((10, (3, 5), "srht"), ShapeError, 'kind="cosine"'),
        ((17, (4, 4), "cosine"), ArgumentError, "at most 16"),
        ((10**5, (256, 256)), ArgumentError, 'kind="srht"'),
        ((4, (4, 4), "normal"), OptionError, "expected one of gaussian"),
        ((0, (4, 4)), ArgumentError, "measurements is 0"),
    ],
)
def test_random_projection_says_what_is_wrong(arguments, error, match):
    with pytest.raises(error, match=match):
        RandomProjection(*arguments)


# --- coded aperture -------------------------------------------------------------------------------------------------


def test_coded_aperture_codes_shears_and_adds():
    mask, cube = RNG.random((4, 5)), RNG.random((3, 4, 5))
    y = CodedAperture(mask, bands=3, shift=2)(cube)
    assert y.shape == (4, 9)
    for i, j in np.ndindex(4, 9):
        terms = [mask[i, j - 2 * b] * cube[b, i, j - 2 * b] for b in range(3) if 0 <= j - 2 * b < 5]
        np.testing.assert_allclose(y[i, j], sum(terms), atol=1e-15)


def test_coded_exposure_gives_the_cube_back():
    spectra = np.array([[1.0, 0.8, 0.4, 0.2], [0.1, 0.3, 0.7, 0.9]])
    parts = np.stack([blocks(32) > 0.5, blocks(32).T > 0.5])
    truth = np.einsum("kb,kij->bij", spectra, parts)
    A = CodedAperture(np.random.default_rng(3).random((32, 32)) < 0.5, bands=4)
    y = A(truth) + 0.005 * RNG.standard_normal(A.out_shape)
    back = A.adjoint(y / np.maximum(A.outer_gram(), 1e-9))
    assert psnr(reconstruct(y, A), truth) > psnr(back, truth) + 6


@pytest.mark.parametrize(
    ("aperture", "error", "match"),
    [
        (np.ones(4), ShapeError, r"aperture has shape \(4,\)"),
        (np.zeros((2, 2)), ArgumentError, "zero everywhere"),
        (-np.ones((2, 2)), ArgumentError, "negative"),
        (np.full((2, 2), np.nan), NonFiniteError, "aperture holds 4"),
        (np.ones((2, 2), complex), DTypeError, "aperture has dtype complex"),
    ],
)
def test_coded_aperture_says_what_is_wrong(aperture, error, match):
    with pytest.raises(error, match=match):
        CodedAperture(aperture, bands=2)


# --- lensless camera ------------------------------------------------------------------------------------------------


def test_a_camera_without_a_lens_is_a_blur_of_unknown_surroundings():
    rng = np.random.default_rng(0)
    psf = np.where(rng.random((17, 17)) < 0.08, rng.random((17, 17)), 0.0)
    A = Blur(psf / psf.sum(), (40, 40), boundary="unknown")
    truth = np.zeros(A.in_shape)
    truth[A.interior] = np.pad(blocks(32), 4)
    background = 0.2
    exposure = A(truth) + background + 0.002 * rng.standard_normal(A.out_shape)
    found = reconstruct(exposure - background, A, bounds=(0, np.inf))
    assert found.min() >= 0
    assert psnr(found[A.interior], truth[A.interior]) > 28
    assert psnr((exposure - background), truth[A.interior]) < 15


# --- specifications -------------------------------------------------------------------------------------------------


def test_specifications_name_the_operators():
    aperture, rows = [[0.5, 1.0], [0.0, 0.2]], [3, 0, 7]
    for spec, expected in (
        ({"operator": "coded_aperture", "aperture": aperture, "bands": 2}, CodedAperture(aperture, 2)),
        ({"operator": "single_pixel", "shape": [4, 2], "measurements": 5}, SinglePixel((4, 2), 5)),
        ({"operator": "single_pixel", "shape": [8], "rows": rows}, SinglePixel((8,), rows=rows)),
        (
            {"operator": "random_projection", "measurements": 3, "shape": [2, 4], "kind": "srht", "rng": 1},
            RandomProjection(3, (2, 4), "srht", rng=1),
        ),
    ):
        built = load_operator(spec)
        assert type(built) is type(expected)
        np.testing.assert_array_equal(dense(built), dense(expected))
