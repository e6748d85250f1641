"""How far ``solver="auto"`` is from the fastest of our solvers: ``python -m benchmarks.auto [seconds] [problem ...]``.

For each standard problem of ``recon bench``, the seconds until the objective is within 1e-3 of its minimum: of the
solver that ``reconstruct`` takes, and of the fastest of all. Each solver has the time given (10 seconds by default) for
a problem. Where another one was quicker than the one taken, both run again in turns, three times, and the least of each
counts: a busy machine slows some runs. Exits with 1 where the limits are missed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from recon.bench import bench
from recon.bench.report import Result
from recon.plan import plan

NEAR, FAR = 1.5, 3.0
ENOUGH_NEAR = 10
REPEATS = 3


def compared(result: Result, taken: str) -> tuple[float, str, float]:
    """Seconds of the solver taken, the fastest solver and its seconds."""
    times = {trace.solver: result.seconds_to(trace)[1] for trace in result.traces}
    own = min(times.pop("auto"), times.get(taken, math.inf))
    times[taken] = own
    fastest = min(times, key=lambda name: times[name])
    return own, fastest, times[fastest]


def least_of_both(name: str, fastest: str, seconds: float, own: float, least: float) -> tuple[float, float]:
    """Seconds of the solver taken and of the fastest one, the least over more runs."""
    for _ in range(REPEATS):
        (result,) = bench([name], ["auto", fastest], seconds=seconds, peers=False).results
        again = {trace.solver: result.seconds_to(trace)[1] for trace in result.traces}
        own, least = min(own, again["auto"]), min(least, again[fastest])
    return own, least


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; returns whether the limits are missed."""
    from recon.bench import PROBLEMS

    seconds = float(arguments[0]) if arguments else 10.0
    problems = {name: PROBLEMS[name] for name in arguments[1:] or PROBLEMS}
    print(f"{'problem':18}{'auto takes':18}{'seconds':>9}  {'fastest':18}{'seconds':>9}{'ratio':>8}")
    ratios = []
    for name, make in problems.items():
        problem = make()
        decided = plan(problem.y, problem.operator, prior=problem.prior, noise=problem.noise)
        taken = decided.decisions["solver"].choice
        (result,) = bench([name], seconds=seconds, peers=False).results
        own, fastest, least = compared(result, taken)
        if fastest != taken:
            own, least = least_of_both(name, fastest, seconds, own, least)
        ratios.append(max(own / least, 1.0))
        print(f"{name:18}{taken:18}{own:9.3f}  {fastest:18}{least:9.3f}{ratios[-1]:8.2f}", flush=True)
    near, within = sum(r <= NEAR for r in ratios), all(r <= FAR for r in ratios)
    print(
        f"within {NEAR:g} times the fastest on {near} of {len(ratios)} (limit {ENOUGH_NEAR}); "
        f"most {max(ratios):.2f} (limit {FAR:g})"
    )
    return int(near < min(ENOUGH_NEAR, len(ratios)) or not within)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
