"""Splittings into the proximal map of the data and that of the prior.

    minimise  1/2 |A x - y|^2 + strength * g(x)

Douglas-Rachford:         x  <- prox_{gamma f}(w)
                          z  <- prox_{gamma strength g}(2 x - w)
                          w  <- w + relaxation * (z - x)

Half-quadratic splitting: x  <- prox_{f / beta}(z)
                          z  <- prox_{strength g / beta}(x),    beta grows

Lions and Mercier 1979, Eckstein and Bertsekas 1992; Geman and Yang 1995, Wang, Yang, Yin and Zhang 2008. The prior's
proximal map may be any denoiser. Several priors at once: :class:`solvers.ADMM`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from solvers import _dual_terms as duals
from solvers import arrays
from solvers._data_prox import data_prox, nearest_spectrum, require_least_squares
from solvers.arrays import Array
from solvers.regularised import Regularised

PROX_STEPS = 12  # of an iterative proximal map that starts from its last dual variable


@dataclass(frozen=True, eq=False)
class TwoProximalMaps(Regularised):
    def __post_init__(self) -> None:
        require_least_squares(self)

    # What is cached below depends on the data alone: `at` shares it between strengths.

    @cached_property
    def _back(self) -> Array:
        """``A^H y``."""
        return self.data.operator.adjoint(self.data.y)

    def _data_prox(self, v: Array, step: float, start: Array) -> Array:
        return data_prox(self.data, self._back, v, step, start, self._spectrum)

    @cached_property
    def _spectrum(self) -> Any:
        """What preconditions the data step, or None."""
        return nearest_spectrum(self.data.operator, self._back)


@dataclass(frozen=True, slots=True)
class DouglasRachfordState:
    """State of :class:`DouglasRachford`."""

    x: Array  # image: the proximal map of the prior, within its constraints
    fit: Array  # proximal map of the data, the same in the limit
    w: Array  # what that is taken of
    gamma: float  # step of the proximal maps
    dual: Any  # dual variable of an iterative proximal map of the prior
    anchor: tuple[Array, Array]  # fit and w - fit over gamma when gamma was last balanced
    longest: float = 0.0  # longest step so far, or that would have balanced the two


@dataclass(frozen=True, eq=False)
class DouglasRachford(TwoProximalMaps):
    """Douglas-Rachford splitting for least squares and one prior.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. Least squares without weights; the prior has ``prox``.
    relaxation : float
        In (0, 2).
    step_size : float, optional
        Step of the proximal maps, kept. None starts from the sizes of image and residual and balances it.

    Raises
    ------
    ArgumentError
        The data term is not plain least squares.

    References
    ----------
    J. Eckstein, D. P. Bertsekas, "On the Douglas-Rachford splitting method and the proximal point algorithm for maximal
    monotone operators", Math. Program. 55 (1992).

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import from_matrix
    >>> from solvers import DouglasRachford, LeastSquares, solve
    >>> problem = DouglasRachford(LeastSquares(from_matrix(2 * np.eye(2)), np.array([1.0, -1.0])), NonNegative(), 1.0)
    >>> solve(problem, np.zeros(2)).image.round(3)
    array([0.5, 0. ])
    """

    relaxation: float = 1.6
    step_size: float | None = None

    def init(self, x0: Array) -> DouglasRachfordState:
        gamma = duals.first_ratio(self.data, x0, self._back) if self.step_size is None else self.step_size
        return DouglasRachfordState(x0, x0, x0, gamma, None, (x0, arrays.zeros(x0.shape, x0)))

    def restart(self, state: DouglasRachfordState, strength: float, item: int | None = None) -> DouglasRachfordState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one.

        At the solution the slope of the data, ``(w - fit) / gamma``, balances that of the prior, and follows the
        strength; the dual variable of the proximal map is the same.
        """
        if item is not None:
            dual = None if state.dual is None else state.dual[item]
            state = replace(state, x=state.x[item], fit=state.fit[item], w=state.w[item], dual=dual)
        slope = (state.w - state.fit) * (1.0 / state.gamma)
        slope = slope * (self.strength / strength)
        w = arrays.axpy(state.gamma, slope, state.fit)
        return replace(state, w=w, anchor=(state.fit, slope))

    def step(self, state: DouglasRachfordState, k: int) -> DouglasRachfordState:
        gamma = state.gamma
        fit = self._data_prox(state.w, gamma, state.fit)
        x, dual = self._prior_prox(arrays.lincomb(2.0, fit, -1.0, state.w), gamma, state.dual, PROX_STEPS)
        slope = (state.w - fit) * (1.0 / gamma)
        w = arrays.axpy(self.relaxation, x - fit, state.w)
        new = replace(state, x=x, fit=fit, w=w, dual=dual)
        balance = self.step_size is None and k + 1 in duals.BALANCE_AT
        return self._balanced(new, slope) if balance else new

    def _balanced(self, state: DouglasRachfordState, slope: Array) -> DouglasRachfordState:
        """Bring gamma to the ratio of the ways that image and slope have gone; the slope of the data is kept."""
        (fit, before), gamma = state.anchor, state.gamma
        image, dual = duals.size(state.fit - fit), duals.size(slope - before)
        longest = max(state.longest, gamma, image / dual if dual > 0 else 0.0)
        factor = duals.balanced_ratio(gamma, image, dual) / gamma
        return replace(self.paced(state, factor), anchor=(state.fit, slope), longest=longest)

    def distance(self, state: DouglasRachfordState, extrapolated: float, seen: Callable[[Array], Array]) -> float:
        """Distance to the limit, as far as it can be told.

        A step much too short moves the image by so much less than is left; and the two proximal maps agree in the end.
        """
        short = max(state.longest / state.gamma, 1.0)
        return max(short * extrapolated, arrays.to_float(arrays.norm(seen(state.x - state.fit))))

    def paced(self, state: DouglasRachfordState, factor: float) -> DouglasRachfordState:
        """The state with ``factor`` times as long a step, and the slope of the data as it was."""
        w = arrays.axpy(factor, state.w - state.fit, state.fit)
        return replace(state, w=w, gamma=factor * state.gamma)


@dataclass(frozen=True, slots=True)
class HalfQuadraticState:
    """State of :class:`HalfQuadratic`."""

    x: Array  # image
    z: Array  # proximal map of the prior
    beta: float  # penalty of the distance between the two
    dual: Any  # dual variable of an iterative proximal map of the prior


@dataclass(frozen=True, eq=False)
class HalfQuadratic(TwoProximalMaps):
    """Half-quadratic splitting with continuation: a good image in a few steps, rather than the exact minimiser.

    At a fixed ``beta`` it minimises ``1/2 |A x - y|^2 + min_z beta/2 |x - z|^2 + strength * g(z)``, which tends to
    the problem itself as ``beta`` grows.

    Parameters
    ----------
    data, prior, strength
        See :class:`DouglasRachford`.
    beta : float, optional
        Penalty, kept. None lets it grow over ``stages`` steps from one where the prior counts little to ``final`` times
        that, and keeps it from there on.
    stages : int
        Steps of the continuation.
    final : float
        Last penalty over the first.

    Raises
    ------
    ArgumentError
        The data term is not plain least squares.

    References
    ----------
    Y. Wang, J. Yang, W. Yin, Y. Zhang, "A new alternating minimization algorithm for total variation image
    reconstruction", SIAM J. Imaging Sci. 1 (2008).

    Examples
    --------
    >>> from priors import Tikhonov
    >>> from recon.operators import Identity
    >>> from solvers import HalfQuadratic, LeastSquares, solve
    >>> problem = HalfQuadratic(LeastSquares(Identity((3,)), np.ones(3)), Tikhonov(), 1.0, beta=3.0)
    >>> solve(problem, np.zeros(3), tol=1e-6).image.round(3)
    array([0.571, 0.571, 0.571])
    """

    beta: float | None = None
    stages: int = 30
    final: float = 1e2

    def init(self, x0: Array) -> HalfQuadraticState:
        beta = self.beta if self.beta is not None else 1.0 / duals.first_ratio(self.data, x0, self._back)
        return HalfQuadraticState(x0, x0, beta, None)

    def restart(self, state: HalfQuadraticState, strength: float, item: int | None = None) -> HalfQuadraticState:
        """Turn a state of the problem at another ``strength`` into a start; the continuation begins afresh."""
        return self.init(state.x if item is None else state.x[item])

    def step(self, state: HalfQuadraticState, k: int) -> HalfQuadraticState:
        x = self._data_prox(state.z, 1.0 / state.beta, state.x)
        z, dual = self._prior_prox(x, 1.0 / state.beta, state.dual, PROX_STEPS)
        grows = self.beta is None and k < self.stages
        return HalfQuadraticState(x, z, state.beta * self.final ** (1 / self.stages) if grows else state.beta, dual)
