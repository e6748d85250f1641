"""Calibration of plug-and-play reconstruction to one instrument: its schedule, and on request its denoiser."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recon._calibration_images import simulated_images
from recon._calibration_search import Scan, mean_psnr, search
from recon._nonlinear import is_nonlinear
from recon._plug_and_play import BuildDPIR
from recon.noise import Gaussian
from solvers.errors import ArgumentError, DTypeError, FileError, ShapeError
from solvers.validation import as_inexact, known_keywords, positive_float, require_finite

if TYPE_CHECKING:
    from recon.learn.settings import Settings

FORMAT = "recon-calibration-1"
ACCEPTED = 0.0
"""Gain in dB on the images that judge, above which a calibration is kept."""
DENOISER_SHARE = 0.6
"""Share of the time that the denoiser takes, where it is adapted too."""


@dataclass(frozen=True)
class Calibration:
    """What suits one instrument, relative to what :func:`recon.reconstruct` would do; pass it as ``calibration=``.

    It is of the noise over the measurement that it was made for, but as all of it is relative, other levels nearby do.
    """

    operator: str
    """What it is for, in words."""
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    weight: float = 1.0
    """Weight of the denoiser against the data, over the usual one."""
    level: float = 1.0
    """Last noise level that the denoiser is told, over the one that the data leave."""
    length: int | None = None
    """Number of steps; None is the usual one."""
    denoiser: str = "fast"
    """Name or path of the denoiser."""
    psnr: tuple[float, float] = (math.nan, math.nan)
    """Mean over the images that judge, in dB: without the calibration and with it."""

    @property
    def gain(self) -> float:
        """In dB on the images that judge."""
        return self.psnr[1] - self.psnr[0]

    @property
    def changes(self) -> bool:
        """Whether it differs from the usual schedule."""
        return (self.weight, self.level, self.length) != (1.0, 1.0, None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a ``.json`` file; a denoiser that is a file is copied beside it."""
        from recon.files import replacing

        target, about = _json(path), asdict(self) | {"format": FORMAT}
        if Path(self.denoiser).suffix == ".safetensors":
            beside = target.with_suffix(".safetensors")
            if not (beside.exists() and beside.samefile(self.denoiser)):
                with replacing(beside) as temporary:
                    shutil.copyfile(self.denoiser, temporary)
            about["denoiser"] = beside.name
        with replacing(target) as temporary:
            temporary.write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read what :meth:`save` wrote."""
        source = _json(path)
        try:
            about = json.loads(source.read_text(encoding="utf-8"))
            if about.pop("format") != FORMAT:
                raise KeyError("format")
            found = cls(**about)
        except OSError as error:
            raise FileError(
                f"{path} cannot be read: {error.strerror}. Pass a file that Calibration.save wrote."
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(
                f"{path} holds no calibration ({error}). Pass a file that Calibration.save wrote."
            ) from error
        beside = source.parent / found.denoiser
        denoiser = str(beside) if beside.suffix == ".safetensors" else found.denoiser
        before, after = found.psnr
        shapes = tuple(found.in_shape), tuple(found.out_shape)
        return replace(found, denoiser=denoiser, psnr=(before, after), in_shape=shapes[0], out_shape=shapes[1])

    def require(self, operator: Any) -> None:
        """Raise if it is for another instrument."""
        if (tuple(operator.in_shape), tuple(operator.out_shape)) != (self.in_shape, self.out_shape):
            raise ShapeError(
                f"calibration is for {self.operator}, of shapes {self.in_shape} -> {self.out_shape}; the operator has "
                f"{operator.in_shape} -> {operator.out_shape}. Calibrate this operator."
            )

    def prior(self, channels: bool = False) -> Any:
        """The denoiser as a prior."""
        from priors import Denoiser, PlugAndPlay

        return PlugAndPlay(Denoiser(self.denoiser, channels=channels))

    def build(self, noise: Any) -> Callable[[Any, Any, float], Any]:
        """``(data, prior, strength) -> DPIR`` with its schedule, ``strength`` being the usual weight."""
        if not isinstance(noise, Gaussian):
            raise ArgumentError(f"noise is {noise}; a calibration is of Gaussian noise. Leave out calibration.")
        return _Build(self, noise)

    def __str__(self) -> str:
        steps = "" if self.length is None else f", {self.length} steps"
        gain = "" if math.isnan(self.gain) else f": {self.gain:+.2f} dB"
        return f"weight x {self.weight:.3g}, last level x {self.level:.3g}{steps}{gain}"


class _Build(BuildDPIR):
    """The usual schedule, changed by a calibration."""

    def __init__(self, calibration: Calibration, noise: Gaussian):
        super().__init__(noise)
        self.calibration = calibration

    def at(self, noise: Any) -> _Build:
        return _Build(self.calibration, noise)

    def __call__(self, data: Any, prior: Any, strength: float) -> Any:
        own = self.calibration
        plain = super().__call__(data, prior, own.weight * strength)
        return replace(plain, level=own.level * plain.level, length=own.length or plain.length)


@known_keywords
def calibrate(
    operator: Any,
    images: Sequence[Any] | None = None,
    *,
    minutes: float = 1.0,
    noise: float = 0.01,
    denoiser: str | os.PathLike[str] = "fast",
    adapt: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    rng: Any = 0,
    progress: Callable[[str], Any] | None = None,
) -> Calibration:
    """Find the schedule of plug-and-play that suits one instrument: weight and level of the denoiser, number of steps.

    Measurements of the images are simulated and reconstructed, again and again, by a pattern search over the three
    numbers; every third image is held out and judges. What was found is kept only if it is better there.

    Parameters
    ----------
    operator : LinearOperator
        The forward model of the instrument.
    images : sequence of array, optional
        Clean images like those to come, each of the operator's image shape, in any unit; three or more. By default
        eight that are made: photographs and ellipses.
    minutes : float
        Time it may take.
    noise : float
        Noise level of the measurements over their root mean square.
    denoiser : str or path
        The denoiser to start from.
    adapt : path, optional
        Also adapt the denoiser to the images given (:func:`recon.learn.adapt_denoiser`), and write it to this
        ``.safetensors`` file.
    settings : Settings, optional
        How the denoiser is trained.
    rng : int or numpy.random.Generator
        Source of the noise.
    progress : callable, optional
        Called with a line of text.

    Returns
    -------
    Calibration
        To save, and to pass to :func:`recon.reconstruct`.

    Raises
    ------
    ArgumentError, DTypeError, ShapeError
        A nonlinear operator, one whose images are not pictures, images of another shape, ``adapt`` without images.

    Examples
    --------
    >>> from recon import calibrate, reconstruct, operators as ops
    >>> scanner = ops.ParallelBeam((256, 256), angles=40, spacing=1 / 256)
    >>> calibration = calibrate(scanner, slices, minutes=1)  # doctest: +SKIP
    >>> x = reconstruct(y, scanner, calibration=calibration)  # doctest: +SKIP
    """
    begin, generator = time.perf_counter(), np.random.default_rng(rng)
    seconds, level = 60 * positive_float("minutes", minutes), positive_float("noise", noise)
    _check(operator, images, adapt)
    clean = simulated_images(operator, generator) if images is None else [_checked(i, operator) for i in images]
    judging = [i % 3 == 2 for i in range(len(clean))]
    trained = [x for x, judges in zip(clean, judging, strict=True) if not judges] if any(judging) else clean
    judges = [x for x, judged in zip(clean, judging, strict=True) if judged] or clean
    start = Calibration(
        repr(operator), tuple(operator.in_shape), tuple(operator.out_shape), denoiser=os.fspath(denoiser)
    )
    found = start
    if adapt is not None:
        found = replace(found, denoiser=_adapted(trained, adapt, found.denoiser, minutes, settings, progress))
    scans = [Scan.of(operator, x, level, generator) for x in trained]
    found = search(found, scans, begin + seconds)
    tests = [Scan.of(operator, x, level, generator) for x in judges]
    before, after = (mean_psnr(start, tests), mean_psnr(found, tests))
    if not after > before + ACCEPTED:
        warnings.warn(
            f"The calibration gains {after - before:+.2f} dB on the images that judge it; the usual schedule is kept. "
            "Give it more minutes, or images like those to come.",
            stacklevel=2,
        )
        found, after = start, before
    found = replace(found, psnr=(before, after))
    if progress:
        progress(f"{found} on {len(tests)} images")
    return found


def _adapted(images: Sequence[np.ndarray], out: Any, denoiser: str, minutes: float, settings: Any, say: Any) -> str:
    """Path of a denoiser adapted to the images."""
    from recon.learn import adapt_denoiser

    start = "fast-grey" if denoiser == "fast" else denoiser
    parts = [np.abs(x) for x in images]
    adapted = adapt_denoiser(
        parts, out, denoiser=start, minutes=DENOISER_SHARE * minutes, settings=settings, progress=say
    )
    return os.fspath(adapted.name)


def _check(operator: Any, images: Any, adapt: Any) -> None:
    if not hasattr(operator, "adjoint") or not hasattr(operator, "norm") or is_nonlinear(operator):
        raise DTypeError(
            f"operator is {operator!r}; expected a linear operator of recon.operators. Pass one; what is nonlinear has "
            "no schedule to calibrate."
        )
    if images is None and len(operator.in_shape) != 2:
        raise ArgumentError(
            f"operator takes images of shape {operator.in_shape}; those made here are pictures. Pass images of yours."
        )
    if images is not None and not len(images):
        raise ArgumentError("images is empty; expected at least one. Pass clean images, or None for made ones.")
    if adapt is not None and images is None:
        raise ArgumentError("adapt is given without images; a denoiser adapts to images like those to come. Pass some.")


def _checked(image: Any, operator: Any) -> np.ndarray:
    array = as_inexact("images", image)
    if not isinstance(array, np.ndarray) or tuple(array.shape) != tuple(operator.in_shape):
        raise ShapeError(
            f"images holds one of shape {tuple(np.shape(image))}; the operator takes numpy arrays of shape "
            f"{operator.in_shape}. Pass images of that shape."
        )
    require_finite("images", array, "Leave out what was not measured.")
    return array


def _json(path: str | os.PathLike[str]) -> Path:
    if Path(path).suffix != ".json":
        raise ArgumentError(f"path is {os.fspath(path)!r}; expected one that ends in .json. Choose such a name.")
    return Path(path)
