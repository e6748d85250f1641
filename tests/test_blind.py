"""Blur by an unknown point spread function: the parts against their definitions, the whole on a photograph."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage
from skimage import data, transform

from recon import check_operator, reconstruct
from recon import operators as ops
from recon.operators import _blind_psf as blind
from solvers.errors import ShapeError

RNG = np.random.default_rng(0)


def shaken(size=11):
    """A path of camera shake."""
    psf = np.zeros((size, size))
    for t in np.linspace(0, 1, 200):
        psf[round(1 + (size - 3) * t), round(size / 2 + 0.35 * size * np.sin(4 * t))] += 1 + t
    return psf / psf.sum()


def likeness(a, b):
    """Largest normalised correlation over all shifts."""
    shape = [2 * max(m, n) for m, n in zip(a.shape, b.shape, strict=True)]
    both = np.fft.ifft2(np.fft.fft2(a, shape) * np.fft.fft2(b, shape).conj()).real
    return both.max() / np.linalg.norm(a) / np.linalg.norm(b)


def photograph(side=160):
    return transform.resize(data.camera() / 255, (side, side), anti_aliasing=True)


def test_the_psf_of_a_photograph_is_found_and_undone():
    truth, psf = photograph(), shaken()
    y = ndimage.convolve(truth, psf, mode="wrap") + 0.005 * RNG.standard_normal(truth.shape)
    x, info = reconstruct(y, ops.Blur(ops.Unknown(shape=(13, 13)), truth.shape), return_info=True)
    found = info.unknowns["psf"]
    assert found.shape == (13, 13)
    assert_allclose(found.sum(), 1)
    assert found.min() >= 0
    assert likeness(found, psf) > 0.85

    def best(image):
        shifts = [(i, j) for i in range(-4, 5) for j in range(-4, 5)]
        return min(np.linalg.norm(np.roll(image, shift, (0, 1)) - truth) for shift in shifts)

    assert best(x) < 0.6 * best(y)
    assert "unknown" in info.plan.decisions


def test_units_do_not_matter():
    y = ndimage.convolve(photograph(96), shaken(7), mode="wrap")
    assert_allclose(
        blind.estimated_psf(400 * y + 1000, (7, 7), periodic=True),
        blind.estimated_psf(y, (7, 7), periodic=True),
        atol=2e-3,
    )


def test_pictures_of_a_batch_share_it():
    pictures = np.stack([photograph(96), photograph(96)[::-1]])
    y = ndimage.convolve(pictures, shaken(7)[None], mode="wrap")
    assert likeness(blind.estimated_psf(y, (7, 7), periodic=True), shaken(7)) > 0.8


def test_psf_of_known_edges_solves_the_normal_equations():
    edges, slopes = RNG.standard_normal((2, 2, 1, 12, 10))
    found = blind.fitted_psf(edges.astype(np.float32), slopes.astype(np.float32), (3, 4))
    columns = []
    for i in range(3):
        for j in range(4):
            columns.append(np.roll(edges, (i - 1, j - 2), (2, 3)).ravel())
    A = np.stack(columns, 1)
    expected = np.linalg.solve(A.T @ A + blind.SMOOTHNESS * np.eye(12), A.T @ slopes.ravel())
    assert_allclose(found.ravel(), expected, atol=1e-4)


def test_sharp_edges_lower_what_they_minimise():
    truth = (photograph(48) > 0.4).astype(np.float32)
    psf = np.full((3, 3), 1 / 9)
    y = ndimage.convolve(truth, psf, mode="wrap")[None]

    def objective(x, strength=2e-3):
        steps = np.stack([np.roll(x[0], -1, axis) - x[0] for axis in (0, 1)])
        misfit = ndimage.convolve(x[0], psf, mode="wrap") - y[0]
        return (misfit**2).sum() + strength * ((steps**2).sum(axis=0) > 1e-4).sum()

    sharp = blind.sharp_edges(y, psf, 2e-3)
    assert objective(sharp) < 0.5 * objective(y)
    assert np.linalg.norm(sharp[0] - truth) < 0.3 * np.linalg.norm(y[0] - truth)


def test_gradient_and_divergence_are_adjoint():
    x, v = RNG.standard_normal((1, 5, 6)), RNG.standard_normal((2, 1, 5, 6))
    assert_allclose((blind._gradient(x) * v).sum(), (x * blind._divergence(v)).sum())
    spectrum = np.fft.rfft2(blind._divergence(blind._gradient(x)))
    assert_allclose(spectrum, blind._laplacian((5, 6)) * np.fft.rfft2(x), atol=1e-5)


def test_what_is_weak_negative_or_an_island_is_dropped():
    psf = np.zeros((7, 7))
    psf[1:3, 1:4], psf[6, 6], psf[5, 2], psf[3, 3] = 1.0, 0.3, -1.0, 0.04
    kept = blind.cleaned(psf)
    assert_allclose(kept[1:3, 1:4], 1 / 6)
    assert (kept > 0).sum() == 6
    assert_allclose(blind.cleaned(-np.ones((3, 3))).sum(), 1)


def test_centroid_is_moved_to_the_middle():
    psf = np.zeros((7, 7))
    psf[0, 5] = psf[0, 6] = psf[1, 6] = 1.0
    centroid = ndimage.center_of_mass(blind.centred(psf))
    assert max(abs(c - 3) for c in centroid) <= 0.5


def test_continued_pictures_wrap_around_without_an_edge():
    y = np.linspace(0, 1, 40)[None, :, None] + np.zeros((1, 40, 30))
    around = blind.wrapped(y, (9, 9))
    assert_allclose(around[:, :40, :30], y)
    assert abs(np.diff(around, axis=1, append=around[:, :1])).max() < 0.15


def test_of_large_pictures_the_part_with_most_edges_is_taken(monkeypatch):
    monkeypatch.setattr(blind, "LARGEST", 16)
    y = np.zeros((1, 40, 50))
    y[0, 20:30, 30:40] = RNG.random((10, 10))
    part, whole = blind.most_detailed(y)
    assert not whole and part.shape == (1, 16, 16)
    assert_allclose(part.sum(), y.sum())


@pytest.mark.parametrize("boundary", ["periodic", "reflecting", "unknown"])
@pytest.mark.parametrize("size", [(3, 3), (2, 5)])
def test_measurement_as_a_function_of_the_psf(boundary, size):
    psf = RNG.random(size)
    A = ops.Blur(psf, (9, 8), boundary=boundary)
    x = RNG.random((2, *A.in_shape))
    of_psf = A.in_parameter("psf", x)
    assert_allclose(of_psf(psf), A(x), atol=1e-12)
    assert_allclose(of_psf(2 * psf - 1), ops.Blur(2 * psf - 1, (9, 8), boundary=boundary)(x), atol=1e-12)
    assert check_operator(of_psf).ok


def test_a_chart_calibrates_the_psf():
    chart, psf = RNG.random((40, 40)), shaken(5)
    family = ops.Blur(ops.Unknown(shape=(5, 5)), chart.shape)
    found = family.fit(chart, ops.Blur(psf, chart.shape)(chart))
    assert_allclose(found["psf"], psf, atol=1e-6)


def test_its_size_must_be_said():
    with pytest.raises(ShapeError, match=r"Unknown\(shape="):
        ops.Blur(ops.Unknown(), (32, 32))
