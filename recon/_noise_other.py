"""Noise that is neither Gaussian nor photon counts: impulses, speckle and the magnitude of complex noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recon._noise_level import estimate_rician, estimate_sigma, rician_mean
from recon.noise import LEAST_SQUARES, Gaussian, NoiseModel, Working, require_plane, weighted
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OperatorError, OptionError, suggestion
from solvers.validation import positive_float

KINDS = ("salt and pepper", "random")
OFTEN = 0.002  # share of the samples that one extreme value has; other values hardly repeat in measured data
SIGMA_OF_35 = 2.2036  # 1 / Phi^-1(0.675): the level of which 35 % of the deviations stay below one
REGION = 0.75  # share of a neighbourhood at an extreme value above which it is a saturated region, not impulses
OUTLIER = 2.5  # deviations from the median, over their spread, beyond which a sample is an impulse
AROUND = 1.5  # standard deviation, in samples, of the window in which the signal behind a magnitude is estimated


@dataclass(frozen=True)
class Impulse(NoiseModel):
    """Some samples are replaced: by one of two extreme values (salt and pepper) or by any value between them.

    Reconstruction finds them by the median of their neighbours and leaves them out (``operator.with_sampling``); the
    others have Gaussian noise of a level that is estimated. In a batch, and over channels, a sample is left out
    everywhere if it is an impulse anywhere.

    Parameters
    ----------
    fraction : float
        Share of the samples that :meth:`sample` replaces, between 0 and 1.
    kind : {"salt and pepper", "random"}
        What replaces them.
    low, high : float, optional
        The extreme values; by default the lowest and the highest that many samples share.

    Examples
    --------
    >>> noisy = Impulse(0.2).sample(np.linspace(0, 1, 10_000), rng=0)
    >>> round(float(np.isin(noisy, [0, 1]).mean()), 2)
    0.2
    """

    fraction: float = 0.1
    kind: Literal["salt and pepper", "random"] = "salt and pepper"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        fraction = positive_float("fraction", self.fraction, zero=True)
        if fraction >= 1:
            raise ArgumentError(f"fraction is {fraction}; expected a share below 1. Pass 0.1 for a tenth.")
        if self.kind not in KINDS:
            raise OptionError(
                f"kind is {self.kind!r}; expected one of {KINDS}.{suggestion(str(self.kind), KINDS)} Pass one of them."
            )
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ArgumentError(f"low is {self.low} and high {self.high}; expected low < high. Swap them.")

    def _extremes(self, y: np.ndarray, often: float = 0.0) -> tuple[float, float]:
        """The extreme values; by default the lowest and the highest that at least a share ``often`` of ``y`` has."""
        if np.iscomplexobj(y):
            raise DTypeError(f"the measurement has dtype {y.dtype}; impulses are found in real ones. Pass y.real.")
        values, counts = np.unique(y, return_counts=True) if often else (y, np.ones(y.shape))
        kept = values[counts >= often * y.size] if (counts >= often * y.size).any() else values
        low = float(kept.min()) if self.low is None else float(self.low)
        high = float(kept.max()) if self.high is None else float(self.high)
        return low, high

    def _sample(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        low, high = self._extremes(clean)
        struck = rng.random(clean.shape) < self.fraction
        if self.kind == "random":
            return np.where(struck, rng.uniform(low, high, clean.shape), clean)
        return np.where(struck, np.where(rng.random(clean.shape) < 0.5, low, high), clean)

    def working(self, y: Array, operator: Any) -> Working:
        values = arrays.to_numpy(y)
        low, high = self._extremes(values, OFTEN)
        ndim = min(len(operator.out_shape), 2)
        found: Any = _extreme(values, low, high, ndim) if self.kind == KINDS[0] else _deviating(values, ndim)
        found = found.reshape((-1, *operator.out_shape)).any(axis=0)
        measured = ~found if operator.sampling is None else ~found & operator.sampling
        if not measured.any():
            raise ArgumentError(
                f"all samples of y look like impulses; expected some between low {low:g} and high {high:g}. "
                "Pass the values of the impulses as low and high, or noise='gaussian'."
            )
        masked = operator.with_sampling(measured)
        reason = ("least squares", f"impulses ({found.mean():.1%}) are left out")
        return Working(y, masked, Gaussian(estimate_sigma(y, masked)), False, reason)

    def __str__(self) -> str:
        return f"impulses, {self.kind}"


@dataclass(frozen=True)
class Speckle(NoiseModel):
    """Multiplicative noise of coherent imaging (radar, ultrasound): ``y = (A x) g`` with ``g`` of mean one.

    ``g`` has a gamma distribution of variance ``1 / looks``. Reconstruction takes the logarithm where the operator only
    picks pixels: there the noise is additive, of known mean and variance, and the image is above zero. Elsewhere the
    data term is weighted by the variance ``(A x)^2 / looks``, from a smoothed ``y``.

    Parameters
    ----------
    looks : float
        Number of independent looks that were averaged.

    References
    ----------
    J. W. Goodman, "Some fundamental properties of speckle", J. Opt. Soc. Am. 66 (1976).

    Examples
    --------
    >>> noisy = Speckle(4).sample(np.full(10_000, 2.0), rng=0)
    >>> round(float(noisy.mean())), round(float(noisy.var()))
    (2, 1)
    """

    looks: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", positive_float("looks", self.looks))

    def _sample(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return clean * rng.gamma(self.looks, 1.0 / self.looks, clean.shape)

    def working(self, y: Array, operator: Any) -> Working:
        if arrays.is_complex(y):
            raise DTypeError(f"y has dtype {y.dtype}; speckle is of intensities. Pass abs(y)**2.")
        if operator.selects:
            return self._logarithm(y, operator)
        sigma = _smoothed(arrays.to_numpy(y), operator.out_shape) / math.sqrt(self.looks)
        return weighted(y, operator, sigma, ("least squares, weighted", "by the variance of speckle on a smoothed y"))

    def _logarithm(self, y: Array, operator: Any) -> Working:
        from scipy.special import digamma, polygamma

        xp = arrays.namespace(y)
        everywhere = True if operator.sampling is None else operator.sampling
        lowest = float(arrays.to_numpy(y)[..., np.broadcast_to(everywhere, operator.out_shape)].min())
        if not lowest > 0:
            raise ArgumentError(
                f"y goes down to {lowest:g}; intensities with speckle are above 0. "
                "Leave such samples out with operators.Mask(y > 0)."
            )
        shift = float(digamma(self.looks)) - math.log(self.looks)  # the mean of log g
        logs = xp.log(xp.where(y > 0, y, xp.ones_like(y))) - shift
        if operator.sampling is not None:
            logs = logs * arrays.asarray(operator.sampling, y)
        model = Gaussian(math.sqrt(float(polygamma(1, self.looks))))
        reason = ("least squares of the logarithm", "speckle is additive there")
        return Working(logs, operator, model, True, reason, _logarithm_of, _exponential_of)

    def __str__(self) -> str:
        return f"speckle, {self.looks:g} looks"


@dataclass(frozen=True)
class Rician(NoiseModel):
    """Magnitude of a signal with complex Gaussian noise, as of magnitude MRI: ``y = |A x + n1 + i n2|``.

    Reconstruction subtracts the bias, ``E[y] - s``, that belongs to the signal ``s`` around each sample, by
    ``E[y^2] = s^2 + 2 sigma^2`` and a Gaussian window of 1.5 samples, and takes the noise for Gaussian. Where
    there is no signal a quarter of sigma remains of 1.25. The correction adds next to no noise; that of each sample by
    itself does, and a deblurring would amplify it.

    Parameters
    ----------
    sigma : float
        Standard deviation of the real and of the imaginary part, in the unit of ``y``.

    References
    ----------
    H. Gudbjartsson, S. Patz, "The Rician distribution of noisy MRI data", Magn. Reson. Med. 34 (1995).

    Examples
    --------
    >>> noisy = Rician(1.0).sample(np.zeros(10_000), rng=0)
    >>> round(float((noisy**2).mean()), 1)
    2.0
    """

    sigma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", positive_float("sigma", self.sigma))

    @classmethod
    def estimated(cls, y: Array, operator: Any) -> NoiseModel:
        """The model with the level of ``y``; Gaussian where there is no noise."""
        _require_magnitudes(y)
        require_plane(y, "the noise level", "Rician(sigma)")
        sigma = estimate_rician(y, operator)
        return cls(sigma) if sigma > 0 else Gaussian(0.0)

    def _sample(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = self.sigma * rng.standard_normal((2, *clean.shape))
        return (
            np.hypot(clean + noise[0], noise[1])
            if not np.iscomplexobj(clean)
            else np.abs(clean + noise[0] + 1j * noise[1])
        )

    def working(self, y: Array, operator: Any) -> Working:
        if operator.kind == "complex":
            raise OperatorError(
                f"{operator!r} measures complex numbers, and Rician noise is of their magnitude. Reconstruct the "
                "complex measurement with noise='gaussian', or denoise the magnitude image with operators.Identity."
            )
        _require_magnitudes(y)
        square = _mean_around(arrays.to_numpy(y) ** 2, operator) / self.sigma**2
        signal = np.sqrt(np.maximum(square - 2, 0.0))
        bias = arrays.asarray(self.sigma * (rician_mean(signal) - signal), y)
        if operator.sampling is not None:
            bias = bias * arrays.asarray(operator.sampling, y)
        return Working(y - bias, operator, Gaussian(self.sigma), True, (LEAST_SQUARES[0], "with the bias corrected"))

    def __str__(self) -> str:
        return f"Rician, {self.sigma:.3g}"


def _require_magnitudes(y: Array) -> None:
    if arrays.is_complex(y):
        raise DTypeError(f"y has dtype {y.dtype}; Rician noise is of magnitudes. Pass abs(y).")


def _extreme(y: np.ndarray, low: float, high: float, ndim: int) -> np.ndarray:
    """Samples at the extreme values, but for regions that are saturated, rims included."""
    from scipy.ndimage import maximum_filter, uniform_filter

    size = (1,) * (y.ndim - ndim) + (7,) * ndim
    found: Any = np.zeros(y.shape, dtype=bool)
    for at in (np.isclose(y, value, rtol=0, atol=1e-6 * (high - low)) for value in (low, high)):
        core = at & (uniform_filter(at.astype(np.float32), size) > REGION)
        found = found | (at & ~maximum_filter(core, size))
    return found


def _deviating(y: np.ndarray, ndim: int) -> np.ndarray:
    """Samples far from the median of their neighbours, by the spread of such distances around them."""
    from scipy.ndimage import median_filter, percentile_filter

    size = (1,) * (y.ndim - ndim) + (5,) * ndim
    deviation = np.abs(y - median_filter(y, size))
    # Below the median, so that two impulses among five neighbours do not widen the spread.
    spread = percentile_filter(deviation, 35, size)
    least = np.percentile(deviation, 35) + 1e-12 * np.abs(y).max()
    return deviation > OUTLIER * SIGMA_OF_35 * np.maximum(spread, least)


def _mean_around(y: np.ndarray, operator: Any) -> np.ndarray:
    """Mean of the samples around each, on the last two axes, of those that were measured."""
    from scipy.ndimage import gaussian_filter

    ndim = min(len(operator.out_shape), 2)
    width = (0.0,) * (y.ndim - ndim) + (AROUND,) * ndim
    if operator.sampling is None:
        return gaussian_filter(y.astype(np.float64), width)
    measured = np.broadcast_to(operator.sampling, y.shape).astype(np.float64)
    return gaussian_filter(y * measured, width) / np.maximum(gaussian_filter(measured, width), 1e-6)


def _smoothed(y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mean of the batch, smoothed over the trailing axes, bounded away from zero."""
    from scipy.ndimage import gaussian_filter

    mean = y.reshape((-1, *shape)).mean(axis=0, dtype=np.float64)
    smooth = gaussian_filter(mean, (0,) * (len(shape) - min(len(shape), 2)) + (2.0,) * min(len(shape), 2))
    floor = 1e-2 * float(np.abs(smooth).mean())
    if not floor > 0:
        raise ArgumentError("y is zero everywhere; expected intensities. Pass the measurement.")
    return np.maximum(smooth, floor)


def _logarithm_of(values: Any) -> Any:
    """Logarithm of an image or of a bound; what is not above zero becomes minus infinity."""
    if np.ndim(values) == 0:
        return math.log(values) if values > 0 else -math.inf
    return arrays.namespace(values).log(values)


def _exponential_of(image: Array) -> Array:
    return arrays.namespace(image).exp(image)
