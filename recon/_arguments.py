"""The arguments of a reconstruction, checked and in the layout that the solvers use."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._bands import Bands
from recon.decisions import Decision
from recon.noise import Poisson, PoissonGaussian
from recon.operators.affine import Affine
from recon.operators.base import Operator
from recon.operators.pointwise import Mask
from recon.operators.wrappers import as_operator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import as_inexact, require_finite


def checked_operator(operator: Any, y: Array, x0: Any) -> Any:
    """An operator of the library as it is; a user's own one after a test of its adjoint (two applications)."""
    if isinstance(operator, Operator):
        return operator
    from recon.check import probe_operator

    operator = as_operator(operator, y=y, x0=x0)
    probe_operator(operator, rng=np.random.default_rng(0))
    return operator


def checked_measurement(y: Any) -> Array:
    y = as_inexact("y", y)
    if y.ndim == 0:
        raise ShapeError("y is 0-dimensional; expected an array of measurements. Pass the whole measurement.")
    if arrays.size(y) == 0:
        raise ShapeError(f"y is empty, of shape {tuple(y.shape)}; expected measurements. Pass a measurement.")
    require_finite("y", y)
    return y


def channels_first(array: Array, channel_axis: int | None, operator: Any) -> Array:
    """Move the channels in front of the axes the operator takes."""
    if channel_axis is None:
        return array
    if isinstance(channel_axis, bool) or not hasattr(channel_axis, "__index__"):
        raise DTypeError(
            f"channel_axis is {channel_axis!r}; expected an integer such as -1. Pass the axis of the bands."
        )
    if not -array.ndim <= channel_axis < array.ndim:
        raise ArgumentError(
            f"channel_axis is {channel_axis}; the array has {array.ndim} axes. Pass an axis it has, such as -1."
        )
    xp = arrays.namespace(array)
    return xp.moveaxis(array, channel_axis, -len(operator.out_shape) - 1)


def channels_back(image: Array, channel_axis: int | None, operator: Any) -> Array:
    """Undo :func:`channels_first` on an image."""
    if channel_axis is None:
        return image
    lifted = isinstance(operator, Bands)  # whose images have the bands already
    return arrays.namespace(image).moveaxis(image, -len(operator.in_shape) - (not lifted), channel_axis)


def offset_subtracted(y: Array, operator: Affine, noise: Any, decisions: dict[str, Decision]) -> tuple[Array, Any]:
    """The linear problem behind an offset that is known."""
    counts = ("poisson", "poisson-gaussian")
    if isinstance(noise, (Poisson, PoissonGaussian)) or (isinstance(noise, str) and noise in counts):
        raise ArgumentError(
            f"noise is {noise!r} and {operator!r} adds an offset; counts do not stay counts without it. "
            "Pass the linear part, and Poisson(background=...) for the offset."
        )
    if operator.offset.any():
        decisions["offset"] = Decision("subtracted", "it is known: the rest is linear")
    return operator.without_offset(y), operator.linear


def checked_start(x0: Array, y: Array, operator: Any) -> Array:
    batch = tuple(y.shape[: y.ndim - len(operator.out_shape)])
    expected = batch + operator.in_shape
    if tuple(x0.shape) != expected:
        raise ShapeError(
            f"x0 has shape {tuple(x0.shape)}; expected {expected}, the shape of the image. "
            "Pass a start of that shape, or None."
        )
    require_finite("x0", x0)
    return x0


def where_measured(y: Array, operator: Any) -> Array:
    """Zeros where the operator does not measure: what stands there is no misfit."""
    if operator.sampling is None:
        return y
    if isinstance(y, np.ndarray) and not np.any(y, where=~np.broadcast_to(operator.sampling, y.shape)):
        return y  # without a copy
    return Mask(np.broadcast_to(operator.sampling, operator.out_shape))(y)


def checked_bounds(bounds: Any, operator: Any) -> tuple[float, float]:
    if operator.kind == "complex":
        raise DTypeError(
            f"bounds are {bounds!r}; {operator!r} gives complex images, which have none. Pass bounds=None."
        )
    try:
        lower, upper = (float(b) for b in bounds)
    except (TypeError, ValueError):
        raise DTypeError(
            f"bounds are {bounds!r}; expected two numbers (lower, upper). Use -inf or inf for none."
        ) from None
    if not lower < upper:
        raise ArgumentError(f"bounds are ({lower}, {upper}); expected lower < upper. Swap or widen them.")
    return lower, upper
