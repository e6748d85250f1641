"""Weights of learned priors: safetensors files, each with its hash and model card; nothing is downloaded."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solvers.weight_files import Shelf

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parent
FORMAT = "recon-denoiser-1"
OWN = "Train one with `recon train`, or wrap your own network as a denoiser: any callable of (v, sigma) will do."


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds."""

    tensors: dict[str, Tensor]
    architecture: dict[str, Any]
    card: dict[str, Any]
    """How they were made: command, data, minutes, machine, figures."""


def shelf() -> Shelf:
    """The files of this folder."""
    return Shelf(FOLDER, FORMAT, "denoiser", OWN)


def available() -> tuple[str, ...]:
    """Names of the denoisers that come with the library.

    Examples
    --------
    >>> import priors
    >>> "fast-grey" in priors.available()
    True
    """
    return shelf().names()


def read(name_or_path: str | os.PathLike[str]) -> Weights:
    """Weights of a denoiser of the library by name, or of a file of your own by path.

    Raises
    ------
    OptionError
        No denoiser has that name, and no file is there.
    FileError
        The file is a pickle, damaged, or not one of a denoiser.
    """
    from safetensors.torch import load

    found = shelf().read(name_or_path)
    tensors = {name: tensor.float() for name, tensor in load(found.tensors).items()}
    return Weights(tensors, json.loads(found.metadata["architecture"]), json.loads(found.metadata.get("card", "{}")))


def write(path: str | os.PathLike[str], weights: Weights) -> None:
    """Write weights to a file that :func:`read` takes, in half precision."""
    from safetensors.torch import save_file

    halves = {name: tensor.detach().cpu().half().contiguous() for name, tensor in weights.tensors.items()}
    metadata = {
        "format": FORMAT,
        "architecture": json.dumps(weights.architecture),
        "card": json.dumps(weights.card, sort_keys=True),
    }
    save_file(halves, os.fspath(path), metadata)
