"""PNG (read and write), JPEG and WebP (read): 8-bit and 16-bit grey, 8-bit colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from solvers.errors import FileError

NAME = "PNG, JPEG or WebP"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
WRITES = (".png",)
HOLDS = "biuf"
_COLOURS = {3: "RGB", 4: "RGBA"}


def recognises(head: bytes) -> bool:
    """Whether a file that begins so is of this format."""
    webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    return webp or head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))


def read(path: Path, dataset: str | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels as stored: (rows, columns), or (rows, columns, 3) for colour."""
    from PIL import Image

    _refuse_deep_colour(path)
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        image.load()
        array = _pixels(path, image)
    return array, {"channel_axis": -1} if array.ndim == 3 else {}


def _refuse_deep_colour(path: Path) -> None:
    # Pillow drops the lower byte of 16-bit colour without a word.
    with open(path, "rb") as file:
        head = file.read(26)
    if head.startswith(b"\x89PNG") and len(head) == 26 and head[24] == 16 and head[25] != 0:
        raise FileError(f"{path} is a PNG of 16-bit colour, which cannot be read in full depth. Save it as TIFF.")


def _pixels(path: Path, image: Any) -> np.ndarray:
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "CMYK":
        raise FileError(f"{path} holds CMYK inks; expected grey or RGB. Convert it to RGB first.")
    array = np.array(image)
    if image.mode in ("LA", "RGBA"):
        if np.any(array[..., -1] != 255):
            raise FileError(f"{path} is partly transparent; expected opaque pixels. Flatten it to grey or RGB first.")
        array = array[..., 0] if image.mode == "LA" else array[..., :3]
    return array


def defaults(array: np.ndarray, like: np.ndarray | None) -> tuple[np.dtype, tuple[float, float] | None]:
    """The integer type, and the range of floats it stands for, where the caller names neither."""
    if array.dtype in (np.bool_, np.uint8, np.uint16):
        return np.dtype(np.uint8) if array.dtype == np.bool_ else array.dtype, None
    if like is not None and like.dtype in (np.uint8, np.uint16):
        return like.dtype, None
    dtype = np.dtype(np.uint16 if array.ndim == 2 else np.uint8)
    return dtype, None if array.dtype.kind in "iu" else (0.0, 1.0)


def write(path: Path, array: np.ndarray, metadata: dict[str, Any], dataset: str | None) -> None:
    """Write uint8 or uint16 grey, or uint8 colour."""
    from PIL import Image

    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in _COLOURS):
        raise FileError(
            f"the array has shape {array.shape}; PNG holds (rows, columns) or (rows, columns, 3). "
            "Write one image at a time, or write .tif, .npy or .h5."
        )
    if array.dtype not in (np.uint8, np.uint16) or (array.ndim == 3 and array.dtype != np.uint8):
        raise FileError(
            f"PNG holds uint8, and uint16 for grey only; got {array.dtype} of shape {array.shape}. "
            "Pass dtype='uint8', or write .tif."
        )
    Image.fromarray(array).save(path, format="PNG")
