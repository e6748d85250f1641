"""The solver benchmark measures what it says: gaps to a true minimum, calls of the operator, one objective for all."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from recon import operators as ops
from recon.bench import PROBLEMS, Problem, Trace, bench
from recon.bench._trace import Counter
from solvers.errors import OptionError


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    truth = np.kron(rng.random((4, 4)), np.ones((8, 8)))
    A = ops.Blur(np.ones((3, 3)) / 9, truth.shape)
    y = A(truth) + 0.02 * rng.standard_normal(truth.shape)
    return Problem("small", y, A, "tikhonov", 0.02, truth)


@pytest.fixture(scope="module")
def results(problem):
    return bench([problem], ["auto", "admm", "fista", "dpir"], seconds=2.0, peers=False)


def test_the_least_objective_is_the_closed_form(problem, results):
    (result,) = results.results
    y, A, w = problem.y, problem.operator, result.strength
    x = A.solve_shifted(A.adjoint(y), w)
    least = 0.5 * np.sum((A(x) - y) ** 2) + 0.5 * w * np.sum(x**2)
    assert result.least == pytest.approx(least, rel=1e-6)
    assert {t.solver for t in result.traces} == {"auto", "admm", "fista"}  # dpir takes denoisers
    for trace in result.traces:
        assert trace.gaps(least)[-1] < 1e-4
        assert min(trace.gaps(least)) > -1e-9
        assert all(np.diff(trace.seconds) > 0)
        assert math.isfinite(result.seconds_to(trace)[0])


def test_first_within_means_from_there_on():
    trace = Trace("t", objective=[3.0, 1.005, 1.2, 1.005, 1.0001])
    assert trace.first_within(trace.gaps(1.0), 1e-2) == 3
    assert trace.first_within(trace.gaps(1.0), 1e-5) is None


def test_operator_calls_are_counted_once_each():
    A = ops.Downsample(2, (8, 8))
    counter = Counter(A)
    x = np.ones((8, 8))
    counter.operator.adjoint(counter.operator(x))
    assert counter.calls == 2
    np.testing.assert_array_equal(counter.operator.gram(x), A.gram(x))
    assert counter.calls == 4
    A(x)
    assert counter.calls == 4


def test_files_hold_everything(results, tmp_path):
    results.to_json(tmp_path / "out.json")
    results.to_html(tmp_path / "out.html")
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["problems"][0]["solvers"][0]["seconds_to_gap"].keys() == {"0.01", "0.001", "0.0001"}
    page = (tmp_path / "out.html").read_text()
    assert page.count("<svg") == 1 and "src=" not in page and "small" in page


def test_wrong_names_get_a_suggestion(problem):
    with pytest.raises(OptionError, match="Did you mean 'denoise'"):
        bench(["denois"])
    with pytest.raises(OptionError, match="Did you mean 'fista'"):
        bench([problem], ["fisat"])


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_standard_problem_can_be_solved(name):
    problem = PROBLEMS[name]()
    assert problem.y.shape == problem.operator.out_shape
    assert problem.truth.shape == problem.operator.in_shape
    assert np.isfinite(problem.y).all()
