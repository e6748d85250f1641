"""Conversion to the type a file holds: nothing is wrapped, and nothing is clipped unless asked for."""

from __future__ import annotations

import numpy as np

from solvers.errors import ArgumentError, DTypeError, FileError

_FEWEST_LEVELS = 16


def convert(
    path: object,
    array: np.ndarray,
    dtype: np.dtype | None,
    value_range: tuple[float, float] | None,
    clip: bool,
) -> np.ndarray:
    """Return ``array`` as ``dtype``.

    An integer type holds rounded values; with ``value_range=(low, high)`` low becomes 0 and high the largest integer.
    A value outside what the type holds raises FileError unless ``clip``.
    """
    if dtype is None and value_range is None:
        return array
    dtype = np.dtype(np.uint16) if dtype is None else dtype
    if dtype.kind not in "iu" and value_range is not None:
        raise DTypeError(f"value_range goes with an integer dtype, not {dtype}. Pass dtype='uint16', or leave it out.")
    if array.dtype.kind == "c" and dtype.kind != "c":
        raise FileError(
            f"{path}: the array is complex and {dtype} is not. Write its magnitude or real part (numpy.abs, .real), "
            "or write .npy or .h5, which keep complex numbers."
        )
    return _to_integers(path, array, dtype, value_range, clip) if dtype.kind in "iu" else _to_floats(path, array, dtype)


def _to_floats(path: object, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(over="ignore"):
        out = array.astype(dtype)
    lost = int(np.count_nonzero(np.isinf(out) & np.isfinite(array)))
    if lost:
        raise FileError(f"{path}: {lost} values are too large for {dtype}. Pass a wider dtype.")
    return out


def _to_integers(
    path: object, array: np.ndarray, dtype: np.dtype, value_range: tuple[float, float] | None, clip: bool
) -> np.ndarray:
    limits = np.iinfo(dtype)
    if value_range is None:
        floor, low, high = int(limits.min), float(limits.min), float(limits.max)
        levels = _rounded(path, array, dtype)
    else:
        floor, (low, high) = 0, _checked(value_range)
        _require_finite(path, array, dtype)
        levels = np.rint((array.astype(np.float64) - low) * (limits.max / (high - low)))
    below, above = levels < floor, levels > limits.max
    outside = int(np.count_nonzero(below | above))
    if outside and not clip:
        smallest, largest = array.min(), array.max()
        raise FileError(
            f"{path}: {outside} of {array.size} values lie outside {low:g} to {high:g} (smallest {smallest:.9g}, "
            f"largest {largest:.9g}), which {dtype} cannot hold. Pass value_range=({smallest:.9g}, {largest:.9g}) (on "
            "the command line --range) to scale, clip=True (--clip) to saturate, or write .tif, .npy or .h5, which "
            "keep floats."
        )
    with np.errstate(invalid="ignore"):
        out = levels.astype(dtype)
    out[below], out[above] = floor, limits.max
    return out


def _checked(value_range: tuple[float, float]) -> tuple[float, float]:
    low, high = (float(value) for value in value_range)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ArgumentError(f"value_range is ({low:g}, {high:g}); expected two finite numbers, the lower one first.")
    return low, high


def _require_finite(path: object, array: np.ndarray, dtype: np.dtype) -> None:
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise FileError(
            f"{path}: {bad} values are NaN or infinite, and {dtype} cannot hold them. Replace them, or write .tif, "
            ".npy or .h5, which keep floats."
        )


def _rounded(path: object, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if array.dtype.kind in "biu":
        return array.astype(np.uint8) if array.dtype.kind == "b" else array
    _require_finite(path, array, dtype)
    levels = np.rint(array.astype(np.float64))
    # An image in 1/length holds values such as 0.02: rounding them to whole numbers would leave nothing of it.
    if np.ptp(levels) < _FEWEST_LEVELS and np.any(levels != array):
        smallest, largest = array.min(), array.max()
        raise FileError(
            f"{path}: the values, {smallest:.9g} to {largest:.9g}, would round to {int(np.ptp(levels)) + 1} level(s) "
            f"of {dtype}. Pass value_range=({smallest:.9g}, {largest:.9g}) (--range) to scale, or write .tif, .npy or "
            ".h5, which keep floats."
        )
    return levels
