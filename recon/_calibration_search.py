"""The search for what suits one instrument, on simulated measurements."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from recon.calibration import Calibration

LENGTHS = (8, 16, 24, 32, 48)
"""Numbers of steps to choose from."""
FIRST_MOVES = (4.0, 2.0)
"""Factors by which weight and level are tried first; their roots are later ones."""
FINEST = 1.1
ENOUGH = 0.05
"""Gain in dB for which half as many steps again are not too many."""


@dataclass(frozen=True)
class Scan:
    """A simulated measurement and what it is of."""

    truth: np.ndarray
    operator: Any
    y: np.ndarray
    sigma: float  # noise of the measurement

    @classmethod
    def of(cls, operator: Any, truth: np.ndarray, level: float, rng: np.random.Generator) -> Scan:
        """The measurement with a noise level that is relative to it."""
        from recon.bench.problems import noisy

        clean = operator(truth)
        sigma = level * float(np.linalg.norm(clean)) / math.sqrt(clean.size)
        return cls(truth, operator, noisy(clean, operator, sigma, int(rng.integers(2**31))), sigma)

    def psnr(self, calibration: Calibration) -> float:
        """Of what :func:`recon.reconstruct` returns, over the range of the truth."""
        from recon import reconstruct

        start = self._start if calibration.changes else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of calibrations that will not be kept
            image = reconstruct(self.y, self.operator, noise=self.sigma, calibration=calibration, x0=start)
        error = float(np.mean(np.abs(image - self.truth) ** 2))
        return 10 * math.log10(float(np.ptp(np.abs(self.truth))) ** 2 / max(error, 1e-30))

    @cached_property
    def _start(self) -> np.ndarray:
        """The classical image that all calibrations start from: half of the work."""
        from recon._learned_steps import classical_start

        return classical_start(self.operator, self.y, self.sigma, tol=None)


def mean_psnr(calibration: Calibration, scans: Sequence[Scan]) -> float:
    """Over the scans."""
    return float(np.mean([scan.psnr(calibration) for scan in scans]))


def search(start: Calibration, scans: Sequence[Scan], deadline: float) -> Calibration:
    """Pattern search over weight, level and number of steps, in finer and finer moves, until the time is up."""
    began = time.perf_counter()
    best, value = start, mean_psnr(start, scans)
    slowest = time.perf_counter() - began

    def tried(candidate: Calibration, least: float = 0.0) -> bool:
        nonlocal best, value, slowest
        begin = time.perf_counter()
        if begin + slowest > deadline:
            return False
        found = mean_psnr(candidate, scans)
        slowest = max(slowest, time.perf_counter() - begin)
        if found > value + least:
            best, value = candidate, found
            return True
        return False

    moves = FIRST_MOVES
    while max(moves) > FINEST and time.perf_counter() + slowest < deadline:
        improved = False
        for name, factor in product(("weight", "level"), (-1, 1)):
            move = moves[0] if name == "weight" else moves[1]
            while tried(replace(best, **{name: getattr(best, name) * move**factor})):
                improved = True
        for length in LENGTHS:
            if length > (best.length or 0):
                improved |= tried(replace(best, length=length), ENOUGH)
        moves = moves if improved else (moves[0] ** 0.5, moves[1] ** 0.5)
    return best
