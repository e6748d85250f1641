"""Every solver reaches the minimiser that the optimality conditions single out."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import numpy as np
import pytest

from recon.operators import Identity, from_matrix
from solvers.admm import ADMM
from solvers.data_terms import LeastSquares, PoissonLikelihood
from solvers.gradient import FISTA, ProximalGradient
from solvers.krylov import CG, CGLS
from solvers.loop import Status, solve, steps, unroll
from solvers.optimised_gradient import POGM
from solvers.primal_dual import PDHG
from solvers.protocols import Term
from solvers.transmission import TransmissionLikelihood

SOLVERS = {
    "admm": (ADMM, 1500),
    "pdhg": (PDHG, 3000),
    "fista": (FISTA, 600),
    "monotone": (partial(FISTA, monotone=True), 600),
    "pogm": (POGM, 600),
    "gradient": (ProximalGradient, 3000),
}


class L1:
    """Sum of absolute values; its proximal map is soft thresholding."""

    def value(self, x):
        return abs(x).sum()

    def prox(self, v, step):
        return np.sign(v) * np.maximum(abs(v) - step, 0.0)

    def terms(self):
        return (Term(self),)


class NonNegativeSum:
    """``sum x`` for x >= 0: an l1 norm with a constraint."""

    def value(self, x):
        return x.sum() if (x >= 0).all() else math.inf

    def prox(self, v, step):
        return np.maximum(v - step, 0.0)

    def terms(self):
        return (Term(self),)


def problem(seed=0, shape=(30, 20)):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal(shape)
    truth = rng.standard_normal(shape[1]) * (rng.random(shape[1]) < 0.4)
    return from_matrix(matrix), matrix @ truth + 0.1 * rng.standard_normal(shape[0]), matrix


@pytest.mark.parametrize("name", SOLVERS)
def test_lasso_satisfies_its_optimality_conditions(name):
    build, bound = SOLVERS[name]
    A, y, matrix = problem()
    strength = 2.0
    found = solve(build(LeastSquares(A, y), L1(), strength), np.zeros(20), max_iter=bound, tol=1e-13)
    x = found.image
    correlation = matrix.T @ (y - matrix @ x)
    active = np.abs(x) > 1e-7
    assert 0 < active.sum() < 20
    np.testing.assert_allclose(correlation[active], strength * np.sign(x[active]), atol=1e-6 * strength)
    assert np.abs(correlation[~active]).max() <= strength * (1 + 1e-6)


@pytest.mark.parametrize("name", ["admm", "pdhg", "fista"])
def test_poisson_likelihood_satisfies_its_optimality_conditions(name):
    build, _ = SOLVERS[name]
    rng = np.random.default_rng(1)
    matrix = rng.random((40, 10))
    y = rng.poisson(matrix @ (20 * rng.random(10))).astype(float)
    strength = 0.5
    data = PoissonLikelihood(from_matrix(matrix), y, background=1.0)
    algorithm = build(data, NonNegativeSum(), strength, **({"cg_iterations": 8} if name == "admm" else {}))
    x = solve(algorithm, np.full(10, 5.0), max_iter=20000, tol=1e-12).image
    gradient = matrix.T @ (1 - y / (matrix @ x + 1.0)) + strength
    active = x > 1e-6
    assert x.min() > -1e-9 and active.sum() > 0
    np.testing.assert_allclose(gradient[active], 0, atol=2e-5)
    assert (gradient[~active] > -2e-5).all()


def test_poisson_prox_and_gradient_agree_with_the_definition():
    rng = np.random.default_rng(2)
    y, v = rng.poisson(5, 50).astype(float), 5 + rng.standard_normal(50)
    data = PoissonLikelihood(None, y, background=0.5)
    w = data.loss_prox(v, 0.7)
    np.testing.assert_allclose(0.7 * data.loss_gradient(w) + w - v, 0, atol=1e-10)
    h = 1e-6
    numeric = (data.loss(v + h * np.eye(50)[3]) - data.loss(v - h * np.eye(50)[3])) / (2 * h)
    assert numeric == pytest.approx(data.loss_gradient(v)[3], rel=1e-6)
    assert data.loss(y - 0.5) == pytest.approx(0, abs=1e-9)


def test_weighted_least_squares_prox_is_stationary():
    rng = np.random.default_rng(3)
    y, v, weights = rng.standard_normal(20), rng.standard_normal(20), rng.random(20)
    data = LeastSquares(None, y, weights)
    w = data.loss_prox(v, 0.3)
    np.testing.assert_allclose(0.3 * weights * (w - y) + w - v, 0, atol=1e-14)
    assert not data.quadratic and LeastSquares(None, y).quadratic


def test_conjugate_gradients_solve_in_as_many_steps_as_unknowns():
    rng = np.random.default_rng(4)
    root = rng.standard_normal((12, 12))
    matrix, b = root @ root.T + np.eye(12), rng.standard_normal(12)
    x = unroll(CG(lambda v: matrix @ v, b), np.zeros(12), 13)
    np.testing.assert_allclose(matrix @ x, b, atol=1e-9)


def test_preconditioner_of_the_inverse_solves_in_one_step():
    matrix = np.diag(np.arange(1.0, 9.0))
    b = np.arange(8.0)
    x = unroll(CG(lambda v: matrix @ v, b, lambda r: r / np.diag(matrix)), np.zeros(8), 1)
    np.testing.assert_allclose(x, b / np.arange(1.0, 9.0), atol=1e-13)


@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_cgls_equals_the_normal_equations(damping):
    A, y, matrix = problem(5)
    x = unroll(CGLS(A, y, damping), np.zeros(20), 25)
    np.testing.assert_allclose(x, np.linalg.solve(matrix.T @ matrix + damping * np.eye(20), matrix.T @ y), atol=1e-9)


def test_cgls_with_complex_data():
    rng = np.random.default_rng(6)
    matrix = rng.standard_normal((15, 8)) + 1j * rng.standard_normal((15, 8))
    y = rng.standard_normal(15) + 1j * rng.standard_normal(15)
    x = unroll(CGLS(from_matrix(matrix), y), np.zeros(8, complex), 12)
    np.testing.assert_allclose(x, np.linalg.lstsq(matrix, y, rcond=None)[0], atol=1e-9)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_step_changes_neither_the_state_nor_the_outcome_of_a_second_call(name):
    build, _ = SOLVERS[name]
    A, y, _ = problem(7)
    algorithm = build(LeastSquares(A, y), L1(), 1.0)
    state = algorithm.init(np.ones(20))
    for k in range(3):
        before = {
            f.name: np.copy(getattr(state, f.name)) for f in dataclasses.fields(state) if f.name in ("x", "v", "Kp")
        }
        first, second = algorithm.step(state, k), algorithm.step(state, k)
        np.testing.assert_array_equal(first.x, second.x)
        for field, value in before.items():
            np.testing.assert_array_equal(getattr(state, field), value)
        state = first


@pytest.mark.parametrize("name", ["admm", "pdhg", "fista"])
def test_restart_at_another_strength_converges_to_that_problem(name):
    build, bound = SOLVERS[name]
    A, y, _ = problem(8)
    cold = solve(build(LeastSquares(A, y), L1(), 1.0), np.zeros(20), max_iter=bound, tol=1e-13)
    other = solve(build(LeastSquares(A, y), L1(), 4.0), np.zeros(20), max_iter=bound, tol=1e-13)
    algorithm = build(LeastSquares(A, y), L1(), 1.0)
    warm = solve(algorithm, state=algorithm.restart(other.state, 4.0), max_iter=bound, tol=1e-13)
    np.testing.assert_allclose(warm.image, cold.image, atol=1e-7)


def test_a_batch_restarts_from_one_of_its_items():
    A, y, _ = problem(9)
    for build in (ADMM, PDHG, FISTA):
        batch = build(LeastSquares(A, np.stack([y, 2 * y])), L1(), 1.0)
        state = solve(batch, np.zeros((2, 20)), max_iter=3000, tol=1e-12).state
        single = build(LeastSquares(A, 2 * y), L1(), 1.0)
        found = solve(single, state=single.restart(state, 1.0, 1), max_iter=3000, tol=1e-12)
        cold = solve(build(LeastSquares(A, 2 * y), L1(), 1.0), np.zeros(20), max_iter=3000, tol=1e-12)
        assert found.image.shape == (20,)
        np.testing.assert_allclose(found.image, cold.image, atol=1e-6)


def test_too_long_a_step_is_reported_and_the_best_iterate_returned():
    A, y, _ = problem(10)
    algorithm = ProximalGradient(LeastSquares(A, y), L1(), 1.0, step_size=3 / A.norm() ** 2)
    with np.errstate(all="ignore"):
        found = solve(algorithm, np.zeros(20), max_iter=2000)
    assert found.status is Status.DIVERGED and not found.status.ok
    assert np.isfinite(found.image).all()
    assert algorithm.objective(found.image) <= algorithm.objective(np.zeros(20))


def test_non_finite_iterates_return_the_last_finite_one():
    class Breaks(L1):
        def prox(self, v, step):
            return v * np.nan if abs(v).sum() > 1 else v

    A, y, _ = problem(11)
    found = solve(ProximalGradient(LeastSquares(A, y), Breaks(), 1.0, step_size=1e-2), np.zeros(20), max_iter=50)
    assert found.status is Status.DIVERGED
    assert np.isfinite(found.image).all()


def test_the_history_counts_calls_of_the_operator():
    A, y, _ = problem(12)
    for operator, measured in ((A, y), (2.0 * A, 2.0 * y), (A @ Identity((20,)), y)):
        plain = ProximalGradient(LeastSquares(operator, measured), L1(), 1.0, step_size=1e-3)
        found = solve(plain, np.zeros(20), max_iter=10, tol=0.0)
        assert found.history["calls"] == [1 + 2 * 5, 1 + 2 * 10]  # A x0, then forward and adjoint a step
    normal = CG(A.gram, A.adjoint(y))
    assert solve(normal, np.zeros(20), max_iter=5, tol=0.0).history["calls"] == [0]  # it does not know of A


def test_the_callback_stops_and_the_history_is_of_equal_lengths():
    A, y, _ = problem(12)
    found = solve(FISTA(LeastSquares(A, y), L1(), 1.0), np.zeros(20), callback=lambda state, k: k == 7)
    assert found.status is Status.STOPPED and found.iterations == 7
    assert {len(values) for values in found.history.values()} == {2}
    assert found.history["iteration"] == [5, 7]


def test_max_iter_is_said_to_be_reached():
    A, y, _ = problem(13)
    found = solve(ProximalGradient(LeastSquares(A, y), L1(), 1.0), np.zeros(20), max_iter=6, tol=1e-12)
    assert found.status is Status.MAX_ITER and found.iterations == 6


def test_the_estimated_distance_to_the_limit_is_honest_for_a_slow_solver():
    A, y, _ = problem(14)
    limit = solve(ADMM(LeastSquares(A, y), L1(), 0.5), np.zeros(20), max_iter=3000, tol=1e-14).image
    for build in (ProximalGradient, FISTA, ADMM, PDHG):
        found = solve(build(LeastSquares(A, y), L1(), 0.5), np.zeros(20), max_iter=5000, tol=1e-4)
        assert found.status is Status.CONVERGED
        assert np.linalg.norm(found.image - limit) <= 5e-4 * np.linalg.norm(limit), build


@pytest.mark.parametrize("name", ["admm", "pdhg", "fista"])
def test_gradients_pass_through_unrolled_steps(name):
    torch = pytest.importorskip("torch")
    build, _ = SOLVERS[name]
    A, y, _ = problem(15)

    class Quadratic:
        is_quadratic = True

        def value(self, x):
            return 0.5 * (x * x).sum()

        def prox(self, v, step):
            return v / (1 + step)

        def terms(self):
            return (Term(self),)

    # Penalties and steps chosen from the data carry no gradient of their own: fix them.
    fixed = {
        "admm": {"scale": 0.5, "balance": False},
        "fista": {"step_size": 0.9 / A.norm() ** 2},
        "pdhg": {"step_size": 0.1},
    }[name]

    def last(measurement):
        algorithm = build(LeastSquares(A, measurement), Quadratic(), 1.0, **fixed)
        return unroll(algorithm, measurement.new_zeros(20), 4).square().sum()

    measured = torch.from_numpy(y).requires_grad_()
    (gradient,) = torch.autograd.grad(last(measured), measured)
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(y.shape))
    h = 1e-6
    numeric = (last(measured.detach() + h * direction) - last(measured.detach() - h * direction)) / (2 * h)
    assert float((gradient * direction).sum()) == pytest.approx(float(numeric), rel=1e-5)


def test_steps_is_an_endless_generator():
    A, y, _ = problem(16)
    states = steps(FISTA(LeastSquares(A, y), L1(), 1.0), np.zeros(20))
    objective = FISTA(LeastSquares(A, y), L1(), 1.0).objective
    values = [objective(next(states).x) for _ in range(30)]
    assert values[-1] < values[0]


@pytest.mark.parametrize("blank", [1e2, 1e4])
def test_admm_settles_for_photons_behind_an_object_from_a_constant_start(blank):
    rng = np.random.default_rng(8)
    matrix = rng.random((40, 12)) / 6
    y = rng.poisson(blank * np.exp(-matrix @ rng.random(12))).astype(float)
    data = TransmissionLikelihood(from_matrix(matrix), y, blank=blank)
    found = solve(ADMM(data, L1(), 1.0, cg_iterations=8), np.full(12, 0.3), max_iter=400, tol=1e-9)
    wanted = solve(FISTA(data, L1(), 1.0), np.full(12, 0.3), max_iter=20000, tol=1e-12)
    assert data.value(found.image) + abs(found.image).sum() <= (data.value(wanted.image) + abs(wanted.image).sum()) * (
        1 + 1e-5
    )


def test_the_first_penalty_of_counts_follows_their_curvature():
    rng = np.random.default_rng(9)
    for gain in (1.0, 1e4):
        A = gain * from_matrix(rng.random((30, 9)))
        y = rng.poisson(A(np.ones(9))).astype(float)
        state = ADMM(PoissonLikelihood(A, y), L1(), 1.0).init(np.ones(9))
        assert state.rho[0] == pytest.approx(1 / y.mean(), rel=1.0)
