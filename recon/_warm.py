"""Solves at one strength after another, each from the state of the nearest one, as far as the risk needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from recon._selection_problem import Problem
from solvers import arrays
from solvers.arrays import Array
from solvers.loop import Solution, Status, solve

SHARE = 0.33  # least steps of the others, over those of the first
FEWEST = 4  # steps of a solve that starts from another, half of those of the first
LOOK_EVERY = 2  # steps from one look at the risk to the next
SLOWEST, UNKNOWN = 0.95, 0.8  # largest share of a change that is left at the next look; the share assumed at first
TURN, FASTER = 3, 0.8  # changes looked at, and how much faster they shrink where the risk is about to turn
KEPT = 3  # states kept to start from: the bracket of the search
LARGE = 2**22  # pixels from which memory matters more, and only the last state is kept


class Warm:
    """Solves one strength after another, each from the state of the nearest one."""

    item: int | None = None  # which of a batch is the measurement itself
    nearby = True  # whether the last state is near the solution of the whole problem
    noticeable = 0.0  # gain of risk up to which a parabola is believed without a trial

    def __init__(self, problem: Problem, operator: Any, y: Array, x0: Array):
        self.problem, self.operator, self.y, self.x0 = problem, operator, y, x0
        self.family: Any = None  # the last algorithm; the next one shares what it worked out
        self.kept: list[tuple[Any, float]] = []  # last states and their strengths
        self.divergence: float | None = None
        self.level: float | None = None
        self.best: Any = None  # figures of the best trial, where the noise level followed from them
        self.unsettled: list[float] = []  # strengths at which the solver reached its last step
        self.last: Any = None  # solution of the last solve
        self.pace = 0  # steps of the first solve
        self.noticed = 0.0  # change of the risk still to come at which a solve ends

    def solve(self, strength: float, settled: Settling | None = None) -> Array:
        """The image at a strength; ``settled`` may end the solve before the image has settled."""
        if self.family is None:
            self.family = self.problem.build(self.operator, self.y, strength)
        algorithm = self.family = self.family.at(strength)
        if settled is not None:
            settled.scheduled = getattr(algorithm, "length", None) is not None
        state = algorithm.restart(*self._nearest(strength)) if self.kept else algorithm.init(self.x0)
        found = solve(
            algorithm,
            state=state,
            max_iter=self.problem.max_iter,
            tol=self.problem.tol,
            objective=False,
            patience=self.problem.patience,
            region=self.operator.interior,
            callback=settled,
        )
        self.pace = self.pace or found.iterations
        if found.status in (Status.MAX_ITER, Status.DIVERGED):
            self.unsettled.append(strength)
        few = arrays.size(self.x0) > LARGE
        self.last = found
        self.kept = [*([] if few else self.kept[1 - KEPT :]), (found.state, strength)]
        return found.image

    def propose(self, strength: float, figures: Any) -> float | None:
        """A better strength than the first one, whose figures were just measured, if the judge can tell."""
        return None

    def warm(self, algorithm: Any) -> Any:
        """A start of ``algorithm``, for the measurement alone, from the last solve."""
        return algorithm.restart(*self._nearest(algorithm.strength), self.item)

    def finished(self, strength: float) -> Solution | None:
        """The solution, where a schedule of the search went through at this strength; it need not go again."""
        last = self.kept[-1][1] if self.kept else None
        if last != strength or getattr(self.family, "length", None) is None:
            return None
        image = self.last.image if self.item is None else self.last.image[self.item]
        return replace(self.last, image=image, state=None)

    def _nearest(self, strength: float) -> tuple[Any, float]:
        return min(self.kept, key=lambda kept: abs(math.log(kept[1] / strength)))


class Settling:
    """Callback that ends a solve when the risk has settled.

    It looks at the mean of two iterates: those of splitting methods swing about their limit, and the risk with them.
    ``least`` is the risk of the best strength so far: one that will not come down to it is not followed further.
    """

    def __init__(
        self, figures: Callable[[Array], Any], risk: Callable[[Any], tuple[float, float]], pace: int, least: float
    ):
        self.least = least
        self.scheduled = False  # whether the steps are a schedule, whose last image counts
        self.first = pace == 0
        self.fewest = 2 * FEWEST if self.first else max(FEWEST, SHARE * pace)
        self.figures, self.risk = figures, risk  # of an image; risk and the least change of it that is noticed
        self.images: list[Array] = []  # the last two
        self.found: Any = None  # figures of their mean
        self.value = math.inf
        self.changes: list[float] = []  # of the risk, from look to look

    def __call__(self, state: Any, k: int) -> bool:
        self.images = [*self.images[-1:], state.x]
        self.found = None
        return not self.scheduled and k >= self.fewest - LOOK_EVERY and k % LOOK_EVERY == 0 and self._settled(k)

    def _settled(self, k: int) -> bool:
        risk, noticed = self.risk(self.result())
        if math.isfinite(self.least):
            noticed = max(noticed, risk - self.least)
        change = abs(risk - self.value)
        self.value, self.changes = risk, [*self.changes[1 - TURN :], change]
        return k >= self.fewest and self._left(k) <= noticed

    def _left(self, k: int) -> float:
        """Change of the risk still to come."""
        before, change = self.changes[-2:] if len(self.changes) > 1 else (math.inf, self.changes[-1])
        # Changes shrink by q a look; at first, when q is not known, slowly.
        q = min(change / before, SLOWEST) if math.isfinite(before) and before > 0 else UNKNOWN
        steady = max(q / (1 - q), 1.0)
        if not self.first or q <= 0:
            return change * steady
        # From afar slow solvers approach like a power of k: q grows, and more is left than a steady q says.
        power = math.log(q) / math.log(1 - LOOK_EVERY / k)
        looks = min(k / LOOK_EVERY / max(power - 1, 1e-9), SLOWEST / (1 - SLOWEST))
        return (max(self.changes) if self._turns(q) else change) * max(looks, steady)

    def _turns(self, q: float) -> bool:
        """Whether changes shrink faster and faster: a risk that is about to turn stands still for a moment."""
        earlier = self.changes[0] if len(self.changes) == TURN else math.inf
        return math.isfinite(earlier) and q * earlier < FASTER * self.changes[1]

    def result(self) -> Any:
        """Figures at the end of the solve."""
        if self.found is None:
            last = self.images[-1]
            self.found = self.figures(last if self.scheduled else 0.5 * (self.images[0] + last))
        return self.found
