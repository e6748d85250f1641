"""Huber, vectorial and directional total variation."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch

from priors import DirectionalTV, HuberTV, NonNegative, TotalVariation, VectorialTV, layout
from priors.differences import Gradient
from priors.vectorial import JacobianNorm
from recon import check_prior
from recon.operators import Identity
from solvers.admm import ADMM
from solvers.data_terms import LeastSquares
from solvers.errors import ArgumentError, OperatorError, ShapeError
from solvers.loop import solve


def random(shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.issubdtype(dtype, np.complexfloating) else x).astype(dtype)


PRIORS = [
    (HuberTV(0.3), (7, 6)), (HuberTV(0.3, isotropic=False, spacing=(0.5, 2.0)), (7, 6)), (HuberTV(1.0, 1), (9,)),
    (HuberTV(0.2, 3), (3, 4, 5)), (0.5 * HuberTV(0.3, channel_axis=-3), (2, 5, 6)),
    (VectorialTV(), (3, 6, 5)), (0.5 * VectorialTV(-4, 3, spacing=2.0), (2, 3, 3, 4)), (VectorialTV(-2, 1), (2, 9)),
    (DirectionalTV(random((6, 7), seed=9), 0.9), (6, 7)), (DirectionalTV(random((3, 4, 5)), spacing=0.5), (3, 4, 5)),
    (0.5 * DirectionalTV(random((6, 5), seed=9), channel_axis=-3), (2, 6, 5)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Small tensors gain nothing from more, and wait long for them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["composite", "directional", "huber", "total_generalised_variation", "vectorial"])
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


@pytest.mark.parametrize(("prior", "shape"), PRIORS, ids=lambda p: repr(p)[:60])
def test_splitting_reaches_the_proximal_map(prior, shape):
    """ADMM with its terms, whose differences wrap around, finds what the proximal map finds without them."""
    v = random(shape)
    found = solve(ADMM(LeastSquares(Identity(shape), v), prior, 0.3), v, max_iter=3000, tol=1e-8)
    np.testing.assert_allclose(found.image, prior.prox(v, 0.3), atol=2e-3)


def test_composites_start_from_duals_and_keep_bounds():
    v, prior = random((2, 9, 8)), HuberTV(0.2, tol=1e-9, iterations=20000)
    x, dual = prior.prox_from(v, 0.3)
    again, _ = prior.prox_from(v, 0.3, dual, iterations=3)
    np.testing.assert_allclose(again, x, atol=1e-4)
    np.testing.assert_array_equal(prior.prox(v, 0.0), v)
    assert prior.prox(v[:0], 0.3).shape == (0, 9, 8)
    bounded = (prior + NonNegative()).prox(v, 0.3)
    assert bounded.min() >= 0
    rival = np.maximum(x, 0)
    objective = [0.3 * prior.value(u) + 0.5 * ((u - v) ** 2).sum() for u in (bounded, rival)]
    assert objective[0] < objective[1] - 1e-6
    with pytest.raises(ShapeError, match="dual has shape"):
        prior.prox_from(v, 0.3, dual[0])
    with pytest.warns(RuntimeWarning, match="Raise iterations"):
        HuberTV(0.1, iterations=10).prox(random((20, 20)), 3.0)


# ---------------------------------------------------------------------------------------------------------------------
# Huber


def test_huber_is_its_definition():
    x, delta = random((6, 7)), 0.7
    K = Gradient()
    sizes = np.sqrt((K(x) ** 2).sum(0))
    wanted = np.where(sizes <= delta, sizes**2 / (2 * delta), sizes - delta / 2).sum()
    assert HuberTV(delta).value(x) == pytest.approx(wanted, rel=1e-12)
    (term,) = HuberTV(delta).terms()
    z = random((2, 6, 7), seed=1)
    p = term.function.prox(z, 0.4)
    size = np.sqrt((p[:, :-1, :-1] ** 2).sum(0))
    moved = (z - p)[:, :-1, :-1]
    slope = np.where(size <= delta, size / delta, 1.0)  # h'(|p|), along p
    np.testing.assert_allclose(moved, 0.4 * slope * p[:, :-1, :-1] / size, atol=1e-12)


def test_huber_lies_between_total_variation_and_its_square():
    v = random((9, 8))
    np.testing.assert_allclose(
        HuberTV(1e-6, tol=1e-7, iterations=20000).prox(v, 0.3),
        TotalVariation(tol=1e-9, iterations=20000).prox(v, 0.3), atol=1e-3,
    )  # fmt: skip
    K = Gradient()
    x = HuberTV(100.0, tol=1e-12).prox(v, 50.0)
    np.testing.assert_allclose(x + 0.5 * K.adjoint(K(x)), v, atol=1e-4)


def test_huber_keeps_slopes():
    ramp = np.linspace(0, 1, 40)
    v = ramp + 0.03 * random(40)
    smooth, steps = HuberTV(0.05, 1).prox(v, 0.2), TotalVariation(1).prox(v, 0.2)
    assert abs(smooth - ramp)[5:-5].max() < abs(steps - ramp)[5:-5].max()
    assert (np.diff(steps) == 0).mean() > 0.3 > (abs(np.diff(smooth)) < 1e-6).mean()


# ---------------------------------------------------------------------------------------------------------------------
# Vectorial


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(("ndim", "spatial"), [(1, (6,)), (2, (4, 5)), (3, (3, 4, 2))])
def test_jacobians_shrink_in_singular_values(ndim, spatial, dtype):
    z = random((2, 3, ndim, *spatial), dtype)
    z[0, :, :, 0] = 0  # no singular value
    z[0, 1:, :, 1] = 0  # one
    norm = 1.5 * JacobianNorm(Gradient(ndim), -ndim - 1)
    plain = JacobianNorm(Gradient(ndim), -ndim - 1)
    u, sigma, v = np.linalg.svd(np.moveaxis(z, (1, 2), (-2, -1)), full_matrices=False)
    wanted = np.moveaxis((u * np.maximum(sigma - 0.6, 0)[..., None, :]) @ v, (-2, -1), (1, 2))
    for given in (z, torch.tensor(z)):
        np.testing.assert_allclose(np.asarray(norm.prox(given, 0.4)), wanted, atol=1e-12)
        assert float(norm.value(given)) == pytest.approx(1.5 * sigma.sum(), rel=1e-12)
    assert plain.estimate(z) == pytest.approx(sigma.sum(), rel=1e-6)


def test_vectorial_of_one_channel_is_total_variation():
    x = random((1, 9, 8))
    assert VectorialTV().value(x) == pytest.approx(TotalVariation().value(x), rel=1e-12)
    np.testing.assert_allclose(VectorialTV().prox(x, 0.3), TotalVariation().prox(x, 0.3), atol=2e-3)


def test_vectorial_prefers_parallel_gradients():
    i, j = np.mgrid[0:12, 0:12].astype(float)
    parallel, crossed, coupled = np.stack([i, 2 * i]), np.stack([i, 2 * j]), TotalVariation(channel_axis=-3)
    assert coupled.value(parallel) == pytest.approx(coupled.value(crossed), rel=0.05)  # but for the border
    assert VectorialTV().value(parallel) < 0.8 * VectorialTV().value(crossed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("shape", [(3, 7, 6), (2, 2, 1, 5), (1, 70, 80)])
def test_kernels_of_pixels_compute_the_equations(monkeypatch, shape, dtype):
    monkeypatch.setattr(layout, "CHUNK", 1000)
    guide = random(shape[-2:], seed=5)
    for prior in (VectorialTV(), DirectionalTV(guide, 0.9), DirectionalTV(guide, channel_axis=-3)):
        (term,) = (0.7 * prior).terms()
        z = random(term.apply(random(shape, dtype)).shape, dtype, 1)
        z[..., :2, :2] = 0
        z.flags.writeable = False
        wanted = term.function.prox(torch.tensor(z), 0.5).numpy()
        got = term.function.prox(z, 0.5)
        assert got.dtype == z.dtype
        np.testing.assert_allclose(got, wanted, atol=1e-5 if dtype is np.float32 else 1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# Directional


def test_directional_is_its_definition():
    guide, x, eta = random((6, 7)), random((6, 7), seed=1), 0.4
    K, total = Gradient(), 0.0
    slopes, differences = K(guide), K(x)
    for at in np.ndindex(6, 7):
        d = slopes[(slice(None), *at)]
        xi = d / np.sqrt(d @ d + eta**2)
        total += np.linalg.norm(differences[(slice(None), *at)] - 0.9 * xi * (xi @ differences[(slice(None), *at)]))
    prior = DirectionalTV(guide, 0.9, eta)
    assert prior.value(x) == pytest.approx(total, rel=1e-12)
    assert prior.value(np.stack([x, x]) * 1j) == pytest.approx(2 * total, rel=1e-12)


@pytest.mark.parametrize("step", [0.01, 0.4, 3.0])
def test_directional_groups_shrink_as_their_equations_say(step):
    (term,) = (2 * DirectionalTV(random((6, 7)), 1.0, 0.1)).terms()
    norm = term.function.prior if hasattr(term.function, "prior") else term.function
    z = random((2, 6, 7), seed=1)
    p = term.function.prox(z, step)
    axis, squared = norm.axis, norm.along**2
    across = (p * axis).sum(0)
    weighted = p - axis * across + axis * across * squared  # D^2 p
    size = np.sqrt((p * weighted).sum(0))
    kept = norm.counted.all(0) & (size > 0)
    assert kept.any() or step == 3.0
    np.testing.assert_allclose((p + 2 * step * weighted / np.maximum(size, 1e-300))[:, kept], z[:, kept], atol=1e-9)
    pull = (z * axis).sum(0)
    outside = np.sqrt((pull**2 / squared) + ((z - pull * axis) ** 2).sum(0))  # |D^-1 z|
    gone = norm.counted.all(0) & (size == 0)
    assert (outside[gone] <= 2 * step * (1 + 1e-9)).all()


def test_edges_of_the_guide_help():
    i, j = np.mgrid[0:48, 0:48]
    disc = ((i - 24) ** 2 + (j - 20) ** 2 < 150).astype(float)
    truth, guide = 1 - 0.5 * disc, 3 * disc + 0.02 * random((48, 48), seed=3)
    v = truth + 0.2 * random(truth.shape)
    errors = [
        np.linalg.norm(min((prior.prox(v, s) for s in (0.2, 0.4, 0.8)), key=lambda x: ((x - truth) ** 2).sum()) - truth)
        for prior in (DirectionalTV(guide, tol=1e-4), TotalVariation(tol=1e-4))
    ]
    assert errors[0] < 0.6 * errors[1]


def test_directional_and_vectorial_arguments():
    with pytest.raises(ShapeError, match="Resample the guide"):
        DirectionalTV(np.zeros((4, 4))).prox(np.zeros((4, 5)), 1)
    with pytest.raises(ArgumentError, match="gamma is 2"):
        DirectionalTV(np.zeros((4, 4)), gamma=2)
    with pytest.raises(ShapeError, match="real image"):
        DirectionalTV(np.zeros((4, 4), complex))
    with pytest.raises(ArgumentError, match="channel_axis is -2"):
        VectorialTV(-2)
    with pytest.raises(ArgumentError, match="channel_axis is None"):
        VectorialTV(None)


def test_huber_arguments():
    with pytest.raises(ArgumentError, match="delta is 0"):
        HuberTV(0)
    with pytest.raises(ArgumentError, match="channel_axis is -1"):
        HuberTV(0.1, channel_axis=-1)
    with pytest.raises(ArgumentError, match="tol is 2"):
        HuberTV(0.1, tol=2)
    with pytest.raises(OperatorError, match="numbers as bounds"):
        HuberTV(0.1).prox_from(np.zeros((3, 3)), 1, bounds=(np.zeros((3, 3)), np.ones((3, 3))))
