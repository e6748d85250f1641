"""How plug-and-play restoration of nonlinear measurements is set up."""

from __future__ import annotations

from typing import Any

from recon._plug_and_play import between_steps, denoiser_of, measured_noise
from recon.noise import Poisson

STEPS = 8


class BuildNonlinearDPIR:
    """``(data, prior, strength) -> NonlinearDPIR`` that knows the noise of the data."""

    def __init__(self, noise: Any):
        self.noise = noise

    def at(self, noise: Any) -> BuildNonlinearDPIR:
        """The same for another noise."""
        return BuildNonlinearDPIR(noise)

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        from solvers import NonlinearDPIR

        return NonlinearDPIR(data, prior, strength, noise=_level(data, self.noise), length=STEPS)


class BuildLearnedNonlinearDPIR:
    """``(data, prior, strength) -> LearnedNonlinearDPIR`` that knows the noise of the data."""

    def __init__(self, noise: Any, schedule: Any = None, length: int = STEPS):
        self.noise, self.schedule, self.length = noise, schedule, length

    def at(self, noise: Any) -> BuildLearnedNonlinearDPIR:
        """The same for another noise."""
        return BuildLearnedNonlinearDPIR(noise, self.schedule, self.length)

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        from priors import Denoiser
        from solvers import LearnedNonlinearDPIR, LearnedSchedule

        schedule = self.schedule or LearnedSchedule.load("plug-and-play")
        own = prior is not None and isinstance(getattr(denoiser_of(prior), "denoiser", None), Denoiser)
        level = _level(data, self.noise)
        between = between_steps(prior)
        return LearnedNonlinearDPIR(data, prior, strength, level, self.length, schedule, turns=own, between=between)


def _level(data: Any, noise: Any) -> float:
    """Noise of the data; 1 for a likelihood."""
    return 1.0 if data.y is None or isinstance(noise, Poisson) else measured_noise(data.y, noise)
