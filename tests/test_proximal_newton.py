"""Proximal quasi-Newton: the model against matrices, the answer against ADMM, whatever a schedule says."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import torch

from priors import NonNegative, TotalVariation
from recon import operators as ops
from recon import plan, reconstruct
from recon.bench._trace import Counter
from recon.learn.costly_problems import FAMILIES, costly
from recon.learn.newton_steps import GRID, TOTAL_VARIATION, Lessons, fitted
from solvers import (
    ADMM,
    POGM,
    LeastSquares,
    ProximalNewton,
    curvature_model,
    proximal_newton,
    solve,
    unroll,
)
from solvers.curvature_model import CurvatureModel
from solvers.errors import ArgumentError
from solvers.proximal_newton import FEATURES

SHAPE = (16, 16)


def dense(function, shape, dtype=float) -> np.ndarray:
    """The matrix of a map of images, column by column."""
    size = math.prod(shape)
    return np.stack([np.asarray(function(e.reshape(shape))).ravel() for e in np.eye(size, dtype=dtype)], 1)


@pytest.fixture(scope="module")
def scan():
    """A few views of a block, in double precision, and its reconstruction by many steps of ADMM."""
    truth = np.zeros(SHAPE)
    truth[4:10, 5:12] = 1.0
    operator = ops.ParallelBeam(truth.shape, 10, spacing=1 / 16)
    y = operator(truth) + 0.005 * np.random.default_rng(0).standard_normal(operator.out_shape)
    data = LeastSquares(operator, y)
    return data, unroll(ADMM(data, TotalVariation(), 2e-4, cg_iterations=4), np.zeros(truth.shape), 400)


@pytest.mark.parametrize("kind", [float, complex])
def test_the_model_is_exact_along_what_was_measured_and_its_inverse_is_its_inverse(kind):
    rng = np.random.default_rng(0)
    shape, count = (4, 5), 20
    matrix = rng.standard_normal((15, count)) + (1j * rng.standard_normal((15, count)) if kind is complex else 0)
    gram = matrix.conj().T @ matrix
    frequencies = shape if kind is complex else (4, 3)
    spectrum = 1 + rng.random(()) + np.zeros(frequencies)
    model = CurvatureModel(spectrum, 2)
    directions = [rng.standard_normal(shape).astype(kind) for _ in range(4)]
    for d in directions:
        model = model.learned(d, (gram @ d.ravel()).reshape(shape), memory=3)
    for d in directions[1:]:
        np.testing.assert_allclose(model(d).ravel(), gram @ d.ravel(), atol=1e-4)
    r = rng.standard_normal(shape).astype(kind)
    back = model.inverse(1 / (spectrum + 0.7))(model(r) + 0.7 * r)
    np.testing.assert_allclose(back, r, atol=1e-8)
    if kind is float:
        assert np.linalg.eigvalsh(dense(model, shape)).min() > 0


def test_the_model_is_the_same_for_tensors():
    rng = np.random.default_rng(1)
    d, Gd, r = (rng.standard_normal(SHAPE) for _ in range(3))
    Gd *= np.sign(np.vdot(d, Gd))
    spectrum = 1 + np.zeros((16, 9))
    model = CurvatureModel(spectrum, 2).learned(d, Gd, 5)
    twin = CurvatureModel(torch.tensor(spectrum), 2).learned(torch.tensor(d), torch.tensor(Gd), 5)
    np.testing.assert_allclose(twin(torch.tensor(r)).numpy(), model(r), atol=1e-10)
    reciprocal = 1 / (spectrum + 1)
    solved = twin.inverse(torch.tensor(reciprocal))(torch.tensor(r)).numpy()
    np.testing.assert_allclose(solved, model.inverse(reciprocal)(r), atol=1e-10)


HARMFUL = {
    "none": None,
    "random": lambda features: dict(zip(("floor", "start"), np.random.default_rng(3).normal(0, 8, 2), strict=True)),
    "worst": lambda features: {"floor": 99.0, "start": -99.0},
    "tiny": lambda features: {"floor": -99.0, "start": 99.0},
    "NaN": lambda features: dict.fromkeys(("floor", "start"), math.nan),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_whatever_a_schedule_says_the_answer_is_the_minimiser(scan, name):
    data, answer = scan
    algorithm = ProximalNewton(data, TotalVariation(), 2e-4, HARMFUL[name], bound=50)
    found = unroll(algorithm, np.zeros_like(answer), 300)
    plain = ADMM(data, TotalVariation(), 2e-4)
    assert plain.objective(found) <= plain.objective(answer) * (1 + 1e-4)
    assert np.linalg.norm(found - answer) <= 1e-2 * np.linalg.norm(answer)


def test_no_step_of_the_model_raises_the_objective(scan):
    data, answer = scan
    algorithm = ProximalNewton(data, TotalVariation(), 2e-4)
    state, values = algorithm.init(0 * answer), []
    for k in range(12):
        state = algorithm.step(state, k)
        values.append(float(algorithm.objective(state.x)))
    assert state.classical is None and np.all(np.diff(values) <= 1e-12)


def test_a_step_takes_one_forward_and_one_adjoint(scan):
    data, _ = scan
    counter = Counter(data.operator)
    algorithm = ProximalNewton(LeastSquares(counter.operator, data.y), TotalVariation(), 2e-4, start=3)
    state = algorithm.init(np.zeros(data.operator.in_shape))
    assert counter.calls == 1 + 2 + 3 * 2  # A^H y, the response of the normal operator, three directions
    algorithm.step(state, 0)
    assert counter.calls == 11


def test_fewer_operator_calls_than_classical_solvers(scan):
    data, answer = scan
    counter, goal = Counter(data.operator), None

    def calls(algorithm, start) -> int:
        state, k = algorithm.init(start), 0
        while algorithm.objective(state.x) > goal and k < 300:
            before = counter.calls
            state, k = algorithm.step(state, k), k + 1
            spent = counter.calls - before
            total.append(spent)
        return sum(total)

    counted = LeastSquares(counter.operator, data.y)
    goal = 1.001 * float(ADMM(data, TotalVariation(), 2e-4).objective(answer))
    found = []
    for kind in (ProximalNewton, ADMM, POGM):
        total: list[int] = []
        found.append(calls(kind(counted, TotalVariation(), 2e-4), np.zeros_like(answer)))
    assert 2 * found[0] < min(found[1:])


def test_bounds_are_kept(scan):
    data, _ = scan
    prior = TotalVariation() + NonNegative()
    found = unroll(ProximalNewton(data, prior, 2e-4), np.zeros(data.operator.in_shape), 40)
    plain = ADMM(data, prior, 2e-4, cg_iterations=4)
    answer = unroll(plain, np.zeros(data.operator.in_shape), 300)
    assert found.min() >= 0
    assert plain.objective(found) <= plain.objective(answer.clip(0)) * (1 + 1e-4)


def test_what_was_measured_holds_at_another_strength(scan):
    data, answer = scan
    algorithm = ProximalNewton(data, TotalVariation(), 1e-3)
    solution = solve(algorithm, np.zeros_like(answer), tol=1e-4)
    other = algorithm.at(2e-4)
    state = other.restart(solution.state, 1e-3)
    for k in range(12):
        state = other.step(state, k)
    assert other.objective(state.x) <= other.objective(answer) * (1 + 1e-3)


def test_a_batch_of_two_problems_is_solved_together(scan):
    data, answer = scan
    both = LeastSquares(data.operator, np.stack([data.y, -0.5 * data.y]))
    algorithm = ProximalNewton(both, TotalVariation(), 2e-4)
    state = algorithm.init(np.zeros((2, *answer.shape)))
    for k in range(40):
        state = algorithm.step(state, k)
    assert np.linalg.norm(state.x[0] - answer) <= 1e-2 * np.linalg.norm(answer)
    single = ProximalNewton(data, TotalVariation(), 2e-4).restart(state, 2e-4, item=0)
    assert single.x.shape == answer.shape and not single.model.W


def test_unrolled_in_torch_it_is_the_same(scan):
    data, _ = scan
    twin = LeastSquares(data.operator, torch.tensor(data.y))
    start = np.zeros(data.operator.in_shape)
    found = unroll(ProximalNewton(twin, TotalVariation(), 2e-4), torch.tensor(start), 5)
    np.testing.assert_allclose(found.numpy(), unroll(ProximalNewton(data, TotalVariation(), 2e-4), start, 5), atol=1e-6)


def test_a_schedule_is_fitted_to_the_calls_that_settings_took():
    rows = np.arange(12)
    features = np.zeros((12, len(FEATURES)))
    features[:, 1] = rows % 2  # evenness decides which setting is quick
    quick = np.where(rows % 2 == 0, 1, 8)
    calls = np.where(np.arange(len(GRID)) == quick[:, None], math.log(10), math.log(60))
    found = fitted(TOTAL_VARIATION, Lessons(features, calls, np.array(["fan", "blur"] * 6)), without="spokes")
    floors = [found(dict(zip(FEATURES, features[i], strict=True)))["floor"] for i in (0, 1)]
    assert floors[0] < GRID[3]["floor"] and floors[1] > GRID[6]["floor"]


@pytest.mark.parametrize("family", FAMILIES)
def test_problems_to_learn_on_are_reached_by_operator_calls_only(family):
    problem = costly(family, np.linspace(0, 1, 32 * 32).reshape(32, 32), 32, np.random.default_rng(0))
    operator = problem.operator
    assert not operator.has_solve_shifted and operator.fourier_gram() is None and operator.factors() is None
    assert problem.y.shape == operator.out_shape and problem.strength > 0


def test_costly_operators_take_learned_steps_unless_a_solver_is_named():
    costly = ops.FanBeam(SHAPE, 10, source_distance=30.0, detector_distance=10.0)
    y = costly(np.pad(np.ones((8, 8)), 4)) + 0.1 * np.random.default_rng(0).standard_normal(costly.out_shape)
    chosen = plan(y, costly, prior="tv").decisions["solver"]
    assert chosen.choice == "proximal-newton" and "learned" in chosen.reason
    assert plan(y, costly, prior="tv", solver="admm").decisions["solver"].choice == "admm"
    assert plan(y, costly, prior="tgv").decisions["solver"].choice == "admm"
    counter = Counter(costly)
    images, calls = [], []
    for solver in ("auto", "admm"):
        counter.calls = 0
        images.append(reconstruct(y, counter.operator, prior="tv", solver=solver, strength=0.1, tol=1e-4))
        calls.append(counter.calls)
    assert calls[0] < calls[1]
    np.testing.assert_allclose(images[0], images[1], atol=5e-3)


@pytest.mark.parametrize("given", [{"floor": 0.0}, {"inner": 0}, {"start": -1}, {"memory": 0}])
def test_wrong_numbers_are_named(scan, given):
    with pytest.raises(ArgumentError, match=next(iter(given))):
        ProximalNewton(scan[0], TotalVariation(), 1.0, **given)


@pytest.mark.parametrize("module", [curvature_model, proximal_newton])
def test_examples(module):
    result = doctest.testmod(module)
    assert result.failed == 0
