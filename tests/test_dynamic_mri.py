"""Frames of MRI: each measured as a still image is, and reconstructed with time as an axis of its own."""

from __future__ import annotations

import numpy as np
import pytest

from priors import TotalVariation
from recon.operators import (
    CartesianMRI,
    DynamicMRI,
    DynamicNonCartesianMRI,
    Mask,
    NonCartesianMRI,
    block_diagonal,
)
from recon.trajectories import radial
from solvers import ADMM, LeastSquares, unroll
from solvers.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
MASKS = RNG.random((3, 6, 8)) < 0.4
COILS = RNG.standard_normal((2, 6, 8)) + 1j * RNG.standard_normal((2, 6, 8))
FRAMES = RNG.standard_normal((3, 6, 8)) + 1j * RNG.standard_normal((3, 6, 8))


@pytest.mark.parametrize("coils", [None, COILS])
def test_each_frame_is_measured_through_its_own_mask(coils):
    y = DynamicMRI(MASKS, coils)(FRAMES)
    for t in range(3):
        np.testing.assert_allclose(y[t], CartesianMRI(MASKS[t], coils)(FRAMES[t]), atol=1e-14)


@pytest.mark.parametrize("coils", [None, COILS])
def test_each_frame_is_measured_along_its_own_trajectory(coils):
    spokes = radial(6, 16, size=6).reshape(3, 2, 16, 2)
    weights = RNG.random((3, 2, 16))
    y = DynamicNonCartesianMRI(spokes, (6, 8), coils, weights)(FRAMES)
    for t in range(3):
        alone = NonCartesianMRI(spokes[t], (6, 8), coils, weights[t])(FRAMES[t])
        np.testing.assert_allclose(y[t], alone, atol=1e-12)


def test_closed_form_of_frames_agrees_with_that_of_blocks():
    A, blocks = DynamicMRI(MASKS), block_diagonal([CartesianMRI(mask) for mask in MASKS])
    np.testing.assert_allclose(A.solve_shifted(FRAMES, 0.3), blocks.solve_shifted(FRAMES, 0.3), atol=1e-12)
    assert A.fourier_gram() is None  # frames that differ are no convolution over time
    for operator in (A, blocks):
        picks, whole = operator.factors()
        np.testing.assert_array_equal(picks.diagonal_gram(), MASKS)
        np.testing.assert_array_equal(whole.fourier_gram(), np.ones((3, 6, 8)))
        assert operator.frames


def test_samples_are_kept_back_frame_by_frame():
    kept = RNG.random((3, 6, 8)) < 0.7
    A = DynamicMRI(MASKS, COILS).with_sampling(np.broadcast_to(kept[:, None], (3, 2, 6, 8)))
    assert isinstance(A, DynamicMRI)
    np.testing.assert_array_equal(A.masks, MASKS & kept)
    one_coil = np.ones((3, 2, 6, 8), bool)
    one_coil[:, 0] = False
    np.testing.assert_array_equal(A.with_sampling(one_coil)(FRAMES)[:, 1], A(FRAMES)[:, 1])
    assert not A.with_sampling(one_coil)(FRAMES)[:, 0].any()


def test_wrong_frames_say_what_is_wrong():
    with pytest.raises(ShapeError, match=r"masks has shape \(8,\); expected \(frames, ky, kx\)"):
        DynamicMRI(np.ones(8))
    with pytest.raises(ShapeError, match=r"coils has shape \(2, 6, 8\)"):
        DynamicMRI(np.ones((3, 6, 7)), COILS)
    with pytest.raises(ShapeError, match=r"trajectories has shape \(16, 2\).*NonCartesianMRI"):
        DynamicNonCartesianMRI(np.zeros((16, 2)), (6, 8))
    with pytest.raises(ArgumentError, match="trajectory reaches 5"):
        DynamicNonCartesianMRI(np.full((2, 3, 2), 5.0), (6, 8))


def test_blocks_of_different_images_have_no_frames():
    assert not block_diagonal([Mask(np.eye(4)), Mask(np.eye(3))], flatten=True).frames


def test_frames_are_preconditioned_by_their_mean_sampling():
    """With a preconditioner from one frame's mask a third of the image is still wrong after as many steps."""
    n, count = 24, 8
    y, x = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    truth = np.stack([1.0 * (y**2 + x**2 < 0.7) + ((y + 0.3) ** 2 + (x - 0.08 * t) ** 2 < 0.06) for t in range(count)])
    coils = np.stack([np.exp(-((x - a) ** 2) - (y - b) ** 2) for a in (-1, 1) for b in (-1, 1)])
    lines = np.random.default_rng(0).random((count, n, 1)) < 0.2 + 0.8 * (abs(y[:, :1]) < 0.1)
    A = DynamicMRI(np.broadcast_to(lines, truth.shape), coils)
    data = LeastSquares(A, A(truth.astype(complex)))
    image = unroll(ADMM(data, TotalVariation(3, spacing=(0.3, 1, 1)), 1e-3), A.adjoint(data.y), 60)
    assert np.linalg.norm(image - truth) < 0.1 * np.linalg.norm(truth)
