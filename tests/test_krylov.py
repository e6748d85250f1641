"""Krylov methods beside dense linear algebra, and early stopping."""

from __future__ import annotations

import numpy as np
import pytest

import solvers
from recon.operators import from_matrix
from solvers import CGLS, LSMR, LSQR, MINRES, Discrepancy, Status, solve, steps, unroll
from solvers.errors import ArgumentError

METHODS = [CGLS, LSQR, LSMR]


def problem(seed=0, shape=(30, 20), complex_=False):
    rng = np.random.default_rng(seed)
    matrix, y = rng.standard_normal(shape), rng.standard_normal(shape[0])
    if complex_:
        matrix, y = matrix + 1j * rng.standard_normal(shape), y + 1j * rng.standard_normal(shape[0])
    return matrix, y


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_damped_least_squares_from_any_start(method, complex_, damping):
    matrix, y = problem(complex_=complex_)
    start = np.random.default_rng(1).standard_normal(20).astype(matrix.dtype)
    x = unroll(method(from_matrix(matrix), y, damping), start, 25)
    normal = matrix.conj().T @ matrix + damping * np.eye(20)
    np.testing.assert_allclose(x, np.linalg.solve(normal, matrix.conj().T @ y), atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_fewer_measurements_than_unknowns_give_the_smallest_image(method):
    matrix, y = problem(2, (8, 20))
    x = unroll(method(from_matrix(matrix), y), np.zeros(20), 15)
    np.testing.assert_allclose(x, np.linalg.pinv(matrix) @ y, atol=1e-10)


def test_the_three_are_what_they_say_they_minimise():
    matrix, y = problem(3)
    A = from_matrix(matrix)

    def iterates(method):
        states = steps(method(A, y), np.zeros(20))
        return [next(states).x for _ in range(15)]

    cgls, lsqr, lsmr = map(iterates, METHODS)
    np.testing.assert_allclose(cgls, lsqr, atol=1e-8)
    normal = {name: [np.linalg.norm(matrix.T @ (matrix @ x - y)) for x in xs] for name, xs in
              (("lsqr", lsqr), ("lsmr", lsmr))}  # fmt: skip
    assert (np.diff(normal["lsmr"]) < 0).all()
    assert all(a <= b * (1 + 1e-9) for a, b in zip(normal["lsmr"], normal["lsqr"], strict=True))
    assert sum(np.linalg.norm(matrix @ x - y) for x in lsqr) < sum(np.linalg.norm(matrix @ x - y) for x in lsmr)


def test_the_residual_known_is_the_residual():
    matrix, y = problem(4)
    for method in (CGLS, LSQR):
        algorithm = method(from_matrix(matrix), y)
        state = next(steps(algorithm, np.ones(20)))
        assert algorithm.residual_norm(state) == pytest.approx(np.linalg.norm(matrix @ state.x - y), rel=1e-10)


def test_minres_solves_an_indefinite_system():
    rng = np.random.default_rng(5)
    root = rng.standard_normal((12, 12)) + 1j * rng.standard_normal((12, 12))
    matrix, b = root + root.conj().T, rng.standard_normal(12) + 1j * rng.standard_normal(12)
    assert np.linalg.eigvalsh(matrix)[0] < 0 < np.linalg.eigvalsh(matrix)[-1]
    states = steps(MINRES(lambda x: matrix @ x, b), np.ones(12, complex))
    residuals = [np.linalg.norm(matrix @ next(states).x - b) for _ in range(14)]
    assert residuals[-1] <= 1e-9 and (np.diff(residuals) <= 1e-12).all()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_do_is_no_division_by_zero(method):
    matrix, y = problem(6)
    for start, data in ((np.zeros(20), 0 * y), (np.linalg.lstsq(matrix, y, rcond=None)[0], y)):
        assert np.isfinite(unroll(method(from_matrix(matrix), data), start, 30)).all()
    assert np.isfinite(unroll(MINRES(lambda x: 0 * x, np.zeros(3)), np.zeros(3), 3)).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_discrepancy_principle_stops_at_the_noise(method):
    rng = np.random.default_rng(7)
    scales = np.geomspace(1, 1e-4, 200)
    A, sigma = from_matrix(np.diag(scales)), 0.01
    y = scales + sigma * rng.standard_normal(200)
    algorithm = Discrepancy(method(A, y), sigma)
    found = solve(algorithm, np.zeros(200), max_iter=300)
    plain = [s.x for _, s in zip(range(found.iterations), steps(method(A, y), np.zeros(200)), strict=False)]
    residuals = [np.linalg.norm(A(x) - y) for x in plain]
    first = next(k for k, r in enumerate(residuals) if r <= 1.02 * sigma * 200**0.5)
    np.testing.assert_array_equal(found.image, plain[first])
    assert found.status is Status.CONVERGED
    fitted = solve(method(A, y), np.zeros(200), max_iter=300, tol=1e-10).image
    assert np.linalg.norm(found.image - 1) < 0.6 * np.linalg.norm(fitted - 1)


def test_a_safety_below_one_is_refused():
    algorithm = CGLS(from_matrix(np.eye(2)), np.ones(2))
    with pytest.raises(ArgumentError, match=r"safety is 0\.5.*Pass 1"):
        Discrepancy(algorithm, 0.1, safety=0.5)
    with pytest.raises(ArgumentError, match="sigma is -1"):
        Discrepancy(algorithm, -1.0)
    assert solvers.Discrepancy is Discrepancy
