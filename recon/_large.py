"""Reconstruction of one image so large that memory decides: in place, one solve after another.

The choice of the strength is that of :mod:`recon.selection`, but for one state that passes from problem to problem: the
measurement, the same with the probe added, what is left after some pixels are held out, and the next strength. What one
solve gives is reduced to numbers before the next one starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from recon import _predicted
from recon._held_out import HELD_OUT
from recon._predicted import PASSED, Figures
from recon._search import minimise
from recon._selection_problem import Choice, Problem, measured_count
from recon._stages import SEARCH_MAX_ITER, balanced_strength, builder, with_choice, with_tolerance
from recon._warm import LARGE
from recon.decisions import Plan, Request
from recon.noise import Gaussian
from recon.selection import ENOUGH
from solvers import arrays
from solvers._in_place import blocks, half_spectrum, measures_pixels, supported
from solvers.data_terms import LeastSquares
from solvers.loop import Solution, solve

PROBE = 0.1  # of the noise level
SEARCH_TOL = 2e-3  # of a solve of the search: the probe follows the measurement rather than moving beside it
ANSWERED = 0.05  # distance from the limit that is left of the answer to the probe, over the probe


def applies(request: Request) -> bool:
    """Whether a request is for one image beyond ``LARGE`` pixels that can be solved in place."""
    from solvers.admm import ADMM

    plan, y = request.plan, request.y
    if request.candidates or request.joint:
        return False
    if plan.solver is not ADMM or request.x0 is not None or not isinstance(plan.noise, Gaussian):
        return False
    if plan.criterion not in (None, "gcv", "sure", "seen and unseen"):
        return False
    return arrays.size(y) > LARGE and supported(LeastSquares(request.operator, y), plan.prior, y)


def run(
    request: Request, adapt: bool, rng: np.random.Generator, progress: bool
) -> tuple[Plan, Choice | None, Solution, float]:
    """The plan as it became, how the strength was chosen, the last solve, and when it began."""
    plan, operator, y = request.plan, request.operator, request.y
    build, choice = builder(plan), None
    chain = Chain(request, build, min(plan.max_iter, SEARCH_MAX_ITER), SEARCH_TOL)
    if adapt:
        plan = with_tolerance(request, chain.size)
    if plan.criterion is not None:
        problem = Problem(operator, y, plan.noise, plan.sigma_known, build, None, chain.max_iter, chain.tol)
        choice = choose(problem, chain, plan.criterion, rng)
        plan = with_choice(replace(request, plan=plan), choice)
    begin = time.perf_counter()
    assert plan.strength is not None  # given, or chosen by now
    patience = 2 if choice is None else 1  # a state of the search has settled before, at a strength nearby
    options = {"max_iter": plan.max_iter, "tol": plan.tol, "patience": patience, "progress": progress}
    return plan, choice, chain.solve(operator, y, plan.strength, **options), begin


class Chain:
    """Solves that hand one state on."""

    def __init__(self, request: Request, build: Callable[[Any, Any, float], Any], max_iter: int, tol: float):
        self.request, self.build, self.max_iter, self.tol = request, build, max_iter, tol
        guess = build(request.operator, request.y, 1.0).in_place.guess()
        self.size = arrays.norm(guess.image)
        self.strength = self._first_strength(guess.image)
        self.state = build(request.operator, request.y, self.strength).start_in_place(guess)

    def _first_strength(self, image: np.ndarray) -> float:
        return balanced_strength(self.request, self.penalty(image))

    def penalty(self, image: np.ndarray) -> float:
        """The prior, without constraints."""
        return float(self.build(self.request.operator, self.request.y, 1.0).in_place.penalty(image))

    def solve(self, operator: Any, y: np.ndarray, strength: float, **options: Any) -> Solution:
        """Go on from the last state."""
        algorithm = self.build(operator, y, strength)
        state = algorithm.restart(self.state, self.strength)
        options = {"max_iter": self.max_iter, "tol": self.tol, "patience": 1, **options}
        found = solve(algorithm, state=state, overwrite=True, region=operator.interior, **options)
        self.state, self.strength = found.state, strength
        return replace(found, state=None)

    def image(self, operator: Any, y: np.ndarray, strength: float, **options: Any) -> np.ndarray:
        """The image at a strength."""
        return self.solve(operator, y, strength, **options).image


class Predicted(_predicted.Predicted):
    """Predicted risk, the probe solved after the measurement."""

    def __init__(self, problem: Problem, chain: Chain, rng: np.random.Generator):
        self.problem, self.chain, self.operator = problem, chain, problem.operator
        self.count = measured_count(problem.operator, problem.y)
        self.divergence = self.level = None
        self.seed = int(rng.integers(2**63))
        level = problem.noise.sigma
        self.width = PROBE * (level if level > 0 else 1e-2 * arrays.norm(problem.y) / problem.y.size**0.5)
        whole = not measures_pixels(problem.operator)
        self.gram: Any = chain.build(problem.operator, problem.y, 1.0).in_place.gram if whole else 1.0
        self.filter = None if problem.operator.sampling is not None else "as :meth:`_products` has it"
        self.note: Callable[[np.ndarray], float] | None = None  # what else to measure of the image

    def measure(self, strength: float) -> Figures:
        operator, y = self.operator, self.problem.y
        image = self.chain.image(operator, y, strength)
        self.penalty = strength * self.chain.penalty(image)
        self.noted = 0.0 if self.note is None else self.note(image)
        fit = operator(image)
        del image
        before = self._products(self._signs(), fit)
        np.subtract(y, fit, out=fit, where=True if operator.sampling is None else operator.sampling)
        residual = self._products(fit, fit)
        del fit
        tol = min(ANSWERED * self.width * self.count**0.5 / max(self.chain.size, 1e-30), self.chain.tol)
        fit = operator(self.chain.image(operator, self._shifted(), strength, tol=tol))
        after = self._products(self._signs(), fit)
        divergence = [(b - a) / self.width for a, b in zip(before, after, strict=True)]
        return Figures(residual[0], divergence[0], residual[1], divergence[1])

    def propose(self, strength: float, figures: Figures) -> float | None:
        return self._in_balance(strength, figures, self.penalty)

    def _signs(self) -> np.ndarray:
        """The probe, over its width; made again each time rather than kept."""
        signs = np.random.default_rng(self.seed).integers(0, 2, self.problem.y.shape, dtype=np.int8)
        signs *= 2
        signs -= 1
        if self.operator.sampling is not None:
            signs *= self.operator.sampling
        return signs

    def _shifted(self) -> np.ndarray:
        shifted = self._signs().astype(self.problem.y.dtype)
        shifted *= self.width
        shifted += self.problem.y
        return shifted

    def _products(self, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        """Product over the number of measurements, as it is and carried over to the image."""
        plain = sum(arrays.dot(a[k].astype(b.dtype, copy=False), b[k]) for k in blocks(b.shape)) / self.count
        if self.filter is None:
            return plain, plain
        if np.ndim(self.gram) == 0:
            return plain, plain / (1.0 + PASSED)
        return plain, self._spectral_product(a, b) / self.count

    def _spectral_product(self, a: np.ndarray, b: np.ndarray) -> float:
        first = half_spectrum(b)
        second = first if a is b else half_spectrum(a)
        largest, total = float(self.gram.max()), 0.0
        for block in blocks(b.shape):
            products = (first[block] * second[block].conj()).real / (self.gram[block] / largest + PASSED)
            total += 2 * products.sum() - products[..., 0].sum()
            if b.shape[-1] % 2 == 0:
                total -= products[..., -1].sum()
        return float(total) / b.size


class SeenAndUnseen:
    """Predicted risk of most of the pixels measured, and the error of the others, which no solve of the search sees."""

    def __init__(self, problem: Problem, chain: Chain, rng: np.random.Generator):
        operator = problem.operator
        self.y, self.all = problem.y, operator.sampling
        kept = rng.random(operator.out_shape, dtype=np.float32) >= HELD_OUT
        self.seen: Any = Predicted(replace(problem, operator=operator.with_sampling(kept)), chain, rng)
        self.seen.note = self._error
        self.share = float(np.mean(operator.sampling))

    divergence = property(lambda self: self.seen.divergence)
    level = property(lambda self: self.seen.level)
    noticeable = property(lambda self: self.seen.noticeable)

    def measure(self, strength: float) -> tuple[Figures, float]:
        """Figures of the pixels seen, and the squared error of those held out."""
        return self.seen.measure(strength), self.seen.noted

    def propose(self, strength: float, figures: tuple[Figures, float]) -> float | None:
        """A better strength than the first one."""
        return self.seen.propose(strength, figures[0])

    def rank(self, tried: list[tuple[Figures, float]]) -> list[float]:
        """Both risks, each with its share of the pixels; both carry the same noise variance on top."""
        seen = self.seen.rank([figures for figures, _ in tried])
        return [self.share * r + (1 - self.share) * held for r, (_, held) in zip(seen, tried, strict=True)]

    def _error(self, image: np.ndarray) -> float:
        """Mean squared error of the pixels held out."""
        kept, total, count = self.seen.operator.sampling, 0.0, 0
        for block in blocks(image.shape):
            misfit = (image[block] - self.y[block])[self.all[block] & ~kept[block]]
            total, count = total + arrays.dot(misfit, misfit), count + misfit.size
        return total / max(count, 1)


def choose(problem: Problem, chain: Chain, criterion: str, rng: np.random.Generator) -> Choice:
    """The strength with the smallest predicted risk."""
    judge: Any = (SeenAndUnseen if criterion == "seen and unseen" else Predicted)(problem, chain, rng)
    power = arrays.dot(problem.y, problem.y) / measured_count(problem.operator, problem.y)
    strength, trials = minimise(
        judge.measure, judge.rank, chain.strength, enough=ENOUGH * power, propose=judge.propose,
        matters=lambda: judge.noticeable,
    )  # fmt: skip
    return Choice(strength, criterion, trials, judge.divergence, judge.level)
