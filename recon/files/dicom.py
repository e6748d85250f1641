"""DICOM (read): one file, or a directory of slices as a volume. Values are rescaled: CT comes in Hounsfield units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from solvers.errors import FileError, suggestion

NAME = "DICOM"
SUFFIXES = (".dcm", ".dicom", ".ima")
WRITES: tuple[str, ...] = ()
HOLDS = ""


def recognises(head: bytes) -> bool:
    """Whether a file that begins so is of this format."""
    return head[128:132] == b"DICM"


def read(path: Path, dataset: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """The pixels of one file, rescaled. Nothing about the patient is kept."""
    header = _header(path)
    return _rescaled(path, header), _metadata(header)


def read_series(directory: Path, dataset: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """The slices of one series as (slices, rows, columns), ordered along their normal.

    ``dataset`` is the SeriesInstanceUID where the directory holds several series.
    """
    slices = _series(directory, dataset)
    shapes = {(entry.get("Rows"), entry.get("Columns")) for _, entry in slices}
    if len(shapes) != 1:
        raise FileError(f"{directory}: the slices differ in size, {sorted(map(str, shapes))}. Read them one by one.")
    positions = _positions(directory, [entry for _, entry in slices])
    order = np.argsort(positions)
    gaps = np.diff(positions[order])
    if np.any(gaps < 1e-6):
        raise FileError(f"{directory}: several slices lie at one position. Keep one volume in the directory.")
    volume = np.stack([_rescaled(*slices[k]) for k in order])
    metadata = _metadata(slices[order[0]][1])
    metadata["slice_positions"] = tuple(float(position) for position in positions[order])
    if "spacing" in metadata and gaps.size:
        metadata["spacing"] = (float(np.median(gaps)), *metadata["spacing"])
    return volume, metadata


def _header(path: Path) -> Any:
    try:
        import pydicom
    except ImportError:
        raise FileError(f"{path}: reading DICOM needs pydicom. Install recon-imaging[dicom].") from None
    return pydicom.dcmread(path)


def _rescaled(path: Path, header: Any) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    if not any(name in header for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        kind = header.get("Modality", "unknown modality")
        raise FileError(f"{path} ({kind}) holds no pixels: it is truncated, or not an image. Copy or export it again.")
    array = apply_modality_lut(header.pixel_array, header)
    # Stored values have at most 16 bits and slopes are short decimals: float32 holds them.
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _metadata(header: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"modality": str(header.get("Modality", ""))}
    spacing = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
    if spacing:
        metadata["spacing"] = tuple(float(step) for step in spacing)
        metadata["spacing_unit"] = "mm"
    if header.get("SliceThickness"):
        metadata["slice_thickness"] = float(header.SliceThickness)
    if "RescaleSlope" in header:
        metadata["unit"] = str(header.get("RescaleType", "HU" if metadata["modality"] == "CT" else ""))
    if header.get("SamplesPerPixel", 1) == 3:
        metadata["channel_axis"] = -1
    return metadata


def _series(directory: Path, dataset: str | None) -> list[tuple[Path, Any]]:
    series: dict[str, list[tuple[Path, Any]]] = {}
    for path in sorted(entry for entry in directory.iterdir() if entry.is_file()):
        with open(path, "rb") as file:
            if not recognises(file.read(132)):
                continue
        header = _header(path)
        series.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((path, header))
    listed = ", ".join(f"{uid} ({len(slices)} files)" for uid, slices in series.items())
    if not series:
        raise FileError(f"{directory} is a directory without DICOM files; expected a DICOM series. Pass a file.")
    if dataset is not None and dataset not in series:
        raise FileError(f"{directory} has no series {dataset!r}. It holds: {listed}.{suggestion(dataset, series)}")
    if dataset is None and len(series) != 1:
        raise FileError(f"{directory} holds {len(series)} DICOM series: {listed}. Pass one of these as dataset.")
    return series[dataset] if dataset is not None else next(iter(series.values()))


def _positions(directory: Path, headers: list[Any]) -> np.ndarray:
    """Where each slice lies along the common normal, in mm; the instance numbers where no position is stored."""
    if all("ImagePositionPatient" in header and "ImageOrientationPatient" in header for header in headers):
        axes = np.array([[float(value) for value in header.ImageOrientationPatient] for header in headers])
        if np.abs(axes - axes[0]).max() > 1e-3:
            raise FileError(f"{directory}: the slices have different orientations. Keep one volume in the directory.")
        normal = np.cross(axes[0, :3], axes[0, 3:])
        return np.array([[float(value) for value in header.ImagePositionPatient] for header in headers]) @ normal
    if all(header.get("InstanceNumber") is not None for header in headers):
        return np.array([float(header.InstanceNumber) for header in headers])
    raise FileError(f"{directory}: the slices carry neither positions nor instance numbers. Read them one by one.")
