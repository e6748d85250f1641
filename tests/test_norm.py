"""Norm bounds: never under the norm, at most 2 % over it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.operators import (
    Blur,
    CartesianMRI,
    Downsample,
    FiniteDifference,
    Identity,
    Mask,
    ParallelBeam,
    from_callables,
    from_matrix,
)
from solvers.errors import OperatorError
from solvers.step_sizes import TIGHTNESS, collatz_wielandt_norm, lanczos_norm


class Counted:
    """A diagonal normal operator that counts how often it is applied."""

    def __init__(self, eigenvalues):
        self.eigenvalues, self.count = eigenvalues, 0

    def __call__(self, x):
        self.count += 1
        return (self.eigenvalues * x).astype(x.dtype)


def axis(n):
    return np.arange(n) / n


SPECTRA = {
    "uniform": axis(4096),
    "crowded at the top": 1 - axis(4096) ** 8,
    "alone at the top": np.append(0.5 * axis(4095), 1.0),
    "nearly alone": np.append(0.98 * axis(4095), 1.0),
    "laplacian": np.add.outer(1 - np.cos(np.pi * axis(64)), 1 - np.cos(np.pi * axis(64))),
    "decaying": 1 / (1 + np.arange(4096.0)),
    "two values": np.repeat([0.0, 1.0], 2048),
    "one value": np.ones(4096),
    "rank one": np.append(np.zeros(4095), 1.0),
    "one unknown": np.array([3.0]),
    "tiny": 1e-45 * axis(100),
    "huge": 1e45 * axis(100),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("complex_start", [False, True])
@pytest.mark.parametrize("name", SPECTRA)
def test_lanczos_bound_is_certified_and_tight(name, complex_start, dtype):
    gram = Counted(SPECTRA[name])
    bound = lanczos_norm(gram, SPECTRA[name].shape, complex_start=complex_start, dtype=dtype)
    assert 1 <= bound / math.sqrt(SPECTRA[name].max()) <= TIGHTNESS
    assert gram.count <= 60


@settings(max_examples=150, deadline=None)
@given(m=st.integers(1, 30), n=st.integers(1, 30), seed=st.integers(0, 2**31), exponent=st.integers(-6, 6))
def test_lanczos_bound_of_random_matrices(m, n, seed, exponent):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((m, n)) * 10.0**exponent * rng.random(n) ** 3
    bound = lanczos_norm(lambda x: (matrix.T @ (matrix @ x)).astype(x.dtype), (n,))
    assert 1 <= bound / np.linalg.norm(matrix, 2) <= TIGHTNESS


@settings(max_examples=150, deadline=None)
@given(
    m=st.integers(1, 40), n=st.integers(1, 40), seed=st.integers(0, 2**31), density=st.floats(0.02, 1.0)
)  # fmt: skip
def test_collatz_wielandt_bound_of_random_matrices(m, n, seed, density):
    rng = np.random.default_rng(seed)
    matrix = rng.random((m, n)) * (rng.random((m, n)) < density)
    bound = collatz_wielandt_norm(lambda x: (matrix.T @ (matrix @ x)).astype(x.dtype), (n,))
    true = np.linalg.norm(matrix, 2)
    assert bound == 0.0 if true == 0 else 1 <= bound / true <= TIGHTNESS


def test_collatz_wielandt_falls_back_where_two_blocks_compete():
    # Two unconnected blocks of nearly equal norm, of which the weaker starts larger: the ratios settle slowly.
    matrix = np.diag(np.concatenate([np.linspace(0.5, 1.0, 50), [1.0]]))
    matrix[0, 1] = 0.3
    gram = Counted(np.ones(51))
    bound = collatz_wielandt_norm(lambda x: gram((matrix.T @ (matrix @ x)).astype(x.dtype)), (51,), max_iter=2)
    assert 1 <= bound / np.linalg.norm(matrix, 2) <= TIGHTNESS


def test_zero_has_norm_zero():
    for bound in (lanczos_norm, collatz_wielandt_norm):
        assert bound(lambda x: 0 * x, (5, 5)) == 0.0
    assert (0 * Identity((3,))).norm() == 0.0


def test_values_that_are_not_finite_are_refused():
    for bound in (lanczos_norm, collatz_wielandt_norm):
        with pytest.raises(OperatorError, match="NaN or infinite"):
            bound(lambda x: np.nan * x, (5,))


def test_a_bound_known_beforehand_saves_steps():
    spectrum = axis(4096)
    plain, helped = Counted(spectrum), Counted(spectrum)
    lanczos_norm(plain, spectrum.shape)
    assert lanczos_norm(helped, spectrum.shape, upper=1.0) <= 1.0
    assert helped.count < plain.count


def test_the_bound_is_repeatable():
    A = from_matrix(np.random.default_rng(0).standard_normal((30, 40)))
    assert A.norm() == A.norm()


@pytest.mark.parametrize(
    ("A", "norm"),
    [
        (Identity((5, 5)), 1.0),
        (Mask(np.eye(5)), 1.0),
        (-3 * Mask(np.eye(5)), 3.0),
        (Blur(np.full((3, 4), 1 / 12), (16, 16)), 1.0),
        (Downsample(2, (16, 16)), 0.5),
        (Downsample(4, (16,)), 0.5),
        (CartesianMRI(np.eye(6)), 1.0),
        (CartesianMRI(np.ones((6, 6)), np.full((2, 6, 6), 2.0)), math.sqrt(8)),
        (FiniteDifference((8, 8), periodic=True), math.sqrt(8)),
        (FiniteDifference((2,), spacing=0.5), math.sqrt(8)),
        (Identity((4, 4)) - Blur(np.full((4, 4), 1 / 16), (4, 4)), 1.0),
        (Blur([[1, -1]], (6, 6)) @ Blur([[1, -1]], (6, 6)), 4.0),
    ],
    ids=repr,
)
def test_closed_forms_are_exact(A, norm):
    assert A.norm() == pytest.approx(norm, rel=1e-12)


def test_projector_norm_takes_few_projections():
    A = ParallelBeam((64, 64), 30)
    calls = []

    class Watched(ParallelBeam):
        def gram(self, x):
            calls.append(1)
            return super().gram(x)

    bound = Watched((64, 64), 30).norm()
    assert len(calls) <= 8
    x = np.ones((64, 64))
    for _ in range(50):
        x = A.gram(x)
        x /= np.linalg.norm(x)
    assert 1 - 1e-6 <= bound / math.sqrt(np.linalg.norm(A.gram(x))) <= TIGHTNESS


def test_unknown_boundary_is_certified_without_iterating():
    psf = np.random.default_rng(0).random((9, 9))
    A = Blur(psf / psf.sum(), (64, 64), boundary="unknown")
    assert A.norm() == pytest.approx(1.0)
    assert A._reached() >= 1 / TIGHTNESS


def test_callables_that_compute_in_single_precision():
    matrix = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    A = from_callables(lambda x: matrix @ x.astype(np.float32), lambda y: matrix.T @ y.astype(np.float32), (30,), (20,))
    assert 1 <= A.norm() / np.linalg.norm(matrix.astype(float), 2) <= TIGHTNESS
