"""The predicted risk chooses between priors, and the balance of the weights within one."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from priors import TGV, Box, TotalVariation, Wavelet
from recon import operators as ops
from recon import plan, reconstruct
from recon._predicted import Figures
from recon._selection_problem import Choice
from recon.selection import common_risks
from solvers.errors import ArgumentError

N = 48


def planes():
    rows, columns = np.mgrid[:N, :N] / N
    return np.maximum(0.1 + 0.8 * columns, 0.9 - 0.9 * rows)


def blocks():
    return np.kron(np.random.default_rng(1).random((4, 4)), np.ones((N // 4, N // 4)))


def measured(A, truth, sigma=0.05):
    return A(truth) + sigma * np.random.default_rng(0).standard_normal(A.out_shape)


def error(image, truth):
    return float(np.sqrt(np.mean((image - truth) ** 2)))


@pytest.mark.parametrize("image", [planes, blocks])
def test_of_several_priors_the_nearest_to_the_truth_is_taken(image):
    truth = image()
    A = ops.Identity(truth.shape)
    y = measured(A, truth)
    priors = ["tv", "tgv", "sobolev"]
    errors = {name: error(reconstruct(y, A, prior=name), truth) for name in priors}
    x, info = reconstruct(y, A, prior=priors, return_info=True)
    assert error(x, truth) < sorted(errors.values())[1]
    assert len(info.choice.rivals) == 3
    assert info.choice.rivals[0].prior in info.plan.decisions["prior"].reason
    assert min(r.risk for r in info.choice.rivals) == info.choice.rivals[int(np.argmin(list(errors.values())))].risk


def test_objects_and_names_stand_side_by_side_and_the_plan_says_so():
    y = measured(ops.Identity((N, N)), blocks())
    said = plan(y, ops.Identity((N, N)), prior=["tv", Wavelet("haar")])
    assert "one of total variation, 2-D, Wavelet" in str(said)
    assert said.strength is None


def test_where_pixels_are_missing_all_priors_are_judged_by_the_same_held_out_ones():
    truth = planes()
    A = ops.Mask(np.random.default_rng(2).random(truth.shape) < 0.5)
    y = A(measured(ops.Identity(truth.shape), truth, 0.01))
    x, info = reconstruct(y, A, prior=["tv", "tgv"], return_info=True)
    assert info.plan.decisions["prior"].choice.startswith("total generalised")
    assert error(x, truth) < 0.02


def test_a_chosen_denoiser_is_as_good_as_alone_and_goes_once_more_through_no_schedule():
    truth = data.camera()[100:164, 180:244] / np.float32(255)
    operator = ops.ParallelBeam(truth.shape, angles=40)
    y = operator(truth) + 0.1 * np.random.default_rng(0).standard_normal(operator.out_shape).astype(np.float32)
    x, info = reconstruct(y, operator, prior=["tv", "learned"], return_info=True)
    assert "learned" in info.plan.decisions["prior"].choice
    alone = reconstruct(y, operator, prior="learned")
    # It starts from a classical image of a tighter tolerance, which the comparison asked for.
    assert np.linalg.norm(x - alone) <= 0.1 * np.linalg.norm(alone - truth)
    assert error(x, truth) <= 1.01 * error(alone, truth)
    again = reconstruct(y, operator, prior=["tv", "learned"], callback=lambda state, k: False)  # which solves anew
    np.testing.assert_allclose(again, x, atol=1e-4)


def test_the_balance_of_tgv_is_chosen_with_the_strength():
    rows, columns = np.mgrid[:80, :80] / 80
    truth = np.maximum(0.1 + 0.8 * columns, 0.9 - 0.9 * rows)
    A = ops.Identity(truth.shape)
    y = measured(A, truth)
    fixed = error(reconstruct(y, A, prior="tgv"), truth)
    x, info = reconstruct(y, A, prior="tgv", strength="joint", return_info=True)
    assert error(x, truth) < 0.95 * fixed
    assert info.choice.chosen in [rival.prior for rival in info.choice.rivals]
    assert info.plan.decisions["prior"].choice.endswith(f"balance {info.choice.chosen}")
    assert info.plan.prior.ratio == pytest.approx(2.0 * float(info.choice.chosen), rel=1e-2)


def test_rebalancing_changes_the_last_weight_alone():
    x = np.random.default_rng(0).random((8, 8))
    tv, haar = TotalVariation(), Wavelet("haar")
    assert TGV(2.0).rebalanced(3.0) == TGV(6.0)
    assert tv.rebalanced(3.0) is None
    assert (2 * tv + haar).rebalanced(5.0).value(x) == pytest.approx(2 * tv.value(x) + 5 * haar.value(x))
    assert (TGV(1.0) + Box(0, 1)).rebalanced(2.0).parts[0] == TGV(2.0)
    assert (3 * TGV(1.0)).rebalanced(2.0) == 3 * TGV(2.0)
    assert Box(0, 1).rebalanced(2.0) is None


def test_risks_are_compared_at_one_noise_level():
    # Two choices that took their noise levels from their own residuals: that of the smaller GCV counts for both.
    good, bad = Figures(1.0, 0.2, 2.0, 0.5), Figures(4.0, 0.1, 8.0, 0.3)
    risks = common_risks([Choice(1.0, "gcv", figures=good), Choice(1.0, "gcv", figures=bad)])
    variance = 1.0 / (1 - 0.2)
    assert risks == pytest.approx([2.0 + 2 * variance * 0.5, 8.0 + 2 * variance * 0.3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": ["tv"]}, "two or more"),
        ({"prior": ["tv", "tgv"], "strength": 0.1}, "each at its own strength"),
        ({"prior": ["tv", "tgv"], "strength": "whiteness"}, "each at its own strength"),
        ({"prior": ["tv", "none"]}, "Leave it out"),
        ({"prior": "tv", "strength": "joint"}, "has one weight"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        plan(np.zeros((8, 8)), ops.Identity((8, 8)), **options)


def test_without_noise_the_residual_is_relative_to_the_measurement(recwarn):
    truth = planes()
    A = ops.Mask(np.random.default_rng(2).random(truth.shape) < 0.5)
    x, info = reconstruct(A(truth), A, noise=0.0, return_info=True)
    assert not recwarn.list
    assert info.residual < 0.01 and info.trusted
    assert "of the measurement" in str(info)
    assert error(x, truth) < 0.02
