"""Sparsity in frames, of groups, and in the undecimated wavelet frame."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import pywt
import torch

from priors import Sparsity, UndecimatedWavelet, Wavelet, WaveletFrame
from recon import check_prior
from recon.operators import FiniteDifference, Identity, from_matrix
from solvers.admm import ADMM
from solvers.data_terms import LeastSquares
from solvers.errors import ArgumentError, DTypeError, OptionError, ShapeError
from solvers.loop import solve


def random(shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.issubdtype(dtype, np.complexfloating) else x).astype(dtype)


PRIORS = [
    (Sparsity(), (6, 5)), (Sparsity(groups=(-1, -2)), (3, 4, 2)), (2 * Sparsity(weights=random(7) ** 2), (4, 7)),
    (Sparsity(FiniteDifference((6, 5))), (6, 5)), (0.5 * Sparsity(WaveletFrame("haar", 2), groups=-3), (5, 6)),
    (UndecimatedWavelet(), (8, 7)), (UndecimatedWavelet("haar", 2, ndim=1), (9,)),
    (UndecimatedWavelet("haar", 1, ndim=3), (3, 4, 5)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Small tensors gain nothing from more, and wait long for them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["sparsity", "undecimated"])
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(f"priors.{name}")).failed == 0


@pytest.mark.parametrize(("prior", "shape"), PRIORS, ids=lambda p: repr(p)[:60])
def test_contract(prior, shape):
    assert check_prior(prior, shape).ok


@pytest.mark.parametrize(("prior", "shape"), PRIORS, ids=lambda p: repr(p)[:60])
def test_prox_is_optimal(prior, shape):
    """The gradient of the quadratic is a subgradient of the prior: its graph lies below the prior's everywhere."""
    v, step = random(shape), 0.3
    v.flags.writeable = False
    x = prior.prox(v, step)
    pull, value = (v - x) / step, prior.value(x)
    for seed in range(10):
        for t in (1.0, 0.1, 0.01):
            d = t * random(shape, seed=seed + 1)
            assert prior.value(x + d) >= value + (pull * d).sum() - 1e-5 * value


@pytest.mark.parametrize(("prior", "shape"), PRIORS[3:], ids=lambda p: repr(p)[:60])
def test_splitting_reaches_the_proximal_map(prior, shape):
    v = random(shape)
    found = solve(ADMM(LeastSquares(Identity(shape), v), prior, 0.3), v, max_iter=3000, tol=1e-8)
    np.testing.assert_allclose(found.image, prior.prox(v, 0.3), atol=2e-3)


# ---------------------------------------------------------------------------------------------------------------------
# Sparsity


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_groups_shrink_together(dtype):
    v, weights = random((2, 3, 4), dtype), np.array([[1.0], [0.0], [0.5]])
    prior = Sparsity(groups=-1, weights=weights)
    sizes = np.linalg.norm(v, axis=-1, keepdims=True)
    np.testing.assert_allclose(prior.prox(v, 1.1), v * np.maximum(1 - 1.1 * weights / sizes, 0), atol=1e-12)
    assert prior.value(v) == pytest.approx((weights * sizes).sum())
    assert Sparsity().prox_from(random((3, 4)), 0.2, bounds=(0, 1))[0].min() >= 0


def test_any_linear_operator_will_do():
    matrix, v = random((7, 5), seed=4), random(5)
    prior = Sparsity(from_matrix(matrix), tol=1e-9, iterations=20000)
    x = prior.prox(v, 0.05)
    assert prior.value(x) == pytest.approx(abs(matrix @ x).sum())
    _, dual = prior.prox_from(v, 0.05)
    assert abs(dual).max() <= 1 + 1e-12
    np.testing.assert_allclose(v - 0.05 * matrix.T @ dual, x, atol=1e-10)
    np.testing.assert_allclose((dual * (matrix @ x)).sum(), abs(matrix @ x).sum(), rtol=1e-6)


def test_sparsity_arguments():
    with pytest.raises(DTypeError, match="operator is 3"):
        Sparsity(3)
    with pytest.raises(ArgumentError, match="groups is 0"):
        Sparsity(groups=0)
    with pytest.raises(DTypeError, match="groups is 'rows'"):
        Sparsity(groups="rows")
    with pytest.raises(ArgumentError, match="weights are -1"):
        Sparsity(weights=-1.0)
    with pytest.raises(ShapeError, match="at least 2 axes"):
        Sparsity(groups=-2).prox(np.zeros(3), 1)


# ---------------------------------------------------------------------------------------------------------------------
# Undecimated wavelets


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(
    ("wavelet", "levels", "shape"), [("haar", 3, (9,)), ("db4", 2, (8, 11)), ("sym4", 1, (3, 4, 1))]
)
def test_frame_is_tight(wavelet, levels, shape, dtype):
    W, x = WaveletFrame(wavelet, levels, len(shape)), random((2, *shape), dtype)
    z = W(x)
    assert z.shape == (2, levels * (2 ** len(shape) - 1) + 1, *shape)
    np.testing.assert_allclose(W.adjoint(z), x, atol=1e-12)
    assert np.linalg.norm(z) == pytest.approx(np.linalg.norm(x), rel=1e-12)
    other = random(z.shape, dtype, 1)
    assert np.vdot(other, z) == pytest.approx(np.vdot(W.adjoint(other), x), rel=1e-10)
    np.testing.assert_allclose(W(torch.tensor(x)).numpy(), z, atol=1e-12)
    assert W(x.astype(np.float32 if dtype is np.float64 else np.complex64)).dtype.itemsize * 2 == x.dtype.itemsize


@pytest.mark.parametrize("wavelet", ["haar", "db3"])
def test_frame_agrees_with_pywavelets(wavelet):
    x = random((16, 24))
    scales = pywt.swt2(x, wavelet, 2, norm=True, trim_approx=True)[1:][::-1]  # fine to coarse
    z = WaveletFrame(wavelet, 2)(x)
    for level, scale in enumerate(scales):
        sums = sorted(abs(band).sum() for band in scale)
        np.testing.assert_allclose(sorted(abs(z[3 * level : 3 * level + 3]).sum(axis=(1, 2))), sums, rtol=1e-10)


def test_undecimated_is_the_average_over_shifts():
    x = random((8, 8))
    shifted = [np.roll(x, (i, j), (0, 1)) for i in range(4) for j in range(4)]
    mean = np.mean([Wavelet("db2", 2).value(image) for image in shifted])
    assert UndecimatedWavelet("db2", 2).value(x) == pytest.approx(mean, rel=1e-10)


def test_undecimated_denoises_better():
    i, j = np.mgrid[0:48, 0:48]
    truth = ((i - 24) ** 2 + (j - 20) ** 2 < 200) + 0.01 * j
    v = truth + 0.2 * random(truth.shape)

    def error(prior):
        return min(((prior.prox(v, step) - truth) ** 2).mean() for step in (0.3, 0.5, 0.8))

    assert error(UndecimatedWavelet("haar", tol=1e-4)) < 0.7 * error(Wavelet("haar", 3))


def test_undecimated_arguments():
    with pytest.raises(OptionError, match="Did you mean 'db4'"):
        UndecimatedWavelet("dv4")
    with pytest.raises(ArgumentError, match="levels is 0"):
        UndecimatedWavelet(levels=0)
    with pytest.raises(ArgumentError, match="ndim is 4"):
        WaveletFrame(ndim=4)
