"""How plug-and-play restoration of nonlinear measurements is set up."""

from __future__ import annotations

from typing import Any

from recon._plug_and_play import measured_noise
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

        likelihood = data.y is None or isinstance(self.noise, Poisson)
        level = 1.0 if likelihood else measured_noise(data.y, self.noise)
        return NonlinearDPIR(data, prior, strength, noise=level, length=STEPS)
