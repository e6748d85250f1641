"""Search of the strength at which a risk is smallest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FACTOR = 2.5  # spacing of the strengths tried
FINE = 1.5  # spacing at which the search ends in any case
FARTHEST = 27.0  # factor by which a proposal may lead away from the first strength
CHANCE = 3e-4  # relative difference of the risks of neighbouring strengths that says nothing
MAX_TRIALS = 14
TRUST = 1 / 3  # share of the best trial's proposal in the end
SAME = 0.1  # of what a parabola may promise untried, up to which two strengths are equally good
LEVEL = 1e-4  # relative change of the risk that is no change


@dataclass(frozen=True)
class Trial:
    """One strength that was tried."""

    strength: float
    risk: float


def minimise(
    measure: Callable[[float], Any],
    rank: Callable[[list[Any]], list[float]],
    start: float,
    *,
    enough: float = 0.0,
    spacing: float = FACTOR,
    propose: Callable[[float, Any], float | None] = lambda strength, figures: None,
    matters: Callable[[], float] = lambda: 0.0,
) -> tuple[float, tuple[Trial, ...]]:
    """Minimise a risk over log-strength: steps of ``spacing`` until it rises on both sides, then parabolas.

    Parameters
    ----------
    measure : callable
        The figures of one strength.
    rank : callable
        The risks of all strengths tried, from their figures.
    start : float
        First strength.
    enough : float
        Risk below which a search that leads ever further ends; it also ends where the risk is flat.
    spacing : float
        Factor between the strengths tried; 1 tries the first one alone.
    propose : callable
        From the strength measured last and its figures, a better strength or None. The second trial is where the first
        one's proposal is; the end is a third of the way from the vertex of the parabola to the best trial's proposal:
        their errors have nothing to do with each other.
    matters : callable
        What a parabola may promise over the best strength tried and yet be believed without a trial.
    """
    figures: dict[float, Any] = {}
    proposals: dict[float, float | None] = {}
    tried: dict[float, float] = {}
    t, steps = 0.0, 0
    while len(tried) < MAX_TRIALS:
        strength = start * math.exp(t)
        figures[t] = measure(strength)
        proposals[t] = _log_ratio(propose(strength, figures[t]), start)
        risks = rank(list(figures.values()))
        tried = {at: r if math.isfinite(r) else math.inf for at, r in zip(figures, risks, strict=True)}
        points = sorted(tried)
        best = min(points, key=tried.__getitem__)
        i = points.index(best)
        if spacing == 1:
            break
        if len(points) == 1:
            t = _second(proposals[t], math.log(spacing), interpolates=math.isinf(tried[best]))
        elif math.isinf(tried[best]):  # nothing but interpolation so far
            t = points[-1] + math.log(spacing)
        elif i in (0, len(points) - 1):
            if _flat(points, tried, i) or tried[best] <= enough:
                break
            if spacing > FINE and (between := _almost_as_good(points, tried, i, SAME * matters())) is not None:
                best = between
                break
            # From far away (data without noise want next to no strength) the steps lengthen.
            t = best + math.copysign(math.log(spacing) * (1 + steps // 3), i - 0.5)
            steps += 1
        else:
            t, gain = _vertex(points[i - 1 : i + 2], tried)
            width = points[i + 1] - points[i - 1]
            if width <= 2 * math.log(FINE) or abs(t - best) < 0.4 * math.log(FINE) or gain <= matters():
                if spacing > FINE:
                    best = _towards(proposals[best], t, points[i - 1], points[i + 1])
                elif tried[0.0] <= (1 + CHANCE) * tried[best]:  # a fine search starts from a strength that is usual
                    best = 0.0
                break
    trials = tuple(Trial(start * math.exp(t), value) for t, value in tried.items())
    return start * math.exp(best), trials


def _log_ratio(proposal: float | None, start: float) -> float | None:
    return math.log(proposal / start) if proposal is not None and 0 < proposal < math.inf else None


def _second(proposal: float | None, step: float, *, interpolates: bool) -> float:
    """Log of the second strength over the first: where the proposal is, but not so near that nothing is learned."""
    if proposal is None:
        return step if interpolates else -step
    return math.copysign(min(max(abs(proposal), step), math.log(FARTHEST)), proposal)


def _towards(proposal: float | None, vertex: float, left: float, right: float) -> float:
    """The vertex, moved towards the proposal where that is in the bracket."""
    return vertex + TRUST * (proposal - vertex) if proposal is not None and left < proposal < right else vertex


def _flat(points: list[float], values: dict[float, float], i: int) -> bool:
    """Whether the last two steps towards the end point ``i`` changed next to nothing."""
    towards = [values[t] for t in (points[:3] if i == 0 else points[:-4:-1])]
    return len(towards) == 3 and math.isfinite(towards[2]) and towards[2] - towards[0] <= LEVEL * abs(towards[2])


def _almost_as_good(points: list[float], values: dict[float, float], i: int, same: float) -> float | None:
    """Where the risk is smallest if the end point ``i`` is at most ``same`` better than its neighbour: between them."""
    near = points[:3] if i == 0 else points[-3:]
    if len(near) < 3 or values[near[1]] - values[points[i]] > same:
        return None
    vertex = _vertex(near, values)[0]
    return vertex if abs(vertex - (near[1] + points[i]) / 2) < abs(near[1] - points[i]) / 2 else None


def _vertex(points: list[float], values: dict[float, float]) -> tuple[float, float]:
    """Abscissa of the parabola through three points whose middle one is the lowest, and how far it is below that."""
    a, b, c = points
    left, right = (values[b] - values[a]) / (b - a), (values[c] - values[b]) / (c - b)
    if not math.isfinite(left) or not math.isfinite(right) or left == right:
        return b, 0.0 if left == right else math.inf
    bend = (right - left) / (c - a)
    slope = left + bend * (b - a)  # at b
    return b - slope / (2 * bend), slope**2 / (4 * bend)
