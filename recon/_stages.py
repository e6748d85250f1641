"""The stages of a reconstruction: start, tolerance, strength, last solve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from recon._choice import balanced, best_of
from recon._natural_solver import natural_solver
from recon._nonlinear import best_start, is_nonlinear
from recon._plug_and_play import SPACING
from recon._search import FACTOR
from recon._selection_problem import COMPARED_TOL, USUAL_TOL, Choice, Problem, measured_count
from recon.decisions import Decision, Plan, Request
from recon.noise import Gaussian, Poisson
from recon.selection import choose_strength
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError
from solvers.loop import Solution, solve

SEARCH_MAX_ITER = 200  # steps at one strength; the next one goes on from there
WARM_LOOKS, PACE = 4, 10  # steps between looks at a solve that goes on from a search, over which share of its first
ROUGH_TOL, ROUGH_LOOKS = 0.02, 2  # tolerance of images that others start from, and steps between looks there
UNSEEN = 0.1  # distance from the limit that does not matter, over the noise carried back to the image
LOOSEST = 5.0  # however noisy, the tolerance is at most this many times the usual one


def with_tolerance(request: Request, image: float) -> Plan:
    """The plan with a tolerance that the noise allows: images this close to the limit cannot be told from it.

    ``image`` is the norm of an image on the scale of the answer. The gain ``|A^H y| / |y|`` of what was measured turns
    the noise level into one of the image.
    """
    plan, y, operator = request.plan, request.y, request.operator
    learned = plan.decisions["solver"].choice == "learned-dpir"  # which ends by what it learned
    if isinstance(plan.noise, Poisson) or is_nonlinear(operator) or learned:
        return plan
    back, size = (arrays.to_float(arrays.norm(a)) for a in (operator.adjoint(y), y))
    if not (back > 0 and image > 0):
        return plan
    seen = math.sqrt(min(measured_count(operator, y), pixel_count(request)))
    tol = UNSEEN * plan.noise.sigma * seen * size / (back * image)
    tol = min(max(tol, plan.tol), LOOSEST * plan.tol)
    stop = Decision(f"tol {tol:.2g}, at most {plan.max_iter} steps", "a tenth of the noise from the limit, relative")
    return replace(plan, tol=tol, decisions={**plan.decisions, "stop": stop})


def of_several_starts(request: Request, start: Array, rng: Any) -> tuple[Array, Request]:
    """The best start, where the operator knows of several: local minima are met by restarts, and the plan says so."""
    plan = request.plan
    strength = plan.strength if plan.strength is not None else first_strength(request, start)
    algorithm = builder(plan)(request.operator, request.y, strength)
    start, best, count = best_start(algorithm, request.operator, request.y, start, np.random.default_rng(rng or 0))
    if count == 1:
        return start, request
    found = Decision(f"number {best} of {count}", "not convex: each start was tried, the lowest objective goes on")
    return start, replace(request, plan=replace(plan, decisions={**plan.decisions, "start": found}))


def builder(plan: Plan) -> Callable[[Any, Array, float], Any]:
    """(operator, y, strength) -> algorithm, as the plan says."""

    def build(operator: Any, y: Array, strength: float) -> Any:
        algorithm = plan.solver(data_term(operator, y, plan.noise), plan.prior, strength)
        if not all(callable(getattr(algorithm, name, None)) for name in ("init", "step")):
            raise DTypeError(
                f"solver is {plan.solver!r}, which returned {type(algorithm).__name__}; expected an algorithm with "
                "init and step. Return one, such as solvers.ADMM(data, prior, strength)."
            )
        return algorithm

    return build


def data_term(operator: Any, y: Array, noise: Any) -> Any:
    """The data term of white Gaussian noise or of counts."""
    from solvers.data_terms import LeastSquares, PoissonLikelihood

    own = operator.data_term(y, noise) if is_nonlinear(operator) else None
    if own is not None:
        return own
    return PoissonLikelihood(operator, y, noise.background) if isinstance(noise, Poisson) else LeastSquares(operator, y)


def with_strength(request: Request, start: Array, rng: np.random.Generator) -> tuple[Plan, Choice | None]:
    """The plan with a strength, searched for where none was given."""
    plan = request.plan
    if plan.criterion is None:
        return plan, None
    seed = int(rng.integers(2**32))  # the same probe for each prior, so that their risks can be compared

    def search(plan: Plan, prior: Any, first: float | None = None) -> Choice:
        of = replace(request, plan=replace(plan, prior=prior))
        return _search(of, start, np.random.default_rng(seed), first)

    if request.candidates:
        names = [c.decisions["prior"].choice for c in request.candidates]
        i, choice = best_of([partial(search, c, c.prior) for c in request.candidates], names)
        found = request.candidates[i]
        plan = replace(found, tol=plan.tol, decisions={**found.decisions, "stop": plan.decisions["stop"]})
    elif request.joint:
        prior, choice = balanced(plan.prior, partial(search, plan))
        plan = replace(plan, prior=prior)
    else:
        choice = search(plan, plan.prior)
    return with_choice(replace(request, plan=plan), choice), choice


def _search(request: Request, start: Array, rng: np.random.Generator, first: float | None) -> Choice:
    """The strength of one prior."""
    plan = request.plan
    assert plan.criterion is not None
    if request.known is not None and request.known[0].prior is plan.prior:
        return request.known[1]
    compared = request.joint or request.compared
    # A few steps of a method for quadratic problems are a regulariser themselves, and hide what the strength does.
    quadratic = all(getattr(term.function, "is_quadratic", False) for term in plan.prior.terms())
    # The risk of a solver that is slow on this operator seems to settle long before it does.
    natural, _ = natural_solver(plan.noise, plan.prior, request.operator)
    quick = plan.decisions["solver"].choice == natural
    problem = Problem(
        request.operator, request.y, plan.noise, plan.sigma_known, builder(plan), start,
        min(plan.max_iter, SEARCH_MAX_ITER), COMPARED_TOL if compared else max(USUAL_TOL, plan.tol),
        patience=2 if compared else 1, early=quick and not (compared or quadratic), race=quick and not quadratic,
        spacing=FACTOR if plan.usual is None else 1.0 if compared else SPACING,
    )  # fmt: skip
    if first is None:
        first = first_strength(request, start) if plan.usual is None else plan.usual
    return choose_strength(problem, first, plan.criterion, rng)


def with_choice(request: Request, choice: Choice) -> Plan:
    """The plan with the strength chosen, and the noise level where that became known with it."""
    plan = request.plan
    reason = f"best by {choice.criterion} of {len(choice.trials)} tried"
    if choice.unsettled:
        reason += f", {len(choice.unsettled)} of them not settled"
    decisions = {**plan.decisions, "strength": Decision(f"{choice.strength:.4g}", reason)}
    if choice.rivals:
        power = measured_count(request.operator, request.y) / arrays.to_float(arrays.norm(request.y)) ** 2
        risks = ", ".join(f"{rival.prior} {rival.risk * power:.4g}" for rival in choice.rivals)
        name = plan.decisions["prior"].choice
        if request.joint:
            name += f", balance {choice.chosen}"
        decisions["prior"] = Decision(name, f"smallest relative risk: {risks}")
    plan = replace(plan, strength=choice.strength, decisions=decisions)
    if not plan.sigma_known and choice.level is not None and not getattr(request.operator, "neighbours_alike", True):
        found = Decision(f"Gaussian, about {choice.level:.3g}", "residual at the smallest predicted risk")
        plan = replace(plan, noise=Gaussian(choice.level), decisions={**decisions, "noise": found})
    return plan


def first_strength(request: Request, start: Array) -> float:
    """Strength at which prior and noise balance on a first guess: ``variance * n / prior(x)`` for a Laplacian prior."""
    prior = request.plan.prior
    start = within_bounds(prior, start)  # outside of them the prior is infinite
    return balanced_strength(request, arrays.to_float(getattr(prior, "estimate", prior.value)(start)))


def balanced_strength(request: Request, value: float) -> float:
    """:func:`first_strength` from the value of the prior."""
    plan = request.plan
    if isinstance(plan.noise, Poisson):
        variance = 1.0  # the likelihood is already in units of its variance
    else:
        level = arrays.to_float(arrays.norm(request.y)) / math.sqrt(measured_count(request.operator, request.y))
        variance = max(plan.noise.sigma, 1e-4 * level) ** 2
    return 0.5 * variance * pixel_count(request) / value if value > 0 and math.isfinite(value) else variance


def pixel_count(request: Request) -> int:
    """Number of pixels of all images."""
    operator = request.operator
    return arrays.size(request.y) // math.prod(operator.out_shape) * math.prod(operator.in_shape)


def final_solve(
    request: Request, plan: Plan, choice: Choice | None, start: Array, callback: Any, progress: bool
) -> Solution:
    """The solve whose image is returned; it goes on from the last one of the search."""
    assert plan.strength is not None  # given, or chosen by now
    if choice is not None and callback is None and (done := choice.finished(plan.strength)) is not None:
        return done
    algorithm = builder(plan)(request.operator, request.y, plan.strength)
    state = choice.warm(algorithm) if choice is not None else algorithm.init(start)
    if choice is not None and is_nonlinear(request.operator):
        # A first guess may be nearer than the search came, at strengths that were mostly larger.
        state = min((state, algorithm.init(start)), key=lambda found: arrays.to_float(algorithm.objective(found.x)))
    watch: dict[str, Any] = {}
    if choice is not None and choice.nearby:
        # A state of the search has settled before, at a strength nearby; where that took long, slow parts are left.
        looks = WARM_LOOKS if plan.tol < ROUGH_TOL else ROUGH_LOOKS
        watch = {"patience": 1, "look_every": max(looks, choice.pace // PACE)}
    return solve(
        algorithm, state=state, max_iter=plan.max_iter, tol=plan.tol, region=request.operator.interior,
        callback=callback, progress=progress, **watch,
    )  # fmt: skip


def within_bounds(prior: Any, image: Array) -> Array:
    """Put right the rounding by which an iterate may be outside the constraints."""
    for term in prior.terms():
        if term.operator is None and getattr(term.function, "is_constraint", False):
            image = term.function.prox(image, 1.0)
    return image
