"""Learned steps that keep the guarantee of the classical ones.

A learned step is taken where a merit of the state it leads to is at most a moving average of the merits so far,
otherwise the classical step; after a bound of learned steps, or of refusals, only classical ones. So at most ``bound``
steps are learned, all of them end in finite states whose merit the classical steps before allow, and from the last of
them on the iteration is the classical one, its steps counted apart: whatever it converges to from any start, it
converges to here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError
from solvers.problem_features import Track
from solvers.validation import positive_float, positive_int

Proposal = Callable[[Any, int, Mapping[str, float]], Any]
MERITS = ("auto", "objective", "residual", "change")


@dataclass(frozen=True, eq=False)
class LearnedPace:
    """Proposal for :class:`Safeguarded`: the algorithm's own step, longer or shorter by a learned factor.

    The factor is of that step alone: what is learned is relative to the classical step size, which the algorithm goes
    on to balance.

    Parameters
    ----------
    algorithm : Algorithm
        With ``paced(state, factor)``: :class:`ADMM`, :class:`DouglasRachford`, :class:`PDHG`.
    schedule : callable
        ``schedule(features) -> {"pace": log-factor}``, such as a :class:`LearnedSchedule`.
    problem : mapping of str to float
        Features of the problem; those of the run and ``"share"``, the share of ``length`` that is done, are added.
    length : int
        Steps of the run, about.

    Raises
    ------
    DTypeError
        The algorithm has no ``paced``.
    """

    algorithm: Any
    schedule: Callable[[Mapping[str, float]], Mapping[str, float]]
    problem: Mapping[str, float]
    length: int = 100

    def __post_init__(self) -> None:
        positive_int("length", self.length)
        if not hasattr(self.algorithm, "paced"):
            raise DTypeError(
                f"algorithm is {self.algorithm!r}, whose step cannot be changed from outside; expected one with "
                "paced(state, factor). Pass an ADMM, DouglasRachford or PDHG."
            )

    def __call__(self, state: Any, k: int, run: Mapping[str, float]) -> Any:
        """The state after a learned step, its step size that of the classical one."""
        found = self.schedule({**self.problem, **run, "share": min(k / self.length, 1.0)})
        factor = math.exp(found["pace"])
        # As a first step, at which no algorithm balances: what is balanced is the classical step size.
        return self.algorithm.paced(self.algorithm.step(self.algorithm.paced(state, factor), 0), 1.0 / factor)


@dataclass(frozen=True, slots=True)
class SafeguardedState:
    """State of :class:`Safeguarded`."""

    x: Array  # image
    inner: Any  # state of the algorithm
    track: Track  # how the run has moved, for the features
    average: float  # of the merits so far; a learned step must not exceed it
    taken: int = 0  # learned steps that were taken
    refused: int = 0  # learned steps that were not


@dataclass(frozen=True, eq=False)
class Safeguarded:
    """An algorithm with learned steps where they do no harm, and its own steps otherwise.

    Parameters
    ----------
    algorithm : Algorithm
        The classical one; it converges from every start, or is otherwise what is fallen back on.
    proposal : callable
        ``proposal(state, k, run) -> state``: the learned step from a state of ``algorithm``, ``run`` holding the
        features of the run so far. It may fail in any way: what it returns is looked at.
    merit : {"auto", "objective", "residual", "change"} or callable
        What must not rise, a number of a state: the objective, the size of the classical step from there (which costs
        one), the size of the step that led there (which costs none), or a function of the state. "auto" is the
        objective where the algorithm has one.
    bound : int
        Most learned steps that are taken.
    refusals : int
        Most that are refused; then the proposals are not asked for any more.
    memory : float
        Share of the moving average that stays at a step, in [0, 1).

    Raises
    ------
    ArgumentError, DTypeError
        A number is out of range, or the merit is not one of those.

    References
    ----------
    H. Heaton, X. Chen, Z. Wang, W. Yin, "Safeguarded learned convex optimization", AAAI (2023).

    Examples
    --------
    >>> import numpy as np
    >>> from priors import NonNegative
    >>> from recon.operators import from_matrix
    >>> from solvers import DouglasRachford, LeastSquares, Safeguarded, unroll
    >>> plain = DouglasRachford(LeastSquares(from_matrix(2 * np.eye(2)), np.array([1.0, -1.0])), NonNegative(), 1.0)
    >>> harmful = Safeguarded(plain, lambda state, k, run: state * np.nan)
    >>> unroll(harmful, np.zeros(2), 40).round(3)
    array([0.5, 0. ])
    """

    algorithm: Any
    proposal: Proposal
    merit: Any = "auto"
    bound: int = 200
    refusals: int = 20
    memory: float = 0.7

    def __post_init__(self) -> None:
        positive_int("bound", self.bound, minimum=0)
        positive_int("refusals", self.refusals)
        if not 0 <= positive_float("memory", self.memory, zero=True) < 1:
            raise ArgumentError(f"memory is {self.memory}; expected a number in [0, 1). Pass for example 0.7.")
        if not callable(self.merit) and self.merit not in MERITS:
            raise DTypeError(
                f"merit is {self.merit!r}; expected one of {', '.join(MERITS)} or a function of a state. Pass one."
            )
        if self.merit == "objective" and not hasattr(self.algorithm, "objective"):
            raise ArgumentError(
                f"merit is 'objective', and {self.algorithm!r} has none; expected an algorithm with objective(x). "
                "Pass merit='residual'."
            )

    @property
    def strength(self) -> float:
        """That of the algorithm."""
        return float(self.algorithm.strength)

    def at(self, strength: float) -> Safeguarded:
        """The same for the algorithm at another strength; a proposal that knows the algorithm follows."""
        algorithm, proposal = self.algorithm.at(strength), self.proposal
        if getattr(proposal, "algorithm", None) is self.algorithm:
            proposal = dataclasses.replace(proposal, algorithm=algorithm)  # type: ignore[type-var]
        return dataclasses.replace(self, algorithm=algorithm, proposal=proposal)

    def init(self, x0: Array) -> SafeguardedState:
        return self._begun(self.algorithm.init(x0))

    def restart(self, state: SafeguardedState, strength: float, item: int | None = None) -> SafeguardedState:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        return self._begun(self.algorithm.restart(state.inner, strength, item))

    def step(self, state: SafeguardedState, k: int) -> SafeguardedState:
        if state.taken < self.bound and state.refused < self.refusals:
            found = self._learned(state, k)
            if found is not None:
                return self._after(state, found[0], found[1], learned=True)
            classical = self.algorithm.step(state.inner, k - state.taken)
            return self._after(state, classical, self._merit(classical, k, state.inner), learned=False)
        inner = self.algorithm.step(state.inner, k - state.taken)
        return SafeguardedState(inner.x, inner, state.track, state.average, state.taken, state.refused)

    def objective(self, x: Array) -> Any:
        """That of the algorithm."""
        return self.algorithm.objective(x)

    def _begun(self, inner: Any) -> SafeguardedState:
        return SafeguardedState(inner.x, inner, Track(inner.x), self._merit(inner, 0))

    def _learned(self, state: SafeguardedState, k: int) -> tuple[Any, float] | None:
        """The learned step and its merit; None where it fails, is not finite or does harm."""
        try:
            found = self.proposal(state.inner, k, state.track.features())
            merit = self._merit(found, k, state.inner) if finite(found) else math.nan
        except Exception:  # whatever goes wrong in a proposal, the classical step is there
            return None
        return (found, merit) if merit <= state.average else None

    def _merit(self, inner: Any, k: int, before: Any = None) -> float:
        if callable(self.merit):
            return float(self.merit(inner))
        if self.merit == "change":
            return math.inf if before is None else self._change(before, inner)
        if self.merit == "residual" or not hasattr(self.algorithm, "objective"):
            return arrays.to_float(arrays.norm(self.algorithm.step(inner, k).x - inner.x))
        if hasattr(self.algorithm, "objective_at"):
            return arrays.to_float(self.algorithm.objective_at(inner))
        return arrays.to_float(self.algorithm.objective(inner.x))

    def _change(self, before: Any, inner: Any) -> float:
        """Size of a step, in the algorithm's own metric where it has one."""
        if hasattr(self.algorithm, "change"):
            return float(self.algorithm.change(before, inner))
        return arrays.to_float(arrays.norm(inner.x - before.x))

    def _after(self, state: SafeguardedState, inner: Any, merit: float, *, learned: bool) -> SafeguardedState:
        average = state.average
        if math.isfinite(merit):  # before the first step no change is known
            average = self.memory * average + (1 - self.memory) * merit if math.isfinite(average) else merit
        taken, refused = state.taken + learned, state.refused + (not learned)
        return SafeguardedState(inner.x, inner, state.track.moved(inner.x), average, taken, refused)


def finite(state: Any) -> bool:
    """Whether every array and number of a state is finite."""
    if isinstance(state, (int, float)):
        return math.isfinite(state)
    if dataclasses.is_dataclass(state):
        return all(finite(getattr(state, field.name)) for field in dataclasses.fields(state))
    if isinstance(state, tuple):
        return all(map(finite, state))
    return not hasattr(state, "dtype") or bool(arrays.namespace(state).isfinite(state).all())
