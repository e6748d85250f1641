"""Learned steps of plug-and-play restoration: use, lessons, training."""

from __future__ import annotations

import doctest
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from priors import Box, Denoiser, PlugAndPlay, _precision
from recon import _learned_steps, files, plan, reconstruct
from recon import operators as ops
from recon._first_guess import first_guess
from recon._learned_steps import START_TOL, classical_start
from recon._nonlinear import _square_of_norm, carried_to_image
from recon._plug_and_play import between_steps, denoiser_of
from recon.learn import ScheduleSettings, Source, stopping, train_schedule
from recon.learn import schedules as training
from recon.learn.images import Collection, Picture
from recon.learn.lessons import GRAIN, Exercise, Lessons, Runner, grain, lessons, problem
from recon.learn.practice import AHEAD, between, missed, practised, reference
from recon.learn.problems import ALL
from recon.learn.schedules import fitted
from recon.learn.stopping import Rehearsal, rehearsed, with_stop
from recon.noise import Gaussian
from recon.plan import DEFAULT_TOL, prepare
from solvers import (
    DPIR,
    LearnedDPIR,
    LearnedNonlinearDPIR,
    LearnedSchedule,
    LeastSquares,
    learned_nonlinear_plug_and_play,
    learned_plug_and_play,
    learned_schedule,
)
from solvers._local_mean import local_mean
from solvers.errors import ArgumentError, FileError, OptionError
from solvers.learned_nonlinear_plug_and_play import LAST
from solvers.learned_plug_and_play import (
    BOUNDS,
    CLEAR,
    FEATURES,
    FIRST,
    LEAST_STEPS,
    SURE,
    UNTAUGHT,
    UNTAUGHT_EXACT,
    UNTAUGHT_PARTIAL,
)
from solvers.loop import Status, solve, unroll
from solvers.problem_features import LEAST_DETAIL, detail, samples_a_pixel

SIGMA = 0.03
UNSAID = ("x0", "bounds", "channel_axis", "max_iter", "tol", "callback")
SMALL = ScheduleSettings(widths=(6,), batch=2, patch=32, steps=(2, 3), ascent=1, problems=2, practice=1, rehearsals=1)


def smooth(v, sigma):
    """A denoiser for arrays and tensors: the mean of neighbours, the more the higher the level."""
    share = 0.5 * sigma / (sigma + float(abs(v - v.mean()).mean()))
    roll = (lambda a, n, axis: a.roll(n, axis)) if isinstance(v, torch.Tensor) else np.roll
    around = sum(roll(v, n, axis) for n in (-1, 1) for axis in (-1, -2)) / 4
    return (1 - share) * v + share * around


@pytest.fixture(autouse=True)
def one_thread():
    """The images are small: threads would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def blurred():
    truth = np.zeros((20, 24))
    truth[5:13, 6:16] = 1
    operator = ops.Blur(np.ones((3, 3)) / 9, truth.shape)
    return operator, operator(truth) + SIGMA * np.random.default_rng(0).standard_normal(truth.shape)


def over_untaught(told: dict[str, float]) -> dict[str, float]:
    """What a schedule says for these parameters of an operator that sees all."""
    return {name: value - UNTAUGHT.get(name, 0.0) for name, value in (dict.fromkeys(BOUNDS, 0.0) | told).items()}


def restored(operator, y, schedule, sigma: float = SIGMA, length: int = 5) -> LearnedDPIR:
    return replace(problem(operator, y, Gaussian(sigma), PlugAndPlay(smooth), schedule), length=length, first=None)


def pictures(size: int = 72) -> Collection:
    y, x = np.mgrid[:size, :size] / size
    discs = [((x - c) ** 2 + (y - 0.5) ** 2 < 0.1) + 0.3 * x for c in (0.3, 0.5, 0.7)]
    found = tuple(Picture(d[None].astype(np.float32), 0.0, 1.0, float(d.mean())) for d in discs)
    return Collection((found,), (1.0,), {})


def test_a_schedule_departs_from_what_suits_any_problem(blurred) -> None:
    operator, y = blurred
    mask = ops.Mask(np.arange(y.size).reshape(y.shape) % 3 > 0)
    for A, usual in ((operator, UNTAUGHT), (mask, UNTAUGHT_PARTIAL)):
        learned = restored(A, A(y), LearnedSchedule.untrained(FEATURES, BOUNDS))
        assert learned._told_by_schedule(learned.init(y), 0.5) == {**usual, "stop": 0.0}


def test_factors_of_one_are_the_classical_schedule_where_little_noise_passes(blurred) -> None:
    operator, y = blurred
    learned = restored(operator, y, lambda features: over_untaught({}))
    learned = replace(learned, noise=1e-4 * learned.noise)
    plain = DPIR(learned.data, learned.prior, learned.strength, learned.level, learned.length)
    assert np.allclose(unroll(learned, y, 5), unroll(plain, y, 5), atol=1e-8)


@pytest.mark.parametrize("nothing", [dict.fromkeys(BOUNDS, math.nan) | {"level": math.inf}, {}])
def test_what_is_no_number_is_untaught(nothing, blurred) -> None:
    operator, y = blurred
    untaught = unroll(restored(operator, y, lambda features: dict.fromkeys(BOUNDS, 0.0)), y, 5)
    assert np.array_equal(unroll(restored(operator, y, lambda features: nothing), y, 5), untaught)
    far = unroll(restored(operator, y, lambda features: dict.fromkeys(BOUNDS, 1e9)), y, 5)
    assert np.array_equal(far, unroll(restored(operator, y, lambda features: over_untaught(BOUNDS)), y, 5))


def test_the_noise_that_passes_is_measured(blurred) -> None:
    operator, y = blurred
    learned = restored(operator, y, lambda features: dict.fromkeys(BOUNDS, 0.0))
    noise = SIGMA * np.random.default_rng(1).standard_normal((40, *y.shape))
    seen = operator.solve_shifted(operator.adjoint(noise), 0.01)
    assert learned._passed(0.01) == pytest.approx(float(seen.std()), rel=0.1)


def test_no_schedule_tells_less_noise_than_passes(blurred) -> None:
    operator, y = blurred
    learned = restored(operator, y, lambda features: {"level": -3.0})
    state = learned.init(y)
    for k in range(5):
        told = learned.before_denoising(state, k)
        assert told.level >= told.passed > 0
        state = learned.after_denoising(state, learned.denoised(told, k), told)


def test_pixels_measured_without_noise_are_kept() -> None:
    mask = np.random.default_rng(0).random((16, 16)) < 0.7
    y = ops.Mask(mask)(np.random.default_rng(1).random((16, 16)))
    data = LeastSquares(ops.Mask(mask), y)
    parts = data, PlugAndPlay(smooth), 1e-6
    told = {"answer": 1.0 - UNTAUGHT_EXACT["answer"]}
    kept = LearnedDPIR(*parts, noise=1e-3, data_noise=1e-6, schedule=lambda features: told)
    assert np.abs(unroll(kept, y, 8) - y)[mask].max() < 1e-4


def test_factors_and_momentum_do_what_they_say(blurred) -> None:
    operator, y = blurred
    told = {"penalty": 0.7, "level": -0.4, "momentum": 0.6, "answer": 0.8}
    learned = restored(operator, y, lambda features: over_untaught(told))
    gram = np.abs(np.fft.fft2(ops.Blur(np.ones((3, 3)) / 9, y.shape)(_impulse(y.shape)))) ** 2
    z = before = y
    first = 0.85 * y.std()
    for k in range(5):
        level = first ** (1 - k / 4) * learned.level ** (k / 4)
        rho = learned.strength / level**2 * math.exp(0.7)
        v = z + 0.6 * (z - before)
        fit = np.fft.ifft2(np.fft.fft2(operator.adjoint(y) + rho * v) / (gram + rho)).real
        passed = learned._passed(rho)
        level = ((level * math.exp(-0.4)) ** 4 + passed**4) ** 0.25
        before, z = z, smooth(fit, level)
    rho = (learned.noise / (0.37 * level)) ** 2
    explained = np.fft.ifft2(np.fft.fft2(operator.adjoint(y) + rho * z) / (gram + rho)).real
    z = 0.2 * z + 0.8 * explained
    assert np.allclose(unroll(learned, y, 5), z, atol=1e-10)


def test_uneven_noise_reaches_the_denoiser_even() -> None:
    gains = np.geomspace(0.05, 1, 48) * np.ones((12, 1))
    operator, rng = ops.Diagonal(gains), np.random.default_rng(0)
    seen = []
    noise = SIGMA * rng.standard_normal((200, *gains.shape))
    learned = restored(operator, noise[0], lambda features: {}, length=1)
    noting = PlugAndPlay(lambda v, s: seen.append(v / s) or v)
    learned = replace(learned, level=0.01, first=0.01, strength=1e-9, prior=noting)
    for y in noise:  # of nothing but noise, and the data alone decide
        unroll(replace(learned, data=LeastSquares(operator, y)), 0 * y, 1)
    spread = np.std(seen, axis=0)
    assert spread.min() > 0.7 and spread.max() < 1.4, (spread.min(), spread.max())  # of gains that differ by 20
    assert np.abs(local_mean(gains**2, 2)[:, 5] - (gains[0, 3:8] ** 2).mean()).max() < 1e-12
    assert np.abs(local_mean(gains**2, 2)[:, 0] - (gains[0, :3] ** 2).mean()).max() < 1e-12


def test_dark_places_keep_pace_with_bright_ones() -> None:
    gains = np.geomspace(0.05, 1, 48) * np.ones((12, 1))
    operator, rng = ops.Diagonal(gains), np.random.default_rng(0)
    y = operator(rng.random(gains.shape)) + 1e-3 * rng.standard_normal(gains.shape)
    learned = restored(operator, y, lambda features: over_untaught({}), sigma=1e-3)
    start = rng.random(gains.shape)
    state = learned.init(start)
    assert -state.problem["noise"] > CLEAR
    told, units = learned.before_denoising(state, 0), learned._units(gains**2, -CLEAR)
    slope = gains * (gains * told.fit - y) + learned.strength / (state.first * units) ** 2 * (told.fit - start)
    assert np.abs(slope).max() < 1e-12 * np.abs(y).max()  # a data step whose penalty is lower where it is dark
    assert (np.diff(units) < 0).all() and (told.level * told.places >= state.first * units).all()
    assert np.allclose(learned._units(9 * gains**2, -CLEAR), units)
    assert np.array_equal(learned._units(gains**2, 0.1), np.ones(gains.shape))  # a faint image


def test_the_less_is_measured_the_further_off_is_the_start() -> None:
    half, fifth = (np.arange(100).reshape(10, 10) % n == 0 for n in (2, 5))
    for operator, share in (
        (ops.CartesianMRI(half), 0.5),
        (ops.CartesianMRI(fifth), 0.2),
        (ops.Downsample(2, (10, 10)), 0.25),
    ):
        assert samples_a_pixel(operator) == pytest.approx(share)
        levels = _learned_steps._levels(operator, operator(np.ones((10, 10))), 0.01)
        assert levels["texture"] == pytest.approx(_learned_steps.TEXTURE / share)


@pytest.mark.parametrize("over", [0.3, 1.0, 5.0])
def test_detail_is_the_grain_of_the_image_over_the_noise(over: float) -> None:
    rng, identity = np.random.default_rng(0), ops.Identity((300, 300))
    scene = np.where(np.indices((300, 300)).sum(0) > 250, 100.0, 3.0)  # an edge is no grain
    noise, own = rng.standard_normal((2, 300, 300))
    found = detail(identity, scene + noise + over * own, 1.0)
    assert found == pytest.approx(math.log10(over / LEAST_DETAIL), abs=0.06)
    assert detail(identity, 1e3 * (scene + noise + over * own), 1e3) == pytest.approx(found)
    assert detail(identity, scene + noise, 1.0) < 0.35


def test_measurements_that_are_no_plane_image_tell_no_detail() -> None:
    rng = np.random.default_rng(0)
    shape = (32, 32)
    for operator in (
        ops.CartesianMRI(rng.random(shape) < 0.5),
        ops.SinglePixel(shape, 300),
        ops.Mask(rng.random(shape) < 0.5),
    ):
        assert detail(operator, operator(rng.standard_normal(shape)), 1e-3) == 0.0


def test_the_denoiser_sees_the_image_in_other_positions(blurred) -> None:
    operator, y = blurred
    shapes = []

    def noting(v, sigma):
        shapes.append(v.shape)
        return smooth(v, sigma)

    plain = restored(operator, y, lambda features: {})
    turned = replace(plain, prior=PlugAndPlay(noting), turns=True)
    assert np.allclose(unroll(turned, y, 5), unroll(plain, y, 5), atol=1e-12)  # it prefers no direction
    assert shapes == [y.shape, y.shape[::-1]] * 2 + [y.shape]


def test_the_last_answer_is_that_of_the_finest_denoiser(blurred) -> None:
    operator, y = blurred
    asked = []

    def noting(name):
        return PlugAndPlay(lambda v, sigma: asked.append(name) or smooth(v, sigma))

    learned = replace(restored(operator, y, lambda features: {}), prior=noting("fine"), between=noting("coarse"))
    assert np.allclose(unroll(learned, y, 5), unroll(replace(learned, between=None), y, 5), atol=1e-12)
    assert asked == ["coarse"] * 4 + ["fine"] * 6
    asked.clear()
    unroll(replace(learned, length=8, schedule=lambda features: {"stop": 1.0}), y, 8)
    assert asked == ["coarse"] * (LEAST_STEPS - 1) + ["fine"]


def test_what_is_rounded_between_steps_does_not_reach_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_precision, "_half_is_quicker", lambda *_: True)
    truth, camera = scene(), ops.SinglePixel((64, 64), 2000)
    y = camera(truth) + np.float32(0.005) * np.random.default_rng(0).standard_normal(2000, dtype=np.float32)
    learned = problem(camera, y, Gaussian(0.005), PlugAndPlay(Denoiser()), LearnedSchedule.load("plug-and-play"))
    assert learned.between.denoiser.precision == "coarse" and learned.prior.denoiser.precision == "auto"
    x, exact = (unroll(run, truth, 8) for run in (learned, replace(learned, between=None)))
    difference, error = (np.linalg.norm(a) for a in (x - exact, exact - truth))
    assert 0 < difference < 0.05 * error


def test_only_plug_and_play_of_the_library_rounds_coarsely() -> None:
    box, exact = Box(0, 1), PlugAndPlay(Denoiser(precision="float32"))
    assert all(between_steps(prior) is None for prior in (None, box, exact, PlugAndPlay(smooth)))
    several = between_steps(2.0 * PlugAndPlay(Denoiser()) + box)
    assert denoiser_of(several).denoiser == Denoiser(precision="coarse") and several.parts[1] is box


def test_the_start_is_solved_no_closer_than_steps_need(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, camera = scene(), ops.SinglePixel((64, 64), 2000)
    y = camera(truth) + np.float32(0.005) * np.random.default_rng(0).standard_normal(2000, dtype=np.float32)
    start, settled = classical_start(camera, y, Gaussian(0.005)), reconstruct(y, camera, prior="tv", noise=0.005)
    assert np.linalg.norm(start - settled) < 4 * START_TOL * np.linalg.norm(settled)
    learned = {"prior": "learned", "noise": 0.005}
    plain = {"solver": "auto", "strength": "auto"} | dict.fromkeys(UNSAID)

    def tolerance(**given: Any) -> float:
        return prepare(y, camera, **(plain | learned | given)).before.tol

    assert tolerance() == START_TOL and tolerance(tol=0.1) == 0.1
    assert tolerance(noise="auto") == tolerance(solver="dpir") == DEFAULT_TOL  # its residual tells the noise
    images = []
    for tol in (START_TOL, 1e-4):
        monkeypatch.setattr(_learned_steps, "START_TOL", tol)
        images.append(reconstruct(y, camera, **learned))
    assert np.linalg.norm(images[0] - images[1]) < 0.1 * np.linalg.norm(images[1] - truth)


def test_a_function_of_each_pixel_carries_its_risk_over_in_closed_form() -> None:
    F = ops.CameraResponse((24, 24), 2.2, toe=0.01)
    x = np.random.default_rng(0).uniform(0.1, 1, F.in_shape)
    closed = carried_to_image(F, x, 1e-2)(x)
    J = F.linearize(x)
    slopes, square = J(np.ones_like(x)), _square_of_norm(J, x)
    shares = slopes * square**0.5 / (slopes**2 + 1e-2 * square)  # singular values of P
    assert square == pytest.approx(J.norm() ** 2, rel=0.3)
    assert np.allclose(closed, shares**2 * x, rtol=1e-12)


def scene() -> np.ndarray:
    """Edges and texture of 64 x 64 pixels."""
    rows, columns = np.indices((64, 64)) / 64
    picture = 0.4 + 0.3 * (np.hypot(rows - 0.5, columns - 0.4) < 0.3) + 0.1 * np.sin(40 * rows * columns)
    return picture.astype(np.float32)


def _impulse(shape: tuple[int, int]) -> np.ndarray:
    impulse = np.zeros(shape)
    impulse[0, 0] = 1
    return impulse


class _ToldMore(LearnedDPIR):
    """Its denoiser is told more noise towards the end, but not in the last step."""

    def before_denoising(self, state, k):
        told, more = super().before_denoising(state, k), learned_nonlinear_plug_and_play.MORE
        share = k / (self.length - 1)
        return replace(told, level=told.level * math.exp(more * share)) if share < 1 else told


def test_curves_and_counts_are_taken_for_parabolas() -> None:
    rng = np.random.default_rng(1)
    truth = 0.4 + 0.2 * np.kron(rng.random((3, 3)), np.ones((8, 8)))
    told = {"penalty": 0.3, "level": 0.2, "momentum": 0.5, "answer": 0.4}
    gains = ops.Diagonal(rng.uniform(0.5, 1, truth.shape))
    y = gains(truth) + SIGMA * rng.standard_normal(truth.shape)
    linear = restored(gains, y, lambda features: told)
    parts = linear.data, linear.prior, linear.strength
    same = LearnedNonlinearDPIR(*parts, linear.noise, linear.length, linear.schedule)  # a parabola already
    first = same.init(y).first
    assert first == pytest.approx(FIRST * LAST * SIGMA / gains(np.ones_like(truth)).mean())
    linear = _ToldMore(**vars(replace(linear, level=first / FIRST, first=first)))
    for steps in (4, 5, 7):
        assert np.allclose(unroll(same, y, steps), unroll(linear, y, steps), atol=1e-10)

    F = ops.Saturation(truth.shape, 0.8, 2.0)
    data = LeastSquares(F, F(truth) + SIGMA * rng.standard_normal(truth.shape))
    curved = LearnedNonlinearDPIR(data, PlugAndPlay(smooth), 0.23 * SIGMA**2, SIGMA, schedule=lambda features: told)
    state = curved.init(truth)
    fit = curved.before_denoising(state, 0).fit
    near = curved._near(fit, state.first / FIRST)
    rho = curved.strength / state.first**2 * math.exp(0.3) / near._units(near._gains, state.problem["noise"]) ** 2
    slope = F.linearize(fit)(np.ones_like(fit)) * (F(fit) - data.y) + rho * (fit - truth)
    assert np.abs(slope).max() < 1e-3 * np.abs(F.linearize(truth)(F(truth) - data.y)).max()  # the proximal map


def test_what_is_told_has_no_unit(blurred) -> None:
    operator, y = blurred
    told = []

    def schedule(features):
        told.append(dict(features))
        return {"penalty": -0.5, "level": 0.1, "momentum": 0.4, "answer": 0.5}

    unroll(restored(operator, y, schedule), y, 5)
    unroll(restored(operator, 40 * y, schedule, 40 * SIGMA), 40 * y, 5)  # another unit of the image
    unroll(restored(3 * operator, 3 * y, schedule, 3 * SIGMA), y, 5)  # another unit of the measurement
    assert set(told[0]) == set(FEATURES)
    for other in (5, 10):
        for ours, theirs in zip(told[:5], told[other : other + 5], strict=True):
            assert ours == pytest.approx(theirs, abs=2e-5)


@pytest.mark.parametrize("family", ALL)
def test_tensors_give_what_arrays_give(family: str) -> None:
    exercise = Exercise.drawn(family, pictures(), np.random.default_rng(1), 32)
    told = {"penalty": 0.3, "level": -0.2, "momentum": 0.5, "answer": 0.5}
    learned = replace(exercise.algorithm, prior=PlugAndPlay(smooth), length=3, schedule=lambda features: told)
    operator = learned.data.operator
    assert (operator.pointwise or operator.has_solve_shifted) and max(operator.in_shape) <= 40
    y, start = (np.asarray(a, np.result_type(a.numpy(), np.float64)) for a in (learned.data.y, exercise.start))
    ours = unroll(replace(learned, data=replace(learned.data, y=y)), start, 3)
    data = replace(learned.data, y=torch.from_numpy(y))
    theirs = unroll(replace(learned, data=data), torch.from_numpy(start), 3)
    assert np.allclose(ours, theirs.numpy(), atol=1e-7)


def test_gradients_of_a_run_are_those_of_differences() -> None:
    images = pictures()
    names = ("blur", "mri", "shading", "saturation")
    exercises = [Exercise.drawn(name, images, np.random.default_rng(3), 32) for name in names]
    runner = Runner(exercises, 2, "fast-grey")
    runner.half = runner.network  # the rounding of half precision hides differences
    theta = torch.full((4, 2, len(BOUNDS)), 0.1, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(runner(theta)[0][-1].sum(), theta)
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 2, len(BOUNDS))))
    with torch.no_grad():
        above, below = (runner(theta + step * direction)[0][-1].double() for step in (0.005, -0.005))
    differences, gradients = (above - below) / 0.01, (found * direction).sum((1, 2))
    assert torch.allclose(differences, gradients, rtol=0.02, atol=0.02)


def test_lessons_are_better_than_an_untaught_run_and_come_back_from_a_file(tmp_path: Path) -> None:
    images = pictures()
    exercises = [Exercise.drawn(name, images, np.random.default_rng(5), 32) for name in ("blur", "gamma")]
    found = lessons(exercises, 4, 3, "fast-grey")
    assert found.features.shape == (8, len(FEATURES)) and found.runs == 2
    assert np.isfinite(found.features).all() and (found.gain > 0).all()
    found.save(tmp_path / "l.safetensors", {"seconds": 3})
    again, about = Lessons.load(tmp_path / "l.safetensors")
    assert about == {"seconds": 3} and np.array_equal(again.targets, found.targets)
    assert (found + again).runs == 4
    assert set(found.without(["blur"]).family) == {list(ALL).index("gamma")}
    (tmp_path / "l.safetensors").write_bytes(b"no")
    with pytest.raises(FileError, match="holds no lessons"):
        Lessons.load(tmp_path / "l.safetensors")


def test_a_fit_follows_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "ROUNDS", 80)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((160, len(FEATURES)))
    features[::8, FEATURES.index("share")] = 0  # the first steps of runs
    features[:, FEATURES.index("noise")] = -np.abs(features[:, FEATURES.index("noise")])
    features[:, FEATURES.index("curved")] = 0
    same = 0.3 + 0 * features[:, 1]
    targets = np.stack([0.5 * features[:, 3], -np.tanh(features[:, 0]), same, same], axis=1)
    table = Lessons(features, targets, np.ones_like(targets), np.ones(160), np.zeros(160), np.full(160, 8.0))
    schedule = fitted(table, ScheduleSettings(widths=(16,)))
    assert schedule.trust(dict(zip(FEATURES, features[8], strict=True))) == pytest.approx(1)
    schedule = replace(schedule, known=None)
    values = np.array([list(schedule(dict(zip(FEATURES, row, strict=True))).values()) for row in features])
    assert np.abs(values - targets).mean() < 0.15
    constant = fitted(table, ScheduleSettings(widths=(4,)), inputs=("share",))
    assert constant.inputs == ("share",) and constant({"share": 0.0})["momentum"] == pytest.approx(0.3, abs=0.05)


def test_flat_images_teach_nothing_and_curves_are_known_by_what_is_linear() -> None:
    rng = np.random.default_rng(0)
    features = np.zeros((60, len(FEATURES)))
    features[:, FEATURES.index("amplification")] = rng.uniform(-1, 0, 60)
    features[30:, FEATURES.index("curved")] = 1
    targets = np.full((60, len(BOUNDS)), 0.3)
    table = Lessons(features, targets, np.ones_like(targets), np.ones(60), np.zeros(60), np.ones(60))
    flat = replace(table, features=features + 0.3 * (np.array(FEATURES) == "noise"), targets=-targets)
    alone, both = (fitted(found, ScheduleSettings(widths=(4,))) for found in (table, table + flat))
    assert np.array_equal(alone.layers[-1][1], both.layers[-1][1])
    assert len(alone.known) == 30  # of the linear ones, each once
    again = fitted(table + table, ScheduleSettings(widths=(4,)))
    assert np.allclose(np.sort(again.known, 0), np.sort(alone.known, 0), equal_nan=True)
    ends = [np.nanmin(alone.known), np.nanmax(alone.known)]
    assert np.isin(ends, alone.known[:3]).all()  # the far ones come first


def test_uneven_gains_are_a_kind_of_their_own() -> None:
    """What was learned without them is not said of them."""
    rng = np.random.default_rng(0)
    features = rng.uniform(-1, 0, (60, len(FEATURES)))
    features[:, [FEATURES.index(name) for name in ("curved", "uneven", "share")]] = 0
    targets = np.full((60, len(BOUNDS)), 0.3)
    table = Lessons(features, targets, np.ones_like(targets), np.ones(60), np.zeros(60), np.ones(60))
    schedule = fitted(table, ScheduleSettings(widths=(4,)))
    known = dict(zip(FEATURES, features[5], strict=True))
    assert schedule.trust(known) == pytest.approx(1)
    assert schedule.trust(known | {"uneven": 1.0}) < 1e-5


def test_gains_are_uneven_where_each_pixel_has_its_own() -> None:
    def uneven(operator: Any) -> float:
        problem = LearnedDPIR(LeastSquares(operator, np.ones(operator.out_shape)), PlugAndPlay(Denoiser()), 0.1)
        return problem.init(np.eye(8)).problem["uneven"]

    gains = np.linspace(0.5, 1.5, 64).reshape(8, 8)
    assert uneven(ops.Diagonal(gains)) == 1
    assert uneven(ops.Identity((8, 8))) == uneven(ops.Blur(np.ones((3, 3)) / 9, (8, 8))) == 0
    assert uneven(ops.Mask(np.arange(64).reshape(8, 8) % 3 > 0)) == 0
    curve = LearnedNonlinearDPIR(LeastSquares(ops.Saturation((8, 8), level=2.0), gains), PlugAndPlay(Denoiser()), 0.1)
    assert curve.init(gains).problem["uneven"] == 0 and curve.init(gains).problem["curved"] == 1


def test_levels_that_are_too_low_count_more_where_noise_is_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "ROUNDS", 60)
    targets = np.tile([[0.0, 0.5, 0.0, 0.5], [0.0, -0.5, 0.0, -0.5]], (40, 1))  # nothing tells which of the two
    said = []
    for noise in (-2.0, 0.1):
        features = np.zeros((80, len(FEATURES))) + noise * (np.array(FEATURES) == "noise")
        table = Lessons(features, targets, np.ones_like(targets), np.ones(80), np.zeros(80), np.ones(80))
        said.append(fitted(table, ScheduleSettings(widths=(4,)))(dict(zip(FEATURES, features[0], strict=True))))
    assert abs(said[0]["level"]) < 0.05 and abs(said[1]["answer"]) < 0.05
    assert said[1]["level"] == pytest.approx(0.25, abs=0.06)  # between 0.5 and -0.5, three times as near to the higher


def test_the_first_level_knows_what_interpolation_misses() -> None:
    truth = pictures(51).patches(np.random.default_rng(0), 1, 51)[0, 0].astype(float)
    level = 0.005
    firsts = []
    for width in (1, 4):  # of the holes; a quarter is missing
        row, column = np.indices(truth.shape) // width % 2
        mask = ops.Mask((row + column) != 2)
        y = mask(truth)
        learned = problem(mask, y, Gaussian(level), PlugAndPlay(smooth), lambda features: {})
        firsts.append(learned.init(first_guess(mask, y)).first)
        assert math.sqrt(4 * learned.level**2) < firsts[-1] < truth.std() and learned.level >= level
    assert firsts[1] > 1.5 * firsts[0]
    whole = problem(ops.Identity(truth.shape), truth, Gaussian(level), PlugAndPlay(smooth), lambda features: {})
    assert whole.init(truth).first == pytest.approx(3.3 * level)
    row = restored(ops.Identity(truth.shape), truth, lambda features: {})
    steps = [np.diff(truth, axis=axis) for axis in (0, 1)]
    texture = math.sqrt(sum(np.mean(s**2) for s in steps) / 2)
    state = replace(row, first=0.03, texture=2.0).init(truth)
    assert state.first == pytest.approx(math.hypot(0.03, 2 * texture))
    with pytest.raises(ArgumentError, match="texture"):
        replace(row, texture=-1.0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, picture in enumerate(pictures().sources[0]):
        files.write(folder / f"{i}.png", (170 * picture.pixels[0]).clip(0, 255).astype(np.uint8))
    return folder


def test_training_leaves_a_schedule_a_card_and_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "ROUNDS", 2)
    monkeypatch.setattr(training, "LENGTHS", (5,))
    monkeypatch.setattr(stopping, "ROUNDS", 2)
    monkeypatch.setattr(training, "FAMILIES", ("blur", "gamma"))
    out, lines = tmp_path / "mine.safetensors", []
    call = {"minutes": 10, "settings": SMALL, "leave_one_out": True, "progress": lines.append}
    found = train_schedule([Source(photos)], out, leg=1e-4, **call)
    assert found.runs == 2 and "problems" in lines[-1]
    schedule = LearnedSchedule.load(out)
    assert schedule.inputs == FEATURES and schedule.card["problems"] == 2
    assert LearnedSchedule.load(tmp_path / "mine-constants.safetensors").inputs == ("share", "length")
    assert all((tmp_path / f"mine-without-{name}.safetensors").exists() for name in ("blur", "gamma"))
    card = (tmp_path / "mine.md").read_text(encoding="utf-8")
    assert "recon train-steps --data" in card and str(tmp_path) not in card
    assert train_schedule([Source(photos)], out, leg=1e-4, **call).runs in (2, 4)
    assert not (tmp_path / "mine.references.json").exists()  # practice waits for all lessons
    call["minutes"] = 1e-4
    train_schedule([Source(photos)], out, **call)
    kept = json.loads((tmp_path / "mine.references.json").read_text(encoding="utf-8"))
    assert len(kept["psnr"]) == SMALL.problems and np.isfinite(kept["psnr"]).all()
    (tmp_path / "mine.references.json").write_text(json.dumps(kept | {"made with": {}}), encoding="utf-8")
    with pytest.raises(FileError, match="Delete it to start anew"):
        train_schedule([Source(photos)], out, **call)
    with pytest.raises(FileError, match="patch = 32"):
        train_schedule([Source(photos)], out, minutes=1, settings=replace(SMALL, patch=40))


def test_practice_lessens_what_runs_miss() -> None:
    names = ("blur", "gamma", "transmission")
    exercises = [Exercise.drawn(name, pictures(), np.random.default_rng(5), 32, 0.5) for name in names]
    goals = [reference(exercise) for exercise in exercises]
    start = LearnedSchedule.untrained(FEATURES, BOUNDS, widths=(6,))

    def missed_by(schedule: LearnedSchedule) -> float:
        runner = Runner(exercises, 8, "fast-grey")
        with torch.no_grad():
            states = runner.begun()
            for k in range(8):
                states = runner.stepped(states, [schedule] * len(exercises), k)
            return float(missed(torch.tensor(goals) - runner.psnr(states)).mean())

    found = practised(start, exercises, goals, 12, denoiser="fast-grey", batch=3)
    assert missed_by(found) < missed_by(start) - 0.05


def test_half_way_is_the_mean_of_the_weights() -> None:
    ends = [LearnedSchedule.untrained(("share", "noise"), {"level": 1.0}, widths=(4,), rng=i) for i in (1, 2)]
    ends[1] = replace(ends[1], layers=(ends[1].layers[0], (np.ones((1, 4)), np.ones(1))))
    middle = between(*ends)
    assert np.allclose(middle.layers[1][0], 0.5) and np.allclose(middle.layers[1][1], 0.5)
    assert np.allclose(middle.layers[0][0], (ends[0].layers[0][0] + ends[1].layers[0][0]) / 2)
    features = {"share": 0.3, "noise": 1.0}
    assert between(*ends, share=1.0)(features) == ends[1](features)


def test_what_is_missed_counts_in_full_and_what_is_gained_a_little() -> None:
    under = torch.tensor([-5.0, -0.9, -0.8, 0.8, 0.9, 5.0, 6.0], dtype=torch.float64)
    cost = missed(under)
    assert float(cost[2] - cost[1]) == pytest.approx(0.1 * AHEAD, rel=0.05)
    assert float(cost[4] - cost[3]) == pytest.approx(0.1 * (1 + AHEAD), rel=0.02)
    assert float(cost[6] - cost[5]) == pytest.approx(1.0, rel=1e-6) and float(cost[0]) == pytest.approx(-AHEAD)


def test_the_reference_is_the_best_of_the_classical_runs() -> None:
    exercise = Exercise.drawn("shading", pictures(), np.random.default_rng(2), 32)
    prior, guess = PlugAndPlay(Denoiser()), first_guess(exercise.operator, exercise.y)
    run = unroll(exercise.classical(prior, 1.0, 4), guess, 4)
    assert reference(exercise) >= float(exercise.psnr(torch.from_numpy(np.array(run)))) - 1e-6


def test_grain_has_the_level_that_it_is_drawn_with() -> None:
    found = [grain(np.random.default_rng(i), (128, 128)) for i in range(40)]
    levels = np.array([g.std() for g in found])
    assert all(abs(g.mean()) < 0.1 * g.std() for g in found)
    assert GRAIN[0] * 0.97 <= levels.min() < 0.008 and 0.02 < levels.max() <= GRAIN[1] * 1.03


def test_batches_do_not_depend_on_interruptions() -> None:
    first, again = (training._batch(pictures(), SMALL, 4) for _ in range(2))
    assert np.array_equal(first.features, again.features) and np.array_equal(first.targets, again.targets)


def test_reconstruct_takes_them_where_they_help_and_says_so() -> None:
    truth = pictures(32).patches(np.random.default_rng(0), 1, 32)[0, 0]
    camera, coarse = ops.SinglePixel(truth.shape, 500), ops.Downsample(2, truth.shape)
    y = camera(truth) + np.float32(0.01) * np.random.default_rng(0).standard_normal(camera.out_shape, dtype=np.float32)
    x, info = reconstruct(y, camera, prior="learned", noise=0.01, return_info=True)
    assert info.plan.decisions["solver"].choice == "learned-dpir" and LEAST_STEPS <= info.iterations <= 8
    assert info.plan.decisions["stop"].choice == "at most 8 steps" and info.status in (Status.FINISHED, Status.ENOUGH)
    assert "learned" in info.plan.decisions["solver"].reason
    assert np.linalg.norm(x - truth) < 0.7 * np.linalg.norm(first_guess(camera, y) - truth)
    assert "total variation" in info.plan.decisions["start"].choice
    mask = ops.Mask(np.random.default_rng(0).random(truth.shape) < 0.5)
    blur = ops.Blur(np.ones((3, 3)) / 9, truth.shape)
    assert plan(coarse(truth), coarse, prior="learned").decisions["solver"].choice == "learned-dpir"
    chosen = [
        plan(y, camera, prior="learned", noise=0.01, solver="dpir"),
        plan(blur(truth), ops.Blur(np.ones((3, 3)) / 9, truth.shape, boundary="reflecting"), prior="learned"),
        plan(mask(truth), mask, prior="learned", noise=0.01),  # where the classical schedule is as good
        plan(blur(truth), blur, prior="learned", noise=0.01),
        plan(y[None], camera, prior="learned", noise=0.01, channel_axis=0),
    ]
    assert [p.decisions["solver"].choice for p in chosen] == ["dpir"] * 5


@pytest.mark.parametrize("length", [1, 2, 4, 7])
@pytest.mark.parametrize("kind", ["at once", "never", "at random", "no number", "infinite"])
def test_a_schedule_may_end_a_run_but_never_before_the_least_steps(blurred, kind: str, length: int) -> None:
    operator, y = blurred
    rng, calls = np.random.default_rng(length), []

    def said(features):
        stop = {"at once": 9.0, "never": -9.0, "at random": rng.normal(), "no number": math.nan, "infinite": math.inf}
        return {"level": -0.1, "answer": 0.5, "stop": stop[kind]}

    noting = PlugAndPlay(lambda v, s: calls.append(s) or smooth(v, s))
    learned = replace(restored(operator, y, said, length=length), prior=noting)
    found = solve(learned, y)
    assert min(length, LEAST_STEPS) <= found.iterations == len(calls) <= length
    if kind == "at once":
        assert found.iterations == min(length, LEAST_STEPS)
        assert found.status is (Status.FINISHED if length <= LEAST_STEPS else Status.ENOUGH)
    elif kind != "at random":  # what is no number says nothing
        assert (found.iterations, found.status) == (length, Status.FINISHED)
    assert found.state.finished == (found.iterations < length)  # after its length it goes on as the classical one does
    assert (learned.step(found.state, length) is found.state) == found.state.finished
    assert np.array_equal(unroll(learned, y, length), found.image) or kind == "at random"


def test_a_run_that_ends_early_ends_as_others_do(blurred) -> None:
    operator, y = blurred
    calls = []
    noting = PlugAndPlay(lambda v, s: calls.append(s) or smooth(v, s))
    told = over_untaught({"penalty": 0.4, "level": -0.1, "answer": 0.8})
    ending = replace(restored(operator, y, lambda f: told | {"stop": float(f["share"] > 0.7)}, length=8), prior=noting)
    x = unroll(ending, y, 8)
    first, passed = 0.85 * y.std(), ending._passed(ending.strength / ending.level**2 * math.exp(0.4))
    assert len(calls) == 6  # share 5/7: the sixth is the last one, whose levels are those of the end
    assert calls[-1] == pytest.approx(((ending.level * math.exp(-0.1)) ** 4 + passed**4) ** 0.25)
    going = replace(restored(operator, y, lambda f: told, length=8), prior=PlugAndPlay(smooth))
    state = going.init(y)
    for k in range(5):
        state = going.step(state, k)
    assert state.first == pytest.approx(first) and not state.finished
    assert np.allclose(going.step(state, 7).x, x, atol=1e-12)


@pytest.mark.parametrize(("said", "steps"), [(0.98, 6), (SURE + 0.01, 6), (SURE - 0.01, 8), (1.0, LEAST_STEPS)])
def test_only_what_is_certain_ends_a_run_before_two_thirds_of_it(blurred, said: float, steps: int) -> None:
    operator, y = blurred
    assert solve(restored(operator, y, lambda features: {"stop": said}, length=8), y).iterations == steps


def test_curves_may_end_early_too() -> None:
    F = ops.Saturation((16, 16), 0.8, 2.0)
    truth = np.full((16, 16), 0.4)
    data = LeastSquares(F, F(truth) + SIGMA * np.random.default_rng(1).standard_normal(truth.shape))
    ending = LearnedNonlinearDPIR(data, PlugAndPlay(smooth), 0.23 * SIGMA**2, SIGMA, schedule=lambda f: {"stop": 1.0})
    found = solve(ending, truth)
    assert (found.iterations, found.status) == (LEAST_STEPS, Status.ENOUGH)


def test_rehearsals_tell_what_ending_is_worth() -> None:
    exercises = [Exercise.drawn(name, pictures(), np.random.default_rng(3), 32) for name in ("shading", "saturation")]
    schedule = LearnedSchedule.untrained(FEATURES, BOUNDS)
    found = rehearsed(schedule, exercises, 6, "fast-grey")
    assert found.features.shape == (4, len(FEATURES)) and (found + found).worth.shape == (8,)
    assert np.allclose(found.features[:, FEATURES.index("share")], [0.6, 0.6, 0.8, 0.8])
    denoiser = PlugAndPlay(Denoiser("fast-grey"))
    for i, exercise in enumerate(exercises):
        learned = replace(exercise.algorithm, prior=denoiser, length=6, turns=False)
        data = replace(learned.data, y=learned.data.y.numpy())

        def psnr(end, learned=learned, data=data, exercise=exercise):
            told = lambda f: {"stop": float(f["share"] >= end)}  # noqa: E731
            run = replace(learned, data=data, schedule=told)
            return float(exercise.psnr(torch.from_numpy(unroll(run, exercise.start.numpy(), 6))))

        for row, end, left in ((i, 0.6, 2), (2 + i, 0.8, 1)):
            worth = psnr(end) - psnr(2) + 0.01 * left
            assert found.worth[row] == pytest.approx(worth, abs=0.03)


def test_where_to_end_is_learned_beside_the_steps() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((200, len(FEATURES)))
    steps = LearnedSchedule.untrained(FEATURES, BOUNDS, widths=(6,))
    steps = replace(steps, layers=(steps.layers[0], (rng.standard_normal((len(BOUNDS), 6)), np.zeros(len(BOUNDS)))))
    both = with_stop(steps, Rehearsal(features, np.where(features[:, 4] > 0, 0.05, -0.1)))
    assert both.outputs == (*BOUNDS, "stop")
    right = 0
    for row in features[:60]:
        given = dict(zip(FEATURES, row, strict=True))
        said = both(given)
        assert {name: said[name] for name in BOUNDS} == pytest.approx(steps(given), abs=1e-12)
        right += (said["stop"] > 0) == (row[4] > 0)
    assert right > 50
    lost = with_stop(steps, Rehearsal(features, np.full(200, -0.1)))
    assert all(lost(dict(zip(FEATURES, row, strict=True)))["stop"] < SURE for row in features)


def test_the_schedule_of_the_library_is_small_and_has_a_card() -> None:
    schedule = LearnedSchedule.load("plug-and-play")
    assert schedule.inputs == FEATURES and schedule.parameters < 5000 and schedule.outputs == (*BOUNDS, "stop")
    assert (learned_schedule.FOLDER / "plug-and-play.md").read_text(encoding="utf-8").startswith("# plug-and-play")
    assert "recon train-steps" in schedule.card["command"]


def test_wrong_arguments(blurred) -> None:
    _, y = blurred
    matrix = ops.ParallelBeam((20, 24), 5)
    with pytest.raises(ArgumentError, match="no closed form"):
        LearnedDPIR(LeastSquares(matrix, matrix(y)), PlugAndPlay(smooth), 1.0)
    with pytest.raises(ArgumentError, match="several pixels"):
        LearnedNonlinearDPIR(LeastSquares(matrix, matrix(y)), PlugAndPlay(smooth), 1.0)
    with pytest.raises(OptionError, match="Did you mean 'noise'"):
        fitted(Lessons.none(), SMALL, inputs=("nois",))
    with pytest.raises(ArgumentError, match="patch"):
        ScheduleSettings(patch=8)
    with pytest.raises(OptionError, match="batches"):
        ScheduleSettings.of({"batches": 3})


def test_the_examples_in_the_docstrings() -> None:
    for module in (learned_plug_and_play, learned_nonlinear_plug_and_play):
        assert doctest.testmod(module, extraglobs={"np": np}).failed == 0
