"""Denoisers in place of proximal maps, against closed forms with linear denoisers."""

import doctest
import importlib

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from priors import BM3D, RED, AllPlanes, Averaged, Box, Denoiser, Equivariant, LeastLevel, PlugAndPlay, TorchDenoiser
from recon import reconstruct
from recon._first_guess import first_guess, unseen_error
from recon._plug_and_play import MIDDLE, TOLD, BuildDPIR, _matched_weight
from recon.info import ReconstructionWarning
from recon.noise import Gaussian
from recon.operators import Blur, Identity, Mask, from_matrix
from recon.psf import gaussian
from solvers import ADMM, DPIR, FISTA, LBFGS, PDHG, DouglasRachford, HalfQuadratic, LeastSquares, Status, solve, unroll
from solvers.errors import ArgumentError, DTypeError, OperatorError, OptionError, ShapeError

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((12, 8)) / 3
Y = RNG.standard_normal(12)


def tikhonov(v, sigma):
    """The proximal map of ``1/2 |x|^2``, told the standard deviation of the noise."""
    return v / (1 + sigma**2)


def minimiser(strength):
    return np.linalg.solve(MATRIX.T @ MATRIX + strength * np.eye(8), MATRIX.T @ Y)


@pytest.mark.parametrize("solver", [ADMM, DouglasRachford, FISTA, PDHG])
def test_a_proximal_map_as_denoiser_gives_the_minimiser(solver):
    problem = solver(LeastSquares(from_matrix(MATRIX), Y), PlugAndPlay(tikhonov), 0.3)
    found = solve(problem, np.zeros(8), tol=1e-10, max_iter=3000).image
    np.testing.assert_allclose(found, minimiser(0.3), atol=1e-7)


@pytest.mark.parametrize("step", [1e-4, 1e-2])
def test_what_is_settled_on_with_a_least_level_depends_little_on_the_step(step):
    level, strength = 0.5, 0.3
    denoiser = LeastLevel(tikhonov, level)
    problem = FISTA(LeastSquares(from_matrix(MATRIX), Y), PlugAndPlay(denoiser), strength, step_size=step)
    found = solve(problem, np.zeros(8), tol=1e-12, max_iter=200_000).image
    # A share step / level^2 of v level^2 / (1 + level^2) is a gradient step of a ridge with this weight.
    expected = minimiser(strength / (1 + level**2))
    assert np.linalg.norm(found - expected) <= step * np.linalg.norm(expected)


@pytest.mark.filterwarnings("ignore:The solver had not settled")
def test_splittings_with_the_learned_denoiser_settle_near_the_restoration_in_steps():
    rows, columns = np.mgrid[:40, :40] / 40
    image = (np.hypot(rows - 0.4, columns - 0.5) < 0.3) + 0.3 * np.sin(9 * columns) + 0.2 * rows
    A = Blur(gaussian(1.2), shape=image.shape)
    y = (A(image) + 0.02 * RNG.standard_normal(image.shape)).astype(np.float32)
    in_steps = np.linalg.norm(reconstruct(y, A, prior="learned") - image)
    for solver in ("admm", "douglas-rachford", "pdhg", "fista"):
        found, info = reconstruct(y, A, prior="learned", solver=solver, max_iter=15, return_info=True)
        assert info.status is not Status.DIVERGED
        assert np.linalg.norm(found - image) <= 1.25 * in_steps, solver
    assert np.linalg.norm(reconstruct(y, A, prior="red", max_iter=20) - image) <= 1.25 * in_steps


def test_half_quadratic_splitting_takes_a_denoiser():
    strength, beta = 0.3, 2.0
    problem = HalfQuadratic(LeastSquares(from_matrix(MATRIX), Y), PlugAndPlay(tikhonov), strength, beta=beta)
    # At a fixed penalty it is ridge regression with the two quadratics in parallel.
    joint = strength * beta / (strength + beta)
    found = unroll(problem, np.zeros(8), 200)
    np.testing.assert_allclose(found, minimiser(joint), atol=1e-8)


@pytest.mark.parametrize("solver", [LBFGS, FISTA])
def test_regularisation_by_denoising(solver):
    # x - D(x) = c x with c = level^2 / (1 + level^2)
    level, strength = 0.7, 0.5
    prior = RED(tikhonov, level)
    shrink = level**2 / (1 + level**2)
    found = solve(solver(LeastSquares(from_matrix(MATRIX), Y), prior, strength), np.zeros(8), tol=1e-10).image
    np.testing.assert_allclose(found, minimiser(strength * shrink), rtol=1e-2, atol=1e-3)


def test_the_gradient_of_red_is_that_of_its_value_for_symmetric_linear_denoisers():
    prior, x, d = RED(tikhonov, 0.7), RNG.standard_normal(8), RNG.standard_normal(8)
    slope = (prior.value(x + 1e-6 * d) - prior.value(x - 1e-6 * d)) / 2e-6
    assert slope == pytest.approx(float(prior.gradient(x) @ d), rel=1e-6)


class Recorder:
    def __init__(self):
        self.levels = []

    def __call__(self, v, sigma):
        self.levels.append(sigma)
        return v / (1 + sigma**2)


def test_the_levels_fall_geometrically_to_the_last():
    denoiser = Recorder()
    problem = DPIR(LeastSquares(from_matrix(MATRIX), Y), PlugAndPlay(denoiser), 0.1, level=0.01, length=5, first=1.0)
    found = solve(problem, np.zeros(8))
    np.testing.assert_allclose(denoiser.levels, np.geomspace(1.0, 0.01, 5))
    assert found.iterations == 5 and found.status is Status.FINISHED


def test_each_step_is_the_exact_data_step_and_the_denoiser():
    strength = 0.02
    problem = DPIR(
        LeastSquares(from_matrix(MATRIX), Y), PlugAndPlay(tikhonov), strength, level=0.1, length=3, first=1.0
    )
    expected = np.zeros(8)
    for sigma in np.geomspace(1.0, 0.1, 3):
        rho = strength / sigma**2
        expected = np.linalg.solve(MATRIX.T @ MATRIX + rho * np.eye(8), MATRIX.T @ Y + rho * expected)
        expected = expected / (1 + sigma**2)
    np.testing.assert_allclose(unroll(problem, np.zeros(8), 3), expected, atol=1e-5)


def test_a_restart_forgets_the_way():
    problem = DPIR(LeastSquares(from_matrix(MATRIX), Y), PlugAndPlay(tikhonov), 0.1, level=0.1)
    end = solve(problem, np.ones(8)).state
    again = problem.restart(end, 0.3)
    np.testing.assert_array_equal(again.x, np.ones(8))
    assert again.first == end.first


def test_bounds_clip_what_the_denoiser_returns():
    prior = PlugAndPlay(tikhonov) + Box(0.0, 0.3)
    np.testing.assert_allclose(prior.prox(np.array([-1.0, 0.4, 1.0]), 1.0), [0.0, 0.2, 0.3])


def test_a_fixed_level_does_not_depend_on_the_step():
    prior = PlugAndPlay(tikhonov, level=1.0)
    np.testing.assert_allclose(prior.prox(np.ones(3), 0.01), 0.5)


def test_no_noise_nothing_removed():
    v = np.ones(3)
    np.testing.assert_array_equal(PlugAndPlay(tikhonov).prox(v, 0.0), v)


def asymmetric(v, sigma):
    """Not equivariant: it moves everything to the right."""
    return np.roll(v, 1, axis=-1)


def test_the_average_over_the_symmetries_commutes_with_them():
    denoiser, v = Equivariant(asymmetric, average=True), RNG.standard_normal((6, 6))
    np.testing.assert_allclose(denoiser(np.rot90(v), 1.0), np.rot90(denoiser(v, 1.0)))
    np.testing.assert_allclose(denoiser(v[::-1], 1.0), denoiser(v, 1.0)[::-1])


def test_a_random_symmetry_is_one_of_the_eight_and_depends_on_the_image_alone():
    seen = set()
    for seed in range(40):
        v = np.random.default_rng(seed).standard_normal((5, 5))
        turned = Equivariant(asymmetric)(v, 1.0)
        np.testing.assert_array_equal(turned, Equivariant(asymmetric)(v, 1.0))
        shifts = [np.roll(v, s, axis) for axis in (-1, -2) for s in (-1, 1)]
        (match,) = [i for i, shifted in enumerate(shifts) if np.array_equal(turned, shifted)]
        seen.add(match)
    assert seen == {0, 1, 2, 3}


def test_rectangular_images_and_batches_keep_their_shape():
    v = RNG.standard_normal((3, 4, 7))
    assert Equivariant(lambda v, sigma: v)(v, 1.0).shape == v.shape


def test_the_averaged_denoiser_takes_its_share():
    v = RNG.standard_normal(9)
    np.testing.assert_allclose(Averaged(tikhonov, 0.2)(v, 1.0), 0.2 * v / 2 + 0.8 * v)


def test_a_denoiser_that_explodes_is_reported():
    explosive = PlugAndPlay(lambda v, sigma: 30.0 * v + 1)
    problem = FISTA(LeastSquares(Identity((16,)), np.ones(16)), explosive, 0.3, step_size=0.9)
    found = solve(problem, np.zeros(16), max_iter=400)
    assert found.status is Status.DIVERGED and np.isfinite(found.image).all()


@pytest.mark.parametrize("factor", [np.nan, 30.0])
def test_a_denoiser_that_explodes_leaves_the_classical_image(factor):
    truth = smoothing(RNG.standard_normal((32, 32)), 0.1)
    operator = Blur(np.ones((3, 3)) / 9, shape=truth.shape)
    y = operator(truth) + 0.01 * RNG.standard_normal(truth.shape)
    with pytest.warns(ReconstructionWarning, match="diverged"):
        image, info = reconstruct(y, operator, prior=lambda v, sigma: factor * v, return_info=True)
    assert info.status is Status.DIVERGED
    np.testing.assert_allclose(image, reconstruct(y, operator, prior="tv"))


def test_momentum_and_the_last_data_step_by_hand():
    strength, levels = 0.02, np.geomspace(1.0, 0.1, 3)
    problem = DPIR(
        LeastSquares(from_matrix(MATRIX), Y), PlugAndPlay(tikhonov), strength, level=0.1, length=3, first=1.0,
        momentum=0.5, consistent=0.5,
    )  # fmt: skip

    def fit(z, rho):
        return np.linalg.solve(MATRIX.T @ MATRIX + rho * np.eye(8), MATRIX.T @ Y + rho * z)

    before = x = np.zeros(8)
    for sigma in levels:
        before, x = x, fit(x + 0.5 * (x - before), strength / sigma**2) / (1 + sigma**2)
    np.testing.assert_allclose(unroll(problem, np.zeros(8), 3), fit(x, 2 * strength / 0.1**2), atol=1e-5)


def test_the_dual_variable_and_the_mean_of_the_last_steps_by_hand():
    strength, levels = 0.02, [1.0, 0.1, 0.1]
    problem = DPIR(
        LeastSquares(from_matrix(MATRIX), Y), PlugAndPlay(tikhonov), strength, level=0.1, length=3, first=1.0,
        dual=True, average=2,
    )  # fmt: skip
    z, dual, found = np.zeros(8), np.zeros(8), []
    for sigma in levels:
        rho = strength / sigma**2
        x = np.linalg.solve(MATRIX.T @ MATRIX + rho * np.eye(8), MATRIX.T @ Y + rho * (z - dual))
        dual = dual + x - z
        z = (x + dual) / (1 + sigma**2)
        found.append(z)
    np.testing.assert_allclose(unroll(problem, np.zeros(8), 3), (found[1] + found[2]) / 2, atol=1e-5)


def test_with_the_dual_variable_a_proximal_map_gives_the_minimiser_at_any_level():
    data, strength, length = LeastSquares(from_matrix(MATRIX), Y), 0.3, 300
    for level in (0.5, 1.0):
        problem = DPIR(data, PlugAndPlay(tikhonov), strength, level=level, first=level, length=length, dual=True)
        np.testing.assert_allclose(unroll(problem, np.zeros(8), length), minimiser(strength), atol=1e-6)


def test_each_step_shows_the_denoiser_another_position():
    seen = []

    def corner(v, sigma):
        seen.append((int(v[0, 0]), int(v[0, -1])))
        return v

    y = np.arange(9.0).reshape(3, 3)
    problem = DPIR(LeastSquares(Identity((3, 3)), y), PlugAndPlay(corner), 1e-9, level=1.0, turns=True)
    np.testing.assert_allclose(unroll(problem, y, 8), y, atol=1e-6)
    assert len(set(seen)) == 8


def test_the_weight_makes_the_data_step_as_noisy_as_the_denoiser_is_told():
    operator = Blur(gaussian(1.0), shape=(64, 64))
    passed = np.abs(operator.transfer())
    rho = _matched_weight(operator) / MIDDLE**2  # noise of level 1, the level in the middle of a schedule
    seen = np.sqrt(np.mean((passed / (passed**2 + rho)) ** 2))
    assert seen == pytest.approx(TOLD * MIDDLE, rel=0.05)


def test_the_noise_level_is_learned_from_the_classical_image():
    truth = smoothing(RNG.standard_normal((64, 64)), 0.05).astype(np.float32)
    truth += 0.3 * (np.indices(truth.shape).sum(0) % 7 == 0)  # fine lines, which look like noise
    operator = Blur(gaussian(0.8), shape=truth.shape)
    y = operator(truth) + 0.02 * RNG.standard_normal(truth.shape)
    _, plain = reconstruct(y, operator, prior="tv", return_info=True)
    _, info = reconstruct(y, operator, prior=smoothing, return_info=True)
    assert abs(info.plan.noise.sigma - 0.02) < abs(plain.plan.noise.sigma - 0.02)
    assert "residual of the classical image" in str(info.plan)


def test_of_a_list_the_denoiser_is_taken_where_it_is_good_and_total_variation_where_it_is_not():
    truth = np.kron(RNG.standard_normal((4, 4)), np.ones((12, 12)))
    operator = Blur(np.ones((3, 3)) / 9, shape=truth.shape)
    y = operator(truth) + 0.05 * RNG.standard_normal(truth.shape)
    knows = reconstruct(y, operator, prior=["tv", lambda v, sigma: truth + 0 * v], return_info=True)[1]
    blurs = reconstruct(y, operator, prior=["tv", lambda v, sigma: 0 * v + v.mean()], return_info=True)[1]
    assert knows.plan.solver.__class__.__name__ == "BuildDPIR"
    assert blurs.plan.decisions["prior"].choice.startswith("total variation")


def test_a_closed_form_data_step_is_used(monkeypatch):
    A = Blur(np.ones((3, 3)) / 9, shape=(16, 16))
    monkeypatch.setattr(type(A), "gram", lambda *_: pytest.fail("conjugate gradients where a closed form exists"))
    problem = DPIR(LeastSquares(A, RNG.standard_normal((16, 16))), PlugAndPlay(tikhonov), 0.1, level=0.1)
    solve(problem, np.zeros((16, 16)))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: PlugAndPlay("bm3d"), DTypeError, "denoiser is 'bm3d'"),
        (lambda: PlugAndPlay(tikhonov, level=-1.0), ArgumentError, "level"),
        (lambda: Averaged(tikhonov, 1.5), ArgumentError, "share is 1.5"),
        (lambda: PlugAndPlay(lambda v, sigma: v[:1]).prox(np.ones(3), 1.0), OperatorError, "shape"),
        (lambda: DPIR(LeastSquares(Identity((3,)), Y), PlugAndPlay(tikhonov), 1.0, length=0), ArgumentError, "length"),
        (
            lambda: DPIR(LeastSquares(Identity((3,)), Y), PlugAndPlay(tikhonov), 1.0, length=3, average=0),
            ArgumentError,
            "average",
        ),
    ],
)
def test_wrong_inputs(build, error, words):
    with pytest.raises(error, match=words):
        build()


def smoothing(v, sigma):
    """Gaussian averages, wider for more noise: a stand-in for a trained denoiser."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(v, (*(0,) * (v.ndim - 2), *(min(20 * sigma, 3),) * 2))


def test_reconstruct_takes_a_denoiser_and_says_so():
    truth = smoothing(RNG.standard_normal((48, 48)), 0.1).astype(np.float32)
    operator = Blur(np.ones((3, 3)) / 9, shape=truth.shape)
    y = operator(truth) + np.float32(0.003) * RNG.standard_normal(truth.shape).astype(np.float32)
    image, info = reconstruct(y, operator, prior=smoothing, strength="gcv", return_info=True)
    assert "dpir" in str(info.plan) and "denoiser" in str(info.plan)
    assert np.linalg.norm(image - truth) < 0.5 * np.linalg.norm(y - truth)


def test_the_unit_of_the_measurement_does_not_matter():
    truth = smoothing(RNG.standard_normal((32, 32)), 0.1)
    y = truth + 0.01 * RNG.standard_normal(truth.shape)

    def relative(v, sigma):  # a denoiser that does not care for the unit
        return v - min(sigma / v.std(), 1) * (v - v.mean())

    once = reconstruct(y, Identity(y.shape), prior=relative)
    scaled = reconstruct(1000 * y, Identity(y.shape), prior=relative)
    np.testing.assert_allclose(scaled, 1000 * once, rtol=1e-4)


def test_counts_take_a_denoiser_too():
    counts = RNG.poisson(50.0, (16, 16)).astype(float)
    image, info = reconstruct(counts, Identity(counts.shape), prior=smoothing, noise="poisson", return_info=True)
    assert "dpir" in str(info.plan) and abs(image.mean() - 50) < 5


def test_the_learned_prior_beats_total_variation_on_a_deblurred_photograph():
    from skimage import data

    truth = data.camera()[100:228, 180:308].astype(np.float32) / 255
    operator = Blur(gaussian(1.6), shape=truth.shape)
    y = operator(truth) + np.float32(0.01) * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    errors = {}
    for prior in ("learned", "tv"):
        image = reconstruct(y, operator, prior=prior, noise=0.01)
        errors[prior] = np.linalg.norm(image - truth)
    assert errors["learned"] < errors["tv"]


def test_the_learned_prior_is_for_images():
    with pytest.raises(OptionError, match="signals"):
        reconstruct(np.ones(16), Identity((16,)), prior="learned")


class HalfOfDetail(torch.nn.Module):
    """Half way to the local mean; it keeps what the noise would not explain."""

    def forward(self, v, sigma):
        mean = torch.nn.functional.avg_pool2d(v, 3, 1, padding=1, count_include_pad=False)
        assert v.ndim == 4 and 0.2 < float(v.mean()) < 0.8  # images in [0, 1]
        return v + 0.5 * (mean - v) * min(1.0, sigma / 0.1)


@pytest.mark.parametrize("unit", [1.0, 4000.0])
def test_a_torch_module_is_a_denoiser_in_any_unit(unit):
    x = unit * (RNG.random((2, 12, 10)) - 1.0)
    found = TorchDenoiser(HalfOfDetail())(x, unit)  # more noise than where the module saturates
    expected = 0.5 * (x + uniform_mean(x))
    np.testing.assert_allclose(found, expected, atol=1e-6 * unit)
    turned = TorchDenoiser(HalfOfDetail())(x * (1 + 2j), unit)
    np.testing.assert_allclose(turned, expected * (1 + 2j), atol=1e-5 * unit)
    as_tensor = TorchDenoiser(HalfOfDetail(), channels=True)(torch.from_numpy(x), unit)
    np.testing.assert_allclose(as_tensor.numpy(), expected, atol=1e-6 * unit)


def uniform_mean(x):
    """Mean of the up to nine neighbours."""
    counts = uniform_filter(np.ones(x.shape[-2:]), 3, mode="constant")
    return uniform_filter(x, (0, 3, 3), mode="constant") / counts


def test_reconstruct_takes_a_torch_module():
    operator = Blur(gaussian(1.0), shape=(24, 24))
    y = operator(np.add.outer(np.arange(24.0), np.arange(24.0)) % 12)
    given = reconstruct(y, operator, prior=HalfOfDetail(), noise=0.1)
    named = reconstruct(y, operator, prior=PlugAndPlay(TorchDenoiser(HalfOfDetail())), noise=0.1)
    np.testing.assert_array_equal(given, named)


def test_block_matching_removes_noise_in_any_unit():
    pytest.importorskip("bm3d", reason="bm3d is not installed")
    clean = 1000.0 * (np.arange(64) > 30) * np.ones((64, 1)) - 500
    noisy = clean + 100 * RNG.standard_normal(clean.shape)
    assert np.std(BM3D()(noisy, 100.0) - clean) < 30


def test_wrong_foreign_denoisers_are_refused():
    with pytest.raises(DTypeError, match="network is 3"):
        TorchDenoiser(3)
    with pytest.raises(ShapeError, match="at least 3 axes"):
        TorchDenoiser(HalfOfDetail(), channels=True)(np.ones((4, 4)), 0.1)


@pytest.mark.parametrize("name", ["plug_and_play", "foreign"])
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(f"priors.{name}")).failed == 0


@pytest.mark.parametrize("boundary", ["unknown", "reflecting"])
def test_the_data_step_is_solved_where_there_is_no_closed_form(boundary):
    # Eight preconditioned steps from afar, against a direct solve.
    operator = Blur(gaussian(1.5), shape=(20, 18), boundary=boundary)
    if boundary == "reflecting":
        operator = operator @ Identity(operator.in_shape)  # which has no closed form of its own
    y, v = RNG.standard_normal(operator.out_shape), RNG.standard_normal(operator.in_shape)
    matrix = operator(np.eye(v.size).reshape(v.size, *v.shape)).reshape(v.size, -1).T
    rho = 0.05
    expected = np.linalg.solve(matrix.T @ matrix + rho * np.eye(v.size), matrix.T @ y.ravel() + rho * v.ravel())
    problem = DPIR(LeastSquares(operator, y), PlugAndPlay(tikhonov), 1.0)
    found = problem._data_prox(v, 1 / rho, np.zeros_like(v))
    assert np.linalg.norm(found.ravel() - expected) < 3e-2 * np.linalg.norm(expected)


def test_volumes_are_denoised_in_the_planes_of_three_directions():
    truth = np.zeros((24, 26, 28), np.float32)
    truth[6:18, 5:20, 8:22] = 1.0
    operator = Identity(truth.shape)
    y = truth + 0.2 * RNG.standard_normal(truth.shape).astype(np.float32)
    x, info = reconstruct(y, operator, prior="learned", return_info=True)
    assert "three directions" in info.plan.decisions["prior"].choice
    slicewise = reconstruct(y, operator, prior=PlugAndPlay(Denoiser()))
    assert np.linalg.norm(x - truth) < 0.9 * np.linalg.norm(slicewise - truth)


def test_no_direction_of_a_volume_is_preferred():
    def smooth(v, sigma):  # in the last two axes, each alike
        return uniform_filter(v, (0,) * (v.ndim - 2) + (3, 3))

    v, denoiser = RNG.standard_normal((5, 6, 7)), AllPlanes(smooth)
    for order in ((1, 2, 0), (2, 1, 0), (0, 2, 1)):
        found = denoiser(v.transpose(order), 0.1)
        np.testing.assert_allclose(found, denoiser(v, 0.1).transpose(order), atol=1e-14)


def test_planes_want_a_volume():
    with pytest.raises(ShapeError, match="at least 3 axes"):
        AllPlanes(tikhonov)(np.ones((4, 4)), 0.1)


@pytest.mark.parametrize("holes", ["pixels", "blocks"])
def test_the_error_of_interpolation_is_told_without_the_truth(holes):
    rng = np.random.default_rng(2)
    truth = smoothing(rng.standard_normal((96, 96)), 1.0).astype(np.float32)
    seen = rng.random(truth.shape) < 0.5
    if holes == "blocks":
        seen = np.kron(rng.random((24, 24)) < 0.9, np.ones((4, 4))) > 0
    noise = 0.1 * float(truth.std())
    y = seen * (truth + noise * rng.standard_normal(truth.shape)).astype(np.float32)
    errors = (first_guess(Mask(seen), y) - truth)[~seen]
    assert unseen_error(Mask(seen), y, noise) == pytest.approx(float(np.sqrt(np.mean(errors**2))), rel=0.25)
    assert unseen_error(Mask(np.ones((8, 8))), y[:8, :8], noise) == 0


@pytest.mark.parametrize(("noise", "kept"), [(0.02, True), (0.5, False)])
def test_the_dual_variable_is_kept_where_pixels_are_missing_and_noise_is_little(noise, kept):
    rng = np.random.default_rng(3)
    truth = smoothing(rng.standard_normal((64, 64)), 0.1)
    mask = Mask(rng.random(truth.shape) < 0.3)
    error = unseen_error(mask, mask(truth), 0.0)
    problem = BuildDPIR(Gaussian(noise * error))(LeastSquares(mask, mask(truth)), PlugAndPlay(smoothing), 1e-6)
    assert problem.dual is kept
    assert problem.first <= 0.85 * truth[mask.sampling].std() * (1 + 1e-6)
    scaled = BuildDPIR(Gaussian(7 * noise * error))(LeastSquares(mask, 7 * mask(truth)), PlugAndPlay(smoothing), 1e-6)
    assert scaled.level == pytest.approx(7 * problem.level) and scaled.first == pytest.approx(7 * problem.first)
