"""Curves that turn light into the values of a camera: powers with a straight toe, and inverse polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, ShapeError
from solvers.validation import positive_float, require_finite

SRGB_TOE = 0.0031308  # light below which the sRGB curve is straight, as the standard has it
SRGB_SLOPE, SRGB_GAIN, SRGB_OFFSET, SRGB_GAMMA = 12.92, 1.055, 0.055, 2.4
TABLE = 512  # samples of a curve that are inverted by interpolation, before Newton's steps
NEWTON = 4
LEAST_SLOPE = 1e-3  # of light over value


class PowerCurve:
    """``y = gain x^(1/gamma) - offset``, straight below the toe; a tangent where no ``slope`` is given."""

    torch_body = True

    def __init__(self, gamma: float, toe: float, gain: float = 1.0, offset: float = 0.0, slope: float | None = None):
        self.power, self.toe, self.gain, self.offset = 1 / gamma, toe, gain, offset
        self.slope_of_toe = self.power * toe ** (self.power - 1) if slope is None else slope
        self.intercept = toe**self.power - self.slope_of_toe * toe if slope is None else 0.0
        self.parameter = np.array([gamma])

    def value(self, x: Array) -> Array:
        """What the camera makes of light."""
        bent = self.gain * self._clear_of_zero(x) ** self.power - self.offset
        return arrays.namespace(x).where(x <= self.toe, self.slope_of_toe * x + self.intercept, bent)

    def slope(self, x: Array) -> Array:
        """Its derivative."""
        bent = self.gain * self.power * self._clear_of_zero(x) ** (self.power - 1)
        return arrays.namespace(x).where(x <= self.toe, 0 * x + self.slope_of_toe, bent)

    def light(self, y: Array) -> Array:
        """The light behind a value."""
        xp = arrays.namespace(y)
        bent = xp.clip((y + self.offset) / self.gain, min=self.toe**self.power) ** (1 / self.power)
        straight = (y - self.intercept) / self.slope_of_toe
        return xp.where(y <= self.slope_of_toe * self.toe + self.intercept, straight, bent)

    def by_parameter(self, x: np.ndarray) -> np.ndarray:
        """Derivative of the value by gamma, on a first axis; of a power and its tangent."""
        clear, power, toe = self._clear_of_zero(x), self.power, self.toe
        bent = clear**power * np.log(clear)
        log = np.log(toe)
        straight = toe ** (power - 1) * (1 + power * log) * x + toe**power * ((1 - power) * log - 1)
        return -(power**2) * np.where(x <= toe, straight, bent)[None]

    def _clear_of_zero(self, x: Array) -> Array:
        return arrays.namespace(x).clip(x, min=self.toe)


class PolynomialCurve:
    """``x = c_1 y + c_2 y^2 + ...``, rising; beyond black and white it goes on straight."""

    torch_body = False

    def __init__(self, coefficients: np.ndarray):
        if coefficients.ndim != 1 or len(coefficients) < 2:
            raise ShapeError(
                f"curve has shape {coefficients.shape}; expected (n,), the coefficients of y, y^2, ... Pass two."
            )
        require_finite("curve", coefficients)
        self.parameter = coefficients
        self._values = np.linspace(0, 1, TABLE)
        slopes = self._slope_of_light(self._values)
        if not slopes.min() > LEAST_SLOPE * coefficients.sum():
            raise ArgumentError(
                f"curve falls at the value {self._values[slopes.argmin()]:.2f}; expected light that rises with the "
                "value from 0 to 1. Pass fewer coefficients, or those of a response."
            )
        self._table = self.light(self._values)

    def value(self, x: Array) -> Array:
        """What the camera makes of light."""
        y = np.interp(x, self._table, self._values)
        for _ in range(NEWTON):
            y = y - (self.light(y) - x) / self._slope_of_light(y)
        return y.astype(x.dtype, copy=False)

    def slope(self, x: Array) -> Array:
        """Its derivative."""
        return 1 / self._slope_of_light(self.value(x))

    def light(self, y: Array) -> Array:
        """The light behind a value."""
        weighed = self._powers(y) * self.parameter.reshape(-1, *(1,) * y.ndim)
        return weighed.sum(0).astype(y.dtype, copy=False)

    def by_parameter(self, x: np.ndarray) -> np.ndarray:
        """Derivative of the value by the coefficients, on a first axis."""
        y = self.value(x)
        return -self._powers(y) / self._slope_of_light(y)

    def _powers(self, y: np.ndarray) -> np.ndarray:
        """``y, y^2, ...``, straight beyond black and white."""
        inside = np.clip(y, 0, 1)
        k = self._exponents(y)
        return inside**k + k * inside ** (k - 1) * (y - inside)

    def _slope_of_light(self, y: Any) -> Any:
        k = self._exponents(y)
        slopes = k * np.clip(y, 0, 1) ** (k - 1)
        return (slopes * self.parameter.reshape(k.shape)).sum(0).astype(y.dtype, copy=False)

    def _exponents(self, y: Any) -> np.ndarray:
        return np.arange(1, len(self.parameter) + 1).reshape(-1, *(1,) * y.ndim)


def response_curve(curve: Any, toe: float) -> PowerCurve | PolynomialCurve:
    """The curve of a name, a gamma or the coefficients of a polynomial, or what is wrong with it."""
    if isinstance(curve, str):
        if curve != "srgb":
            raise ArgumentError(f"curve is {curve!r}; expected 'srgb' or a gamma such as 2.2. Pass one of them.")
        return PowerCurve(SRGB_GAMMA, SRGB_TOE, SRGB_GAIN, SRGB_OFFSET, SRGB_SLOPE)
    numbers = np.asarray(curve)
    if numbers.size == 1 and numbers.dtype.kind in "iuf":
        return PowerCurve(positive_float("curve", numbers.item()), positive_float("toe", toe))
    if numbers.ndim == 0 or numbers.dtype.kind not in "iuf":
        return PowerCurve(positive_float("curve", curve), toe)
    return PolynomialCurve(numbers.astype(float))
