"""What primal-dual solvers share: terms taken through their duals, and the balance of primal and dual steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.protocols import Term
from solvers.regularised import is_bound, is_constraint

BALANCE_AT = frozenset((2, 4, 7, 10, 15, 20, 30, 40, 60, 90, 130, 190, 280, 400))  # finitely often: convergence is kept
INERTIA = 0.3  # weight of the old logarithm of tau when it is balanced
FIRST_STEP = 0.3  # first tau, over the ratio of image and dual variable that a first guess gives
SAFETY = 0.99  # of the product of the steps, below what certifies convergence


@dataclass(frozen=True, eq=False)
class Dual:
    """One term ``f(K x)`` taken through its dual."""

    term: Term
    prox: Callable[[Array, Any], Array]  # (v, step) -> prox of step * f
    tunable: bool  # whether the strength multiplies it

    def step(self, p: Array, Kx: Array, sigma: Any, strength: float) -> Array:
        """``prox_{sigma (strength f)*}(p + sigma K x)`` by Moreau's identity."""
        weight = strength if self.tunable else 1.0
        v = p + sigma * Kx
        return v - sigma * self.prox(v / sigma, weight / sigma)


def dual_of_data(data: Any) -> Dual:
    """The data term, taken through its dual."""
    return Dual(Term(data, data.operator), data.loss_prox, False)


def duals_of_prior(prior: Any, primal: Any = None) -> tuple[Dual, ...]:
    """The terms of a prior, taken through their duals; but the one that :func:`primal_of` has chosen, if it has."""
    terms = prior.terms()
    # By its place: a prior may make its functions anew for each call.
    taken = None if primal is None else _chosen(terms)
    rest = (term for place, term in enumerate(terms) if place != taken)
    return tuple(Dual(term, term.function.prox, not is_constraint(term.function)) for term in rest)


def primal_of(prior: Any, *, bounds_only: bool = False) -> Any:
    """The function of the image itself that is taken in the primal step, or None; bounds are then kept exactly."""
    terms = prior.terms()
    place = _chosen(terms)
    if place is None or (bounds_only and not is_bound(terms[place])):
        return None
    return terms[place].function


def _chosen(terms: Sequence[Term]) -> int | None:
    """Place of the first bound, or else of the first function of the image itself."""
    free = [place for place, term in enumerate(terms) if term.operator is None]
    bounds = [place for place in free if is_bound(terms[place])]
    return next(iter(bounds or free), None)


def shares(norms: Sequence[float]) -> tuple[float, ...]:
    """The ``s_i`` with ``sum_i s_i norm_i^2 < 1``, the terms sharing it equally."""
    return tuple(SAFETY / (len(norms) * max(norm, 1e-30) ** 2) for norm in norms)


def adjoint_sum(duals: Sequence[Dual], p: Sequence[Array], like: Array) -> Array:
    """``sum_i K_i^H p_i``, an image like ``like``."""
    parts = [dual.term.adjoint(pi) for dual, pi in zip(duals, p, strict=True)]
    total = parts[0] if parts else arrays.zeros(like.shape, like)
    for part in parts[1:]:
        total = total + part
    return total


def rescaled(duals: Sequence[Dual], p: Sequence[Array], ratio: float) -> tuple[Array, ...]:
    """The dual variables after the strength has grown by ``ratio``."""
    return tuple(pi * ratio if dual.tunable else pi for dual, pi in zip(duals, p, strict=True))


def first_guess(data: Any, back: Array) -> Array:
    """The multiple of ``back = A^H y`` that fits the data best."""
    image = data.operator(back)
    length = arrays.to_float(arrays.dot(image, image))
    return back * (arrays.to_float(arrays.dot(back, back)) / length) if length > 0 else back


def is_usable(data: Any, x0: Array) -> bool:
    """Whether the slope of the loss at a start tells its size at the solution: counts have none where it is zero."""
    return bool(data.quadratic) and size(x0) > 0


def first_ratio(data: Any, x0: Array, back: Array) -> float:
    """A first ratio of primal and dual steps where the data are not among the duals: what theirs must balance."""
    x = x0 if is_usable(data, x0) else first_guess(data, back)
    return start_ratio(size(x), size(data.operator.adjoint(data.loss_gradient(data.operator(x)))))


def start_ratio(image: float, dual: float) -> float:
    """A first ratio of primal and dual steps from the sizes of a first guess."""
    ratio = FIRST_STEP * image / dual if dual > 0 else 0.0
    return min(max(ratio, 1e-12), 1e12) if ratio > 0 else 1.0


def balanced_ratio(tau: float, image: float, dual: float) -> float:
    """``tau`` moved towards the ratio of the ways that image and dual variables have gone."""
    if not (image > 0 and dual > 0):
        return tau
    return math.exp(INERTIA * math.log(tau) + (1 - INERTIA) * math.log(image / dual))


def size(x: Array, metric: Any = 1.0) -> float:
    """``|metric^(-1/2) x|``."""
    return math.sqrt(max(arrays.to_float(arrays.dot(x, x / metric)), 0.0))


def joint_size(p: Sequence[Array], before: Sequence[Array], metrics: Sequence[Any]) -> float:
    """The same of the differences of several variables, together."""
    return math.sqrt(sum(size(new - old, s) ** 2 for new, old, s in zip(p, before, metrics, strict=True)))
