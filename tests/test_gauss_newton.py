"""Gauss-Newton and gradient solvers on nonlinear operators, against scipy and against each other."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from operators_list import Exponential, Power, Square

from priors import NonNegative, Tikhonov, TotalVariation, Zero
from recon.operators import Blur, CartesianMRI, Mask, from_callables, from_matrix, from_torch
from solvers import (
    ADMM,
    FISTA,
    IRGN,
    LBFGS,
    AbsoluteDeviation,
    GaussNewton,
    GradientDescent,
    Huber,
    LeastSquares,
    LevenbergMarquardt,
    PoissonLikelihood,
    ProximalGradient,
    StudentT,
    TransmissionLikelihood,
    solve,
    unroll,
)
from solvers.errors import ArgumentError, DTypeError

RNG = np.random.default_rng(0)
MATRIX = RNG.random((30, 8))
F = Exponential((30,)) @ from_matrix(MATRIX)
TRUTH = RNG.random(8)
Y = F(TRUTH) + 0.02 * RNG.standard_normal(30)
ALL = [GaussNewton, LevenbergMarquardt, IRGN, FISTA, ProximalGradient, LBFGS, GradientDescent]


def minimiser(objective, x0):
    return scipy.optimize.minimize(objective, x0, method="BFGS", options={"gtol": 1e-9}).x


@pytest.mark.parametrize("solver", ALL)
def test_least_squares_with_tikhonov_is_that_of_scipy(solver):
    algorithm = solver(LeastSquares(F, Y), Tikhonov(), 1e-3)
    expected = minimiser(algorithm.objective, TRUTH)
    found = solve(algorithm, np.zeros(8), max_iter=5000, tol=1e-8)
    np.testing.assert_allclose(found.image, expected, atol=1e-4 if solver in (FISTA, ProximalGradient) else 1e-5)


def test_few_steps_suffice_near_the_answer():
    algorithm = LevenbergMarquardt(LeastSquares(F, F(TRUTH)), Zero(), 0.0)
    np.testing.assert_allclose(unroll(algorithm, np.zeros(8), 12), TRUTH, atol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        LeastSquares(F, Y, RNG.random(30)),
        Huber(F, Y, 0.01),
        StudentT(F, Y, 0.01),
        PoissonLikelihood(F, 100 * Y, 2.0),
        TransmissionLikelihood(Square((30,)) @ from_matrix(MATRIX), RNG.poisson(50, 30).astype(float), 100.0, 1.0),
    ],
)
def test_every_smooth_data_term_is_minimised(data):
    algorithm = LevenbergMarquardt(data, Tikhonov(), 0.1)
    start = np.full(8, 0.3)
    found = solve(algorithm, start, max_iter=300, tol=1e-9).image
    assert np.linalg.norm(data.gradient(found) + 0.1 * found) < 1e-4 * np.linalg.norm(data.gradient(start))


@pytest.mark.parametrize("solver", [GaussNewton, LevenbergMarquardt])
@pytest.mark.parametrize("prior", [TotalVariation(), Tikhonov() + NonNegative()])
def test_priors_that_are_split_reach_what_proximal_gradient_reaches(solver, prior):
    G = Exponential((16, 16)) @ Blur(np.ones((3, 3)) / 9, (16, 16))
    image = np.zeros((16, 16))
    image[4:12, 5:10] = 1.0
    data = LeastSquares(G, G(image) + 0.02 * RNG.standard_normal((16, 16)))
    expected = solve(FISTA(data, prior, 0.01), np.zeros((16, 16)), max_iter=3000, tol=1e-7)
    found = solve(solver(data, prior, 0.01), np.zeros((16, 16)), max_iter=500, tol=1e-5)
    np.testing.assert_allclose(found.image, expected.image, atol=0.01)


def test_a_batch_is_solved_as_its_images_are():
    G = Exponential((8, 8)) @ Blur(np.ones((3, 3)) / 9, (8, 8))
    y = G(RNG.random((2, 8, 8)))
    together = solve(LevenbergMarquardt(LeastSquares(G, y), TotalVariation(), 0.001), 0 * y, max_iter=300, tol=1e-6)
    for item, image in zip(y, together.image, strict=True):
        algorithm = LevenbergMarquardt(LeastSquares(G, item), TotalVariation(), 0.001)
        alone = solve(algorithm, 0 * item, max_iter=300, tol=1e-6)
        np.testing.assert_allclose(image, alone.image, atol=1e-3)


def test_complex_images_follow_the_gradient_of_the_real_misfit():
    G = Power((6, 6)) @ CartesianMRI(np.ones((6, 6), bool))
    x = RNG.standard_normal((6, 6)) + 1j * RNG.standard_normal((6, 6))
    start = x + 0.1 * (RNG.standard_normal((6, 6)) + 1j * RNG.standard_normal((6, 6)))
    data = LeastSquares(G, G(x))
    for solver in (LevenbergMarquardt, LBFGS):
        found = solve(solver(data, Zero() if solver is LevenbergMarquardt else Tikhonov(), 0.0), start, max_iter=200)
        assert np.linalg.norm(G(found.image) - data.y) < 1e-3 * np.linalg.norm(data.y)


def test_damping_grows_where_full_steps_overshoot():
    """``arctan``: from 3, undamped Newton steps run away."""
    G = from_torch(torch.arctan, (1,), linear=False)
    found = solve(LevenbergMarquardt(LeastSquares(G, np.zeros(1)), Zero(), 0.0), np.full(1, 3.0), tol=1e-8)
    assert abs(found.image[0]) < 1e-6
    found = solve(GaussNewton(LeastSquares(G, np.zeros(1)), Zero(), 0.0), np.full(1, 3.0), tol=1e-8)
    assert abs(found.image[0]) < 1e-6


def test_gradients_pass_through_unrolled_steps():
    y = torch.from_numpy(Y).requires_grad_()
    G = Exponential((30,)) @ from_matrix(MATRIX)
    x = unroll(LevenbergMarquardt(LeastSquares(G, y), Tikhonov(), 1e-2), torch.zeros(8, dtype=torch.float64), 15)
    (gradient,) = torch.autograd.grad(x[0], y)

    def first(measurement):
        data = LeastSquares(G, measurement)
        return unroll(LevenbergMarquardt(data, Tikhonov(), 1e-2), np.zeros(8), 15)[0]

    step = np.zeros(30)
    step[3] = 1e-5
    assert (first(Y + step) - first(Y - step)) / 2e-5 == pytest.approx(float(gradient[3]), rel=1e-2)


def test_gradient_solvers_need_no_derivative_in_a_direction():
    G = from_callables(np.exp, None, (8,), (8,), vjp=lambda x, r: np.exp(x) * r)
    data = LeastSquares(G, np.exp(TRUTH))
    for solver in (FISTA, LBFGS, GradientDescent):
        found = solve(solver(data, Tikhonov(), 1e-9), np.zeros(8), max_iter=2000, tol=1e-7)
        np.testing.assert_allclose(found.image, TRUTH, atol=1e-4)


def test_strength_of_the_iteratively_regularised_form_falls():
    algorithm = IRGN(LeastSquares(F, Y), Tikhonov(), 1e-3, first=100.0, ratio=0.1)
    heavy = GaussNewton(LeastSquares(F, Y), Tikhonov(), 0.1)
    np.testing.assert_allclose(unroll(algorithm, np.zeros(8), 1), unroll(heavy, np.zeros(8), 1), atol=1e-12)


def test_wrong_arguments_are_named():
    data = LeastSquares(F, Y)
    with pytest.raises(ArgumentError, match="cg_iterations"):
        GaussNewton(data, Tikhonov(), 1.0, cg_iterations=0)
    with pytest.raises(DTypeError, match="cg_iterations"):
        LevenbergMarquardt(data, Tikhonov(), 1.0, cg_iterations=1.5)
    with pytest.raises(ArgumentError, match="ratio"):
        IRGN(data, Tikhonov(), 1.0, ratio=1.0)
    with pytest.raises(ArgumentError, match="no curvature"):
        GaussNewton(AbsoluteDeviation(F, Y), Tikhonov(), 1.0)


@pytest.mark.parametrize("name", ["least squares", "weighted", "huber", "student", "poisson", "transmission"])
def test_curvatures_stand_for_second_derivatives(name):
    """Exact for quadratic losses, in expectation for counts, an upper parabola for robust losses."""
    from test_data_terms import TERMS, near

    data = TERMS[name]
    w = near(name)
    d = 0.1 * RNG.standard_normal(w.shape)
    curvatures = data.curvatures(w)
    assert (curvatures > 0).all()
    if name in ("poisson", "transmission"):
        mean = w + 0.5 if name == "poisson" else data.blank * np.exp(-w)
        expected = type(data)(data.operator, mean, data.background if name == "poisson" else data.blank)
        h = 1e-5
        second = (expected.loss_gradient(w + h) - expected.loss_gradient(w - h)) / (2 * h)
        np.testing.assert_allclose(curvatures, second, rtol=1e-4)
    else:
        bound = data.loss(w) + np.sum(data.loss_gradient(w) * d) + 0.5 * np.sum(curvatures * d * d)
        assert data.loss(w + d) <= bound + 1e-9
        if name in ("least squares", "weighted"):
            assert data.loss(w + d) == pytest.approx(bound)


def test_masked_measurements_are_no_misfit():
    G = Mask(np.array([True, False, True])) @ Exponential((3,))
    found = solve(LevenbergMarquardt(LeastSquares(G, np.array([0.5, 0.0, 2.0])), Tikhonov(), 1e-6), np.zeros(3))
    np.testing.assert_allclose(found.image, [np.log(2), 0.0, -np.log(2)], atol=1e-4)


@pytest.mark.parametrize("solver", [GaussNewton, LevenbergMarquardt])
def test_a_centre_that_is_not_measured_does_not_mislead_the_preconditioner(solver):
    kept = RNG.random((16, 16)) < 0.6
    kept[8, 8] = False
    A = Mask(kept)
    y = A(np.kron(RNG.random((4, 4)), np.ones((4, 4)))).astype(np.float32)
    algorithm = solver(LeastSquares(A, y), TotalVariation(2), 0.02)
    least = algorithm.objective(unroll(ADMM(LeastSquares(A, y), TotalVariation(2), 0.02), y, 500))
    assert algorithm.objective(unroll(algorithm, y, 60)) <= 1.01 * least
