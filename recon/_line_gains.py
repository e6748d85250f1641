"""Gains and offsets of neighbouring detectors, each line fitted to the scene as its neighbours see it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from solvers import arrays

WIDTH = 2.0  # columns: standard deviation of the neighbourhood
ROUNDS = 3
_MAD_TO_SIGMA = 1.4826  # median absolute deviation of a normal variable


def level_lines(
    measured: np.ndarray, scene: np.ndarray, slow: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Offset and gain of each column, ``measured = gain * scene + offset``, from a first guess of the scene.

    A column is regressed on the average of its neighbours, with weights that are small where these differ among
    themselves: there the scene has edges. Gains shrink towards 1 by what their spread owes to noise. ``slow`` gives the
    part of a sequence of columns that belongs to the scene.
    """
    middle = float(np.median(scene))
    y, x = measured.astype(np.float64) - middle, scene.astype(np.float64) - middle
    offset, gain = np.zeros(y.shape[1]), np.ones(y.shape[1])
    for _ in range(ROUNDS):
        neighbours = _local(x)
        weights = _weights(x - neighbours)
        offset, gain = _regression(y, neighbours, weights)
        gain = gain / np.exp(slow(np.log(np.maximum(gain, 0.1))))
        offset = offset - slow(offset)
        x = (y - offset) / gain
    return offset + middle * (1.0 - gain), gain


def _local(values: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(values, WIDTH, axis=1, mode="reflect")


def _weights(deviation: np.ndarray) -> np.ndarray:
    """Inverse variance of a pixel about its neighbours, from that of its neighbourhood and a typical one."""
    typical = (_MAD_TO_SIGMA * float(np.median(np.abs(deviation)))) ** 2
    variance = typical + _local(deviation**2)
    largest = float(variance.max())
    if largest == 0.0:
        return np.ones_like(variance)
    return largest / np.maximum(variance, arrays.eps(variance) * largest)


def _regression(y: np.ndarray, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares ``y = offset + gain x`` for each column."""
    weights = weights / weights.sum(axis=0)
    mean_x, mean_y = (weights * x).sum(axis=0), (weights * y).sum(axis=0)
    x, y = x - mean_x, y - mean_y
    power = np.maximum((weights * x**2).sum(axis=0), 1e-300)
    gain = (weights * x * y).sum(axis=0) / power
    residual = (weights * (y - gain * x) ** 2).sum(axis=0)
    noise = residual * (weights**2).sum(axis=0) / power  # variance of a gain
    spread = (_MAD_TO_SIGMA * np.median(np.abs(gain - np.median(gain)))) ** 2
    real = max(float(spread - np.median(noise)), 0.0)
    gain = 1.0 + (gain - 1.0) * real / np.maximum(real + noise, 1e-300)
    return mean_y - gain * mean_x, gain
