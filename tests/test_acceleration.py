"""Anderson acceleration and restarts: the same limit, sooner, and never lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from priors import NonNegative, Tikhonov, TotalVariation, Zero
from recon.operators import ParallelBeam, from_matrix
from solvers import (
    ADMM,
    FISTA,
    PDHG,
    Anderson,
    DouglasRachford,
    LeastSquares,
    ProximalGradient,
    Restarted,
    solve,
    unroll,
)
from solvers.acceleration import leaves, with_leaves
from solvers.errors import ArgumentError

RNG = np.random.default_rng(0)
SCALES = np.geomspace(1, 0.03, 40)
HARD = LeastSquares(from_matrix(np.diag(SCALES)), SCALES)
SCAN = ParallelBeam((10, 10), 12)
PICTURE = np.pad(RNG.random((4, 4)), 3)
Y = SCAN(PICTURE) + 0.05 * RNG.standard_normal(SCAN.out_shape)


@dataclass(frozen=True, slots=True)
class State:
    x: np.ndarray


def steps_to(algorithm, start, expected, tolerance, bound):
    state = algorithm.init(start)
    for k in range(bound):
        state = algorithm.step(state, k)
        if np.linalg.norm(state.x - expected) <= tolerance * np.linalg.norm(expected):
            return k + 1
    return bound


def test_it_takes_a_fraction_of_the_steps_where_convergence_is_slow():
    plain = ProximalGradient(HARD, Zero(), 0.0, step_size=1.0)
    expected = np.ones(40)
    slow = steps_to(plain, np.zeros(40), expected, 1e-3, 20000)
    assert steps_to(Anderson(plain), np.zeros(40), expected, 1e-3, 20000) < slow / 8


@pytest.mark.parametrize("solver", [ADMM, PDHG, DouglasRachford])
def test_the_limit_is_that_of_the_algorithm(solver):
    data, prior = LeastSquares(SCAN, Y), TotalVariation(2)
    plain = solver(data, prior, 0.2)
    expected = solve(plain, np.zeros((10, 10)), max_iter=3000, tol=1e-8).image
    found = solve(Anderson(solver(data, prior, 0.2)), np.zeros((10, 10)), max_iter=3000, tol=1e-6).image
    assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(expected)


def test_a_step_that_never_settles_is_left_as_it_is():
    class Cycle:
        def init(self, x0):
            return State(x0)

        def step(self, state, k):
            return State(np.array([-state.x[1], state.x[0]]))

    x = unroll(Anderson(Cycle()), np.array([1.0, 0.0]), 50)
    assert np.isfinite(x).all() and np.linalg.norm(x) <= 1 + 1e-9


def test_states_are_taken_apart_and_put_together():
    state = ADMM(LeastSquares(SCAN, Y), TotalVariation(2) + NonNegative(), 0.2).init(PICTURE)
    arrays_of_it = list(leaves(state))
    doubled = with_leaves(state, iter([2 * a for a in arrays_of_it]))
    assert type(doubled) is type(state) and doubled.rho == state.rho
    for a, b in zip(arrays_of_it, leaves(doubled), strict=True):
        np.testing.assert_array_equal(2 * a, b)


def test_restarts_keep_the_limit():
    fista = FISTA(HARD, Tikhonov(), 1e-6, step_size=1.0)
    expected = SCALES**2 / (SCALES**2 + 1e-6)
    for wrapped in (Restarted(fista), Restarted(fista, every=150)):
        np.testing.assert_allclose(unroll(wrapped, np.zeros(40), 1500), expected, atol=1e-6)


def test_arguments_are_checked():
    with pytest.raises(ArgumentError, match="memory is 0"):
        Anderson(None, memory=0)
    with pytest.raises(ArgumentError, match="every is 0"):
        Restarted(None, every=0)
