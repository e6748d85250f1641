"""Splittings and primal-dual solvers: one minimiser, certified steps, and what they refuse."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import solvers
from priors import NonNegative, Tikhonov, TotalVariation, Zero
from recon._first_guess import first_guess
from recon.bench.problems import inpaint
from recon.operators import Blur, Identity, Mask, ParallelBeam, from_matrix
from solvers import PDHG, DouglasRachford, HalfQuadratic, LeastSquares, PoissonLikelihood, Status, solve, unroll
from solvers.errors import ArgumentError

RNG = np.random.default_rng(0)
SHAPE = (12, 14)
PICTURE = np.kron(RNG.random((3, 2)), np.ones((4, 7)))
SPLITTINGS = ["PDHG", "CondatVu", "PD3O", "LinearisedADMM", "DouglasRachford"]


def measured(operator, noise=0.02):
    return operator(PICTURE) + noise * RNG.standard_normal(operator.out_shape)


OPERATORS = {
    "identity": Identity(SHAPE),
    "blur": Blur(np.ones((3, 3)) / 9, SHAPE),
    "unknown border": Blur(np.ones((3, 3)) / 9, (10, 12), boundary="unknown"),
    "mask": Mask(RNG.random(SHAPE) < 0.6),
    "projections": ParallelBeam(SHAPE, 12),
}
MEASURED = {name: measured(operator) for name, operator in OPERATORS.items()}


@cache
def minimiser(name, strength=0.05, constrained=False):
    data = LeastSquares(OPERATORS[name], MEASURED[name])
    prior = TotalVariation(2) + NonNegative() if constrained else TotalVariation(2)
    return solve(solvers.ADMM(data, prior, strength), np.zeros(SHAPE), max_iter=1500, tol=1e-8).image


@pytest.mark.parametrize("solver", SPLITTINGS)
@pytest.mark.parametrize("name", OPERATORS)
def test_total_variation_with_a_constraint_has_one_minimiser(name, solver):
    operator, prior = OPERATORS[name], TotalVariation(2) + NonNegative()
    data, start = LeastSquares(operator, MEASURED[name]), np.zeros(SHAPE)
    found = solve(getattr(solvers, solver)(data, prior, 0.05), start, max_iter=900, tol=1e-5)
    assert found.status.ok
    np.testing.assert_allclose(found.image, minimiser(name, constrained=True), atol=1e-3)


@pytest.mark.parametrize("solver", SPLITTINGS)
def test_the_scale_of_image_and_operator_does_not_matter(solver):
    operator, y = OPERATORS["projections"], MEASURED["projections"]
    build = getattr(solvers, solver)
    plain = unroll(build(LeastSquares(operator, y), TotalVariation(2), 0.05), np.zeros(SHAPE), 40)
    # y = (10 A)(x 1e3): data 1e4 times as large, the gradient of the data 1e5 times
    scaled = build(LeastSquares(10 * operator, 1e4 * y), TotalVariation(2), 0.05 * 1e5)
    np.testing.assert_allclose(unroll(scaled, np.zeros(SHAPE), 40), 1e3 * plain, rtol=1e-5, atol=1e-3)


def test_sums_over_rows_and_columns_certify_the_steps():
    operator = OPERATORS["projections"]
    algorithm = PDHG(LeastSquares(operator, MEASURED["projections"]), TotalVariation(2), 1.0)
    d, shares = algorithm._metric

    def gram(x):  # of the whole stack, scaled
        parts = [
            dual.term.adjoint(s * dual.term.apply(d**0.5 * x)) for dual, s in zip(algorithm._duals, shares, strict=True)
        ]
        return d**0.5 * sum(parts)

    x = RNG.random(SHAPE)
    for _ in range(200):
        x = gram(x) / np.linalg.norm(x)
    assert 0.5 < np.linalg.norm(x) <= 1.0


def test_primal_dual_steps_are_few():
    for name in ("identity", "projections"):
        data = LeastSquares(OPERATORS[name], MEASURED[name])
        found = unroll(PDHG(data, TotalVariation(2), 0.05), np.zeros(SHAPE), 100)
        assert np.linalg.norm(found - minimiser(name)) <= 1e-3 * np.linalg.norm(found)


def test_strongly_convex_acceleration_keeps_its_bound():
    data, expected = LeastSquares(OPERATORS["identity"], MEASURED["identity"]), minimiser("identity")
    algorithm = PDHG(data, TotalVariation(2), 0.05, accelerate=True)
    state, errors = algorithm.init(np.zeros(SHAPE)), []
    for k in range(400):
        state = algorithm.step(state, k)
        errors.append(np.linalg.norm(state.x - expected))
    assert state.tau < 0.01  # about 1 / (k * convexity)
    assert errors[399] < 0.5 * errors[99] < 0.25 * errors[9]


def test_photon_counts():
    rng = np.random.default_rng(1)
    matrix = rng.random((40, 10))
    y = rng.poisson(matrix @ (20 * rng.random(10))).astype(float)
    data = PoissonLikelihood(from_matrix(matrix), y, background=1.0)
    for solver in ("PDHG", "LinearisedADMM"):
        algorithm = getattr(solvers, solver)(data, Tikhonov() + NonNegative(), 0.01)
        x = solve(algorithm, np.full(10, 5.0), max_iter=5000, tol=1e-10).image
        gradient = matrix.T @ (1 - y / (matrix @ x + 1.0)) + 0.01 * x
        active = x > 1e-6
        np.testing.assert_allclose(gradient[active], 0, atol=1e-5)
        assert (gradient[~active] > -1e-5).all()


def test_half_quadratic_splitting_comes_near_in_few_steps():
    for name, bound in (("projections", 0.1), ("mask", 0.3)):
        data = LeastSquares(OPERATORS[name], MEASURED[name])
        found = unroll(HalfQuadratic(data, TotalVariation(2), 0.05), np.zeros(SHAPE), 40)
        assert np.linalg.norm(found - minimiser(name)) <= bound * np.linalg.norm(found)


def test_without_a_prior_they_solve_least_squares():
    matrix, y = RNG.standard_normal((30, 20)), RNG.standard_normal(30)
    data = LeastSquares(from_matrix(matrix), y)
    expected = np.linalg.lstsq(matrix, y, rcond=None)[0]
    for solver in SPLITTINGS:
        found = solve(getattr(solvers, solver)(data, Zero(), 1.0), np.zeros(20), max_iter=2000, tol=1e-10)
        np.testing.assert_allclose(found.image, expected, atol=1e-7)


@pytest.mark.parametrize("solver", SPLITTINGS)
def test_single_precision_batches_and_warm_starts(solver):
    operator = OPERATORS["projections"]
    y = np.stack([MEASURED["projections"], 2 * MEASURED["projections"]]).astype(np.float32)
    build = getattr(solvers, solver)
    batch = build(LeastSquares(operator, y), TotalVariation(2), 0.1)
    state = solve(batch, np.zeros((2, *SHAPE), np.float32), max_iter=30, tol=1e-12).state
    assert state.x.dtype == np.float32
    other = build(LeastSquares(operator, y[1]), TotalVariation(2), 0.05)
    warm = solve(other, state=other.restart(state, 0.1, 1), max_iter=300, tol=1e-4)
    cold = solve(other, np.zeros(SHAPE, np.float32), max_iter=300, tol=1e-4)
    assert warm.image.dtype == np.float32 and warm.image.shape == SHAPE
    np.testing.assert_allclose(warm.image, cold.image, atol=5e-3)


@pytest.mark.parametrize("solver", [DouglasRachford, HalfQuadratic])
def test_other_data_terms_are_refused_with_the_remedy(solver):
    counts = PoissonLikelihood(from_matrix(np.eye(3)), np.ones(3))
    with pytest.raises(ArgumentError, match=r"least squares without weights.*ADMM or PDHG"):
        solver(counts, Zero(), 1.0)


@pytest.mark.parametrize("solver", ["CondatVu", "PD3O"])
def test_unbounded_curvature_is_refused_with_the_remedy(solver):
    counts = PoissonLikelihood(from_matrix(np.eye(3)), np.ones(3))
    with pytest.raises(ArgumentError, match=r"curvature has no bound.*PDHG"):
        getattr(solvers, solver)(counts, Zero(), 1.0)


def test_douglas_rachford_restarts_at_another_strength_and_of_one_image_of_a_batch():
    rng = np.random.default_rng(3)
    A = Mask(rng.random((8, 9)) < 0.7)
    y = A(rng.random((2, 8, 9)))
    batch = DouglasRachford(LeastSquares(A, y), TotalVariation(), 0.05)
    state = solve(batch, y, max_iter=400, tol=1e-10).state
    one = DouglasRachford(LeastSquares(A, y[1]), TotalVariation(), 0.06)
    start = one.restart(state, 0.05, 1)
    wanted = solve(one, y[1], max_iter=3000, tol=1e-12).image
    # What was not measured may have several best values.
    np.testing.assert_allclose(A(solve(one, state=start, max_iter=3000, tol=1e-12).image), A(wanted), atol=1e-5)
    # A solve at the old strength goes on where it was.
    same = DouglasRachford(LeastSquares(A, y[1]), TotalVariation(), 0.05)
    again = same.step(same.restart(state, 0.05, 1), 0)
    np.testing.assert_allclose(again.x, state.x[1], atol=1e-4)


@pytest.mark.parametrize(("strength", "tol"), [(0.002, 1e-3), (0.002, 2e-3), (0.001, 2e-3)])
def test_douglas_rachford_does_not_take_a_short_step_for_the_end(strength, tol):
    """On masks the balance first shortens the step to a tenth, and the image hardly moves for a while."""
    problem = inpaint(size=64)
    algorithm = DouglasRachford(LeastSquares(problem.operator, problem.y), TotalVariation(), strength)
    start = first_guess(problem.operator, problem.y)
    limit = unroll(algorithm, start, 200)
    found = solve(algorithm, start, tol=tol)
    assert found.status is Status.CONVERGED and found.iterations <= 60
    assert np.linalg.norm(found.image - limit) <= tol * np.linalg.norm(limit)
