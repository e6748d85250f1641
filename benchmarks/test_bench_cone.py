"""Timings of the cone-beam projector for pytest-benchmark; ``python -m benchmarks.cone`` sets them in proportion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.cone import blob, operator
from recon import fdk

pytest.importorskip("pytest_benchmark")


@pytest.mark.benchmark(group="cone beam, forward")
def test_forward(benchmark: Any) -> None:
    A = operator()
    assert benchmark.pedantic(A, (blob(),), rounds=3, warmup_rounds=1).shape == A.out_shape


@pytest.mark.benchmark(group="cone beam, adjoint")
def test_adjoint(benchmark: Any) -> None:
    A = operator()
    assert benchmark.pedantic(A.adjoint, (A(blob()),), rounds=3, warmup_rounds=1).shape == A.in_shape


def test_fdk(benchmark: Any) -> None:
    A, x = operator(), blob()
    found = benchmark.pedantic(fdk, (A(x), A), rounds=2, warmup_rounds=1)
    assert np.abs(found - x).max() < 0.05
