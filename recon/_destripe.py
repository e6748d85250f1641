"""Stripes of a push-broom or whisk-broom detector, found as unknowns of a reconstruction and taken away."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np

from recon.operators.destripe import Destripe
from solvers import arrays
from solvers.errors import ArgumentError, DTypeError, OptionError, ShapeError, suggestion
from solvers.validation import as_inexact, positive_float, require_finite

KINDS = ("offset", "gain", "both")
STRENGTH = 0.1  # of total variation, over the noise level: the offsets are found, the image is not what is returned
QUIETEST = 0.05  # noise over the spread of the stripes, at least: steps of an image without noise are stripes else
LEAST = 4  # lines, and pixels of a line, without which there is no telling
_MAD_TO_SIGMA = 1.4826  # median absolute deviation of a normal variable


def destripe(
    image: Any,
    axis: int = -2,
    *,
    kind: Literal["offset", "gain", "both"] = "offset",
    period: float | None = 64.0,
    return_stripes: bool = False,
) -> Any:
    r"""Take away the stripes that detectors of unequal offset or gain leave, and nothing else.

    The model is ``image = x + o + noise`` with one unknown offset ``o`` for each line (for gains the same of the
    logarithms). Image and offsets are found together, the image by total variation, the offsets as white noise whose
    spread comes from the data; what is returned is ``image - o``, neither denoised nor smoothed. An edge that runs
    along more than half of a line cannot be told from a stripe.

    Parameters
    ----------
    image : array (..., rows, columns)
        Bands and frames on leading axes each have stripes of their own.
    axis : {-2, -1}
        Axis along which a stripe runs: -2 for vertical ones, -1 for horizontal ones.
    kind : {"offset", "gain", "both"}
        What differs from line to line: ``image = x + o``; ``image = g x``, which takes values above 0; or ``image =
        g x + o``, where after a first guess by offsets alone each line is fitted to its neighbours.
    period : float, optional
        Lines over which stripes average out. Slower variations across the image are left in it, and with them some
        tenth of the stripes. None takes all variation that looks like stripes.
    return_stripes : bool
        Also return the offsets or gains.

    Returns
    -------
    image : ndarray
        In the shape and unit of the one given.
    stripes : ndarray (..., lines) or (..., 2, lines)
        Only with ``return_stripes=True``: offsets in the image's unit, gains around 1, or offsets and gains.

    Raises
    ------
    ShapeError, ArgumentError, OptionError, DTypeError, NonFiniteError
        Not an image, fewer than four lines, values that are not above 0 where gains are asked for, NaN.

    Examples
    --------
    >>> rows, columns = np.mgrid[:64, :64]
    >>> scene, stripes = 1.0 * (np.hypot(rows - 30, columns - 20) < 18), 0.3 * np.cos(2.4 * np.arange(64))
    >>> bool(np.std(destripe(scene + stripes) - scene) < 0.02 * np.std(stripes))
    True
    """
    values, axis = _image(image, axis, kind)
    period = None if period is None else positive_float("period", period)
    upright = values if axis == -2 else values.swapaxes(-1, -2)
    shape = upright.shape[:-2] + ((2,) if kind == "both" else ()) + upright.shape[-1:]
    out, stripes = np.empty_like(upright), np.empty(shape, upright.dtype)
    for index in np.ndindex(*upright.shape[:-2]):
        out[index], stripes[index] = _FOUND[kind](upright[index], period)
    out = out if axis == -2 else np.ascontiguousarray(out.swapaxes(-1, -2))
    return (out, stripes) if return_stripes else out


def _without_offsets(image: np.ndarray, period: float | None) -> tuple[np.ndarray, np.ndarray]:
    offsets = _offsets(image, period)
    return image - offsets, offsets


def _without_gains(image: np.ndarray, period: float | None) -> tuple[np.ndarray, np.ndarray]:
    gains = np.exp(_offsets(np.log(image), period))
    return image / gains, gains


def _without_both(image: np.ndarray, period: float | None) -> tuple[np.ndarray, np.ndarray]:
    from recon._line_gains import level_lines

    slow = partial(_slow, period=period)
    offsets, gains = level_lines(image, image - _offsets(image, period), slow)
    return (image - offsets) / gains, np.stack([offsets, gains])


_FOUND = {"offset": _without_offsets, "gain": _without_gains, "both": _without_both}


def _offsets(image: np.ndarray, period: float | None) -> np.ndarray:
    """Offset of each column of one image, zero on average."""
    from recon.noise import estimate_sigma

    jumps = np.median(np.diff(image, axis=1), axis=0)
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(jumps - np.median(jumps)))) / 2**0.5
    if spread <= 1e-6 * float(np.abs(image).max()):  # neighbours agree: nothing to take away
        return np.zeros(jumps.size + 1, image.dtype)
    sigma = max(estimate_sigma(image, Destripe(image.shape)), QUIETEST * spread)
    operator = Destripe(image.shape, spread=spread / sigma)
    offsets = operator.offsets(image, _scene(operator, operator(image), STRENGTH * sigma))
    return offsets - _slow(offsets, period)


def _scene(operator: Destripe, y: np.ndarray, strength: float) -> np.ndarray:
    """The image by total variation. How well it fits the data is no matter here, so nothing is warned of."""
    from priors import TotalVariation
    from solvers.admm import ADMM
    from solvers.data_terms import LeastSquares
    from solvers.loop import solve

    algorithm = ADMM(LeastSquares(operator, y), TotalVariation(), strength)
    return solve(algorithm, y, max_iter=300, tol=1e-3, objective=False).image


def _slow(offsets: np.ndarray, period: float | None) -> np.ndarray:
    """The part of the offsets that belongs to the scene."""
    from scipy.ndimage import gaussian_filter1d

    if period is None:
        return np.full_like(offsets, offsets.mean())
    return gaussian_filter1d(offsets, period / 4, mode="reflect")


def _image(image: Any, axis: int, kind: str) -> tuple[np.ndarray, int]:
    values = as_inexact("image", image)
    if arrays.is_torch(values) or arrays.is_complex(values):
        remedy = "image.numpy()" if arrays.is_torch(values) else "the modulus"
        raise DTypeError(f"image has dtype {values.dtype}; expected a real numpy array. Pass {remedy}.")
    if axis not in (-2, -1):
        raise ArgumentError(f"axis is {axis!r}; expected -2 for vertical stripes or -1 for horizontal ones. Pass one.")
    if values.ndim < 2 or min(values.shape[-2:]) < LEAST:
        raise ShapeError(
            f"image has shape {values.shape}; expected (..., rows, columns) of at least {LEAST} each. Move the bands "
            "to the front: np.moveaxis(image, -1, 0)."
        )
    require_finite("image", values, "Crop the image, or fill the gaps first with operators.Mask.")
    if kind not in KINDS:
        hint = suggestion(str(kind), KINDS)
        raise OptionError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}.{hint} Pass one of them.")
    if kind == "gain" and not (values > 0).all():
        raise ArgumentError(
            f"image goes down to {values.min():g}; gains take values above 0. Subtract the dark level, not more, or "
            'pass kind="offset".'
        )
    return values, int(axis)
