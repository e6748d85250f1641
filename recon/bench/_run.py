"""Runs the benchmark: problems times solvers, and the peers that are installed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from recon._first_guess import first_guess
from recon._plug_and_play import denoiser_of
from recon._solver_names import CLASSES, SOLVERS
from recon._stages import builder
from recon.bench import _peers
from recon.bench._trace import GAPS, Counter, Trace, run_steps, warm_up
from recon.bench.problems import PROBLEMS, Problem, psnr
from recon.bench.report import Result, Results
from recon.decisions import Request
from recon.plan import prepare
from recon.reconstruct import reconstruct
from solvers.arrays import threads
from solvers.errors import ArgumentError, OptionError, suggestion
from solvers.loop import solve

REFERENCE_STEPS = 4000


def bench(
    problems: Iterable[str | Problem] | None = None,
    solvers: Sequence[str] | None = None,
    *,
    seconds: float = 10.0,
    peers: bool = True,
    progress: Callable[[str], Any] | None = None,
    finished: Callable[[Result], Any] | None = None,
) -> Results:
    """Time solvers to accuracy.

    Parameters
    ----------
    problems : iterable of str or Problem, optional
        Names of :data:`PROBLEMS`, or problems of your own; all the standard ones by default.
    solvers : sequence of str, optional
        Names that ``reconstruct(solver=...)`` takes; by default all that minimise data and prior. ``auto`` is
        what it would pick.
    seconds : float
        Time a solver has for a problem; it stops earlier at a relative gap of 1e-5.
    peers : bool
        Whether to run the other libraries that are installed.
    progress : callable, optional
        Called with a line of text before each run.
    finished : callable, optional
        Called with what was found on a problem, as soon as it is.

    Returns
    -------
    Results
        ``print`` it for the table; ``to_json`` and ``to_html`` write files.
    """
    say = progress or (lambda text: None)
    names = ["auto", *CLASSES] if solvers is None else list(solvers)
    for name in names:
        if name not in SOLVERS:
            raise OptionError(
                f"solver is {name!r}; expected one of {', '.join(SOLVERS)}.{suggestion(name, SOLVERS)} Pass its name."
            )
    results = []
    for entry in PROBLEMS if problems is None else problems:
        problem = entry if isinstance(entry, Problem) else _named(entry)
        results.append(_bench_problem(problem, names, seconds, peers, say))
        if finished is not None:
            finished(results[-1])
    return Results(results, threads())


def _named(name: str) -> Problem:
    if name not in PROBLEMS:
        raise OptionError(
            f"problem is {name!r}; expected one of {', '.join(PROBLEMS)}.{suggestion(name, PROBLEMS)} Pass its name."
        )
    return PROBLEMS[name]()


def _bench_problem(
    problem: Problem, names: list[str], seconds: float, peers: bool, say: Callable[[str], Any]
) -> Result:
    say(f"{problem.name}: strength and reference")
    strength = problem.strength if problem.strength is not None else strength_of(problem)
    judge, reference = judge_of(problem, strength, 3 * seconds)
    least, limit = judge(reference)
    traces = []
    for name in names:
        say(f"{problem.name}: {name}")
        trace = _trace(problem, name, strength, judge, least, seconds)
        if trace is not None:
            traces.append(trace)
    if peers:
        for peer in _peers.installed(problem):
            say(f"{problem.name}: {peer.name}")
            traces.append(_peers.trace(peer, problem, strength, judge, seconds))
    least = min([least, *(min(t.objective) for t in traces if t.objective and not t.note)])
    return Result(problem.name, repr(problem.operator), strength, least, limit, traces)


def _request(problem: Problem, solver: str, strength: Any, y: np.ndarray | None = None) -> Request:
    return prepare(
        problem.y if y is None else y, problem.operator, prior=problem.prior, solver=solver, noise=problem.noise,
        strength=strength, x0=None, bounds=None, channel_axis=None, max_iter=None, tol=None, callback=None,
    )  # fmt: skip


def strength_of(problem: Problem) -> float:
    """The strength that ``reconstruct`` chooses."""
    _, info = reconstruct(problem.y, problem.operator, prior=problem.prior, noise=problem.noise, return_info=True)
    return float(info.plan.strength)


def judge_of(
    problem: Problem, strength: float, budget: float
) -> tuple[Callable[[Any], tuple[float, float]], np.ndarray]:
    """Objective and PSNR of an image, in double precision, and a minimiser found by a long run."""
    y = problem.y.astype(np.result_type(problem.y.dtype, np.float64))
    request = _request(problem, "admm", strength, y)
    algorithm = builder(request.plan)(request.operator, request.y, strength)

    def judge(x: Any) -> tuple[float, float]:
        image = np.asarray(x)
        value = float(np.real(algorithm.objective(image.astype(np.result_type(image.dtype, np.float64)))))
        return value, math.nan if problem.truth is None else psnr(problem.truth, image)

    end = time.perf_counter() + budget
    found = solve(
        algorithm, first_guess(request.operator, request.y), max_iter=REFERENCE_STEPS, tol=1e-6, objective=False,
        callback=lambda state, k: time.perf_counter() > end,
    )  # fmt: skip
    return judge, found.image


def _trace(
    problem: Problem,
    name: str,
    strength: float,
    judge: Callable[[Any], tuple[float, float]],
    least: float,
    budget: float,
) -> Trace | None:
    """The run of one of our solvers, or None where it does not minimise this objective."""
    try:
        request = _request(problem, name, strength)
        build = builder(request.plan)
        algorithm = build(request.operator, request.y, strength)
        if getattr(algorithm, "prior", None) is None or (name == "dpir" and denoiser_of(algorithm.prior) is None):
            return None
        counter = Counter(request.operator)

        def start() -> tuple[Any, Any]:
            algorithm = build(counter.operator, request.y, strength)
            return algorithm, algorithm.init(first_guess(counter.operator, request.y))

        compiling, peak = warm_up(start)
        counter.calls = 0
        trace = Trace(name, first_call=compiling, peak_bytes=peak)

        def done(trace: Trace) -> bool:
            return bool(trace.gaps(least)[-1] <= 0.1 * GAPS[-1])

        return run_steps(trace, start, judge, lambda: counter.calls, done, budget)
    except ArgumentError:  # it does not take this operator, prior or noise
        return None
    except Exception as error:  # one solver's failure is a line of the table, not the end of it
        return Trace(name, note=str(error).split(";")[0][:100])
