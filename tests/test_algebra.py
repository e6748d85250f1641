"""Operators made of operators and of numbers equal the matrices they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from recon import reconstruct
from recon._operator_checks import dense
from recon.operators import (
    Blur,
    CartesianMRI,
    Diagonal,
    Downsample,
    FrequencyResponse,
    Identity,
    Mask,
    ParallelBeam,
    Permute,
    Reshape,
    Restriction,
    block_diagonal,
    from_matrix,
    stack,
)
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError

RNG = np.random.default_rng(0)


# --- block diagonal -------------------------------------------------------------------------------------------------


def test_block_diagonal_is_the_block_diagonal_matrix():
    a, b, c = RNG.standard_normal((4, 6)), RNG.standard_normal((4, 6)), RNG.standard_normal((3, 2))
    A = block_diagonal([from_matrix(a), from_matrix(b)])
    assert (A.in_shape, A.out_shape) == ((2, 6), (2, 4))
    np.testing.assert_allclose(dense(A), scipy.linalg.block_diag(a, b), atol=1e-13)
    B = block_diagonal([from_matrix(a), from_matrix(c)], flatten=True)
    np.testing.assert_allclose(dense(B), scipy.linalg.block_diag(a, c), atol=1e-13)
    np.testing.assert_allclose(dense(B.H), scipy.linalg.block_diag(a, c).T, atol=1e-13)


def test_block_diagonal_has_the_largest_norm_and_every_closed_form():
    A = block_diagonal([3 * Identity((4, 5)), Mask(np.tri(4, 5))])
    assert A.norm() == 3
    assert A.diagonal_gram().shape == (2, 4, 5)
    np.testing.assert_array_equal(A.sampling, [np.ones((4, 5)), np.tri(4, 5)])
    mixed = block_diagonal([Blur(np.ones((2, 2)), (4, 5)), Mask(np.tri(4, 5))])
    b, rho = RNG.standard_normal((2, 2, 4, 5)), np.array([0.5, 2.0]).reshape(2, 1, 1, 1)
    z = mixed.solve_shifted(b, rho)
    np.testing.assert_allclose(mixed.gram(z) + rho * z, b, atol=1e-12)


def test_block_diagonal_says_what_does_not_fit():
    with pytest.raises(ShapeError, match="flatten=True"):
        block_diagonal([Identity((4, 4)), Downsample(2, (4, 4))])
    with pytest.raises(ArgumentError, match="operators is empty"):
        block_diagonal([])
    with pytest.raises(DTypeError, match="from_matrix"):
        block_diagonal([np.eye(3)])
    with pytest.raises(DTypeError, match="from_matrix"):
        stack([Identity((3,)), np.eye(3)])


# --- rearrangements -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indices", [[5, 0, -1], [2, 2, 11], [[0, 1], [7, 3]]])
def test_restriction_picks_from_the_flattened_image(indices):
    x = RNG.standard_normal((2, 3, 4))
    y = Restriction(indices, (3, 4))(x)
    np.testing.assert_array_equal(y, x.reshape(2, 12)[:, indices])


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_restriction_picks_along_an_axis(axis):
    x = RNG.standard_normal((3, 4, 5))
    A = Restriction([2, 0, 2], x.shape, axis=axis)
    np.testing.assert_array_equal(A(x), np.take(x, [2, 0, 2], axis=axis))
    assert A.norm() == math.sqrt(2)
    assert not A.selects
    assert Restriction([2, 0], x.shape, axis=axis).selects


def test_restriction_to_measured_pixels_is_inpainting():
    mask = RNG.random((24, 24)) < 0.6
    x = np.add.outer(np.linspace(0, 1, 24), np.linspace(0, 1, 24))
    A = Restriction(np.flatnonzero(mask), mask.shape)
    assert A.factors() is not None
    found = reconstruct(A(x), A, strength=1e-3, noise=1e-3)
    np.testing.assert_allclose(found, reconstruct(mask * x, Mask(mask), strength=1e-3, noise=1e-3), atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (([0, 12], (3, 4)), ArgumentError, "12; expected positions below 12"),
        (([-13], (3, 4)), ArgumentError, "-13"),
        (([0.5], (3, 4)), DTypeError, "float64"),
        (([True, False], (2,)), DTypeError, "flatnonzero"),
        (([], (3, 4)), ShapeError, "at least one index"),
        (([[0, 1]], (3, 4), 0), ShapeError, "one axis"),
        (([0], (3, 4), 2), ArgumentError, "axis holds 2"),
        (([0], (3, 4), 0.5), DTypeError, "axis holds 0.5"),
    ],
)
def test_wrong_positions_say_what_is_wrong(arguments, error, match):
    with pytest.raises(error, match=match):
        Restriction(*arguments)


def test_reshape_and_permute_are_numpy_and_undo_themselves():
    x = RNG.standard_normal((2, 3, 4, 5))
    P = Permute((1, 2, 0), (3, 4, 5))
    np.testing.assert_array_equal(P(x), x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(P.H(P(x)), x)
    assert isinstance(P.H, Permute)
    R = Reshape((3, 4, 5), (12, 5))
    np.testing.assert_array_equal(R(x), x.reshape(2, 12, 5))
    np.testing.assert_array_equal(R.H(R(x)), x)
    assert Permute((-1, 0), (2, 3)).out_shape == (3, 2)


def test_wrong_rearrangements_say_what_is_wrong():
    with pytest.raises(ShapeError, match="12 entries; expected 15"):
        Reshape((3, 5), (3, 4))
    with pytest.raises(ArgumentError, match="each axis of shape"):
        Permute((0, 0), (3, 4))
    with pytest.raises(ArgumentError, match="axes holds 2"):
        Permute((0, 2), (3, 4))
    with pytest.raises(DTypeError, match="axes holds 'ab'"):
        Permute("ab", (3, 4))


# --- known factors --------------------------------------------------------------------------------------------------


def test_diagonal_is_a_product():
    w = RNG.standard_normal(5) + 1j * RNG.standard_normal(5)
    A = Diagonal(w, (3, 5))
    x = RNG.standard_normal((3, 5)) + 0j
    np.testing.assert_allclose(A(x), w * x)
    assert A.norm() == abs(w).max()
    assert isinstance(A.H, Diagonal)
    assert Diagonal(2.0, (3,)).norm() == 2
    assert Diagonal([1.0, -2.0]).nonnegative is False


def test_frequency_response_of_a_blur_is_the_blur():
    B = Blur(RNG.standard_normal((3, 4)), (8, 9))
    A = FrequencyResponse(B.transfer())
    x = RNG.standard_normal((8, 9))
    np.testing.assert_allclose(A(x), B(x), atol=1e-12)
    assert A.kind == "any"
    assert A.norm() == pytest.approx(B.norm())


def test_frequency_response_differentiates_a_wave():
    i = np.arange(32)
    A = FrequencyResponse(lambda f: 2j * np.pi * f, (32,), real=True)
    k = 2 * np.pi * 3 / 32
    np.testing.assert_allclose(A(np.sin(k * i)), k * np.cos(k * i), atol=1e-12)


def test_frequency_response_that_is_not_hermitian_is_complex():
    A = FrequencyResponse(lambda fy, fx: (fx >= 0) + 0.0 * fy, (6, 8))
    assert A.kind == "complex"
    assert np.iscomplexobj(A(np.eye(6, 8)))
    x = RNG.standard_normal((6, 8))
    np.testing.assert_allclose(A(x), np.fft.ifft2(np.fft.fft2(x) * (np.fft.fftfreq(8) >= 0)), atol=1e-13)


@pytest.mark.parametrize("build", [Diagonal, FrequencyResponse])
def test_wrong_factors_say_what_is_wrong(build):
    for values, shape, error, match in (
        (np.ones((3, 4)), (4, 4), ShapeError, r"shape \(3, 4\); expected \(4, 4\)"),
        (np.full((2, 2), np.nan), None, NonFiniteError, "4 NaN"),
        (np.zeros((2, 2)), None, ArgumentError, "zero everywhere"),
        (np.array(["a"]), None, DTypeError, "expected numbers"),
        (1.0, None, ShapeError, "single value"),
    ):
        with pytest.raises(error, match=match):
            build(values, shape)
    with pytest.raises(ShapeError, match="shape is missing"):
        FrequencyResponse(lambda f: f)
    with pytest.raises(DTypeError, match="real is 1"):
        FrequencyResponse(np.ones(4), real=1)


# --- closed forms survive composition -------------------------------------------------------------------------------


def test_a_rearranged_measurement_keeps_the_closed_forms_and_the_norm():
    B, M = Blur(RNG.random((3, 3)), (6, 7)), Mask(RNG.random((6, 7)) < 0.5)
    R, P = Reshape((6, 7), (42,)), Permute((1, 0), (7, 6))
    np.testing.assert_allclose((R @ B).fourier_gram(), B.fourier_gram())
    np.testing.assert_allclose((2 * R @ B).fourier_gram(), 4 * B.fourier_gram())
    np.testing.assert_array_equal((R @ M).diagonal_gram(), M.diagonal_gram())
    np.testing.assert_array_equal((M @ P).diagonal_gram(), M.diagonal_gram().T)
    assert (R @ B).factors() is not None
    assert (B @ P).norm() == pytest.approx(B.norm())
    T = ParallelBeam((6, 6), 5)
    assert (Reshape(T.out_shape, (math.prod(T.out_shape),)) @ T).norm() == T.norm()
    assert (T @ Reshape((36,), (6, 6))).norm() == T.norm()


def test_a_fat_isometry_on_the_right_gives_no_norm():
    """``B`` with ``B^H B = I`` that is not onto may miss what the left operator is largest at."""
    onto_first = Restriction([0], (2,)).H  # (1,) -> (2,)
    A = from_matrix(np.diag([1.0, 5.0])) @ onto_first
    assert A.norm() == pytest.approx(1.0, rel=0.02)


def test_coils_and_frames_compose():
    mask = RNG.random((2, 5, 6)) < 0.7
    frames = block_diagonal([CartesianMRI(m) for m in mask])
    x = RNG.standard_normal((2, 5, 6)) + 0j
    np.testing.assert_allclose(frames(x), np.stack([CartesianMRI(m)(f) for m, f in zip(mask, x, strict=True)]))


@pytest.mark.parametrize(
    "build",
    [
        lambda: Restriction([3, 1, 3], (4, 5), axis=0),
        lambda: Permute((1, 0), (4, 5)),
        lambda: Diagonal(np.arange(20.0).reshape(4, 5)),
        lambda: FrequencyResponse(RNG.random((4, 5))),
        lambda: block_diagonal([Identity((4, 5)), Blur(np.ones((2, 2)), (4, 5))]),
        lambda: block_diagonal([Identity((4, 5)), Downsample(2, (4, 6))], flatten=True),
    ],
)
def test_tensors_stay_on_their_device(build):
    """The meta device computes nothing, and refuses to meet the CPU."""
    A = build()
    dtype = torch.complex64 if A.kind == "complex" else torch.float32
    x = torch.zeros(A.in_shape, dtype=dtype, device="meta")
    assert {t.device.type for t in (A(x), A.adjoint(A(x)), A.gram(x))} == {"meta"}
