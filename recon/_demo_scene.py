"""What the demo shows for one measurement, and how it is judged."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recon.info import Info, ReconstructionWarning
from recon.reconstruct import reconstruct

Show = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Panel:
    """A picture with the values that become black and white."""

    title: str
    picture: np.ndarray
    window: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """A measurement, its forward model, and the classical answer to compare with."""

    name: str
    y: np.ndarray
    operator: Any
    baseline: Callable[[], np.ndarray]
    baseline_name: str
    beside: tuple[Panel, Panel]  # what is known of the object, and what was measured
    window: tuple[float, float]
    truth: np.ndarray | None = None  # None: the data were measured, nobody knows
    data_range: float = 1.0
    show: Show = field(default=lambda image: image)  # from the image to the picture that is compared
    options: dict[str, Any] = field(default_factory=dict)  # of reconstruct: what the data are, never how to solve


@dataclass(frozen=True)
class Answer:
    """An image, how long it took, and how near it is to the truth where that is known."""

    picture: np.ndarray
    seconds: float
    psnr: float | None
    ssim: float | None


@dataclass(frozen=True)
class Result:
    """Both answers to a scene."""

    scene: Scene
    classical: Answer
    ours: Answer
    info: Info


def solve_scene(scene: Scene) -> Result:
    """Reconstruct a scene, with nothing tuned, and its baseline."""
    classical, _ = _timed(scene, lambda: (scene.baseline(), None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReconstructionWarning)  # info has them; the table prints them
        ours, info = _timed(scene, lambda: reconstruct(scene.y, scene.operator, return_info=True, **scene.options))
    return Result(scene, classical, ours, info)


def _timed(scene: Scene, work: Callable[[], tuple[np.ndarray, Any]]) -> tuple[Answer, Any]:
    begin = time.perf_counter()
    image, info = work()
    seconds = time.perf_counter() - begin
    picture = scene.show(image)
    return Answer(picture, seconds, *_scores(scene, picture)), info


def _scores(scene: Scene, picture: np.ndarray) -> tuple[float | None, float | None]:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    if scene.truth is None:
        return None, None
    axis = -1 if scene.truth.ndim == 3 else None
    psnr = peak_signal_noise_ratio(scene.truth, picture, data_range=scene.data_range)
    ssim = structural_similarity(scene.truth, picture, data_range=scene.data_range, channel_axis=axis)
    return float(psnr), float(ssim)
