"""The predicted risk, and the search that makes it small.

One number judges every choice: an unbiased estimate of how wrong the reconstruction is. With m measurements, their
noise level sigma, and the divergence ``div`` of ``y -> A x(y)``,

    SURE      |A x - y|^2 / m + 2 sigma^2 div / m              where sigma is known (Stein 1981)
    GCV       |A x - y|^2 / m / (1 - div / m)^2                where it is not (Golub, Heath and Wahba 1979)
    held-out  |A' x' - y'|^2 / m'                              where it picks samples: y' are kept back from x'

``div = b . (A x(y + eps b) - A x(y)) / eps`` for one random sign vector b (Ramani, Blu and Unser 2008): the probe is
solved beside the measurement, as a batch of two. Poisson counts use the form with ``sigma^2 = y``.

SURE and GCV judge the predicted measurement. Where ``A`` is a convolution they are carried over to the image: products
are weighted by ``(A A^H / |A|^2 + PASSED)^-1``, so that every frequency which the operator passes counts alike (after
Eldar 2009); the noise level is then that of the residual at the smallest GCV. Where the operator picks samples, the
risk is that of the samples seen (predicted) and of those not seen (held out), each with its share. Samples of k-space
that are held out count by how many around them were not measured: what is missing is not like what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recon._held_out import SeenAndUnseen
from recon._plug_and_play import is_partial
from recon._predicted import Predicted, gcv, level_of
from recon._search import Trial, minimise
from recon._selection_problem import Choice, Problem, measured_count
from recon._warm import Warm
from recon.noise import Poisson
from solvers import arrays

ENOUGH = 1e-7  # risk over the power of the measurement (70 dB below it) that need not become smaller


def choose_strength(problem: Problem, start: float, criterion: str, rng: np.random.Generator) -> Choice:
    """Find the strength with the smallest predicted risk.

    Parameters
    ----------
    problem : Problem
        What to solve.
    start : float
        First strength; the search is bracketed from there.
    criterion : str
        How a strength is judged: "sure", "gcv", "seen and unseen" (the predicted risk of the samples seen and the
        error of others that are held out, each with its share), or one of :mod:`recon._criteria`.
    rng : numpy.random.Generator
        Source of the probe and of the samples held out.
    """
    from recon import _criteria

    if criterion in ("discrepancy", "l-curve"):
        seeker = (_criteria.Discrepancy if criterion == "discrepancy" else _criteria.LCurve)(problem)
        strength, trials = seeker.choose(start)
        return _chosen(strength, criterion, trials, seeker)
    judges: dict[str, Callable[[], Any]] = {
        "seen and unseen": lambda: SeenAndUnseen(problem, rng),
        "whiteness": lambda: _criteria.Whiteness(problem),
    }
    judge = judges.get(criterion, lambda: Predicted(problem, rng))()
    strength, trials = _searched(problem, judge, start)
    return _chosen(strength, criterion, trials, judge)


def common_risks(choices: Sequence[Choice]) -> list[float]:
    """Risks that can be compared: where each took the noise level from its own residual, with that of the best one."""
    figures = [choice.figures for choice in choices]
    if any(f is None for f in figures):
        return [choice.risk for choice in choices]
    variance = level_of(min(figures, key=gcv)) ** 2
    return [f.image_residual + 2 * variance * f.image_divergence for f in figures]


def _chosen(strength: float, criterion: str, trials: tuple[Trial, ...], judge: Warm) -> Choice:
    risk = min(trial.risk for trial in trials)
    return Choice(
        strength, criterion, trials, judge.divergence, judge.level, judge.warm, judge.finished, risk, judge.best,
        nearby=judge.nearby, pace=judge.pace, unsettled=tuple(judge.unsettled),
    )  # fmt: skip


def _searched(problem: Problem, judge: Any, start: float) -> tuple[float, tuple[Trial, ...]]:
    power = arrays.to_float(arrays.dot(problem.y, problem.y)) / measured_count(problem.operator, problem.y)
    return minimise(
        judge.measure, judge.rank, start, enough=ENOUGH * power, propose=judge.propose,
        matters=lambda: judge.noticeable, spacing=problem.spacing,
    )  # fmt: skip


def natural_criterion(operator: Any, noise: Any, sigma_known: bool) -> str:
    """The criterion that suits how the operator measures.

    Predicted risk where it mixes the whole image, also held-out samples where it picks some: of pixels, of k-space.
    """
    predicted = "sure" if sigma_known or isinstance(noise, Poisson) else "gcv"
    return "seen and unseen" if is_partial(operator) else predicted
