"""Learned weights in files: safetensors, those of the library each with its hash; nothing is downloaded.

Pickles can run any code when they are read and are refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from solvers.errors import FileError, OptionError, suggestion

PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")
REGISTRY = "registry.json"


@dataclass(frozen=True)
class Content:
    """What a file of weights holds, the tensors not yet unpacked."""

    path: Path
    tensors: bytes  # the whole file, for safetensors to load
    metadata: dict[str, str]


@dataclass(frozen=True)
class Shelf:
    """The weights of one kind that come with the library, in one folder.

    Parameters
    ----------
    folder : Path
        Holds the files, and a registry of their hashes.
    format : str
        What the metadata of such a file say.
    kind : str
        What the weights are of, for messages.
    own : str
        How to come by weights of one's own, for messages.
    """

    folder: Path
    format: str
    kind: str
    own: str

    def names(self) -> tuple[str, ...]:
        """Names of the files that come with the library."""
        return tuple(sorted(self._registry()))

    def read(self, name_or_path: str | os.PathLike[str]) -> Content:
        """A file of the library by name, or one of your own by path.

        Raises
        ------
        OptionError
            Nothing has that name, and no file is there.
        FileError
            The file is a pickle, damaged, or holds something else.
        """
        given = os.fspath(name_or_path)
        entry = self._registry().get(given)
        if entry is not None:
            path = self.folder / entry["file"]
            return self._parsed(path, _checked(path, entry["sha256"]))
        path = Path(given)
        if path.suffix.lower() in PICKLES:
            raise FileError(
                f"{given} is a pickle, which can run any code when it is read; expected a .safetensors file. Convert "
                "it: safetensors.torch.save_file(torch.load(path, weights_only=True), 'weights.safetensors')."
            )
        if path.suffix.lower() != ".safetensors" and not path.exists():
            raise OptionError(
                f"{self.kind} {given!r} is unknown; expected one of {', '.join(self.names())}, or the path of a "
                f".safetensors file.{suggestion(given, self.names())}"
            )
        return self._parsed(path, _bytes(path))

    def register(self) -> tuple[str, ...]:
        """Write the hashes of all files of the folder; returns their names."""
        files = sorted(self.folder.glob("*.safetensors"))
        entries = {p.stem: {"file": p.name, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()} for p in files}
        (self.folder / REGISTRY).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
        return tuple(entries)

    def _registry(self) -> dict[str, dict[str, str]]:
        return json.loads((self.folder / REGISTRY).read_text(encoding="utf-8"))

    def _parsed(self, path: Path, content: bytes) -> Content:
        from safetensors import SafetensorError, deserialize

        try:
            deserialize(content)
            length = int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        except (SafetensorError, ValueError) as error:
            raise FileError(f"{path} is not a whole safetensors file ({error}). Copy or export it again.") from error
        if metadata.get("format") != self.format:
            raise FileError(
                f"{path} holds no {self.kind} of this library: its metadata name no format {self.format!r}. {self.own}"
            )
        return Content(path, content, metadata)


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
