"""Settings of a training, read from a TOML file."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from priors.networks import Architecture, UNet
from priors.ridge_network import RidgeArchitecture, RidgeNetwork
from recon.learn.noise import MODELS
from solvers.errors import ArgumentError, FileError, OptionError, suggestion
from solvers.validation import positive_float, positive_int

KINDS = ("unet", "ridge")
Network = UNet | RidgeNetwork


class FromFile:
    """Settings that a TOML file may hold; a dataclass derives from it."""

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Settings of a TOML file; names it leaves out keep their defaults."""
        try:
            given = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise FileError(f"{path} cannot be read: {error.strerror}. Pass a TOML file of settings.") from error
        except tomllib.TOMLDecodeError as error:
            raise FileError(f"{path} is not TOML: {error}. Correct that line.") from error
        return cls.of(given, str(path))

    @classmethod
    def of(cls, given: dict[str, Any], where: str = "settings") -> Self:
        """Settings of a mapping, unknown names refused."""
        known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        for name in given:
            if name not in known:
                raise OptionError(
                    f"{where} sets {name!r}; expected some of {', '.join(known)}.{suggestion(name, known)}"
                )
        return cls(**given)


@dataclass(frozen=True)
class Settings(FromFile):
    """What a denoiser is and how it is trained; a TOML file holds the same names.

    Parameters
    ----------
    kind : {"unet", "ridge"}
        What is trained: a denoising network, or the weakly convex ridge regulariser.
    channels, widths, blocks
        Its sizes; see :class:`priors.networks.Architecture` and :class:`priors.ridge_network.RidgeArchitecture`, whose
        defaults hold where they are left out.
    batch, patch : int
        Patches of a step, and their width in pixels.
    learning_rate : float
        At its largest; it follows a cosine of the time spent.
    quietest, sigma : float
        The smallest and the largest noise level, the images ranging over [0, 1]; levels are uniform between them.
    noise : dict of str to float
        Noise models and how often each is drawn, relative to the others.
    ema : float
        Weight that the running mean of the weights keeps at each step.
    shift : float
        Standard deviation of a random grey level that is added to each patch.
    teacher : str
        Name or path of a denoiser whose answers stand for part of the truth; none where it is empty. See
        :class:`recon.learn.teacher.Teacher`.
    taught : (float, float)
        Share of the teacher's answers in what is learned, at first and in the end.
    validation : int
        Images of each folder that are not trained on but measure progress.
    seed : int
        Of the weights, patches and noise.
    """

    kind: str = "unet"
    channels: int = 1
    widths: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None
    batch: int = 32
    patch: int = 64
    learning_rate: float = 1e-3
    quietest: float = 0.0
    sigma: float = 55 / 255
    noise: dict[str, float] = field(default_factory=lambda: {"gaussian": 1.0})
    ema: float = 0.999
    shift: float = 0.05
    teacher: str = ""
    taught: tuple[float, float] = (0.7, 0.4)
    validation: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise OptionError(
                f"kind is {self.kind!r}; expected one of {', '.join(KINDS)}.{suggestion(self.kind, KINDS)}"
            )
        network = self.architecture
        object.__setattr__(self, "widths", network.widths)
        object.__setattr__(self, "blocks", getattr(network, "blocks", None))
        positive_int("batch", self.batch)
        positive_int("patch", self.patch, minimum=8)
        positive_float("learning_rate", self.learning_rate)
        if positive_float("quietest", self.quietest, zero=True) > positive_float("sigma", self.sigma):
            raise ArgumentError(f"quietest is {self.quietest}; expected at most sigma, {self.sigma}. Lower it.")
        positive_float("shift", self.shift, zero=True)
        positive_int("validation", self.validation, minimum=0)
        positive_int("seed", self.seed, minimum=0)
        if not 0 <= positive_float("ema", self.ema, zero=True) < 1:
            raise ArgumentError(f"ema is {self.ema}; expected a number in [0, 1). Pass for example 0.999.")
        self._check_noise()
        self._check_teacher()

    def _check_teacher(self) -> None:
        shares = tuple(self.taught)
        if len(shares) != 2 or not all(0 <= positive_float("taught", share, zero=True) <= 1 for share in shares):
            raise ArgumentError(
                f"taught is {self.taught}; expected two shares between 0 and 1, at first and in the end."
            )
        object.__setattr__(self, "taught", shares)
        if self.teacher and self.kind != "unet":
            raise ArgumentError(
                f"teacher is {self.teacher!r} and kind {self.kind!r}; only networks are taught. Leave it out."
            )

    def _check_noise(self) -> None:
        for name, weight in self.noise.items():
            if name not in MODELS:
                raise OptionError(
                    f"noise model {name!r} is unknown; expected some of {', '.join(MODELS)}.{suggestion(name, MODELS)}"
                )
            positive_float(f"noise.{name}", weight, zero=True)
        if not sum(self.noise.values()) > 0:
            raise ArgumentError(f"noise is {self.noise}; expected a weight above 0. Pass for example gaussian = 1.0.")

    @property
    def architecture(self) -> Architecture | RidgeArchitecture:
        """The network's sizes."""
        given = {name: tuple(sizes) for name in ("widths", "blocks") if (sizes := getattr(self, name)) is not None}
        if self.kind == "unet":
            return Architecture(self.channels, **given)
        if self.channels != 1:
            raise ArgumentError(
                f"kind is 'ridge' and channels {self.channels}; the regulariser is for grey images. Leave channels out."
            )
        given.pop("blocks", None)  # of the default network
        return RidgeArchitecture(**given)

    def network(self) -> Network:
        """A network of these sizes, its weights drawn by the generator of torch."""
        sizes = self.architecture
        return UNet(sizes) if isinstance(sizes, Architecture) else RidgeNetwork(sizes)
