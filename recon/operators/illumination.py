"""Uneven light: a smooth gain over the field of view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators._shading import (
    cosine_interpolation,
    fitted,
    grid_fields,
    positive_gain,
    radial_powers,
    reduced,
    sparse_log_field,
    times_image,
)
from recon.operators.base import Operator
from recon.operators.filters import Diagonal
from recon.operators.unknown import Parametrised, Unknown
from solvers import arrays
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import require_finite, shape_argument

POWERS = 3  # r^2, r^4 and r^6
GRID = (3, 4)  # samples of an unknown illumination


class Vignetting(Parametrised, Diagonal):
    r"""A lens darkens the corners: ``y = (1 + a_1 r^2 + a_2 r^4 + ...) x``, r = 1 in the corners.

    The gain is 1 at the centre: brightness belongs to the image.

    Parameters
    ----------
    coefficients : array, shape (k,), or Unknown
        ``a_1 ... a_k``. Unknown ones (three of them, unless its ``shape`` says otherwise) are those that leave the
        sparsest differences in the logarithm of the pictures; the more pictures one lens took, the better.
    shape : tuple of int
        Shape of the image, (rows, columns), or (frames, rows, columns) where several frames are seen through one lens.
    centre : (float, float), optional
        Row and column of the optical axis; the middle of the image by default.

    Raises
    ------
    ArgumentError
        The gain is zero or negative somewhere.
    ShapeError, DTypeError, NonFiniteError
        ``coefficients`` are not a list of finite numbers, or ``shape`` has less than two axes.

    References
    ----------
    D. B. Goldman, "Vignette and exposure calibration and compensation", IEEE TPAMI 32 (2010).

    Examples
    --------
    >>> A = Vignetting([-0.3, -0.1], shape=(48, 64))
    >>> A(np.ones((48, 64)))[0, 0].round(3)
    np.float64(0.6)
    """

    parameters = ("coefficients",)

    def __init__(self, coefficients: Any, shape: Sequence[int], centre: tuple[float, float] | None = None):
        self.coefficients = real_numbers("coefficients", coefficients)
        if self.coefficients.ndim != 1:
            raise ShapeError(
                f"coefficients have shape {self.coefficients.shape}; expected (k,), those of r^2, r^4, ... "
                "Pass a list of numbers."
            )
        shape = _pictures(shape)
        self._powers = radial_powers(shape[-2:], len(self.coefficients), centre)
        super().__init__(_positive(1.0 + np.tensordot(self.coefficients, self._powers, 1)), shape)

    @classmethod
    def neutral(cls, name: str, unknown: Unknown, arguments: dict[str, Any]) -> np.ndarray:
        return np.zeros(unknown.shape or (POWERS,))

    @classmethod
    def estimated(cls, y: np.ndarray, names: Any, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        small, block = reduced(y)
        centre = arguments["centre"] and tuple((at + 0.5) / block - 0.5 for at in arguments["centre"])
        powers = radial_powers(small.shape[-2:], names["coefficients"][0], centre)
        gain = np.exp(np.tensordot(sparse_log_field(small, powers), powers, 1))
        return {"coefficients": positive_gain(fitted(powers, gain, 1.0), powers, 1.0)}

    def in_parameter(self, name: str, x: np.ndarray) -> Operator:
        return times_image(x, self._powers, self.coefficients.shape, 1.0)

    def __repr__(self) -> str:
        return f"Vignetting({self.in_shape}, gain {self.values.flat[0]:.2g} in the corners)"


class Illumination(Parametrised, Diagonal):
    """A smooth illumination multiplies the scene: ``y = g x``, ``g`` interpolated from samples on a coarse grid.

    Where it is unknown its mean is 1: brightness belongs to the image.

    Parameters
    ----------
    gain : array, shape (grid rows, grid columns), or Unknown
        Samples of the gain at the middles of as many equal parts of the image, interpolated by cosines; of the shape
        of the image, as a flat field measures it, each pixel its own. An unknown one has 3 x 4 samples unless its
        ``shape`` says otherwise, and leaves the sparsest differences in the logarithm of the pictures.
    shape : tuple of int
        Shape of the image, (rows, columns), or (frames, rows, columns) where several frames are seen through one lens.

    Raises
    ------
    ArgumentError
        The gain is zero or negative somewhere, or has more samples than the image.
    ShapeError, DTypeError, NonFiniteError
        ``gain`` is not a matrix of finite numbers, or ``shape`` has less than two axes.

    References
    ----------
    R. Kimmel, M. Elad, D. Shaked, R. Keshet, I. Sobel, "A variational framework for Retinex", IJCV 52 (2003).

    Examples
    --------
    >>> A = Illumination([[1.0, 0.5]], shape=(4, 8))  # dimmer on the right
    >>> A(np.ones((4, 8)))[0].round(2)
    array([1.1 , 1.04, 0.95, 0.82, 0.68, 0.55, 0.46, 0.4 ])
    """

    parameters = ("gain",)

    def __init__(self, gain: Any, shape: Sequence[int]):
        self.gain, shape = real_numbers("gain", gain), _pictures(shape)
        if self.gain.ndim != 2:
            raise ShapeError(
                f"gain has shape {self.gain.shape}; expected (grid rows, grid columns). Pass a matrix of samples."
            )
        plane = shape[-2:]
        if any(k > n for k, n in zip(self.gain.shape, plane, strict=True)):
            raise ArgumentError(f"gain has {self.gain.shape} samples, the image {plane}; expected no more. Coarsen it.")
        rows, columns = (cosine_interpolation(n, k) for n, k in zip(plane, self.gain.shape, strict=True))
        exact = self.gain.shape == plane
        super().__init__(_positive(self.gain if exact else rows @ self.gain @ columns.T), shape)

    @classmethod
    def neutral(cls, name: str, unknown: Unknown, arguments: dict[str, Any]) -> np.ndarray:
        grid = GRID if unknown.shape is None else unknown.shape
        return np.ones([min(k, n) for k, n in zip(grid, arguments["shape"][-2:], strict=True)])

    @classmethod
    def estimated(cls, y: np.ndarray, names: Any, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        small, _ = reduced(y)
        grid = names["gain"]
        fields = grid_fields(small.shape[-2:], grid)
        # The mean of the logarithm cannot be told from the image's: one sample is left out.
        gain = np.exp(np.tensordot(sparse_log_field(small, fields[1:]), fields[1:], 1))
        found = positive_gain(fitted(fields, gain / gain.mean()), fields, 0.0)
        return {"gain": (found / np.tensordot(found, fields, 1).mean()).reshape(grid)}

    def in_parameter(self, name: str, x: np.ndarray) -> Operator:
        return times_image(x, grid_fields(self.in_shape[-2:], self.gain.shape), self.gain.shape)

    def gauge(self, names: Sequence[str]) -> tuple[dict[str, np.ndarray], float, float]:
        mean = float(self.values.mean())
        return ({"gain": self.gain / mean}, mean, 0.0) if "gain" in names else ({}, 1.0, 0.0)

    def __repr__(self) -> str:
        return f"Illumination({self.in_shape}, gain {self.values.min():.2g} to {self.values.max():.2g})"


def real_numbers(name: str, values: Any) -> np.ndarray:
    """Finite real numbers as doubles, or what is wrong with them."""
    numbers = arrays.to_numpy(values)
    if numbers.dtype.kind not in "biuf":
        raise DTypeError(f"{name} has dtype {numbers.dtype}; expected real numbers. Pass them as an array.")
    require_finite(name, numbers)
    return numbers.astype(float)


def _pictures(shape: Any) -> tuple[int, ...]:
    shape = shape_argument("shape", shape)
    if len(shape) < 2:
        raise ShapeError(f"shape is {shape}; expected (..., rows, columns). Pass the shape of the image.")
    return shape


def _positive(gain: np.ndarray) -> np.ndarray:
    if not gain.min() > 0:
        row, column = divmod(int(gain.argmin()), gain.shape[-1])
        raise ArgumentError(
            f"the gain is {gain.min():.3g} at pixel ({row}, {column}); expected more than 0 everywhere. "
            "Where nothing is measured, compose with a Mask."
        )
    return gain
