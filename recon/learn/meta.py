"""Meta-learning for any torch module: weights, and learning rates, from which few gradient steps solve a new task.

A task is two losses, each a function of the model: one to adapt on, one to judge the adapted model by. Tasks are drawn
by a function of a random generator; MAML or Reptile learn from them.

>>> import torch
>>> from recon.learn import meta
>>> def lines(rng):  # a task: lines through the origin, each of its own slope
...     slope, x = float(rng.normal(3.0)), torch.linspace(-1, 1, 8)[:, None]
...     loss = lambda model: (model(x) - slope * x).square().mean()
...     return meta.Task(loss, loss)
>>> line = torch.nn.Linear(1, 1, bias=False)
>>> learned = meta.train(line, lines, meta.MAML(rate=0.5, meta_rate=0.1), steps=100)
>>> bool(abs(learned.module.weight - 3) < 1)  # the middle of all tasks
True
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from recon.files._atomic import check_target
from recon.learn import checkpoint as checkpoints
from recon.learn._inner_loop import Loss, trainable
from recon.learn._meta_methods import MAML, Method, Reptile, State, Task, followed
from recon.learn.checkpoint import Progress
from solvers.errors import ArgumentError, DTypeError
from solvers.validation import positive_float, positive_int

BETWEEN = 60.0
"""Seconds from one checkpoint to the next."""
LOOKS = 100
"""Entries of the history."""

Tasks: TypeAlias = Callable[[np.random.Generator], Task]

__all__ = ["MAML", "Learned", "Reptile", "Task", "adapt", "train"]


@dataclass(frozen=True)
class Learned:
    """What a meta-learning found."""

    module: nn.Module
    """A copy of the module given, with the weights found."""
    rates: dict[str, Tensor]
    """Inner learning rates, for each weight by name."""
    progress: Progress
    """Steps, seconds, and the loss on the way."""

    def adapt(self, loss: Loss, steps: int = 1) -> nn.Module:
        """The module after gradient steps on the loss of a new task; see :func:`adapt`."""
        return adapt(self.module, loss, steps, self.rates)


@dataclass(frozen=True)
class _Run:
    """What must not change when a training goes on."""

    method: Any
    rng: int


def train(
    module: nn.Module,
    tasks: Tasks,
    method: Method,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    rng: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[str], Any] | None = None,
) -> Learned:
    """Learn weights, and perhaps learning rates, from which a few gradient steps solve a task.

    Parameters
    ----------
    module : torch.nn.Module
        Where to start; it is not changed. Its device is where everything happens.
    tasks : callable
        ``tasks(rng) -> Task``, with a :class:`numpy.random.Generator`; the tasks of a step depend on ``rng`` and its
        number alone.
    method : MAML or Reptile
        How to learn.
    steps, minutes : int or float
        How long, over all runs; one of the two.
    rng : int
        Seed of the tasks, and of torch within a step.
    checkpoint : path, optional
        A ``.safetensors`` file that is written every minute; the same call after an interruption goes on from there, to
        the same bits where ``steps`` are given.
    progress : callable, optional
        Called with a line of text from time to time.

    Returns
    -------
    Learned
        A new module, the inner learning rates and the history.

    Raises
    ------
    ArgumentError
        Neither or both of ``steps`` and ``minutes``, a module without trainable weights, a task without a query loss.
    NonFiniteError
        A loss became infinite or NaN: the rate is too high.
    FileError
        The checkpoint is damaged, or of a training with other settings.
    """
    share_done = _budget(steps, minutes)
    seed = positive_int("rng", rng, minimum=0)
    path = None if checkpoint is None else check_target(Path(checkpoint))
    module, run = copy.deepcopy(module), _Run(method, seed)
    state = State.of(module, method.learn_rates)
    done = checkpoints.load(path, run, **state.groups()) if path and path.exists() else Progress()
    offset, due, losses = time.perf_counter() - done.seconds, done.seconds + BETWEEN, []
    try:
        while (fraction := share_done(done)) < 1:
            drawn = [_drawn(tasks, method, seed, done.steps, i) for i in range(method.batch)]
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(seed + done.steps)
                share = 0.5 * (1 + math.cos(math.pi * fraction))
                losses.append(method.update(module, state, drawn, share, done.steps))
            done.steps, done.seconds = done.steps + 1, time.perf_counter() - offset
            if int(LOOKS * share_done(done)) > int(LOOKS * fraction):
                done.history.append({"steps": done.steps, "loss": sum(losses) / len(losses)})
                losses = []
                if progress:
                    progress(f"{done.steps} steps, {done.seconds:.0f} s, loss {done.history[-1]['loss']:.4g}")
            if path and done.seconds >= due:
                checkpoints.save(path, run, done, **state.groups())
                due = done.seconds + BETWEEN
    finally:
        if path:
            checkpoints.save(path, run, done, **state.groups())
    rates = {name: method.rate * factor for name, factor in state.factors.items()}
    return Learned(_with(module, state.weights), rates, done)


def adapt(module: nn.Module, loss: Loss, steps: int = 1, rates: float | Mapping[str, Tensor] = 0.01) -> nn.Module:
    """A copy of a module after gradient steps on a loss; the module is not changed.

    Parameters
    ----------
    module : torch.nn.Module
        Where to start.
    loss : callable
        ``loss(model) -> scalar``; ``model`` is called like the module.
    steps : int
        Gradient steps.
    rates : float or mapping of str to Tensor
        Learning rate, or one for each weight by name: ``Learned.rates``.

    Examples
    --------
    >>> import torch
    >>> from recon.learn import meta
    >>> line = torch.nn.Linear(1, 1, bias=False)
    >>> found = meta.adapt(line, lambda model: (model(torch.ones(1)) - 2).square().sum(), steps=50, rates=0.25)
    >>> round(float(found.weight), 3)
    2.0
    """
    positive_int("steps", steps, minimum=0)
    weights = trainable(module)
    if not isinstance(rates, Mapping):
        rates = dict.fromkeys(weights, torch.tensor(positive_float("rates", rates)))
    missing = [name for name in weights if name not in rates]
    if missing:
        raise ArgumentError(f"rates lack {missing[0]!r}; expected one for each weight. Pass those of this module.")
    found, _ = followed(module, weights, loss, steps, rates)
    return _with(copy.deepcopy(module), found)


def _with(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """The module itself, its weights replaced."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name in weights:
                weight.copy_(weights[name])
    return module


def _drawn(tasks: Tasks, method: Method, seed: int, count: int, number: int) -> Task:
    if not callable(tasks):
        raise DTypeError(f"tasks is {type(tasks).__name__}; expected a function of a random generator. Pass one.")
    task = tasks(np.random.default_rng((seed, count, number)))
    if not isinstance(task, Task):
        raise DTypeError(f"tasks returned {type(task).__name__}; expected a recon.learn.meta.Task. Return one.")
    if task.query is None and not isinstance(method, Reptile):
        raise ArgumentError(
            "the task has no query loss, by which the adapted model is judged. Pass Task(support, query), or learn by "
            "Reptile."
        )
    return task


def _budget(steps: int | None, minutes: float | None) -> Callable[[Progress], float]:
    """How much of the training is done, as a share."""
    if (steps is None) == (minutes is None):
        raise ArgumentError(f"steps is {steps} and minutes is {minutes}; expected one of the two. Pass one.")
    if steps is not None:
        count = positive_int("steps", steps)
        return lambda done: done.steps / count
    seconds = 60 * positive_float("minutes", minutes)
    return lambda done: done.seconds / seconds
