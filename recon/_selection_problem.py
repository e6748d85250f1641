"""What a search of the strength is given, and what it finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recon._nonlinear import is_nonlinear
from recon._search import FACTOR, Trial
from recon.noise import Poisson
from solvers import arrays
from solvers.arrays import Array

USUAL_TOL = 5e-3  # of the solves of a search
OF_FRAMES = 0.01  # their risk falls for long by little: judged as usual, up to 0.9 dB was lost (benchmarks.frames)
COMPARED_TOL = 1e-3  # the same where risks of different priors are to be compared


@dataclass(frozen=True)
class Choice:
    """A strength and how it was found."""

    strength: float
    criterion: str
    trials: tuple[Trial, ...] = ()
    divergence: float | None = None  # effective degrees of freedom over measurements, at the strength chosen
    level: float | None = None  # noise level by the residual at the smallest GCV
    warm: Any = field(default=None, repr=False)  # algorithm -> state: a start from the last solve of the search
    finished: Any = field(default=None, repr=False)  # strength -> Solution of the search that is final, or None
    risk: float = math.inf  # the smallest of the trials, by what was judged last
    figures: Any = field(default=None, repr=False)  # behind the risk, where it took the noise level from the residual
    rivals: tuple[Rival, ...] = ()  # every prior that was compared, or balance of its weights
    chosen: str = ""  # the balance chosen
    unsettled: tuple[float, ...] = ()  # strengths at which the solver had not settled
    nearby: bool = True  # whether the start is near the solution of the whole problem
    pace: int = 0  # steps of the first solve of the search


@dataclass(frozen=True)
class Rival:
    """A prior that was compared with others, at its best strength."""

    prior: str
    strength: float
    risk: float


@dataclass(frozen=True)
class Problem:
    """What is solved at each strength: everything but the strength."""

    operator: Any
    y: Array
    noise: Any  # Gaussian or Poisson
    sigma_known: bool
    build: Callable[[Any, Array, float], Any]  # (operator, y, strength) -> algorithm
    x0: Array
    max_iter: int
    tol: float
    patience: int = 1  # looks that must find a solve converged
    spacing: float = FACTOR  # between the strengths tried; 1 tries the first alone
    early: bool = True  # whether a solve may end when its risk has settled, before the image has
    race: bool = True  # whether a strength that will not be the best is followed no further

    @property
    def slack(self) -> float:
        """How much of the usual inaccuracy of the search a tolerance allows."""
        usual = OF_FRAMES if getattr(self.operator, "frames", False) else 1.0
        return usual * min(self.tol / USUAL_TOL, 1.0) if self.early else 0.0


def background(noise: Any) -> float:
    """What is expected beside the image."""
    return noise.background if isinstance(noise, Poisson) else 0.0


def measured_count(operator: Any, y: Array) -> int:
    """Number of real numbers measured."""
    sampled = arrays.size(y)
    if operator.sampling is not None:
        sampled = int(np.broadcast_to(operator.sampling, tuple(y.shape)).sum())
    elif is_nonlinear(operator) and (telling := operator.informative(y)) is not None:
        sampled = max(int(telling.sum()), 1)
    return sampled * (2 if arrays.is_complex(y) else 1)
