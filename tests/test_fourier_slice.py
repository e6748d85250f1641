"""Projections by the Fourier slice theorem: the sum they stand for, analytic line integrals, the normal operator."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from test_parallel_beam import ellipse_image, ellipse_integrals, relative

from recon.operators import FanBeam, FourierSlice, ParallelBeam
from solvers.errors import ArgumentError, DTypeError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("geometry", [{}, {"detectors": 17, "center": 7.7, "spacing": 0.3}, {"detector_spacing": 0.4}])
def test_projection_is_the_sum_over_pixels_and_frequencies(geometry):
    scan = ParallelBeam((7, 10), [0.1, 1.3, 4.0], **geometry)
    A = FourierSlice(scan, eps=1e-12)
    x = RNG.standard_normal((7, 10))
    s, w, M = scan.spacing, scan.detector_spacing, scan.detectors
    column, row = (np.arange(10) - 4.5) * s, -(np.arange(7)[:, None] - 3) * s
    u = (np.arange(M) - scan.center) * w
    m = np.arange(-(M // 2), M // 2 + 1)
    f = m[(np.abs(m) < M / 2) & (np.abs(m) <= M * w / (2 * s))] / (M * w)
    for angle, view in zip(scan.angles, A(x), strict=True):
        place = column * np.cos(angle) + row * np.sin(angle)
        spectrum = s**2 * np.exp(-2j * np.pi * np.multiply.outer(f, place)).reshape(f.size, -1) @ x.ravel()
        expected = np.exp(2j * np.pi * np.multiply.outer(u, f)) @ spectrum / (M * w)
        np.testing.assert_allclose(view, expected.real, atol=1e-10)
        assert np.abs(expected.imag).max() < 1e-12


def test_a_smooth_blob_has_its_analytic_integrals_to_many_digits():
    scan = ParallelBeam(
        (64, 80), np.linspace(-4, 4, 21), spacing=0.25, detector_spacing=0.3, center=46.2, detectors=100
    )
    x, y = (np.arange(80) - 39.5) * 0.25, -(np.arange(64) - 31.5)[:, None] * 0.25
    sigma, x0, y0 = 0.8, 2.0, -1.0
    blob = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))
    u = (np.arange(100) - 46.2) * 0.3 - (x0 * np.cos(scan.angles) + y0 * np.sin(scan.angles))[:, None]
    exact = np.sqrt(2 * np.pi) * sigma * np.exp(-(u**2) / (2 * sigma**2))
    assert relative(FourierSlice(scan, eps=1e-10)(blob), exact) < 1e-8
    assert relative(scan(blob), exact) > 1e-3  # what interpolation between pixels leaves


@pytest.mark.parametrize("spacing, cells", [(1.0, 1.0), (0.5, 0.4)])
def test_an_ellipse_has_its_analytic_chords(spacing, cells):
    scan = ParallelBeam((96, 129), 60, spacing=spacing, detector_spacing=cells)
    ellipse = (*(spacing * v for v in (10.0, -8.5, 34.0, 20.0)), 0.6)
    exact = ellipse_integrals(scan, *ellipse)
    measured = FourierSlice(scan)(ellipse_image(scan, *ellipse))
    assert relative(measured, exact) < 0.01
    assert relative(measured, scan(ellipse_image(scan, *ellipse))) < 0.01
    np.testing.assert_allclose(cells * measured.sum(1), np.pi * ellipse[2] * ellipse[3], rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_normal_operator_is_the_adjoint_of_the_forward(dtype):
    A = FourierSlice(ParallelBeam((33, 40), 25))
    x = RNG.standard_normal((2, 33, 40)).astype(dtype)
    found = A.gram(x)
    assert found.dtype == dtype
    assert relative(found, A.adjoint(A(x))) < 1e-5


def test_some_views_and_a_pickle_are_the_same_scan():
    A = FourierSlice(ParallelBeam((9, 8), 6), eps=1e-9)
    x = RNG.standard_normal((9, 8))
    np.testing.assert_array_equal(A.rows(np.array([4, 1]))(x), A(x)[[4, 1]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(A))(x), A(x))


def test_a_detector_that_is_too_narrow_says_how_to_widen_it():
    scan = ParallelBeam((32, 32), 8, detectors=40, center=18.0)
    with pytest.raises(ArgumentError, match=r"covers the image.*widened\(5, 2\)"):
        FourierSlice(scan)
    assert FourierSlice(scan.widened(5, 2)).out_shape == (8, 47)


def test_other_scans_are_refused():
    with pytest.raises(DTypeError, match="scan is FanBeam; expected a ParallelBeam"):
        FourierSlice(FanBeam((8, 8), 4, source_distance=50, detector_distance=50))
    with pytest.raises(ArgumentError, match="eps"):
        FourierSlice(ParallelBeam((8, 8), 4), eps=0.1)
