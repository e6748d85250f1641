"""Point spread functions: what becomes of one point of the scene, for :class:`recon.operators.Blur` and its kin.

All of them are float64, sum to one and have their centre at entry ``k // 2`` of an axis of ``k`` entries. Rows point
down and columns to the right; lengths are in pixels unless a unit is named.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon._psf_path import odd_size, time_in_pixels
from solvers import arrays
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import positive_float, positive_int, require_finite

__all__ = ["airy", "camera_shake", "defocus", "gaussian", "measured", "motion", "uniform"]


def gaussian(sigma: Any, size: Any = None) -> np.ndarray:
    """Gaussian, ``exp(-|r|^2 / (2 sigma^2))``.

    Parameters
    ----------
    sigma : float or sequence of float
        Standard deviation, one for two axes or one for each of any number of axes.
    size : int or sequence of int, optional
        Entries, for all axes or each. None reaches 4 standard deviations to each side.

    Raises
    ------
    ArgumentError, DTypeError, ShapeError
        A value is not a number above 0; ``size`` has another number of entries than ``sigma``.

    Examples
    --------
    >>> gaussian(0.5, size=3).round(3)
    array([[0.011, 0.084, 0.011],
           [0.084, 0.619, 0.084],
           [0.011, 0.084, 0.011]])
    """
    sigmas = _floats("sigma", sigma, 2)
    sizes = tuple(2 * math.ceil(4 * s) + 1 for s in sigmas) if size is None else _ints("size", size, len(sigmas))
    if len(sizes) != len(sigmas):
        raise ShapeError(f"size has {len(sizes)} entries; expected {len(sigmas)}, as many as sigma. Pass an integer.")
    out = np.ones(())
    for s, n in zip(sigmas, sizes, strict=True):
        profile = np.exp(-0.5 * ((np.arange(n) - n // 2) / s) ** 2)
        out = np.multiply.outer(out, profile / profile.sum())
    return out


def uniform(size: Any) -> np.ndarray:
    """The same weight everywhere.

    Parameters
    ----------
    size : int or sequence of int
        Entries, one for two axes or one for each of any number of axes.

    Raises
    ------
    ArgumentError, DTypeError
        ``size`` is not made of positive integers.

    Examples
    --------
    >>> uniform((1, 4))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    out = np.ones(_ints("size", size, 2))
    return out / out.size


def motion(length: float, degrees: float = 0.0, size: int | None = None) -> np.ndarray:
    """A straight movement at constant speed while the shutter is open: the share of the time spent in each pixel.

    Parameters
    ----------
    length : float
        Length of the path.
    degrees : float
        Direction, counter-clockwise from the columns' axis: 0 moves along a row, 90 along a column.
    size : int, optional
        Rows and columns. None takes the smallest odd number that holds the path.

    Raises
    ------
    ArgumentError, DTypeError
        ``length`` is not above 0; ``size`` does not hold the path.

    Examples
    --------
    >>> motion(2).round(3)
    array([[0.  , 0.  , 0.  ],
           [0.25, 0.5 , 0.25],
           [0.  , 0.  , 0.  ]])
    """
    half = 0.5 * positive_float("length", length)
    angle = math.radians(_finite("degrees", degrees))
    end = np.array([-half * math.sin(angle), half * math.cos(angle)])
    return time_in_pixels(np.stack([-end, end]), size)


def camera_shake(length: float, size: int | None = None, smoothness: float = 0.98, *, rng: Any = None) -> np.ndarray:
    """A random path of a hand that trembles while the shutter is open: the share of the time spent in each pixel.

    The velocity is a first-order autoregressive process, ``v[t + 1] = smoothness * v[t] + noise``.

    Parameters
    ----------
    length : float
        Length of the path.
    size : int, optional
        Rows and columns. None takes the smallest odd number that holds the path, its centroid at the centre.
    smoothness : float
        How well the hand keeps its velocity over 1/500 of the exposure, in [0, 1).
    rng : int or numpy.random.Generator, optional
        Seed or generator of the path.

    Raises
    ------
    ArgumentError, DTypeError
        ``length`` is not above 0, ``smoothness`` is outside [0, 1), or ``size`` does not hold the path.

    Examples
    --------
    >>> psf = camera_shake(20, size=31, rng=0)
    >>> psf.shape, round(psf.sum(), 12)
    ((31, 31), np.float64(1.0))
    """
    length = positive_float("length", length)
    if positive_float("smoothness", smoothness, zero=True) >= 1:
        raise ArgumentError(f"smoothness is {smoothness}; expected at least 0 and below 1. Pass 0.98 for a calm hand.")
    velocity = np.random.default_rng(rng).standard_normal((500, 2))
    for t in range(1, len(velocity)):
        velocity[t] += smoothness * velocity[t - 1]
    path = np.cumsum(velocity * (length / np.linalg.norm(velocity, axis=1).sum()), axis=0)
    return time_in_pixels(path - path.mean(axis=0), size)


def defocus(radius: float, size: int | None = None) -> np.ndarray:
    """A disc, as an unfocused lens with a round aperture makes of a point: the share of each pixel that it covers.

    Parameters
    ----------
    radius : float
        Radius of the disc.
    size : int, optional
        Rows and columns. None takes the smallest odd number that holds the disc.

    Raises
    ------
    ArgumentError, DTypeError
        ``radius`` is not above 0; ``size`` is not a positive integer.

    Examples
    --------
    >>> defocus(1).round(3)
    array([[0.025, 0.145, 0.025],
           [0.145, 0.318, 0.145],
           [0.025, 0.145, 0.025]])
    """
    radius = positive_float("radius", radius)
    n = odd_size(radius - 0.5) if size is None else positive_int("size", size)
    parts = 64  # lines to a pixel; along a line the covered length is exact
    lines = np.arange(n * parts) / parts - n // 2 - 0.5 + 0.5 / parts
    chord = np.sqrt(np.maximum(radius**2 - lines**2, 0.0))
    columns = np.arange(n) - n // 2
    reach = np.minimum(columns + 0.5, chord[:, None]) - np.maximum(columns - 0.5, -chord[:, None])
    covered = np.maximum(reach, 0.0).reshape(n, parts, n).mean(axis=1)
    covered = covered + covered.T  # the same for both axes, to rounding
    return covered / covered.sum()


def airy(wavelength: float, na: float, pixel: float, size: int | None = None) -> np.ndarray:
    r"""Diffraction of a perfect lens with a round aperture, ``(2 J_1(v) / v)^2`` with ``v = 2 pi NA r / wavelength``.

    The intensity is averaged over each pixel.

    Parameters
    ----------
    wavelength, pixel : float
        Wavelength of the light and size of a pixel in the object, in the same unit.
    na : float
        Numerical aperture on the side of the object. For a camera pass ``1 / (2 * f_number)`` and the pitch of the
        sensor.
    size : int, optional
        Rows and columns. None reaches the fourth dark ring, which holds 95 % of the light.

    Raises
    ------
    ArgumentError, DTypeError
        A value is not a number above 0.

    Examples
    --------
    >>> airy(wavelength=0.5, na=1.4, pixel=0.1, size=3).round(3)
    array([[0.055, 0.128, 0.055],
           [0.128, 0.269, 0.128],
           [0.055, 0.128, 0.055]])
    """
    from scipy.special import j1

    scale = 2 * math.pi * positive_float("na", na) * positive_float("pixel", pixel)  # v of one pixel
    scale /= positive_float("wavelength", wavelength)
    n = odd_size(13.324 / scale) if size is None else positive_int("size", size)
    parts = 2 * math.ceil(2 * scale) + 3  # points to a side of a pixel, a dozen to the width of a ring
    offsets = (np.arange(parts) + 0.5) / parts - 0.5
    rows = scale * (np.arange(n) - n // 2)[:, None]
    intensity = np.zeros((n, n))
    for down, right in itertools.product(scale * offsets, repeat=2):
        v = np.maximum(np.hypot(rows + down, rows.T + right), 1e-9)
        intensity += np.square(2 * j1(v) / v)
    return intensity / intensity.sum()


def measured(image: Any, size: int | None = None) -> np.ndarray:
    """A point spread function from a picture of a point: background removed, centred, normalised.

    The background is the median of the outermost pixels. What does not rise three of their standard deviations above it
    counts as noise and becomes zero. The centroid of the rest comes to the centre, to half a pixel.

    Parameters
    ----------
    image : array
        Picture of one point, such as a star or a bead, dark around it; any number of axes.
    size : int, optional
        Entries on each axis. None takes the largest odd window about the centroid that lies in the image.

    Raises
    ------
    DTypeError, ShapeError, NonFiniteError
        ``image`` is complex, has an axis of less than three entries, or holds NaN.
    ArgumentError
        Nothing rises above the noise; or a window of ``size`` about the centroid leaves the image.

    Examples
    --------
    >>> star = np.full((7, 9), 100.0)
    >>> star[2, 3:6] = 120, 160, 120
    >>> measured(star, size=3)
    array([[0. , 0. , 0. ],
           [0.2, 0.6, 0.2],
           [0. , 0. , 0. ]])
    """
    values = arrays.to_numpy(image)
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"image has dtype {values.dtype}; expected real numbers. Pass the intensity of the point.")
    if values.ndim == 0 or min(values.shape) < 3:
        raise ShapeError(
            f"image has shape {values.shape}; expected at least 3 pixels an axis. Pass dark around it too."
        )
    require_finite("image", values, "Replace them by the background; a psf is measured everywhere.")
    rim = values[_rim(values.shape)].astype(np.float64)
    background = float(np.median(rim))
    noise = 1.4826 * float(np.median(np.abs(rim - background)))
    point = np.where(values > background + 3 * noise, values - background, 0.0)
    if not point.any():
        raise ArgumentError(
            f"image does not rise above its rim, {background:g} with noise {noise:g}; expected a bright point on a "
            "dark ground. Pass a picture of the point with its surroundings, not inverted."
        )
    cut = point[_window(point, size)]
    return cut / cut.sum()


def _rim(shape: tuple[int, ...]) -> np.ndarray:
    rim = np.ones(shape, dtype=bool)
    rim[(slice(1, -1),) * len(shape)] = False
    return rim


def _window(point: np.ndarray, size: int | None) -> tuple[slice, ...]:
    """Where the centroid comes to entry ``k // 2``."""
    middle = [round(float((grid * point).sum() / point.sum())) for grid in np.indices(point.shape)]
    reach = [min(m, n - 1 - m) for m, n in zip(middle, point.shape, strict=True)]
    sizes = [2 * r + 1 for r in reach] if size is None else [positive_int("size", size)] * point.ndim
    window = tuple(slice(m - k // 2, m - k // 2 + k) for m, k in zip(middle, sizes, strict=True))
    if any(part.start < 0 or part.stop > n for part, n in zip(window, point.shape, strict=True)):
        raise ArgumentError(
            f"size is {size}, which about the centroid {tuple(middle)} leaves the image of shape {point.shape}; "
            f"expected at most {2 * min(reach) + 1}. Pass less, or a larger picture."
        )
    return window


def _each(name: str, value: Any, ndim: int) -> tuple[Any, ...]:
    several = isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) and np.ndim(value) == 1
    values = tuple(value) if several else (value,) * ndim
    if not values:
        raise ShapeError(f"{name} is empty; expected one number, or one for each axis. Pass a number.")
    return values


def _floats(name: str, value: Any, ndim: int) -> tuple[float, ...]:
    return tuple(positive_float(name, v) for v in _each(name, value, ndim))


def _ints(name: str, value: Any, ndim: int) -> tuple[int, ...]:
    return tuple(positive_int(name, v) for v in _each(name, value, ndim))


def _finite(name: str, value: Any) -> float:
    number = float(value) if hasattr(value, "__float__") and not np.ndim(value) else math.nan
    if not math.isfinite(number):
        raise ArgumentError(f"{name} is {value!r}; expected a finite number. Pass one.")
    return number
