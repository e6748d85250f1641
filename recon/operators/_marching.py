"""Geometry of parallel-beam views that march along the rows of an image, or along its columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PHASES = 4
"""Fine samples per pixel. Between them a view is linear, which blurs 16 times less than Joseph's own interpolation."""


class Marching(NamedTuple):
    r"""Views whose rays cross the rows of an image steeply, in units of pixels.

    The ray of cell d crosses the middle row at column ``base + step * d`` and moves ``slope`` columns a row. A view is
    summed on a grid finer than the pixels (``recon.operators.kernels``), which starts at column ``start``.
    """

    views: np.ndarray  # positions in the list of angles
    slope: np.ndarray  # columns a row, within [-1, 1]
    base: np.ndarray  # column of cell 0 on the middle row
    step: np.ndarray  # columns between cells, of either sign
    start: np.ndarray  # first column of the fine view, an integer
    scale: np.ndarray  # length of ray in a row
    width: int  # columns of the longest fine view


def split_views(
    shape: tuple[int, ...],
    angles: np.ndarray,
    detectors: int,
    spacing: float,
    detector_spacing: float,
    center: float,
) -> tuple[Marching, Marching]:
    """Views that march along the rows of the image, and those that march along the rows of its transpose."""
    height, width = shape
    cos, sin = np.cos(angles), np.sin(angles)
    steep = np.abs(cos) >= np.abs(sin)
    cells = detectors, detector_spacing / spacing, center, spacing
    return (
        _march(height, width, np.flatnonzero(steep), cos, sin, *cells),
        # Transposing exchanges x with -y: x cos + y sin = u is the same line as x' (-sin) + y' (-cos) = u.
        _march(width, height, np.flatnonzero(~steep), -sin, -cos, *cells),
    )


def _march(
    rows: int,
    columns: int,
    views: np.ndarray,
    cos: np.ndarray,
    sin: np.ndarray,
    detectors: int,
    ratio: float,
    center: float,
    spacing: float,
) -> Marching:
    cos, sin = cos[views], sin[views]
    slope, step = sin / cos, ratio / cos
    base = 0.5 * (columns - 1) - step * center
    ends = base, base + step * (detectors - 1)
    # Beyond the image a fine view is zero, and beyond the detector nobody reads it. One column more for rounding.
    reach = 0.5 * (rows - 1) * np.abs(slope)
    first = np.floor(np.clip(np.minimum(*ends), -1 - reach, columns + reach)) - 1
    last = np.ceil(np.clip(np.maximum(*ends), -1 - reach, columns + reach)) + 1
    width = int(np.max(last - first, initial=2)) + 1
    return Marching(views, slope, base, step, first.astype(np.int64), spacing / np.abs(cos), width)
