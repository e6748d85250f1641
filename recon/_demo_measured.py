"""Scenes that instruments measured. Nobody knows the truth; the data stand beside the project, not in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recon import operators as ops
from recon._demo_scene import Panel, Scene
from recon._demo_simulated import log_magnitude
from recon.fbp import fbp
from solvers.errors import FileError

FILES = {
    "tooth": ("tooth.h5",),
    "head": ("cartesian_ksp.npy",),
    "hand": ("psf_sample.tif", "rawdata_hand_sample.tif"),
}


def folder() -> Path | None:
    """Where the measured data are: the folder ``real`` of ``$RECON_DATA``, or of ``../shared/data``; None: nowhere."""
    named = os.environ.get("RECON_DATA")
    place = (Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data") / "real"
    if named and not place.is_dir():
        raise FileError(f"RECON_DATA is {named}, which has no folder real. Correct it, or unset it.")
    return place if place.is_dir() else None


def measured(place: Path) -> Iterator[Callable[[], Scene]]:
    """What makes the scenes whose files are there."""
    for make in (tooth, head, hand):
        if all((place / name).exists() for name in FILES[make.__name__]):
            yield partial(make, place)


def tooth(place: Path) -> Scene:
    """X-ray projections of a tooth, every third of 181; the rotation axis is found in the data."""
    from recon.preprocess import absorption, find_center, flat_dark

    counts, flats, darks, degrees = (
        _read(place / "tooth.h5", f"/exchange/{name}") for name in ("data", "data_white", "data_dark", "theta")
    )
    angles = np.deg2rad(degrees)
    sinograms = np.moveaxis(absorption(flat_dark(counts, flats, darks)), 1, 0)  # (rows, angles, detectors)
    center = find_center(sinograms, angles)
    # The tooth casts its shadow within 180 cells of the axis; nothing need be computed beyond.
    scan = partial(ops.ParallelBeam, (400, 400), detectors=sinograms.shape[-1], center=center)
    every = fbp(sinograms[0], scan(angles))
    y, operator = sinograms[0, ::3], scan(angles[::3])
    window = (0.0, float(np.quantile(every, 0.999)))
    return Scene(
        name="tooth, 61 X-ray views",
        y=y,
        operator=operator,
        baseline=lambda: fbp(y, operator),
        baseline_name="filtered back-projection",
        beside=(
            Panel("all 181 views, filtered back-projection", every, window),
            Panel(f"61 views, axis found at cell {center:.1f}", y, (0, float(y.max()))),
        ),
        window=window,
    )


def head(place: Path) -> Scene:
    """An eighth of the k-space of a head, seen by 8 coils whose sensitivities come from its centre."""
    from recon.coils import espirit

    k = _read(place / "cartesian_ksp.npy")
    coils = espirit(k)
    operator = ops.CartesianMRI((k != 0).any(axis=0), coils)
    each = ops.CartesianMRI(operator.mask)

    def zero_filled() -> np.ndarray:
        return np.sqrt((np.abs(each.adjoint(k)) ** 2).sum(axis=0))

    window = (0.0, float(np.quantile(zero_filled(), 0.995)))
    return Scene(
        name=f"head, {operator.mask.mean():.0%} of k-space, {len(k)} coils",
        y=k,
        operator=operator,
        baseline=zero_filled,
        baseline_name="zero-filled, root sum of squares",
        beside=(
            Panel(f"4 of {len(k)} coil sensitivities, found", _tiled(np.abs(coils[:4])), (0, 1)),
            Panel("k-space of a coil, log", *log_magnitude(k[0])),
        ),
        window=window,
        show=np.abs,
    )


def hand(place: Path) -> Scene:
    """A hand before a camera without a lens: a diffuser spreads each point over the whole sensor."""
    from skimage.restoration import unsupervised_wiener

    psf, y = (_binned(_read(place / name).astype(np.float32), 5) for name in FILES["hand"])
    dark = psf[1:3, 1:3].mean()  # a corner that no light reaches
    psf, y = (psf - dark).clip(0), y - dark
    psf, y = psf / psf.sum(), y / y.max()
    operator = ops.Blur(psf, y.shape, boundary="unknown")

    def wiener() -> np.ndarray:
        padded = np.zeros(operator.in_shape, y.dtype)
        padded[operator.interior] = y
        return unsupervised_wiener(padded, psf, clip=False, rng=0)[0]

    def show(image: np.ndarray) -> np.ndarray:
        """The part of the frame that the hand is in, the brightest pixels white."""
        frame = image[operator.interior]
        rows, columns = frame.shape
        part = frame[rows // 8 : rows - rows // 8, columns // 4 :]
        return part / np.quantile(part, 0.999)

    return Scene(
        name="hand, camera without a lens",
        y=y,
        operator=operator,
        baseline=wiener,
        baseline_name="Wiener, unsupervised",
        beside=(
            Panel("point spread function", psf, (0, float(np.quantile(psf, 0.998)))),
            Panel("exposure", y, (0, 1)),
        ),
        window=(0.0, 0.8),
        show=show,
    )


def _read(path: Path, dataset: str | None = None) -> Any:
    from recon import files

    return files.read(path, dataset=dataset).array


def _binned(image: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of ``factor`` x ``factor`` pixels."""
    rows, columns = (n // factor for n in image.shape)
    return image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor).mean(axis=(1, 3))


def _tiled(four: np.ndarray) -> np.ndarray:
    """Four images, two by two."""
    return np.block([[four[0], four[1]], [four[2], four[3]]])
