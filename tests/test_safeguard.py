"""Learned schedules and the safeguard: whatever is proposed, the classical answer is reached."""

from __future__ import annotations

import doctest
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import solvers
from priors import TotalVariation
from recon import operators as ops
from recon import psf
from recon.learn.schedule_network import ScheduleNetwork
from solvers import (
    LearnedPace,
    LearnedSchedule,
    LeastSquares,
    Safeguarded,
    learned_schedule,
    problem_features,
    safeguard,
)
from solvers.errors import ArgumentError, DTypeError, FileError, OptionError, ShapeError
from solvers.loop import unroll
from solvers.problem_features import Track, log_ratio, spectral_moments

INPUTS = ("share", "moment", "relative change", "contraction", "cosine")


def trained(seed: int = 0, bound: float = 3.0) -> LearnedSchedule:
    """A schedule whose layers are all random."""
    rng = np.random.default_rng(seed)
    plain = LearnedSchedule.untrained(INPUTS, {"pace": bound, "level": 0.5}, widths=(8, 6), rng=rng)
    layers = tuple((w + rng.standard_normal(w.shape), b + rng.standard_normal(b.shape)) for w, b in plain.layers)
    return replace(plain, mean=rng.standard_normal(5), scale=1 + rng.random(5), layers=layers)


def features(value: float = 0.3) -> dict[str, float]:
    return {name: value * (i + 1) for i, name in enumerate(INPUTS)}


@pytest.fixture(scope="module")
def deblurring():
    truth = np.zeros((16, 16))
    truth[4:11, 5:12] = 1
    operator = ops.Blur(psf.gaussian(1.0), truth.shape)
    y = operator(truth) + 0.02 * np.random.default_rng(0).standard_normal(truth.shape)
    return LeastSquares(operator, y)


@pytest.fixture(scope="module")
def answer(deblurring) -> np.ndarray:
    return unroll(solvers.ADMM(deblurring, TotalVariation(), 0.02), deblurring.y, 600)


HARMFUL = {
    "random network": trained(1),
    "longest steps": lambda found: {"pace": 7.0},
    "shortest steps": lambda found: {"pace": -7.0},
    "not a number": lambda found: {"pace": math.nan},
    "overflow": lambda found: {"pace": 1e9},
    "nothing": lambda found: {},
}


@pytest.mark.parametrize(
    "solver, name",
    [("ADMM", name) for name in HARMFUL]
    + [(solver, name) for solver in ("DouglasRachford", "PDHG") for name in list(HARMFUL)[:4]],
)
def test_a_harmful_schedule_still_gives_the_classical_answer(solver: str, name: str, deblurring, answer) -> None:
    plain = getattr(solvers, solver)(deblurring, TotalVariation(), 0.02)
    guarded = Safeguarded(plain, LearnedPace(plain, HARMFUL[name], {"moment": 0.5}), bound=60)
    found = unroll(guarded, deblurring.y, 360 if solver != "PDHG" else 1500)
    assert np.linalg.norm(found - answer) <= 1e-4 * np.linalg.norm(answer)


@pytest.mark.parametrize("merit", ["residual", lambda state: float(np.abs(state.x).max())])
def test_other_merits_keep_the_answer_too(merit, deblurring, answer) -> None:
    plain = solvers.DouglasRachford(deblurring, TotalVariation(), 0.02)
    guarded = Safeguarded(plain, LearnedPace(plain, trained(2), {"moment": 0.5}), merit=merit, bound=30)
    assert np.linalg.norm(unroll(guarded, deblurring.y, 300) - answer) <= 1e-4 * np.linalg.norm(answer)


def test_a_step_that_does_no_harm_is_taken_up_to_the_bound(deblurring) -> None:
    plain = solvers.ADMM(deblurring, TotalVariation(), 0.02, balance=False)
    guarded = Safeguarded(plain, LearnedPace(plain, lambda found: {"pace": 0.0}, {}), bound=12)
    state = guarded.init(deblurring.y)
    for k in range(15):
        state = guarded.step(state, k)
    assert state.taken == 12
    assert np.allclose(state.x, unroll(plain, deblurring.y, 15), atol=1e-12)


def test_refusals_end_the_proposals(deblurring) -> None:
    asked = []
    plain = solvers.PDHG(deblurring, TotalVariation(), 0.02)
    guarded = Safeguarded(plain, lambda state, k, run: asked.append(k), refusals=4)
    found = unroll(guarded, deblurring.y, 10)
    assert asked == [0, 1, 2, 3]
    assert np.array_equal(found, unroll(plain, deblurring.y, 10))


def test_another_strength_and_a_restart_follow(deblurring) -> None:
    plain = solvers.ADMM(deblurring, TotalVariation(), 0.1)
    guarded = Safeguarded(plain, LearnedPace(plain, trained(), {"moment": 0.5})).at(0.02)
    assert guarded.strength == guarded.proposal.algorithm.strength == 0.02
    state = guarded.restart(guarded.init(deblurring.y), 0.1)
    assert state.taken == 0 and guarded.objective(state.x) == plain.at(0.02).objective(state.x)


@pytest.mark.parametrize("solver", ["ADMM", "DouglasRachford", "PDHG"])
def test_a_solution_stays_one_at_any_pace(solver: str, deblurring) -> None:
    plain = getattr(solvers, solver)(deblurring, TotalVariation(), 0.02)
    state = plain.init(deblurring.y)
    for k in range(900):
        state = plain.step(state, k)
    moved = plain.step(plain.paced(state, 5.0), 900)
    assert np.linalg.norm(moved.x - state.x) <= 1e-4 * np.linalg.norm(state.x)


def test_both_twins_are_equal() -> None:
    schedule = trained()
    network = ScheduleNetwork(schedule)
    found, expected = network(features()), schedule(features())
    assert all(math.isclose(float(found[name].detach()), expected[name], rel_tol=1e-12) for name in expected)
    network(features())["pace"].backward()
    assert all(bool(weight.grad.abs().sum() > 0) for weight in network.weights)
    again = network.schedule({"made": "here"})
    assert again(features()) == pytest.approx(expected) and again.card == {"made": "here"}


def test_an_untrained_schedule_is_the_classical_one_and_factors_are_bounded() -> None:
    plain = LearnedSchedule.untrained(INPUTS, {"pace": 1.0})
    assert set(plain(features(7.0)).values()) == {0.0}
    assert 1000 < plain.parameters < 4000
    assert all(abs(trained(s, bound=0.7)(features(100.0))["pace"]) <= 0.7 for s in range(5))
    assert trained()(features(math.nan)) == {"pace": 0.0, "level": 0.0}


def test_far_from_what_was_seen_the_schedule_is_classical() -> None:
    schedule = trained()
    here = np.array([features()[name] for name in INPUTS])
    known = (here - schedule.mean) / schedule.scale
    known[2] = np.nan  # which does not matter
    gated = replace(schedule, known=known[None], reach=0.5)
    assert gated(features()) == schedule(features())
    beyond = features() | {"relative change": 40.0, "share": features()["share"] + 0.5 * float(schedule.scale[0])}
    assert gated.trust(beyond) == pytest.approx(math.exp(-0.5))
    assert gated(beyond)["pace"] == pytest.approx(math.exp(-0.5) * schedule(beyond)["pace"])
    assert float(ScheduleNetwork(gated)(beyond)["pace"].detach()) == pytest.approx(gated(beyond)["pace"])
    assert gated(features() | {"moment": 1e3}) == {"pace": 0.0, "level": 0.0}


def test_files_of_schedules(tmp_path, monkeypatch) -> None:
    schedule = replace(trained(), card={"minutes": 3}, seen=2.0, known=np.ones((3, 5)), reach=0.4)
    schedule.save(tmp_path / "mine.safetensors")
    again = LearnedSchedule.load(tmp_path / "mine.safetensors")
    assert again(features()) == schedule(features()) and again.card == {"minutes": 3}
    (tmp_path / "mine.pt").write_bytes(b"")
    with pytest.raises(FileError, match="is a pickle"):
        LearnedSchedule.load(tmp_path / "mine.pt")
    monkeypatch.setattr(learned_schedule, "FOLDER", tmp_path)
    assert learned_schedule.shelf().register() == ("mine",)
    with pytest.raises(OptionError, match="Did you mean 'mine'"):
        LearnedSchedule.load("mime")
    damaged = bytearray((tmp_path / "mine.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "mine.safetensors").write_bytes(damaged)
    with pytest.raises(FileError, match="damaged"):
        LearnedSchedule.load("mine")


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_moments_are_those_of_the_matrix(scale: float) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((60, 80))
    operator = ops.from_matrix(scale * matrix)
    gram = scale**2 * matrix.T @ matrix / operator.norm() ** 2
    found = spectral_moments(operator, probes=400)
    assert found == pytest.approx((np.trace(gram) / 80, np.trace(gram @ gram) / 80), rel=0.06)


def test_a_track_of_a_straight_way_and_back() -> None:
    track = Track(np.zeros(2)).moved(np.array([4.0, 0.0])).moved(np.array([5.0, 0.0]))
    assert track.features() == pytest.approx(
        {"relative change": math.log10(0.2), "contraction": math.log10(0.25), "cosine": 1.0}
    )
    assert track.moved(np.array([4.5, 0.0])).cosine == pytest.approx(-1)
    assert track.moved(np.array([5.0, 0.0])).features()["contraction"] == -6


def test_ratios_are_bounded() -> None:
    assert log_ratio(1.0, 100.0) == -2
    assert (log_ratio(1.0, 0.0), log_ratio(0.0, 1.0), log_ratio(0.0, 0.0)) == (6, -6, 0)
    assert log_ratio(math.nan, 1.0) == 0


def test_wrong_arguments(deblurring) -> None:
    plain = solvers.ADMM(deblurring, TotalVariation(), 0.02)
    with pytest.raises(ArgumentError, match="memory"):
        Safeguarded(plain, None, memory=1.0)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="merit is 'risk'"):
        Safeguarded(plain, None, merit="risk")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="Pass merit='residual'"):
        Safeguarded(object(), None, merit="objective")  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="paced"):
        LearnedPace(solvers.FISTA(deblurring, TotalVariation(), 0.02), trained(), {})
    with pytest.raises(ShapeError, match="expected a network from 5 features to 2"):
        replace(trained(), mean=np.zeros(4))


def test_the_examples_in_the_docstrings() -> None:
    for module in (learned_schedule, problem_features, safeguard):
        assert doctest.testmod(module, extraglobs={"np": np}).failed == 0


def test_gradients_reach_a_schedule_through_torch() -> None:
    network = ScheduleNetwork(LearnedSchedule.untrained(("share",), {"pace": 1.0}))
    network({"share": torch.tensor(0.5)})["pace"].backward()
    assert network.biases[-1].grad is not None
