"""Risk by samples that the reconstruction was not shown: see :mod:`recon.selection`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from recon._coil_noise import coil_axis, scanner_of
from recon._nonlinear import is_nonlinear
from recon._plug_and_play import share_measured
from recon._predicted import Figures, Predicted, as_if_seen_alike, expected_precision
from recon._selection_problem import Problem
from recon.noise import Poisson
from solvers import arrays
from solvers.arrays import Array

HELD_OUT = 0.1  # fraction of the samples kept back
MOST_FITTED = 0.5  # degrees of freedom over samples up to which the predicted risk alone is the better judge
HELD_SETTLED = 0.02  # change of their risk still to come, over that risk, at which a solve ends
STANDS = 0.25  # samples not measured over those measured around one, from which on it is held out where lines are
NEARBY = 3.0  # width of the neighbourhood that a sample stands for, in samples
TINY = 1e-30


class SeenAndUnseen(Predicted):
    """Risk of all that the operator could measure: predicted for the samples seen, held-out for the others.

    The samples held out (:func:`held_back`) are shown to no solve of the search. Each stands for those around it that
    were not measured: in the middle of k-space, where nearly all are, for hardly any. Pixels count alike. They count
    only where most of what is seen is fitted, as coils that see the same do not allow, or where risks are compared.
    """

    def __init__(self, problem: Problem, rng: np.random.Generator):
        operator, y = problem.operator, problem.y
        measured = np.broadcast_to(True if operator.sampling is None else operator.sampling, operator.out_shape)
        back = held_back(measured, operator, rng)
        self.seen = arrays.asarray(measured & ~back, y)
        self.nearby = not operator.selects  # a pixel held out comes back as a whole, and those around it follow slowly
        super().__init__(replace(problem, operator=operator.with_sampling(measured & ~back), y=y * self.seen), rng)
        picked = operator.selects and operator.sampling is None  # one colour of each pixel
        self.whole, self.share = problem, share_measured(operator) if picked else float(measured.mean())
        unseen = arrays.asarray(back * (1.0 if operator.selects else unseen_nearby(measured)), y)
        alike = arrays.size(y) // back.size * (2 if arrays.is_complex(y) else 1)
        self.unseen_count = max(alike * arrays.to_float(unseen.sum()), TINY)
        unseen = unseen * expected_precision(problem) if isinstance(problem.noise, Poisson) else unseen
        self.unseen = unseen**0.5
        alone = self.filter is None or is_nonlinear(operator)
        self.unseen_filter = None if alone else as_if_seen_alike(operator, y)

    def finished(self, strength: float) -> None:
        """None: the samples held out are missing from every solve."""

    def _figures(self, images: Array) -> Figures:
        misfit = self.misfit(self.whole, images[0])
        apart = self.unseen * misfit
        unseen = arrays.dot(apart, apart if self.unseen_filter is None else self.unseen_filter(apart))
        figures = self._judged(images, self.seen * misfit)
        return replace(figures, unseen=arrays.to_float(unseen) / self.unseen_count)

    def _risk(self, figures: Figures) -> tuple[float, float]:
        seen, noticed = super()._risk(figures)
        unseen = max(noticed, HELD_SETTLED * self.problem.slack * figures.unseen)
        return self._both(seen, figures), self.share * noticed + (1 - self.share) * unseen

    def rank(self, tried: list[Figures]) -> list[float]:
        risks = super().rank(tried)
        if self.problem.early and (self.divergence or 0.0) < MOST_FITTED:
            return risks
        self.best = None  # risks with held-out samples are comparable as they are
        return [self._both(risk, figures) for risk, figures in zip(risks, tried, strict=True)]

    def _both(self, seen: float, figures: Figures) -> float:
        # Both estimates carry the same noise variance on top, so their weighted sum is the risk plus a constant.
        return self.share * seen + (1 - self.share) * figures.unseen


def held_back(measured: np.ndarray, operator: Any, rng: np.random.Generator) -> np.ndarray:
    """The samples to hold out: single ones; of several coils those of all coils at once, and whole lines of a pattern.

    What one coil lacks the others tell, and a gap in a line its neighbours: such samples say nothing of lines that were
    never measured. Lines stay that have hardly any such line near them, as in the middle of k-space.
    """
    scanner = scanner_of(operator)
    if scanner is None or measured.all():
        return measured & (rng.random(measured.shape) < HELD_OUT)
    coils = coil_axis(scanner)
    lines = [axis for axis in range(coils + 1, 0) if (measured == measured.take([0], axis)).all()]
    stands = measured & (unseen_nearby(measured) > STANDS)
    lots = stands.any((coils, *lines), keepdims=True)
    drawn = np.where(lots, rng.random(lots.shape), 1.0)
    return stands & (drawn <= max(HELD_OUT, float(drawn.min())))


def unseen_nearby(measured: np.ndarray) -> np.ndarray:
    """Samples not measured over samples measured, around each."""
    from scipy.ndimage import gaussian_filter

    share = gaussian_filter(measured.astype(np.float64), NEARBY, mode="nearest").clip(TINY, 1.0)
    return (1 - share) / share
