"""``A^H A`` in the mean of where an impulse is, from the geometry alone: no projection, no transform of samples."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from solvers.arrays import threads

REACH = 2  # pixels on each side of a ray through the origin in which the response of a view can lie


def of_projections(shape: tuple[int, ...], angles: np.ndarray, spacing: float, cell: float) -> np.ndarray:
    r"""The response of parallel projections, over the distances ``-n`` to ``n - 1`` in FFT order.

    .. math:: h(\delta) = \sum_k \frac{s^3}{c_k \, cell} B_3(\delta \cdot e_k / (s c_k)), \quad
        c_k = \max(|\cos\theta_k|, |\sin\theta_k|)

    A pixel casts a linear B-spline on the detector (Joseph 1982), and its correlation with itself, in the mean of where
    the cells are, is the cubic one.
    """
    rows, columns = shape
    cosines, sines = np.cos(angles), np.sin(angles)
    upright = np.abs(cosines) >= np.abs(sines)
    down = _strips(rows, columns, sines[upright] / cosines[upright], spacing**3 / (cell * np.abs(cosines[upright])))
    across = _strips(columns, rows, cosines[~upright] / sines[~upright], spacing**3 / (cell * np.abs(sines[~upright])))
    return np.fft.ifftshift(down + across.T)


def _strips(rows: int, columns: int, slopes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum of lines through the origin that cross a row at ``slope`` times its number, cubic B-splines across."""
    numbers = np.arange(-rows, rows)
    crossed = slopes[:, None] * numbers
    nearest = np.rint(crossed).astype(int)[..., None] + np.arange(-REACH, REACH + 1)
    values = weights[:, None, None] * _cubic(nearest - crossed[..., None])
    inside = (nearest >= -columns) & (nearest < columns)
    places = (numbers + rows)[None, :, None] * (2 * columns) + nearest + columns
    total = np.bincount(places[inside], values[inside], 4 * rows * columns)
    return total.reshape(2 * rows, 2 * columns)


def _cubic(t: np.ndarray) -> np.ndarray:
    """The cubic B-spline."""
    t = np.abs(t)
    return np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6)


def seen_on_average(response: np.ndarray, coils: np.ndarray | None) -> np.ndarray:
    """What coils make of a response to impulses, in the mean of where they are; FFT order.

    A response that covers the image is periodic; over twice the image it is not.
    """
    if coils is None:
        return response
    together = _correlation(coils, response.shape)
    pairs = reduce(
        np.multiply.outer, [_pairs(n, most) for n, most in zip(coils.shape[1:], response.shape, strict=True)]
    )
    return response * np.divide(together, pairs, out=np.zeros_like(together), where=pairs > 0.5)


def _correlation(images: np.ndarray, grid: tuple[int, ...]) -> Any:
    """``sum_c sum_x conj(s_c(x + d)) s_c(x)``."""
    from scipy import fft

    power = np.zeros(grid)
    for image in images:
        power += np.abs(fft.fftn(image.conj(), grid, workers=threads())) ** 2
    return fft.ifftn(power, workers=threads())


def _pairs(n: int, grid: int) -> np.ndarray:
    """How many of ``n`` places on a line have one of them at each distance, periodically on a grid."""
    distances = np.arange(grid)
    return np.maximum(n - distances, 0) + np.maximum(n - grid + distances, 0) * (distances > 0)


def periodic(response: np.ndarray) -> np.ndarray:
    """The periodic response nearest to one over twice the image, as a matrix (Chan 1988)."""
    for axis in range(response.ndim):
        n = response.shape[axis] // 2
        weight = np.arange(n).reshape(-1, *(1,) * (response.ndim - axis - 1)) / n
        near, far = (np.take(response, numbers, axis) for numbers in (np.arange(n), np.arange(n, 2 * n)))
        response = (1 - weight) * near + weight * far
    return response
