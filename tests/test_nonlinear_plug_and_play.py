"""Plug-and-play with nonlinear operators and counts: against dense algebra, and beside total variation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from priors import PlugAndPlay
from recon import plan, psf, reconstruct
from recon.bench.problems import photograph
from recon.operators import Blur, CodedDiffraction, Saturation, Transmission, from_matrix
from recon.operators.parallel_beam import ParallelBeam
from solvers import AbsoluteDeviation, LeastSquares, NonlinearDPIR, unroll
from solvers.errors import ArgumentError

RNG = np.random.default_rng(0)
PHOTO = photograph("camera", 64)


def shrunk(v, sigma):
    """A denoiser that is linear, so that nothing but the data step can differ."""
    return v / (1 + sigma)


def test_steps_of_a_linear_problem_are_those_of_dense_algebra():
    A, y, weights = RNG.standard_normal((9, 6)) / 3, RNG.standard_normal(9), 0.5 + RNG.random(9)
    problem = NonlinearDPIR(LeastSquares(from_matrix(A), y, weights), PlugAndPlay(shrunk), 0.3, length=3, first=2.0)
    x = np.ones(6)
    last = problem.init(x).last
    for sigma in (2.0, math.sqrt(2.0 * last), last):
        step = sigma**2 / 0.3
        x = np.linalg.solve(np.eye(6) + step * A.T * weights @ A, x + step * A.T @ (weights * y))
        x = shrunk(x, sigma)
    np.testing.assert_allclose(unroll(problem, np.ones(6), 3), x, rtol=1e-4)


def test_last_level_is_the_noise_over_the_gain():
    saturated = Saturation((8, 8), level=1e6)  # as good as linear
    problem = NonlinearDPIR(LeastSquares(3 * saturated, np.ones((8, 8))), PlugAndPlay(shrunk), 1.0, noise=0.6)
    assert problem.init(np.zeros((8, 8))).last == pytest.approx(0.2, rel=1e-3)


def error(x, truth):
    return np.sqrt(np.mean((x - truth) ** 2))


def test_learned_denoiser_of_a_saturated_photograph_is_better_than_total_variation():
    F = Saturation(PHOTO.shape, 0.8) @ Blur(psf.gaussian(1.0), PHOTO.shape)
    y = F(PHOTO) + 0.01 * RNG.standard_normal(PHOTO.shape).astype(np.float32)
    learned, usual = (reconstruct(y, F, prior=prior, noise=0.01, max_iter=40) for prior in ("learned", "tv"))
    assert "nonlinear-dpir" in str(plan(y, F, prior="learned"))
    assert error(learned, PHOTO) < error(usual, PHOTO)


def test_learned_denoiser_of_few_counts_is_better_than_total_variation():
    truth = 0.05 * photograph("astronaut", 48)
    F = Transmission(ParallelBeam(truth.shape, 60), 1e3)
    counts = RNG.poisson(F(truth)).astype(np.float32)
    learned, usual = (reconstruct(counts, F, prior=prior, max_iter=60) for prior in ("learned", "tv"))
    assert error(learned, truth) < error(usual, truth)


def test_learned_denoiser_of_missing_phases_knows_the_noise_from_a_classical_image():
    """Diffraction patterns look like noise: what they alone tell of its level is far too much."""
    truth = (photograph("camera", 48) * np.exp(1j * photograph("astronaut", 48))).astype(np.complex64)
    F = CodedDiffraction(4, truth.shape)
    sigma = 0.1 * float(F(truth).std())
    y = F(truth) + sigma * RNG.standard_normal(F.out_shape, dtype=np.float32)

    def off(x):
        turn = np.vdot(x, truth)
        return error(abs(x * turn / abs(turn) - truth), 0)

    learned, info = reconstruct(y, F, prior="learned", return_info=True)
    assert info.plan.noise.sigma == pytest.approx(sigma, rel=0.2)
    assert off(learned) < off(reconstruct(y, F, prior="tv"))


def test_what_is_refused():
    operator, y = Saturation((4, 4), 1.0), np.ones((4, 4))
    with pytest.raises(ArgumentError, match="no gradient"):
        NonlinearDPIR(AbsoluteDeviation(operator, y), PlugAndPlay(shrunk), 1.0)
    with pytest.raises(ArgumentError, match="noise"):
        NonlinearDPIR(LeastSquares(operator, y), PlugAndPlay(shrunk), 1.0, noise=0.0)
