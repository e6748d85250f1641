"""Noise levels estimated from a measurement alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array

_MAD_TO_SIGMA = 1.4826  # 1 / Phi^-1(3/4): median absolute deviation of a normal variable
_RAYLEIGH_MEDIAN = 1.17741  # sqrt(2 log 2): median modulus of a complex normal variable
_LOWER_SHARE = 0.4377  # mean of the lower 80 % of squared standard normal variables
_BLOCK, _QUIET = 8, 0.1  # rows and columns of a block, share of the blocks that is taken for free of texture
_FREQUENCY = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK))
_COARSE, _FINE = 7, 10  # of a block, up to which texture shows and from which on noise does
_SHARES = (1.0, 0.5, 0.25, _QUIET)
_SLACK = 0.02  # squared, by which coarser frequencies may be above the finest ones where there is noise alone
_FINEST, _MIDDLE = 12, (0.3, 0.6)  # frequencies, and share of the blocks, by which texture is told from noise
_LEAST_OF_QUIET = 0.25  # noise in the finest frequencies of the quietest blocks, squared
_LEAST_BLOCKS, _ENOUGH_BLOCKS, _MOST_BLOCKS = 24, 4000, 20_000
_KOAY_STEPS = 200  # of a fixed point that is slow where the signal is weak
_ENOUGH = 200  # samples a median needs to be a level
_FEW = 100  # and a lower quartile of differences in several directions
_LOWER_QUARTILE = 0.31864  # Phi^-1(5/8): of the modulus of a normal variable


def estimate_sigma(y: Array, operator: Any) -> float:
    """Level of white Gaussian noise in a measurement.

    Complex measurements (k-space): from the modulus of the weakest tenth of the neighbourhoods, where there is next to
    no signal. Real ones: from the fine frequencies of the 8 x 8 blocks whose coarse ones are weakest (Ponomarenko et
    al., IGARSS 2007), which says nothing of their noise: that of one frequency is not that of another. Where those are
    not white, what texture adds is taken off. Few or scattered samples: from the median absolute diagonal difference
    ``(y00 - y01 - y10 + y11) / 2``, which smooth images do not reach (Donoho and Johnstone 1994; Immerkaer 1996).

    Parameters
    ----------
    y : array
        Measurement, ``(..., *operator.out_shape)``.
    operator : Operator
        What measured it; its ``sampling`` and ``informative`` tell where, its ``tile``, if any, after how many rows and
        columns a pixel measures alike.
    """
    return sigma_found(y, operator)[0]


def sigma_found(y: Array, operator: Any) -> tuple[float, bool]:
    """The level of :func:`estimate_sigma`, and whether it was found where there is no texture."""
    values = _alike(arrays.to_numpy(y), getattr(operator, "tile", None))
    sampling = None if operator.sampling is None else np.broadcast_to(operator.sampling, values.shape)
    told = operator.informative(arrays.to_numpy(y)) if hasattr(operator, "informative") else None
    if told is not None and told.any():  # samples at the end of a range show no noise
        sampling = told if sampling is None else sampling & told
    if np.iscomplexobj(values):
        return complex_level(values, sampling), False
    return _real_level(values, sampling)


def relative_band_levels(y: Array, operator: Any) -> np.ndarray | None:
    """How the noise levels of bands relate, the mean one being 1; None where the measurement cannot tell.

    Parameters
    ----------
    y : array
        Measurement, ``(..., bands, *operator.out_shape)``.
    operator : Operator
        What measured each of the bands.
    """
    values, ndim = arrays.to_numpy(y), len(operator.out_shape)
    if np.iscomplexobj(values) or operator.sampling is not None or ndim < 2:
        return None
    found = [_quiet_level(band, None) for band in np.moveaxis(values, -ndim - 1, 0)]
    levels = np.array([0.0 if level is None else level for level in found])
    return levels / levels.mean() if levels.min() > 0 else None


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
    variance = _real_level(logs, None if sampling.all() else sampling)[0] ** 2
    few, many = 0.1, 1e6
    if not polygamma(1, many) < variance < polygamma(1, few):
        return many if variance < 1 else few
    return float(brentq(lambda looks: polygamma(1, looks) - variance, few, many))


def estimate_gain(y: Array, operator: Any) -> tuple[float, float]:
    """Gain and readout noise of photon counts, from how the variance grows with the mean.

    The squared level of the diagonal differences is taken among samples of like brightness, and
    ``variance = gain * mean + sigma^2`` fitted to it; bins that fine texture raises count less.

    Parameters
    ----------
    y : array
        Measurement, ``(..., *operator.out_shape)``, of at least two axes.
    operator : Operator
        What measured it; its ``sampling`` tells where.
    """
    mean, variance = _variance_by_brightness(y, operator)
    return _line(np.maximum(mean, 0.0), variance)


def estimate_rician(y: Array, operator: Any) -> float:
    """Standard deviation behind Rician noise, from mean and variance of magnitudes.

    Both are taken among samples of like brightness. Where there is no signal the variance of a magnitude is
    ``(2 - pi / 2) sigma^2``, far above the noise ``sigma^2``, and in between it follows from mean and variance by the
    inversion of Koay and Basser (J. Magn. Reson. 179, 2006). The median of the bins is taken: texture raises some.

    Parameters
    ----------
    y : array
        Magnitudes, ``(..., *operator.out_shape)``, of at least two axes.
    operator : Operator
        What measured it; its ``sampling`` tells where.
    """
    mean, variance = _variance_by_brightness(y, operator)
    square = mean**2 / np.maximum(variance, 1e-300)
    signal = np.zeros_like(mean)  # over sigma
    for _ in range(_KOAY_STEPS):
        signal = np.sqrt(np.maximum(_rician_variance(signal) * (1 + square) - 2, 0.0))
    return float(np.median(np.sqrt(variance / _rician_variance(signal))))


def _rician_variance(signal: np.ndarray) -> np.ndarray:
    """Variance of a magnitude whose signal is so many times the standard deviation of its noise, over that squared."""
    return 2 + signal**2 - rician_mean(signal) ** 2


def rician_mean(signal: np.ndarray) -> np.ndarray:
    """Mean of such a magnitude, over the standard deviation of the noise."""
    from scipy.special import ive

    square = signal**2  # the Bessel functions are scaled by e^(-square / 4)
    return math.sqrt(np.pi / 8) * ((2 + square) * ive(0, square / 4) + square * ive(1, square / 4))


def _variance_by_brightness(y: Array, operator: Any) -> tuple[np.ndarray, np.ndarray]:
    """Means of samples of like brightness, and variances by their diagonal differences."""
    values = arrays.to_numpy(y).real
    corners = [values[..., i : values.shape[-2] - 1 + i, j : values.shape[-1] - 1 + j] for i in (0, 1) for j in (0, 1)]
    means = (corners[0] + corners[1] + corners[2] + corners[3]) / 4
    squares = ((corners[0] - corners[1] - corners[2] + corners[3]) / 2) ** 2
    if operator.sampling is not None:
        kept = np.broadcast_to(operator.sampling, values.shape)
        kept = kept[..., :-1, :-1] & kept[..., :-1, 1:] & kept[..., 1:, :-1] & kept[..., 1:, 1:]
        means, squares = means[kept], squares[kept]
    order = np.argsort(means, axis=None)
    bins = np.array_split(order, max(min(order.size // _ENOUGH, 40), 2))
    mean = np.array([means.flat[b].mean() for b in bins])
    return mean, np.array([_lower_mean(squares.flat[b]) for b in bins])


def _lower_mean(squares: np.ndarray) -> float:
    """Variance from the lower four fifths of squared normal variables; unlike a median it stands counts of a few."""
    return float(np.sort(squares)[: max(4 * squares.size // 5, 1)].mean()) / _LOWER_SHARE


def _line(mean: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """Gain and sigma of ``variance = gain * mean + sigma^2``, both at least 0, what lies far above counting less."""
    from scipy.optimize import nnls

    columns = np.stack([mean, np.ones_like(mean)], axis=1)
    weights = 1.0 / np.maximum(variance, 0.1 * variance.mean() + 1e-300)
    for _ in range(20):
        (gain, square), _ = nnls(columns * weights[:, None], variance * weights)
        fitted = np.maximum(columns @ [gain, square], 1e-300)
        weights = 1.0 / (fitted * (1.0 + (np.maximum(variance / fitted - 1.0, 0.0) / 0.1) ** 2))
    return float(gain), float(np.sqrt(square))


def complex_level(k: np.ndarray, sampling: np.ndarray | None) -> float:
    """Level of the real and the imaginary part, from the weakest tenth of the neighbourhoods."""
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


def _real_level(y: np.ndarray, sampling: np.ndarray | None) -> tuple[float, bool]:
    """Level of the quietest blocks and True; of differences and False where there are too few."""
    quiet = _quiet_level(y, sampling) if y.ndim > 1 else None
    return (_differences_level(y, sampling), False) if quiet is None else (quiet, True)


def _differences_level(y: np.ndarray, sampling: np.ndarray | None) -> float:
    """Robust level of the diagonal differences, or of others where too few squares are measured."""
    if y.ndim < 2 or min(y.shape[-2:]) < 2:
        return _mad(np.diff(y, axis=-1)) / np.sqrt(2)
    squares = (y[..., :-1, :-1] - y[..., :-1, 1:] - y[..., 1:, :-1] + y[..., 1:, 1:]) / 2
    if sampling is None:
        return _mad(squares)
    kept = sampling[..., :-1, :-1] & sampling[..., :-1, 1:] & sampling[..., 1:, :-1] & sampling[..., 1:, 1:]
    if kept.sum() >= _ENOUGH:
        return _mad(squares[kept])
    turned = y.swapaxes(-1, -2), sampling.swapaxes(-1, -2)
    found = np.abs(np.concatenate((squares[kept], _second_differences(y, sampling), _second_differences(*turned))))
    if found.size >= _FEW:  # scattered pixels: those in a row see slopes and edges less than pairs do
        return float(np.quantile(found, 0.25)) / _LOWER_QUARTILE
    pairs = sampling[..., :-1] & sampling[..., 1:]
    return _mad(np.diff(y, axis=-1)[pairs]) / float(np.sqrt(2)) if pairs.any() else float(np.std(y[sampling]))


def _quiet_level(y: np.ndarray, sampling: np.ndarray | None) -> float | None:
    """Level of the fine frequencies of the quietest blocks, as many as are white and as quiet as the quietest tenth.

    Where none are white, less what texture there is in those. None where too few blocks are measured and alive.
    """
    from scipy.fft import dctn

    if min(y.shape[-2:]) < 2 * _BLOCK:
        return None
    step, most = _BLOCK // 2, min(max(y.size // _BLOCK**2, _ENOUGH_BLOCKS), _MOST_BLOCKS)
    while y.size > most * step**2:
        step += 1
    blocks = _blocks(y, step)
    # Where neighbours are equal no noise was measured: what was clipped, filled in or set to zero.
    alive = (np.diff(blocks, axis=-1) != 0).mean(axis=(-2, -1)) > 0.5
    if sampling is not None:
        alive &= _blocks(np.broadcast_to(sampling, y.shape), step).all(axis=(-2, -1))
    if alive.sum() < _LEAST_BLOCKS:
        return None
    waves = dctn(blocks[alive].astype(np.float64, copy=False), axes=(-2, -1), norm="ortho") ** 2
    texture = waves[:, (_FREQUENCY > 0) & (_FREQUENCY <= _COARSE)].mean(axis=-1)
    order = np.argsort(texture)
    found = [_fine_level(waves[order[: max(round(share * len(waves)), _LEAST_BLOCKS)]]) for share in _SHARES]
    quiet, _, chance = found[-1]
    alike = [level for level, white, _ in found if white and level <= (1 + _SLACK + chance) * quiet]
    return math.sqrt(alike[0] if alike else _without_texture(waves[order], texture[order]))


def _without_texture(waves: np.ndarray, texture: np.ndarray) -> float:
    """Squared level of the finest frequencies where there is no texture, if theirs grows as that of coarse ones does.

    Blocks are in the order of their texture.
    """
    quiet, loud = (
        slice(max(round(_QUIET * len(waves)), _LEAST_BLOCKS)),
        slice(*(round(s * len(waves)) for s in _MIDDLE)),
    )
    fine = [_lower_mean(waves[part][:, _FREQUENCY >= _FINEST].reshape(-1)) for part in (quiet, loud)]
    coarse = [float(texture[part].mean()) for part in (quiet, loud)]
    if not fine[1] - fine[0] < coarse[1] - coarse[0]:
        return fine[0]
    level = (fine[0] * coarse[1] - fine[1] * coarse[0]) / (coarse[1] - coarse[0] - fine[1] + fine[0])
    return min(max(level, _LEAST_OF_QUIET * fine[0]), fine[0])


def _fine_level(waves: np.ndarray) -> tuple[float, bool, float]:
    """Squared level of the fine frequencies of blocks, whether coarser ones have the same, and its relative error."""
    coarser, fine = (_COARSE < _FREQUENCY) & (_FREQUENCY < _FINE), _FREQUENCY >= _FINE
    level, above = (_lower_mean(waves[:, chosen].reshape(-1)) for chosen in (fine, coarser))
    # Each pixel is in up to four blocks.
    errors = [math.sqrt(2 * 4 / (len(waves) * chosen.sum())) for chosen in (fine, coarser)]
    return level, bool(above <= (1 + _SLACK + math.hypot(*errors)) * level), errors[0]


def _blocks(y: np.ndarray, step: int) -> np.ndarray:
    """Blocks of the last two axes, so many rows and columns apart, of all images as one list."""
    every = np.lib.stride_tricks.sliding_window_view(y, (_BLOCK, _BLOCK), axis=(-2, -1))
    return every[..., ::step, ::step, :, :].reshape(-1, _BLOCK, _BLOCK)


def _second_differences(y: np.ndarray, sampling: np.ndarray) -> np.ndarray:
    """Those along the rows, where all three samples were measured, with the noise of one sample."""
    kept = sampling[..., :-2] & sampling[..., 1:-1] & sampling[..., 2:]
    return (y[..., :-2] - 2 * y[..., 1:-1] + y[..., 2:])[kept] / math.sqrt(6)


def _mad(differences: np.ndarray) -> float:
    return _MAD_TO_SIGMA * float(np.median(np.abs(differences))) if differences.size else 0.0
