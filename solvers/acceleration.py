"""Wrappers that make an algorithm faster: Anderson acceleration and restarts.

An algorithm's step is a map g of its state s, whose fixed point is the solution. Anderson's method looks for the affine
combination of the last states whose residuals ``r = g(s) - s`` nearly cancel,

    gamma  <- argmin |r_k - dR gamma|
    s      <- g(s_k) - dG gamma

over the differences dR, dG of the last residuals and images. The combination is affine, so fields that depend linearly
on the image (``A x``) stay right. A candidate that raises the residual is dropped for the plain step.

Anderson 1965; Walker and Ni 2011; safeguard: Zhang, O'Donoghue and Boyd 2020; restarts: O'Donoghue and Candès 2015.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.validation import positive_int

RIDGE = 1e-10  # of the small least squares problem, relative to its trace
RISE = 2.0  # growth of the residual at which a candidate is dropped
TRUST = 1e4  # largest sum of the coefficients: beyond, the differences are nearly dependent

Leaves = tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class AndersonState:
    """State of :class:`Anderson`."""

    x: Array  # image after the last plain step
    at: Any  # state from which the next step starts
    plain: Any  # what the last accepted step led to, to fall back on
    history: tuple[tuple[Leaves, Leaves], ...]  # last residuals and images of the map, the oldest first
    residual: float  # size of the last accepted residual


@dataclass(frozen=True, eq=False)
class Anderson:
    """Anderson acceleration of any algorithm whose step is a fixed map, with a safeguard.

    Suits plain steps (``ProximalGradient`` with its ``step_size``, ``ADMM``, ``DouglasRachford``, ``PDHG``, ``SIRT``),
    not those that carry a momentum or search their steps: where a number of the state has changed, the memory is
    cleared.

    Parameters
    ----------
    algorithm : Algorithm
        What to accelerate.
    memory : int
        Number of past steps combined; each keeps two copies of the state.

    References
    ----------
    H. F. Walker, P. Ni, "Anderson acceleration for fixed-point iterations", SIAM J. Numer. Anal. 49 (2011).

    Examples
    --------
    >>> from priors import Zero
    >>> from recon.operators import from_matrix
    >>> from solvers import Anderson, LeastSquares, ProximalGradient, unroll
    >>> plain = ProximalGradient(LeastSquares(from_matrix(np.diag([1.0, 0.1])), np.ones(2)), Zero(), 0.0, step_size=1.0)
    >>> unroll(plain, np.zeros(2), 10).round(2), unroll(Anderson(plain), np.zeros(2), 10).round(2)
    (array([1.  , 0.96]), array([ 1., 10.]))
    """

    algorithm: Any
    memory: int = 5

    def __post_init__(self) -> None:
        positive_int("memory", self.memory)

    def init(self, x0: Array) -> AndersonState:
        state = self.algorithm.init(x0)
        return AndersonState(state.x, state, state, (), np.inf)

    def step(self, state: AndersonState, k: int) -> AndersonState:
        moved = self.algorithm.step(state.at, k)
        before, after = tuple(leaves(state.at)), tuple(leaves(moved))
        if not _same_map(state.at, moved):
            return AndersonState(moved.x, moved, moved, (), np.inf)
        residual = tuple(a - b for a, b in zip(after, before, strict=True))
        weights = [1.0 / max(arrays.to_float(arrays.dot(a, a)), 1e-30) for a in after]
        size = _inner(residual, residual, weights) ** 0.5
        if not size <= RISE * state.residual:
            return AndersonState(state.plain.x, state.plain, state.plain, (), np.inf)
        history = (*state.history, (residual, after))[-self.memory - 1 :]
        return AndersonState(moved.x, _combined(moved, history, weights), moved, history, size)

    def at(self, strength: float) -> Anderson:
        """The same for the algorithm at another strength."""
        return dataclasses.replace(self, algorithm=self.algorithm.at(strength))

    @property
    def strength(self) -> float:
        """That of the algorithm."""
        return float(self.algorithm.strength)

    def restart(self, state: AndersonState, strength: float, item: int | None = None) -> AndersonState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        inner = self.algorithm.restart(state.plain, strength, item)
        return AndersonState(inner.x, inner, inner, (), np.inf)

    def objective(self, x: Array) -> Any:
        """That of the algorithm."""
        return self.algorithm.objective(x)


def _combined(moved: Any, history: tuple[tuple[Leaves, Leaves], ...], weights: list[float]) -> Any:
    """The state from which the residuals nearly cancel; the plain one where there is too little to tell."""
    if len(history) < 2:
        return moved
    residual, image = history[-1]
    changes = [tuple(new - old for new, old in zip(residual, past, strict=True)) for past, _ in history[:-1]]
    normal = np.array([[_inner(a, b, weights) for b in changes] for a in changes])
    right = np.array([_inner(a, residual, weights) for a in changes])
    ridge = RIDGE * float(np.trace(normal))
    if not (np.isfinite(normal).all() and ridge > 0):
        return moved
    gamma = np.linalg.lstsq(normal + ridge * np.eye(len(changes)), right, rcond=None)[0]
    if not np.abs(gamma).sum() < TRUST:
        return moved
    out = list(image)
    for g, (_, past) in zip(gamma, history[:-1], strict=True):
        out = [arrays.axpy(-float(g), new - old, o) for o, new, old in zip(out, image, past, strict=True)]
    return with_leaves(moved, iter(out))


def _inner(a: Leaves, b: Leaves, weights: list[float]) -> float:
    return sum(w * arrays.to_float(arrays.dot(x, y)) for w, x, y in zip(weights, a, b, strict=True))


def leaves(state: Any) -> Iterator[Array]:
    """The arrays of a state, depth first."""
    for part in _parts(state):
        if _is_array(part):
            yield part
        else:
            yield from leaves(part)


def with_leaves(state: Any, values: Iterator[Array]) -> Any:
    """The state with other arrays."""
    parts = [next(values) if _is_array(part) else with_leaves(part, values) for part in _parts(state)]
    if dataclasses.is_dataclass(state):
        names = [field.name for field in dataclasses.fields(state)]
        return dataclasses.replace(state, **dict(zip(names, parts, strict=True)))  # type: ignore[type-var]
    if isinstance(state, tuple):
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state


def _parts(state: Any) -> list[Any]:
    if dataclasses.is_dataclass(state):
        return [getattr(state, field.name) for field in dataclasses.fields(state)]
    return list(state) if isinstance(state, tuple) else []


def _is_array(part: Any) -> bool:
    return (isinstance(part, np.ndarray) or arrays.is_torch(part)) and part.ndim > 0


def _same_map(a: Any, b: Any) -> bool:
    """Whether two states have the same arrays' shapes and the same numbers: step sizes, penalties."""
    if _is_array(a) or _is_array(b):
        return _is_array(a) and _is_array(b) and a.shape == b.shape
    if dataclasses.is_dataclass(a) or isinstance(a, tuple):
        pairs = _parts(a), _parts(b)
        return len(pairs[0]) == len(pairs[1]) and all(map(_same_map, *pairs))
    return a is b or bool(a == b)


@dataclass(frozen=True, slots=True)
class RestartedState:
    """State of :class:`Restarted`."""

    x: Array  # iterate
    inner: Any  # state of the algorithm
    since: int  # steps since the last restart
    value: float  # objective at x, where it decides


@dataclass(frozen=True, eq=False)
class Restarted:
    """An algorithm that starts afresh from its image: after so many steps, or when its objective has risen.

    Parameters
    ----------
    algorithm : Algorithm
        What to restart, with an ``objective`` unless ``every`` is given.
    every : int, optional
        Steps between restarts. None watches the objective, at the price of its evaluation.

    References
    ----------
    B. O'Donoghue, E. Candès, "Adaptive restart for accelerated gradient schemes", Found. Comput. Math. 15 (2015).

    Examples
    --------
    >>> from priors import Zero
    >>> from recon.operators import from_matrix
    >>> from solvers import FISTA, LeastSquares, Restarted, solve
    >>> fista = FISTA(LeastSquares(from_matrix(np.diag([1.0, 0.1])), np.ones(2)), Zero(), 0.0)
    >>> solve(Restarted(fista, every=20), np.zeros(2), tol=1e-6).image.round(2)
    array([ 1., 10.])
    """

    algorithm: Any
    every: int | None = None

    def __post_init__(self) -> None:
        if self.every is not None:
            positive_int("every", self.every)

    def init(self, x0: Array) -> RestartedState:
        inner = self.algorithm.init(x0)
        return RestartedState(inner.x, inner, 0, self._value(inner.x))

    def step(self, state: RestartedState, k: int) -> RestartedState:
        inner = self.algorithm.step(state.inner, state.since)
        value = self._value(inner.x)
        due = value > state.value if self.every is None else state.since + 1 >= self.every
        fresh = self.algorithm.init(inner.x) if due else inner
        return RestartedState(inner.x, fresh, 0 if due else state.since + 1, value)

    @property
    def _watched(self) -> Callable[[Array], Any] | None:
        return None if self.every is not None else self.algorithm.objective

    def _value(self, x: Array) -> float:
        return arrays.to_float(self._watched(x)) if self._watched is not None else 0.0

    def at(self, strength: float) -> Restarted:
        """The same for the algorithm at another strength."""
        return dataclasses.replace(self, algorithm=self.algorithm.at(strength))

    @property
    def strength(self) -> float:
        """That of the algorithm."""
        return float(self.algorithm.strength)

    def restart(self, state: RestartedState, strength: float, item: int | None = None) -> RestartedState:
        """Start again from the image of a state."""
        return self.init(state.x if item is None else state.x[item])

    def objective(self, x: Array) -> Any:
        """That of the algorithm."""
        return self.algorithm.objective(x)
