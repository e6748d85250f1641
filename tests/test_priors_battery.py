"""Every prior beside a naive twin of its definition, and the optimality condition of its proximal map."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import priors

cp = pytest.importorskip("cvxpy")

from priors_list import PRIORS  # noqa: E402 (it needs CVXPY)

STEP = 0.4
NOT_CONVEX = {"GradientStep", "RidgeRegulariser"}  # learned: gradient, curvature and descent are in tests/test_ridge.py


def minimum(loss, constraints=()):
    problem = cp.Problem(cp.Minimize(loss), list(constraints))
    tight = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    problem.solve(solver="CLARABEL", **tight)
    return problem.value


@pytest.mark.parametrize("name", PRIORS)
def test_proximal_map_and_value_are_those_of_the_twin(name):
    case = PRIORS[name]
    v, x = np.random.default_rng(1).standard_normal(case.shape), cp.Variable(int(np.prod(case.shape)))
    value, constraints = case.twin(x)
    minimum(STEP * value + 0.5 * cp.sum_squares(x - v.ravel()), constraints)
    p = case.prior.prox(v, STEP)
    np.testing.assert_allclose(p.ravel(), x.value, atol=case.tolerance)
    if name != "plug and play":  # which has no value
        x = cp.Parameter(x.size, value=p.ravel())
        value, _ = case.twin(x)
        least = minimum(value) if getattr(value, "variables", list)() else getattr(value, "value", value)
        assert case.prior.value(p) == pytest.approx(least, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", sorted(set(PRIORS) - {"plug and play"}))
def test_proximal_map_meets_the_optimality_condition(name):
    """``<v - p, u - p> <= step (g(u) - g(p))`` for every u."""
    case, rng = PRIORS[name], np.random.default_rng(2)
    v = rng.standard_normal(case.shape)
    p = case.prior.prox(v, STEP)
    reached = case.prior.value(p)
    for size in (1.0, 0.1, 1e-2):
        u = case.prior.prox(p + size * rng.standard_normal(case.shape), 0.01)  # somewhere the prior is finite
        slack = 10 * case.tolerance * np.linalg.norm(u - p) + 1e-9
        assert ((v - p) * (u - p)).sum() <= STEP * (case.prior.value(u) - reached) + slack


def test_the_list_holds_every_prior():
    exported = {name for name in priors.__all__ if inspect.isclass(getattr(priors, name))}
    with_proximal_map = {name for name in exported if hasattr(getattr(priors, name), "prox")} - {"Prior"}
    assert {type(case.prior).__name__ for case in PRIORS.values()} == with_proximal_map - NOT_CONVEX
