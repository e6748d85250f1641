"""Where restoration takes learned steps, and how it is set up."""

from __future__ import annotations

from typing import Any

from recon._plug_and_play import measured_noise, typical_gain
from recon.noise import Gaussian


class BuildLearnedDPIR:
    """``(data, prior, strength) -> LearnedDPIR`` whose last classical level is what the data leave in the image."""

    def __init__(self, noise: Gaussian, schedule: Any, length: int = 8):
        self.noise, self.schedule, self.length = noise, schedule, length

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        from solvers import LearnedDPIR

        if data.y is None:
            return LearnedDPIR(data, prior, strength, schedule=self.schedule)
        noise = measured_noise(data.y, self.noise)
        level = noise / typical_gain(data.operator)
        return LearnedDPIR(data, prior, strength, level, self.length, noise, self.schedule)
