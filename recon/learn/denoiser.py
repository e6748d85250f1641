"""Training of a denoiser: one function, told how many minutes it has."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from priors import weights
from priors.networks import start_from
from recon.files import replacing
from recon.files._atomic import check_target
from recon.learn import report
from recon.learn.checkpoint import Progress
from recon.learn.images import Collection, Source, collect
from recon.learn.settings import Settings
from recon.learn.trainer import Trainer
from recon.learn.validation import validate
from solvers.errors import ArgumentError
from solvers.validation import positive_float

FINE = Settings(batch=8, patch=128, learning_rate=2e-4)
"""How a denoiser is refined that is already a good one: larger patches, smaller steps."""
BETWEEN = 120.0
"""Seconds from one validation and checkpoint to the next; a fiftieth of the training where that is less."""

REVIVED = 0.5
"""Share of the training in which features that die are given fresh weights: later they have no time to learn."""


def train_denoiser(
    data: Sequence[Source],
    out: str | os.PathLike[str],
    *,
    minutes: float,
    settings: Settings | None = None,
    start: str | None = None,
    leg: float | None = None,
    device: str | None = None,
    progress: Callable[[str], Any] | None = None,
) -> Progress:
    """Train a denoiser on folders of images and write its weights, model card and validation curve.

    A checkpoint is written beside ``out`` every two minutes; the same call after an interruption goes on from there.

    Parameters
    ----------
    data : sequence of Source
        Folders of images and how often each is drawn from.
    out : path
        The ``.safetensors`` file to write; ``.md``, ``.png`` and ``.checkpoint.safetensors`` stand beside it.
    minutes : float
        Training time, over all runs; the learning rate falls to zero by then.
    settings : Settings, optional
        The network and how it is trained; by default smaller steps and the given network with ``start``.
    start : str, optional
        Name or path of the weights to start from; layers whose shapes differ start afresh.
    leg : float, optional
        Minutes after which this run stops, to be continued by the same call.
    device : str, optional
        For torch; by default a CUDA device where there is one.
    progress : callable, optional
        Called with a line of text from time to time.

    Returns
    -------
    Progress
        Steps, seconds and the history of the validation.
    """
    given = None if start is None else weights.read(start)
    settings = settings or (Settings() if given is None else replace(FINE, **given.architecture))
    out, budget = target(out), 60 * positive_float("minutes", minutes)
    leg_seconds = math.inf if leg is None else 60 * positive_float("leg", leg)
    say = progress or (lambda text: None)
    trainer = Trainer(settings, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if given is not None:
        left = start_from(trainer.network, given.tensors)
        trainer.start_mean()
        say(f"starts from {start}" + (f"; afresh: {', '.join(left)}" if left else ""))
    state = trainer.resume(_beside(out, ".checkpoint.safetensors"))
    if state.steps:
        say(f"goes on at {state.seconds / 60:.1f} of {minutes:g} minutes, {state.steps} steps")
    images = collect(data, settings.channels, settings.patch, settings.validation)
    _run(trainer, images, state, budget, min(budget, state.seconds + leg_seconds), out, say)
    before = report.trainings(None if given is None else given.card)
    facts = report.facts(settings, state, data, start, trainer.device, minutes) | {"before": before}
    with replacing(out) as temporary:
        weights.write(temporary, weights.Weights(trainer.mean.state_dict(), settings.architecture.as_dict(), facts))
    _beside(out, ".md").write_text(report.card(out.stem, facts), encoding="utf-8")
    report.plot(state.history, _beside(out, ".png"))
    return state


def _run(
    trainer: Trainer,
    images: Collection,
    state: Progress,
    budget: float,
    end: float,
    out: Path,
    say: Callable[[str], Any],
) -> None:
    """Take steps until ``end`` seconds of training; an interruption still leaves a checkpoint."""
    checkpoint = _beside(out, ".checkpoint.safetensors")
    between = min(BETWEEN, budget / 50)
    offset, due, losses = time.perf_counter() - state.seconds, state.seconds + between, []
    with trainer.pool() as executor:
        try:
            if not state.steps:
                _revive(trainer, images, state, say)
            while state.seconds < end:
                losses.append(trainer.step(images, state.steps, min(1.0, state.seconds / budget), executor))
                state.steps += 1
                state.seconds = time.perf_counter() - offset
                if state.seconds >= min(due, end):
                    if state.seconds < REVIVED * budget:
                        _revive(trainer, images, state, say)
                    _look(trainer, images, state, losses, budget, say)
                    trainer.save(checkpoint, state)
                    report.plot(state.history, _beside(out, ".png"))
                    state.seconds = time.perf_counter() - offset
                    due, losses = state.seconds + between, []
        finally:
            trainer.save(checkpoint, state)


def _revive(trainer: Trainer, images: Collection, state: Progress, say: Callable[[str], Any]) -> None:
    count = trainer.revive(images, state.steps)
    if count:
        say(f"{count} dead features were given fresh weights")


def _look(
    trainer: Trainer, images: Collection, state: Progress, losses: list[float], budget: float, say: Callable[[str], Any]
) -> None:
    """Validate the mean of the weights and report."""
    found = {name: validate(trainer.mean, pictures) for name, pictures in images.held_out.items()}
    state.history.append({"minutes": state.seconds / 60, "steps": state.steps, "psnr": found})
    levels = "; ".join(f"{name} " + "/".join(f"{v:.2f}" for v in values) for name, values in found.items())
    say(
        f"{state.seconds / 60:6.1f} of {budget / 60:g} min, {state.steps} steps, loss {sum(losses) / len(losses):.4f}, "
        f"PSNR at 15/25/50 of 255: {levels or 'no images held out'}"
    )


def target(out: str | os.PathLike[str]) -> Path:
    """The path of weights to write, checked."""
    path = Path(out)
    if path.suffix != ".safetensors":
        raise ArgumentError(
            f"out is {os.fspath(out)!r}; expected a file that ends in .safetensors. Choose such a name."
        )
    check_target(path)
    return path


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.stem + suffix)
