"""State of a training in one safetensors file, written whole or not at all; no pickles."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recon.files import replacing
from solvers.errors import FileError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass
class Progress:
    """How far a training is."""

    steps: int = 0
    seconds: float = 0.0
    """Time spent on training, over all its runs."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """What was measured on the way, such as minutes, steps and the PSNR of each source at each noise level."""


def save(path: Path, settings: DataclassInstance, progress: Progress, **groups: dict[str, Tensor]) -> None:
    """Write groups of tensors and the progress."""
    tensors = {
        f"{group}/{name}": t.detach().cpu().contiguous() for group, some in groups.items() for name, t in some.items()
    }
    metadata = {"settings": json.dumps(asdict(settings)), "progress": json.dumps(asdict(progress))}
    with replacing(path) as temporary:
        save_file(tensors, str(temporary), metadata)


def load(path: Path, settings: DataclassInstance, **groups: dict[str, Tensor]) -> Progress:
    """Copy what a file holds into groups of tensors of the same names; returns the progress.

    Raises
    ------
    FileError
        The file is damaged, or the training had other settings.
    """
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata()
            _require_same(path, settings, json.loads(metadata["settings"]))
            for group, tensors in groups.items():
                for name, tensor in tensors.items():
                    tensor.detach().copy_(file.get_tensor(f"{group}/{name}"))
    except (SafetensorError, KeyError, TypeError) as error:
        raise FileError(f"{path} is not a whole checkpoint ({error}). Delete it to start anew.") from error
    return Progress(**json.loads(metadata["progress"]))


def _require_same(path: Path, settings: DataclassInstance, stored: dict[str, Any]) -> None:
    own = json.loads(json.dumps(asdict(settings)))
    # A setting that is newer than the file had its default.
    defaults = {f.name: f.default for f in fields(settings) if f.default is not MISSING}
    stored = json.loads(json.dumps(defaults)) | stored
    changed = [name for name in own if own[name] != stored.get(name)]
    if changed:
        raise FileError(
            f"{path} was trained with other settings: {', '.join(f'{n} = {stored.get(n)}' for n in changed)}; expected "
            f"{', '.join(f'{n} = {own[n]}' for n in changed)}. Delete it to start anew, or use its settings."
        )
