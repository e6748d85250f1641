"""Public images and kernels beside the project: ``$RECON_DATA``, or ``../shared/data``."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np


def folder(*parts: str) -> Path:
    """A folder of the data; ends the program with the reason where it is missing."""
    root = Path(os.environ.get("RECON_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    path = root.joinpath(*parts)
    if not path.exists():
        raise SystemExit(f"{path} does not exist; set RECON_DATA to the folder of the data.")
    return path


def images(name: str, *, count: int | None = None) -> list[np.ndarray]:
    """Images of a test set in [0, 1], float32, in the order of their names; colour ones as (3, rows, columns)."""
    from skimage.io import imread

    paths = sorted(p for p in folder("test", name).iterdir() if p.suffix in (".png", ".webp"))[:count]
    pictures = [np.asarray(imread(path)).astype(np.float32) / 255 for path in paths]
    return [np.ascontiguousarray(np.moveaxis(p, -1, 0)) if p.ndim == 3 else p for p in pictures]


@lru_cache
def levin_kernels() -> tuple[np.ndarray, ...]:
    """The eight motion kernels of Levin et al. 2009, odd sizes from 13 to 27."""
    import h5py

    with h5py.File(folder("kernels", "Levin09.mat")) as file:
        # The format stores matrices transposed.
        return tuple(np.asarray(file[reference]).T for reference in file["kernels"][:].ravel())


def ten_kernels() -> tuple[np.ndarray, ...]:
    """The kernels of the usual deblurring test: Levin's, a uniform 9 x 9 and a 25 x 25 Gaussian of sigma 1.6."""
    x = np.arange(-12, 13)
    gaussian = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.6**2))
    return (*levin_kernels(), np.full((9, 9), 1 / 81), gaussian / gaussian.sum())
