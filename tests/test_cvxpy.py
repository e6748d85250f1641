"""Minimisers beside those of CVXPY, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

import solvers
from priors import NonNegative, TotalVariation
from recon.operators import from_matrix
from solvers import AbsoluteDeviation, Huber, LeastSquares, NoiseBall, PoissonLikelihood, solve

cvxpy = pytest.importorskip("cvxpy")

RNG = np.random.default_rng(0)
N = 24
MATRIX = RNG.random((30, N))
PICTURE = np.repeat(RNG.random(4), 6)
Y = MATRIX @ PICTURE + 0.05 * RNG.standard_normal(30)
COUNTS = RNG.poisson(20 * MATRIX @ PICTURE).astype(float)
OPERATOR = from_matrix(MATRIX)
STRENGTH = 0.3

X = cvxpy.Variable(N)
PENALTY = STRENGTH * cvxpy.norm1(cvxpy.diff(X))
PROBLEMS = {
    "least squares": (LeastSquares(OPERATOR, Y), 0.5 * cvxpy.sum_squares(MATRIX @ X - Y)),
    "huber": (Huber(OPERATOR, Y, 0.05), 0.5 * cvxpy.sum(cvxpy.huber(MATRIX @ X - Y, 0.05))),
    "absolute": (AbsoluteDeviation(OPERATOR, Y), cvxpy.norm1(MATRIX @ X - Y)),
    "poisson": (
        PoissonLikelihood(OPERATOR, COUNTS, 1.0),
        cvxpy.sum(MATRIX @ X + 1.0 - cvxpy.multiply(COUNTS, cvxpy.log(MATRIX @ X + 1.0))),
    ),
    "ball": (NoiseBall(OPERATOR, Y, 0.2), 0.0),
}
ANY = ["ADMM", "PDHG", "LinearisedADMM"]
SMOOTH = [*ANY, "FISTA"]
QUADRATIC = [*SMOOTH, "StochasticPDHG", "CondatVu", "PD3O", "POGM", "DouglasRachford"]
CASES = [
    *(("least squares", solver) for solver in QUADRATIC),
    *(("huber", solver) for solver in [*SMOOTH, "CondatVu", "PD3O", "POGM"]),
    *(("poisson", solver) for solver in SMOOTH),
    *((name, solver) for name in ("absolute", "ball") for solver in ("PDHG", "LinearisedADMM")),
]


def minimum(name):
    _, loss = PROBLEMS[name]
    limits = [X >= 0] + ([cvxpy.norm(MATRIX @ X - Y) <= 0.2] if name == "ball" else [])
    cvxpy.Problem(cvxpy.Minimize(loss + PENALTY), limits).solve(solver="CLARABEL")
    return np.maximum(X.value, 0.0)


@pytest.mark.parametrize(("name", "solver"), CASES)
def test_total_variation_with_a_constraint(name, solver):
    data, _ = PROBLEMS[name]
    algorithm = getattr(solvers, solver)(data, TotalVariation(1) + NonNegative(), STRENGTH)
    expected = minimum(name)
    found = np.maximum(solve(algorithm, np.full(N, 0.5), max_iter=4000, tol=1e-8).image, 0.0)
    if name == "ball":
        assert np.linalg.norm(MATRIX @ found - Y) <= 0.2 * (1 + 1e-5)
    reached, least = algorithm.objective(found), algorithm.objective(expected)
    # Linear programs end slowly. The image of an interior point method is less exact than its value.
    assert reached == pytest.approx(least, rel=2e-2 if name == "absolute" else 1e-5)
    if name != "absolute":
        np.testing.assert_allclose(found, expected, atol=5e-3)
