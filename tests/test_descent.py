"""Gradient methods: known minimisers, bounds, monotone decrease, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from priors import Box, NonNegative, Tikhonov, TotalVariation
from recon.operators import from_matrix
from solvers import FISTA, LBFGS, OGM, POGM, GradientDescent, LeastSquares, PoissonLikelihood, solve, steps, unroll
from solvers.errors import ArgumentError


def problem(seed=0, shape=(30, 20), dtype=np.float64):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal(shape).astype(dtype)
    return matrix, rng.standard_normal(shape[0]).astype(dtype)


def test_bounded_least_squares_is_that_of_scipy():
    matrix, y = problem()
    expected = scipy.optimize.lsq_linear(matrix, y, (-0.1, 0.2), tol=1e-14).x
    for solver in (GradientDescent, LBFGS, POGM):
        found = solve(solver(LeastSquares(from_matrix(matrix), y), Box(-0.1, 0.2), 1.0), np.zeros(20), tol=1e-11)
        np.testing.assert_allclose(found.image, expected, atol=1e-8)
        assert found.iterations <= 150


def test_poisson_counts_with_tikhonov_are_stationary():
    rng = np.random.default_rng(1)
    matrix = rng.random((40, 10))
    y = rng.poisson(matrix @ (20 * rng.random(10))).astype(float)
    data = PoissonLikelihood(from_matrix(matrix), y, background=1.0)
    prior = Tikhonov() + NonNegative()
    for solver, bound in ((GradientDescent, 200), (LBFGS, 60)):
        found = solve(solver(data, prior, 0.01), np.full(10, 5.0), tol=1e-11)
        x = found.image
        gradient = matrix.T @ (1 - y / (matrix @ x + 1.0)) + 0.01 * x
        active = x > 0
        np.testing.assert_allclose(gradient[active], 0, atol=1e-6)
        assert (gradient[~active] >= 0).all() and found.iterations <= bound


def test_ill_conditioned_quadratic_takes_few_steps():
    scales = np.geomspace(1, 1e-2, 50)
    data = LeastSquares(from_matrix(np.diag(scales)), scales)
    for solver in (GradientDescent, LBFGS, OGM, POGM):  # plain gradient steps would take 100,000
        x = unroll(solver(data, Tikhonov(), 1e-8), np.zeros(50), 2000)
        np.testing.assert_allclose(x, scales**2 / (scales**2 + 1e-8), atol=1e-6)


def test_quasi_newton_takes_no_more_steps_than_that_of_scipy():
    rng = np.random.default_rng(8)
    matrix = rng.standard_normal((60, 50)) * np.geomspace(1, 1e-2, 50)
    y = rng.standard_normal(60)
    algorithm = LBFGS(LeastSquares(from_matrix(matrix), y), Tikhonov() + Box(-1.0, 1.0), 1e-3)
    beside = scipy.optimize.minimize(
        algorithm.objective, np.zeros(50), jac=lambda x: matrix.T @ (matrix @ x - y) + 1e-3 * x, method="L-BFGS-B",
        bounds=[(-1, 1)] * 50, options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 8, "maxfun": 10**5},
    )  # fmt: skip
    x = unroll(algorithm, np.zeros(50), int(1.5 * beside.nit))
    assert algorithm.objective(x) <= beside.fun * (1 + 1e-9)


def test_monotone_fista_never_rises_where_the_plain_form_does():
    matrix, y = problem(3, (20, 40))
    data = LeastSquares(from_matrix(matrix), y)

    def rises(monotone):
        algorithm = FISTA(data, Tikhonov(), 1e-3, step_size=1 / np.linalg.norm(matrix, 2) ** 2, monotone=monotone)
        states = steps(algorithm, np.zeros(40))
        values = np.array([algorithm.objective(next(states).x) for _ in range(150)])
        return np.diff(values) > 1e-12 * values[0]

    assert rises(False).any() and not rises(True).any()


def test_a_monotone_run_leaves_a_start_outside_the_bounds():
    matrix, y = problem(4)
    best = np.linalg.lstsq(matrix, y, rcond=None)[0]
    found = solve(FISTA(LeastSquares(from_matrix(matrix), y), NonNegative(), 1.0, monotone=True), best, tol=1e-11)
    np.testing.assert_allclose(found.image, scipy.optimize.nnls(matrix, y)[0], atol=1e-8)


def test_weights_and_complex_images():
    matrix, y = problem(5)
    rng = np.random.default_rng(5)
    matrix, y = matrix + 1j * rng.standard_normal(matrix.shape), y + 1j * rng.standard_normal(y.shape)
    weights = 0.1 + rng.random(30)
    normal = matrix.conj().T @ (weights[:, None] * matrix) + 0.3 * np.eye(20)
    expected = np.linalg.solve(normal, matrix.conj().T @ (weights * y))
    data = LeastSquares(from_matrix(matrix), y, weights)
    for solver in (GradientDescent, LBFGS, OGM, POGM):
        found = solve(solver(data, Tikhonov(), 0.3), np.zeros(20, complex), tol=1e-11)
        np.testing.assert_allclose(found.image, expected, atol=1e-8)


@pytest.mark.parametrize("solver", [GradientDescent, LBFGS, OGM, POGM])
def test_single_precision_is_kept(solver):
    matrix, y = problem(6, dtype=np.float32)
    assert solve(
        solver(LeastSquares(from_matrix(matrix), y), Tikhonov(), 0.3), np.zeros(20, np.float32)
    ).image.dtype == (np.float32)


def test_what_they_cannot_do_is_refused_with_the_remedy():
    matrix, y = problem(7)
    data = LeastSquares(from_matrix(matrix), y)
    counts = PoissonLikelihood(from_matrix(abs(matrix)), abs(y))
    for solver in (GradientDescent, LBFGS, OGM):
        with pytest.raises(ArgumentError, match=r"has no gradient.*FISTA"):
            solver(data, TotalVariation(1), 1.0)
    with pytest.raises(ArgumentError, match=r"no bounds.*POGM"):
        OGM(data, NonNegative(), 1.0)
    for solver in (OGM, POGM):
        with pytest.raises(ArgumentError, match=r"curvature has no bound.*FISTA"):
            solver(counts, Tikhonov(), 1.0)
