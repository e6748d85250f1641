"""What a solver does on one problem: objective and PSNR against seconds and operator calls."""

from __future__ import annotations

import copy
import math
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

GROWTH = 1.15  # between the steps at which the image is looked at
GAPS = (1e-2, 1e-3, 1e-4)
DECIBELS = (0.1, 0.05)


@dataclass
class Trace:
    """One solver on one problem; the lists have one entry a look."""

    solver: str
    iterations: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)  # forward and adjoint applications of the operator
    objective: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    first_call: float = 0.0  # seconds of set-up and first steps in a fresh process minus those again: compile time
    peak_bytes: int = 0  # of numpy arrays during two steps, beyond what was there
    note: str = ""

    def look(self, k: int, seconds: float, calls: int, objective: float, psnr: float) -> None:
        self.iterations.append(k)
        self.seconds.append(seconds)
        self.calls.append(calls)
        self.objective.append(objective)
        self.psnr.append(psnr)

    def first_within(self, errors: np.ndarray, limit: float) -> int | None:
        """Index of the first look from which on the errors stay within ``limit``."""
        outside = np.flatnonzero(~(errors <= limit))
        first = int(outside[-1]) + 1 if outside.size else 0
        return first if first < len(errors) else None

    def gaps(self, least: float) -> np.ndarray:
        """Objective over its minimum, less one."""
        return (np.array(self.objective) - least) / abs(least) if least else np.array(self.objective)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Counter:
    """Counts the forward and adjoint applications of a copy of an operator."""

    def __init__(self, operator: Any):
        self.calls, self._inside = 0, False
        self.operator = copy.copy(operator)
        for name, cost in (("_apply", 1), ("_adjoint", 1), ("gram", 2)):
            setattr(self.operator, name, self._counted(getattr(operator, name), cost))

    def _counted(self, method: Callable[..., Any], cost: int) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if self._inside:
                return method(*args)
            self._inside, self.calls = True, self.calls + cost
            try:
                return method(*args)
            finally:
                self._inside = False

        return call


def looks() -> Iterator[int]:
    """1, 2, 3, ... in growing steps."""
    k = 1
    while True:
        yield k
        k = max(k + 1, math.ceil(k * GROWTH))


def run_steps(
    trace: Trace,
    start: Callable[[], tuple[Any, Any]],
    judge: Callable[[Any], tuple[float, float]],
    calls: Callable[[], int],
    done: Callable[[Trace], bool],
    budget: float,
) -> Trace:
    """Step an algorithm and look at its image now and then; what a look costs is not counted."""
    begin = time.perf_counter()
    algorithm, state = start()
    spent, wanted = time.perf_counter() - begin, looks()
    at, k = next(wanted), 0
    while spent < budget:
        begin = time.perf_counter()
        state = algorithm.step(state, k)
        spent += time.perf_counter() - begin
        k += 1
        if k < at:
            continue
        at = next(wanted)
        so_far = calls()
        trace.look(k, spent, so_far, *judge(state.x))
        if not math.isfinite(trace.objective[-1]):
            trace.note = "diverged"
            break
        if done(trace):
            break
    return trace


def warm_up(start: Callable[[], tuple[Any, Any]]) -> tuple[float, int]:
    """Seconds that the first steps took more than the same steps again, and the peak memory of two steps."""

    def steps() -> float:
        begin = time.perf_counter()
        algorithm, state = start()
        for k in range(2):
            state = algorithm.step(state, k)
        return time.perf_counter() - begin

    first, second = steps(), steps()
    tracemalloc.start()
    steps()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return max(first - second, 0.0), peak
