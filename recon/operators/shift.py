"""Sub-pixel translation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator
from recon.operators.filters import FrequencyResponse
from solvers import arrays
from solvers.errors import DTypeError, ShapeError
from solvers.validation import require_finite, shape_argument


class Shift(FrequencyResponse):
    r"""The image moved by any fraction of a pixel: ``y[i] = x[i - shift]``, periodic, by its Fourier series.

    A whole number of pixels is ``np.roll``. The highest frequency of an axis of even length, which a shift would make
    complex, is multiplied by the real part ``cos(pi shift)`` of its factor.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, in pixels.
    shift : sequence of float
        How far the content moves along each axis, in pixels; positive is towards higher indices.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError
        ``shift`` is not one finite real number for each axis.

    Examples
    --------
    >>> A = Shift((5,), shift=[2])
    >>> A(np.arange(1.0, 6.0)).round(6)
    array([4., 5., 1., 2., 3.])
    """

    def __init__(self, shape: Sequence[int], shift: Any):
        axes = shape_argument("shape", shape)
        self.shift = tuple(shift_vectors("shift", shift, (len(axes),)).tolist())
        super().__init__(reduce(np.multiply.outer, map(axis_response, axes, self.shift)), real=True)

    @property
    def H(self) -> LinearOperator:
        return Shift(self.in_shape, [-s for s in self.shift])

    def __repr__(self) -> str:
        return f"Shift({self.in_shape}, {self.shift})"


def axis_response(n: int, shift: float) -> np.ndarray:
    """Factor of each frequency of an axis of ``n`` pixels."""
    response = np.exp(-2j * np.pi * np.fft.fftfreq(n) * shift)
    if n % 2 == 0:
        response[n // 2] = response[n // 2].real
    return response


def shift_vectors(name: str, shifts: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Shifts as float64 of ``shape``, or say what is wrong with them."""
    values = arrays.to_numpy(shifts)
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"{name} has dtype {values.dtype}; expected real numbers. Pass pixels along each axis.")
    if values.shape != shape:
        raise ShapeError(
            f"{name} has shape {values.shape}; expected {shape}, one number for each axis of the image. Pass such."
        )
    require_finite(name, values, "Leave out the frames whose shift is not known.")
    return values.astype(np.float64)
