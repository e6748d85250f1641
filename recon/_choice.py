"""Choice between priors, and of the balance of the weights within one, by the predicted risk."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from recon._selection_problem import Choice, Rival
from recon.selection import common_risks

FACTOR = 3.0  # between the balances tried
MOST_STEPS = 3  # to one side
CHANCE = 1e-3  # relative difference of risks that says nothing


def best_of(searches: Sequence[Callable[..., Choice]], names: Sequence[str]) -> tuple[int, Choice]:
    """Which search of a strength, one for each prior, found the smallest predicted risk; all figures are kept."""
    choices = [search() for search in searches]
    risks = common_risks(choices)
    best = min(range(len(choices)), key=risks.__getitem__)
    return best, replace(choices[best], rivals=_rivals(names, choices))


def balanced(prior: Any, search: Callable[..., Choice]) -> tuple[Any, Choice]:
    """The prior with the balance of its weights that makes the predicted risk small, and the strength with it.

    The balance moves by factors of three, each with a search of the strength that starts from the last one, to the side
    on which the risk falls and for as long as it does. ``search(prior, first)`` chooses a strength.
    """
    found = {0: (prior, search(prior))}
    for side in (1, -1):
        for step in range(side, side * (MOST_STEPS + 1), side):
            variant = prior.rebalanced(FACTOR**step)
            found[step] = variant, search(variant, found[step - side][1].strength)
            if _best(found) != step:
                break
        if _best(found) > 0:
            break
    steps, best = sorted(found), _best(found)
    rivals = _rivals([f"{FACTOR**k:.3g}" for k in steps], [found[k][1] for k in steps])
    return found[best][0], replace(found[best][1], rivals=rivals, chosen=f"{FACTOR**best:.3g}")


def _rivals(names: Sequence[str], choices: Sequence[Choice]) -> tuple[Rival, ...]:
    risks = common_risks(choices)
    return tuple(Rival(n, c.strength, r) for n, c, r in zip(names, choices, risks, strict=True))


def _best(found: dict[int, tuple[Any, Choice]]) -> int:
    """The last step that made the risk smaller by more than chance does."""
    best, least = 0, math.inf
    for step, risk in zip(found, common_risks([choice for _, choice in found.values()]), strict=True):
        if risk < (1 - CHANCE) * least:
            best, least = step, risk
    return best
