"""Files: one reader and one writer for every format, chosen by the suffix.

Outputs are written whole or not at all. A file that is truncated, or is not what its suffix says, raises FileError.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from recon.files import dicom, hdf5, npy, png, tiff
from recon.files._atomic import check_target, replacing
from recon.files._levels import convert
from solvers import arrays
from solvers.errors import FileError, suggestion

__all__ = [
    "Measurement",
    "check_output",
    "check_writable",
    "holds_complex",
    "read",
    "replacing",
    "split_dataset",
    "write",
]

_CODECS: tuple[ModuleType, ...] = (png, tiff, npy, hdf5, dicom)
_HEAD = 1032


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a file holds."""

    array: np.ndarray
    """The numbers, in the dtype they are stored in (DICOM: rescaled)."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What the format says about them, for example ``spacing`` or, for colour, ``channel_axis``."""


def read(path: str | os.PathLike[str], *, dataset: str | None = None) -> Measurement:
    """Read an array from a file.

    Parameters
    ----------
    path : path
        A PNG, JPEG, WebP, TIFF, NPY, NPZ, HDF5 or DICOM file, or a directory of DICOM slices.
        ``file.h5:/group/name`` names a dataset of an HDF5 file, ``file.npz:name`` an array of an NPZ file.
    dataset : str, optional
        Which array of the file: a dataset (HDF5), a name (NPZ), a number (TIFF), a SeriesInstanceUID (DICOM
        directory). Needed only where there are several.

    Raises
    ------
    FileError
        The file is missing, truncated, of another format than its suffix says, or holds no array of numbers.
    """
    file, dataset = split_dataset(path, dataset)
    if not file.exists():
        names = os.listdir(file.parent) if file.parent.is_dir() else []
        raise FileError(f"{file} does not exist; expected a file to read.{suggestion(file.name, names)}")
    if file.is_dir():
        return _read_with(dicom.read_series, "DICOM", file, dataset)
    codec = _reader(file)
    return _read_with(codec.read, codec.NAME, file, dataset)


def write(
    path: str | os.PathLike[str],
    array: Any,
    *,
    like: Measurement | None = None,
    dtype: Any = None,
    value_range: tuple[float, float] | None = None,
    clip: bool = False,
    dataset: str | None = None,
    overwrite: bool = True,
) -> None:
    """Write an array to a file, whole or not at all.

    PNG holds integers: floats must lie in [0, 1], or in the range of the integers that ``like`` holds; grey becomes 16
    bits deep, colour 8. TIFF keeps integers and floats, NPY, NPZ and HDF5 also complex numbers. Nothing is clipped or
    wrapped unless asked for.

    Parameters
    ----------
    path : path
        The output; its suffix chooses the format. ``file.h5:/group/name`` names a dataset; other datasets stay.
    array : array
        Numbers; torch tensors are taken too.
    like : Measurement, optional
        What the array was made from, in the same units: PNG takes over its integer type, HDF5 its metadata.
    dtype : dtype, optional
        The type to store. By default the array's own, for PNG see above.
    value_range : (low, high), optional
        Scale so that low becomes 0 and high the largest integer of ``dtype`` (uint16 by default).
    clip : bool
        Saturate what lies outside the range instead of raising.
    dataset : str, optional
        The name in an HDF5 or NPZ file, ``image`` by default.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    FileError
        The format cannot hold the values, or the file cannot be written. Nothing is written then.
    """
    file, dataset = split_dataset(path, dataset)
    codec = _writer(file)
    target = check_target(file, overwrite=overwrite)
    stored = _encoded(file, codec, array, like, dtype, value_range, clip)
    with replacing(file, overwrite=overwrite) as temporary:
        if codec is hdf5 and target.exists():
            _require_signature(target, _head(target), hdf5)
            shutil.copyfile(target, temporary)
        codec.write(temporary, stored, {} if like is None else like.metadata, dataset)


def _encoded(
    path: Path,
    codec: ModuleType,
    array: Any,
    like: Measurement | None,
    dtype: Any,
    value_range: tuple[float, float] | None,
    clip: bool,
) -> np.ndarray:
    """The array in the type that the file will hold."""
    values = _numbers(path, array)
    if values.dtype.kind not in codec.HOLDS:
        raise FileError(
            f"{path}: {codec.NAME} cannot hold {values.dtype}. Write its magnitude (numpy.abs; on the command line "
            "--magnitude), or write .npy or .h5, which keep complex numbers."
        )
    wanted = None if dtype is None else np.dtype(dtype)
    if codec is png and wanted is None:
        wanted, default_range = png.defaults(values, None if like is None else like.array)
        value_range = default_range if value_range is None else value_range
    return convert(path, values, wanted, value_range, clip)


def check_output(path: str | os.PathLike[str], inputs: Sequence[str | os.PathLike[str]] = ()) -> None:
    """Raise FileError if :func:`write` could not write ``path``, or it is one of the ``inputs``; nothing is touched."""
    _writer(split_dataset(path)[0])
    check_writable(path, inputs)


def check_writable(path: str | os.PathLike[str], inputs: Sequence[str | os.PathLike[str]] = ()) -> None:
    """As :func:`check_output`, for a file of any kind."""
    file, _ = split_dataset(path)
    target = check_target(file)
    for entry in inputs:
        source, _ = split_dataset(entry)
        if os.path.realpath(source) == str(target) or (target.exists() and source.exists() and target.samefile(source)):
            raise FileError(f"the output {file} is also an input; expected another file. Choose another output.")


def holds_complex(path: str | os.PathLike[str]) -> bool:
    """Whether the format that the suffix names keeps complex numbers."""
    return "c" in _writer(split_dataset(path)[0]).HOLDS


def split_dataset(path: str | os.PathLike[str], dataset: str | None = None) -> tuple[Path, str | None]:
    """Split ``file.h5:/group/name`` into the file and the dataset."""
    named = re.fullmatch(r"(.+\.(?:h5|hdf5|npz)):(/?.+)", os.fspath(path), re.IGNORECASE)
    if named is None:
        return Path(path), dataset
    if dataset is not None and dataset.strip("/") != named[2].strip("/"):
        raise FileError(f"{path} names {named[2]} and dataset is {dataset!r}; expected one of the two. Leave one out.")
    return Path(named[1]), named[2]


def _reader(path: Path) -> ModuleType:
    """The codec of the suffix, once the first bytes agree with it. DICOM files often have no suffix."""
    head = _head(path)
    for codec in _CODECS:
        if path.suffix.lower() in codec.SUFFIXES:
            _require_signature(path, head, codec)
            return codec
    if dicom.recognises(head):
        return dicom
    raise _unknown_suffix(path, "is unknown", [suffix for codec in _CODECS for suffix in codec.SUFFIXES])


def _writer(path: Path) -> ModuleType:
    for codec in _CODECS:
        if path.suffix.lower() in codec.WRITES:
            return codec
    raise _unknown_suffix(path, "cannot be written", [suffix for codec in _CODECS for suffix in codec.WRITES])


def _unknown_suffix(path: Path, problem: str, known: list[str]) -> FileError:
    return FileError(
        f"{path}: the suffix {path.suffix!r} {problem}; expected one of {', '.join(known)}."
        f"{suggestion(path.suffix, known)} Use another suffix or format."
    )


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}. Change the permissions, or copy it.") from error


def _require_signature(path: Path, head: bytes, codec: ModuleType) -> None:
    if not head:
        raise FileError(f"{path} is empty; expected a {codec.NAME} file. Copy or export it again.")
    if not codec.recognises(head):
        found = next((f"a {other.NAME} file" for other in _CODECS if other.recognises(head)), "something else")
        raise FileError(
            f"{path} is not a {codec.NAME} file although its suffix is {path.suffix}: its first bytes are those of "
            f"{found}. Give it the right suffix, or export it again."
        )


def _read_with(reader: Any, name: str, path: Path, dataset: str | None) -> Measurement:
    try:
        array, metadata = reader(path, dataset)
    except (FileError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they meet: zlib.error, struct.error, KeyError ...
        raise FileError(
            f"{path} is a damaged, truncated or unsupported {name} file ({type(error).__name__}: {error}). "
            "Copy it or export it again."
        ) from error
    if array.dtype.kind not in "biufc" or not array.size:
        raise FileError(f"{path} holds {array.dtype} of shape {array.shape}; expected numbers. Export it again.")
    return Measurement(array, metadata)


def _numbers(path: Path, array: Any) -> np.ndarray:
    values = arrays.to_numpy(array)
    if values.dtype.kind not in "biufc" or not values.size or not values.ndim:
        raise FileError(
            f"{path}: the array has dtype {values.dtype} and shape {values.shape}; expected numbers with at least one "
            "axis and one element. Nothing was written."
        )
    return values
