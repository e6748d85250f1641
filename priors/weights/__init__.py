"""Weights of learned priors: safetensors files, each with its hash and model card; nothing is downloaded."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solvers.errors import FileError, OptionError, suggestion

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parent
REGISTRY = "registry.json"
FORMAT = "recon-denoiser-1"
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds."""

    tensors: dict[str, Tensor]
    architecture: dict[str, Any]
    card: dict[str, Any]
    """How they were made: command, data, minutes, machine, figures."""


def available() -> tuple[str, ...]:
    """Names of the denoisers that come with the library.

    Examples
    --------
    >>> import priors
    >>> "fast-grey" in priors.available()
    True
    """
    return tuple(sorted(_registry()))


def read(name_or_path: str | os.PathLike[str]) -> Weights:
    """Weights of a denoiser of the library by name, or of a file of your own by path.

    Raises
    ------
    OptionError
        No denoiser has that name, and no file is there.
    FileError
        The file is a pickle, damaged, or not one of a denoiser.
    """
    given = os.fspath(name_or_path)
    entry = _registry().get(given)
    if entry is not None:
        return _parsed(FOLDER / entry["file"], _checked(FOLDER / entry["file"], entry["sha256"]))
    path = Path(given)
    if path.suffix.lower() in PICKLES:
        raise FileError(
            f"{given} is a pickle, which can run any code when it is read; expected a .safetensors file. Convert it: "
            "safetensors.torch.save_file(torch.load(path, weights_only=True), 'weights.safetensors')."
        )
    if path.suffix.lower() != ".safetensors" and not path.exists():
        raise OptionError(
            f"denoiser {given!r} is unknown; expected one of {', '.join(available())}, or the path of a .safetensors "
            f"file.{suggestion(given, available())}"
        )
    return _parsed(path, _bytes(path))


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


def _registry() -> dict[str, dict[str, str]]:
    return json.loads((FOLDER / REGISTRY).read_text(encoding="utf-8"))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}. Pass the path of a .safetensors file.") from error


def _checked(path: Path, expected: str) -> bytes:
    content = _bytes(path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise FileError(
            f"{path.name} is damaged: its SHA-256 is {found[:16]}..., expected {expected[:16]}... Install the library "
            "again; weights of your own are read by their path."
        )
    return content


def _parsed(path: Path, content: bytes) -> Weights:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = {name: tensor.float() for name, tensor in load(content).items()}
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise FileError(f"{path} is not a whole safetensors file ({error}). Copy or export it again.") from error
    if metadata.get("format") != FORMAT:
        raise FileError(
            f"{path} holds no denoiser of this library: its metadata name no format {FORMAT!r}. Train one with "
            "`recon train`, or wrap your own network as a denoiser: any callable of (v, sigma) will do."
        )
    return Weights(tensors, json.loads(metadata["architecture"]), json.loads(metadata.get("card", "{}")))
