"""Proximal gradient and primal-dual steps whose parameters a learned schedule sets.

    x, v  <- a step of FISTA:  step size, age of the momentum, relaxation beyond the proximal step
    x, p  <- a step of PDHG:   ratio of primal and dual step, relaxation

each parameter the classical one times a learned factor. What the schedule is told of a run are ratios that cost no call
of the operator: the curvature along the last extrapolation over that of the step, by how much image and dual variables
have moved over the ratio of their steps, the misfit, the last change and its angle to the one before. The relaxation,
with which FISTA becomes the optimised gradient method (Kim and Fessler 2016), is classically zero there. No factor can
spoil the answer: see :class:`solvers.Safeguarded`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from solvers.safeguard import Safeguarded

OF_RUN = ("done", "relative change", "contraction", "cosine")
FEATURES = {
    "proximal-gradient": ("curvature", "age", "misfit", "searched", *OF_RUN),
    "primal-dual": ("balance", "misfit", "exact", "by sums", *OF_RUN),
}
"""What the schedules of each kind of method are told."""
BOUNDS = {
    "proximal-gradient": {"pace": 0.6, "momentum": 0.6, "relaxation": 1.3},
    "primal-dual": {"pace": 0.7, "relaxation": 0.7},
}
"""Largest logarithms of factors; of FISTA, largest relaxation."""


@dataclass(frozen=True, eq=False)
class LearnedSteps:
    """Proposal for :class:`Safeguarded`: a step of the algorithm with learned parameters.

    Parameters
    ----------
    algorithm : Algorithm
        With ``led(state, k, factors)`` and ``features(state)``: :class:`FISTA`, :class:`PDHG`.
    schedule : callable
        Features to the parameters of ``led`` by name, such as a :class:`LearnedSchedule`; zeros are the classical step.
    """

    algorithm: Any
    schedule: Callable[[Mapping[str, float]], Mapping[str, Any]]

    def __call__(self, state: Any, k: int, run: Mapping[str, float]) -> Any:
        """The state after a learned step."""
        told = {**self.algorithm.features(state), **run, "done": math.log10(1 + k)}
        return self.algorithm.led(state, k, self.schedule(told))


def with_learned_steps(algorithm: Any, schedule: Any, **options: Any) -> Safeguarded:
    """An algorithm with learned steps, judged by what they tell at no cost: their objective, or their size.

    Parameters
    ----------
    algorithm : FISTA or PDHG
        The classical one.
    schedule : callable
        See :class:`LearnedSteps`.
    **options
        For :class:`Safeguarded`.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import NonNegative
    >>> from recon.operators import from_matrix
    >>> from solvers import PDHG, LeastSquares, unroll, with_learned_steps
    >>> plain = PDHG(LeastSquares(from_matrix(2 * np.eye(2)), np.array([1.0, -1.0])), NonNegative(), 1.0)
    >>> unroll(with_learned_steps(plain, lambda features: {"pace": 0.2}), np.zeros(2), 60).round(3)
    array([0.5, 0. ])
    """
    merit = "change" if hasattr(algorithm, "change") else "objective"
    return Safeguarded(algorithm, LearnedSteps(algorithm, schedule), merit, **options)
