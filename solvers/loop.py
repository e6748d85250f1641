"""The one loop: every solver is stepped, stopped, recorded and unrolled here."""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.operator_calls import counting
from solvers.protocols import Algorithm

FAR = 1e3  # growth, of the image's norm or of the objective, that no convergent solver shows
FAR_SCHEDULED = 10.0  # growth over the start of a schedule, which is an image on the scale of the answer
SETTLING = 3  # looks in which a solver may still move anywhere
RECORDED = ("iteration", "seconds", "change", "objective", "misfit", "calls")
CHECK_EVERY = 5  # steps between two looks at the iterate; a look costs about one pass over the image


class Status(enum.Enum):
    """Why a solver stopped."""

    CONVERGED = "the estimated distance to the limit is below the tolerance"
    MAX_ITER = "max_iter was reached before the tolerance; raise max_iter or tol"
    FINISHED = "the steps of its schedule are done"
    ENOUGH = "its schedule was told that further steps gain nothing"
    STOPPED = "the callback asked to stop"
    DIVERGED = (
        "the iterates grew or became non-finite; the best one is returned. "
        "Check the operator with check_operator, and any step size given by hand"
    )

    @property
    def ok(self) -> bool:
        """Whether the image can be used."""
        return self is not Status.DIVERGED


@dataclass(frozen=True)
class Solution:
    """What a solver found."""

    image: Array
    status: Status
    iterations: int
    seconds: float
    # "iteration", "seconds", "change", "objective" and of that the data term, "misfit", "calls" of the operator (A^H A
    # is two, closed forms are none): equal lengths
    history: dict[str, list[float]] = field(repr=False)
    state: Any = field(repr=False)  # last state; a warm start for a neighbouring problem


def steps(algorithm: Algorithm, x0: Array) -> Iterator[Any]:
    """Infinite generator of the states after 1, 2, ... steps from ``x0``."""
    return steps_from(algorithm, algorithm.init(x0))


def steps_from(algorithm: Algorithm, state: Any) -> Iterator[Any]:
    """Infinite generator of the states that follow ``state``."""
    for k in count():
        state = algorithm.step(state, k)
        yield state


def unroll(algorithm: Algorithm, x0: Array, n: int) -> Array:
    """Image after exactly ``n`` steps, with gradients for torch tensors."""
    state = algorithm.init(x0)
    for k in range(n):
        state = algorithm.step(state, k)
    return state.x


def solve(
    algorithm: Any,
    x0: Array | None = None,
    *,
    state: Any = None,
    max_iter: int = 500,
    tol: float = 1e-3,
    objective: bool = True,
    patience: int = 2,
    look_every: int = CHECK_EVERY,
    region: tuple[slice, ...] | None = None,
    overwrite: bool = False,
    callback: Callable[[Any, int], Any] | None = None,
    progress: bool = False,
) -> Solution:
    """Run ``algorithm`` until its iterate has settled.

    Parameters
    ----------
    algorithm : Algorithm
        What to run. Its ``objective(x)``, where it has one, is recorded and ranks the iterates; its ``distance(state,
        extrapolated, seen)`` may correct the estimated distance to the limit.
    x0 : array
        Start; or pass ``state``, the last state of a neighbouring problem.
    max_iter : int
        Upper bound of the number of steps.
    tol : float
        Stop when the estimated distance of the iterate from its limit is below ``tol`` times its norm. The distance is
        extrapolated from the rate at which the changes shrink, so a slow solver does not stop early.
    objective : bool
        Whether to record the objective at each look (one more forward operation every few steps).
    patience : int
        Number of looks in a row that must find it so.
    look_every : int
        Steps between two looks at the iterate; the first that may end the loop is the second.
    region : tuple of slice, optional
        The part of the trailing axes that is to settle; by default all of the image.
    overwrite : bool
        Whether to take the algorithm's ``steps_in_place``, which overwrite ``state``: for images that fill the memory.
        The objective is then not recorded, and the change is that of every third pixel along each axis.
    callback : callable, optional
        ``callback(state, k)`` after each step; a true return value stops. With ``overwrite`` it copies what it keeps.
    progress : bool
        Show a progress bar on the standard error stream.

    Returns
    -------
    Solution
    """
    status, k = Status.MAX_ITER, 0
    length = getattr(algorithm, "length", None)  # of a schedule, which is to be gone through and no further
    if length is not None and length <= max_iter:
        status, max_iter, tol = Status.FINISHED, length, 0.0
    judged = objective and not overwrite and hasattr(algorithm, "objective")
    with counting(_operator_of(algorithm)) as calls, _progress_bar(max_iter, enabled=progress) as bar:
        if state is None:
            state = algorithm.init(x0)
        watch = _Watch(algorithm, state, tol, judged, patience, region, calls, thin=overwrite)
        following = algorithm.steps_in_place(state) if overwrite else steps_from(algorithm, state)
        for k, state in enumerate(islice(following, max_iter), start=1):
            bar.update()
            if callback is not None and callback(state, k):
                status = Status.STOPPED
                break
            ended = getattr(state, "finished", False)
            if k % look_every == 0 or k == max_iter or ended:
                verdict = watch.look(state, k)
                if verdict is not None:
                    status = verdict
                    break
            if ended:
                status = Status.FINISHED if k == length else Status.ENOUGH
                break
        if status is Status.STOPPED:
            watch.look(state, k)
    image = watch.best if status is Status.DIVERGED else state.x
    return Solution(image, status, k, watch.elapsed(), watch.history, state)


def _operator_of(algorithm: Any) -> Any:
    """The forward operator of an algorithm, or of the one that it wraps; None where it has none."""
    while hasattr(algorithm, "algorithm"):
        algorithm = algorithm.algorithm
    return getattr(getattr(algorithm, "data", algorithm), "operator", None)


class _Watch:
    """Looks at the iterate now and then: records, and judges convergence and divergence."""

    def __init__(
        self, algorithm: Any, state: Any, tol: float, objective: bool, patience: int,
        region: tuple[slice, ...] | None, calls: Callable[[], int], *, thin: bool,
    ):  # fmt: skip
        self.calls, self.own_calls = calls, 0  # of the operator, and those that looking took
        self.where = ... if region is None else (..., *region)
        self.thin = thin
        self.objective = algorithm.objective if objective else None
        self.parts = getattr(algorithm, "parts", None)
        self.distance = None if thin else getattr(algorithm, "distance", None)
        self.tol, self.patience = tol, patience
        self.start = time.perf_counter()
        self.history: dict[str, list[float]] = {name: [] for name in RECORDED}
        self.best = state.x
        self.x = self._seen(state.x)
        self.merit = self.first_merit = self._judged(state.x)[0]
        self.calmest = math.inf
        self.settled = 0
        self.last_k = 0
        self.size = arrays.to_float(arrays.norm(self.x))  # largest of the start and the first iterates
        scheduled = getattr(algorithm, "length", None) is not None
        self.limit = FAR_SCHEDULED * self.size if scheduled and self.size > 0 else math.inf

    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    def look(self, state: Any, k: int) -> Status | None:
        """Record the state after ``k`` steps; return a status if the loop should end."""
        x = self._seen(state.x)
        change = arrays.to_float(arrays.norm(x - self.x)) / max(k - self.last_k, 1)
        size = arrays.to_float(arrays.norm(x))
        merit, misfit = self._judged(state.x) if math.isfinite(change) else (math.nan, math.nan)
        previous = self.history["change"][-1] if self.history["change"] else math.inf
        gap, self.last_k = max(k - self.last_k, 1), k
        calls = self.calls() - self.own_calls
        for name, value in zip(self.history, (k, self.elapsed(), change, merit, misfit, calls), strict=True):
            self.history[name].append(value)
        if not math.isfinite(change) or not math.isfinite(size) or self._grows(size, merit, change):
            return Status.DIVERGED
        if self._is_best(merit, change):
            self.best, self.merit, self.calmest = state.x, merit, change
        self.x = x
        # Changes shrink by q a look, so what is left is a geometric series.
        q = min(change / previous, 0.98) if previous > 0 else 0.0
        left = change * gap * q / (1 - q) if math.isfinite(previous) else math.inf
        if self.distance is not None:
            left = self.distance(state, left, self._seen)
        self.settled = self.settled + 1 if max(left, change) <= self.tol * size else 0
        return Status.CONVERGED if self.settled >= self.patience or change == 0 else None

    def _is_best(self, merit: float, change: float) -> bool:
        """Whether no iterate before had a lower objective, or, where there is none, moved less."""
        return change <= self.calmest if math.isnan(merit) else not merit > self.merit

    def _seen(self, x: Array) -> Array:
        """The part of the image that is to settle; a copy of some of it where the next step overwrites it."""
        x = x[self.where]
        return x[(slice(None, None, 3),) * x.ndim].copy() if self.thin else x

    def _judged(self, x: Array) -> tuple[float, float]:
        """Objective and, where it comes in two parts, the data term."""
        if self.objective is None:
            return math.nan, math.nan
        before = self.calls()
        parts = (self.objective(x), math.nan) if self.parts is None else self.parts(x)
        self.own_calls += self.calls() - before
        value, other = map(arrays.to_float, parts)
        return (value, other) if self.parts is None else (value + other, value)

    def _grows(self, size: float, merit: float, change: float) -> bool:
        """Whether the iterates run away; a splitting method may move far at first, so growth must be large and late."""
        looks = len(self.history["change"])
        if size > self.limit:
            return True
        if looks <= SETTLING:
            self.size = max(self.size, size)
            self.first_merit = max(self.first_merit, merit)
            return False
        rising = change > self.history["change"][-2]
        return rising and (size > FAR * self.size or merit > FAR * self.first_merit > 0)


class _NoBar:
    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self) -> None:
        return None


def _progress_bar(total: int, *, enabled: bool) -> Any:
    if not enabled:
        return _NoBar()
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="step", leave=False)
