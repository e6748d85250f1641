"""When a learned schedule is to end: what more steps gain, told beforehand.

A schedule is rehearsed on problems with their truth. Before each step the run is also ended there, by a last step, so
that what going on is worth is known: the PSNR at the end less that of the run that was ended, less a price for each
further step. A small network learns from the features where that is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from recon.learn.lessons import Exercise, Runner
from recon.learn.schedule_network import ScheduleNetwork, squares
from solvers import LearnedSchedule
from solvers.learned_plug_and_play import FEATURES, LEAST_STEPS, STOP

PRICE = 0.01
"""Decibels that a step is worth."""
MOST = 0.2
"""Decibels beyond which a loss is no worse."""
CAREFUL = 3.0
"""Weight of what is lost by ending, over that of what is saved."""
CERTAIN = 0.9
"""What the network is to say where a run should end, and its negative where not."""
WIDTH = 12
ROUNDS = 300
RATE = 0.02
DECAY = 2e-3
SHAKEN = 0.3
"""Standard deviation of what is added to the features, over theirs."""


@dataclass(frozen=True)
class Rehearsal:
    """What ending is worth, as a table with a row for each step of each run that may be the last one."""

    features: np.ndarray  # (rows, FEATURES)
    worth: np.ndarray  # (rows,): of ending there, in dB

    def __add__(self, other: Rehearsal) -> Rehearsal:
        pairs = ((self.features, other.features), (self.worth, other.worth))
        return Rehearsal(*(np.concatenate(pair) for pair in pairs))


def rehearsed(schedule: LearnedSchedule, exercises: Sequence[Exercise], length: int, denoiser: str) -> Rehearsal:
    """What ending a run of ``length`` steps earlier is worth, step by step."""
    runner, features, ended = Runner(exercises, length, denoiser), [], []
    with torch.no_grad():
        states = runner.begun()
        for k in range(length):
            noting = [_Noting(schedule) for _ in exercises]
            following = runner.stepped(states, noting, k)
            if LEAST_STEPS - 1 <= k < length - 1:
                features.append([note.seen for note in noting])
                ended.append(runner.psnr(runner.stepped(states, [_ending(schedule)] * len(states), k)))
            states = following
        last = runner.psnr(states)
    saved = PRICE * (length - torch.arange(LEAST_STEPS, length))[:, None]
    worth = torch.stack(ended) - last + saved
    return Rehearsal(np.array(features).reshape(-1, len(FEATURES)), worth.double().numpy().ravel())


def with_stop(schedule: LearnedSchedule, found: Rehearsal, seed: int = 0) -> LearnedSchedule:
    """The schedule that also says when to end."""
    start = LearnedSchedule.untrained(schedule.inputs, STOP, widths=(WIDTH,) * (len(schedule.layers) - 1), rng=seed)
    network = ScheduleNetwork(replace(start, mean=schedule.mean, scale=schedule.scale, seen=schedule.seen))
    counts = np.minimum(abs(found.worth), MOST) * np.where(found.worth < 0, CAREFUL, 1.0)
    table = found.features, CERTAIN * np.sign(found.worth), counts / max(counts.mean(), 1e-12)
    given, wanted, counts = map(torch.from_numpy, table)
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, ROUNDS)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(ROUNDS):
        optimiser.zero_grad()
        noise = torch.randn(given.shape, generator=generator, dtype=given.dtype)
        said = network.table(given + SHAKEN * network.scale * noise)[:, 0]
        loss = (counts * (said - wanted).square()).mean()
        (loss + DECAY * squares(network)).backward()
        optimiser.step()
        falling.step()
    return beside(schedule, network.schedule())


def beside(first: LearnedSchedule, second: LearnedSchedule) -> LearnedSchedule:
    """One network of two that see the same: each layer holds both."""
    layers = []
    for i, ((a, p), (b, q)) in enumerate(zip(first.layers, second.layers, strict=True)):
        weight = np.concatenate([a, b]) if i == 0 else _diagonal(a, b)
        layers.append((weight, np.concatenate([p, q])))
    bound = np.concatenate([first.bound, second.bound])
    return replace(first, outputs=first.outputs + second.outputs, bound=bound, layers=tuple(layers))


def _diagonal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.block([[a, np.zeros((len(a), b.shape[1]))], [np.zeros((len(b), a.shape[1])), b]])


class _Noting:
    """A schedule that goes on and writes down the features."""

    def __init__(self, schedule: Callable[[Mapping[str, float]], Mapping[str, Any]]) -> None:
        self.schedule, self.seen = schedule, [0.0] * len(FEATURES)

    def __call__(self, features: Mapping[str, float]) -> dict[str, Any]:
        self.seen = [features[name] for name in FEATURES]
        return {**self.schedule(features), "stop": 0.0}


def _ending(schedule: Callable[[Mapping[str, float]], Mapping[str, Any]]) -> Callable[[Mapping[str, float]], Any]:
    """The schedule that ends at once."""
    return lambda features: {**schedule(features), "stop": 1.0}
