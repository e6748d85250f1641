"""What a camera does to the light of each pixel: response curves, saturation, clipping, several exposures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators._nonlinear_combinations import Chain
from recon.operators.base import stack
from recon.operators.nonlinear import PointwiseOperator
from recon.operators.pointwise import Identity
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError
from solvers.validation import positive_float, shape_argument

SLACK = 0.2  # of the noise, by which a sample may be inside an end of the range and still counts as clipped
LINEAR_BELOW = 0.0031308  # of the sRGB curve, as the standard has it
SRGB_SLOPE, SRGB_GAIN, SRGB_OFFSET, SRGB_POWER = 12.92, 1.055, 0.055, 1 / 2.4


class CameraResponse(PointwiseOperator):
    r"""Response curve of a camera, ``y = f(x)`` with light and value in [0, 1]: gamma or sRGB.

    Below ``toe`` a power curve goes on as its tangent, and sRGB is linear there anyway: the slope stays finite, and
    noise may lead below zero.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    curve : "srgb" or float
        sRGB (IEC 61966-2-1), or the gamma in ``y = x^(1/gamma)``.
    toe : float
        Light up to which a power curve is straight.

    Raises
    ------
    DTypeError, ArgumentError
        ``curve`` is neither "srgb" nor a number above zero.

    Examples
    --------
    >>> F = CameraResponse((3,), curve="srgb")
    >>> F(np.array([0.0, 0.18, 1.0])).round(2)
    array([0.  , 0.46, 1.  ])
    >>> F.inverse(F(np.array([0.0, 0.18, 1.0]))).round(2)
    array([0.  , 0.18, 1.  ])
    """

    def __init__(self, shape: Sequence[int], curve: Any = "srgb", toe: float = 1e-3):
        super().__init__(shape)
        self.curve = curve
        if isinstance(curve, str):
            if curve != "srgb":
                raise ArgumentError(f"curve is {curve!r}; expected 'srgb' or a gamma such as 2.2. Pass one of them.")
            self._power, self._toe = SRGB_POWER, LINEAR_BELOW
            self._gain, self._offset = SRGB_GAIN, SRGB_OFFSET
            self._tangent = SRGB_SLOPE, 0.0
        else:
            self._power, self._toe = 1 / positive_float("curve", curve), positive_float("toe", toe)
            self._gain, self._offset = 1.0, 0.0
            slope = self._power * self._toe ** (self._power - 1)
            self._tangent = slope, self._toe**self._power - slope * self._toe

    def inverse(self, y: Array) -> Array:
        """The light ``x`` with ``f(x) = y``."""
        xp = arrays.namespace(y)
        slope, intercept = self._tangent
        bent = xp.clip((y + self._offset) / self._gain, min=self._toe**self._power) ** (1 / self._power)
        return xp.where(y <= slope * self._toe + intercept, (y - intercept) / slope, bent)

    def _apply(self, x: Array) -> Array:
        slope, intercept = self._tangent
        bent = self._gain * self._clear_of_zero(x) ** self._power - self._offset
        return arrays.namespace(x).where(x <= self._toe, slope * x + intercept, bent)

    def _slope(self, x: Array) -> Array:
        bent = self._gain * self._power * self._clear_of_zero(x) ** (self._power - 1)
        return arrays.namespace(x).where(x <= self._toe, 0 * x + self._tangent[0], bent)

    def _clear_of_zero(self, x: Array) -> Array:
        return arrays.namespace(x).clip(x, min=self._toe)

    def example(self, rng: np.random.Generator) -> np.ndarray:
        """Light between black and white."""
        return 0.05 + 0.9 * rng.random(self.in_shape)

    def __repr__(self) -> str:
        return f"CameraResponse({self.in_shape}, {self.curve!r})"


class Saturation(PointwiseOperator):
    r"""A sensor that saturates softly, ``y = x / (1 + |x / level|^sharpness)^(1 / sharpness)``.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    level : float
        Largest value, approached by bright light.
    sharpness : float
        1 is a gentle shoulder, 10 nearly clips.

    Raises
    ------
    DTypeError, ArgumentError
        ``level`` or ``sharpness`` is not a number above zero.

    Examples
    --------
    >>> Saturation((3,), level=1.0)(np.array([0.1, 1.0, 10.0])).round(2)
    array([0.1 , 0.84, 1.  ])
    """

    def __init__(self, shape: Sequence[int], level: float, sharpness: float = 4.0):
        super().__init__(shape)
        self.level, self.sharpness = positive_float("level", level), positive_float("sharpness", sharpness)
        if self.sharpness < 1:
            raise ArgumentError(f"sharpness is {self.sharpness}; expected at least 1. Pass 4, for example.")

    def inverse(self, y: Array) -> Array:
        """The light ``x`` with ``f(x) = y``; what is next to the level counts as a hundredth below it."""
        y = arrays.namespace(y).clip(y, min=-0.99 * self.level, max=0.99 * self.level)
        return y / (1 - abs(y / self.level) ** self.sharpness) ** (1 / self.sharpness)

    def _apply(self, x: Array) -> Array:
        return x / self._bend(x) ** (1 / self.sharpness)

    def _slope(self, x: Array) -> Array:
        return self._bend(x) ** (-1 / self.sharpness - 1)

    def _bend(self, x: Array) -> Array:
        return 1 + abs(x / self.level) ** self.sharpness

    def example(self, rng: np.random.Generator) -> np.ndarray:
        """Dark and bright pixels."""
        return 2 * self.level * rng.random(self.in_shape)

    def __repr__(self) -> str:
        return f"Saturation({self.in_shape}, level={self.level:g}, sharpness={self.sharpness:g})"


class Clipping(PointwiseOperator):
    """Values beyond the range of a sensor read as its ends: ``y = min(max(x, lower), upper)``.

    ``Clipping(...) @ A`` behind a linear ``A`` is a convex problem: a clipped sample only says that the value is
    beyond, and ``reconstruct`` takes it for that (:class:`solvers.ClippedLeastSquares`).

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    lower, upper : float
        Ends of the range; infinite for none.
    step : float
        Distance of the levels to which values are rounded, 0 for none. Rounding has no derivative and is left out of
        the forward; a misfit below half a step counts as none.

    Raises
    ------
    ArgumentError
        ``lower`` is not below ``upper``.

    Examples
    --------
    >>> Clipping((3,), lower=0.0, upper=1.0)(np.array([-0.5, 0.5, 1.5]))
    array([0. , 0.5, 1. ])
    """

    def __init__(self, shape: Sequence[int], lower: float = -math.inf, upper: float = math.inf, step: float = 0.0):
        super().__init__(shape)
        self.lower, self.upper = float(lower), float(upper)
        if not self.lower < self.upper:
            raise ArgumentError(f"lower and upper are {lower} and {upper}; expected lower < upper. Swap or widen them.")
        self.step = positive_float("step", step, zero=True)

    def inverse(self, y: Array) -> Array:
        """The value itself: what was clipped is not known."""
        return y

    def informative(self, y: Array) -> Array:
        """Those within the range."""
        return (y > self.lower) & (y < self.upper)

    def data_term(self, y: Array, noise: Any, inner: Any = None) -> Any:
        """One-sided where samples were clipped; None where the noise is not Gaussian."""
        from recon.noise import Gaussian
        from solvers.clipped import ClippedLeastSquares

        if not isinstance(noise, Gaussian):
            return None
        inner = inner or Identity(self.in_shape)
        return ClippedLeastSquares(inner, y, self.lower, self.upper, self.step, SLACK * noise.sigma)

    def _apply(self, x: Array) -> Array:
        return arrays.namespace(x).clip(x, min=self.lower, max=self.upper)

    def _slope(self, x: Array) -> Array:
        inside = (x > self.lower) & (x < self.upper)
        return arrays.asarray(inside, x, dtype=x.dtype)

    def example(self, rng: np.random.Generator) -> np.ndarray:
        """Values in the range and beyond."""
        lower = self.lower if math.isfinite(self.lower) else min(self.upper, 0.0) - 1.0
        upper = self.upper if math.isfinite(self.upper) else max(self.lower, 0.0) + 1.0
        return lower + (upper - lower) * (1.5 * rng.random(self.in_shape) - 0.25)

    def __repr__(self) -> str:
        return f"Clipping({self.in_shape}, [{self.lower:g}, {self.upper:g}])"


class Exposures(Chain):
    """Several exposures of one scene, each clipped: ``y_k = min(max(times_k x, lower), upper)``: high dynamic range.

    Parameters
    ----------
    shape : tuple of int
        Shape of the scene; the measurement is (exposures, *shape).
    times : sequence of float
        Exposure times, relative.
    lower, upper, step
        See :class:`Clipping`.

    Raises
    ------
    DTypeError, ArgumentError
        ``times`` are no numbers above zero.

    References
    ----------
    P. E. Debevec, J. Malik, "Recovering high dynamic range radiance maps from photographs", SIGGRAPH 1997.

    Examples
    --------
    >>> F = Exposures((2,), times=[1.0, 4.0])
    >>> F(np.array([0.1, 0.5]))
    array([[0.1, 0.5],
           [0.4, 1. ]])
    """

    def __init__(
        self,
        shape: Sequence[int],
        times: Sequence[float],
        *,
        lower: float = -math.inf,
        upper: float = 1.0,
        step: float = 0.0,
    ):
        if np.ndim(times) != 1 or not len(times):
            raise DTypeError(f"times is {times!r}; expected a sequence of times. Pass [1.0, 4.0], for example.")
        shape = shape_argument("shape", shape)
        self.times = tuple(positive_float("times", t) for t in times)
        self.clipping = Clipping((len(self.times), *shape), lower, upper, step)
        super().__init__(self.clipping, stack([t * Identity(shape) for t in self.times]))

    def first_guess(self, y: Array) -> Array:
        """Each pixel from the exposures in which it is not clipped, or from the shortest."""
        axis = -len(self.in_shape) - 1
        xp = arrays.namespace(y)
        times = arrays.asarray(np.reshape(self.times, (-1,) + (1,) * len(self.in_shape)), y)
        seen = arrays.asarray((y < self.clipping.upper) & (y > self.clipping.lower), y, dtype=y.dtype)
        shortest = xp.moveaxis(y, axis, 0)[int(np.argmin(self.times))] / min(self.times)
        weight = (seen * times**2).sum(axis)
        mean = (seen * times * y).sum(axis) / xp.clip(weight, min=min(self.times) ** 2)
        return xp.where(weight > 0, mean, shortest)

    def __repr__(self) -> str:
        return f"Exposures({self.in_shape}, {len(self.times)} times, upper={self.clipping.upper:g})"


class Logarithm(PointwiseOperator):
    """``y = log(x)``, as a straight line below ``toe``: intensities whose noise multiplies, such as speckle.

    Noise that multiplies adds to the logarithm: ``reconstruct(log(y), Logarithm(shape) @ A)``.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    toe : float
        Intensity below which the tangent goes on.

    Raises
    ------
    DTypeError, ArgumentError
        ``toe`` is not a number above zero.

    Examples
    --------
    >>> Logarithm((2,))(np.array([1.0, np.e])).round(3)
    array([0., 1.])
    """

    def __init__(self, shape: Sequence[int], toe: float = 1e-3):
        super().__init__(shape)
        self.toe = positive_float("toe", toe)

    def inverse(self, y: Array) -> Array:
        """The intensity whose logarithm is ``y``."""
        return arrays.namespace(y).exp(y)

    def _apply(self, x: Array) -> Array:
        xp = arrays.namespace(x)
        return xp.log(xp.clip(x, min=self.toe)) + xp.clip(x - self.toe, max=0.0) / self.toe

    def _slope(self, x: Array) -> Array:
        return 1 / arrays.namespace(x).clip(x, min=self.toe)

    def example(self, rng: np.random.Generator) -> np.ndarray:
        """Intensities above the toe."""
        return self.toe + 0.5 + rng.random(self.in_shape)

    def __repr__(self) -> str:
        return f"Logarithm({self.in_shape})"
