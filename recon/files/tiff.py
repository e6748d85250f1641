"""TIFF: integers and floats of any depth, any number of axes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from solvers.errors import FileError

NAME = "TIFF"
SUFFIXES = (".tif", ".tiff")
WRITES = SUFFIXES
HOLDS = "biuf"
_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def recognises(head: bytes) -> bool:
    """Whether a file that begins so is of this format."""
    return head.startswith(_SIGNATURES)


def read(path: Path, dataset: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """One image series; ``dataset`` is its number where the file holds several."""
    import tifffile

    # Oddities of tags that are not used here would otherwise be printed on stderr.
    tifffile.logger().addHandler(logging.NullHandler())
    with tifffile.TiffFile(path) as file:
        _require_whole(path, file)
        series = _choose(path, file.series, dataset)
        array = series.asarray()
        page = series.keyframe
        metadata: dict[str, Any] = {"axes": series.axes}
        if series.axes.endswith("S"):
            metadata["channel_axis"] = -1
        elif "S" in series.axes:
            metadata["channel_axis"] = series.axes.index("S")
        if "GDAL_NODATA" in page.tags:
            metadata["nodata"] = _number(page.tags["GDAL_NODATA"].value)
    return array, metadata


def _require_whole(path: Path, file: Any) -> None:
    # tifffile drops pages that lie past the end of the file, and only logs it.
    size = file.filehandle.size
    for page in file.pages:
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if ends and max(ends) > size:
            raise FileError(f"{path} is truncated: pixels end at byte {max(ends)}, the file at {size}. Copy it again.")
    following = file.pages.next_page_offset
    if following is not None and following >= size:
        raise FileError(f"{path} is truncated: a page is at byte {following}, the file ends at {size}. Copy it again.")


def _choose(path: Path, series: Any, dataset: str | None) -> Any:
    listed = ", ".join(f"{k} {entry.shape} {entry.dtype}" for k, entry in enumerate(series))
    if dataset is not None:
        if not dataset.isdigit() or int(dataset) >= len(series):
            raise FileError(f"{path} has no image {dataset!r}. It holds: {listed}. Pass such a number as dataset.")
        return series[int(dataset)]
    full = [entry for entry in series if not entry.keyframe.is_reduced]
    if len(full) != 1:
        raise FileError(f"{path} holds several images: {listed}. Pass one of these numbers as dataset.")
    return full[0]


def _number(text: Any) -> float | str:
    try:
        return float(text)
    except ValueError:
        return str(text)


def write(path: Path, array: np.ndarray, metadata: dict[str, Any], dataset: str | None) -> None:
    """Write one image series; three axes of which the last is 3 or 4 long are a colour image."""
    import tifffile

    colour = array.ndim == 3 and array.shape[-1] in (3, 4)
    tifffile.imwrite(path, array, photometric="rgb" if colour else "minisblack")
