"""Plug-and-play on a model of the data: the model against matrices, its limit against the fixed point of DPIR."""

from __future__ import annotations

import doctest
import math
from functools import partial

import numpy as np
import pytest

from priors import PlugAndPlay
from recon import operators as ops
from recon import plan, psf, reconstruct
from recon.bench._trace import Counter
from recon.bench.problems import coils
from recon.learn.costly_problems import costly
from recon.learn.modelled_steps import FEW_CALLS, modelled
from recon.trajectories import radial
from solvers import LeastSquares, ModelledDPIR, modelled_plug_and_play, unroll
from solvers.curvature_model import measured_spectrum
from solvers.deflated_inverse import Directions, filter_of
from solvers.errors import ArgumentError
from solvers.modelled_plug_and_play import FEATURES, OUTPUTS

SHAPE = (16, 16)


def dense(function, shape, dtype=float) -> np.ndarray:
    """The matrix of a map of images, column by column."""
    size = math.prod(shape)
    return np.stack([np.asarray(function(e.reshape(shape))).ravel() for e in np.eye(size, dtype=dtype)], 1)


class Shrinkage:
    """A denoiser in closed form: the proximal map of a quadratic."""

    def __call__(self, v, sigma):
        return v / (1 + sigma**2)


@pytest.fixture(scope="module")
def data() -> LeastSquares:
    """A few views of a block, in double precision."""
    truth = np.zeros(SHAPE)
    truth[4:10, 5:12] = 1.0
    operator = ops.ParallelBeam(truth.shape, 10, spacing=1 / 16)
    return LeastSquares(
        operator, operator(truth) + 0.005 * np.random.default_rng(0).standard_normal(operator.out_shape)
    )


@pytest.mark.parametrize("kind", [float, complex])
def test_the_inverse_is_exact_along_what_was_measured_at_every_shift(kind):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if kind is complex else 0)  # noqa: E731
    matrix = draw(30, 20)
    gram = matrix.conj().T @ matrix
    images, known = draw(4, 4, 5), Directions()
    for d in images:
        known = known.learned(d, (gram @ d.ravel()).reshape(d.shape), memory=3)
    for rho in (0.1, 10.0):
        along = np.tensordot(draw(3), images[1:], 1)  # the first one is forgotten
        found = known.inverse((gram @ along.ravel()).reshape(4, 5) + rho * along, rho, lambda r: 0.3 * r)
        np.testing.assert_allclose(found, along, atol=1e-3)
    inverse = dense(lambda r: known.inverse(r, 1.0, lambda r: 0.3 * r), (4, 5), kind)
    np.testing.assert_allclose(inverse, inverse.conj().T, atol=1e-8)
    assert np.linalg.eigvalsh(inverse).min() > 0


def test_a_filter_on_a_larger_grid_has_about_the_inverse_of_what_it_does_to_images():
    rng = np.random.default_rng(0)
    response = ops.ParallelBeam((24, 24), 40, spacing=1 / 24).mean_response()
    model = filter_of(np.fft.fftn(response).real, (24, 24), np.zeros(()))
    matrix, r = dense(model, (24, 24)), rng.standard_normal((24, 24))
    floor = 0.01
    expected = np.linalg.solve(matrix + (floor * model.unit + 1.0) * np.eye(576), r.ravel())
    error = model.inverse(r, 1.0, floor).ravel() - expected
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("operator", "limit"),
    [
        (ops.ParallelBeam((40, 32), 60, spacing=0.1), 0.06),
        (ops.ParallelBeam((32, 40), np.linspace(0, 2, 50), spacing=0.1, detector_spacing=0.07), 0.06),
        (ops.FanBeam((40, 32), 60, source_distance=8.0, detector_distance=4.0, spacing=0.1), 0.12),
    ],
)
def test_the_mean_response_of_projections_is_near_their_normal_operator(operator, limit):
    image = ops.Blur(psf.gaussian(1.0, 7), operator.in_shape)(
        np.random.default_rng(0).standard_normal(operator.in_shape)
    )
    model = filter_of(np.fft.fftn(operator.mean_response()).real, operator.in_shape, image)
    found, expected = model(image), operator.gram(image)
    assert np.linalg.norm(found - expected) < limit * np.linalg.norm(expected)


def test_the_mean_response_of_coils_is_the_mean_over_the_image():
    shape = (6, 8)
    maps = coils(3, shape)
    mask = np.random.default_rng(0).random(shape) < 0.5
    for operator in (ops.CartesianMRI(mask, maps), ops.NonCartesianMRI(radial(7, 12, size=6), shape, maps)):
        gram = dense(operator.gram, shape, complex).reshape(*shape, *shape)  # (to, from)
        response = operator.mean_response()
        grid = response.shape
        total, pairs = np.zeros(grid, complex), np.zeros(grid)
        for at in np.ndindex(*shape):
            for to in np.ndindex(*shape):
                far = tuple((t - a) % n for t, a, n in zip(to, at, grid, strict=True))
                total[far] += gram[(*to, *at)]
                pairs[far] += 1
        np.testing.assert_allclose(response[pairs > 0], (total / np.maximum(pairs, 1))[pairs > 0], atol=2e-6)


def test_the_periodic_response_of_one_coil_is_the_mean_of_what_wraps_to_it():
    operator = ops.NonCartesianMRI(radial(7, 12, size=6), (6, 8))
    gram = dense(operator.gram, (6, 8), complex)
    fourier = np.fft.fft2(np.eye(48).reshape(48, 6, 8)).reshape(48, 48) / math.sqrt(48)
    expected = np.einsum("ki,ij,kj->k", fourier, gram, fourier.conj()).real  # what is diagonal in Fourier space
    np.testing.assert_allclose(np.fft.fft2(operator.mean_response()).real.ravel(), expected, atol=1e-5)


def test_data_steps_become_exact(data):
    algorithm = ModelledDPIR(data, PlugAndPlay(Shrinkage()), 0.1, level=1.0, first=1.0)
    found = unroll(algorithm, np.zeros(SHAPE), 80)
    # The fixed point is that of alternating proximal maps: (G + rho I) x = A^T y + rho D(x).
    rho, shrink = 0.1, 0.5
    gram = dense(data.operator.gram, SHAPE)
    fit = np.linalg.solve(gram + rho * (1 - shrink) * np.eye(256), data.operator.adjoint(data.y).ravel())
    np.testing.assert_allclose(found.ravel(), shrink * fit, atol=1e-3)


def test_a_step_takes_one_product_and_the_first_one_that_of_the_start(data):
    counter = Counter(data.operator)
    algorithm = ModelledDPIR(LeastSquares(counter.operator, data.y), PlugAndPlay(Shrinkage()), 0.1, level=1.0)
    state, calls = algorithm.init(np.zeros(SHAPE)), []
    for k in range(3):
        state = algorithm.step(state, k)
        calls.append(counter.calls)
    assert calls == [5, 7, 9]


@pytest.mark.parametrize(("answer", "expected"), [(0.0, [7, 11]), (0.25, [11, 15])])
def test_the_image_has_a_share_of_a_data_step_of_some_products(data, answer, expected):
    counter = Counter(data.operator)
    algorithm = ModelledDPIR(
        LeastSquares(counter.operator, data.y), PlugAndPlay(Shrinkage()), 0.1, level=1.0, first=1.0,
        begin=1, inner=1, products=2, answer=answer, momentum=0.0,
    )  # fmt: skip
    state, calls = algorithm.init(np.zeros(SHAPE)), []
    for k in range(2):
        state = algorithm.step(state, k)
        calls.append(counter.calls)
        np.testing.assert_allclose(state.x, (1 - answer) * state.z + answer * state.fit)
    assert calls == expected
    for k in range(2, 40):
        state = algorithm.step(state, k)
    gram, rho = dense(data.operator.gram, SHAPE), 0.1
    right = data.operator.adjoint(data.y).ravel() + rho * (state.z if answer else state.before).ravel()
    np.testing.assert_allclose(state.fit.ravel(), np.linalg.solve(gram + rho * np.eye(256), right), atol=1e-3)


@pytest.mark.parametrize("value", [math.nan, -math.inf, 1e9])
def test_a_schedule_keeps_within_its_bounds(data, value):
    told: dict[str, float] = {}

    def schedule(features):
        told.update(features)
        return dict.fromkeys(OUTPUTS, value)

    build = partial(ModelledDPIR, data, PlugAndPlay(Shrinkage()), 0.1, level=0.1, first=1.0)
    state = build(schedule=schedule).init(np.zeros(SHAPE))
    assert set(told) == set(FEATURES) and all(math.isfinite(v) for v in told.values())
    assert abs(math.log(state.weight / 0.1)) <= OUTPUTS["weight"] + 1e-9
    assert (state.weight == build().init(np.zeros(SHAPE)).weight) == (not math.isfinite(value))


def test_a_lesson_has_a_figure_for_each_setting():
    picture = np.add.outer(np.arange(24) > 9, np.arange(24) > 14).astype(float)
    problem = costly("coil points", picture, 24, np.random.default_rng(0))
    algorithm = modelled(problem, problem.operator, Shrinkage(), None)
    assert algorithm.level > 0 and algorithm.data.y is problem.y
    assert all(set(setting) == set(OUTPUTS) for setting in FEW_CALLS.grid)


def test_the_spectrum_of_a_convolution_is_read_off_one_product() -> None:
    rng = np.random.default_rng(0)
    blur = ops.Blur(psf.gaussian(1.2, 9), (48, 40))
    inside = np.zeros((48, 40))  # what reaches the borders is not the convolution of what the window shows
    inside[10:38, 10:30] = rng.standard_normal((28, 20))
    found = measured_spectrum(blur, [(inside, blur.gram(inside))], 1e-9)
    expected = blur.fourier_gram()
    passed = expected > 0.02
    assert abs(found / expected - 1)[passed].mean() < 0.2
    assert found[~passed].max() < 0.05


def test_costly_operators_take_fewer_products_than_with_the_classical_solver():
    image = np.zeros((32, 32), np.float32)
    image[8:20, 10:25] = 1.0
    operator = ops.FanBeam(image.shape, 40, source_distance=64.0, detector_distance=16.0)
    y = operator(image) + 0.2 * np.random.default_rng(0).standard_normal(operator.out_shape).astype(np.float32)
    chosen = plan(y, operator, prior="learned").decisions["solver"]
    assert chosen.choice == "modelled-dpir" and "costly" in chosen.reason
    assert (
        plan(y, ops.ParallelBeam(image.shape, 40, detectors=50), prior="learned").decisions["solver"].choice == "dpir"
    )
    counter = Counter(operator)
    errors, calls = [], []
    for solver in ("auto", "dpir"):
        counter.calls = 0
        found = reconstruct(y, counter.operator, prior="learned", noise=0.2, solver=solver)
        errors.append(np.linalg.norm(found - image))
        calls.append(counter.calls)
    assert calls[0] < 0.7 * calls[1]  # those of the classical start are in both
    assert errors[0] < 1.1 * errors[1]


@pytest.mark.parametrize(
    "given", [{"floor": 0.0}, {"inner": 0}, {"begin": -1}, {"memory": 0}, {"products": 0}, {"answer": 2.0}]
)
def test_wrong_numbers_are_named(data, given):
    with pytest.raises(ArgumentError, match=next(iter(given))):
        ModelledDPIR(data, PlugAndPlay(Shrinkage()), 1.0, **given)


def test_examples():
    assert doctest.testmod(modelled_plug_and_play).failed == 0
