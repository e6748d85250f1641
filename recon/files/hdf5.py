"""HDF5: one dataset of a file, named as ``file.h5:/group/dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from solvers.errors import FileError, suggestion

NAME = "HDF5"
SUFFIXES = (".h5", ".hdf5")
WRITES = SUFFIXES
HOLDS = "biufc"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def recognises(head: bytes) -> bool:
    """Whether a file that begins so is of this format (a user block of 512 or 1024 bytes may stand before)."""
    return any(head[start : start + 8] == _SIGNATURE for start in (0, 512, 1024))


def read(path: Path, dataset: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """The only dataset of numbers with an axis, or the one ``dataset`` names; its attributes are the metadata."""
    import h5py

    with h5py.File(path, "r") as file:
        found = _choose(path, file, dataset)
        return found[()], {str(key): _plain(value) for key, value in found.attrs.items()}


def _choose(path: Path, file: Any, dataset: str | None) -> Any:
    import h5py

    known: dict[str, Any] = {}
    file.visititems(lambda name, item: known.update({f"/{name}": item}) if isinstance(item, h5py.Dataset) else None)
    arrays = {name: item for name, item in known.items() if item.ndim and item.dtype.kind in HOLDS}
    listed = ", ".join(f"{name} {item.shape} {item.dtype}" for name, item in arrays.items()) or "no array of numbers"
    if dataset is not None:
        name = "/" + dataset.strip("/")
        if not isinstance(file.get(name), h5py.Dataset):
            raise FileError(f"{path} has no dataset {name!r}. It holds: {listed}.{suggestion(name, arrays)}")
        return file[name]
    if len(arrays) != 1:
        example = next(iter(arrays), "/image")
        raise FileError(
            f"{path} holds {len(arrays)} datasets: {listed}. Choose one as {path.name}:{example}, or with "
            f"dataset={example!r}."
        )
    return next(iter(arrays.values()))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def write(path: Path, array: np.ndarray, metadata: dict[str, Any], dataset: str | None) -> None:
    """Write the array as ``dataset`` (``/image`` unless given); the plain values of ``metadata`` become attributes.

    Other datasets that ``path`` holds stay.
    """
    import h5py

    name = "/" + (dataset or "image").strip("/")
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        stored = file.create_dataset(name, data=array)
        for key, value in metadata.items():
            if isinstance(value, (str, int, float, list, tuple)):
                stored.attrs[key] = value
