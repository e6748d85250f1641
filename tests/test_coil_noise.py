"""Coils with noise of their own: levels are found and weigh the data, a known covariance is whitened."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import recon.coils
from recon import operators as ops
from recon import plan, reconstruct
from recon._coil_noise import coil_levels, mixed_coils, weighted_coils
from recon.bench.problems import coils, lines
from recon.coils import prewhiten
from recon.trajectories import radial
from solvers.errors import ArgumentError, DTypeError, ShapeError

N = 64
MAPS = coils(6, (N, N))
LEVELS = np.array([0.02, 0.02, 0.16, 0.04, 0.02, 0.08])
MASK = lines((N, N), 2)
CARTESIAN = ops.CartesianMRI(MASK, MAPS)
SCANS = [
    CARTESIAN,
    CARTESIAN @ ops.RealImage((N, N)),
    ops.NonCartesianMRI(radial(50, 2 * N), (N, N), MAPS),
    ops.DynamicMRI(np.stack([MASK, MASK[::-1]]), MAPS),
    ops.DynamicNonCartesianMRI(radial(60, 2 * N).reshape(2, 30, 2 * N, 2), (N, N), MAPS),
]


def scene(shape):
    rows, columns = np.mgrid[:N, :N] / N
    picture = 1 / (1 + np.exp((np.hypot(rows - 0.5, columns - 0.4) - 0.3) * 50)) + 0.5 * np.exp(
        -200 * (rows - 0.6) ** 2
    )
    return np.broadcast_to(picture, shape).astype(np.float32)


def measured(A, levels=LEVELS, mixing=None):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(A.out_shape) + 1j * rng.standard_normal(A.out_shape)
    axis = A.out_shape.index(len(MAPS))
    mixing = np.diag(levels) if mixing is None else mixing
    noise = np.moveaxis(np.moveaxis(noise, axis, -1) @ mixing.T, -1, axis)
    return (A(scene(A.in_shape)) + noise * (1 if A.sampling is None else A.sampling)).astype(np.complex64)


def error(x):
    return float(np.sqrt(np.mean(np.abs(x - scene(x.shape)) ** 2)))


@pytest.mark.parametrize("A", SCANS, ids=repr)
def test_the_levels_of_coils_are_found_and_the_sensitivities_follow(A):
    y = measured(A)
    working, found = weighted_coils(y, A)
    np.testing.assert_allclose(found / found.mean(), LEVELS / LEVELS.mean(), rtol=0.25)
    assert working.y.dtype == np.complex64 and working.y.shape == y.shape
    x = scene(A.in_shape)
    alike = working.y - working.operator(x)
    levels = np.abs(np.moveaxis(alike, A.out_shape.index(len(MAPS)), 0)).reshape(len(MAPS), -1).mean(axis=1)
    assert levels.max() < 1.5 * levels.min()


def test_weighting_gains_and_the_plan_says_so():
    y = measured(CARTESIAN)
    x, info = reconstruct(y, CARTESIAN, prior="tv", return_info=True)
    assert "6 coils" in info.plan.decisions["noise"].reason and "weighted" in info.plan.decisions["data term"].choice
    alike = reconstruct(y, CARTESIAN, prior="tv", noise=float(np.sqrt(np.mean(LEVELS**2))))
    assert error(x) < 0.7 * error(alike)
    np.testing.assert_allclose(reconstruct(np.stack([y, y]), CARTESIAN, prior="tv")[1], x, atol=0.02)


def test_coils_alike_a_level_given_or_one_coil_leave_the_problem_as_it_is():
    assert plan(measured(CARTESIAN, np.full(6, 0.02)), CARTESIAN).operator is CARTESIAN
    assert plan(measured(CARTESIAN), CARTESIAN, noise=0.05).operator is CARTESIAN
    one = ops.CartesianMRI(MASK)
    assert weighted_coils(np.ones((N, N), complex), one) is None
    dead = measured(CARTESIAN)
    dead[3] = 0
    assert weighted_coils(dead, CARTESIAN) is None


def test_a_known_covariance_is_whitened_and_gains():
    rng = np.random.default_rng(1)
    mixing = 0.03 * (np.diag(LEVELS / LEVELS.mean()) + 0.4 * rng.standard_normal((6, 6)))
    y, scan = measured(CARTESIAN, mixing=mixing), rng.standard_normal((6, 5000)) + 1j * rng.standard_normal((6, 5000))
    noise = mixing @ scan
    k, A = prewhiten(y, CARTESIAN, noise @ noise.conj().T / 5000)
    white = (k - A(scene((N, N))))[:, MASK]
    np.testing.assert_allclose(white @ white.conj().T / white.shape[1], 2 * np.eye(6), atol=0.2)
    x = reconstruct(k, A, prior="tv", noise=1.0)
    assert error(x) < 0.8 * error(reconstruct(y, CARTESIAN, prior="tv"))


def test_tensors_are_mixed_alike():
    torch = pytest.importorskip("torch")
    y, mixing = measured(CARTESIAN), np.eye(6) + 0.1j * np.eye(6)[::-1]
    expected, _ = mixed_coils(y, CARTESIAN, mixing)
    found, _ = mixed_coils(torch.from_numpy(y), CARTESIAN, mixing)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(coil_levels(torch.from_numpy(y), CARTESIAN), coil_levels(y, CARTESIAN))


def test_wrong_inputs():
    y = measured(CARTESIAN)
    with pytest.raises(DTypeError, match="expected one with coils"):
        prewhiten(y[0], ops.CartesianMRI(MASK), np.eye(6))
    with pytest.raises(ShapeError, match=r"\(5, 5\); expected \(6, 6\)"):
        prewhiten(y, CARTESIAN, np.eye(5))
    for wrong in (np.triu(np.ones((6, 6))), -np.eye(6), np.ones((6, 6))):
        with pytest.raises(ArgumentError, match="not Hermitian and positive definite"):
            prewhiten(y, CARTESIAN, wrong)


def test_examples_in_docstrings():
    assert doctest.testmod(recon.coils, extraglobs={"np": np}).failed == 0
