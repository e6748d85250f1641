"""A denoiser that teaches another one: its answers are part of what is learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from priors import _precision
from priors.networks import UNet
from solvers.plug_and_play import in_position

WHOLE = 0.4
"""Share of the training after which the teacher's share begins to fall: by then its pupil has nearly caught up."""
POSITIONS = 8


@dataclass(frozen=True)
class Teacher:
    """A network whose answers stand for part of the truth.

    What a network says of an image that is turned or mirrored differs by errors of its own: a fiftieth of the squared
    error of a small network. Shown patches in a position that changes from step to step, a teacher hands on the mean
    over all of them, and a pupil's gradients are far less noisy than by the truth, which no denoiser can tell from the
    noisy patch: it learns in one hour what it otherwise would in many. From the rest of the truth it learns what the
    teacher does not know.

    Parameters
    ----------
    network : UNet
        The teacher.
    shares : (float, float)
        Share of its answers in what is learned, at first and in the end.

    References
    ----------
    G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015.
    """

    network: UNet
    shares: tuple[float, float]

    def share(self, fraction: float) -> float:
        """Share of the answers after a fraction of the training."""
        first, last = self.shares
        return first + (last - first) * min(max((fraction - WHOLE) / (1 - WHOLE), 0.0), 1.0)

    @torch.no_grad()
    def target(self, clean: Tensor, noisy: Tensor, sigma: Tensor, count: int, fraction: float) -> Tensor:
        """What is to be learned in step ``count``."""
        share = self.share(fraction)
        if not share > 0:
            return clean
        return torch.lerp(clean, in_position(lambda v: v - self._noise(v, sigma), noisy, count % POSITIONS), share)

    def _noise(self, v: Tensor, sigma: Tensor) -> Tensor:
        v = v.contiguous(memory_format=torch.channels_last)
        return _precision.network(self.network, "bfloat16", v, sigma).network.noise(v, sigma)
