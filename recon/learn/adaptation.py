"""Adaptation of a denoiser to a few images of another kind, in a minute."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from priors import Denoiser, weights
from priors.networks import start_from
from recon.files import replacing
from recon.learn import report
from recon.learn.checkpoint import Progress
from recon.learn.denoiser import FINE, target
from recon.learn.images import RANGE, Collection, Picture
from recon.learn.settings import Settings
from recon.learn.trainer import Trainer
from recon.learn.validation import LEVELS, validate
from solvers import arrays
from solvers.errors import ArgumentError, ShapeError
from solvers.validation import as_inexact, positive_float, require_finite

AROUND = 1.1
"""Largest noise level over the one asked for, and that over the smallest."""
SMALLEST = 32
"""Least width of an image."""
RESERVE = 0.03
"""Share of the time that is left for what cannot be foreseen."""
CHOICE = 2
"""Patches that are drawn for each one trained on."""
DOZEN = 12
"""Number of images from which on a quarter is held out."""


def adapt_denoiser(
    images: Sequence[Any],
    out: str | os.PathLike[str],
    *,
    denoiser: str | os.PathLike[str] = "fast-grey",
    minutes: float = 1.0,
    sigma: float | tuple[float, float] | None = None,
    settings: Settings | None = None,
    device: str | None = None,
    progress: Callable[[str], Any] | None = None,
) -> Denoiser:
    """Adapt a denoiser to images like a few given ones; for many images, or longer, there is :func:`train_denoiser`.

    Of a dozen images or more a quarter is held out and judges; fewer all train, and judge with other noise. A denoiser
    that became no better there is left as it was, with a warning.

    Parameters
    ----------
    images : sequence of array
        Clean images, ``(rows, columns)``, or ``(channels, rows, columns)`` for a colour denoiser; of any size from 32
        pixels and in one unit.
    out : path
        The ``.safetensors`` file to write.
    denoiser : str or path
        The denoiser to start from.
    minutes : float
        Time it may take, all included.
    sigma : float or (float, float), optional
        Noise level that it will be used at, in the unit of the images, or the smallest and the largest; None is up to
        55/255 of the range of the images. One level gains most.
    settings : Settings, optional
        How to train; the network is that of ``denoiser``.
    device : str, optional
        For torch; by default a CUDA device where there is one.
    progress : callable, optional
        Called with a line of text: what was gained on the images that judge.

    Returns
    -------
    Denoiser
        The adapted denoiser, which reads ``out``.

    Raises
    ------
    ShapeError, ArgumentError
        Images of other axes, too small or without contrast; levels that are not positive or out of order.

    Examples
    --------
    >>> from recon.learn import adapt_denoiser
    >>> denoiser = adapt_denoiser(slices, "ct.safetensors", sigma=30.0)  # doctest: +SKIP
    >>> x = reconstruct(y, A, prior=denoiser)  # doctest: +SKIP
    """
    begin, path = time.perf_counter(), target(out)
    seconds = 60 * positive_float("minutes", minutes)
    given = weights.read(denoiser)
    if given.architecture.get("kind", "unet") != "unet":
        raise ArgumentError(
            f"denoiser is {os.fspath(denoiser)!r}, a regulariser; expected a denoising network. Refine a regulariser "
            "with recon train."
        )
    pictures = _pictures(images, int(given.architecture.get("channels", 1)))
    low, high, judged = _levels(sigma, pictures[0].span)
    own = replace(settings or FINE, **given.architecture, quietest=low, sigma=high)
    own = replace(own, patch=min(own.patch, *(n // 8 * 8 for p in pictures for n in p.pixels.shape[1:])))
    trainer = Trainer(own, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    start_from(trainer.network, given.tensors)
    trainer.start_mean()
    collection, judges = _parted(pictures)
    measured = partial(validate, trainer.mean, judges, judged)
    before, spent = measured(), time.perf_counter() - begin
    steps = _refine(trainer, collection, (1 - RESERVE) * seconds - 2 * spent)
    after = measured()
    gain = float(np.mean(after) - np.mean(before))
    if progress:
        progress(f"{steps} steps, {gain:+.2f} dB on {len(judges)} images")
    if gain <= 0:
        warnings.warn(
            f"The adapted denoiser is {-gain:.2f} dB worse on the images that judge it; the one it started from is "
            "kept. Give it more images or minutes, or a noise level.",
            stacklevel=2,
        )
        trainer.mean.load_state_dict(given.tensors)
    state = Progress(steps, time.perf_counter() - begin, [{"psnr": {"images": after if gain > 0 else before}}])
    call = f"adapt_denoiser({len(images)} images, minutes={minutes:g}, sigma={sigma})"
    facts = report.facts(own, state, [], os.fspath(denoiser), trainer.device, minutes)
    facts |= {"command": call, "data": [f"{len(images)} images"], "before": report.trainings(given.card)}
    with replacing(path) as temporary:
        weights.write(temporary, weights.Weights(trainer.mean.state_dict(), own.architecture.as_dict(), facts))
    return Denoiser(path, channels=own.channels > 1)


def _refine(trainer: Trainer, images: Collection, seconds: float) -> int:
    """Take steps for so long, one at least; returns how many."""
    begin, count = time.perf_counter(), 0
    with trainer.pool() as executor:
        while not count or time.perf_counter() - begin < seconds:
            fraction = min(1.0, (time.perf_counter() - begin) / max(seconds, 1e-9))
            trainer.step(images, count, fraction, executor)
            count += 1
    return count


def _pictures(images: Sequence[Any], channels: int) -> list[Picture]:
    """The images on one scale, each ``(channels, rows, columns)``."""
    found = [_planes(image, channels) for image in images]
    if not found:
        raise ShapeError("images is empty; expected at least one clean image. Pass a list of arrays.")
    low, high = np.percentile(np.concatenate([p.ravel() for p in found]), RANGE)
    if not high > low:
        raise ArgumentError("images have no contrast; expected different grey levels. Pass other images.")
    return [Picture(p, low, high - low, (float(p.mean(dtype=np.float64)) - low) / (high - low)) for p in found]


def _planes(image: Any, channels: int) -> np.ndarray:
    array = arrays.to_numpy(as_inexact("images", image))
    require_finite("images", array, "Leave out what was not measured.")
    planes = array[None] if channels == 1 else array
    if planes.ndim != 3 or len(planes) != channels or min(planes.shape[1:]) < SMALLEST or np.iscomplexobj(planes):
        axes = "(rows, columns)" if channels == 1 else f"({channels}, rows, columns)"
        raise ShapeError(
            f"images holds one of shape {array.shape} and dtype {array.dtype}; expected real ones of shape {axes}, at "
            f"least {SMALLEST} pixels wide. Pass a list of such."
        )
    return planes


def _levels(sigma: Any, span: float) -> tuple[float, float, tuple[float, ...]]:
    """Smallest and largest level over the range of the images, and the levels to judge by."""
    if sigma is None:
        return 0.0, Settings().sigma, LEVELS
    if np.ndim(sigma) == 0:
        level = positive_float("sigma", sigma) / span
        return level / AROUND, level * AROUND, (level,)
    low, high = (positive_float("sigma", level, zero=True) / span for level in sigma)
    if not low < high:
        raise ArgumentError(f"sigma is {sigma}; expected the smaller level first. Swap them, or pass one level.")
    return low, high, (0.5 * (low + high), high)


def _parted(pictures: list[Picture]) -> tuple[Collection, tuple[Picture, ...]]:
    """Images to train on, and those that judge: every fourth, or all where there are few."""
    apart = len(pictures) >= DOZEN
    judges = pictures[2::4] if apart else pictures
    trained = [p for i, p in enumerate(pictures) if not apart or i % 4 != 2]
    return Collection((tuple(trained),), (1.0,), {}, CHOICE), tuple(judges)
