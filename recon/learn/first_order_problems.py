"""A random stream of problems for first-order methods: all families of operators, several classical priors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from priors import Sobolev, TotalVariation, Wavelet
from recon._first_guess import first_guess
from recon._nonlinear import is_nonlinear
from recon._stages import data_term
from recon.bench.problems import noisy
from recon.learn import costly_problems as costly
from recon.learn import problems
from recon.learn.images import Collection
from recon.learn.problems import Family, noise_model
from solvers import FISTA, PDHG, steps
from solvers.step_sizes import data_curvature

FAMILIES: dict[str, dict[str, Family]] = {
    "blur": {"blur": problems.blur, "varying blur": costly.blur},
    "masks": {"inpainting": problems.inpainting},
    "superresolution": {"superresolution": problems.superresolution},
    "tomography": {"parallel": costly.parallel, "limited": costly.limited, "fan": costly.fan},
    "k-space": {
        "mri": problems.mri, "coil lines": costly.coil_lines, "coil points": costly.coil_points, "spokes": costly.spokes
    },
    "patterns": {"patterns": problems.patterns, "single pixel": costly.single_pixel},
    "mixing": {"mixing": problems.mixing},
    "responses": {"saturation": problems.saturation, "gamma": problems.gamma},
    "transmission": {"transmission": problems.transmission},
    "phases": {"phases": problems.phases},
}  # fmt: skip
"""Families that are left out as a whole, and the draws of each."""
NONLINEAR = ("responses", "transmission", "phases")
SIDE = 32
LEAST_NOISE = 0.003
FLATTEST = 0.03
"""Standard deviation of pictures."""
LONG = 250
"""Steps of the runs that find the minimum."""
PRIORS = {"tv": 0.6, "sobolev": 0.2, "wavelet": 0.2}
"""How often each is drawn."""


@dataclass(frozen=True)
class Exercise:
    """A problem with what is needed to run first-order methods on it."""

    family: str
    data: Any
    prior: Any
    strength: float
    start: np.ndarray

    @classmethod
    def drawn(cls, family: str, images: Collection, rng: np.random.Generator, side: int = SIDE) -> Exercise:
        """A random problem of a family on random patches."""
        draws = list(FAMILIES[family].values())
        operator, sigma = draws[rng.integers(len(draws))](rng, side)
        pictures = images.patches(rng, _bands(operator), 3 * side)[:, 0]
        while pictures.std() < FLATTEST:
            pictures = images.patches(rng, _bands(operator), 3 * side)[:, 0]
        return cls.measured(family, operator, sigma, pictures[:, ::2, ::2], rng)

    @classmethod
    def measured(
        cls, family: str, operator: Any, sigma: float | None, pictures: np.ndarray, rng: np.random.Generator
    ) -> Exercise:
        """The problem of an operator, the level of noise and pictures, one for each band."""
        rows, columns = operator.in_shape[-2:]
        truth = pictures[: _bands(operator), :rows, :columns].reshape(operator.in_shape)
        truth = np.ascontiguousarray(truth - truth.min(), np.complex64 if operator.kind == "complex" else np.float32)
        sigma = None if sigma is None else max(sigma, LEAST_NOISE)
        noise, clean = noise_model(sigma), operator(truth)
        seed = int(rng.integers(2**30))
        y = noise.sample(clean, seed) if sigma is None else noisy(clean, operator, sigma, seed)
        prior = _prior(str(rng.choice(list(PRIORS), p=list(PRIORS.values()))), operator)
        variance = 1.0 if sigma is None else sigma**2 * (2 if np.iscomplexobj(y) else 1)
        balanced = 0.5 * variance * truth.size / max(float(prior.value(truth)), 1e-30)
        strength = balanced * math.exp(rng.uniform(math.log(0.5), math.log(2.0)))
        start = np.ascontiguousarray(first_guess(operator, y))
        return cls(family, data_term(operator, y, noise), prior, strength, start)

    @property
    def bounded(self) -> bool:
        """Whether the operator is linear and the curvature of the data has a bound."""
        return not is_nonlinear(self.data.operator) and self.data.curvature() is not None

    def fista(self, data: Any = None, *, searched: bool = False) -> FISTA:
        """With the step of the curvature, or one that is searched."""
        step = None if searched or not self.bounded else self._step
        return FISTA(data or self.data, self.prior, self.strength, step)

    def pdhg(self, data: Any = None) -> PDHG:
        """As it is set up by itself."""
        return PDHG(data or self.data, self.prior, self.strength)

    @cached_property
    def _step(self) -> float:
        return 1.0 / data_curvature(self.data)

    @cached_property
    def least(self) -> float:
        """The least objective that long classical runs meet."""
        runs = (self.fista(), self.pdhg()) if self.bounded else (self.fista(),)
        return min(float(run.objective(s.x)) for run in runs for s in islice(steps(run, self.start), LONG - 50, LONG))


def _bands(operator: Any) -> int:
    return operator.in_shape[0] if operator.channels else 1


def _prior(name: str, operator: Any) -> Any:
    if name == "tv":
        return TotalVariation(channel_axis=-3) if operator.channels else TotalVariation()
    return Sobolev() if name == "sobolev" else Wavelet()
