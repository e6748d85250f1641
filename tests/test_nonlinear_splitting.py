"""Primal-dual and linearised ADMM of nonlinear operators: known minimisers, one solver against another."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from priors import Sparsity, Tikhonov, TotalVariation
from recon import psf, reconstruct
from recon.bench.problems import photograph
from recon.operators import Blur, Identity, Saturation
from solvers import (
    PDHG,
    LeastSquares,
    LevenbergMarquardt,
    LinearisedADMM,
    NonlinearADMM,
    NonlinearPDHG,
    solve,
)

RNG = np.random.default_rng(0)
SOLVERS = [NonlinearPDHG, NonlinearADMM]


@pytest.mark.parametrize("solver", SOLVERS)
def test_minimiser_of_each_pixel(solver):
    F, strength = Saturation((8,), level=1.0, sharpness=2.0), 0.02
    y = F(np.linspace(-1.5, 1.5, 8))

    def least(value):
        def objective(t):
            return 0.5 * (t / np.sqrt(1 + t * t) - value) ** 2 + strength * abs(t)

        return minimize_scalar(objective, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10}).x

    problem = solver(LeastSquares(F, y), Sparsity(), strength)
    found = solve(problem, y, max_iter=3000, tol=1e-8).image
    np.testing.assert_allclose(found, [least(value) for value in y], atol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_total_variation_behind_a_blur_as_by_levenberg_marquardt(solver):
    truth = photograph("camera", 16).astype(float)
    F = Saturation(truth.shape, 1.0) @ Blur(psf.gaussian(1.0), truth.shape)
    data = LeastSquares(F, F(truth) + 0.01 * RNG.standard_normal(truth.shape))
    least = solve(LevenbergMarquardt(data, TotalVariation(), 1e-2), truth * 0, max_iter=200, tol=1e-6)
    found = solve(solver(data, TotalVariation(), 1e-2), truth * 0, max_iter=800, tol=1e-6)
    assert np.linalg.norm(found.image - least.image) < 2e-3 * np.linalg.norm(truth)


@pytest.mark.parametrize("solver", [PDHG, LinearisedADMM, *SOLVERS])
def test_a_prior_whose_functions_are_made_anew_counts_once(solver):
    """``1/2 |x - y|^2_w + c |x|_1`` and half a square: closed forms of each pixel."""
    y, weights = np.array([3.0, -0.5, 1.0]), np.array([1.0, 2.0, 4.0])
    data = LeastSquares(Identity((3,)), y, weights)
    found = solve(solver(data, 0.5 * Sparsity(), 0.8), y * 0, max_iter=1000, tol=1e-9).image
    np.testing.assert_allclose(found, y - np.clip(y, -0.4 / weights, 0.4 / weights), atol=1e-5)
    found = solve(solver(data, Tikhonov(), 0.8), y * 0, max_iter=1000, tol=1e-9).image
    np.testing.assert_allclose(found, weights * y / (weights + 0.8), atol=1e-5)


@pytest.mark.parametrize("name", ["nonlinear-pdhg", "nonlinear-admm"])
def test_by_name(name):
    F = Saturation((6, 6), 1.0)
    y = (F(np.full((6, 6), 0.4)) + 0.01 * RNG.standard_normal((6, 6))).astype(np.float32)
    x = reconstruct(y, F, solver=name, strength=1e-2, noise=0.01)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, 0.4, atol=0.03)
