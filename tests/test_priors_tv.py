"""Total variation: its value, its exact proximal map, the splitting update, and numba against plain arrays."""

from __future__ import annotations

import pickle
import threading
import warnings

import numpy as np
import pytest
import torch

from priors import Box, Gradient, NonNegative, TotalVariation
from priors import gradient_projection as projection
from priors.differences import gradient, gradient_adjoint
from priors.group_norm import GroupNorm
from solvers import kernels as launching
from solvers.errors import ArgumentError, DTypeError, OperatorError, ShapeError

SHAPES = [(13, 9), (8, 16), (1, 11), (11, 1), (1, 1), (3, 12, 10)]
VOLUMES = [(5, 6, 7), (1, 6, 7), (2, 4, 1)]


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


def frozen(x):
    x.flags.writeable = False
    return x


def tv_by_loops(x, isotropic=True, spacing=(1.0, 1.0)):
    """Definition of 2-D total variation, pixel by pixel; ``x`` is (channels, rows, columns)."""
    total, (_, rows, columns) = 0.0, x.shape
    for i in range(rows):
        for j in range(columns):
            down = (x[:, i + 1, j] - x[:, i, j]) / spacing[0] if i + 1 < rows else 0 * x[:, i, j]
            right = (x[:, i, j + 1] - x[:, i, j]) / spacing[1] if j + 1 < columns else 0 * x[:, i, j]
            squares = (abs(down) ** 2).sum(), (abs(right) ** 2).sum()
            total += np.sqrt(sum(squares)) if isotropic else np.sqrt(squares[0]) + np.sqrt(squares[1])
    return total


def prox_by_projection(v, step, prior, iterations=4000):
    """Projected gradient on the dual with Nesterov's momentum, in whole-array numpy."""
    K = Gradient(prior.ndim, prior.spacing)
    axes = ((-prior.ndim - 1,) if prior.isotropic else ()) + (
        () if prior.channel_axis is None else (prior.channel_axis - 1,)
    )
    y = old = np.zeros_like(K(v))
    for k in range(iterations):
        r = y + k / (k + 3) * (y - old)
        q = r + K(v - step * K.adjoint(r)) / (K.norm() ** 2 * step)
        size = np.sqrt((abs(q) ** 2).sum(axes, keepdims=True)) if axes else abs(q)
        y, old = q / np.maximum(size, 1), y
    return v - step * K.adjoint(y)


# ---------------------------------------------------------------------------------------------------------------------
# Differences


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(("ndim", "shape"), [(1, (4, 7)), (2, (3, 5, 8)), (2, (1, 6)), (3, (4, 5, 3)), (3, (1, 1, 1))])
def test_gradient_adjoint(ndim, shape, periodic):
    K = Gradient(ndim, spacing=(0.5, 2.0, 3.0)[:ndim], periodic=periodic)
    x, z = random(shape, np.complex128), random((*shape[: len(shape) - ndim], ndim, *shape[-ndim:]), np.complex128, 1)
    scale = np.linalg.norm(K(x)) * np.linalg.norm(z) + np.linalg.norm(x) * np.linalg.norm(K.adjoint(z)) + 1e-300
    assert abs(np.vdot(z, K(x)) - np.vdot(K.adjoint(z), x)) <= 1e-14 * scale
    assert np.linalg.norm(K(x)) <= K.norm() * np.linalg.norm(x) * (1 + 1e-14)
    tx, tz = torch.from_numpy(x), torch.from_numpy(z)
    np.testing.assert_allclose(K(tx).numpy(), K(x), atol=1e-14)
    np.testing.assert_allclose(K.adjoint(tz).numpy(), K.adjoint(z), atol=1e-14)


def test_gradient_measures_slopes():
    rows, columns = np.meshgrid(np.arange(6) * 0.5, np.arange(5) * 2.0, indexing="ij")
    slopes = gradient(3 * rows - 4 * columns, 2, (0.5, 2.0))
    np.testing.assert_allclose(slopes[0, :-1], 3)
    np.testing.assert_allclose(slopes[1, :, :-1], -4)
    assert not slopes[0, -1].any() and not slopes[1, :, -1].any()


@pytest.mark.parametrize("shape", [(8, 5), (1, 4), (3, 6, 7)])
def test_fourier_gram_is_the_spectrum(shape):
    K = Gradient(2, spacing=(1.0, 0.3), periodic=True)
    x = random(shape)
    by_fourier = np.fft.ifft2(np.fft.fft2(x) * K.fourier_gram(shape)).real
    np.testing.assert_allclose(by_fourier, K.adjoint(K(x)), atol=1e-12)
    assert Gradient(2).fourier_gram(shape) is None


def test_last_differences_are_outside_the_range():
    z = random((2, 6, 5))
    changed = z.copy()
    changed[0, -1] += 1
    changed[1, :, -1] += 1
    np.testing.assert_array_equal(gradient_adjoint(z, 2), gradient_adjoint(changed, 2))


# ---------------------------------------------------------------------------------------------------------------------
# Value


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_value_is_the_definition(isotropic, dtype):
    x = random((3, 9, 7), dtype)
    prior = TotalVariation(isotropic=isotropic, spacing=(0.5, 2.0))
    assert prior.value(x) == pytest.approx(sum(tv_by_loops(x[c : c + 1], isotropic, (0.5, 2.0)) for c in range(3)))
    coupled = TotalVariation(isotropic=isotropic, channel_axis=-3)
    assert coupled.value(x) == pytest.approx(tv_by_loops(x, isotropic))
    assert coupled.value(x[:, :, None].repeat(2, 2).swapaxes(1, 2).swapaxes(0, 1)) == pytest.approx(
        2 * coupled.value(x)
    )


def test_value_of_a_disc_is_its_perimeter_times_its_height():
    i, j = np.mgrid[-40:40, -40:40] + 0.5
    disc = 3.0 * np.clip((24 - np.hypot(i, j)) / 8, 0, 1)  # its edge lies between the radii 16 and 24
    assert TotalVariation().value(disc) == pytest.approx(2 * np.pi * 20 * 3, rel=0.01)


# ---------------------------------------------------------------------------------------------------------------------
# Proximal map


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_prox_is_that_of_a_naive_solver(shape, isotropic):
    v = frozen(random(shape))
    prior = TotalVariation(isotropic=isotropic, spacing=(1.0, 0.7), tol=1e-11, iterations=20000)
    np.testing.assert_allclose(prior.prox(v, 0.3), prox_by_projection(v, 0.3, prior), atol=1e-5)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("shape", VOLUMES)
def test_prox_of_volumes(shape, isotropic):
    v = frozen(random(shape))
    prior = TotalVariation(3, isotropic=isotropic, tol=1e-11, iterations=20000)
    np.testing.assert_allclose(prior.prox(v, 0.3), prox_by_projection(v, 0.3, prior), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("isotropic", [True, False])
def test_prox_couples_channels_and_complex_parts(dtype, isotropic):
    v = random((2, 3, 7, 8), dtype)
    prior = TotalVariation(isotropic=isotropic, channel_axis=-3, tol=1e-11, iterations=20000)
    x = prior.prox(v, 0.3)
    np.testing.assert_allclose(x, prox_by_projection(v, 0.3, prior), atol=1e-5)
    apart = TotalVariation(isotropic=isotropic, tol=1e-11).prox(v, 0.3)
    assert abs(x - apart).max() > 0.01
    if dtype is np.complex128:
        parts = TotalVariation(isotropic=isotropic, channel_axis=-3)
        assert abs(x - (parts.prox(v.real, 0.3) + 1j * parts.prox(v.imag, 0.3))).max() > 0.01


def test_prox_minimises_the_objective():
    v, step = random((17, 12)), 0.4
    prior = TotalVariation()
    x = prior.prox(v, step)

    def objective(u):
        return step * prior.value(u) + 0.5 * ((u - v) ** 2).sum()

    least = objective(x)
    for seed in range(20):
        d = random(v.shape, seed=seed + 1)
        for t in (1e-1, 1e-2, -1e-2):
            # Strong convexity: at distance t |d| the objective has risen by t^2 |d|^2 / 2 at least.
            assert objective(x + t * d) >= least + 0.5 * t**2 * (d**2).sum() - 1.5e-6 * least


@pytest.mark.parametrize("isotropic", [True, False])
def test_prox_is_that_of_cvxpy(isotropic):
    cp = pytest.importorskip("cvxpy")
    v, step, x = random((7, 6)), 0.3, cp.Variable((7, 6))
    down, right = cp.diff(x, axis=0), cp.diff(x, axis=1)
    if isotropic:
        pairs = cp.vstack([cp.vec(down[:, :-1], order="C"), cp.vec(right[:-1], order="C")])
        total = cp.sum(cp.norm(pairs, 2, axis=0)) + cp.norm1(down[:, -1]) + cp.norm1(right[-1])
    else:
        total = cp.sum(cp.abs(down)) + cp.sum(cp.abs(right))
    cp.Problem(cp.Minimize(step * total + 0.5 * cp.sum_squares(x - v))).solve(solver="CLARABEL")
    prior = TotalVariation(isotropic=isotropic, tol=1e-10, iterations=20000)
    np.testing.assert_allclose(prior.prox(v, step), x.value, atol=1e-5)


def test_duality_gap_certifies_the_default_tolerance():
    v, step = random((24, 20)), 0.5
    prior = TotalVariation()
    x, dual = prior.prox_from(v, step)
    K = Gradient()
    np.testing.assert_allclose(x, v - step * K.adjoint(dual), atol=1e-12)
    assert np.sqrt((dual**2).sum(0)).max() <= 1 + 1e-12
    primal = step * prior.value(x) + 0.5 * ((x - v) ** 2).sum()
    dual_value = 0.5 * (v**2).sum() - 0.5 * (x**2).sum()
    assert -1e-9 <= primal - dual_value <= 1e-6 * primal


def test_two_pixels_move_towards_each_other_by_the_step():
    for ndim, v in ((1, np.array([1.0, 5.0])), (2, np.array([[1.0, 5.0]])), (2, np.array([[1.0], [5.0]]))):
        prior = TotalVariation(ndim)
        np.testing.assert_allclose(prior.prox(v, 0.5).ravel(), [1.5, 4.5], atol=1e-5)
        np.testing.assert_allclose(prior.prox(v, 7.0).ravel(), [3.0, 3.0], atol=1e-5)


def test_large_step_gives_the_mean_and_constants_stay():
    v = random((12, 10))
    np.testing.assert_allclose(TotalVariation().prox(v, 30.0), v.mean(), atol=1e-3)
    np.testing.assert_array_equal(TotalVariation().prox(np.full((6, 5), 7.0), 2.0), 7.0)
    np.testing.assert_array_equal(TotalVariation().prox(v, 0.0), v)


def test_step_edge_loses_contrast_by_perimeter_over_area():
    v = np.zeros((20, 30))
    v[:, 12:] = 1.0
    x = TotalVariation(tol=1e-10).prox(v, 0.6)
    np.testing.assert_allclose(x[:, :12], 0.6 / 12, atol=1e-5)
    np.testing.assert_allclose(x[:, 12:], 1 - 0.6 / 18, atol=1e-5)


def test_signals_are_exact():
    v = frozen(random((5, 200)).cumsum(axis=-1))
    for step in (0.1, 2.0, 40.0):
        prior = TotalVariation(1)
        x, dual = prior.prox_from(v, step)
        # Optimality (Rudin-Osher-Fatemi in 1-D): |dual| <= 1, and +-1 wherever the solution jumps.
        np.testing.assert_allclose(v - step * Gradient(1).adjoint(dual), x, atol=1e-9)
        assert abs(dual).max() <= 1
        jumps = np.diff(x, axis=-1)
        np.testing.assert_allclose(dual[:, 0, :-1][jumps != 0], np.sign(jumps[jumps != 0]), atol=1e-9)
    spaced = TotalVariation(1, spacing=0.25).prox(v, 0.5)
    np.testing.assert_allclose(spaced, TotalVariation(1).prox(v, 2.0), atol=1e-12)


def test_signals_agree_with_images_of_one_row():
    v = random((1, 40))
    image = TotalVariation(2, tol=1e-12, iterations=20000).prox(v, 0.8)
    np.testing.assert_allclose(TotalVariation(1).prox(v, 0.8), image, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-3, 1000.0])
def test_prox_does_not_depend_on_the_unit(factor):
    v = random((15, 14))
    prior = TotalVariation()
    np.testing.assert_allclose(prior.prox(factor * v, factor * 0.3) / factor, prior.prox(v, 0.3), rtol=1e-9, atol=1e-9)
    offset = prior.prox(v + 1000.0, 0.3) - 1000.0
    np.testing.assert_allclose(offset, prior.prox(v, 0.3), atol=1e-6)


def test_batches_are_independent():
    v = random((2, 3, 11, 12))
    v[1] *= 5
    prior = TotalVariation()
    x, duals = prior.prox_from(v, 0.4)
    for index in np.ndindex(2, 3):
        alone, dual = prior.prox_from(v[index], 0.4)
        np.testing.assert_array_equal(x[index], alone)
        np.testing.assert_array_equal(duals[index], dual)
    assert prior.prox(v[:0], 0.4).shape == (0, 3, 11, 12)


def test_many_small_images_share_jobs(monkeypatch):
    v = random((50, 5, 7))
    alone = np.stack([TotalVariation().prox(image, 0.4) for image in v])
    lines = TotalVariation(1).prox(v, 0.4)
    function = TotalVariation().terms()[0].function
    q = random((50, 2, 5, 7), seed=1)
    split = [function.split_step(*item, 0.2, 1.5)[:2] for item in zip(v, q, strict=True)]
    monkeypatch.setattr(launching, "PARALLEL_SIZE", 1)
    np.testing.assert_array_equal(TotalVariation().prox(v, 0.4), alone)
    np.testing.assert_array_equal(TotalVariation(1).prox(v, 0.4), lines)
    for got, wanted in zip(function.split_step(v, q, 0.2, 1.5)[:2], zip(*split, strict=True), strict=True):
        np.testing.assert_array_equal(got, np.stack(wanted))


def test_warm_start_continues():
    v = random((30, 30))
    prior = TotalVariation()
    goal = TotalVariation(tol=1e-9, iterations=20000).prox(v, 0.5)
    _, dual = prior.prox_from(v + 0.01 * random(v.shape, seed=3), 0.49)
    warm, _ = prior.prox_from(v, 0.5, dual, iterations=10)
    cold, _ = prior.prox_from(v, 0.5, iterations=10)
    assert np.linalg.norm(warm - goal) < 0.2 * np.linalg.norm(cold - goal)
    dual[0, -1] = 9.0  # differences past the border do not exist, whatever a caller put there
    np.testing.assert_array_equal(prior.prox_from(v, 0.5, dual, iterations=10)[0], warm)


def test_bounds_act_inside_the_iteration():
    v, step = random((14, 13)), 0.3
    prior = TotalVariation(tol=1e-10, iterations=20000)
    x = (prior + Box(-0.2, 0.3)).prox(v, step)
    assert x.min() >= -0.2 and x.max() <= 0.3

    def objective(u):
        return step * prior.value(u) + 0.5 * ((u - v) ** 2).sum()

    least = objective(x)
    assert least < objective(np.clip(prior.prox(v, step), -0.2, 0.3)) - 1e-6  # clipping afterwards is not the minimum
    for seed in range(20):
        for t in (0.1, 0.01):
            u = np.clip(x + t * random(v.shape, seed=seed), -0.2, 0.3)
            assert objective(u) >= least + 0.5 * ((u - x) ** 2).sum() - 1e-8
    assert (TotalVariation() + NonNegative()).prox(np.full((4, 4), -1.0), 0.1).max() == 0


def test_a_step_too_large_for_the_iterations_is_said():
    v = random((40, 40))
    with pytest.warns(RuntimeWarning, match=r"stopped after 8 iterations at a relative duality gap of .*Raise"):
        TotalVariation(iterations=8).prox(v, 5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(TotalVariation().prox(np.full((5, 5), np.nan), 1.0)).all()
        TotalVariation(tol=1e-9).prox(1e4 + random((40, 40)), 0.3)


# ---------------------------------------------------------------------------------------------------------------------
# Kernels against plain arrays, torch and other partitions of the work

CASES = [
    (2, None, (3, 13, 9)), (2, -3, (2, 3, 8, 16)), (2, -4, (2, 3, 8, 16)), (2, None, (1, 11)), (2, None, (11, 1)),
    (3, None, (5, 6, 7)), (3, -4, (2, 3, 5, 6)), (3, None, (2, 1, 7)), (1, -2, (4, 12)), (1, None, (2, 12)),
]  # fmt: skip


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(("ndim", "channel_axis", "shape"), CASES)
def test_splitting_update_is_its_equations(ndim, channel_axis, shape, dtype, isotropic):
    prior = 2.5 * TotalVariation(ndim, isotropic, channel_axis, spacing=(0.5, 1.0, 2.0)[:ndim])
    (term,) = prior.terms()
    x = random(shape, dtype)
    q = random(term.operator(x).shape, dtype, 1)
    for array in (x, q):
        frozen(array)
    relax, step = 1.7, 0.4
    z = term.function.prox(q, step)
    u = q - z
    v = relax * term.operator(x) + (1 - relax) * z
    z_new = term.function.prox(v + u, step)
    u_new = u + v - z_new
    wanted = (z_new + u_new, term.operator.adjoint(z_new - u_new))
    squares = [np.linalg.norm(r) ** 2 for r in (term.operator(x) - z_new, z_new - z, z_new, u_new)]
    for given in ((x, q), tuple(torch.tensor(a) for a in (x, q))):
        got = term.function.split_step(*given, step, relax)
        for a, b in zip(got[:2], wanted, strict=True):
            assert tuple(a.shape) == b.shape
            np.testing.assert_allclose(np.asarray(a), b, atol=1e-12)
        np.testing.assert_allclose(got[2], squares, rtol=1e-10)


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(("ndim", "channel_axis", "shape"), [case for case in CASES if case[0] > 1])
def test_fused_sweeps_are_their_equations(ndim, channel_axis, shape, dtype, isotropic):
    prior = TotalVariation(ndim, isotropic, channel_axis, spacing=(0.5, 1.0, 2.0)[:ndim])
    v = random(shape, dtype)
    x, dual = prior.prox_from(v, 0.3, iterations=25)
    again, _ = prior.prox_from(v, 0.2, dual, iterations=7)
    tx, tdual = prior.prox_from(torch.tensor(v), 0.3, iterations=25)
    tagain, _ = prior.prox_from(torch.tensor(v), 0.2, tdual, iterations=7)
    for a, b in ((x, tx), (dual, tdual), (again, tagain)):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-12)


@pytest.mark.parametrize(("own", "margin"), [(9, 3), (13, 4), (4, 1), (50, 8)])
@pytest.mark.parametrize(("ndim", "shape"), [(2, (2, 61, 33)), (3, (3, 61, 9))])
def test_tiles_do_not_change_a_bit(monkeypatch, own, margin, ndim, shape):
    v = random(shape)
    prior = TotalVariation(ndim)
    x, dual = prior.prox_from(v, 0.3, iterations=21)
    value = prior.value(v)
    monkeypatch.setattr(projection.Tiles, "fit", classmethod(lambda cls, v, n: cls(v.shape[3], own, margin)))
    tiled, tiled_dual = prior.prox_from(v, 0.3, iterations=21)
    np.testing.assert_array_equal(tiled, x)
    np.testing.assert_array_equal(tiled_dual, dual)
    assert prior.value(v) == value


def test_parallel_kernels_in_single_precision(monkeypatch):
    monkeypatch.setattr(launching, "PARALLEL_SIZE", 1)
    v = frozen(random((2, 47, 65), np.float32))
    prior = TotalVariation()
    exact = v.astype(np.float64)
    x, dual = prior.prox_from(v, 0.3, iterations=20)
    tx, _ = prior.prox_from(torch.tensor(exact), 0.3, iterations=20)
    assert x.dtype == dual.dtype == np.float32
    np.testing.assert_allclose(x, tx.numpy(), atol=2e-6)
    np.testing.assert_array_equal(prior.prox_from(v, 0.3, iterations=20)[0], x)  # same bits again
    assert prior.value(v) == pytest.approx(prior.value(torch.tensor(exact)).item(), rel=1e-6)
    function = prior.terms()[0].function
    q = random((2, 2, 47, 65), np.float32, 1)
    got = function.split_step(v, q, 0.2, 1.8)
    wanted = function.split_step(*(torch.tensor(a, dtype=torch.float64) for a in (v, q)), 0.2, 1.8)
    for a, b in zip(got[:2], wanted[:2], strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b.numpy(), atol=5e-6)
    np.testing.assert_allclose(got[2], wanted[2], rtol=1e-5)


def test_python_threads_at_once(monkeypatch):
    monkeypatch.setattr(launching, "PARALLEL_SIZE", 1)
    prior, v = TotalVariation(), random((60, 50), np.float32)
    wanted, results = prior.prox(v, 0.3), []
    workers = [threading.Thread(target=lambda: results.append(prior.prox(v, 0.3))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("as_given", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_rounding_of_large_values_does_not_keep_it_from_stopping(as_given):
    v = (1e5 + 20 * random((2, 47, 65))).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = np.asarray(TotalVariation(tol=1e-6).prox(as_given(v), 10.0))
    exact = TotalVariation().prox(v.astype(np.float64), 10.0)
    assert np.sqrt(((x - exact) ** 2).mean()) < 0.5


def test_torch_gradients():
    prior = TotalVariation(isotropic=True, channel_axis=-3)
    v = torch.from_numpy(random((2, 4, 5))).requires_grad_()
    step = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, s: prior.prox_from(v, s, iterations=6)[0], (v, step))
    assert torch.autograd.gradcheck(prior.value, (v,))
    function = prior.terms()[0].function
    z = torch.from_numpy(random((2, 2, 4, 5))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, q: function.split_step(x, q, step, 1.5)[:2], (v, z))
    flat = torch.ones(3, 3, dtype=torch.float64, requires_grad=True)
    TotalVariation().value(flat).backward()
    assert torch.equal(flat.grad, torch.zeros(3, 3, dtype=torch.float64))


# ---------------------------------------------------------------------------------------------------------------------
# The terms for splitting solvers


@pytest.mark.parametrize("isotropic", [True, False])
def test_terms_do_not_wrap_around(isotropic):
    prior = TotalVariation(isotropic=isotropic)
    (term,) = (3.0 * prior).terms()
    x = random((2, 7, 9))
    assert term.function.value(term.apply(x)) == pytest.approx(3 * prior.value(x))
    assert term.fourier_gram((7, 9)).shape == (7, 9)
    z = random((2, 2, 7, 9))
    shrunk = term.function.prox(z, 0.2)
    np.testing.assert_array_equal(shrunk[:, 0, -1], z[:, 0, -1])
    np.testing.assert_array_equal(shrunk[:, 1, :, -1], z[:, 1, :, -1])
    assert term.function.value(shrunk) < term.function.value(z)


def test_group_norm_prox_is_optimal():
    function = GroupNorm(Gradient(), weight=2.0)
    z = random((2, 6, 5))
    p = function.prox(z, 0.3)
    size, moved = np.sqrt((p**2).sum(0)), np.sqrt(((z - p) ** 2).sum(0))
    assert (size == 0).any() and (size > 0).any()
    np.testing.assert_allclose(moved[size > 0], 0.6)  # shrunk by weight * step where anything is left
    assert (moved[size == 0] <= 0.6).all()
    np.testing.assert_array_equal(function.prox(np.zeros((2, 3, 3)), 0.0), 0)


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def test_pickle_and_repr():
    prior = 0.5 * TotalVariation(3, spacing=2) + NonNegative()
    again = pickle.loads(pickle.dumps(prior))
    assert repr(again) == repr(prior)
    assert "0.5 * TotalVariation(ndim=3" in repr(prior) and "NonNegative()" in repr(prior)
    assert TotalVariation(spacing=2) == TotalVariation(spacing=(2.0, 2.0))


def test_integers_become_floats_and_inputs_stay():
    v = np.arange(12).reshape(3, 4)
    x = TotalVariation().prox(v, 0.5)
    assert x.dtype == np.float32 and v.dtype.kind == "i"
    assert TotalVariation().prox(v + 2**30, 0.5).dtype == np.float64  # values that float32 cannot hold
    assert TotalVariation().prox(v.astype(np.uint8), 0.5).dtype == np.float32
    assert not np.shares_memory(TotalVariation().prox(x, 0.0), x)


def test_wrong_arguments_are_named():
    with pytest.raises(ArgumentError, match="ndim is 4"):
        TotalVariation(4)
    with pytest.raises(ArgumentError, match="channel_axis is -1"):
        TotalVariation(channel_axis=-1)
    with pytest.raises(ArgumentError, match="spacing"):
        TotalVariation(spacing=(1.0, 0.0))
    with pytest.raises(ArgumentError, match="tol is 2"):
        TotalVariation(tol=2)
    with pytest.raises(ArgumentError, match="step is -1"):
        TotalVariation().prox(np.zeros((3, 3)), -1)
    with pytest.raises(ShapeError, match="at least 2 axes"):
        TotalVariation().prox(np.zeros(3), 1)
    with pytest.raises(ShapeError, match="dual has shape"):
        TotalVariation().prox_from(np.zeros((3, 3)), 1, np.zeros((3, 3)))
    with pytest.raises(DTypeError, match="complex"):
        (TotalVariation() + NonNegative()).prox(np.zeros((3, 3), complex), 1)
    with pytest.raises(OperatorError, match="ADMM"):
        (TotalVariation() + TotalVariation(isotropic=False)).prox(np.zeros((3, 3)), 1)
