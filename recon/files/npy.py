"""NPY and NPZ: numpy's own files. Pickled objects are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from solvers.errors import FileError, suggestion

NAME = "NPY or NPZ"
SUFFIXES = (".npy", ".npz")
WRITES = SUFFIXES
HOLDS = "biufc"


def recognises(head: bytes) -> bool:
    """Whether a file that begins so is of this format."""
    return head.startswith((b"\x93NUMPY", b"PK\x03\x04"))


def read(path: Path, dataset: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """The array; of an NPZ file the only one, or the one ``dataset`` names."""
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        if dataset is not None:
            raise FileError(f"{path} holds one array without a name; got dataset {dataset!r}. Leave dataset out.")
        return loaded, {}
    with loaded:
        return loaded[_choose(path, loaded.files, dataset)], {}


def _choose(path: Path, names: list[str], dataset: str | None) -> str:
    listed = ", ".join(names) or "nothing"
    if dataset is not None:
        name = dataset.lstrip("/")
        if name not in names:
            raise FileError(f"{path} has no array {name!r}. It holds: {listed}.{suggestion(name, names)}")
        return name
    if len(names) != 1:
        raise FileError(f"{path} holds {len(names)} arrays: {listed}. Pass one of these names as dataset.")
    return names[0]


def write(path: Path, array: np.ndarray, metadata: dict[str, Any], dataset: str | None) -> None:
    """Write the array; into an NPZ file under the name ``dataset`` (``image`` unless given)."""
    with open(path, "wb") as file:  # numpy would add a suffix to a name that ends in .NPY
        if path.suffix.lower() == ".npz":
            np.savez(file, allow_pickle=False, **{(dataset or "image").lstrip("/"): array})
        else:
            np.save(file, array, allow_pickle=False)
