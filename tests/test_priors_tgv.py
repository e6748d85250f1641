"""Total generalised variation: against CVXPY and the definition, its splitting update, ramps without staircases."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from priors import TGV, NonNegative, TotalVariation
from priors.differences import gradient
from priors.second_order import SecondOrder
from priors.second_order_norm import SecondOrderNorm
from priors.symmetrised import existing, symmetrised, symmetrised_adjoint
from recon import check_prior, reconstruct
from recon.operators import Blur
from solvers.admm import ADMM
from solvers.data_terms import LeastSquares
from solvers.errors import ArgumentError, OperatorError, ShapeError
from solvers.loop import solve


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
# Second differences


@pytest.mark.parametrize("shape", [(9,), (8, 7), (4, 5, 6), (1, 5)])
def test_second_differences(shape):
    scales = (1.0, 2.0, 0.5)[: len(shape)]
    w = random((2, len(shape), *shape), np.complex128)
    z = random(symmetrised(w, scales).shape, np.complex128, 1)
    assert np.vdot(z, symmetrised(w, scales)) == pytest.approx(np.vdot(symmetrised_adjoint(z, scales), w), rel=1e-12)
    np.testing.assert_allclose(symmetrised(torch.tensor(w), scales).numpy(), symmetrised(w, scales), atol=1e-13)


def test_second_differences_of_an_image_are_its_hessian():
    i, j = np.mgrid[0:8, 0:9].astype(float)
    x = 2 * i**2 + 3 * i * j - j**2
    bends = symmetrised(gradient(x, 2), (1.0, 1.0))
    counted = existing((8, 9))[2:]
    for part, mask, curvature in zip(bends, counted, (4, 3 * np.sqrt(2), -2), strict=True):
        np.testing.assert_allclose(part[mask], curvature, atol=1e-12)


@pytest.mark.parametrize("shape", [(9,), (8, 7), (4, 5, 6)])
def test_closed_forms_in_fourier(shape):
    K = SecondOrder(len(shape), (0.5, 1.0, 2.0)[: len(shape)])
    x, axes = random((2, *shape), np.complex128), tuple(range(-len(shape), 0))
    z = random(K(x).shape, np.complex128, 1)
    assert np.vdot(z, K(x)) == pytest.approx(np.vdot(K.adjoint(z), x), rel=1e-11)
    by_fourier = np.fft.ifftn(np.fft.fftn(x, axes=axes) * K.fourier_gram(shape), axes=axes)
    np.testing.assert_allclose(by_fourier, K.adjoint(K(x)), atol=1e-12)
    assert np.linalg.norm(K(x)) <= K.norm() * np.linalg.norm(x)
    assert K.norm() ** 2 == pytest.approx(K.fourier_gram((2,) * len(shape)).max(), rel=1e-12)
    h = random((2, len(shape), *shape))
    w = K.best_slopes(h)
    normal = w + K.scale**2 * symmetrised_adjoint(symmetrised(w, K.scales), K.scales)
    np.testing.assert_allclose(normal, h, atol=1e-12)
    base = K.stacked(x)
    np.testing.assert_allclose(K.residual(base, K.best_slopes(K.residual_adjoint(base))), K(x), atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Value and proximal map


@pytest.mark.parametrize(("shape", "ratio"), [((6, 5), 2.0), ((9,), 1.0), ((3, 3, 4), 0.7), ((1, 6), 2.0)])
def test_value_and_prox_are_those_of_cvxpy(shape, ratio):
    cp = pytest.importorskip("cvxpy")
    from priors_list import generalised

    v, prior = random(shape), TGV(ratio, len(shape), tol=1e-6, iterations=20000)
    value, _ = generalised(shape, ratio)(v.ravel())
    assert prior.value(v) == pytest.approx(cp.Problem(cp.Minimize(value)).solve(solver="CLARABEL"), rel=2e-6)
    x = cp.Variable(v.size)
    value, _ = generalised(shape, ratio)(x)
    cp.Problem(cp.Minimize(0.4 * value + 0.5 * cp.sum_squares(x - v.ravel()))).solve(solver="CLARABEL")
    np.testing.assert_allclose(prior.prox(v, 0.4).ravel(), x.value, atol=3e-3)


def test_prox_minimises_the_objective():
    v, step, prior = random((11, 9)), 0.3, TGV(tol=1e-6, iterations=20000)
    x = prior.prox(v, step)

    def objective(u):
        return step * prior.value(u) + 0.5 * ((u - v) ** 2).sum()

    least = objective(x)
    for seed in range(6):
        for t in (0.3, 0.03, -0.01):
            u = x + t * random(v.shape, seed=seed + 1)
            assert objective(u) >= least + 0.5 * ((u - x) ** 2).sum() - 5e-6 * least


def test_prox_and_dual_satisfy_the_optimality_conditions():
    v, step, prior = random((12, 10)), 0.3, TGV(tol=1e-7, iterations=20000)
    x = prior.prox(v, step)
    pull = (v - x) / step  # a subgradient at x: the value is at least <pull, u> everywhere, with equality at x
    assert (pull * x).sum() == pytest.approx(prior.value(x), rel=1e-4)
    for seed in range(5):
        u = random(v.shape, seed=seed + 1)
        assert (pull * u).sum() <= prior.value(u)


def test_affine_images_cost_nothing_and_stay():
    ramp = np.add.outer(3 * np.arange(12.0), -2 * np.arange(15.0)) + 5
    assert TGV().value(ramp) <= 1e-9
    np.testing.assert_allclose(TGV(tol=1e-5).prox(ramp, 0.5), ramp, atol=1e-2)
    volume = np.add.outer(np.add.outer(np.arange(5.0), 2 * np.arange(6.0)), -np.arange(7.0))
    assert TGV(ndim=3).value(volume) <= 1e-9


def test_a_step_edge_costs_what_total_variation_says():
    x = np.zeros((16, 20))
    x[:, 9:] = 1.0
    assert TGV(ratio=50.0, tol=1e-5, iterations=5000).value(x) == pytest.approx(16.0, rel=1e-3)
    assert TGV(ratio=0.01).value(x) < 1.0


@pytest.mark.parametrize(("channel_axis", "dtype"), [(None, np.complex128), (-3, np.float64)])
def test_phase_and_channels(channel_axis, dtype):
    x, prior = random((2, 7, 8), dtype), TGV(channel_axis=channel_axis, tol=1e-6)
    turned = x * np.exp(0.7j) if channel_axis is None else np.stack([0.6 * x[0] - 0.8 * x[1], 0.8 * x[0] + 0.6 * x[1]])
    assert prior.value(turned) == pytest.approx(prior.value(x), rel=1e-5)
    repeated = np.stack([x.real[0]] * 4) / 2
    assert TGV(channel_axis=-3, tol=1e-6).value(repeated) == pytest.approx(TGV(tol=1e-6).value(x.real[0]), rel=1e-5)


def test_spacing_measures_lengths():
    x = random((9, 8))
    assert TGV(ratio=2.0, spacing=0.5, tol=1e-6).value(x) == pytest.approx(2 * TGV(4.0, tol=1e-6).value(x), rel=1e-5)


def test_contract():
    assert check_prior(TGV(tol=2e-3), (6, 5), tolerance=5e-3).ok
    assert check_prior(0.5 * TGV(ndim=1, tol=2e-3), (9,), tolerance=5e-3).ok


def test_warm_starts_and_batches():
    v, prior = random((2, 14, 12)), TGV(tol=1e-6, iterations=5000)
    x, dual = prior.prox_from(v, 0.3)
    again, _ = prior.prox_from(v, 0.3, dual, iterations=10)
    np.testing.assert_allclose(again, x, atol=1e-3)
    np.testing.assert_array_equal(prior.prox_from(v[1], 0.3, dual[1], iterations=5)[0],
                                  prior.prox_from(v, 0.3, dual, iterations=5)[0][1])  # fmt: skip
    assert prior.prox(v[:0], 0.3).shape == (0, 14, 12)
    assert np.linalg.norm(again - x) < 0.2 * np.linalg.norm(prior.prox_from(v, 0.3, iterations=10)[0] - x)


# ---------------------------------------------------------------------------------------------------------------------
# Splitting


@pytest.mark.parametrize(
    ("channel_axis", "shape", "dtype"),
    [(None, (9, 8), np.float64), (None, (2, 7, 6), np.complex128), (-4, (3, 2, 8, 5), np.float64),
     (None, (1, 5), np.float64), (None, (5, 2), np.float64), (None, (1, 1), np.float64)],
)  # fmt: skip
def test_kernels_compute_the_equations(channel_axis, shape, dtype):
    norm = SecondOrderNorm(SecondOrder(2, (1.0, 0.5)), 2.0, channel_axis, 1.5)
    x = random(shape, dtype)
    q = norm.operator(x) + random(norm.operator(x).shape, dtype, 1)
    for array in (x, q):
        array.flags.writeable = False
    wanted = norm.split_step(torch.tensor(x), torch.tensor(q), 0.3, 1.7)
    got = norm.split_step(x, q, 0.3, 1.7)
    for a, b in zip(got[:2], wanted[:2], strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-12)
    np.testing.assert_allclose(got[2], wanted[2], rtol=1e-10, atol=1e-20)
    assert norm.estimate(q) == pytest.approx(norm.estimate(torch.tensor(q)).item(), rel=1e-10)


def test_the_norm_has_a_proximal_map_of_its_own():
    norm = SecondOrderNorm(SecondOrder(), 2.0, None, 0.7, 1e-6, 5000)
    z, step = random((5, 8, 9)), 0.2
    p = norm.prox(z, step)

    def objective(u):
        return step * norm.value(u) + 0.5 * ((u - z) ** 2).sum()

    least = objective(p)
    for seed in range(4):
        u = p + 0.03 * random(z.shape, seed=seed + 1)
        assert objective(u) >= least + 0.5 * ((u - p) ** 2).sum() - 2e-5 * least


def piecewise_affine(n=64):
    i, j = np.mgrid[0:n, 0:n] / n
    return np.where(i + j < 1, i, 1.5 - j) + 0.4 * ((i - 0.5) ** 2 + (j - 0.6) ** 2 < 0.03)


def psnr(x, truth):
    return 10 * np.log10(np.ptp(truth) ** 2 / ((x - truth) ** 2).mean())


def test_ramps_come_back_without_staircases():
    truth = piecewise_affine()
    v = truth + 0.1 * random(truth.shape)
    best = max(psnr(TotalVariation(tol=1e-3).prox(v, step), truth) for step in (0.08, 0.12, 0.18))
    x = TGV(tol=1e-3).prox(v, 0.1)
    assert psnr(x, truth) > best + 1.5
    inside = x[8:24, 8:24]  # all slope: total variation leaves a good part of it flat
    assert (abs(np.diff(inside, axis=0)) < 1e-3).mean() < 0.05


def test_admm_finds_image_and_slopes():
    truth, A = piecewise_affine(48), Blur(np.ones((3, 3)) / 9, shape=(48, 48), boundary="periodic")
    y = A(truth) + 0.01 * random(truth.shape)
    prior = TGV() + NonNegative()
    found = solve(ADMM(LeastSquares(A, y), prior, 0.002), A.adjoint(y), max_iter=400, tol=1e-4)
    assert found.status.ok and psnr(found.image, truth) > psnr(y, truth) + 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = reconstruct(y, A, prior="tgv", strength=0.002)
    np.testing.assert_allclose(x, found.image, atol=0.02)


# ---------------------------------------------------------------------------------------------------------------------
# Torch and arguments


def test_torch_gradients():
    prior = TGV()
    v = torch.from_numpy(random((4, 5))).requires_grad_()
    step = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    x = prior.prox_from(v, step, iterations=5)[0]
    x.square().sum().backward()
    assert torch.isfinite(v.grad).all() and torch.isfinite(step.grad)
    np.testing.assert_allclose(
        x.detach().numpy(), prior.prox_from(v.detach().numpy(), 0.3, iterations=5)[0], atol=1e-10
    )


def test_wrong_arguments_are_named():
    with pytest.raises(ArgumentError, match="ratio is 0"):
        TGV(0)
    with pytest.raises(ArgumentError, match="ndim is 4"):
        TGV(ndim=4)
    with pytest.raises(ArgumentError, match="channel_axis is -2"):
        TGV(channel_axis=-2)
    with pytest.raises(ArgumentError, match="tol is 2"):
        TGV(tol=2)
    with pytest.raises(ShapeError, match="at least 2 axes"):
        TGV().prox(np.zeros(3), 1)
    with pytest.raises(ShapeError, match="dual has shape"):
        TGV().prox_from(np.zeros((3, 3)), 1, np.zeros((3, 3)))
    with pytest.raises(OperatorError, match="ADMM"):
        (TGV() + NonNegative()).prox(np.zeros((3, 3)), 1)
    with pytest.warns(RuntimeWarning, match="Raise iterations"):
        TGV(iterations=10).prox(random((20, 20)), 1.0)
