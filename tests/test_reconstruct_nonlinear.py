"""``reconstruct`` of nonlinear measurements: nothing to tune, and the plan says what was done."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from operators_list import Exponential, Power, Square
from skimage.data import shepp_logan_phantom

import recon
from recon import reconstruct
from recon.noise import Gaussian, Poisson
from recon.operators import Blur, CartesianMRI, ParallelBeam, Transmission, from_callables
from solvers.errors import ArgumentError
from solvers.transmission import TransmissionLikelihood

RNG = np.random.default_rng(0)
IMAGE = shepp_logan_phantom()[::8, ::8].astype(np.float32)
SHAPE = IMAGE.shape


def error(x, truth=IMAGE):
    return np.linalg.norm(x - truth) / np.linalg.norm(truth)


def test_a_pointwise_response_behind_a_blur():
    F = Exponential(SHAPE) @ Blur(np.ones((3, 3)) / 9, SHAPE)
    y = F(IMAGE) + 0.01 * RNG.standard_normal(SHAPE).astype(np.float32)
    x, info = reconstruct(y, F, noise=0.01, return_info=True)
    assert error(x) < 0.5 * error(-np.log(np.maximum(y, 0.01)))
    assert info.status.ok
    assert x.dtype == np.float32
    text = str(info)
    assert "levenberg-marquardt" in text
    assert "nonlinear" in text
    # What the degrees of freedom of the fit take from the residual is what is missing.
    assert info.residual**2 == pytest.approx(1 - info.choice.divergence, abs=0.15)


def test_strength_is_near_the_best():
    F = Exponential(SHAPE) @ Blur(np.ones((3, 3)) / 9, SHAPE)
    y = F(IMAGE) + 0.005 * RNG.standard_normal(SHAPE).astype(np.float32)
    chosen = error(reconstruct(y, F, noise=0.005))
    best = min(error(reconstruct(y, F, noise=0.005, strength=s)) for s in np.geomspace(5e-5, 8e-4, 6))
    assert chosen < best * 10 ** (0.3 / 20)


def test_counts_behind_an_object_are_poisson_without_being_told():
    A = ParallelBeam(SHAPE, 60, spacing=0.05)
    F = Transmission(A, 2000.0)
    y = RNG.poisson(F(IMAGE)).astype(np.float32)
    x, info = reconstruct(y, F, return_info=True)
    assert isinstance(info.plan.noise, Poisson)
    assert "counts" in str(info.plan)
    assert error(x) < 0.3
    assert isinstance(F.data_term(y, Poisson()), TransmissionLikelihood)
    assert F.data_term(y, Gaussian(1.0)) is None


@pytest.mark.parametrize("solver", ["fista", "lbfgs", "gauss-newton", "irgn"])
def test_other_solvers_find_the_same(solver):
    F = Exponential(SHAPE) @ Blur(np.ones((3, 3)) / 9, SHAPE)
    y = F(IMAGE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {"prior": "tikhonov", "strength": 1e-3, "noise": 0.01, "tol": 1e-5, "max_iter": 2000}
        expected = reconstruct(y, F, **given)
        np.testing.assert_allclose(reconstruct(y, F, solver=solver, **given), expected, atol=2e-3)


def test_solvers_of_linear_operators_are_refused_by_name():
    with pytest.raises(ArgumentError, match="takes linear operators"):
        reconstruct(np.ones((4, 4)), Square((4, 4)), solver="admm")


def test_an_operator_without_jvp_is_solved_by_gradients():
    F = from_callables(np.exp, None, (8, 8), (8, 8), vjp=lambda x, r: np.exp(x) * r)
    x = RNG.random((8, 8))
    plan = recon.plan(F(x), F, noise=0.01)
    assert plan.decisions["solver"].choice == "fista"
    assert error(reconstruct(F(x), F, noise=0.01, prior="tikhonov", strength=1e-6), x) < 0.01


SMALL = IMAGE[10:30, 15:35] + 0.5


class TwoWells(Square):
    """``y = x^2``: the wrong sign is a local minimum once the prior prefers positive images."""

    def first_guess(self, y):
        return -(abs(y) ** 0.5)

    def starts(self, y, rng):
        yield 0.5 * abs(y) ** 0.5


def test_local_minima_are_met_by_several_starts():
    F = TwoWells(SMALL.shape)
    x, info = reconstruct(
        F(SMALL), F, prior="tikhonov", bounds=(-0.3, np.inf), strength=1e-4, noise=0.01, return_info=True
    )
    assert error(x, SMALL) < 0.02
    assert info.plan.decisions["start"].choice == "number 2 of 2"
    assert "lowest objective" in str(info)
    _, info = reconstruct(F(SMALL), F, x0=SMALL, prior="tikhonov", strength=1e-4, noise=0.01, return_info=True)
    assert "start" not in info.plan.decisions


def test_complex_images_behind_real_measurements():
    F = Power((32, 32)) @ CartesianMRI(np.ones((32, 32), bool))
    x = 1 + RNG.random((32, 32)) + 0j
    found = reconstruct(F(x), F, x0=x * 1.02, noise=0.1, strength=1e-6, prior="tikhonov")
    assert np.iscomplexobj(found)
    assert np.linalg.norm(F(found) - F(x)) < 1e-2 * np.linalg.norm(F(x))


def test_tensors_and_batches():
    F = Exponential(SHAPE) @ Blur(np.ones((3, 3)) / 9, SHAPE)
    y = F(np.stack([IMAGE, IMAGE.T]))
    x = reconstruct(y, F, noise=0.01, strength=1e-3)
    t = reconstruct(torch.from_numpy(y), F, noise=0.01, strength=1e-3)
    assert isinstance(t, torch.Tensor)
    np.testing.assert_allclose(t.numpy(), x, atol=1e-3)
    np.testing.assert_allclose(x[1], reconstruct(y[1], F, noise=0.01, strength=1e-3), atol=0.02)
