"""The torch twin of a learned schedule, for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from solvers.learned_schedule import LearnedSchedule


class ScheduleNetwork(nn.Module):
    """:class:`solvers.LearnedSchedule` with parameters that take gradients, in double precision.

    Parameters
    ----------
    schedule : LearnedSchedule
        Where the training starts; the normalisation and the bounds stay as they are.
    """

    def __init__(self, schedule: LearnedSchedule) -> None:
        super().__init__()
        self.start = schedule
        self.weights = nn.ParameterList([torch.from_numpy(weight.copy()) for weight, _ in schedule.layers])
        self.biases = nn.ParameterList([torch.from_numpy(bias.copy()) for _, bias in schedule.layers])
        self.mean, self.scale, self.bound = (
            torch.from_numpy(values.copy()) for values in (schedule.mean, schedule.scale, schedule.bound)
        )

    def forward(self, features: Mapping[str, float | Tensor]) -> dict[str, Tensor]:
        """Log-factors by name, each a tensor without axes."""
        given = [torch.as_tensor(features[name], dtype=torch.float64) for name in self.start.inputs]
        out = self.table(torch.stack(given)) * self.start.trust(
            {name: float(value) for name, value in features.items()}
        )
        return dict(zip(self.start.outputs, out.unbind(), strict=True))

    def table(self, features: Tensor) -> Tensor:
        """Log-factors ``(..., outputs)`` of features ``(..., inputs)``."""
        x = ((features - self.mean) / self.scale).clamp(-self.start.seen, self.start.seen)
        *hidden, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in hidden:
            x = torch.tanh(functional.linear(x, weight, bias))
        return self.bound * torch.tanh(functional.linear(x, *last))

    def schedule(self, card: Mapping[str, Any] | None = None) -> LearnedSchedule:
        """What was learned, for use without torch."""
        pairs = zip(self.weights, self.biases, strict=True)
        layers = tuple((weight.detach().numpy().copy(), bias.detach().numpy().copy()) for weight, bias in pairs)
        return replace(self.start, layers=layers, card=dict(card or self.start.card))


def squares(network: ScheduleNetwork) -> Tensor:
    """Sum of all squared weights."""
    return torch.stack([weight.square().sum() for weight in network.weights]).sum()
