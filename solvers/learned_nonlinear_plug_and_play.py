"""Learned steps of plug-and-play where each sample depends on the one pixel at its place, by a curve or by counts.

Near an image ``u`` the data are a parabola in every pixel, and the data step is that of a gain for each:

    loss(F(x)) ~ 1/2 |g x - c|^2,    g^2 = W J^2,    c = g u - J loss'(F(u)) / g

with the slopes ``J`` of ``F`` and the curvatures ``W`` of the loss at ``u``, both found anew a few times in each step.
On that problem the steps are those of :mod:`solvers.learned_plug_and_play`, so that what was learned on linear
operators serves here. Noise that differs from pixel to pixel, such as that of counts, is told to the denoiser.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.data_terms import LeastSquares
from solvers.errors import ArgumentError
from solvers.learned_plug_and_play import FIRST, UNTAUGHT, LearnedDPIR, LearnedDPIRState, Told, random_signs
from solvers.regularised import Regularised, require_smooth, require_strength
from solvers.validation import positive_float, positive_int

PARABOLAS = 3  # of one data step
LAST = 0.9  # last level over the noise behind the mean gain
MORE = 0.1
"""Logarithm of the level over what linear operators taught, late in the run: parabolas leave a little more. Not in the
last step, which no other follows: 0.01 dB better on 36 training problems, 0.07 on 18 whose images have grain."""
FAINT = 1e-6  # gain over the largest one, below which a pixel says nothing


@dataclass(frozen=True, eq=False)
class LearnedNonlinearDPIR(Regularised):
    """Plug-and-play restoration of each pixel's curve or counts, in as few steps as a learned schedule needs.

    Parameters
    ----------
    data, prior, strength
        See :class:`DPIR`; a smooth data term, of an operator each sample of which depends on the pixel at its place.
    noise : float
        Standard deviation of the noise in the data where the loss is least squares; 1 for a likelihood.
    length : int
        Number of steps.
    schedule : callable
        See :class:`LearnedDPIR`.
    turns : bool
        See :class:`DPIR`.

    Raises
    ------
    ArgumentError
        The data term has no curvature, a sample depends on several pixels, or a number is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import NonLocalMeans, PlugAndPlay
    >>> from recon.operators import Saturation
    >>> from solvers import LearnedNonlinearDPIR, LeastSquares, solve
    >>> F = Saturation((16, 16), level=2.0)
    >>> y = F(np.ones((16, 16))) + 0.1 * np.random.default_rng(0).standard_normal((16, 16))
    >>> problem = LearnedNonlinearDPIR(LeastSquares(F, y), PlugAndPlay(NonLocalMeans()), 0.23 * 0.1**2, noise=0.1)
    >>> bool(abs(solve(problem, y).image - 1).max() < 0.1)
    True
    """

    noise: float = 1.0
    length: int = 8
    schedule: Callable[[Mapping[str, float]], Mapping[str, Any]] = lambda features: {}
    turns: bool = False
    between: Any = None

    def __post_init__(self) -> None:
        require_smooth(self)
        require_strength(self)
        positive_float("noise", self.noise)
        positive_int("length", self.length)
        if not getattr(self.data.operator, "pointwise", False):
            raise ArgumentError(
                f"the operator is {self.data.operator!r}, whose samples depend on several pixels; expected one that "
                "is a function of each pixel. Use NonlinearDPIR."
            )

    def init(self, x0: Array) -> LearnedDPIRState:
        x0 = self.data.start(x0)
        gain = arrays.to_float(parabola(self.data, x0)[0].mean())  # the largest one may be that of some black pixels
        return self._near(x0, LAST * self.noise / max(gain, 1e-30)).init(x0)

    def restart(self, state: Any, strength: float, item: int | None = None) -> Any:
        """Begin afresh, from the same start."""
        return self.init(state.start if item is None else state.start[item])

    def step(self, state: LearnedDPIRState, k: int) -> LearnedDPIRState:
        if state.finished:
            return state
        told = self.before_denoising(state, k)
        near = self._near(told.fit, _last_level(state))
        return near.after_denoising(state, near.denoised(told, k), told)

    def before_denoising(self, state: LearnedDPIRState, k: int) -> Told:
        """What step ``k`` tells the denoiser."""
        level = _last_level(state)
        told = self._near(state.fit, level).before_denoising(state, k)
        for _ in range(PARABOLAS - 1):
            told = self._near(told.fit, level).before_denoising(state, k)
        more = MORE * k / max(self.length - 1, 1) if told.answer is None else 0.0
        return replace(told, level=math.exp(more) * told.level)

    def after_denoising(self, state: LearnedDPIRState, x: Array, told: Told) -> LearnedDPIRState:
        """The state with the denoised image."""
        return self._near(told.fit, _last_level(state)).after_denoising(state, x, told)

    def _near(self, u: Array, level: float) -> LearnedDPIR:
        """The linear problem that this one is near an image, with its last level."""
        gains, values = parabola(self.data, u)
        data = LeastSquares(_Gains(gains), values)
        problem = LearnedDPIR(
            data, self.prior, self.strength, level, self.length, self.noise, self.schedule, FIRST * level, self.turns,
            between=self.between,
        )  # fmt: skip
        problem.__dict__["_signs"] = self._signs
        return problem

    @property
    def untaught(self) -> dict[str, float]:
        """Parameters of every step where nothing was learned: every pixel is measured."""
        return UNTAUGHT

    @cached_property
    def _signs(self) -> np.ndarray:
        """What tells the noise that a data step lets through: one for all linear problems."""
        return random_signs(tuple(self.data.operator.out_shape), False)


def parabola(data: Any, u: Array) -> tuple[Array, Array]:
    """Gain of each pixel and what it measures, where ``data`` near an image ``u`` are ``1/2 |gain x - value|^2``."""
    Fu, J = data.operator(u), data.operator.linearize(u)
    slopes = J(1 + 0 * u)
    gains, pull = data.curvatures(Fu) ** 0.5 * abs(slopes), slopes * data.loss_gradient(Fu)
    seen = gains > FAINT * gains.max()
    gains = gains * seen
    return gains, gains * u - pull * seen / (gains + ~seen)


def _last_level(state: LearnedDPIRState) -> float:
    return state.first / FIRST


class _Gains:
    """A gain for each pixel: as much of a linear operator as the steps need."""

    sampling = None
    has_solve_shifted = True
    curved = True

    def __init__(self, gains: Array):
        self.gains = gains
        self.in_shape = self.out_shape = tuple(gains.shape)

    def __call__(self, x: Array) -> Array:
        return x * (self.gains if arrays.is_torch(x) else arrays.to_numpy(self.gains))

    adjoint = __call__

    def diagonal_gram(self) -> Array:
        return self.gains**2

    def solve_shifted(self, b: Array, rho: Any) -> Array:
        return b / (self.gains**2 + rho)

    def norm(self) -> float:
        return arrays.to_float(self.gains.max())
