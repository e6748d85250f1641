"""Where a satellite image holds no data, as masks for :class:`recon.operators.Mask`.

Fill values and cloud masks are arrays already: ``Mask(image != nodata)``, ``Mask(~clouds)``. Several dates of one
scene, each with clouds of its own, are ``stack([Mask(~clouds) for clouds in dates])``, with ``gain * Mask(~clouds)``
where the exposures differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from solvers.errors import ArgumentError, ShapeError
from solvers.validation import positive_float, shape_argument

CLOSED = 0.12
"""Part of the swath in the middle of which the scans overlap: 22 of 183 km."""


def landsat7_gaps(
    shape: Sequence[int],
    *,
    widest: float = 14.0,
    period: float = 33.0,
    swath: float | None = None,
    center: float | None = None,
    tilt: float = 0.0,
    offset: float = 0.0,
) -> np.ndarray:
    r"""Mask of Landsat-7 since its scan-line corrector failed: wedges without data, closed in the middle of the scene.

    Forward and backward scans of 16 lines then zigzag. They part on one side of the swath and meet on the other, so
    that the gaps of the two sides alternate. The width grows in proportion to the distance from where they close.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    widest : float
        Width of a gap at the edge of the swath, in pixels.
    period : float
        Rows from one gap to the next, more than ``widest``.
    swath : float, optional
        Columns from edge to edge of the scene, about 6100 in pixels of 30 m. None is the width of the image.
    center : float, optional
        Column of the middle of the scene, which may lie outside the image. None is the middle of the image.
    tilt : float
        Angle of the scan lines, in radians: positive where they sink towards the right. Scenes with north on top have
        some 0.15 to 0.25.
    offset : float
        Rows by which all gaps are moved down.

    Returns
    -------
    ndarray of bool
        True where there are data.

    Raises
    ------
    ShapeError
        ``shape`` has not two axes.
    ArgumentError
        ``widest`` is not under ``period``, or a number is not positive.

    References
    ----------
    J. Storey, P. Scaramuzza, G. Schmidt, J. Barsi, "Landsat 7 scan line corrector-off gap-filled product development",
    Pecora 16 (2005).

    Examples
    --------
    >>> mask = landsat7_gaps((330, 600))
    >>> bool(mask[:, 300].all()), float((~mask[:, 0]).mean().round(2))
    (True, 0.39)
    """
    shape = shape_argument("shape", shape)
    if len(shape) != 2:
        raise ShapeError(f"shape is {shape}; expected (rows, columns). Bands share the mask of one of them.")
    widest, period = positive_float("widest", widest, zero=True), positive_float("period", period)
    if widest >= period:
        raise ArgumentError(f"widest is {widest}; expected less than the period, {period}. Pass a smaller gap.")
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    middle = (shape[1] - 1) / 2 if center is None else float(center)
    across = (columns - middle) / (shape[1] if swath is None else positive_float("swath", swath))
    open_part = np.clip((np.abs(across) - CLOSED / 2) / (0.5 - CLOSED / 2), 0.0, 1.0)
    along = rows - math.tan(tilt) * (columns - middle) - offset + np.where(across > 0, period / 2, 0.0)
    distance = np.abs((along + period / 2) % period - period / 2)  # from the middle of the nearest gap
    return ~(distance < 0.5 * widest * open_part)
