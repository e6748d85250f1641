"""Visibilities against the direct sum; real images with complex measurements, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon import plan, reconstruct
from recon._operator_checks import dense
from recon.operators import CartesianMRI, Diagonal, FrequencyResponse, ParallelBeam, RadioInterferometry, RealImage
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OperatorError, ShapeError

RNG = np.random.default_rng(0)
UV = RNG.normal(scale=30.0, size=(40, 2)).clip(-99, 99)
PIXEL = 0.005


def test_visibilities_are_the_direct_sum():
    sky = RNG.standard_normal((7, 10))
    l, m = PIXEL * (np.arange(10) - 5), PIXEL * (np.arange(7) - 3)  # noqa: E741 - direction cosines as in the field
    phase = np.exp(-2j * np.pi * (UV[:, 0, None, None] * l + UV[:, 1, None, None] * m[:, None]))
    visibilities = RadioInterferometry(UV, sky.shape, PIXEL, eps=1e-10)(sky)
    np.testing.assert_allclose(visibilities, (phase * sky).sum((1, 2)), atol=1e-8)


def test_a_source_in_the_middle_has_visibility_one_on_every_baseline():
    sky = np.zeros((8, 8))
    sky[4, 4] = 1
    np.testing.assert_allclose(RadioInterferometry(UV, sky.shape, PIXEL)(sky), 1, atol=1e-5)


def test_a_sky_is_found_again():
    sky = np.zeros((32, 32))
    sky[8:20, 10:14], sky[20, 20] = 1.0, 5.0
    A = RadioInterferometry(RNG.normal(scale=40.0, size=(600, 2)).clip(-99, 99), sky.shape, PIXEL)
    noise = RNG.standard_normal(600) + 1j * RNG.standard_normal(600)
    x = reconstruct(A(sky) + 0.5 * noise, A, bounds=(0, np.inf))
    assert x.dtype == np.float64
    assert x.min() >= 0
    assert np.linalg.norm(x - sky) < 0.2 * np.linalg.norm(sky)


def test_wrong_baselines_say_what_is_wrong():
    with pytest.raises(ArgumentError, match=r"pixel is 0.1 radians; expected at most"):
        RadioInterferometry(UV, (8, 8), 0.1)
    with pytest.raises(ShapeError, match=r"uv has shape \(40, 3\)"):
        RadioInterferometry(np.ones((40, 3)), (8, 8), PIXEL)
    with pytest.raises(ShapeError, match="expected rows and columns"):
        RadioInterferometry(UV, (8, 8, 8), PIXEL)
    with pytest.raises(DTypeError, match="expected real wavelengths"):
        RadioInterferometry(UV + 0j, (8, 8), PIXEL)
    with pytest.raises(NonFiniteError, match="uv holds"):
        RadioInterferometry(np.full((3, 2), np.nan), (8, 8), PIXEL)


# --- real images, complex measurements ------------------------------------------------------------------------------


def test_the_adjoint_is_that_of_the_real_inner_product():
    M = RNG.standard_normal((20, 20)) + 1j * RNG.standard_normal((20, 20))
    A = Diagonal(M[0].reshape(4, 5)) @ FrequencyResponse(M[1].reshape(4, 5)) @ RealImage((4, 5))
    matrix = dense(A)  # real and imaginary parts of each sample, one after the other
    assert matrix.shape == (40, 20)
    y = M[2].reshape(4, 5)
    np.testing.assert_allclose(A.adjoint(y).ravel(), matrix.T @ y.ravel().view(float), atol=1e-12)
    B = A.H @ A
    assert (B.kind, B.out_kind) == ("real", None)
    np.testing.assert_allclose(dense(B), matrix.T @ matrix, atol=1e-12)


def test_k_space_of_a_real_image_halves_the_unknowns():
    mask = np.zeros((8, 8), bool)
    mask[:5] = True  # more than half of k-space: a real image is determined
    A = CartesianMRI(mask) @ RealImage((8, 8))
    x = RNG.standard_normal((8, 8))
    assert A.fourier_gram() is not None
    np.testing.assert_allclose(A.solve_shifted(A.adjoint(A(x)), 1e-10), x, atol=1e-7)
    assert "bounds" in str(plan(A(x), A, bounds=(0, 1)))


def test_real_measurements_become_complex_on_the_way():
    A = RadioInterferometry(UV, (8, 8), PIXEL)
    y = RNG.standard_normal(40).astype(np.float32)
    np.testing.assert_array_equal(A.adjoint(y), A.adjoint(y.astype(np.complex64)))
    with pytest.raises(DTypeError, match=r"x has dtype complex128.*takes real arrays"):
        A(np.ones((8, 8), complex))


def test_a_hologram_gives_its_field():
    """The real part of the light times a tilted reference wave: a field whose spectrum lies apart from its twin."""
    n = 32
    row, column = np.mgrid[:n, :n] / n
    field = np.exp(-8 * ((row - 0.5) ** 2 + (column - 0.4) ** 2)) * np.exp(2j * np.pi * row)
    tilt = np.exp(2j * np.pi * 8 * column)
    A = RealImage((n, n)).H @ Diagonal(tilt)
    assert (A.kind, A.out_kind) == ("complex", "real")
    x = reconstruct(A(field), A, prior="sobolev", strength=1e-3)
    assert np.iscomplexobj(x)
    assert np.linalg.norm(x - field) < 0.1 * np.linalg.norm(field)


def test_gradients_of_a_real_image_are_real():
    A = RadioInterferometry(UV, (6, 6), PIXEL)
    sky = torch.from_numpy(RNG.standard_normal((6, 6))).requires_grad_()
    (gradient,) = torch.autograd.grad(0.5 * A(sky).abs().square().sum(), sky)
    assert gradient.dtype == torch.float64
    torch.testing.assert_close(gradient, A.gram(sky.detach()), rtol=1e-4, atol=1e-6)
    assert torch.autograd.gradcheck(CartesianMRI(np.eye(3)) @ RealImage((3, 3)), sky[:3, :3], check_forward_ad=True)


def test_kinds_that_cannot_be_combined_name_the_way_out():
    with pytest.raises(OperatorError, match=r"cannot be combined.*RealImage"):
        CartesianMRI(np.eye(4)) + RealImage((4, 4))
    with pytest.raises(OperatorError, match=r"cannot be combined.*RealImage"):
        ParallelBeam((4, 4), 3) @ CartesianMRI(np.eye(4))
    with pytest.raises(DTypeError, match="gives real arrays"):
        1j * RealImage((4, 4)).H
    with pytest.raises(DTypeError, match="scipy"):
        RealImage((4, 4)).as_scipy()
