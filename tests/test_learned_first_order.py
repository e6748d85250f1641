"""Learned steps of proximal gradient and PDHG: the classical answer whatever a schedule says, twins, training."""

from __future__ import annotations

import doctest
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from priors import Tikhonov, TotalVariation
from recon import operators as ops
from recon.bench._trace import Counter
from recon.learn import first_order_steps as training
from recon.learn.first_order_problems import FAMILIES, NONLINEAR, Exercise
from recon.learn.images import Collection, Picture
from recon.learn.schedule_network import ScheduleNetwork
from solvers import (
    FISTA,
    PDHG,
    LearnedSchedule,
    LeastSquares,
    Safeguarded,
    learned_first_order,
    steps,
    unroll,
)
from solvers.learned_first_order import BOUNDS, FEATURES, LearnedSteps, with_learned_steps

SHAPE = (12, 14)
HELD_OUT = Path(__file__).parents[1] / "benchmarks" / "held_out"
KINDS = ("proximal-gradient", "primal-dual")


@pytest.fixture(scope="module")
def scan():
    """A few views of a block in double precision."""
    truth = np.zeros(SHAPE)
    truth[3:8, 4:10] = 1.0
    operator = ops.ParallelBeam(SHAPE, 14, spacing=1 / 14)
    return LeastSquares(
        operator, operator(truth) + 0.005 * np.random.default_rng(0).standard_normal(operator.out_shape)
    )


def classical(kind: str, data, prior=None, strength: float = 0.02, searched: bool = False):
    """FISTA with the step of the curvature or a searched one, or PDHG."""
    prior = prior or Tikhonov()
    if kind == "primal-dual":
        return PDHG(data, prior, strength)
    return FISTA(data, prior, strength, None if searched else 1 / data.operator.norm() ** 2)


def random_schedule(kind: str, seed: int = 0) -> LearnedSchedule:
    """One whose layers are all random."""
    rng = np.random.default_rng(seed)
    plain = LearnedSchedule.untrained(FEATURES[kind], BOUNDS[kind], widths=(8,))
    return replace(
        plain, layers=tuple((rng.standard_normal(w.shape), rng.standard_normal(b.shape)) for w, b in plain.layers)
    )


HARMFUL = {
    "random": lambda kind: random_schedule(kind, 3),
    "longest": lambda kind: lambda features: {"pace": 9.0, "momentum": 5.0, "relaxation": 3.0},
    "shortest": lambda kind: lambda features: {"pace": -9.0, "momentum": -5.0, "relaxation": -3.0},
    "not a number": lambda kind: lambda features: dict.fromkeys(BOUNDS[kind], math.nan),
    "overflow": lambda kind: lambda features: {"pace": 1e9},
}


@pytest.mark.parametrize("name", HARMFUL)
@pytest.mark.parametrize(
    "kind, searched", [("proximal-gradient", False), ("proximal-gradient", True), ("primal-dual", False)]
)
def test_whatever_a_schedule_says_the_minimiser_is_reached(scan, kind: str, searched: bool, name: str) -> None:
    matrix = scan.operator(np.eye(math.prod(SHAPE)).reshape(-1, *SHAPE)).reshape(math.prod(SHAPE), -1).T
    normal = matrix.T @ matrix + 0.02 * np.eye(math.prod(SHAPE))
    minimiser = np.linalg.solve(normal, matrix.T @ scan.y.ravel()).reshape(SHAPE)
    guarded = with_learned_steps(classical(kind, scan, searched=searched), HARMFUL[name](kind), bound=60)
    found = unroll(guarded, np.zeros(SHAPE), 1200)
    assert np.linalg.norm(found - minimiser) <= 1e-4 * np.linalg.norm(minimiser)


@pytest.mark.parametrize(
    "kind, searched", [("proximal-gradient", False), ("proximal-gradient", True), ("primal-dual", False)]
)
def test_an_untrained_schedule_is_the_classical_algorithm(scan, kind: str, searched: bool) -> None:
    plain = classical(kind, scan, TotalVariation(), 2e-4, searched)
    schedule = LearnedSchedule.untrained(FEATURES[kind], BOUNDS[kind])
    proposed = Safeguarded(plain, LearnedSteps(plain, schedule), merit=lambda state: 0.0)
    state = proposed.init(np.zeros(SHAPE))
    for k in range(30):
        state = proposed.step(state, k)
    assert state.taken == 30 and np.array_equal(state.x, unroll(plain, np.zeros(SHAPE), 30))


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_and_tensors_take_the_same_steps_and_gradients_reach_the_schedule(scan, kind: str) -> None:
    schedule = random_schedule(kind)
    network = ScheduleNetwork(schedule)
    tensors = replace(scan, y=torch.from_numpy(scan.y))
    found = []
    for data, proposed, start in (
        (scan, schedule, np.zeros(SHAPE)),
        (tensors, network, torch.zeros(SHAPE, dtype=torch.float64)),
    ):
        plain = classical(kind, data, TotalVariation(), 2e-4)
        found.append(unroll(Safeguarded(plain, LearnedSteps(plain, proposed), merit=lambda state: 0.0), start, 12))
    assert np.allclose(found[0], found[1].detach().numpy(), rtol=0, atol=1e-10)
    found[1].square().sum().backward()
    assert all(bool(weight.grad.abs().sum() > 0) for weight in network.weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learned_step_costs_no_more_than_a_classical_one(scan, kind: str) -> None:
    counter = Counter(scan.operator)
    plain = classical(kind, replace(scan, operator=counter.operator), TotalVariation(), 2e-4)
    guarded = with_learned_steps(plain, LearnedSchedule.untrained(FEATURES[kind], BOUNDS[kind]))
    state = guarded.step(guarded.init(np.zeros(SHAPE)), 0)
    counter.calls, before = 0, replace(state, average=math.inf)
    assert guarded.step(before, 1).taken == before.taken + 1 and counter.calls == 2


def test_factors_do_what_they_say(scan) -> None:
    """One step of FISTA and the point it goes on from; the fixed tau and relaxation of PDHG."""
    step = 1 / scan.operator.norm() ** 2
    told = {"pace": 0.3, "momentum": -0.4, "relaxation": 0.5}
    plain, x0 = classical("proximal-gradient", scan), np.random.default_rng(0).standard_normal(SHAPE)
    state = replace(plain.init(x0), t=3.0)
    after = plain.led(state, 0, told)
    long = step * math.exp(0.3)
    x = (x0 - long * scan.operator.adjoint(scan.operator(x0) - scan.y)) / (1 + long * 0.02)
    aged = 1 + 2 * math.exp(-0.4)
    v = x + (aged - 1) / (0.5 * (1 + math.sqrt(1 + 4 * aged**2))) * (x - x0) + 0.5 * (x - x0)
    assert np.allclose(after.x, x) and np.allclose(after.v, v) and np.allclose(after.Av, scan.operator(v))
    given = [PDHG(scan, Tikhonov(), 0.02, step_size=tau, relaxation=r) for tau, r in ((0.7, 1.6), (0.7 * math.e, 1.8))]
    first, second = (algorithm.init(x0) for algorithm in given)
    moved = given[0].led(first, 0, {"pace": 1.0, "relaxation": math.log(2)})
    assert np.allclose(moved.w, given[1].step(second, 0).w) and moved.tau == 0.7


def pictures(size: int = 96) -> Collection:
    y, x = np.mgrid[:size, :size] / size
    discs = [((x - c) ** 2 + (y - 0.5) ** 2 < 0.1) + 0.3 * x for c in (0.3, 0.5, 0.7)]
    found = tuple(Picture(d[None].astype(np.float32), 0.0, 1.0, float(d.mean())) for d in discs)
    return Collection((found,), (1.0,), {})


@pytest.mark.parametrize("family", FAMILIES)
def test_problems_of_every_family_are_solved_by_classical_steps(family: str) -> None:
    exercise = Exercise.drawn(family, pictures(), np.random.default_rng(1), 16)
    assert exercise.bounded == (family not in NONLINEAR) and np.isfinite(exercise.least)
    plain = exercise.fista()
    gaps = [float(plain.objective(s.x)) / exercise.least - 1 for s in islice(steps(plain, exercise.start), 100)]
    assert gaps[-1] < 0.3 * max(gaps[0], 1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_training_lowers_the_gap_and_goes_on(kind: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "POOL", 2)
    monkeypatch.setattr(training, "LENGTHS", (6, 6))
    monkeypatch.setattr(training, "SEARCHED", 0.0)
    monkeypatch.setattr(training, "LATEST", 10)
    stream = training.Stream(kind, pictures(), ("blur",), side=24)
    losses: list[str] = []
    path = tmp_path / "mine.safetensors"
    found = training.train(stream, path, losses.append, steps=12)
    assert LearnedSchedule.load(path).card["steps"] == 12
    exercises = [stream.exercise("blur", n) for n in range(2)]
    with torch.no_grad():
        before, after = (
            sum(float(training.judged(kind, e, schedule, 6)) for e in exercises) for schedule in (lambda f: {}, found)
        )
    assert after < before
    again = training.train(stream, path, losses.append, steps=12)  # nothing is left to do
    assert all(
        np.array_equal(a, b)
        for pair in zip(found.layers, again.layers, strict=True)
        for a, b in zip(*pair, strict=True)
    )


@pytest.mark.parametrize("fold", range(training.FOLDS))
def test_schedules_of_the_benchmark_lead_to_the_minimiser_and_are_small(scan, fold: int) -> None:
    answer = unroll(classical("primal-dual", scan, TotalVariation(), 2e-4), np.zeros(SHAPE), 1500)
    out = training.left_out("primal-dual", fold)
    schedule = LearnedSchedule.load(HELD_OUT / f"primal-dual-without-{'-'.join(out)}.safetensors")
    assert schedule.inputs == FEATURES["primal-dual"] and 500 < schedule.parameters < 5000
    guarded = with_learned_steps(classical("primal-dual", scan, TotalVariation(), 2e-4), schedule)
    found = unroll(guarded, np.zeros(SHAPE), 1000)
    assert np.linalg.norm(found - answer) <= 1e-4 * np.linalg.norm(answer)


def test_every_family_is_left_out_once() -> None:
    for kind in KINDS:
        out = [name for fold in range(training.FOLDS) for name in training.left_out(kind, fold)]
        assert sorted(out) == sorted(training.kept(kind)) and (kind == "primal-dual") != (set(NONLINEAR) <= set(out))


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(learned_first_order, extraglobs={"np": np}).failed == 0
