"""Smoothness of any order, entropy, and constraints: simplex, known region, balls."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize
from scipy.special import lambertw

import solvers
from priors import Entropy, HuberTV, KnownRegion, Laplacian, NonNegative, NormBall, Simplex, Sobolev, Tikhonov
from priors.differences import Gradient
from priors.entropy import lambert_of_exp
from priors.sobolev import FractionalLaplacian
from recon import check_prior
from recon.operators import Blur, Identity
from solvers.admm import ADMM
from solvers.data_terms import LeastSquares
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OptionError, ShapeError
from solvers.loop import solve


def random(shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.issubdtype(dtype, np.complexfloating) else x).astype(dtype)


MASK = random((6, 5), seed=7) > 0
SMOOTH = [(Sobolev(), (6, 7)), (Sobolev(1.5, 3, 0.5), (3, 4, 5)), (0.3 * Laplacian(1), (9,))]
PRIORS = [
    *SMOOTH, (Entropy(0.7), (6, 5)), (2 * Entropy(), (9,)), (Simplex(-1, 2.0), (4, 5)), (Simplex(-3), (3, 4, 5)),
    (KnownRegion(MASK, random((6, 5), seed=8)), (6, 5)), (KnownRegion(MASK), (6, 5)),
    (NormBall(1.0), (6, 5)), (NormBall(1.0, "l1"), (6, 5)), (NormBall(0.4, "max", center=random((6, 5))), (6, 5)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Small tensors gain nothing from more, and wait long for them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["entropy", "sets", "sobolev"])
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(f"priors.{name}")).failed == 0


@pytest.mark.parametrize(("prior", "shape"), PRIORS, ids=lambda p: repr(p)[:60])
def test_contract(prior, shape):
    assert check_prior(prior, shape, tolerance=1e-9).ok


@pytest.mark.parametrize(("prior", "shape"), PRIORS, ids=lambda p: repr(p)[:60])
def test_prox_is_optimal(prior, shape):
    """``<v - p, u - p> <= step (g(u) - g(p))`` for every u: the optimality condition, whatever the kind of prior."""
    v, step = random(shape), 0.4
    v.flags.writeable = False
    p = prior.prox(v, step)
    for seed in range(20):
        u = prior.prox(p + random(shape, seed=seed + 1), 0.1)  # somewhere the prior is finite
        assert ((v - p) * (u - p)).sum() <= step * (prior.value(u) - prior.value(p)) + 1e-9


# ---------------------------------------------------------------------------------------------------------------------
# Smoothness


@pytest.mark.parametrize(("prior", "shape"), SMOOTH, ids=lambda p: repr(p)[:60])
def test_smoothness_is_quadratic(prior, shape):
    x = random(shape)
    gradient = prior.gradient(x)
    assert 0.5 * (x * gradient).sum() == pytest.approx(prior.value(x), rel=1e-10)
    p = prior.prox(x, 0.7)
    np.testing.assert_allclose(p + 0.7 * prior.gradient(p), x, atol=1e-10)


DIFFERENTIABLE = [
    (HuberTV(0.3), (6, 5)),
    (2.0 * HuberTV(0.3, isotropic=False, spacing=(1.0, 2.0)), (6, 5)),
    (HuberTV(0.2, 3, channel_axis=-4), (2, 3, 4, 3)),
    (0.7 * Entropy(0.6), (6, 5)),
]


@pytest.mark.parametrize(("prior", "shape"), DIFFERENTIABLE, ids=lambda p: repr(p)[:60])
def test_gradients_are_those_of_finite_differences(prior, shape):
    x, d, h = 0.1 + np.abs(random(shape)), random(shape, seed=1), 1e-6
    numeric = (prior.value(x + h * d) - prior.value(x - h * d)) / (2 * h)
    assert (prior.gradient(x) * d).sum() == pytest.approx(numeric, rel=1e-6)
    terms = sum(t.adjoint(t.function.gradient(t.apply(x))) for t in prior.terms())
    np.testing.assert_allclose(terms, prior.gradient(x), atol=1e-12)


@pytest.mark.parametrize("name", ["LBFGS", "OGM", "GradientDescent", "OrderedSubsets"])
def test_gradient_solvers_reach_the_minimiser_of_huber_tv(name):
    A, y = Blur(np.ones((3, 3)) / 9, (8, 9)), random((8, 9))
    data, prior = LeastSquares(A, y), HuberTV(0.1)
    wanted = solve(ADMM(data, prior, 0.2), 0 * y, max_iter=3000, tol=1e-12).image
    found = solve(getattr(solvers, name)(data, prior, 0.2), 0 * y, max_iter=3000, tol=1e-10).image
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_quasi_newton_reaches_the_minimiser_of_the_entropy():
    y = random((8, 9))
    data, prior = LeastSquares(Identity(y.shape), y), Entropy(0.5)
    found = solve(solvers.LBFGS(data, prior, 0.3), np.full(y.shape, 0.5), max_iter=500, tol=1e-12).image
    np.testing.assert_allclose(found, prior.prox(y, 0.3), atol=1e-6)
    with pytest.raises(ArgumentError, match="no bound of its curvature"):
        solve(solvers.OGM(data, prior, 0.3), y)


def test_orders_one_and_two_are_gradient_and_laplacian():
    x, K = random((2, 8, 7)), Gradient(periodic=True, spacing=(1.0, 0.5))
    assert Sobolev(1, spacing=(1.0, 0.5)).value(x) == pytest.approx(Tikhonov(K).value(x), rel=1e-12)
    laplacian = K.adjoint(K(x))
    assert Laplacian(spacing=(1.0, 0.5)).value(x) == pytest.approx(0.5 * (laplacian**2).sum(), rel=1e-12)
    np.testing.assert_allclose(FractionalLaplacian(2, 2, (1.0, 0.5))(x), laplacian, atol=1e-12)
    assert Laplacian() == Laplacian(2) and "Laplacian(ndim=2" in repr(Laplacian())


def test_smoothness_arguments():
    with pytest.raises(ArgumentError, match="order is 0"):
        Sobolev(0)
    with pytest.raises(ArgumentError, match="ndim is 4"):
        Laplacian(4)


# ---------------------------------------------------------------------------------------------------------------------
# Entropy


def test_lambert():
    a = np.concatenate([np.linspace(-30, 30, 241), [-700.0, 1e3, 1e6]])
    w = lambert_of_exp(a)
    np.testing.assert_allclose(w[:241], lambertw(np.exp(a[:241])).real, rtol=1e-12)
    np.testing.assert_allclose(w[-2:] + np.log(w[-2:]), a[-2:], rtol=1e-14)
    np.testing.assert_allclose(lambert_of_exp(torch.tensor(a)).numpy(), w, rtol=1e-12)


def test_entropy_prox_is_the_root():
    v, step, level = np.linspace(-4, 6, 11), 0.8, 1.7
    roots = [brentq(lambda x, at=at: step * np.log(x / level) + x - at, 1e-12, 50, xtol=1e-14) for at in v]
    np.testing.assert_allclose(Entropy(level).prox(v, step), roots, rtol=1e-9)
    np.testing.assert_array_equal(Entropy().prox(v, 0.0), np.maximum(v, 0))
    t = torch.tensor(v, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: Entropy(level).prox(v, step), (t,))
    assert Entropy().prox(np.array([1e4, -1e4], np.float32), 1e-3).dtype == np.float32


def test_entropy_values():
    assert Entropy(3.0).value(np.full((2, 2), 3.0)) == 0
    assert Entropy(3.0).value(np.zeros(2)) == pytest.approx(6.0)
    assert Entropy().value(np.array([-1e-9, 1.0])) == np.inf
    with pytest.raises(ArgumentError, match="level is 0"):
        Entropy(0)
    with pytest.raises(DTypeError, match="real images"):
        Entropy().prox(np.zeros(3, complex), 1)


# ---------------------------------------------------------------------------------------------------------------------
# Constraints


def test_simplex_is_the_nearest_point():
    v = random(5)
    found = minimize(
        lambda x: ((x - v) ** 2).sum(), np.full(5, 0.4), bounds=[(0, None)] * 5, method="SLSQP", tol=1e-14,
        constraints={"type": "eq", "fun": lambda x: x.sum() - 2},
    )  # fmt: skip
    np.testing.assert_allclose(Simplex(total=2.0).prox(v, 1.0), found.x, atol=1e-6)
    image = random((3, 4, 5))
    x = Simplex(-3).prox(image, 1.0)
    np.testing.assert_allclose(x.sum(0), 1)
    np.testing.assert_allclose(x[:, 1, 2], Simplex().prox(image[:, 1, 2], 1.0), atol=1e-14)
    assert Simplex().value(np.array([0.5, 0.6])) == np.inf == Simplex().value(np.array([1.5, -0.5]))
    assert Simplex().prox(random((4, 300), np.float32), 1.0).sum(-1) == pytest.approx(1, abs=1e-5)


def test_known_pixels_are_kept():
    v, values = random((2, 6, 5), np.complex128), random((6, 5), np.complex128, 1)
    x = KnownRegion(MASK, values).prox(v, 1.0)
    np.testing.assert_array_equal(x[:, MASK], np.broadcast_to(values[MASK], (2, MASK.sum())))
    np.testing.assert_array_equal(x[:, ~MASK], v[:, ~MASK])
    assert KnownRegion(MASK, np.where(MASK, 1.0, np.nan)).prox(v.real, 1.0)[0, MASK].tolist() == [1.0] * MASK.sum()
    assert KnownRegion(MASK, values).value(v) == np.inf


@pytest.mark.parametrize(("norm", "order"), [("l1", 1), ("l2", 2), ("max", np.inf)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_balls(norm, order, dtype):
    v, center = random((2, 6, 5), dtype), random((6, 5), dtype, 1)
    ball = NormBall(0.5, norm, center)
    x = ball.prox(v, 1.0)
    for image in x:
        assert np.linalg.norm((image - center).ravel(), order) == pytest.approx(0.5, rel=1e-9)
    inside = center + 1e-3 * v
    np.testing.assert_allclose(ball.prox(inside, 1.0), inside, rtol=1e-12)
    assert ball.value(inside) == 0 and ball.value(v) == np.inf
    turned = np.exp(0.3j)
    if dtype is np.complex128:
        np.testing.assert_allclose(NormBall(0.5, norm).prox(v * turned, 1.0), NormBall(0.5, norm).prox(v, 1.0) * turned)


def test_constraints_split():
    v = random((3, 4, 5))
    prior = Simplex(-3) + KnownRegion(np.arange(5) == 0, 1 / 3)
    found = solve(ADMM(LeastSquares(Identity((3, 4, 5)), v), prior, 0.0), v, max_iter=500, tol=1e-8)
    np.testing.assert_allclose(found.image.sum(0), 1, atol=1e-3)
    np.testing.assert_allclose(found.image[..., 0], 1 / 3, atol=1e-3)
    assert prior.is_constraint and (NonNegative() + NormBall(1.0)).is_constraint


def test_constraint_arguments():
    with pytest.raises(ArgumentError, match="axis is 0"):
        Simplex(0)
    with pytest.raises(DTypeError, match="real images"):
        Simplex().prox(np.zeros(3, complex), 1)
    with pytest.raises(DTypeError, match="mask has dtype"):
        KnownRegion(np.zeros(3))
    with pytest.raises(ShapeError, match="values have shape"):
        KnownRegion(np.zeros(3, bool), np.zeros(4))
    with pytest.raises(NonFiniteError, match="values"):
        KnownRegion(np.ones(3, bool), np.nan)
    with pytest.raises(ShapeError, match="the mask has"):
        KnownRegion(np.ones(3, bool)).prox(np.zeros(4), 1)
    with pytest.raises(OptionError, match="Did you mean 'max'"):
        NormBall(1.0, "maxx")
    with pytest.raises(ArgumentError, match="radius is 0"):
        NormBall(0)
