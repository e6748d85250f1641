"""Timings of the parallel-beam projector for pytest-benchmark: ``pytest benchmarks --benchmark-only``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.projector import DETECTORS, SIZE, VIEWS, phantom
from recon.fbp import fbp
from recon.operators import ParallelBeam

pytest.importorskip("pytest_benchmark")


@pytest.fixture(scope="module", params=[np.float32, np.float64], ids=["float32", "float64"])
def scan(request: pytest.FixtureRequest) -> tuple[ParallelBeam, np.ndarray, np.ndarray]:
    A = ParallelBeam((SIZE, SIZE), VIEWS, detectors=DETECTORS)
    x = phantom().astype(request.param)
    return A, x, A(x)


def test_forward(benchmark: Any, scan: tuple[ParallelBeam, np.ndarray, np.ndarray]) -> None:
    A, x, y = scan
    assert benchmark(A, x).shape == y.shape


def test_adjoint(benchmark: Any, scan: tuple[ParallelBeam, np.ndarray, np.ndarray]) -> None:
    A, x, y = scan
    assert A.adjoint(y).shape == x.shape  # and compiled: rounds are counted by the first call
    benchmark(A.adjoint, y)


def test_fbp(benchmark: Any, scan: tuple[ParallelBeam, np.ndarray, np.ndarray]) -> None:
    A, x, y = scan
    assert np.abs(benchmark(fbp, y, A) - x).mean() < 0.02


def test_forward_of_a_batch_of_small_images(benchmark: Any) -> None:
    A = ParallelBeam((64, 64), 60)
    x = np.random.default_rng(0).random((32, 64, 64)).astype(np.float32)
    assert A(x).shape == (32, *A.out_shape)
    benchmark(A, x)


def test_norm(benchmark: Any) -> None:
    # An operator keeps its norm, so each round makes its own.
    assert benchmark.pedantic(lambda: ParallelBeam((256, 256), 180).norm(), rounds=3, warmup_rounds=1) > 0
