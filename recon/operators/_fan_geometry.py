"""Geometry of fan-beam views: which rays march along the rows of an image and which along its columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CHUNK = 64
"""Samples in one pass of an inner loop: a constant, for the compiler to unroll into whole vectors."""

STRIPE = 32
"""Rows of one task of the adjoint, and the most rows that share a fine grid."""

REACH = (CHUNK + 4) / 2
"""Rows from the source for each row of half a block, so that samples stay beside their pixels over a CHUNK."""


class Fans(NamedTuple):
    r"""Pieces of views whose rays cross the rows of an image steeply and in one sense, in units of pixels.

    The ray of cell d leaves the source, which stands at ``(row, column)``, and moves
    ``(a + b * tangent[d]) / (c + e * tangent[d])`` columns a row, a slope within [-1, 1].
    """

    views: np.ndarray  # positions in the list of angles
    first: np.ndarray  # the piece holds the cells first .. last - 1
    last: np.ndarray
    sense: np.ndarray  # 1 where the rays run towards higher rows, else -1
    row: np.ndarray  # of the source
    column: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    e: np.ndarray
    tangent: np.ndarray  # of the angle between each cell's ray and the central one
    spacing: float


def block_rows(source: float, top: int, bottom: int) -> int:
    """Rows that share a fine grid between ``top`` and ``bottom``: fewer near the row of the source."""
    nearest = max(0.0, top - source, source - (bottom - 1))
    most = min(bottom - top, 1 + int(nearest / REACH))
    blocks = (bottom - top + most - 1) // most
    return (bottom - top + blocks - 1) // blocks


def split_fans(
    shape: tuple[int, ...],
    angles: np.ndarray,
    tangent: np.ndarray,
    source: tuple[float, float],
    spacing: float,
) -> tuple[Fans, Fans]:
    """Rays that march along the rows of the image, and those that march along the rows of its transpose.

    ``source`` is (distance, lateral offset) from the rotation axis.
    """
    cos, sin = np.cos(angles), np.sin(angles)
    distance, offset = source[0] / spacing, source[1] / spacing
    row = 0.5 * (shape[0] - 1) - (offset * sin - distance * cos)
    column = 0.5 * (shape[1] - 1) + offset * cos + distance * sin
    views, first, last, course = _pieces(cos, sin, tangent)

    def fans(chosen: np.ndarray, place: tuple[np.ndarray, np.ndarray], slope: tuple[np.ndarray, ...]) -> Fans:
        k = views[chosen]
        sense = np.where(course[chosen] % 2 == 0, 1.0, -1.0)
        row, column, a, b, c, e = (table[k] for table in (*place, *slope))
        return Fans(k, first[chosen], last[chosen], sense, row, column, a, b, c, e, tangent, spacing)

    # A ray moves -sin + tangent cos to the right and -cos - tangent sin downwards.
    return (
        fans(course < 2, (row, column), (-sin, cos, -cos, -sin)),
        fans(course >= 2, (column, row), (-cos, -sin, -sin, cos)),
    )


def _pieces(cos: np.ndarray, sin: np.ndarray, tangent: np.ndarray) -> tuple[np.ndarray, ...]:
    """Runs of cells of one course: 0 down, 1 up, 2 right, 3 left."""
    found = []
    for k, (c, s) in enumerate(zip(cos, sin, strict=True)):
        right, down = c * tangent - s, -c - s * tangent
        course = np.where(np.abs(down) >= np.abs(right), np.where(down > 0, 0, 1), np.where(right > 0, 2, 3))
        starts = np.flatnonzero(np.diff(course, prepend=-1))
        ends = np.append(starts[1:], tangent.size)
        found.append((np.full(starts.size, k), starts, ends, course[starts]))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


class Smearing(NamedTuple):
    """Where the pixels of an image project in views that are sampled evenly in the tangent, in units of pixels."""

    cos: np.ndarray
    sin: np.ndarray
    distance: float  # of the source from the rotation axis
    offset: float  # of the rotation axis from the central ray
    start: float  # tangent of the first fine sample
    step: float  # between fine samples
