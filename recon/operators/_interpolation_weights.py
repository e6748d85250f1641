"""How much of each given point spread function a pixel has, summed up to a few components."""

from __future__ import annotations

from functools import reduce

import numpy as np


def grid_weights(
    coefficients: np.ndarray, shape: tuple[int, ...], start: tuple[int, ...], frame: tuple[int, ...]
) -> np.ndarray:
    """Coefficients (*grid, components) interpolated linearly between the middles of the cells of a grid over ``frame``.

    ``shape`` pixels are covered, of which the frame begins at ``start``; beyond the outer middles the values stay.
    Returns (components, *shape).
    """

    def along(values: np.ndarray, axis: tuple[int, int, int]) -> np.ndarray:
        n, first, length = axis
        cells = values.shape[0]  # the axis done moves to the end
        at = (np.arange(n) - first + 0.5) * cells / length - 0.5
        hats = np.maximum(1.0 - np.abs(np.clip(at, 0, cells - 1)[:, None] - np.arange(cells)), 0.0)
        return np.tensordot(values, hats, axes=(0, 1))

    out = reduce(along, zip(shape, start, frame, strict=True), coefficients)
    return np.ascontiguousarray(out)


def scattered_weights(
    coefficients: np.ndarray, positions: np.ndarray, shape: tuple[int, ...], start: tuple[int, ...]
) -> np.ndarray:
    """Coefficients (points, components) interpolated from ``positions`` by their inverse squared distances.

    Returns (components, *shape).
    """
    out = np.empty((coefficients.shape[1], *shape))
    for row in range(shape[0]):
        pixels = np.indices((1, *shape[1:])).reshape(len(shape), -1).T + np.array([row, *(0,) * (len(shape) - 1)])
        squares = np.square((pixels - np.array(start))[:, None] - positions).sum(axis=-1)
        weights = 1.0 / np.maximum(squares, 1e-12)
        weights /= weights.sum(axis=1, keepdims=True)
        out[:, row] = (weights @ coefficients).T.reshape(-1, *shape[1:])
    return out
