"""Which priors are candidates where none is named, and what is said where the learned one is not."""

import numpy as np
import pytest
from skimage import data

from recon import _usual_priors, plan, psf, reconstruct
from recon import operators as ops
from recon.noise import Poisson

WIDE = np.zeros((100, 128), np.float32)
BLUR = np.ones((3, 3)) / 9


def said(y, operator, **options):
    decision = plan(y, operator, **options).decisions["prior"]
    return f"{decision.choice}; {decision.reason}"


def test_photographs_get_the_prior_of_smaller_risk():
    truth = data.camera()[100:228, 180:308] / np.float32(255)
    operator = ops.Blur(np.ones((5, 5)) / 25, shape=truth.shape)
    y = operator(truth) + 0.02 * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    x, info = reconstruct(y, operator, return_info=True)
    risks = {rival.prior.split(",")[0]: rival.risk for rival in info.choice.rivals}
    assert set(risks) == {"total variation", "learned denoiser"}
    assert info.plan.decisions["prior"].choice.startswith(min(risks, key=risks.get))
    classical = reconstruct(y, operator, prior="tv")
    assert np.linalg.norm(x - truth) < 0.95 * np.linalg.norm(classical - truth)


@pytest.mark.parametrize("background", [0.0, 20.0])
def test_counts_are_weighed_by_the_variance_around_them(background):
    truth = data.camera()[100:228, 180:308] * np.float32(20 / 255)
    operator = ops.Blur(np.ones((3, 3)) / 9, shape=truth.shape, boundary="reflecting")
    counts = np.random.default_rng(0).poisson(operator(truth) + background).astype(np.float32)
    x, info = reconstruct(counts, operator, noise=Poisson(background), return_info=True)
    assert info.plan.decisions["data term"].choice == "least squares, weighted"
    assert 0.8 < info.residual < 1.05
    classical = reconstruct(counts, operator, noise=Poisson(background), prior="tv")
    assert np.linalg.norm(x - truth) < np.linalg.norm(classical - truth)
    oracle = reconstruct(
        counts - background, operator, noise=np.sqrt(operator(truth) + background), prior="learned"
    )  # the variances known
    learned = reconstruct(counts, operator, noise=Poisson(background), prior="learned")
    assert np.linalg.norm(learned - truth) < 1.03 * np.linalg.norm(oracle - truth)


def test_counts_in_another_unit_give_the_same_image():
    truth = data.camera()[100:228, 180:308] * np.float32(50 / 255)
    counts = np.random.default_rng(0).poisson(truth).astype(np.float32)
    operator = ops.Identity(truth.shape)
    x = reconstruct(counts, operator, noise="poisson", prior="learned")
    scaled = reconstruct(0.25 * counts, operator, noise=Poisson(gain=0.25), prior="learned")
    np.testing.assert_allclose(4 * scaled, x, atol=1e-3 * x.max())


def test_flat_squares_keep_total_variation():
    truth = np.kron(np.random.default_rng(1).random((8, 8)), np.ones((16, 16))).astype(np.float32)
    operator = ops.Blur(psf.gaussian(2.0), shape=truth.shape)
    y = operator(truth) + 0.05 * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    _, info = reconstruct(y, operator, return_info=True)
    assert info.plan.decisions["prior"].choice.startswith("total variation")


@pytest.mark.parametrize(
    ("y", "operator", "options", "reason"),
    [
        (WIDE[:90, :100], ops.Blur(BLUR, shape=(90, 100)), {}, "a small image"),
        (np.zeros((32, 400)), ops.Identity((32, 400)), {}, "a small image"),
        (np.zeros((2048, 2304), np.float32), ops.Identity((2048, 2304)), {"noise": 0.1}, "a large image"),
        (np.zeros((40, 400, 300), np.float32), ops.Identity((400, 300)), {"noise": 0.1}, "a large image"),
        (np.ones(20000), ops.Identity((20000,)), {}, "the images are not plane"),
        (np.ones((20, 64, 64)), ops.Identity((20, 64, 64)), {}, "the images are not plane"),
        (np.ones((2, 100, 128)), ops.Identity((100, 128)), {"noise": "poisson"}, "counts of several images"),
        (WIDE, ops.Identity(WIDE.shape), {"solver": "fista"}, "a solver is given"),
        (WIDE, ops.Identity(WIDE.shape), {"strength": 0.1}, "a strength is given"),
        (WIDE, ops.Identity(WIDE.shape), {"x0": WIDE}, "a start is given"),
    ],
)
def test_the_plan_says_why_total_variation_is_the_only_candidate(y, operator, options, reason):
    assert said(y, operator, **options).endswith(f"no learned one: {reason}")
    assert said(y, operator, **options).startswith("total variation")


def test_without_torch_total_variation_is_the_only_candidate(monkeypatch):
    assert said(WIDE, ops.Identity(WIDE.shape)).startswith("one of total variation")
    monkeypatch.setattr(_usual_priors, "find_spec", lambda name: None)
    assert said(WIDE, ops.Identity(WIDE.shape)).endswith("torch is not installed")


def test_a_prior_that_is_named_is_taken():
    assert said(WIDE, ops.Identity(WIDE.shape), prior="tv") == "total variation, 2-D; given"
