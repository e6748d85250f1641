"""Two plug-and-play restorations, the second one from the answer of the first, and the mean of both.

Denoisers that know different things err differently: a network what patches of photographs look like, groups of similar
patches what this image repeats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from solvers.arrays import Array
from solvers.plug_and_play import DPIR, DPIRState
from solvers.regularised import Regularised


@dataclass(frozen=True, slots=True)
class MeanOfTwoState:
    """State of :class:`MeanOfTwo`."""

    x: Array  # image: that of the restoration that runs, at the end the mean of both
    start: Array  # where the first one began
    run: DPIRState  # of the restoration that runs
    answer: Array | None  # of the first one, once it is done


@dataclass(frozen=True, eq=False)
class MeanOfTwo(Regularised):
    """The mean of two restorations, one after the other; data, prior and strength are those of the first.

    Parameters
    ----------
    data, prior, strength
        See :class:`DPIR`.
    first, second : DPIR
        The restorations.
    """

    first: DPIR
    second: DPIR

    @property
    def length(self) -> int:
        """Number of steps."""
        return self.first.length + self.second.length

    def at(self, strength: float) -> Self:
        other = super().at(strength)
        object.__setattr__(other, "first", self.first.at(strength))
        object.__setattr__(other, "second", self.second.at(strength))
        return other

    def init(self, x0: Array) -> MeanOfTwoState:
        return MeanOfTwoState(x0, x0, self.first.init(x0), None)

    def restart(self, state: MeanOfTwoState, strength: float, item: int | None = None) -> MeanOfTwoState:
        """Begin afresh, from the same start."""
        return self.init(state.start if item is None else state.start[item])

    def step(self, state: MeanOfTwoState, k: int) -> MeanOfTwoState:
        if k < self.first.length:
            run = self.first.step(state.run, k)
            return MeanOfTwoState(run.x, state.start, run, run.x)
        before = self.second.init(state.run.x) if k == self.first.length else state.run
        run = self.second.step(before, k - self.first.length)
        x: Any = run.x if k < self.length - 1 else 0.5 * (run.x + state.answer)
        return MeanOfTwoState(x, state.start, run, state.answer)


@dataclass(frozen=True, eq=False)
class GuidedDPIR(DPIR):
    """:class:`DPIR` whose denoiser is also shown the image that explains the data, ``D(v, sigma, fit)``.

    The dual variable exaggerates what the denoiser takes off; patches are compared without it.
    """

    def _denoised(self, fit: Array, dual: Array | None, variance: float, k: int) -> Array:
        return self.prior.denoiser(fit if dual is None else fit + dual, math.sqrt(variance), fit)
