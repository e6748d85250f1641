"""Folders of images to train on, and patches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon import files
from solvers.errors import ArgumentError, FileError
from solvers.validation import positive_float

LUMA = np.array([0.299, 0.587, 0.114])
RANGE = (0.1, 99.9)
"""Percentiles that become 0 and 1 in images that are not 8 bits deep."""


@dataclass(frozen=True)
class Source:
    """A folder of images and how often it is drawn from, relative to the others."""

    folder: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Source:
        """``folder`` or ``folder:weight``."""
        folder, colon, weight = text.rpartition(":")
        try:
            return cls(Path(folder), positive_float("weight", float(weight))) if colon else cls(Path(text))
        except ValueError as error:
            if Path(text).is_dir():
                return cls(Path(text))
            raise ArgumentError(
                f"data is {text!r}; expected a folder, or a folder and its weight, such as photos:2."
            ) from error


@dataclass(frozen=True)
class Picture:
    """One image, ``(channels, rows, columns)``, in the type of its file."""

    pixels: np.ndarray
    low: float
    """Value that becomes 0."""
    span: float
    """Difference of the values that become 1 and 0."""
    mean: float
    """Mean after scaling."""

    def patch(self, row: int, column: int, size: int) -> np.ndarray:
        """A square of it, scaled and its mean taken off; float32."""
        part = self.pixels[:, row : row + size, column : column + size]
        return (part.astype(np.float32) - np.float32(self.low)) / np.float32(self.span) - np.float32(self.mean)


@dataclass(frozen=True)
class Collection:
    """Pictures of several sources: those to train on, and those that measure progress."""

    sources: tuple[tuple[Picture, ...], ...]
    weights: tuple[float, ...]
    held_out: dict[str, tuple[Picture, ...]]
    choice: int = 1
    """Patches that are drawn for each one that is taken: that of most contrast. Where much is background, less of it
    is trained on."""

    def patches(self, rng: np.random.Generator, count: int, size: int) -> np.ndarray:
        """Random patches, turned and mirrored at random, ``(count, channels, size, size)``."""
        chances = np.array(self.weights) / sum(self.weights)
        return np.stack(
            [max((self._patch(rng, chances, size) for _ in range(self.choice)), key=np.std) for _ in range(count)]
        )

    def _patch(self, rng: np.random.Generator, chances: np.ndarray, size: int) -> np.ndarray:
        pictures = self.sources[rng.choice(len(chances), p=chances)]
        picture = pictures[rng.integers(len(pictures))]
        row, column = (int(rng.integers(n - size + 1)) for n in picture.pixels.shape[1:])
        return turned(picture.patch(row, column, size), int(rng.integers(8)))


def turned(patch: np.ndarray, number: int) -> np.ndarray:
    """One of the eight turned and mirrored versions of a square patch."""
    patch = patch.swapaxes(-1, -2) if number & 4 else patch
    return patch[..., :: -1 if number & 2 else 1, :: -1 if number & 1 else 1]


def collect(sources: Sequence[Source], channels: int, smallest: int, held_out: int) -> Collection:
    """Read every image of the folders, the sub-folders included.

    Grey networks see colour images in grey and each band of a multi-band image; colour networks the first three bands
    of images that have so many. Images smaller than a patch are left out.
    """
    if not sources:
        raise ArgumentError("data is empty; expected at least one folder of images. Pass --data FOLDER.")
    groups, kept = [], {}
    for source in sources:
        pictures = [p for p in _pictures(source.folder, channels) if min(p.pixels.shape[1:]) >= smallest]
        if len(pictures) < 2:
            raise FileError(
                f"{source.folder} holds {len(pictures)} images of at least {smallest} x {smallest} pixels with "
                f"{channels} channels; expected two or more. Pass another folder, or train with smaller patches."
            )
        count = min(held_out, len(pictures) // 4)
        test = set(np.linspace(0, len(pictures) - 1, count).astype(int).tolist()) if count else set()
        kept[source.folder.name] = tuple(p for i, p in enumerate(pictures) if i in test)
        groups.append(tuple(p for i, p in enumerate(pictures) if i not in test))
    return Collection(tuple(groups), tuple(s.weight for s in sources), {k: v for k, v in kept.items() if v})


def _pictures(folder: Path, channels: int) -> Iterator[Picture]:
    if not folder.is_dir():
        raise FileError(f"{folder} is not a folder; expected one that holds images. Correct the path.")
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        for array, channel_axis in _arrays(path):
            for pixels in _planes(array, channel_axis, channels):
                yield from _scaled(pixels)


def _arrays(path: Path) -> Iterator[tuple[np.ndarray, int | None]]:
    """Arrays of a file and the axis of their bands; files of other kinds hold none."""
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            yield from ((archive[name], 0) for name in archive.files if archive[name].ndim == 3)
        return
    try:
        measured = files.read(path)
    except FileError:
        return
    axis = measured.metadata.get("channel_axis")
    if measured.array.ndim == (2 if axis is None else 3):
        yield measured.array, axis


def _planes(array: np.ndarray, channel_axis: int | None, channels: int) -> Iterator[np.ndarray]:
    bands = array[None] if channel_axis is None else np.moveaxis(array, channel_axis, 0)
    if channels > 1:
        if len(bands) >= channels:
            yield bands[:channels]
    elif len(bands) == 3 and array.dtype == np.uint8:
        yield np.tensordot(LUMA, bands, 1).round().astype(np.uint8)[None]
    else:
        yield from (band[None] for band in bands)


def _scaled(pixels: np.ndarray) -> Iterator[Picture]:
    """The picture with its range; one without contrast teaches nothing and is left out."""
    low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else np.percentile(pixels, RANGE).tolist()
    if high > low and pixels.max() > pixels.min() and np.isfinite(pixels.sum(dtype=np.float64)):
        mean = (float(pixels.mean(dtype=np.float64)) - low) / (high - low)
        yield Picture(np.ascontiguousarray(pixels), low, high - low, mean)
