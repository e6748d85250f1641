"""Plug-and-play restoration that spends one forward and one adjoint on several denoisings.

    d    <- (H + rho_k I)^-1 (A^H y + rho_k z - (A^H A + rho_k I) x)
    x    <- x + t d,    t minimises 1/2 |A x - y|^2 + rho_k/2 |x - z|^2 along d
    z    <- D(x, sigma_k)
    H    <- H with A^H A d

The data step of :class:`solvers.DPIR` is one quasi-Newton step from the last one, on the model of ``A^H A`` that
:class:`solvers.ProximalNewton` has: with every step it becomes exact along one more direction. Its convolution costs no
call either: where the operator does not know its response to an impulse, it is the one that fits best what was measured
so far. Between two steps the model alone stands for the data (t = 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.curvature_model import (
    CurvatureModel,
    Pair,
    descended,
    floored_spectrum,
    impulse_response,
    measured_spectrum,
)
from solvers.plug_and_play import DPIR, FIRST_LEVEL
from solvers.validation import positive_float, positive_int


@dataclass(frozen=True, slots=True)
class ModelledDPIRState:
    """State of :class:`ModelledDPIR`."""

    x: Array  # image: what the denoiser returned
    before: Array  # the one before
    start: Array  # where the run began
    first: float  # first level of the denoiser
    fit: Array  # image near the last one that explains the data
    Gfit: Array  # A^H A of it
    model: CurvatureModel  # of the data
    pairs: tuple[Pair, ...]  # what was measured of them


@dataclass(frozen=True, eq=False)
class ModelledDPIR(DPIR):
    """DPIR for operators without a closed form, at two operator calls a step.

    Parameters
    ----------
    data, prior, strength, level, length, first, momentum
        See :class:`DPIR`.
    floor, begin, memory
        As ``floor``, ``start`` and ``memory`` of :class:`ProximalNewton`.
    inner : int
        Denoisings for each forward and adjoint; all but the last follow a data step on the model alone.

    Raises
    ------
    ArgumentError
        The data term is not plain least squares, or a number is out of its range.

    References
    ----------
    K. Zhang, Y. Li, W. Zuo, L. Zhang, L. Van Gool, R. Timofte, "Plug-and-play image restoration with deep denoiser
    prior", IEEE Trans. Pattern Anal. Mach. Intell. 44 (2022).

    Examples
    --------
    >>> from priors import NonLocalMeans, PlugAndPlay
    >>> from recon.operators import ParallelBeam
    >>> from solvers import LeastSquares, ModelledDPIR, unroll
    >>> A = ParallelBeam((16, 16), 12, spacing=1 / 16)
    >>> problem = ModelledDPIR(LeastSquares(A, A(np.ones((16, 16)))), PlugAndPlay(NonLocalMeans()), 1e-6, level=0.01)
    >>> bool(abs(unroll(problem, np.zeros((16, 16)), 8) - 1).mean() < 0.1)
    True
    """

    length: int = 2
    momentum: float = 0.7
    floor: float = 0.05
    begin: int = 1
    memory: int = 20
    inner: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_float("floor", self.floor)
        positive_int("begin", self.begin, minimum=0)
        positive_int("memory", self.memory)
        positive_int("inner", self.inner)

    @cached_property
    def _known(self) -> Any:
        """The response to an impulse where the operator knows it, else None."""
        return getattr(self.data.operator, "impulse_response", lambda: None)()

    def _model(self, pairs: Sequence[Pair]) -> CurvatureModel:
        """The model of what was measured."""
        operator, pairs = self.data.operator, [pair for pair in pairs if arrays.to_float(arrays.dot(*pair)) > 0]
        if self._known is None and pairs:
            spectrum = measured_spectrum(operator, pairs, self.floor)
        else:
            response = impulse_response(operator, self._back)
            found = floored_spectrum(response, self.floor, tuple(operator.in_shape))
            spectrum = arrays.asarray(np.ascontiguousarray(found), self._back)
        if not arrays.is_complex(self._back):
            spectrum = spectrum[..., : spectrum.shape[-1] // 2 + 1]
        return CurvatureModel(spectrum, len(operator.in_shape)).learned_all(pairs, self.memory)

    def init(self, x0: Array) -> ModelledDPIRState:  # type: ignore[override]
        """The state at ``x0``; a start of zeros costs no call."""
        x, Gx, pairs = descended(self.data.operator.gram, self._back, x0, self.begin)
        spread = arrays.to_float(arrays.norm(x - x.mean())) / math.sqrt(max(arrays.size(x), 1))
        first = self.first if self.first is not None else FIRST_LEVEL * spread
        return ModelledDPIRState(x, x, x0, max(first, self.level), x, Gx, self._model(pairs), pairs)

    def restart(self, state: ModelledDPIRState, strength: float, item: int | None = None) -> ModelledDPIRState:  # type: ignore[override]
        """Begin afresh, from the same start."""
        return self.init(state.start if item is None else state.start[item])

    def step(self, state: ModelledDPIRState, k: int) -> ModelledDPIRState:  # type: ignore[override]
        x, before, fit, measured = state.x, state.before, state.fit, state
        for i in range(self.inner):
            variance = self._level(state.first, k, i) ** 2
            ahead = x if self.momentum == 0 else arrays.axpy(self.momentum, x - before, x)
            if i + 1 < self.inner:
                fit = state.fit + self._direction(state, ahead, self.strength / variance)
            else:
                measured = self._measured(state, ahead, self.strength / variance)
                fit = measured.fit
            x, before = self._denoised(fit, variance, self.inner * k + i), x
        return replace(measured, x=x, before=before)

    def _level(self, first: float, k: int, i: int = 0) -> float:
        """Level of inner step ``i`` of step ``k``: a geometric sequence that then stays."""
        share = min((self.inner * k + i) / max(self.inner * self.length - 1, 1), 1.0)
        return first ** (1 - share) * self.level**share

    def _direction(self, state: ModelledDPIRState, z: Array, rho: float) -> Array:
        """From the last measured image to what the model of the data says near ``z``."""
        r = arrays.axpy(rho, z - state.fit, self._back - state.Gfit)
        return state.model.inverse(1.0 / (state.model.spectrum + rho))(r)

    def _measured(self, state: ModelledDPIRState, z: Array, rho: float) -> ModelledDPIRState:
        """As far along the direction as the data say near ``z``, with what it costs two operator calls to know."""
        d = self._direction(state, z, rho)
        Gd = self.data.operator.gram(d)
        curvature = arrays.dot(d, Gd) + rho * arrays.dot(d, d)
        if not arrays.to_float(curvature) > 0:
            return state
        t = arrays.dot(d, arrays.axpy(rho, z - state.fit, self._back - state.Gfit)) / curvature
        pairs = (*state.pairs, (d, Gd))[-self.memory :]
        model = self._model(pairs) if self._known is None else state.model.learned(d, Gd, self.memory)
        fit, Gfit = arrays.axpy(t, d, state.fit), arrays.axpy(t, Gd, state.Gfit)
        return replace(state, fit=fit, Gfit=Gfit, model=model, pairs=pairs)
