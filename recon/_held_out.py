"""Risk by samples that the reconstruction was not shown: see :mod:`recon.selection`."""

from __future__ import annotations

import numpy as np

from recon._predicted import Figures, Predicted
from recon._search import FACTOR
from recon._selection_problem import Problem, background
from recon._warm import Settling, Warm
from solvers import arrays
from solvers.arrays import Array

HELD_OUT = 0.1  # fraction of the samples kept back
HELD_SETTLED = 0.02  # the same over the risk itself
NEARBY = 3.0  # width of the neighbourhood that a sample stands for, in samples
TINY = 1e-30


class HeldOut(Warm):
    """Prediction of samples that the reconstruction was not shown.

    Each stands for those around it that were not measured: in the middle of k-space, where nearly all are, for hardly
    any. Pixels count alike.
    """

    def __init__(self, problem: Problem, rng: np.random.Generator):
        operator = problem.operator
        measured = np.broadcast_to(True if operator.sampling is None else operator.sampling, operator.out_shape)
        back = measured & (rng.random(operator.out_shape) < HELD_OUT)
        weights = back * (1.0 if operator.selects else unseen_nearby(measured))
        self.back = arrays.asarray(weights**0.5, problem.y)
        alike = arrays.size(problem.y) // back.size * (2 if arrays.is_complex(problem.y) else 1)
        self.count = max(alike * float(weights.sum()), TINY)
        kept = operator.with_sampling(measured & ~back)
        super().__init__(problem, kept, problem.y * arrays.asarray(measured & ~back, problem.y), problem.x0)

    def measure(self, strength: float) -> float:
        settling = Settling(
            self._figures, lambda risk: (risk, max(self.noticed, HELD_SETTLED * self.problem.slack * risk)), self.pace
        )
        self.solve(strength, settling)
        return settling.result()

    def propose(self, strength: float, figures: float) -> float | None:
        """Fewer samples want a stronger prior."""
        return strength * FACTOR

    def _figures(self, image: Array) -> float:
        fit = self.problem.operator(image) + background(self.problem.noise)
        misfit = (fit - self.problem.y) * self.back
        return arrays.to_float(arrays.dot(misfit, misfit)) / self.count

    def rank(self, tried: list[float]) -> list[float]:
        return tried


def unseen_nearby(measured: np.ndarray) -> np.ndarray:
    """Samples not measured over samples measured, around each."""
    from scipy.ndimage import gaussian_filter

    share = gaussian_filter(measured.astype(np.float64), NEARBY, mode="nearest").clip(TINY, 1.0)
    return (1 - share) / share


class SeenAndUnseen:
    """Risk of all that the operator could measure: predicted for the samples seen, held-out for the others."""

    def __init__(self, problem: Problem, seen: Predicted, unseen: HeldOut):
        self.seen, self.unseen = seen, unseen
        self.share = float(np.mean(problem.operator.sampling))

    @property
    def noticeable(self) -> float:
        return self.seen.noticeable

    def propose(self, strength: float, figures: tuple[Figures, float]) -> float | None:
        return self.seen.propose(strength, figures[0])

    def measure(self, strength: float) -> tuple[Figures, float]:
        seen = self.seen.measure(strength)
        self.unseen.follow(self.seen)
        return seen, self.unseen.measure(strength)

    def rank(self, tried: list[tuple[Figures, float]]) -> list[float]:
        # Both estimates carry the same noise variance on top, so their weighted sum is the risk plus a constant.
        seen = self.seen.rank([figures for figures, _ in tried])
        return [self.share * r + (1 - self.share) * h for r, (_, h) in zip(seen, tried, strict=True)]
