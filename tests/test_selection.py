"""The predicted risk is the true one on average, and the search finds its minimum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.transform import rescale

from recon import plan, reconstruct
from recon._held_out import held_back, unseen_nearby
from recon._predicted import PASSED, as_if_seen_alike
from recon._search import minimise
from recon._selection_problem import Problem, measured_count
from recon._warm import Settling
from recon.noise import Gaussian, Poisson, estimate_sigma
from recon.operators import (
    Blur,
    CartesianMRI,
    Diagonal,
    DynamicMRI,
    DynamicNonCartesianMRI,
    Identity,
    Mask,
    NonCartesianMRI,
)
from recon.selection import choose_strength, natural_criterion
from recon.trajectories import radial
from solvers.data_terms import LeastSquares
from solvers.errors import ArgumentError, OptionError
from solvers.krylov import RegularisedCG
from solvers.protocols import Term


@pytest.mark.parametrize("peak", [4.0, 40.0])
def test_few_counts_get_a_strength_near_the_best(peak):
    truth = np.kron(np.random.default_rng(2).random((6, 6)), np.ones((12, 12))) * peak
    counts, operator = np.random.default_rng(0).poisson(truth).astype(float), Identity(truth.shape)
    image, info = reconstruct(counts, operator, noise="poisson", prior="tv", return_info=True)
    strengths = info.plan.strength * 2.0 ** np.arange(-2, 3)
    errors = [
        np.linalg.norm(reconstruct(counts, operator, noise="poisson", prior="tv", strength=s) - truth)
        for s in strengths
    ]
    assert np.linalg.norm(image - truth) < 1.15 * min(errors)


class Ridge:
    """``1/2 |x|^2``."""

    is_quadratic = True

    def value(self, x):
        return 0.5 * float(np.vdot(x, x).real)

    def gradient(self, x):
        return x

    def terms(self):
        return (Term(self),)


def ridge_problem(operator, y, sigma, known=True, x0=None):
    def build(A, measurement, strength):
        return RegularisedCG(LeastSquares(A, measurement), Ridge(), strength)

    x0 = np.zeros(operator.in_shape) if x0 is None else x0
    return Problem(operator, y, Gaussian(sigma), known, build, x0, max_iter=300, tol=1e-8)


def test_of_several_coils_whole_lines_are_held_out_and_none_of_the_middle():
    lines = np.zeros(64, bool)
    lines[::4], lines[26:38] = True, True
    mask = np.repeat(lines[:, None], 40, axis=1)
    measured = np.broadcast_to(mask, (3, 64, 40))
    for seed in range(5):
        back = held_back(measured, CartesianMRI(mask, np.ones((3, 64, 40))), np.random.default_rng(seed))
        assert back.any() and (back == back[:1, :, :1]).all()
        assert not back[:, ~lines].any() and not back[:, 28:36].any()
    alone = held_back(mask, CartesianMRI(mask), np.random.default_rng(0))
    assert (alone != alone[:, :1]).any()


@pytest.mark.parametrize("start", [1e-4, 0.3, 50.0])
def test_the_search_finds_the_minimum_of_a_smooth_risk_from_far_away(start):
    calls = []

    def risk(strength):
        calls.append(strength)
        return 1.0 + 0.1 * (math.log(strength) - math.log(0.2)) ** 2

    strength, trials = minimise(risk, lambda risks: risks, start)
    assert strength == pytest.approx(0.2, rel=1e-3)
    assert len(calls) == len(set(calls)) == len(trials) <= 11


def test_the_search_survives_a_risk_that_is_not_finite():
    strength, _ = minimise(lambda s: math.nan if s < 0.1 else (math.log(s)) ** 2, lambda risks: risks, 5.0)
    assert strength == pytest.approx(1.0, rel=0.3)


def test_a_proposal_is_tried_second_and_a_parabola_may_be_believed_untried():
    calls = []

    def risk(strength):
        calls.append(strength)
        return 1.0 + (math.log(strength) - math.log(0.2)) ** 2

    strength, trials = minimise(
        risk, lambda risks: risks, 3.0, propose=lambda s, found: s / 10 if s == 3.0 else None, matters=lambda: math.inf
    )
    assert strength == pytest.approx(0.2, rel=1e-6)
    assert calls[:2] == pytest.approx([3.0, 0.3])
    assert len(trials) == 3


def test_the_search_ends_between_the_vertex_and_what_the_best_trial_proposes():
    def ended(proposal):
        return minimise(
            lambda s: math.log(s) ** 2, lambda risks: risks, 2.0, propose=lambda s, found: proposal,
            matters=lambda: math.inf,
        )[0]  # fmt: skip

    assert ended(None) == pytest.approx(1.0)
    assert ended(1.2) == pytest.approx(1.2 ** (1 / 3))
    assert ended(100.0) == pytest.approx(1.0)  # outside the bracket


@pytest.mark.parametrize(
    "risk_after",
    [
        lambda k: 1 + 2 * 0.8**k,
        lambda k: 1 + 2 / k**1.3,  # a slow solver, from afar
        lambda k: 1 + 0.9**k * np.sin(k / 5),  # turns, and stands still for a moment where it does
    ],
)
def test_a_solve_ends_when_its_risk_is_near_the_limit(risk_after):
    noticed = 0.05
    settling = Settling(lambda image: image, lambda figures: (figures, noticed), pace=0, least=math.inf)
    state = type("State", (), {})()
    for k in range(1, 500):
        state.x = risk_after(k)
        if settling(state, k):
            break
    assert 8 <= k < 60
    assert abs(settling.result() - 1) <= noticed


def test_sure_finds_the_best_linear_shrinkage():
    # Denoising by x = y / (1 + strength): the risk is least at strength = m sigma^2 / |truth|^2, in expectation.
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((64, 64))
    y = truth + 0.5 * rng.standard_normal(truth.shape)
    found = choose_strength(ridge_problem(Identity((64, 64)), y, 0.5), 1.0, "sure", np.random.default_rng(1))
    oracle = 0.25 * truth.size / np.sum(truth**2)
    assert found.strength == pytest.approx(oracle, rel=0.1)


def test_sure_equals_the_squared_error_plus_the_noise():
    rng = np.random.default_rng(2)
    truth = rng.standard_normal((128, 128))
    noise = 0.5 * rng.standard_normal(truth.shape)
    problem = ridge_problem(Identity(truth.shape), truth + noise, 0.5)
    for trial in choose_strength(problem, 1.0, "sure", np.random.default_rng(3)).trials:
        image = (truth + noise) / (1 + trial.strength)
        # |A x - truth|^2 = SURE - sigma^2, up to the fluctuation of one draw
        assert trial.risk - 0.25 == pytest.approx(np.mean((image - truth) ** 2), abs=0.02)


def test_the_risk_of_a_deblurred_image_is_the_error_of_the_image():
    # Differences of the risk between strengths are those of the squared error, over the frequencies that pass.
    rng = np.random.default_rng(8)
    truth = np.kron(rng.standard_normal((64, 64)), np.ones((8, 8)))
    A = Blur(np.ones((3, 3)) / 9, truth.shape)
    y = A(truth) + 0.1 * rng.standard_normal(truth.shape)
    trials = choose_strength(ridge_problem(A, y, 0.1), 0.1, "sure", np.random.default_rng(9)).trials
    gram = A.fourier_gram()
    weights = gram / (gram / gram.max() + PASSED)

    def error(strength):
        spectrum = np.fft.fft2(A.solve_shifted(A.adjoint(y), strength) - truth)
        return np.sum(weights * np.abs(spectrum) ** 2) / truth.size**2

    errors = np.array([error(trial.strength) for trial in trials])
    risks = np.array([trial.risk for trial in trials])
    np.testing.assert_allclose(risks - risks[0], errors - errors[0], atol=0.05 * np.ptp(errors))


def test_gcv_finds_nearly_the_best_strength_without_the_noise_level():
    rng = np.random.default_rng(4)
    truth = np.kron(rng.standard_normal((8, 8)), np.ones((8, 8)))
    psf = np.ones((5, 5)) / 25
    A = Blur(psf, truth.shape)
    y = A(truth) + 0.02 * rng.standard_normal(truth.shape)
    problem = ridge_problem(A, y, 0.02, known=False)
    found = choose_strength(problem, 1.0, "gcv", np.random.default_rng(5))

    def error(strength):  # of the prediction, which is what GCV estimates
        return float(np.mean((A(A.solve_shifted(A.adjoint(y), strength)) - A(truth)) ** 2))

    best = min(error(s) for s in np.geomspace(1e-6, 1, 60))
    assert error(found.strength) <= 1.1 * best
    assert 0 < found.divergence < 1


def test_held_out_pixels_judge_a_smoothing_prior():
    rng = np.random.default_rng(6)
    n = 48
    rows, columns = np.mgrid[:n, :n] / n
    truth = np.sin(3 * rows) * np.cos(2 * columns)
    A = Mask(rng.random((n, n)) < 0.6)
    y = A(truth + 0.05 * rng.standard_normal(truth.shape))

    class Smooth(Ridge):
        def value(self, x):
            return 0.5 * float(np.sum(self._d(x) ** 2))

        def _d(self, x):
            return np.stack([np.roll(x, -1, -1) - x, np.roll(x, -1, -2) - x])

        def gradient(self, x):
            return sum(2 * x - np.roll(x, 1, a) - np.roll(x, -1, a) for a in (-1, -2))

    def build(operator, measurement, strength):
        return RegularisedCG(LeastSquares(operator, measurement), Smooth(), strength)

    problem = Problem(A, y, Gaussian(0.05), False, build, y, max_iter=500, tol=1e-6)
    found = choose_strength(problem, 1.0, "seen and unseen", np.random.default_rng(7))

    def error(strength):
        from solvers.loop import solve

        return float(np.mean((solve(build(A, y, strength), y, tol=1e-6).image - truth) ** 2))

    assert error(found.strength) <= 1.25 * min(error(s) for s in np.geomspace(1e-3, 1e2, 16))


def test_the_criterion_follows_from_what_the_operator_sees():
    shape = (16, 16)
    sampled = np.random.default_rng(0).random(shape) < 0.5
    psf = np.ones((3, 3)) / 9
    assert natural_criterion(Blur(psf, shape), Gaussian(1.0), True) == "sure"
    assert natural_criterion(Blur(psf, shape), Gaussian(1.0), False) == "gcv"
    assert natural_criterion(Blur(psf, shape), Poisson(), True) == "sure"
    assert natural_criterion(Mask(sampled), Gaussian(1.0), False) == "seen and unseen"
    assert natural_criterion(Mask(np.ones(shape, bool)), Gaussian(1.0), False) == "gcv"
    assert natural_criterion(CartesianMRI(sampled), Gaussian(1.0), False) == "seen and unseen"
    assert natural_criterion(Mask(sampled) @ Blur(psf, shape), Gaussian(1.0), True) == "seen and unseen"


def test_held_out_samples_stand_for_those_missing_around_them():
    measured = np.zeros((60, 60), bool)
    measured[24:36] = True  # the middle of k-space is whole, a third of the lines around it are there
    measured[::3] = True
    weights = unseen_nearby(measured)
    assert weights[30].max() < 0.1
    np.testing.assert_allclose(weights[[9, 12, 48]], 2, rtol=0.05)
    assert weights[measured].sum() == pytest.approx((~measured).sum(), rel=0.1)


def test_measured_numbers_are_counted():
    sampled = np.zeros((4, 6), bool)
    sampled[:2] = True
    assert measured_count(Mask(sampled), np.zeros((3, 4, 6))) == 36
    assert measured_count(CartesianMRI(sampled), np.zeros((4, 6), complex)) == 24
    assert measured_count(Identity((4, 6)), np.zeros((4, 6))) == 24


@pytest.mark.parametrize("sigma", [0.005, 0.05])
def test_the_noise_level_of_a_blurred_image_is_found(sigma):
    truth = data.camera().astype(np.float64) / 255
    A = Blur(np.ones((7, 7)) / 49, truth.shape)
    y = A(truth) + sigma * np.random.default_rng(0).standard_normal(truth.shape)
    assert estimate_sigma(y, A) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize(("name", "level"), [("grass", 0.05), ("gravel", 0.02), ("brick", 0.01), ("coins", 0.005)])
def test_texture_is_told_from_noise(name, level):
    truth = getattr(data, name)()[:256, :256] / 255
    y = truth + level * np.random.default_rng(0).standard_normal(truth.shape)
    assert estimate_sigma(y, Identity(y.shape)) == pytest.approx(level, rel=0.15)


@settings(max_examples=20)
@given(st.floats(1e-3, 1e3), st.floats(-1e4, 1e4), st.integers(24, 150), st.integers(24, 150))
def test_the_level_of_noise_alone_has_its_unit(level, offset, rows, columns):
    noise = np.random.default_rng(rows).standard_normal((rows, columns))
    found = estimate_sigma(level * noise + level * offset, Identity(noise.shape))
    assert found == pytest.approx(level, rel=4.5 / math.sqrt(noise.size) + 0.02)
    assert found == pytest.approx(level * estimate_sigma(noise, Identity(noise.shape)), rel=1e-3)


def test_what_was_filled_in_shows_no_noise():
    y = data.camera()[:200, :200] / 255 + 0.03 * np.random.default_rng(0).standard_normal((200, 200))
    y[:, :150] = 0.5  # most of the image
    seen = np.zeros(y.shape, bool)
    seen[:, 150:] = True
    y_elsewhere_loud = np.where(seen, y, 10 * np.random.default_rng(1).standard_normal(y.shape))
    assert estimate_sigma(y, Identity(y.shape)) == pytest.approx(0.03, rel=0.1)
    assert estimate_sigma(y_elsewhere_loud, Mask(seen)) == pytest.approx(0.03, rel=0.1)
    assert estimate_sigma(np.full((64, 64), 3.0), Identity((64, 64))) == 0


@pytest.mark.parametrize("noise", ["auto", "known"])
@pytest.mark.parametrize("level", [0.02, 0.05])
def test_the_strength_is_near_the_best_whatever_the_image(noise, level):
    blocks = np.kron(np.random.default_rng(1).random((4, 4)), np.ones((16, 16)))
    for truth in (blocks, data.camera()[100:164, 100:164] / 255, rescale(data.shepp_logan_phantom(), 0.16)):
        y, A = truth + level * np.random.default_rng(0).standard_normal(truth.shape), Identity(truth.shape)
        sigma = level if noise == "known" else noise
        x, info = reconstruct(y, A, prior="tv", noise=sigma, return_info=True)
        grid = info.plan.strength * 1.3 ** np.arange(-4, 5)
        best = min(np.mean((reconstruct(y, A, prior="tv", noise=sigma, strength=s) - truth) ** 2) for s in grid)
        assert np.mean((x - truth) ** 2) < 1.12 * best  # half a decibel


@pytest.mark.parametrize("prior", ["tv", "learned"])
def test_an_image_of_unknown_noise_is_restored_as_if_it_were_known(prior):
    lost = []
    for i, (name, level) in enumerate((("camera", 0.05), ("grass", 0.04), ("brick", 0.03), ("coins", 0.015))):
        truth = getattr(data, name)()[100:228, 100:228] / 255
        y = truth + level * np.random.default_rng(i).standard_normal(truth.shape)
        told, found = (
            np.mean((reconstruct(y, Identity(y.shape), prior=prior, noise=noise) - truth) ** 2)
            for noise in (level, "auto")
        )
        lost.append(10 * math.log10(found / told))
    assert max(lost) < 0.2 and np.mean(lost) < 0.1


def test_the_noise_level_of_k_space_is_found():
    rng = np.random.default_rng(0)
    truth = data.camera().astype(np.float64)[::2, ::2] / 255
    A = CartesianMRI(rng.random(truth.shape) < 0.4)
    k = A(truth)
    k = k + A.sampling * 0.05 * (rng.standard_normal(k.shape) + 1j * rng.standard_normal(k.shape))
    assert estimate_sigma(k, A) == pytest.approx(0.05, rel=0.25)


def test_the_noise_level_of_sparse_pixels_is_found():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:200, :200] / 200
    A = Mask(rng.random((200, 200)) < 0.3)
    y = A(rows * columns + 0.02 * rng.standard_normal((200, 200)))
    assert estimate_sigma(y, A) == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("sigma", [0.005, 0.02])
def test_the_noise_level_of_few_scattered_pixels_is_told_from_slopes(sigma):
    rng = np.random.default_rng(1)
    slope = np.add.outer(np.arange(72.0), 2 * np.arange(72.0)) / 60  # neighbours differ by more than the noise
    A = Mask(rng.random(slope.shape) < 0.3)
    assert estimate_sigma(A(slope + sigma * rng.standard_normal(slope.shape)), A) == pytest.approx(sigma, rel=0.2)


def test_the_discrepancy_is_where_the_residual_is_the_noise():
    # Denoising by x = y / (1 + s): the residual s / (1 + s) |y| equals sigma sqrt(m) at a strength in closed form.
    rng = np.random.default_rng(0)
    y, sigma = rng.standard_normal((40, 40)) * 2.0, 0.5
    problem = ridge_problem(Identity((40, 40)), y, sigma)
    ratio = sigma * 40 / np.linalg.norm(y)
    choice = choose_strength(problem, 0.05, "discrepancy", rng)
    assert choice.strength == pytest.approx(ratio / (1 - ratio), rel=0.05)


def test_whiteness_leaves_a_residual_that_is_white():
    rng = np.random.default_rng(1)
    i = np.arange(48)
    truth = np.add.outer(np.sin(i / 5), np.cos(i / 7)) * 3
    blur = Blur(np.outer([1, 2, 1], [1, 2, 1]) / 16, truth.shape)
    y = blur(truth) + 0.3 * rng.standard_normal(truth.shape)
    choice = choose_strength(ridge_problem(blur, y, 0.3), 1.0, "whiteness", rng)
    risks = {t.strength: t.risk for t in choice.trials}
    assert min(risks.values()) >= 1 / y.size  # white noise in the limit: the power is the same at every frequency
    strongest = max(risks)
    assert risks[strongest] > min(risks.values())


def test_the_l_curve_finds_a_corner():
    # |A x - y| and |x| of a diagonal problem with two groups of values: the corner lies between them.
    large, small = np.full((20, 20), 1.0), np.full((20, 20), 1e-3)
    A = Diagonal(np.concatenate([large, small]))
    y = A(np.ones((40, 20))) + 1e-4 * np.random.default_rng(2).standard_normal((40, 20))
    choice = choose_strength(ridge_problem(A, y, 1e-4), 1e-3, "l-curve", np.random.default_rng(0))
    assert 1e-6 < choice.strength < 1.0


def test_names_of_criteria_reach_the_plan():
    y = np.random.default_rng(0).random((16, 16))
    A = Identity((16, 16))
    assert plan(y, A, strength="whiteness").criterion == "whiteness"
    with pytest.raises(OptionError, match="Did you mean 'discrepancy'"):
        plan(y, A, strength="discrepency")
    with pytest.raises(ArgumentError, match="noise level 0"):
        reconstruct(y, A, noise=0.0, strength="discrepancy")


# --- coils --------------------------------------------------------------------------------------------------------


def uneven_coils(rng):
    """Two of them, of which one corner of the image is seen a tenth as strongly as the other."""
    fall = np.linspace(1.0, 0.3, 12)
    return np.multiply.outer(fall, fall) * np.exp(2j * np.pi * rng.random((2, 12, 12)))


def test_a_misfit_of_coils_counts_as_that_of_the_image():
    rng = np.random.default_rng(0)
    A = CartesianMRI(np.ones((12, 12), bool), uneven_coils(rng))
    weigh = as_if_seen_alike(A, A(np.ones((12, 12))))
    for corner in (slice(0, 4), slice(8, 12)):
        error = np.zeros((12, 12), complex)
        error[corner, corner] = rng.standard_normal((4, 4))
        counted = np.vdot(A(error), weigh(A(error))).real / A.sensitivity().max()
        assert counted == pytest.approx(np.vdot(error, error).real, rel=0.7 if corner.start else 0.05)
        plain = np.vdot(A(error), A(error)).real / A.sensitivity().max()
        assert plain < counted


def test_only_what_is_seen_unevenly_is_weighed():
    coils = uneven_coils(np.random.default_rng(0))
    even = coils / np.sqrt((abs(coils) ** 2).sum(0))
    y = np.zeros((2, 12, 12), complex)
    assert as_if_seen_alike(CartesianMRI(np.ones((12, 12), bool)), y[0]) is None
    assert as_if_seen_alike(CartesianMRI(np.ones((12, 12), bool), even), y) is None
    assert as_if_seen_alike(Blur(np.ones((3, 3)), (12, 12)), y) is None


def test_sensitivity_passes_through_samples_that_are_picked():
    coils = uneven_coils(np.random.default_rng(0))
    expected = (abs(coils) ** 2).sum(0)
    A = CartesianMRI(np.ones((12, 12), bool), coils)
    picked = 2.0 * A.with_sampling(np.random.default_rng(1).random((2, 12, 12)) < 0.5)  # coils sampled differently
    spokes = NonCartesianMRI(radial(4, 12), (12, 12), coils)
    frames = DynamicMRI(np.ones((3, 12, 12), bool), coils)
    spokes_of_frames = DynamicNonCartesianMRI(radial(6, 12).reshape(3, 2, 12, 2), (12, 12), coils)
    gains = Diagonal(expected**0.5)
    for operator in (A, picked, spokes, frames, spokes_of_frames, gains):
        np.testing.assert_allclose(operator.sensitivity(), expected)


def test_the_answer_after_samples_were_held_out_is_that_of_all_samples():
    # Products with A^H A that a solver of the search remembers are those of fewer samples.
    rows, columns = np.mgrid[-1:1:48j, -1:1:48j]
    truth = ((rows**2 + columns**2 < 0.6) + 0.5 * (abs(rows) + abs(columns) < 0.4)).astype(np.complex64)
    mask = np.zeros((48, 48), bool)
    mask[::3] = True
    mask[18:30] = True
    A = CartesianMRI(mask, np.stack([np.exp(-((rows - a) ** 2) - (columns - b) ** 2) for a, b in CORNERS]))
    noise = np.random.default_rng(0).standard_normal((2, *A.out_shape))
    y = A(truth) + 0.02 * mask * (noise[0] + 1j * noise[1])
    x, info = reconstruct(y, A, prior="tv", return_info=True)
    tight = reconstruct(y, A, prior="tv", strength=info.plan.strength, tol=1e-5)
    assert np.linalg.norm(x - tight) < 0.02 * np.linalg.norm(tight)


CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def test_bounds_that_a_first_guess_exceeds_leave_the_search_where_it_begins():
    truth = np.kron(np.random.default_rng(0).random((4, 4)), np.ones((12, 12)))
    A = Blur(np.ones((5, 5)) / 25, truth.shape)
    y = A(truth) + 0.02 * np.random.default_rng(1).standard_normal(truth.shape)
    first = [
        reconstruct(y, A, prior="tv", bounds=bounds, return_info=True)[1].choice.trials[0].strength
        for bounds in (None, (0.1, 0.9))
    ]
    assert first[1] == pytest.approx(first[0], rel=0.5)
