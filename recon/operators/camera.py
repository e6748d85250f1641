"""What a camera does to the light of each pixel: response curves, saturation, clipping, several exposures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators._nonlinear_combinations import Chain
from recon.operators._response_curves import PolynomialCurve, response_curve
from recon.operators.base import LinearOperator, Operator, stack
from recon.operators.nonlinear import NonlinearOperator, PointwiseOperator
from recon.operators.pointwise import Identity
from recon.operators.unknown import Parametrised, Unknown
from recon.operators.wrappers import from_callables
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError
from solvers.validation import positive_float, shape_argument

SLACK = 0.2  # of the noise, by which a sample may be inside an end of the range and still counts as clipped
TOE = 1e-3  # light up to which a power curve is straight


class CameraResponse(Parametrised, PointwiseOperator):
    r"""Response curve of a camera, ``y = f(x)`` with light and value in [0, 1]: gamma, sRGB or a polynomial.

    Below ``toe`` a power curve goes on as its tangent, and sRGB is linear there anyway: the slope stays finite, and
    noise may lead below zero.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    curve : "srgb", float, array of shape (n,), or Unknown
        sRGB (IEC 61966-2-1); the gamma in ``y = x^(1/gamma)``; or the coefficients of the inverse response,
        ``x = c_1 y + c_2 y^2 + ...``. Unknown is the gamma, or a polynomial where its ``shape`` is (n,), whose
        coefficients sum to one. One photograph does not tell its response; exposures of known times do:
        ``CameraResponse((3, *shape), Unknown()) @ stack([t * Identity(shape) for t in times])``.
    toe : float
        Light up to which a power curve is straight.

    Raises
    ------
    DTypeError, ArgumentError
        ``curve`` is neither "srgb" nor a number above zero, or it falls somewhere.
    ShapeError, NonFiniteError
        ``curve`` is not a list of finite coefficients.

    References
    ----------
    T. Mitsunaga, S. K. Nayar, "Radiometric self calibration", CVPR 1999 (polynomials); P. E. Debevec, J. Malik,
    "Recovering high dynamic range radiance maps from photographs", SIGGRAPH 1997.

    Examples
    --------
    >>> F = CameraResponse((3,), curve="srgb")
    >>> F(np.array([0.0, 0.18, 1.0])).round(2)
    array([0.  , 0.46, 1.  ])
    >>> F.inverse(F(np.array([0.0, 0.18, 1.0]))).round(2)
    array([0.  , 0.18, 1.  ])
    """

    parameters = ("curve",)
    of_a_series = ("curve",)

    def __init__(self, shape: Sequence[int], curve: Any = "srgb", toe: float = TOE):
        super().__init__(shape)
        self.curve = curve
        self._response = response_curve(curve, toe)
        self.torch_body = self._response.torch_body

    @classmethod
    def neutral(cls, name: str, unknown: Unknown, arguments: dict[str, Any]) -> np.ndarray:
        if unknown.shape in (None, (1,)):
            return np.ones(1)
        usual = np.zeros(unknown.shape)
        usual[:2] = 0.1, 0.9  # nearly squares, as cameras have it: from a straight line, steps end where a curve falls
        return usual

    def in_parameter(self, name: str, x: np.ndarray) -> Operator:
        return _OfTheCurve(self._response.parameter, np.asarray(x, dtype=float))

    def gauge(self, names: Sequence[str]) -> tuple[dict[str, np.ndarray], float, float]:
        polynomial = isinstance(self._response, PolynomialCurve)
        total = float(self._response.parameter.sum()) if polynomial and "curve" in names else 1.0
        return ({"curve": self._response.parameter / total}, 1 / total, 0.0) if total != 1.0 else ({}, 1.0, 0.0)

    def inverse(self, y: Array) -> Array:
        """The light ``x`` with ``f(x) = y``."""
        if arrays.is_torch(y) and not self.torch_body:
            return arrays.to_device_of(self._response.light(arrays.to_numpy(y)), y)
        return self._response.light(y)

    def _apply(self, x: Array) -> Array:
        return self._response.value(x)

    def _slope(self, x: Array) -> Array:
        return self._response.slope(x)

    def example(self, rng: np.random.Generator) -> np.ndarray:
        """Light between black and white."""
        return 0.05 + 0.9 * rng.random(self.in_shape)

    def __repr__(self) -> str:
        return f"CameraResponse({self.in_shape}, {self.curve!r})"


class _OfTheCurve(NonlinearOperator):
    """What a camera makes of known light, as a function of its curve."""

    torch_body = False
    kind = "real"

    def __init__(self, parameter: np.ndarray, x: np.ndarray):
        super().__init__(parameter.shape, x.shape)
        self._x = x

    def _apply(self, parameter: Array) -> Array:
        return response_curve(parameter, TOE).value(self._x)

    def _linearize(self, parameter: Array) -> LinearOperator:
        columns = response_curve(parameter, TOE).by_parameter(self._x)
        return from_callables(
            lambda d: np.tensordot(d, columns, 1),
            lambda r: np.tensordot(columns, r, columns.ndim - 1),
            self.in_shape, self.out_shape,
        )  # fmt: skip


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
        the forward; ``reconstruct`` takes it for noise of ``step / sqrt(12)``, below which no level is estimated.

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
        return ClippedLeastSquares(inner, y, self.lower, self.upper, slack=SLACK * noise.sigma)

    @property
    def rounding(self) -> float:
        return self.step / math.sqrt(12)

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

    Noise that multiplies adds to the logarithm: ``reconstruct(log(y), Logarithm(shape) @ A)``. With few looks it is far
    from Gaussian there, and ``reconstruct(y, A, noise="speckle")`` is better by decibels.

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
