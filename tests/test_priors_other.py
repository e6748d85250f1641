"""Wavelets, Tikhonov, constraints, and how priors combine."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import pywt
import torch

import priors
from priors import TGV, Box, Gradient, NonNegative, Prior, Tikhonov, TotalVariation, Wavelet
from priors.group_norm import GroupNorm
from solvers.errors import ArgumentError, DTypeError, OperatorError, OptionError, ShapeError

PRIORS = [
    TotalVariation(), TotalVariation(isotropic=False), TotalVariation(1), TotalVariation(channel_axis=-3), Wavelet(),
    Wavelet("haar", 2), Tikhonov(), Tikhonov(Gradient(periodic=True)), Box(-0.5, 0.5), NonNegative(),
    0.7 * TotalVariation(), Tikhonov() + Box(-1, 0.5), TotalVariation() + NonNegative(),
]  # fmt: skip


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


# ---------------------------------------------------------------------------------------------------------------------
# What every prior does


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_prox_minimises_its_objective(prior):
    v, step = random((3, 10, 13)), 0.3
    v.flags.writeable = False
    x = prior.prox(v, step)

    def objective(u):
        return step * prior.value(u) + 0.5 * ((u - v) ** 2).sum()

    least = objective(x)
    assert np.isfinite(least)
    for seed in range(15):
        for t in (0.3, 0.01):
            u = x + t * random(v.shape, seed=seed + 1)
            assert objective(u) >= least + 0.5 * ((u - x) ** 2).sum() - 2e-6 * least


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_prox_is_firmly_nonexpansive(prior):
    a, b = random((3, 10, 13)), random((3, 10, 13), seed=1)
    b = a + 0.1 * b
    pa, pb = prior.prox(a, 0.3), prior.prox(b, 0.3)
    assert ((pa - pb) ** 2).sum() <= ((pa - pb) * (a - b)).sum() + 1e-3 * ((a - b) ** 2).sum()


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_torch_gives_the_same_with_gradients(prior):
    v = random((3, 6, 5))
    t = torch.tensor(v, requires_grad=True)
    np.testing.assert_allclose(prior.prox(t, 0.3).detach().numpy(), prior.prox(v, 0.3), atol=1e-3)
    value = prior.value(t)
    assert value.ndim == 0
    np.testing.assert_allclose(value.detach().numpy(), prior.value(v), rtol=1e-12)
    assert isinstance(prior.value(v), float)
    prior.prox(t, 0.3).sum().backward()
    assert torch.isfinite(t.grad).all() and t.grad.abs().max() > 0


@pytest.mark.parametrize("prior", [p for p in PRIORS if "Variation" not in repr(p)], ids=repr)
def test_dtypes_are_kept(prior):
    v = random((3, 6, 5), np.float32)
    before = v.copy()
    assert prior.prox(v, np.float64(0.3)).dtype == np.float32
    assert prior.prox(torch.from_numpy(v), 0.3).dtype == torch.float32
    np.testing.assert_array_equal(v, before)
    assert not np.shares_memory(prior.prox(v, 0.0), v)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_every_prior_can_be_started_from_its_dual(prior):
    v = random((3, 6, 5))
    x, dual = prior.prox_from(v, 0.3)
    np.testing.assert_array_equal(x, prior.prox(v, 0.3))
    again, _ = prior.prox_from(v, 0.3, dual, iterations=3)
    np.testing.assert_allclose(again, x, atol=1e-3)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_pickles(prior):
    again = pickle.loads(pickle.dumps(prior))
    v = random((3, 6, 5))
    assert repr(again) == repr(prior)
    np.testing.assert_array_equal(again.prox(v, 0.3), prior.prox(v, 0.3))


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_terms_add_up_to_the_value(prior):
    x = prior.prox(random((3, 6, 5)), 0.2)
    assert sum(term.function.value(term.apply(x)) for term in prior.terms()) == pytest.approx(prior.value(x))


# ---------------------------------------------------------------------------------------------------------------------
# Wavelets


@pytest.mark.parametrize("name", ["haar", "db4", "sym8"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("shape", [(2, 32, 48), (33, 47), (7, 64), (5, 1, 9), (2, 2), (3, 6)])
def test_wavelet_transform_is_orthonormal(name, shape, dtype):
    prior, x = Wavelet(name), random(shape, dtype)
    bands = prior._split(x)
    assert sum((abs(band) ** 2).sum() for band in bands.values()) == pytest.approx((abs(x) ** 2).sum(), rel=1e-12)
    np.testing.assert_allclose(prior._merge(bands), x, atol=1e-12)
    np.testing.assert_allclose(prior.prox(x, 0.0), x, atol=1e-12)
    torch_bands = prior._split(torch.tensor(x))
    for key, band in bands.items():
        np.testing.assert_allclose(torch_bands[key].numpy(), band, atol=1e-12)


def test_wavelet_agrees_with_pywavelets():
    x, step = random((64, 96)), 0.4
    coarse, *details = pywt.wavedec2(x, "db4", "periodization", level=3)
    shrunk = [tuple(pywt.threshold(d, step, "soft") for d in scale) for scale in details]
    prior = Wavelet("db4", 3)
    assert prior.value(x) == pytest.approx(sum(abs(d).sum() for scale in details for d in scale), rel=1e-12)
    wanted = pywt.waverec2([coarse, *shrunk], "db4", "periodization")
    np.testing.assert_allclose(prior.prox(x, step), wanted, atol=1e-12)
    np.testing.assert_allclose(prior.prox(torch.tensor(x), step).numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("shape", [(31, 45), (16, 16), (1, 8)])
def test_wavelet_keeps_constants_and_shrinks_moduli(shape):
    prior = Wavelet()
    constant = np.full(shape, 3.0)
    assert prior.value(constant) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(prior.prox(constant, 10.0), constant, atol=1e-10)
    x, phase = random(shape), np.exp(0.7j)
    np.testing.assert_allclose(prior.prox(phase * x, 0.3), phase * prior.prox(x, 0.3), atol=1e-12)
    assert prior.value(phase * x) == pytest.approx(prior.value(x))


def test_wavelet_gradients():
    v = torch.tensor(random((5, 6)), requires_grad=True)
    step = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    prior = Wavelet("db2", 2)
    assert torch.autograd.gradcheck(lambda v, s: prior.prox(v, s), (v, step))
    assert torch.autograd.gradcheck(prior.value, (v,))


def test_wavelet_arguments():
    with pytest.raises(OptionError, match="Did you mean 'db4'"):
        Wavelet("dv4")
    with pytest.raises(ArgumentError, match="orthogonal"):
        Wavelet("bior2.2")
    with pytest.raises(ArgumentError, match="levels is 0"):
        Wavelet(levels=0)


# ---------------------------------------------------------------------------------------------------------------------
# Tikhonov and constraints


def test_tikhonov_solves_its_normal_equations():
    v, K = random((2, 8, 9), np.complex128), Gradient(spacing=(1.0, 0.5), periodic=True)
    x = Tikhonov(K).prox(v, 0.7)
    np.testing.assert_allclose(x + 0.7 * K.adjoint(K(x)), v, atol=1e-12)
    np.testing.assert_allclose(Tikhonov().prox(v, 0.7), v / 1.7, rtol=1e-12)
    assert Tikhonov(K).value(v) == pytest.approx(0.5 * np.linalg.norm(K(v)) ** 2)
    (term,) = (3 * Tikhonov(Gradient())).terms()
    assert term.function.value(term.apply(v)) == pytest.approx(1.5 * np.linalg.norm(Gradient()(v)) ** 2)
    with pytest.raises(OperatorError, match="ADMM"):
        Tikhonov(Gradient()).prox(v, 1.0)


def test_box_projects():
    v = random((4, 5))
    np.testing.assert_array_equal(Box(-0.1, 0.2).prox(v, 3.0), np.clip(v, -0.1, 0.2))
    np.testing.assert_array_equal(Box(upper=v).prox(v + 1, 3.0), v)
    np.testing.assert_array_equal(Box(lower=v).prox(torch.tensor(v - 1), 3.0).numpy(), v)
    assert Box(0, 1).value(np.array([0.0, 1.0])) == 0 and Box(0, 1).value(np.array([0.0, 1.1])) == np.inf
    assert NonNegative().value(np.array([np.nan])) == np.inf
    assert Box(0, 1).is_constraint and not Tikhonov().is_constraint
    assert (Box(0, 1) + NonNegative()).is_constraint and not (Box(0, 1) + Tikhonov()).is_constraint


def test_box_arguments():
    for bounds in ((1, 0), (np.nan, 1), (np.array([0, 2]), 1)):
        with pytest.raises(ArgumentError, match="lower <= upper"):
            Box(*bounds)
    with pytest.raises(DTypeError, match="complex"):
        Box(0, 1).prox(np.zeros(3, complex), 1)
    with pytest.raises(DTypeError, match="lower has dtype"):
        Box(1j, 2)
    with pytest.raises(ArgumentError, match="lower <= upper"):
        (Box(0, 1) + Box(2, 3)).prox(np.zeros(3), 1)


# ---------------------------------------------------------------------------------------------------------------------
# Sums and multiples


def test_multiples_scale_the_step():
    v = random((8, 9))
    for prior in (TotalVariation(), Wavelet("haar"), Tikhonov()):
        scaled = 2 * (prior * 1.5)
        np.testing.assert_array_equal(scaled.prox(v, 0.1), prior.prox(v, 0.1 * 3))
        assert scaled.value(v) == pytest.approx(3 * prior.value(v))
    assert 5 * NonNegative() is not None and (5 * Box(0, 1)).bounds == (0, 1)


def test_sums():
    v = random((8, 9))
    both = 0.3 * TotalVariation() + 0.2 * Wavelet("haar") + NonNegative()
    x = abs(v)
    assert both.value(x) == pytest.approx(0.3 * TotalVariation().value(x) + 0.2 * Wavelet("haar").value(x))
    first, second, third = both.terms()
    assert isinstance(first.function, GroupNorm) and first.function.weight == 0.3
    assert second.operator is None and third.function.is_constraint
    assert (2 * both).terms()[0].function.weight == 0.6
    with pytest.raises(OperatorError, match="Use a solver that splits"):
        both.prox(v, 1.0)
    with pytest.raises(OperatorError, match="within bounds"):
        (Wavelet() + NonNegative()).prox(v, 1.0)
    np.testing.assert_array_equal((Box(-2, 0.5) + Box(-0.5, 2)).prox(v, 1.0), np.clip(v, -0.5, 0.5))
    assert repr(both).count("+") == 2


def test_wrong_factors_and_arguments():
    for factor in (0, -1, np.inf, np.nan):
        with pytest.raises(ArgumentError, match="factor"):
            factor * Tikhonov()
    with pytest.raises(TypeError):
        "2" * Tikhonov()
    with pytest.raises(TypeError):
        Tikhonov() + 1
    with pytest.raises(DTypeError, match="step"):
        Tikhonov().prox(np.zeros(3), "1")
    with pytest.raises(DTypeError, match="v has dtype"):
        Tikhonov().prox(np.array(["a"]), 1)
    with pytest.raises(ShapeError, match="at least 2 axes"):
        (Tikhonov() + Wavelet()).value(np.zeros(3))


def test_exports_are_lazy():
    code = "import sys, priors; priors.Box; assert not {'numba', 'torch', 'pywt'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(hasattr(priors, name) for name in priors.__all__)
    assert issubclass(priors.TotalVariation, Prior)
    with pytest.raises(AttributeError, match="nothing"):
        priors.nothing  # noqa: B018


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_estimates_are_near_values(prior):
    x = prior.prox(random((3, 6, 5)), 0.2)
    assert prior.estimate(x) == pytest.approx(prior.value(x), rel=1e-6)


def test_estimates_of_second_order_bound_values():
    prior, x = 0.5 * TGV() + NonNegative(), abs(random((12, 10)))
    assert prior.value(x) * (1 - 1e-3) <= prior.estimate(x) <= 1.3 * prior.value(x)
