"""Predicted risk of the measurement, or of the image: see :mod:`recon.selection`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon._nonlinear import carried_to_image, is_nonlinear
from recon._selection_problem import Problem, background, measured_count
from recon._warm import Settling, Warm
from recon.noise import Poisson
from solvers import arrays
from solvers.arrays import Array

BALANCE = 1.5  # strength * prior(x) at the best strength, over the variance of the noise that is fitted; 1 to 3
NOTICEABLE = 0.3  # gain over the best trial, relative to the noise fitted, up to which a parabola is believed
INTERPOLATES = 0.95  # effective degrees of freedom over measurements from which GCV says nothing
SETTLED = 0.1  # change of the risk still to come, over that of the noise fitted, at which a solve ends
PASSED = 1e-2  # squared transfer, of the largest, below which a frequency counts as not passed


@dataclass(frozen=True)
class Figures:
    """What one strength gives; squares and products are divided by the number of measurements."""

    residual: float  # |y - A x|^2
    divergence: float  # b . (A x(y + eps b) - A x(y)) / eps
    image_residual: float  # both again, with the weights that carry them over to the image
    image_divergence: float


class Predicted(Warm):
    """Predicted risk by SURE or generalised cross-validation, with a Monte-Carlo divergence."""

    item = 0

    def __init__(self, problem: Problem, rng: np.random.Generator):
        y = problem.y
        self.measured: dict[float, Figures] = {}  # by the logarithm of the strength
        self.count = measured_count(problem.operator, y)
        self.weights, probe, self.gain = _probe(problem, rng)
        self.filter: Any = None if isinstance(problem.noise, Poisson) else _to_image(problem)
        xp = arrays.namespace(y)
        super().__init__(problem, problem.operator, xp.stack([y, y + probe]), xp.stack([problem.x0] * 2))

    def measure(self, strength: float) -> Figures:
        key = round(math.log(strength), 9)
        if key not in self.measured:
            settling = Settling(self._figures, self._risk, self.pace)
            self.solve(strength, settling)
            self.measured[key] = settling.result()
        return self.measured[key]

    def _risk(self, figures: Figures) -> tuple[float, float]:
        """Of one strength alone; and what change of it matters."""
        variance = self._variance(figures)
        self.noticed = SETTLED * self.problem.slack * 2 * variance * figures.image_divergence
        if not self.problem.sigma_known and self.filter is None:
            return gcv(figures), self.noticed
        return figures.image_residual + 2 * variance * figures.image_divergence, self.noticed

    def _figures(self, images: Array) -> Figures:
        fit, shifted = self.operator(images)
        misfit, response = self.problem.y - (fit + background(self.problem.noise)), shifted - fit
        residual, divergence = self._mean(misfit, self.weights * misfit), self._mean(self.gain, response)
        if self.filter is None:
            return Figures(residual, divergence, residual, divergence)
        image_residual = self._mean(misfit, self._filtered(misfit))
        return Figures(residual, divergence, image_residual, self._mean(self.gain, self._filtered(response)))

    def rank(self, tried: list[Figures]) -> list[float]:
        validated = [gcv(f) for f in tried]
        best = tried[int(np.argmin(validated))]
        self.divergence, self.level = best.divergence, level_of(best)
        variance = self._variance(best)
        self.noticeable = NOTICEABLE * self.problem.slack * 2 * variance * best.image_divergence
        if not self.problem.sigma_known and self.filter is None:
            return validated
        risks = [f.image_residual + 2 * variance * f.image_divergence for f in tried]
        if not self.problem.sigma_known and self.filter is not None:
            self.best = tried[int(np.argmin(risks))]
        return risks

    def propose(self, strength: float, figures: Figures) -> float | None:
        """Where the prior would be in balance with the noise fitted: ``strength * prior(x) = BALANCE sigma^2 div``."""
        penalty = getattr(self.family, "penalty", None)
        if penalty is None or not figures.divergence < INTERPOLATES:
            return None
        fitted = BALANCE * self._variance(figures) * figures.divergence * self.count
        value = arrays.to_float(penalty(self.kept[-1][0].x[self.item]))
        return strength * fitted / value if value > 0 < fitted else None

    def _variance(self, figures: Figures) -> float:
        if isinstance(self.problem.noise, Poisson):
            return 1.0
        return float(self.problem.noise.sigma**2) if self.problem.sigma_known else level_of(figures) ** 2

    def _mean(self, a: Array, b: Array) -> float:
        return arrays.to_float(arrays.dot(a, b)) / self.count

    def _filtered(self, array: Array) -> Array:
        if callable(self.filter):
            return self.filter(array)
        return arrays.filter_fourier(array, self.filter, len(self.operator.in_shape))


def gcv(figures: Figures) -> float:
    """Generalised cross-validation; infinite where the data are interpolated, zero residual over zero."""
    if figures.divergence >= INTERPOLATES:
        return math.inf
    return figures.residual / (1 - figures.divergence) ** 2


def level_of(figures: Figures) -> float:
    """Noise level by the residual."""
    return math.sqrt(figures.residual / (1 - min(figures.divergence, INTERPOLATES)))


def _to_image(problem: Problem) -> Any:
    """Spectrum of ``(A A^H / |A|^2 + PASSED)^-1`` where the operator is a convolution, else None.

    Where it is not linear, the same by its derivative at the first guess, as a callable.
    """
    if is_nonlinear(problem.operator):
        return carried_to_image(problem.operator, problem.x0, PASSED)
    transfer = problem.operator.transfer()
    if transfer is None:
        return None
    gram = np.abs(transfer) ** 2
    return 1.0 / (gram / gram.max() + PASSED)


def _probe(problem: Problem, rng: np.random.Generator) -> tuple[Any, Array, Array]:
    """Weights of the residual, the probe added to y, and the array whose product with the response is the divergence.

    It is ``sum_i d(A x)_i / d y_i``, for Poisson counts ``sum_i weight_i variance_i d(A x)_i / d y_i``.
    """
    y, operator = problem.y, problem.operator
    signs = _signs(y, operator, rng)
    if isinstance(problem.noise, Poisson):
        mean = arrays.namespace(y).clip(operator(problem.x0) + background(problem.noise), min=1.0)
        counts = arrays.namespace(y).clip(y, min=0.0)
        # Not beyond zero: scaled counts may be smaller than one.
        width = arrays.namespace(y).minimum(0.1 * counts**0.5, counts)
        return 1.0 / mean, width * signs, signs * (counts / (width + (counts == 0))) / mean
    level = problem.noise.sigma
    if not level > 0:  # noiseless: any small probe shows the divergence
        level = 1e-3 * arrays.to_float(arrays.norm(y)) / math.sqrt(arrays.size(y))
    width = 0.1 * level
    return 1.0, width * signs, signs * (1.0 / width)


def _signs(y: Array, operator: Any, rng: np.random.Generator) -> Array:
    """Random signs where something was measured, in the real and the imaginary part where y is complex."""
    shape = tuple(y.shape)
    signs = 2.0 * rng.integers(0, 2, shape, dtype=np.int8) - 1.0
    if arrays.is_complex(y):
        signs = signs + 1j * (2.0 * rng.integers(0, 2, shape, dtype=np.int8) - 1.0)
    if operator.sampling is not None:
        signs = signs * operator.sampling
    return arrays.asarray(signs, y)
