"""Noise levels estimated from a measurement alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array

_MAD_TO_SIGMA = 1.4826  # 1 / Phi^-1(3/4): median absolute deviation of a normal variable
_RAYLEIGH_MEDIAN = 1.17741  # sqrt(2 log 2): median modulus of a complex normal variable
_ENOUGH = 200  # samples a median needs to be a level


def estimate_sigma(y: Array, operator: Any) -> float:
    """Level of white Gaussian noise in a measurement.

    Complex measurements (k-space): from the modulus of the weakest tenth of the neighbourhoods, where there is next to
    no signal. Real ones: from the median absolute diagonal difference ``(y00 - y01 - y10 + y11) / 2``, which smooth
    images do not reach (Donoho and Johnstone 1994; Immerkaer 1996). Fine texture is read as noise, so this is an upper
    estimate on sharp images.

    Parameters
    ----------
    y : array
        Measurement, ``(..., *operator.out_shape)``.
    operator : Operator
        What measured it; its ``sampling`` tells where, its ``tile``, if any, after how many rows and columns a pixel
        measures alike.
    """
    values = _alike(arrays.to_numpy(y), getattr(operator, "tile", None))
    sampling = None if operator.sampling is None else np.broadcast_to(operator.sampling, values.shape)
    if np.iscomplexobj(values):
        return _complex_level(values, sampling)
    return _real_level(values, sampling)


def estimate_looks(y: Array, operator: Any) -> float:
    """Number of looks of speckle, from the level of its logarithm (an underestimate on fine texture).

    Parameters
    ----------
    y : array
        Intensities, ``(..., *operator.out_shape)``; those not above zero do not count.
    operator : Operator
        What measured them.
    """
    from scipy.optimize import brentq
    from scipy.special import polygamma

    values = arrays.to_numpy(y).real
    logs = np.log(np.where(values > 0, values, 1.0))
    sampling = values > 0 if operator.sampling is None else (values > 0) & operator.sampling
    variance = _real_level(logs, None if sampling.all() else sampling) ** 2
    few, many = 0.1, 1e6
    if not polygamma(1, many) < variance < polygamma(1, few):
        return many if variance < 1 else few
    return float(brentq(lambda looks: polygamma(1, looks) - variance, few, many))


def _complex_level(k: np.ndarray, sampling: np.ndarray | None) -> float:
    measured = np.abs(k if sampling is None else k[sampling]).reshape(-1)
    measured = measured[: measured.size // 16 * 16].reshape(-1, 16)
    if not measured.size:
        return 0.0
    levels = np.sqrt(np.mean(measured**2, axis=1))
    quiet = measured[levels <= np.quantile(levels, 0.1)]
    return float(np.median(quiet)) / _RAYLEIGH_MEDIAN


def _alike(y: np.ndarray, tile: tuple[int, int] | None) -> np.ndarray:
    """The pixels that measure alike side by side, those of each place in the tile an image of its own."""
    if tile is None or any(n < 2 * t for n, t in zip(y.shape[-2:], tile, strict=True)):
        return y
    (rows, columns), (r, c) = (n // t for n, t in zip(y.shape[-2:], tile, strict=True)), tile
    whole = y[..., : rows * r, : columns * c].reshape(*y.shape[:-2], rows, r, columns, c)
    return np.moveaxis(whole, (-3, -1), (-4, -3))


def _real_level(y: np.ndarray, sampling: np.ndarray | None) -> float:
    """Robust level of the diagonal differences, or of plain ones where too few squares are measured."""
    if y.ndim < 2 or min(y.shape[-2:]) < 2:
        return _mad(np.diff(y, axis=-1)) / np.sqrt(2)
    squares = (y[..., :-1, :-1] - y[..., :-1, 1:] - y[..., 1:, :-1] + y[..., 1:, 1:]) / 2
    if sampling is None:
        return _mad(squares)
    kept = sampling[..., :-1, :-1] & sampling[..., :-1, 1:] & sampling[..., 1:, :-1] & sampling[..., 1:, 1:]
    if kept.sum() >= _ENOUGH:
        return _mad(squares[kept])
    pairs = sampling[..., :-1] & sampling[..., 1:]
    return _mad(np.diff(y, axis=-1)[pairs]) / float(np.sqrt(2)) if pairs.any() else float(np.std(y[sampling]))


def _mad(differences: np.ndarray) -> float:
    return _MAD_TO_SIGMA * float(np.median(np.abs(differences))) if differences.size else 0.0
