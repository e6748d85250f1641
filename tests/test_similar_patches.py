"""Groups of similar patches, against singular value decompositions written out."""

import doctest
import importlib

import numpy as np
import pytest

from priors import SimilarPatches
from recon import reconstruct
from recon._plug_and_play import BuildDPIR, takes_groups
from recon.noise import Gaussian
from recon.operators import Mask
from solvers import LeastSquares, Status
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.mean_of_two import MeanOfTwo

RNG = np.random.default_rng(0)


def naive(v, sigma, patch, similar, reach, stride):
    """Group by group, with distances from all patches and singular values of numpy."""
    n, size = v.shape[0] - patch + 1, patch * patch
    patches = np.array([[v[i : i + patch, j : j + patch].ravel() for j in range(n)] for i in range(n)])
    total, weight = np.zeros_like(v), np.zeros_like(v)
    grid, places = [*range(0, n - 1, stride), n - 1], np.argwhere(np.ones((n, n)))
    for i, j in ((i, j) for i in grid for j in grid):
        near = places[np.abs(places - (i, j)).max(1) <= reach]
        chosen = near[np.argsort(((patches[near[:, 0], near[:, 1]] - patches[i, j]) ** 2).sum(1))[:similar]]
        group = patches[chosen[:, 0], chosen[:, 1]]
        left, values, right = np.linalg.svd(group - group.mean(), full_matrices=False)
        kept = values > sigma * (patch + np.sqrt(similar))
        low = (left * (values * kept)) @ right + group.mean()
        share = max(1 - kept.sum() / (min(size, similar) + 1), 1 / min(size, similar))
        for (p, q), item in zip(chosen, low, strict=True):
            total[p : p + patch, q : q + patch] += share * item.reshape(patch, patch)
            weight[p : p + patch, q : q + patch] += share
    return np.where(weight > 0, total / np.maximum(weight, 1e-9), v)


@pytest.mark.parametrize(("patch", "similar"), [(4, 20), (4, 12)])
def test_groups_lose_their_small_singular_values(patch, similar):
    v = np.sin(np.arange(24.0)) + np.linspace(0, 2, 24)[:, None] + 0.2 * RNG.standard_normal((24, 24))
    found = SimilarPatches(patch, similar, reach=6, stride=3)(v, 0.2)
    np.testing.assert_allclose(found, naive(v, 0.2, patch, similar, 6, 3), atol=1e-5)


def test_constant_images_stay_and_units_and_offsets_do_not_matter():
    denoiser, v = SimilarPatches(reach=6), RNG.standard_normal((2, 20, 24))
    np.testing.assert_allclose(denoiser(np.full((20, 24), 3.0), 1.0), 3.0, rtol=1e-5)
    np.testing.assert_allclose(denoiser(64 * v, 32.0), 64 * denoiser(v, 0.5), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(denoiser(v + 3, 0.5), denoiser(v, 0.5) + 3, atol=1e-4)
    np.testing.assert_array_equal(denoiser(v, 0.5)[1], denoiser(v[1], 0.5))
    np.testing.assert_array_equal(denoiser(v, 0.5), denoiser(v, 0.5, v))
    np.testing.assert_array_equal(denoiser(v, 0.0), v)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: SimilarPatches(patch=0), ArgumentError, "patch"),
        (lambda: SimilarPatches(stride=-1), ArgumentError, "stride"),
        (lambda: SimilarPatches()(np.ones((8, 8)), -1.0), ArgumentError, "sigma"),
        (lambda: SimilarPatches()(np.ones((8, 5)), 1.0), ShapeError, "at least 6 pixels"),
        (lambda: SimilarPatches()(np.ones((8, 8)), 1.0, np.ones((8, 9))), ShapeError, "like has shape"),
        (lambda: SimilarPatches()(np.ones((8, 8)) + 1j, 1.0), DTypeError, "complex"),
    ],
)
def test_wrong_inputs(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_missing_pixels_of_stripes_are_filled_in_better_with_groups(monkeypatch):
    rows, columns = np.mgrid[:64, :64]
    truth = (0.5 + 0.4 * np.sin(0.9 * columns + 0.5 * rows)).astype(np.float32)
    mask = Mask(RNG.random(truth.shape) < 0.3)
    found, info = reconstruct(mask(truth), mask, prior="learned", noise=1e-3, return_info=True)
    assert info.status is Status.FINISHED and "groups of similar patches" in str(info.plan)
    monkeypatch.setattr("recon._plug_and_play.takes_groups", lambda *_: False)
    without = reconstruct(mask(truth), mask, prior="learned", noise=1e-3)
    assert np.linalg.norm(found - truth) < 0.9 * np.linalg.norm(without - truth)


def test_groups_are_for_planes_of_little_noise():
    from priors import Denoiser, PlugAndPlay

    mask = Mask(RNG.random((64, 64)) < 0.5)
    truth, prior = np.add.outer(np.sin(np.arange(64.0)), np.arange(64) / 64), PlugAndPlay(Denoiser())
    data = LeastSquares(mask, mask(truth))
    assert isinstance(BuildDPIR(Gaussian(1e-3))(data, prior, 1e-6), MeanOfTwo)
    assert not isinstance(BuildDPIR(Gaussian(1.0))(data, prior, 1.0), MeanOfTwo)
    assert not takes_groups(prior, Mask(RNG.random((32, 64)) < 0.5))
    problem = BuildDPIR(Gaussian(1e-3))(data, prior, 1e-6).at(1e-5)
    assert problem.first.strength == problem.second.strength == 1e-5


def test_examples_in_docstrings():
    assert doctest.testmod(importlib.import_module("priors.similar_patches")).failed == 0
