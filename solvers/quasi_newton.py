"""Limited-memory BFGS with bounds.

    minimise  f(x) = data(A x; y) + strength * g(x)  within bounds,   f smooth

    F  <- pixels that are not held at a bound by the gradient
    d  <- -H grad f(x) on F,   H the inverse Hessian that the last changes of x and of the gradient suggest
    x  <- P(x + lambda d),     lambda halved until f decreases enough

Liu and Nocedal 1989 (two-loop recursion, here over F alone); projection of the path: Bertsekas 1982. One forward and
one adjoint a step while the full step is accepted, as it mostly is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.regularised import SmoothRegularised

DECREASE = 1e-4  # fraction of the predicted decrease that is asked for
HALVINGS = 30
CURVED = 1e-10  # cosine between changes of image and gradient below which a pair tells nothing


@dataclass(frozen=True, slots=True)
class LBFGSState:
    """State of :class:`LBFGS`."""

    x: Array  # iterate
    Ax: Array  # forward operator at x
    gradient: Array  # of the objective at x
    value: float  # objective at x
    pairs: tuple[tuple[Array, Array], ...]  # last changes of image and gradient, the oldest first


@dataclass(frozen=True, eq=False)
class LBFGS(SmoothRegularised):
    """L-BFGS-B for smooth problems within bounds.

    Parameters
    ----------
    data, prior, strength
        See :class:`SmoothRegularised`.
    memory : int
        Pairs of images kept.

    References
    ----------
    D. C. Liu, J. Nocedal, "On the limited memory BFGS method for large scale optimization", Math. Program. 45 (1989);
    D. P. Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SIAM J. Control
    Optim. 20 (1982).

    Examples
    --------
    >>> from priors import NonNegative, Tikhonov
    >>> from recon.operators import from_matrix
    >>> from solvers import LBFGS, LeastSquares, solve
    >>> data = LeastSquares(from_matrix(2 * np.eye(2)), np.array([1.0, -1.0]))
    >>> solve(LBFGS(data, Tikhonov() + NonNegative(), 1.0), np.zeros(2)).image.round(3)
    array([0.4, 0. ])
    """

    memory: int = 8

    def init(self, x0: Array) -> LBFGSState:
        x = self._project(self.data.start(x0))
        Ax = self.data.operator(x)
        return LBFGSState(x, Ax, self._gradient_at(x, Ax), arrays.to_float(self._value_at(x, Ax)), ())

    def step(self, state: LBFGSState, k: int) -> LBFGSState:
        d = self._direction(state)
        if not arrays.to_float(arrays.norm(d)) > 0:
            return state
        found = self._search(state, d)
        if found is None:  # nothing lower along d: forget what it was built from, or rest
            return LBFGSState(state.x, state.Ax, state.gradient, state.value, ())
        x, Ax, value = found
        gradient = self._gradient_at(x, Ax)
        pair = (x - state.x, gradient - state.gradient)
        pairs = (*state.pairs, pair)[-self.memory :] if _is_curved(*pair) else state.pairs
        return LBFGSState(x, Ax, gradient, value, pairs)

    def _direction(self, state: LBFGSState) -> Array:
        """``-H grad f`` on the free pixels, by the two-loop recursion."""
        free = self._free(state)
        q, pairs = state.gradient, state.pairs
        if free is not None:
            q, pairs = q * free, tuple((s * free, r * free) for s, r in pairs)
            pairs = tuple(pair for pair in pairs if _is_curved(*pair))
        if not pairs:
            return -self._first_step(state, q) * q
        alphas = []
        for s, r in reversed(pairs):
            alphas.append(arrays.dot(s, q) / arrays.dot(s, r))
            q = arrays.axpy(-alphas[-1], r, q)
        s, r = pairs[-1]
        q = q * (arrays.dot(s, r) / arrays.dot(r, r))
        for (s, r), alpha in zip(pairs, reversed(alphas), strict=True):
            q = arrays.axpy(alpha - arrays.dot(r, q) / arrays.dot(s, r), s, q)
        return -q

    def _free(self, state: LBFGSState) -> Array | None:
        """1 where a pixel may move, 0 where the gradient holds it at a bound; None without bounds."""
        if not self._bounds:
            return None
        held = self._project(state.x - state.gradient) == state.x
        return 1.0 - arrays.namespace(held).asarray(held, dtype=state.x.dtype)

    def _search(self, state: LBFGSState, d: Array) -> tuple[Array, Array, float] | None:
        """The first of ever shorter steps that is low enough; rounding of the objective is forgiven."""
        # A straight path needs one forward operation in all.
        Ad = self.data.operator(d) if self.data.linear and not self._bounds else None
        slack = 10 * arrays.eps(state.x) * abs(state.value)
        length = 1.0
        for _ in range(HALVINGS):
            x = self._project(arrays.axpy(length, d, state.x))
            Ax = self.data.operator(x) if Ad is None else arrays.axpy(length, Ad, state.Ax)
            value = arrays.to_float(self._value_at(x, Ax))
            slope = arrays.to_float(arrays.dot(state.gradient, x - state.x))
            if value <= state.value + DECREASE * slope + slack and slope <= 0:
                return x, Ax, value
            length *= 0.5
        return None

    def _first_step(self, state: LBFGSState, gradient: Array) -> Any:
        """Inverse curvature along the first gradient, that of the loss taken for 1: the search corrects it."""
        image = self.data.change(state.x, state.Ax, gradient)
        length = arrays.dot(image, image)
        return arrays.dot(gradient, gradient) / length if arrays.to_float(length) > 0 else 1.0


def _is_curved(s: Array, r: Array) -> bool:
    """Whether the gradient changed along with the image."""
    lengths = arrays.to_float(arrays.dot(s, s)) * arrays.to_float(arrays.dot(r, r))
    return arrays.to_float(arrays.dot(s, r)) > CURVED * lengths**0.5
