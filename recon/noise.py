"""Noise models: to simulate a measurement with, and to reconstruct under.

``model.sample(clean, rng)`` adds the noise. ``reconstruct(y, A, noise=model)`` takes each of them, by turning the
problem into one with white Gaussian noise or with photon counts (:meth:`~NoiseModel.working`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon._noise_level import estimate_gain
from recon._noise_level import estimate_sigma as estimate_sigma
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import as_inexact, positive_float, require_finite

LEAST_SQUARES = ("least squares", "the noise is Gaussian")


@dataclass(frozen=True)
class Working:
    """A problem that has become one with white Gaussian noise or with photon counts."""

    y: Array
    operator: Any
    model: Any  # Gaussian with one sigma, or Poisson without gain
    known: bool  # whether the level is known rather than estimated
    data_term: tuple[str, str]  # what it is, and why
    to_domain: Callable[[Any], Any] | None = (
        None  # of images and bounds, where the problem is solved for another quantity
    )
    to_image: Callable[[Array], Array] | None = None  # back again


class NoiseModel:
    """What every noise model does."""

    def sample(self, clean: Array, rng: Any) -> Array:
        """A noisy measurement.

        Parameters
        ----------
        clean : array
            What would be measured without noise, ``A(x)``, numpy or torch.
        rng : int or numpy.random.Generator
            Source of the noise; the same number gives the same noise.

        Returns
        -------
        array
            Of the shape and precision of ``clean``.
        """
        clean = as_inexact("clean", clean)
        values = arrays.to_numpy(clean)
        require_finite("clean", values, "Pass the noiseless measurement.")
        noisy = self._sample(values, np.random.default_rng(rng))
        return arrays.to_device_of(np.asarray(noisy).astype(values.dtype, copy=False), clean)

    def _sample(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError

    def working(self, y: Array, operator: Any) -> Working:
        """The problem that is solved in place of ``y = A x`` with this noise."""
        raise NotImplementedError

    def __str__(self) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Gaussian(NoiseModel):
    """Gaussian noise, independent from sample to sample.

    Parameters
    ----------
    sigma : float or array
        Standard deviation, in the unit of the measurement; of the real and of the imaginary part where it is complex.
        An array, broadcastable to ``operator.out_shape``, gives each sample its own: the data term is then weighted by
        ``1 / sigma^2``, and samples with ``sigma = inf`` are left out.

    Examples
    --------
    >>> noisy = Gaussian(0.1).sample(np.zeros(10_000), rng=0)
    >>> round(float(noisy.std()), 2)
    0.1
    """

    sigma: Any

    def __post_init__(self) -> None:
        is_map = not isinstance(self.sigma, str) and np.ndim(self.sigma) > 0
        sigma = _positive_map("sigma", self.sigma) if is_map else positive_float("sigma", self.sigma, zero=True)
        object.__setattr__(self, "sigma", sigma)

    def _sample(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sigma = np.where(np.isinf(self.sigma), 0.0, self.sigma)
        return clean + sigma * _normal(clean, rng)

    def working(self, y: Array, operator: Any) -> Working:
        if isinstance(self.sigma, float):
            return Working(y, operator, self, True, LEAST_SQUARES)
        sigma = _broadcast("sigma", self.sigma, operator.out_shape)
        return weighted(y, operator, sigma, ("least squares, weighted", "each sample by the inverse of its variance"))

    def __str__(self) -> str:
        if isinstance(self.sigma, float):
            return f"Gaussian, {self.sigma:.3g}"
        finite = self.sigma[np.isfinite(self.sigma)]
        return f"Gaussian, {finite.min():.3g} to {finite.max():.3g}"


@dataclass(frozen=True)
class Poisson(NoiseModel):
    """Photon counts: ``y / gain ~ Poisson((A x + background) / gain)``, of mean ``A x + background``.

    Parameters
    ----------
    background : float
        Expected value that does not come from the image, in the unit of ``y``.
    gain : float
        Unit of ``y`` a photon gives; 1 where ``y`` are counts. The variance is ``gain * mean``.

    Examples
    --------
    >>> noisy = Poisson(gain=0.5).sample(np.full(10_000, 8.0), rng=0)
    >>> round(float(noisy.mean())), round(float(noisy.var()))
    (8, 4)
    """

    background: float = 0.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "background", positive_float("background", self.background, zero=True))
        object.__setattr__(self, "gain", positive_float("gain", self.gain))

    def _sample(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self.gain * rng.poisson(_expected(clean + self.background) / self.gain)

    def working(self, y: Array, operator: Any) -> Working:
        _require_counts(y)
        reason = ("Poisson likelihood", "the noise is Poisson")
        if self.gain == 1:
            return Working(y, operator, self, True, reason)
        return Working(y / self.gain, (1 / self.gain) * operator, Poisson(self.background / self.gain), True, reason)

    def __str__(self) -> str:
        return "Poisson counts" if self.gain == 1 else f"Poisson counts, {self.gain:.3g} each"


@dataclass(frozen=True)
class PoissonGaussian(NoiseModel):
    """Photon counts and readout noise: ``y = gain * Poisson((A x + background) / gain) + N(0, sigma^2)``.

    Its variance is ``gain * (A x + background) + sigma^2``, as of a camera. Reconstruction takes
    ``y / gain + (sigma / gain)^2`` for counts on a background of ``(sigma / gain)^2``, which have the same mean and
    variance (Snyder et al. 1993).

    Parameters
    ----------
    gain : float
        Unit of ``y`` a photon gives.
    sigma : float
        Standard deviation of the readout noise, in the unit of ``y``.
    background : float
        Expected value that does not come from the image, in the unit of ``y``.

    References
    ----------
    D. L. Snyder, A. M. Hammoud, R. L. White, "Image recovery from data acquired with a charge-coupled-device camera",
    J. Opt. Soc. Am. A 10 (1993).

    Examples
    --------
    >>> noisy = PoissonGaussian(gain=0.5, sigma=1.0).sample(np.full(10_000, 6.0), rng=0)
    >>> round(float(noisy.mean())), round(float(noisy.var()))
    (6, 4)
    """

    gain: float
    sigma: float
    background: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", positive_float("gain", self.gain))
        object.__setattr__(self, "sigma", positive_float("sigma", self.sigma, zero=True))
        object.__setattr__(self, "background", positive_float("background", self.background, zero=True))

    @classmethod
    def estimated(cls, y: Array, operator: Any) -> NoiseModel:
        """The model whose variance grows with the mean as that of ``y`` does; Gaussian where it does not grow."""
        _require_real(y, "Photon counts")
        require_plane(y, "gain and readout noise", "PoissonGaussian(gain, sigma)")
        gain, sigma = estimate_gain(y, operator)
        return cls(gain, sigma) if gain > 0 else Gaussian(sigma)

    def _sample(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        counts = rng.poisson(_expected(clean + self.background) / self.gain)
        return self.gain * counts + self.sigma * rng.standard_normal(clean.shape)

    def working(self, y: Array, operator: Any) -> Working:
        _require_real(y, "Photon counts")
        shift = (self.sigma / self.gain) ** 2
        shifted = arrays.namespace(y).clip(y / self.gain + shift, min=0.0)
        model = Poisson(self.background / self.gain + shift)
        reason = ("Poisson likelihood, shifted", "counts with the mean and variance of the noise")
        return Working(shifted, (1 / self.gain) * operator, model, True, reason)

    def __str__(self) -> str:
        return f"Poisson counts, {self.gain:.3g} each, and Gaussian, {self.sigma:.3g}"


def weighted(y: Array, operator: Any, sigma: np.ndarray, reason: tuple[str, str], known: bool = True) -> Working:
    """Least squares weighted by ``1 / sigma^2``: the same problem with rows scaled so that the noise is white."""
    from recon.operators._combinations import Scaled
    from recon.operators.filters import Diagonal

    precision = 1.0 / sigma
    # Scaled so that a constant map changes nothing, strength and residual included.
    level = 1.0 / math.sqrt(float(np.mean(precision[precision > 0] ** 2)))
    weights, factor = level * precision, 1.0
    if isinstance(operator, Scaled) and np.isreal(operator.factor):  # one operator for both factors keeps closed forms
        operator, factor = operator.parts[0], float(np.real(operator.factor))
    return Working(Diagonal(weights)(y), Diagonal(factor * weights) @ operator, Gaussian(level), known, reason)


def _positive_map(name: str, values: Any) -> np.ndarray:
    out = arrays.to_numpy(values)
    if out.dtype.kind not in "iuf":
        raise DTypeError(f"{name} has dtype {out.dtype}; expected real numbers above 0. Convert it to float.")
    out = out.astype(np.float64)
    if not (out > 0).all() or np.isinf(out).all():
        raise ArgumentError(
            f"{name} holds {np.nan if np.isnan(out).any() else out.min():g}; expected numbers above 0, and inf for "
            "samples to leave out. Give exact samples a small standard deviation."
        )
    return out


def _broadcast(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        raise ShapeError(
            f"{name} has shape {values.shape}; expected one that broadcasts to {shape}, the measurement of one image. "
            "Reconstruct images with different noise one by one."
        ) from None


def _normal(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if np.iscomplexobj(clean):
        return rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape)
    return rng.standard_normal(clean.shape)


def _expected(mean: np.ndarray) -> np.ndarray:
    """Expected values in double precision; negative rounding errors become zero."""
    _require_real(mean, "Photon counts")
    lowest = float(mean.min())
    if lowest < -1e-5 * float(np.abs(mean).max()):
        raise ArgumentError(
            f"clean goes down to {lowest:g}; expected counts are at least 0. Pass an image that is >= 0."
        )
    return np.maximum(mean, 0.0).astype(np.float64)


def _require_real(y: Array, what: str) -> None:
    if arrays.is_complex(y):
        raise DTypeError(f"y has dtype {y.dtype}; {what} are real. Pass real ones, or noise='gaussian'.")


def require_plane(y: Array, wanted: str, model: str) -> None:
    """Raise where ``y`` has no squares of samples to find a noise level from."""
    if y.ndim < 2 or min(y.shape[-2:]) < 2:
        raise ShapeError(f"y has shape {tuple(y.shape)}; expected two axes to find {wanted} from. Pass noise={model}.")


def _require_counts(y: Array) -> None:
    _require_real(y, "Poisson counts")
    lowest = arrays.to_float(y.min())
    if lowest < 0:
        raise ArgumentError(
            f"y goes down to {lowest:g}; Poisson counts are at least 0. Pass raw counts, or noise='gaussian'."
        )
