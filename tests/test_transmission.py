"""Photons behind an object: the law, its inverse, and what low doses ask for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon import reconstruct
from recon.noise import Gaussian, Poisson
from recon.operators import Blur, ParallelBeam, Transmission
from solvers.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(0)
A = ParallelBeam((24, 24), 30, spacing=0.1)


def disc():
    rows, columns = np.mgrid[-12:12, -12:12] + 0.5
    return (np.hypot(rows, columns) < 9).astype(np.float32) * 0.8


def test_counts_follow_the_law_of_beer_and_lambert():
    x = RNG.random((24, 24))
    blank = 500 + 100 * RNG.random(A.out_shape)
    np.testing.assert_allclose(Transmission(A, blank, background=3.0)(x), blank * np.exp(-A(x)) + 3)
    t = A(x)
    hardened = Transmission(A, 1e3, hardening=(-0.1, 0.004))(x)
    np.testing.assert_allclose(hardened, 1e3 * np.exp(-(t - 0.1 * t**2 + 0.004 * t**3)))


@pytest.mark.parametrize("hardening", [(), (-0.05, 0.002)])
def test_inverse_gives_line_integrals(hardening):
    F = Transmission(A, 1e5, background=10.0, hardening=hardening)
    x = disc().astype(float)
    np.testing.assert_allclose(F.law.inverse(F(x)), A(x), atol=1e-9)
    assert torch.is_tensor(F.first_guess(torch.from_numpy(F(x))))


def test_behind_a_blur_of_the_detector_it_composes():
    F = Transmission(A, 1e3)
    smeared = Blur(np.ones((1, 3)) / 3, A.out_shape) @ F
    x = disc().astype(float)
    np.testing.assert_allclose(smeared(x), Blur(np.ones((1, 3)) / 3, A.out_shape)(F(x)))
    assert smeared.data_term(smeared(x), Poisson()) is None


def test_data_term_is_convex_where_it_can_be():
    F = Transmission(A, np.full(A.out_shape, 50.0), background=1.0)
    y = F(disc())
    term = F.data_term(y, Poisson(background=2.0))
    assert term.operator is A
    assert term.background == 3.0
    assert F.data_term(y, Gaussian(1.0)) is None
    assert Transmission(A, 50.0, hardening=[-0.1]).data_term(y, Poisson()) is None


def test_hardening_that_is_known_leaves_no_cup():
    """A disc that is uniform: without the polynomial its middle comes out too light."""
    F = Transmission(A, 1e5, hardening=(-0.12,))
    y = RNG.poisson(F(disc())).astype(np.float32)
    x = reconstruct(y, F)
    ignored = reconstruct(y, Transmission(A, 1e5))
    middle = (slice(8, 16), slice(8, 16))
    assert abs(x[middle].mean() - 0.8) < 0.02
    assert ignored[middle].mean() < 0.75


def test_no_photon_at_all_is_no_infinity():
    F = Transmission(A, 5.0)
    y = RNG.poisson(F(disc())).astype(np.float32)
    assert (y == 0).any()
    x = reconstruct(y, F, strength=3.0)
    assert np.isfinite(x).all()
    assert np.linalg.norm(x - disc()) < 0.5 * np.linalg.norm(disc())


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: Transmission(np.eye(3), 1.0), DTypeError, "projector"),
        (lambda: Transmission(A, np.ones(7)), ShapeError, "counts"),
        (lambda: Transmission(A, 0.0), ArgumentError, "counts"),
        (lambda: Transmission(A, 1.0, background=-1.0), ArgumentError, "background"),
    ],
)
def test_wrong_arguments_are_named(build, error, match):
    with pytest.raises(error, match=match):
        build()
