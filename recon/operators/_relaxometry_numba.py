"""Fits of exponentials to many voxels at once. A job owns a block of voxels."""

from __future__ import annotations

import numba
import numpy as np

from solvers.kernels import block_of, run_jobs

STEPS = 40  # Levenberg-Marquardt steps at most
SETTLED = 1e-7  # relative change at which they end
FIRST_DAMPING, LESS, MORE, MOST = 1e-3, 0.2, 5.0, 1e12


def fit_voxels(series: np.ndarray, times: np.ndarray, rates: np.ndarray, c0: float, c1: float) -> np.ndarray:
    """Amplitude and rate of ``amplitude (c0 + c1 exp(-t rate))`` for each column of ``series``, by least squares."""
    curves = c0 + c1 * np.exp(-times * rates[:, None])
    out = np.empty((2, series.shape[1]))
    block = block_of(series.shape[1])
    count = -(-series.shape[1] // block)
    run_jobs(_fit_block, series.size * STEPS, count, block, series, times, rates, curves, c0, c1, out)
    return out


@numba.njit(nogil=True, cache=True)
def _fit_block(
    job: int,
    block: int,
    series: np.ndarray,
    times: np.ndarray,
    rates: np.ndarray,
    curves: np.ndarray,
    c0: float,
    c1: float,
    out: np.ndarray,
) -> None:
    y = np.empty(times.size)
    for v in range(job * block, min((job + 1) * block, series.shape[1])):
        for k in range(times.size):
            y[k] = series[k, v]
        amplitude, rate = _best_of_grid(y, rates, curves)
        out[0, v], out[1, v] = _refined(y, times, c0, c1, amplitude, rate, 0.1 * rates[0], 10.0 * rates[-1])


@numba.njit(nogil=True, cache=True)
def _best_of_grid(y: np.ndarray, rates: np.ndarray, curves: np.ndarray) -> tuple[float, float]:
    """The rate whose curve, with the best amplitude, explains most of ``y``."""
    best, amplitude, rate = -1.0, 0.0, rates[rates.size // 2]
    for g in range(rates.size):
        product, square = 0.0, 0.0
        for k in range(y.size):
            product += y[k] * curves[g, k]
            square += curves[g, k] * curves[g, k]
        if square > 0 and product * product / square > best:
            best, amplitude, rate = product * product / square, product / square, rates[g]
    return amplitude, rate


@numba.njit(nogil=True, cache=True)
def _refined(
    y: np.ndarray, times: np.ndarray, c0: float, c1: float, a: float, r: float, slowest: float, fastest: float
) -> tuple[float, float]:
    """Levenberg-Marquardt steps on amplitude and rate; the damping is relative to the diagonal (Marquardt)."""
    damping = FIRST_DAMPING
    misfit = _misfit(y, times, c0, c1, a, r)
    for _ in range(STEPS):
        aa, ar, rr, ga, gr = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(y.size):
            e = np.exp(-times[k] * r)
            by_a, by_r = c0 + c1 * e, -a * c1 * times[k] * e
            residual = a * by_a - y[k]
            aa += by_a * by_a
            ar += by_a * by_r
            rr += by_r * by_r
            ga += by_a * residual
            gr += by_r * residual
        while damping < MOST:
            haa, hrr = aa * (1 + damping) + 1e-300, rr * (1 + damping) + 1e-300
            determinant = haa * hrr - ar * ar
            da, dr = (ar * gr - hrr * ga) / determinant, (ar * ga - haa * gr) / determinant
            new_a, new_r = a + da, min(max(r + dr, slowest), fastest)
            found = _misfit(y, times, c0, c1, new_a, new_r)
            if found <= misfit:
                break
            damping *= MORE
        if damping >= MOST:
            break
        settled = abs(new_r - r) <= SETTLED * r and abs(new_a - a) <= SETTLED * abs(a)
        a, r, misfit = new_a, new_r, found
        damping = max(damping * LESS, 1e-12)
        if settled:
            break
    return a, r


@numba.njit(nogil=True, cache=True)
def _misfit(y: np.ndarray, times: np.ndarray, c0: float, c1: float, a: float, r: float) -> float:
    total = 0.0
    for k in range(y.size):
        residual = a * (c0 + c1 * np.exp(-times[k] * r)) - y[k]
        total += residual * residual
    return total
