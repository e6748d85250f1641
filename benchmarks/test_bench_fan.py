"""Timings of the fan-beam projector for pytest-benchmark, beside ASTRA's where that is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from benchmarks.fan import astra, operator, ours
from benchmarks.projector import Contender, phantom
from recon.fbp import fbp

pytest.importorskip("pytest_benchmark")

WHO = ["flat", "curved", "line_fanflat"]


@pytest.fixture(scope="module", params=WHO)
def contender(request: pytest.FixtureRequest) -> Contender:
    if request.param != "line_fanflat":
        return ours(phantom(), request.param)
    if not importlib.util.find_spec("astra"):
        pytest.skip("ASTRA is not installed")
    return astra(phantom(), request.param)


@pytest.mark.benchmark(group="fan beam, forward")
def test_forward(benchmark: Any, contender: Contender) -> None:
    assert benchmark(contender.forward).shape == operator().out_shape


@pytest.mark.benchmark(group="fan beam, adjoint")
def test_adjoint(benchmark: Any, contender: Contender) -> None:
    assert benchmark(contender.adjoint).shape == operator().in_shape


def test_fbp(benchmark: Any) -> None:
    A, x = operator(), phantom()
    assert abs(benchmark(fbp, A(x), A) - x).mean() < 0.02
