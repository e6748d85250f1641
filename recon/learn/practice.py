"""Practice: the whole runs of a schedule, improved by the gradient of what they miss beside classical ones.

Lessons say what is best on each problem by itself; a schedule that imitates them says their mean, and is off where
problems look alike but want different steps. In practice the schedule sets the steps of problems that are drawn once,
and its weights follow the gradient of its own loss: the decibels it is under the best of some classical runs, which
were chosen with the truth. Where it is far under they count in full, where it is better a third, so that it learns to
fail nowhere before it learns to excel. What comes out suits the families that were practised on and may fail on others;
the mean of the weights before and after is as good on the former and far better on the latter (of training images, in
families left out: blur 0.15 dB over the classical runs before practice, 0.02 under them after it, 0.31 over half-way).

References
----------
Weights half-way of a refinement: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from priors import Denoiser, PlugAndPlay
from recon._first_guess import first_guess
from recon.learn.lessons import Exercise, Runner
from recon.learn.schedule_network import ScheduleNetwork, squares
from solvers import LearnedSchedule, unroll
from solvers.learned_plug_and_play import FIRST

RUNS = ((4, 1.0), (4, 0.25), (12, 1.0), (24, 0.25))
"""Steps and factors of the weight of the classical runs, from either start."""
LENGTHS = (8, 8, 4)
"""Steps of the runs, in turn."""
RATE = 0.01
DECAY = 1e-4
LONGEST = 1.0
"""Norm beyond which gradients are shortened."""
HALF_WAY = 0.5
"""Share of the way from the weights before to those after practice."""
NEAR, SOFT, AHEAD = 0.1, 0.15, 0.3
"""Decibels under the classical run from which they count in full, over how many that begins, and how much before."""


def practised(
    schedule: LearnedSchedule,
    exercises: Sequence[Exercise],
    references: Sequence[float],
    steps: int,
    *,
    denoiser: str,
    batch: int,
    chances: Sequence[float] | None = None,
    seed: int = 0,
    progress: Callable[[str], Any] = lambda text: None,
) -> LearnedSchedule:
    """The schedule half-way through practice of so many gradient steps, on a random batch of the exercises each.

    Parameters
    ----------
    schedule : LearnedSchedule
        Where practice begins.
    exercises : sequence of Exercise
    references : sequence of float
        PSNR in dB of the best classical run of each; see :func:`reference`.
    steps : int
        Gradient steps.
    denoiser : str
        Name of the denoiser.
    batch, seed : int
        Exercises of a step, and what draws them.
    chances : sequence of float, optional
        How often each is drawn, relative to the others; None is alike.
    progress : callable
        Called with a line of text from time to time.
    """
    network = ScheduleNetwork(schedule)
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    goal, rng = torch.tensor(references, dtype=torch.float64), np.random.default_rng(3 + seed)
    shares = None if chances is None else np.array(chances) / sum(chances)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.5 * RATE * (1 + math.cos(math.pi * step / steps))
        chosen = rng.choice(len(exercises), min(batch, len(exercises)), replace=False, p=shares)
        under = goal[chosen] - _psnr(network, [exercises[i] for i in chosen], LENGTHS[step % len(LENGTHS)], denoiser)
        under = under[torch.isfinite(under)]
        optimiser.zero_grad()
        (missed(under).mean() + DECAY * squares(network)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LONGEST)
        optimiser.step()
        if step % 20 == 19:
            progress(f"practice, step {step + 1}: {float(under.detach().mean()):+.2f} dB under classical runs")
    return between(schedule, network.schedule())


def between(first: LearnedSchedule, last: LearnedSchedule, share: float = HALF_WAY) -> LearnedSchedule:
    """Schedule of one form with weights that are a share of the way from one to the other."""
    pairs = zip(first.layers, last.layers, strict=True)
    layers = tuple((_along(w, x, share), _along(b, c, share)) for (w, b), (x, c) in pairs)
    return replace(first, layers=layers)


def _along(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    return (1 - share) * first + share * last


def missed(under: Tensor) -> Tensor:
    """What decibels under the classical run cost."""
    return SOFT * functional.softplus((under - NEAR) / SOFT) + AHEAD * under.clamp(-1, 1)


def reference(exercise: Exercise) -> float:
    """PSNR in dB of the best of some classical runs, chosen with the truth."""
    found, prior = [], PlugAndPlay(Denoiser())
    guess, start = first_guess(exercise.operator, exercise.y), exercise.start.numpy()
    for length, factor in RUNS:
        for x0, first in ((guess, None), (start, FIRST)):
            algorithm = exercise.classical(prior, factor, length, first)
            found.append(float(exercise.psnr(torch.from_numpy(np.array(unroll(algorithm, x0, length))))))
    return max(found)


def _psnr(network: ScheduleNetwork, exercises: Sequence[Exercise], length: int, denoiser: str) -> Tensor:
    """PSNR of what the network's runs end with."""
    runner = Runner(exercises, length, denoiser, half=True)
    states = runner.begun()
    for k in range(length):
        states = runner.stepped(states, [network] * len(exercises), k)
    return runner.psnr(states).double()
