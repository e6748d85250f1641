"""Beside the other libraries: ``python -m benchmarks.peers [deblur|tomography|mri ...]``.

Total-variation deblurring of 512 x 512 pixels, tomography of 256 x 256 pixels from 60 views with total variation, MRI
of eight coils with wavelets: the problems of ``recon bench``. In one run, with the same measurement, objective,
strength (the one that ``reconstruct`` chooses) and threads, the seconds until the objective is within 1e-3 of its
minimum and the PSNR within 0.05 dB of that of the minimiser, from there on.

The minimum is that of a long run of ours in double precision, and the peer's own functions judge that image too, which
shows whether the objective is the same; where a peer's model is its own, as its projector is, the minimum is that of
its own objective. A peer runs as its examples set it up, and tuned by hand, with the least iterations that reach the
accuracy, which nobody knows beforehand, and so does ours. ``reconstruct`` as it is called, with its own stop and its
choice of the strength, is printed beside it. Compilation is apart: first runs are not counted. Ours and the peer's run
are timed in turns, the least of three each. A peer that does not get there within 15 seconds counts with its last run,
a lower bound. Exits with 1 where a limit is missed. The machine has to be quiet: torch takes many times as long beside
another program.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from priors import Wavelet
from recon import reconstruct
from recon.bench import problems
from recon.bench._peer_run import PeerRun
from recon.bench._peers import PEERS, Peer, run_longer
from recon.bench._run import judge_of, strength_of
from recon.bench._trace import Trace
from recon.bench.problems import Problem, psnr
from recon.bench.report import Results
from solvers.arrays import threads

GAP, DECIBELS = 1e-3, 0.05
FINE = 1.1  # to which factor the least iterations are found
BUDGET, REFERENCE = 15.0, 10.0  # seconds to look for them, and for the minimum
REPEATS = 3
LONG = 5.0  # seconds of all runs from which one is not repeated

Judge = Callable[[Any], tuple[float, float]]  # image -> objective, PSNR


@dataclass(frozen=True)
class Section:
    """One problem and what must hold on it."""

    problem: Callable[[], Problem]
    limits: dict[str, float]  # beginning of the peer's name -> least ratio
    chosen: dict[str, float]  # the same, our choice of the strength included


def haar_coils() -> Problem:
    """Eight coils with Haar wavelets, whose transform is the same in every library."""
    return replace(problems.mri_coils(), name="mri-coils-haar", prior=Wavelet("haar"))


SECTIONS = {
    "deblur": (Section(problems.deblur, {"deepinv": 25.0, "PyProximal": 5.0}, {"deepinv": 10.0}),),
    "tomography": (Section(problems.ct_sparse, {"deepinv": 15.0, "PyLops + ASTRA": 5.0}, {}),),
    "mri": (Section(haar_coils, {"SigPy": 3.0}, {}), Section(problems.mri_coils, {"SigPy": 3.0}, {})),
}


def seconds_of(*calls: Callable[[], object]) -> list[float]:
    """Least seconds of each of several calls, made in turns; slow ones less often."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(REPEATS):
        for call, spent in zip(calls, times, strict=True):
            if sum(spent) < LONG:
                start = time.perf_counter()
                call()
                spent.append(time.perf_counter() - start)
    return [min(spent) for spent in times]


def reached(trace: Trace, least: float, limit: float) -> int | None:
    """Index of the first look from which on the image is as accurate as asked."""
    errors = np.maximum(trace.gaps(least) / GAP, np.abs(np.array(trace.psnr) - limit) / DECIBELS)
    return trace.first_within(errors, 1.0)


def search(
    run: Callable[[int], np.ndarray], judge: Judge, least: float, limit: float, first: int = 1
) -> tuple[Trace, int | None]:
    """Looks at longer and longer runs, and the least iterations found that are as accurate as asked."""
    trace = Trace("")

    def done(trace: Trace) -> bool:
        found = reached(trace, least, limit)
        return found is not None and found < len(trace.psnr) - 1

    run_longer(trace, run, judge, BUDGET, done, first=first)
    found = reached(trace, least, limit)
    if found is None:
        return trace, None
    enough, before = trace.iterations[found], trace.iterations[found - 1] if found else first // 2
    while (middle := (before + enough) // 2) > before and enough > FINE * before:
        look = Trace("")
        look.look(middle, 0.0, 0, *judge(run(middle)))
        before, enough = (middle, enough) if reached(look, least, limit) is None else (before, middle)
    return trace, enough


def ours(problem: Problem, strength: Any, **options: Any) -> Any:
    return reconstruct(problem.y, problem.operator, prior=problem.prior, strength=strength, **options)


class Comparison:
    """One section: our run, and each peer against it."""

    def __init__(self, section: Section, problem: Problem):
        self.section, self.problem = section, problem
        begin = time.perf_counter()
        self.strength = strength_of(self.problem)
        self.first = time.perf_counter() - begin
        self.judge, self.reference = judge_of(self.problem, self.strength, REFERENCE)
        self.least, self.limit = self.judge(self.reference)
        _, steps = search(self.run, self.judge, self.least, self.limit)
        assert steps is not None, "our run does not reach the accuracy"
        self.steps, self.missed = steps, 0

    def run(self, steps: int) -> np.ndarray:
        return ours(self.problem, self.strength, max_iter=steps, tol=1e-12)

    def called(self) -> np.ndarray:
        return ours(self.problem, self.strength)

    def chosen(self) -> np.ndarray:
        return ours(self.problem, "auto")

    def describe(self) -> None:
        """Ours: with the least steps, with its own stop, and with the strength chosen."""
        print(f"\n{self.problem.name}: {self.problem.operator!r}, strength {self.strength:.3g}")
        print(f"   minimum {self.least:.6f}, {self.limit:.2f} dB there; first call of ours {self.first:.1f} s")
        calls = {
            f"ours, {self.steps} steps": lambda: self.run(self.steps),
            "ours, its own stop": self.called,
            "ours, strength chosen too": self.chosen,
        }
        for (what, call), seconds in zip(calls.items(), seconds_of(*calls.values()), strict=True):
            objective, decibels = self.judge(call())
            print(f"{what}: {seconds:.3f} s, gap {objective / self.least - 1:.1e}, {decibels:.2f} dB", flush=True)

    def against(self, peer: Peer) -> None:
        """Time a peer, and print the ratios beside their limits."""
        solver = peer.build(self.problem, self.strength)
        judge, least, limit = self.judge_for(solver)
        trace, enough = search(solver.run, judge, least, limit, peer.first)
        at = enough or trace.iterations[-1]
        gap, decibels = trace.gaps(least)[-1], trace.psnr[-1]
        calls = [lambda: self.run(self.steps), self.chosen]
        if enough:
            objective, decibels = judge(solver.run(at))
            gap = objective / least - 1
            calls.append(lambda: solver.run(at))
        own, chosen, *found = seconds_of(*calls)
        theirs = found[0] if found else trace.seconds[-1]
        own_limit = "" if solver.reference is None else f", the limit of its own model {limit:.2f} dB"
        print(
            f"{peer.name}: {at} iterations, {theirs:.2f} s (first run {trace.first_call:.1f} s), "
            f"gap {gap:.1e}, {decibels:.2f} dB{own_limit}"
        )
        if solver.reference is None:
            said = solver.objective(self.reference)
            print(f"   says {said:.6f} of our minimiser, {said / self.least - 1:+.0e}")
        more = "" if enough else "NOT REACHED, more than "
        self.check(f"{more}{theirs / own:.1f} times our {own:.3f} s", theirs / own, peer, self.section.limits)
        self.check(
            f"{more}{theirs / chosen:.1f} times our {chosen:.3f} s, strength chosen too", theirs / chosen, peer,
            self.section.chosen,
        )  # fmt: skip

    def judge_for(self, solver: PeerRun) -> tuple[Judge, float, float]:
        """Objective and PSNR of an image, and both at the minimiser."""
        if solver.reference is None:
            return self.judge, self.least, self.limit

        def judge(image: Any) -> tuple[float, float]:
            return solver.objective(image), psnr(self.problem.truth, image)

        return judge, *judge(solver.reference())

    def check(self, text: str, ratio: float, peer: Peer, limits: dict[str, float]) -> None:
        limit = next((limit for name, limit in limits.items() if peer.name.startswith(name)), None)
        if limit is None:
            print(f"   {text}", flush=True)
            return
        self.missed += ratio < limit
        missed = f" MISSED, by {limit / ratio:.2f}" if ratio < limit else ""
        print(f"   {text} (limit {limit:g}){missed}", flush=True)


def compared(section: Section) -> int:
    """Compare with the peers that are installed; returns how many limits are missed."""
    problem = section.problem()
    peers = [peer for peer in PEERS if problem.name in peer.problems]
    for peer in peers:
        if peer.missing:
            print(f"{problem.name}: {peer.name} is left out, {', '.join(peer.missing)} not installed")
    if all(peer.missing for peer in peers):
        return 0
    comparison = Comparison(section, problem)
    comparison.describe()
    for peer in peers:
        if not peer.missing:
            comparison.against(peer)
    return comparison.missed


def main(arguments: Sequence[str] = ()) -> int:
    """Print every ratio beside its limit; returns whether one is missed."""
    warnings.simplefilter("ignore")  # runs are cut at a number of steps on purpose
    print(Results([], threads()).machine())
    missed = 0
    for name in arguments or SECTIONS:
        for section in SECTIONS[name]:
            missed += compared(section)
    print(f"\n{missed} limits missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
