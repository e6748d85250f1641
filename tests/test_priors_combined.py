"""Infimal sums of priors, and non-local means."""

from __future__ import annotations

import doctest
import importlib
import pickle

import numpy as np
import pytest
import torch

from priors import InfimalSum, NonLocalMeans, NonNegative, NuclearNorm, Sobolev, Sparsity, Tikhonov, TotalVariation
from recon import check_prior
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.protocols import Denoiser


def random(shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.issubdtype(dtype, np.complexfloating) else x).astype(dtype)


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Small tensors gain nothing from more, and wait long for them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["infimal_sum", "non_local_means"])
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(f"priors.{name}")).failed == 0


# ---------------------------------------------------------------------------------------------------------------------
# Infimal sums


@pytest.mark.parametrize(
    ("prior", "shape"),
    [(InfimalSum(Sparsity(), Tikhonov(), 1e-9), (4, 5)), (0.5 * InfimalSum(Sparsity(), 2 * Sobolev(2), 1e-9), (5, 6)),
     (InfimalSum(NuclearNorm(), 0.6 * Sparsity(), 1e-9), (3, 4, 4))],
    ids=["huber", "smooth", "low rank"],
)  # fmt: skip
def test_contract(prior, shape):
    assert check_prior(prior, shape).ok


def test_l1_and_a_square_are_huber():
    """The infimal sum of ``|x|`` and ``x^2 / 2`` is known: ``x^2 / 2`` up to 1 and ``|x| - 1/2`` from there."""
    x, prior = np.linspace(-4, 4, 17), InfimalSum(Sparsity(), Tikhonov(), 1e-10)
    wanted = np.where(abs(x) <= 1, x**2 / 2, abs(x) - 0.5)
    assert prior.value(x) == pytest.approx(wanted.sum(), rel=1e-6)
    np.testing.assert_allclose(prior.prox(x, 0.5), np.where(abs(x) <= 1.5, x / 1.5, x - 0.5 * np.sign(x)), atol=1e-6)


def test_value_is_below_both():
    x = random((6, 7))
    first, second = TotalVariation(), Sobolev(2)
    assert InfimalSum(first, second, 1e-4).value(x) < min(first.value(x), second.value(x))


def test_edges_and_background_come_apart():
    i, j = np.mgrid[0:24, 0:24]
    square, wave = 1.0 * ((abs(i - 11) < 5) & (abs(j - 12) < 6)), np.cos(2 * np.pi * i / 24)
    edges, smooth = InfimalSum(TotalVariation(tol=1e-5), 20 * Sobolev(2), 1e-3).parts(square + wave, 0.05)
    assert np.corrcoef((edges - edges.mean()).ravel(), square.ravel())[0, 1] > 0.95
    assert np.corrcoef((smooth - smooth.mean()).ravel(), wave.ravel())[0, 1] > 0.95


def test_a_still_scene_with_few_changes_comes_apart():
    rng = np.random.default_rng(2)
    still = np.broadcast_to(rng.standard_normal((8, 8)), (10, 8, 8))
    changes = 5.0 * (rng.random((10, 8, 8)) < 0.03)
    low, few = InfimalSum(NuclearNorm(), 0.2 * Sparsity(), 1e-5).parts(still + changes, 0.05)
    assert np.linalg.norm(few - changes) < 0.1 * np.linalg.norm(changes)
    assert np.linalg.norm(low - still) < 0.1 * np.linalg.norm(still)


def test_infimal_sum_arguments():
    with pytest.raises(DTypeError, match="second is 3"):
        InfimalSum(Sparsity(), 3)
    with pytest.raises(ArgumentError, match="tol is 0"):
        InfimalSum(Sparsity(), Tikhonov(), 0)
    with pytest.warns(RuntimeWarning, match="not settled after 3"):
        InfimalSum(NuclearNorm(), Sparsity(), 1e-12, 3).prox(random((3, 4, 5)), 0.1)
    assert InfimalSum(Sparsity(), NonNegative(), 1e-9).prox(np.array([-3.0, 2.0]), 1.0) == pytest.approx([-2, 2])


# ---------------------------------------------------------------------------------------------------------------------
# Non-local means


def pattern(n=32):
    i, j = np.mgrid[0:n, 0:n]
    return ((i // 4 + j // 4) % 2).astype(float)


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_repeated_structure_is_kept(unit):
    truth = unit * pattern()
    v = truth + 0.2 * unit * random(truth.shape)
    x = NonLocalMeans(reach=9)(v, 0.2 * unit)
    assert np.linalg.norm(x - truth) < 0.5 * np.linalg.norm(v - truth)


def test_denoiser_contract():
    denoise, v = NonLocalMeans(), np.stack([pattern(), pattern().T]) + 0.1 * random((2, 32, 32))
    assert isinstance(denoise, Denoiser)
    v.flags.writeable = False
    x = denoise(v, 0.1)
    np.testing.assert_array_equal(x[1], denoise(v[1], 0.1))
    np.testing.assert_array_equal(denoise(torch.tensor(v), 0.1).numpy(), x)
    np.testing.assert_array_equal(denoise(v, 0), v)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(denoise))(v, 0.1), x)
    assert denoise(v.astype(np.float32), 0.1).dtype == np.float32 and denoise(v[:0], 0.1).shape == (0, 32, 32)
    both = NonLocalMeans(channels=True)(v, 0.1)
    np.testing.assert_allclose(denoise(v[0] + 1j * v[1], 0.1), both[0] + 1j * both[1], atol=1e-12)
    assert NonLocalMeans(3, patch=3, reach=2)(random((6, 7, 8)), 1.0).std() < 0.7


def test_denoiser_arguments():
    with pytest.raises(ArgumentError, match="ndim is 1"):
        NonLocalMeans(1)
    with pytest.raises(ArgumentError, match="sigma is -1"):
        NonLocalMeans()(np.zeros((4, 4)), -1)
    with pytest.raises(ShapeError, match="at least 2 axes"):
        NonLocalMeans()(np.zeros(4), 1)
