"""Relaxation of magnetisation, voxel by voxel: maps of amplitude and relaxation time from a series of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from recon.operators.base import LinearOperator
from recon.operators.nonlinear import AtAnImage, NonlinearOperator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, OptionError, ShapeError, suggestion
from solvers.validation import require_finite, shape_argument

Model = Literal["decay", "saturation", "inversion"]
MODELS = {"decay": (0.0, 1.0), "saturation": (1.0, -1.0), "inversion": (1.0, -2.0)}  # c0, c1 of c0 + c1 exp(-t r)
LEAST = -30.0  # exponent of growth beyond which nothing is told apart: numbers stay finite
RATES = 48  # rates tried by a fit before it refines the best one
SLOWEST, FASTEST = 0.05, 20.0  # rates tried, over one over the longest and over the shortest time


class Relaxometry(NonlinearOperator):
    r"""A series of images of magnetisation that relaxes, ``y_k = a (c0 + c1 exp(-times_k r / unit))``.

    The image holds two maps, ``x = (a, r)``: the amplitude, and the rate in units of ``1 / unit``, which makes both
    about one; ``relaxation_time(x)`` is ``unit / r``: T2 of a decay, T1 of a recovery.

    Parameters
    ----------
    times : sequence of float
        Echo, inversion or saturation times, of any unit.
    shape : tuple of int
        Shape of one image.
    model : {"decay", "saturation", "inversion"}
        ``exp(-t r)`` (T2, T2*), ``1 - exp(-t r)`` (T1 by saturation), ``1 - 2 exp(-t r)`` (T1 by inversion, signed).

    Raises
    ------
    ShapeError, ArgumentError, OptionError
        Fewer than two times, equal or negative ones; an unknown model.

    References
    ----------
    N. Stikov et al., "On the accuracy of T1 mapping", Magn. Reson. Med. 73 (2015).

    Examples
    --------
    >>> F = Relaxometry([10.0, 20.0, 40.0, 80.0], shape=(2,))
    >>> x = F.maps_of(np.array([1.0, 2.0]), np.array([30.0, 60.0]))
    >>> F.relaxation_time(F.fit(F(x))).round(3)
    array([30., 60.])
    """

    kind = "real"
    channels = True

    def __init__(self, times: Sequence[float], shape: Sequence[int], model: Model = "decay"):
        values = np.asarray(times, dtype=float)
        require_finite("times", values, "Pass finite times.")
        if values.ndim != 1 or len(np.unique(values)) < 2:
            raise ShapeError(f"times has shape {values.shape}; expected two different times at least. Pass a sequence.")
        if (values < 0).any() or not values.max() > 0:
            raise ArgumentError(f"times are {times!r}; expected none below zero. Count them from the excitation.")
        if model not in MODELS:
            raise OptionError(f"model is {model!r}; expected one of {', '.join(MODELS)}.{suggestion(model, MODELS)}")
        self.times, self.model = values, model
        self.unit = float(np.exp(np.log(values[values > 0]).mean()))
        shape = shape_argument("shape", shape)
        super().__init__((2, *shape), (len(values), *shape))

    def maps_of(self, amplitude: Array, time: Array) -> Array:
        """The image ``x`` of an amplitude and a relaxation time, in the unit of ``times``."""
        return arrays.namespace(amplitude).stack([amplitude, self.unit / time], -len(self.in_shape))

    def relaxation_time(self, x: Array) -> Array:
        """T1 or T2 of an image ``x``, in the unit of ``times``; infinite where nothing relaxes."""
        rate = self._maps(x)[1]
        xp = arrays.namespace(rate)
        return xp.where(rate > 0, self.unit / xp.clip(rate, min=arrays.eps(rate) ** 2), np.inf + 0 * rate)

    def fit(self, y: Array) -> Array:
        """Least squares of each voxel on its own: the best of a grid of rates, refined by Levenberg-Marquardt steps.

        Parameters
        ----------
        y : array, shape (..., len(times), *shape)

        Returns
        -------
        array, shape (..., 2, *shape)
            Amplitude and rate. No gradients pass.
        """
        from recon.operators._relaxometry_numba import fit_voxels

        series = self._admit(y, "y", self.out_shape)
        batch = tuple(series.shape[: series.ndim - len(self.out_shape)])
        columns = np.moveaxis(arrays.to_numpy(series).reshape(-1, len(self.times), self._voxels), 1, 0)
        found = fit_voxels(
            np.ascontiguousarray(columns.reshape(len(self.times), -1), dtype=np.float64),
            self.times / self.unit,
            np.geomspace(SLOWEST * self.unit / self.times.max(), FASTEST * self.unit / self._shortest, RATES),
            *MODELS[self.model],
        )
        maps = np.moveaxis(found.reshape(2, -1, self._voxels), 0, 1).reshape(batch + self.in_shape)
        return arrays.asarray(np.ascontiguousarray(maps), series)

    def first_guess(self, y: Array) -> Array:
        """The fit of each voxel on its own."""
        return self.fit(y)

    def example(self, rng: np.random.Generator) -> np.ndarray:
        """Amplitudes and rates about one."""
        return 0.3 + rng.random(self.in_shape)

    @property
    def _voxels(self) -> int:
        return int(np.prod(self.in_shape[1:]))

    @property
    def _shortest(self) -> float:
        return float(self.times[self.times > 0].min())

    def _apply(self, x: Array) -> Array:
        amplitude, rate = self._maps(x)
        return amplitude[self._along] * self._weight(self._exponential(rate)[0])

    def _linearize(self, x: Array) -> LinearOperator:
        return _Slopes(self, x)

    @property
    def _along(self) -> tuple[Any, ...]:
        """Index that makes room for the axis of times."""
        return (..., None, *(slice(None),) * (len(self.in_shape) - 1))

    def _maps(self, x: Array) -> tuple[Array, Array]:
        first, second = ((..., k, *(slice(None),) * (len(self.in_shape) - 1)) for k in (0, 1))
        return x[first], x[second]

    def _weight(self, exponential: Array) -> Array:
        c0, c1 = MODELS[self.model]
        return c0 + c1 * exponential

    def _exponential(self, rate: Array) -> tuple[Array, Array]:
        """``exp(-t r)`` for each time, and its derivative by ``r``."""
        xp = arrays.namespace(rate)
        t = arrays.asarray((self.times / self.unit).reshape(-1, *(1,) * (len(self.in_shape) - 1)), rate)
        exponent = t * rate[self._along]
        value = xp.exp(-xp.clip(exponent, min=LEAST))
        return value, -t * value * arrays.asarray(exponent > LEAST, rate, dtype=rate.dtype)

    def __repr__(self) -> str:
        return f"Relaxometry({len(self.times)} times, {self.in_shape[1:]}, {self.model!r})"


class _Slopes(AtAnImage):
    """The derivative by amplitude and rate: two numbers for each time and voxel."""

    def __init__(self, operator: Relaxometry, x: Array):
        super().__init__(operator, x)
        self.operator = operator
        amplitude, rate = operator._maps(x)
        value, slope = operator._exponential(rate)
        self.by_amplitude = operator._weight(value)
        self.by_rate = amplitude[operator._along] * MODELS[operator.model][1] * slope

    def _apply(self, d: Array) -> Array:
        operator = self.operator
        along = operator._along
        amplitude, rate = operator._maps(d)
        return _beside(self.by_amplitude, d) * amplitude[along] + _beside(self.by_rate, d) * rate[along]

    def _adjoint(self, r: Array) -> Array:
        axis = -len(self.in_shape)
        parts = [(_beside(slopes, r) * r).sum(axis) for slopes in (self.by_amplitude, self.by_rate)]
        return arrays.namespace(r).stack(parts, axis)


def _beside(slopes: Array, v: Array) -> Array:
    return arrays.asarray(slopes if arrays.is_torch(v) else arrays.to_numpy(slopes), v)
