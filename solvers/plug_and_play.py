"""Half-quadratic splitting whose denoiser is told a lower and lower level of noise.

    x  <- argmin 1/2 |A x - y|^2 + rho_k/2 |x - z|^2
    z  <- D(x, sigma_k),    rho_k = strength / sigma_k^2

The levels ``sigma_k`` fall geometrically from a tenth or so of the image's range, where the denoiser keeps only what is
large, to the level of noise that the data leave in the image. Zhang et al. 2022 (DPIR). With a proximal map for the
denoiser it is :class:`solvers.HalfQuadratic`, with a fixed level plug-and-play of Venkatakrishnan et al. 2013. Where
what is known has to spread into what is not, steps from ``z + momentum (z - z before)`` get there sooner. With the
dual variable of ADMM the steps are

    x  <- argmin 1/2 |A x - y|^2 + rho_k/2 |x - (z - u)|^2
    u  <- u + x - z
    z  <- D(x + u, sigma_k)

and a denoiser that removes more than noise does so in vain: what it takes off the data comes back with ``u``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.regularised import require_strength
from solvers.splitting import TwoProximalMaps
from solvers.validation import positive_float, positive_int

FIRST_LEVEL = 0.85  # over the standard deviation of the start; 49/255 for photographs


@dataclass(frozen=True, slots=True)
class DPIRState:
    """State of :class:`DPIR`."""

    x: Array  # image: what the denoiser returned, at the end perhaps the data step from there
    before: Array  # the one before
    start: Array  # where the run began
    first: float  # first level of the denoiser
    fit: Array  # image nearest to the last one that explains the data
    dual: Array | None  # by how much the data steps have moved the image so far, where that is kept
    mean: Array | None  # share of the answer that is known already, where it is an average


@dataclass(frozen=True, eq=False)
class DPIR(TwoProximalMaps):
    """Plug-and-play restoration in a few steps with a falling noise level.

    Parameters
    ----------
    data, prior, strength
        See :class:`DouglasRachford`. The prior's ``prox(v, step)`` is a denoiser for noise of variance ``step``
        (:class:`priors.PlugAndPlay`). With white noise of level ``sigma`` in the data, ``strength = sigma^2`` weighs
        data and prior as probabilities; 0.23 times that is usual.
    level : float
        Last level of the denoiser, in the unit of the image: the noise that the data leave there.
    length : int
        Number of steps.
    first : float, optional
        First level. None takes 0.85 times the standard deviation of the start.
    momentum : float
        In [0, 1): how far each data step looks ahead, in the direction of the last step.
    turns : bool
        Whether the denoiser sees the image in another of the eight positions of a square in each step, so that no
        direction is preferred.
    consistent : float
        Step of a data step after the last denoising, over that of the others; 0 leaves it out. It weighs the noise
        against what the denoiser has left.
    dual : bool
        Whether the dual variable of ADMM is kept from step to step. Suits data that are nearly free of noise but do not
        see every pixel, at a level of the size of the errors there.
    average : int
        Number of last denoised images, of all if there are fewer, whose mean is the answer. Their errors differ where
        the denoiser sees the image in another position each time.

    Raises
    ------
    ArgumentError
        The data term is not plain least squares, or a level, a number of steps or the momentum is out of its range.

    References
    ----------
    K. Zhang, Y. Li, W. Zuo, L. Zhang, L. Van Gool, R. Timofte, "Plug-and-play image restoration with deep denoiser
    prior", IEEE Trans. Pattern Anal. Mach. Intell. 44 (2022); with a dual variable: S. Venkatakrishnan, C. Bouman,
    B. Wohlberg, "Plug-and-play priors for model based reconstruction", GlobalSIP (2013).

    Examples
    --------
    >>> from priors import NonLocalMeans, PlugAndPlay
    >>> from recon.operators import Identity
    >>> from solvers import DPIR, LeastSquares, solve
    >>> y = np.ones((16, 16)) + 0.1 * np.random.default_rng(0).standard_normal((16, 16))
    >>> problem = DPIR(LeastSquares(Identity((16, 16)), y), PlugAndPlay(NonLocalMeans()), 0.23 * 0.1**2, level=0.1)
    >>> bool(abs(solve(problem, y).image - 1).max() < 0.1)
    True
    """

    level: float = 0.01
    length: int = 8
    first: float | None = None
    momentum: float = 0.0
    turns: bool = False
    consistent: float = 0.0
    dual: bool = False
    average: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_strength(self)
        if not 0 <= self.momentum < 1:
            raise ArgumentError(f"momentum is {self.momentum}; expected a number in [0, 1). Pass 0 for none.")
        positive_float("level", self.level)
        positive_float("consistent", self.consistent, zero=True)
        positive_int("length", self.length)
        positive_int("average", self.average)
        if self.first is not None:
            positive_float("first", self.first)

    def init(self, x0: Array) -> DPIRState:
        spread = arrays.to_float(arrays.norm(x0 - x0.mean())) / math.sqrt(max(arrays.size(x0), 1))
        first = self.first if self.first is not None else FIRST_LEVEL * spread
        return self._begun(x0, max(first, self.level))

    def restart(self, state: DPIRState, strength: float, item: int | None = None) -> DPIRState:
        """Begin afresh, from the same start: what is reached depends on the way, so it must not depend on more."""
        return self._begun(state.start if item is None else state.start[item], state.first)

    def _begun(self, start: Array, first: float) -> DPIRState:
        dual = arrays.zeros(tuple(start.shape), start) if self.dual else None
        return DPIRState(start, start, start, first, start, dual, None)

    def step(self, state: DPIRState, k: int) -> DPIRState:
        variance = self._level(state.first, k) ** 2
        ahead = state.x if self.momentum == 0 else arrays.axpy(self.momentum, state.x - state.before, state.x)
        if state.dual is not None:  # as it is: divided by the penalty, which follows the level, it fills in less well
            ahead = ahead - state.dual
        fit = self._data_prox(ahead, variance / self.strength, state.fit)
        dual = None if state.dual is None else fit - ahead
        x = self._denoised(fit, dual, variance, k)
        mean = self._averaged(state.mean, x, k)
        if k == self.length - 1:
            x = self._answer(x if mean is None else mean, variance, fit)
        return replace(state, x=x, before=state.x, fit=fit, dual=dual, mean=mean)

    def _averaged(self, mean: Array | None, x: Array, k: int) -> Array | None:
        """The mean of the last answers, as far as it has got."""
        if self.average == 1 or k < self.length - self.average:
            return None
        share = x * (1.0 / min(self.average, self.length))
        return share if mean is None else mean + share

    def _answer(self, x: Array, variance: float, fit: Array) -> Array:
        """Perhaps a last data step, from what was denoised."""
        return x if self.consistent == 0 else self._data_prox(x, self.consistent * variance / self.strength, fit)

    def _denoised(self, fit: Array, dual: Array | None, variance: float, k: int) -> Array:
        v = fit if dual is None else fit + dual
        if not self.turns:
            return self.prior.prox(v, variance)
        return in_position(lambda turned: self.prior.prox(turned, variance), v, k % 8)

    def _level(self, first: float, k: int) -> float:
        """Level of step ``k``: a geometric sequence from the first to the last, which then stays and is averaged."""
        share = min(k / max(self.length - self.average, 1), 1.0)
        return first ** (1 - share) * self.level**share


def in_position(denoise: Callable[[Array], Array], v: Array, position: int) -> Array:
    """``denoise`` of images turned and mirrored, and brought back: one of the eight symmetries of the square."""
    xp, turns = arrays.namespace(v), position % 4
    mirrored = xp.flip(v, (-1,)) if position >= 4 else v
    x = xp.rot90(denoise(xp.rot90(mirrored, turns, (-2, -1))), -turns, (-2, -1))
    return xp.flip(x, (-1,)) if position >= 4 else x
