"""Estimates of where the rotation axis meets the detector; ``recon.preprocess.find_center`` chooses among them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_CELLS = 64
"""A detector is binned down to this many cells or a little more: there noise hurts the search for the axis least."""


def opposite_views(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of views half a turn apart, up to one and a half of the usual gap between angles."""
    direction = np.sort(angles % np.pi)
    gaps = np.diff(direction, append=direction[0] + np.pi)
    distance = np.abs(np.angle(-np.exp(1j * (angles[:, None] - angles))))
    second = distance.argmin(axis=1)
    close = distance[np.arange(angles.size), second] <= 1.5 * np.median(gaps[gaps > 1e-9]) + 1e-9
    return np.flatnonzero(close), second[close]


def mirror_center(y: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Half the lag at which views correlate best with the mirror images of their opposites."""
    detectors = y.shape[-1]
    padded = 2 * detectors
    spectrum = np.fft.rfft(y[:, first], padded) * np.fft.rfft(y[:, second], padded)
    correlation = np.fft.irfft(spectrum.sum(axis=(0, 1)), padded)[: 2 * detectors - 1]
    lag = int(correlation[1:-1].argmax()) + 1
    before, here, after = correlation[lag - 1 : lag + 2]
    curvature = before - 2 * here + after
    return float(0.5 * (lag + (0.5 * (before - after) / curvature if curvature else 0.0)))


def moment_center(y: np.ndarray, angles: np.ndarray) -> float:
    """The centre of mass of a view moves on ``center + a cos + b sin``; exact where the views hold the whole object."""
    middle = 0.5 * (y.shape[-1] - 1)
    views = y.sum(axis=0, dtype=np.float64)
    mass = views.sum(axis=1).mean()
    columns = np.stack([np.full(angles.size, mass), np.cos(angles), np.sin(angles)], axis=1)
    moments = views @ (np.arange(y.shape[-1]) - middle)
    return float(np.linalg.lstsq(columns, moments, rcond=None)[0][0]) + middle


def sharpest_center(y: np.ndarray, angles: np.ndarray, starts: list[float]) -> float:
    """The centre of least Q_IA around the starts."""
    bins = 2 ** max(0, int(np.log2(y.shape[-1] / _CELLS)))
    reach = 0.05 * y.shape[-1] + 2 * bins
    trials = np.arange(min(starts) - reach, max(starts) + reach + bins, bins)
    cost = _sum_of_magnitudes(y, angles, bins, trials)
    return _golden(cost, float(trials[np.argmin([cost(c) for c in trials])]), bins)


def _binned(y: np.ndarray, bins: int) -> np.ndarray:
    whole = y.shape[-1] // bins
    return y[..., : whole * bins].reshape(*y.shape[:-1], whole, bins).mean(axis=-1)


def _sum_of_magnitudes(y: np.ndarray, angles: np.ndarray, bins: int, trials: np.ndarray) -> Callable[[float], float]:
    """The metric Q_IA of a trial centre in cells: the sum of ``|x|`` over all that turns through the detector."""
    from recon.fbp import fbp
    from recon.operators.parallel_beam import ParallelBeam

    binned = _binned(y, bins)
    cells = binned.shape[-1]
    positions = (trials + 0.5) / bins - 0.5
    # One disc for all trials, which holds the object wherever a wrong centre puts it.
    radius = max(positions.max(), cells - 1 - positions.min()) + 1
    side = 2 * int(np.ceil(radius)) + 1
    r = np.arange(side) - 0.5 * (side - 1)
    disc = r[:, None] ** 2 + r**2 <= radius**2

    def cost(center: float) -> float:
        position = (center + 0.5) / bins - 0.5
        operator = ParallelBeam((side, side), angles, detectors=cells, center=position)
        return float(np.abs(fbp(binned, operator, window="hann")[:, disc]).sum(dtype=np.float64))

    return cost


def _golden(cost: Callable[[float], float], center: float, reach: float) -> float:
    """Golden-section search of a minimum within ``center ± reach``, to 1 % of the reach."""
    ratio = (5**0.5 - 1) / 2
    low, high = center - reach, center + reach
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    cost_left, cost_right = cost(left), cost(right)
    while high - low > 0.02 * reach:
        if cost_left < cost_right:
            high, right, cost_right = right, left, cost_left
            left = high - ratio * (high - low)
            cost_left = cost(left)
        else:
            low, left, cost_left = left, right, cost_right
            right = low + ratio * (high - low)
            cost_right = cost(right)
    return 0.5 * (low + high)
