"""The problems of `recon bench` under pytest-benchmark: a number of steps of the solver that `reconstruct` takes."""

from __future__ import annotations

from typing import Any

import pytest

from recon._first_guess import first_guess
from recon._stages import builder
from recon.bench.problems import PROBLEMS
from recon.plan import prepare
from solvers.loop import unroll

STEPS = 20
STRENGTH = 1e-3


@pytest.mark.parametrize("name", PROBLEMS)
def test_steps(benchmark: Any, name: str) -> None:
    problem = PROBLEMS[name]()
    request = prepare(
        problem.y, problem.operator, prior=problem.prior, solver="auto", noise=problem.noise, strength=STRENGTH,
        x0=None, bounds=None, channel_axis=None, max_iter=None, tol=None, callback=None,
    )  # fmt: skip
    start = first_guess(request.operator, request.y)
    algorithm = builder(request.plan)(request.operator, request.y, STRENGTH)
    image = benchmark.pedantic(unroll, (algorithm, start, STEPS), rounds=12, warmup_rounds=1)
    assert image.shape == problem.operator.in_shape
