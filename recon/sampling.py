"""Which samples of a Cartesian k-space are measured: masks of undersampled acquisitions.

Masks are boolean with the zero frequency at ``n // 2``, as :class:`recon.operators.CartesianMRI` takes them. ``rng`` is
a seed or a ``numpy.random.Generator``; the same seed gives the same mask.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from solvers.errors import ArgumentError, ShapeError
from solvers.validation import positive_float, positive_int, shape_argument

CENTER = 0.08
"""Fraction of k-space in the middle that is measured in full unless told otherwise."""


def uniform_lines(count: int, acceleration: int, *, center: float = CENTER, offset: int = 0) -> np.ndarray:
    """Every ``acceleration``-th line and all at the centre, as parallel imaging acquires them.

    Parameters
    ----------
    count : int
        Phase encodings.
    acceleration : int
        Distance of the lines measured.
    center : float
        Fraction of the lines, in the middle, that are all measured.
    offset : int
        The line to start with, less than ``acceleration``.

    Returns
    -------
    ndarray of bool, shape (count,)
        Turn lines into a mask with ``np.repeat(lines[:, None], nx, axis=1)``.

    Examples
    --------
    >>> uniform_lines(8, 4, center=0.25).astype(int)
    array([1, 0, 0, 1, 1, 1, 0, 0])
    """
    count, acceleration = positive_int("count", count), positive_int("acceleration", acceleration)
    offset = positive_int("offset", offset, minimum=0)
    return _central((count,), _fraction("center", center)) | (np.arange(count) % acceleration == offset % acceleration)


def variable_density_lines(
    count: int, acceleration: float, *, center: float = CENTER, decay: float = 2.0, rng: Any = None
) -> np.ndarray:
    r"""Random lines, all at the centre and outwards fewer and fewer: density :math:`(1 - |k| / k_{max})^{decay}`.

    Parameters
    ----------
    count : int
        Phase encodings.
    acceleration : float
        ``count`` over the number of lines measured, which is exact to rounding.
    center : float
        Fraction of the lines, in the middle, that are all measured.
    decay : float
        0 draws outer lines evenly.
    rng : int or numpy.random.Generator, optional
        Source of the lines; by default the same for every call.

    Returns
    -------
    ndarray of bool, shape (count,)

    Raises
    ------
    ArgumentError
        The centre alone has more lines than may be measured.

    References
    ----------
    M. Lustig, D. Donoho, J. M. Pauly, "Sparse MRI: the application of compressed sensing for rapid MR imaging", Magn.
    Reson. Med. 58 (2007).

    Examples
    --------
    >>> lines = variable_density_lines(256, 4, rng=1)
    >>> int(lines.sum()), bool(lines[120:137].all())
    (64, True)
    """
    return _drawn((positive_int("count", count),), acceleration, center, decay, rng)


def variable_density_points(
    shape: Any, acceleration: float, *, center: float = CENTER, decay: float = 2.0, rng: Any = None
) -> np.ndarray:
    """Random points of a plane of two phase encodings, all at the centre and outwards fewer and fewer.

    Parameters
    ----------
    shape : tuple of int
        k-space.
    acceleration, center, decay, rng
        As for :func:`variable_density_lines`; the centre is a disc whose diameter is the fraction ``center``.

    Returns
    -------
    ndarray of bool, shape ``shape``

    Examples
    --------
    >>> round(float(variable_density_points((64, 64), 8).mean()), 3)
    0.125
    """
    return _drawn(shape_argument("shape", shape), acceleration, center, decay, rng)


def poisson_disc(
    shape: Any, acceleration: float, *, center: float = CENTER, decay: float = 1.0, rng: Any = None
) -> np.ndarray:
    r"""Random points that keep a distance from each other, which grows outwards: no holes and no clusters.

    Every point keeps others out of a disc that grows from the centre to the edge. The size of all discs is searched so
    that the acceleration comes out.

    Parameters
    ----------
    shape : tuple of two int
        k-space.
    acceleration : float
        Samples over samples measured, met within a few percent where the distance varies; a constant one, on a grid,
        jumps.
    center : float
        Diameter of the disc, as a fraction of k-space, that is measured in full.
    decay : float
        Growth of the distance from centre to edge, relative to that at the centre; 0 keeps it constant.
    rng : int or numpy.random.Generator, optional
        Source of the points; by default the same for every call.

    Returns
    -------
    ndarray of bool, shape ``shape``

    References
    ----------
    R. Bridson, "Fast Poisson disk sampling in arbitrary dimensions", SIGGRAPH sketches (2007). M. Lustig, J. M. Pauly,
    "SPIRiT: iterative self-consistent parallel imaging reconstruction from arbitrary k-space", Magn. Reson. Med. 64
    (2010).

    Examples
    --------
    >>> mask = poisson_disc((64, 64), 6)
    >>> bool(5.5 < mask.size / mask.sum() < 6.5)
    True
    """
    shape = _plane(shape)
    goal = math.prod(shape) / _acceleration(acceleration)
    middle = _central(shape, _fraction("center", center))
    if middle.sum() > goal:
        raise _too_large(center, acceleration)
    growth = 1 + positive_float("decay", decay, zero=True) * _distance(shape)
    order = np.random.default_rng(0 if rng is None else rng).permutation(math.prod(shape))
    low, high = 0.5, math.sqrt(math.prod(shape))
    best = middle | True
    for _ in range(12):
        spacing = math.sqrt(low * high)
        mask = middle | _apart(growth * spacing, order)
        low, high = (spacing, high) if mask.sum() > goal else (low, spacing)
        if abs(mask.sum() - goal) < abs(best.sum() - goal):
            best = mask
    return best


def radial_lines(shape: Any, spokes: int, *, golden: bool = False) -> np.ndarray:
    """The grid points next to straight lines through the centre.

    Parameters
    ----------
    shape : tuple of two int
        k-space.
    spokes : int
        Lines, evenly over half a turn or, with ``golden``, turned by the golden angle from one to the next.

    Returns
    -------
    ndarray of bool, shape ``shape``

    Examples
    --------
    >>> radial_lines((5, 5), 2).astype(int)
    array([[0, 0, 1, 0, 0],
           [0, 0, 1, 0, 0],
           [1, 1, 1, 1, 1],
           [0, 0, 1, 0, 0],
           [0, 0, 1, 0, 0]])
    """
    from recon.trajectories import radial

    shape = _plane(shape)
    longest = max(shape)
    k = radial(spokes, 4 * longest, size=2.0, golden=golden).reshape(-1, 2)
    cells = np.round(k * (longest / 2)).astype(int) + np.array([n // 2 for n in shape])
    cells = cells[((cells >= 0) & (cells < shape)).all(axis=1)]
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(cells.T)] = True
    return mask


def caipirinha(shape: Any, acceleration: tuple[int, int], shift: int = 1, *, center: float = CENTER) -> np.ndarray:
    """A regular grid of two phase encodings whose rows are shifted against each other.

    The aliases then fall where the coils tell them apart better than on a rectangular grid.

    Parameters
    ----------
    shape : tuple of two int
        k-space.
    acceleration : (int, int)
        Distance of the rows measured, and of the samples in a row.
    shift : int
        By how many samples each measured row is shifted against the one before.
    center : float
        Diameter of the disc, as a fraction of k-space, that is measured in full.

    Returns
    -------
    ndarray of bool, shape ``shape``

    References
    ----------
    F. A. Breuer et al., "Controlled aliasing in volumetric parallel imaging (2D CAIPIRINHA)", Magn. Reson. Med. 55
    (2006).

    Examples
    --------
    >>> caipirinha((4, 6), (2, 3), center=0).astype(int)
    array([[1, 0, 0, 1, 0, 0],
           [0, 0, 0, 0, 0, 0],
           [0, 1, 0, 0, 1, 0],
           [0, 0, 0, 0, 0, 0]])
    """
    shape = _plane(shape)
    rows, columns = (positive_int("acceleration", a) for a in _pair(acceleration))
    shift = positive_int("shift", shift, minimum=0)
    y, x = np.ogrid[: shape[0], : shape[1]]
    grid = (y % rows == 0) & ((x - shift * (y // rows)) % columns == 0)
    return grid | _central(shape, _fraction("center", center))


def _drawn(shape: tuple[int, ...], acceleration: float, center: float, decay: float, rng: Any) -> np.ndarray:
    """The centre, and as many other samples at random as the acceleration leaves."""
    mask = _central(shape, _fraction("center", center))
    rest = round(math.prod(shape) / _acceleration(acceleration)) - int(mask.sum())
    if rest < 0:
        raise _too_large(center, acceleration)
    density = np.where(mask, 0.0, (1 - _distance(shape)).clip(1e-3) ** positive_float("decay", decay, zero=True))
    rng = np.random.default_rng(0 if rng is None else rng)
    if rest:
        mask.flat[rng.choice(mask.size, rest, replace=False, p=density.ravel() / density.sum())] = True
    return mask


def _apart(spacing: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Take points in ``order`` unless a point taken before is nearer than ``spacing`` there."""
    rows, columns = spacing.shape
    free = np.ones(spacing.shape, dtype=bool)
    mask = np.zeros(spacing.shape, dtype=bool)
    for cell in order:
        row, column = divmod(int(cell), columns)
        if not free[row, column]:
            continue
        mask[row, column] = True
        radius = spacing[row, column]
        reach = int(radius)
        top, left = max(row - reach, 0), max(column - reach, 0)
        y, x = np.ogrid[top : min(row + reach + 1, rows), left : min(column + reach + 1, columns)]
        free[top : top + y.size, left : left + x.size] &= (y - row) ** 2 + (x - column) ** 2 >= radius**2
    return mask


def _central(shape: tuple[int, ...], fraction: float) -> np.ndarray:
    """The samples within ``fraction`` of k-space around its centre."""
    return _distance(shape) <= fraction if fraction > 0 else np.zeros(shape, dtype=bool)


def _distance(shape: tuple[int, ...]) -> np.ndarray:
    """Distance from the centre, 1 at the edge of each axis."""
    squared = np.zeros(())
    for n in shape:
        squared = np.add.outer(squared, ((np.arange(n) - n // 2) / (n / 2)) ** 2)
    return np.sqrt(squared)


def _plane(shape: Any) -> tuple[int, int]:
    axes = shape_argument("shape", shape)
    if len(axes) != 2:
        raise ShapeError(f"shape is {axes}; expected two axes. Pass (ky, kx), and repeat the mask along the third.")
    return axes[0], axes[1]


def _pair(acceleration: Any) -> tuple[Any, Any]:
    if not isinstance(acceleration, (tuple, list)) or len(acceleration) != 2:
        raise ArgumentError(f"acceleration is {acceleration!r}; expected two integers. Pass (2, 2), for example.")
    return acceleration[0], acceleration[1]


def _acceleration(value: Any) -> float:
    number = positive_float("acceleration", value)
    if number < 1:
        raise ArgumentError(f"acceleration is {number:g}; expected 1 or more. Pass samples over samples measured.")
    return number


def _fraction(name: str, value: Any) -> float:
    number = positive_float(name, value, zero=True)
    if number > 1:
        raise ArgumentError(f"{name} is {number:g}; expected a fraction from 0 to 1. Pass 0.08, for example.")
    return number


def _too_large(center: float, acceleration: float) -> ArgumentError:
    return ArgumentError(
        f"center is {center:g}; it alone holds more samples than acceleration {acceleration:g} leaves. Lower either."
    )
