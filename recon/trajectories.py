"""Trajectories through k-space, and how densely they sample it.

Positions are in cycles per field of view, (..., ndim) in the order of the image's axes (ky, kx), as
:class:`recon.operators.NonCartesianMRI` takes them: an image of ``N`` pixels is resolved by ``-N / 2`` to ``N / 2``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import positive_float, positive_int, require_finite, shape_argument

GOLDEN_ANGLE = math.pi * (math.sqrt(5) - 1) / 2
"""Radians (111.25 degrees) between successive spokes that fill the half turn evenly, wherever one stops."""


def radial(spokes: int, samples: int, *, size: float | None = None, golden: bool = False) -> np.ndarray:
    """Straight lines through the centre of k-space.

    Parameters
    ----------
    spokes : int
        Number of lines, evenly over half a turn; the first lies along kx.
    samples : int
        Samples of a line, from ``-size / 2`` up to but not including ``size / 2``; an even number meets the centre.
    size : float, optional
        Extent of k-space, the pixels of the image; by default ``samples / 2``, twofold oversampled.
    golden : bool
        Turn by the golden angle from line to line, so that any number of successive lines is nearly even.

    Returns
    -------
    ndarray, shape (spokes, samples, 2)

    References
    ----------
    S. Winkelmann et al., "An optimal radial profile order based on the golden ratio for time-resolved MRI", IEEE Trans.
    Med. Imaging 26 (2007).

    Examples
    --------
    >>> radial(2, 4, size=4)[0]
    array([[-0., -2.],
           [-0., -1.],
           [ 0.,  0.],
           [ 0.,  1.]])
    """
    spokes, samples = positive_int("spokes", spokes), positive_int("samples", samples, minimum=2)
    extent = samples / 2 if size is None else positive_float("size", size)
    angles = np.arange(spokes) * (GOLDEN_ANGLE if golden else math.pi / spokes)
    along = extent * (np.arange(samples) / samples - 0.5)
    return along[:, None] * _directions(angles)[:, None, :]


def spiral(
    interleaves: int, samples: int, *, size: float, turns: float | None = None, density: float = 1.0
) -> np.ndarray:
    r"""Spirals from the centre outwards, ``k(t) = size / 2 * t^density * e^(i 2 pi turns t)``.

    Parameters
    ----------
    interleaves : int
        Number of spirals, each turned on by an equal part of the circle.
    samples : int
        Samples of a spiral, evenly in ``t``.
    size : float
        Extent of k-space, the pixels of the image.
    turns : float, optional
        Turns of a spiral; by default as many as put neighbouring arms one cycle per field of view apart at the edge.
    density : float
        1 is Archimedes' spiral; above 1 the centre is sampled more densely.

    Returns
    -------
    ndarray, shape (interleaves, samples, 2)

    References
    ----------
    C. H. Meyer et al., "Fast spiral coronary artery imaging", Magn. Reson. Med. 28 (1992).

    Examples
    --------
    >>> spiral(4, 100, size=32).shape
    (4, 100, 2)
    """
    interleaves, samples = positive_int("interleaves", interleaves), positive_int("samples", samples, minimum=2)
    size, density = positive_float("size", size), positive_float("density", density)
    turns = size * density / (2 * interleaves) if turns is None else positive_float("turns", turns)
    t = np.arange(samples) / (samples - 1)
    angles = 2 * math.pi * (turns * t + np.arange(interleaves)[:, None] / interleaves)
    return (size / 2 * t**density)[:, None] * _directions(angles)


def rosette(petals: int, samples: int, *, size: float) -> np.ndarray:
    """Loops that cross the centre again and again: ``k(t) = size / 2 * sin(petals t) e^(i t)``.

    Parameters
    ----------
    petals : int
        Crossings of the centre over half a turn.
    samples : int
        Samples in all, evenly in ``t`` over a whole turn.
    size : float
        Extent of k-space, the pixels of the image.

    Returns
    -------
    ndarray, shape (samples, 2)

    References
    ----------
    D. C. Noll, "Multishot rosette trajectories for spectrally selective MR imaging", IEEE Trans. Med. Imaging 16
    (1997).

    Examples
    --------
    >>> rosette(5, 200, size=32).shape
    (200, 2)
    """
    petals, samples = positive_int("petals", petals), positive_int("samples", samples, minimum=2)
    t = 2 * math.pi * np.arange(samples) / samples
    return (positive_float("size", size) / 2 * np.sin(petals * t))[:, None] * _directions(t)


def stack_of(trajectory: Any, partitions: int) -> np.ndarray:
    """A planar trajectory repeated in every plane of a 3-D k-space (stack of stars, stack of spirals).

    Parameters
    ----------
    trajectory : array of float, shape (..., 2)
    partitions : int
        Planes, at ``kz = -partitions // 2`` and on.

    Returns
    -------
    ndarray, shape (partitions, ..., 3)
        In the order (kz, ky, kx).

    Examples
    --------
    >>> stack_of(radial(4, 16), 6).shape
    (6, 4, 16, 3)
    """
    plane = _trajectory(trajectory)
    if plane.shape[-1] != 2:
        raise ShapeError(f"trajectory has shape {plane.shape}; expected (..., 2). Pass positions in a plane.")
    heights = np.arange(positive_int("partitions", partitions)) - partitions // 2
    out = np.empty((partitions, *plane.shape[:-1], 3))
    out[..., 0] = heights.reshape(-1, *[1] * (plane.ndim - 1))
    out[..., 1:] = plane
    return out


def kooshball(spokes: int, samples: int, *, size: float | None = None) -> np.ndarray:
    """Lines through the centre of a 3-D k-space, their directions spread evenly over the half sphere.

    Parameters
    ----------
    spokes, samples, size
        As for :func:`radial`.

    Returns
    -------
    ndarray, shape (spokes, samples, 3)
        In the order (kz, ky, kx).

    References
    ----------
    R. W. Chan et al., "Temporal stability of adaptive 3D radial MRI using multidimensional golden means", Magn. Reson.
    Med. 61 (2009).

    Examples
    --------
    >>> kooshball(10, 8).shape
    (10, 8, 3)
    """
    spokes, samples = positive_int("spokes", spokes), positive_int("samples", samples, minimum=2)
    extent = samples / 2 if size is None else positive_float("size", size)
    kz = (np.arange(spokes) + 0.5) / spokes
    around = GOLDEN_ANGLE * 2 * np.arange(spokes)
    plane = np.sqrt(1 - kz**2)[:, None] * _directions(around)
    along = extent * (np.arange(samples) / samples - 0.5)
    return along[:, None] * np.concatenate([kz[:, None], plane], axis=1)[:, None, :]


def density_compensation(trajectory: Any, shape: Any, *, iterations: int = 30, eps: float = 1e-4) -> np.ndarray:
    r"""Weights that make up for how densely a trajectory samples k-space: ``A.adjoint(w * y)`` then shows the image.

    Repeats :math:`w \leftarrow w / |w * \psi|`, until the weighted samples, each spread by the kernel :math:`\psi`,
    cover k-space evenly. The kernel is as wide as the resolution of k-space: its transform is the image's own support,
    convolved with itself.

    Parameters
    ----------
    trajectory : array of float, shape (..., ndim)
        Positions in cycles per field of view.
    shape : tuple of int
        Image.
    iterations : int
        Repetitions.
    eps : float
        Relative tolerance of the transforms.

    Returns
    -------
    ndarray, shape (...)
        On the scale on which ``A.adjoint(w * A(x))`` is ``x``, as far as the trajectory reaches.

    References
    ----------
    J. G. Pipe, P. Menon, "Sampling density compensation in MRI: rationale and an iterative numerical solution", Magn.
    Reson. Med. 41 (1999).

    Examples
    --------
    >>> w = density_compensation(radial(16, 32, size=16), (16, 16))
    >>> w.shape, bool(w[0, 2] > 3 * w[0, 15])
    ((16, 32), True)
    """
    from recon.operators.non_cartesian import NonCartesianMRI

    shape = shape_argument("shape", shape)
    doubled = tuple(2 * n for n in shape)
    # On a field of view twice as wide the same positions are twice as many cycles.
    spread = NonCartesianMRI(2 * _trajectory(trajectory), doubled, eps=eps)
    support = _autocorrelation(shape)
    weights = np.ones(spread.out_shape)
    for _ in range(positive_int("iterations", iterations)):
        covered = np.abs(spread(support * spread.adjoint(weights)))
        weights = weights / np.maximum(covered, 1e-12 * covered.max())
    # The doubled grid has 2^ndim as many pixels, and so have the samples of an even cover.
    return weights / 2 ** len(shape)


def voronoi_density(trajectory: Any) -> np.ndarray:
    """Area of k-space nearer to a sample than to any other, in squared cycles per field of view.

    Parameters
    ----------
    trajectory : array of float, shape (..., 2)
        Positions in a plane. Samples at one place share its area; those on the rim get that of their neighbours.

    Returns
    -------
    ndarray, shape (...)
        Weights for ``A.adjoint(w * y)``.

    References
    ----------
    V. Rasche et al., "Resampling of data between arbitrary grids using convolution interpolation", IEEE Trans. Med.
    Imaging 18 (1999).

    Examples
    --------
    >>> y, x = np.mgrid[-3:4, -3:4]
    >>> round(float(voronoi_density(np.stack([y, x], axis=-1))[2, 3]), 6)
    1.0
    """
    from scipy.spatial import Voronoi

    positions = _trajectory(trajectory)
    if positions.shape[-1] != 2:
        raise ShapeError(f"trajectory has shape {positions.shape}; expected (..., 2). Use density_compensation in 3-D.")
    places, which, sharing = np.unique(
        positions.reshape(-1, 2).round(9), axis=0, return_inverse=True, return_counts=True
    )
    if len(places) < 4:
        raise ArgumentError(f"trajectory has {len(places)} different positions; expected four or more. Sample more.")
    areas = _filled_in(_cell_areas(Voronoi(places)), places)
    return (areas / sharing)[which.reshape(-1)].reshape(positions.shape[:-1])


def _cell_areas(diagram: Any) -> np.ndarray:
    """Area of each cell, NaN where it leaves the circle that holds all samples."""
    regions = [diagram.regions[region] for region in diagram.point_region]
    lengths = np.array([len(region) for region in regions])
    corners = np.concatenate([np.asarray(region, dtype=np.intp) for region in regions])
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    following = np.arange(1, len(corners) + 1)
    following[first + lengths - 1] = first  # the last corner of a cell is joined to its first
    x, y = diagram.vertices[corners].T
    area = 0.5 * np.abs(np.add.reduceat(x * y[following] - y * x[following], first))
    reach = np.linalg.norm(diagram.points, axis=1).max() * (1 + 1e-9)
    outside = (corners < 0) | (np.hypot(x, y) > reach)
    return np.where(np.logical_or.reduceat(outside, first), math.nan, area)


def _filled_in(areas: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Cells on the rim have no bound of their own: the largest of the three nearest bounded ones stands in."""
    from scipy.spatial import cKDTree

    inside = np.isfinite(areas)
    if not inside.any():
        raise ArgumentError("trajectory encloses no sample; expected positions that cover an area. Sample more.")
    _, near = cKDTree(places[inside]).query(places[~inside], k=min(3, int(inside.sum())))
    filled = areas.copy()
    filled[~inside] = areas[inside][near].reshape(len(near), -1).max(axis=1)
    return filled


def _autocorrelation(shape: tuple[int, ...]) -> np.ndarray:
    """Triangles over a grid of ``2 n``: the support of the image convolved with itself, 1 in the middle."""
    out = np.ones(())
    for n in shape:
        out = np.multiply.outer(out, 1 - np.abs(np.arange(2 * n) - n) / n)
    return out


def _directions(angles: np.ndarray) -> np.ndarray:
    """Unit vectors (ky, kx) at ``angles`` from kx."""
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1)


def _trajectory(trajectory: Any) -> np.ndarray:
    values = np.asarray(trajectory)
    if values.dtype.kind not in "iuf":
        raise DTypeError(f"trajectory has dtype {values.dtype}; expected real positions. Pass floats, (..., ky, kx).")
    if values.ndim < 2 or not values.size:
        raise ShapeError(f"trajectory has shape {values.shape}; expected (..., ndim). Pass a list of positions.")
    require_finite("trajectory", values, "Leave out the samples whose position is not known, here and in y.")
    return values.astype(np.float64)
