"""Alternating direction method of multipliers for several terms.

    minimise  1/2 |A x - y|^2 + strength * sum_i g_i(K_i x)

splits z_i = K_i x and repeats, with scaled dual variables u_i and penalties rho_i,

    x    <- (A^H A + sum_i rho_i K_i^H K_i)^-1 (A^H y + sum_i rho_i K_i^H (z_i - u_i))
    v_i  <- relaxation * K_i x + (1 - relaxation) * z_i
    z_i  <- prox_{strength g_i / rho_i}(v_i + u_i)
    u_i  <- u_i + v_i - z_i

The x-update is two Fourier transforms where every Gram operator is a periodic convolution. Where ``A = C B`` with such
a ``B`` and a ``C`` that only picks samples, the data are split as well (z_0 = B x; Almeida and Figueiredo 2013), and
the same holds for a data term that is not quadratic. Elsewhere a few warm-started conjugate gradient steps do it.

Boyd et al. 2011 (sections 3.1, 3.4.3, 6.4); residual balancing on relative residuals: Wohlberg 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from solvers import arrays
from solvers._in_place import Buffer, InPlace, OverwrittenState
from solvers._splits import Split, correction, item_of
from solvers.arrays import Array
from solvers.curvature_model import impulse_response
from solvers.protocols import Term
from solvers.regularised import Regularised

REFRESH = 25  # steps after which A^H A x is computed afresh, before its rounding errors add up
STIFFER = 3.0  # first penalty of a constraint over that of the prior
FLAT = 1e-4  # standard deviation over root mean square below which an image is constant
STEP_OF_SPREAD = 0.3  # a grey-value step that matters, over the standard deviation of the image
BALANCE_AT = frozenset((2, 5, 9, 14, 20, 30, 45, 70, 100, 150, 200))  # finitely often: convergence is kept


@dataclass(frozen=True, slots=True)
class ADMMState:
    """State of :class:`ADMM`; tuples have one entry a split."""

    x: Array  # image
    splits: tuple[Any, ...]  # split variables z_i, K_i x in the limit, and dual variables divided by rho_i
    b: tuple[Array, ...]  # K_i^H (z_i - u_i), for the next right-hand side
    rho: tuple[float, ...]  # penalties
    inverse: Any  # 1 / (spectrum of the x-update): exact, or the preconditioner of conjugate gradients, or None
    Gx: Array | None  # A^H A x, carried along where conjugate gradients do the x-update


@dataclass(frozen=True, eq=False)
class ADMM(Regularised):
    """ADMM for ``data + strength * prior``.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`; the prior needs ``terms()`` only.
    scale : float, optional
        Size of the features that matter in ``K x`` (for total variation, of grey-value steps). The first penalties
        are ``strength / scale``; balancing corrects them. None estimates it from ``x0`` and the data.
    relaxation : float
        Over-relaxation in [1, 2).
    balance : bool
        Whether to balance the residuals.
    cg_iterations : int
        Conjugate gradient steps an x-update where there is no closed form, one normal operator each. They start from
        the last image and are preconditioned by the periodic convolution that ``A^H A`` is at the image's centre.
    """

    scale: float | None = None
    relaxation: float = 1.8
    balance: bool = True
    cg_iterations: int = 2

    # What is cached below depends on the data and the prior alone: `at` shares it between strengths.

    @cached_property
    def _data_gram(self) -> Any:
        """Eigenvalues of ``A^H A`` where the data stay inside the x-update and are diagonal there, or None."""
        return self.data.operator.fourier_gram() if self.data.quadratic else None

    @cached_property
    def _factors(self) -> Any:
        """``(C, B)`` with ``A = C B``, where the data are split at ``B x``; None where they are not."""
        if self._data_gram is not None:
            return None
        return self.data.operator.factors() if self.data.quadratic else (None, self.data.operator)

    @cached_property
    def _splits(self) -> tuple[Split, ...]:
        shape = tuple(self.data.operator.in_shape)
        splits = [] if self._factors is None else [self._data_split(*self._factors)]
        for term in self.prior.terms():
            tunable = not getattr(term.function, "is_constraint", False)
            splits.append(Split(term, term.function.prox, tunable, term.fourier_gram(shape)))
        return tuple(splits)

    def _data_split(self, outer: Any, inner: Any) -> Split:
        prox: Any = self.data.loss_prox
        if outer is not None:
            prox = partial(_sampled_prox, outer.solve_shifted, outer.adjoint(self.data.y))
        return Split(Term(self.data, inner), prox, False, inner.fourier_gram())

    @cached_property
    def _closed_form(self) -> bool:
        inside = self._factors is not None or self._data_gram is not None
        return inside and all(split.gram is not None for split in self._splits)

    @cached_property
    def _right_side(self) -> Array | None:
        """``A^H y``: its Fourier transform where the x-update is closed, None where the data are split."""
        if self._factors is not None:
            return None
        return _forward_transform(self._back, self._ndim) if self._closed_form else self._back

    @cached_property
    def _back(self) -> Array:
        """``A^H y``: an image of the kind and dtype that the iterates have."""
        return self.data.operator.adjoint(self.data.y)

    @property
    def _ndim(self) -> int:
        return len(self.data.operator.in_shape)

    def init(self, x0: Array) -> ADMMState:
        rho = self._first_penalties(x0)
        starts = [split.start(x0, self._step(split, r)) for split, r in zip(self._splits, rho, strict=True)]
        variables, b = zip(*starts, strict=True)
        Gx = None if self._closed_form or self._factors is not None else self.data.operator.gram(x0)
        return ADMMState(x0, variables, b, rho, self._inverse(rho), Gx)

    def restart(self, state: Any, strength: float, item: int | None = None) -> Any:
        """Turn a state of the problem at another ``strength`` into a start for this one.

        At the solution the dual variables of data and constraints balance that of the prior, so all of them follow the
        strength: with ``rho`` in proportion to it, split and scaled dual variables stay valid. ``item`` takes one image
        of a batch.
        """
        if isinstance(state, OverwrittenState):
            return replace(state, rho=tuple(r * self.strength / strength for r in state.rho))
        if item is not None:
            variables, b = tuple(item_of(v, item) for v in state.splits), tuple(bi[item] for bi in state.b)
            x = state.x[item]
            # A search may have kept samples back: its A^H A is not this one.
            Gx = None if state.Gx is None else self.data.operator.gram(x)
            state = replace(state, x=x, splits=variables, b=b, Gx=Gx)
        ratio = self.strength / strength
        rho = tuple(r * ratio for r in state.rho)
        return replace(state, rho=rho, inverse=self._inverse(rho))

    def step(self, state: ADMMState, k: int) -> ADMMState:
        x, Gx = self._solve_x(state)
        if Gx is not None and (k + 1) % REFRESH == 0:
            Gx = self.data.operator.gram(x)
        balance = self.balance and k + 1 in BALANCE_AT
        moves = [
            split.move(x, variables, self._step(split, rho), self.relaxation, measure=balance)
            for split, variables, rho in zip(self._splits, state.splits, state.rho, strict=True)
        ]
        variables, b, imbalance = zip(*moves, strict=True)
        new = ADMMState(x, variables, b, state.rho, state.inverse, Gx)
        return self._balanced(new, imbalance) if balance else new

    def _step(self, split: Split, rho: float) -> float:
        return (self.strength if split.tunable else 1.0) / rho

    def _solve_x(self, state: ADMMState) -> tuple[Array, Array | None]:
        total: Array = None
        for bi, rho in zip(state.b, state.rho, strict=True):
            total = rho * bi if total is None else arrays.axpy(rho, bi, total)
        if self._closed_form:
            spectrum = _forward_transform(total, self._ndim)
            return _filtered_inverse(spectrum, self._right_side, state.inverse, total, self._ndim), None
        if self._right_side is not None:
            total = total + self._right_side
        return self._conjugate_gradients(state, total)

    def _conjugate_gradients(self, state: ADMMState, b: Array) -> tuple[Array, Array | None]:
        """A few preconditioned steps from the last image; ``A^H A x`` follows by linearity, without another product."""
        gram = self.data.operator.gram if self._factors is None else None
        x, Gx = state.x, state.Gx
        r = b - self._penalty_gram(x, state.rho)
        if Gx is not None:
            r = r - Gx
        p: Array = None
        rz = 0.0
        for _ in range(self.cg_iterations):
            z = self._preconditioned(r, state)
            rz_before, rz = rz, arrays.dot(r, z)
            p = z if p is None else arrays.axpy(rz / rz_before, p, z)
            Gp = gram(p) if gram is not None else None
            Mp = self._penalty_gram(p, state.rho) if Gp is None else Gp + self._penalty_gram(p, state.rho)
            curvature = arrays.dot(p, Mp)
            if not arrays.to_float(curvature) > 0:
                break
            alpha = rz / curvature
            x, r = arrays.axpy(alpha, p, x), arrays.axpy(-alpha, Mp, r)
            if Gp is not None:
                Gx = arrays.axpy(alpha, Gp, Gx)
        return x, Gx

    def _penalty_gram(self, x: Array, rho: tuple[float, ...]) -> Array:
        """``sum_i rho_i K_i^H K_i x``."""
        out: Array = None
        for split, r in zip(self._splits, rho, strict=True):
            part = r * split.term.adjoint(split.term.apply(x))
            out = part if out is None else out + part
        return out

    def _preconditioned(self, r: Array, state: ADMMState) -> Array:
        if state.inverse is None:
            return r
        return _filtered_inverse(_forward_transform(r, self._ndim), None, state.inverse, r, self._ndim)

    @cached_property
    def _impulse_response(self) -> np.ndarray:
        return impulse_response(self.data.operator, self._back)

    @cached_property
    def _impulse_gram(self) -> np.ndarray | None:
        """Eigenvalues of the periodic convolution that ``A^H A`` is at an image's centre, in the mean of frames."""
        if self._factors is not None:
            return np.zeros(())
        spectrum = np.fft.fftn(self._impulse_response).real
        return np.broadcast_to(np.maximum(spectrum, 1e-3 * spectrum.max()), tuple(self.data.operator.in_shape))

    @cached_property
    def _spectra(self) -> tuple[Any, ...] | None:
        """Eigenvalues of ``A^H A`` (or its periodic approximation) and of each ``K^H K`` at the frequencies in use."""
        if any(split.gram is None for split in self._splits):
            return None
        data = self._impulse_gram if self._data_gram is None else self._data_gram
        spectra = [np.asarray(gram) for gram in (data, *(split.gram for split in self._splits))]
        if not arrays.is_complex(self._back):
            kept = self._back.shape[-1] // 2 + 1
            spectra = [gram[..., :kept] if gram.ndim else gram for gram in spectra]
        real = arrays.to_numpy(self._back[..., :1]).real.dtype
        return tuple(np.ascontiguousarray(gram, dtype=real) for gram in spectra)

    def _inverse(self, rho: tuple[float, ...]) -> Any:
        """Reciprocal spectrum of the x-update, exact in closed form, a preconditioner elsewhere (None without one)."""
        if self._spectra is None:
            return None
        data, *splits = self._spectra
        total = data + sum(r * gram for r, gram in zip(rho, splits, strict=True))
        # A frequency that nothing weighs must not divide by zero.
        floor = max(arrays.eps(self._back) * float(np.max(total)), 1e-30)
        return arrays.asarray(1.0 / np.maximum(total, floor), self._back)

    @cached_property
    def in_place(self) -> InPlace:
        """The problem as :meth:`steps_in_place` take it apart."""
        return InPlace(self.data, self.prior)

    def start_in_place(self, guess: Buffer | None = None) -> OverwrittenState:
        """A start for :meth:`steps_in_place` from an image, which it overwrites, or from a first guess of its own."""
        problem = self.in_place
        guess = problem.guess() if guess is None else guess
        tuned = max(self.strength, 1e-30) / self._scale(guess.image)
        rho = tuple(tuned if part.tunable else STIFFER * tuned for part in problem.parts)
        if problem.sampling is not None:
            rho = (*rho[:-1], 1.0)  # the curvature of the data
        return problem.start(guess, rho)

    def steps_in_place(self, state: OverwrittenState) -> Iterator[OverwrittenState]:
        """Like :func:`solvers.loop.steps_from`, each state overwriting the last; the one given is given up.

        For large images: numpy, real, no batch, closed form. Nothing else holds arrays of the image's size but these
        states (total variation of a volume: four volumes) and this generator (one, and ``A^H y``).
        """
        return self.in_place.steps(state, self.strength, self.relaxation, BALANCE_AT if self.balance else ())

    def _first_penalties(self, x0: Array) -> tuple[float, ...]:
        """Those of the prior from the size of its features; the data's from their curvature; constraints follow."""
        tuned = max(self.strength, 1e-30) / self._scale(x0)
        bound = STIFFER * tuned if any(split.tunable for split in self._splits) else self._curvature
        return tuple(
            tuned if split.tunable else self._data_penalty(x0) if split.term.function is self.data else bound
            for split in self._splits
        )

    def _data_penalty(self, x0: Array) -> float:
        """First penalty of data that are split: the mean curvature of their loss, where it has one."""
        if self.data.quadratic or not getattr(self.data, "smooth", True):
            return self._curvature
        curvatures = self.data.curvatures(self.data.operator(self.data.start(x0)))
        return max(arrays.to_float(curvatures.mean()), 1e-30)

    @cached_property
    def _curvature(self) -> float:
        """Typical eigenvalue of ``A^H A``: that of the measured data."""
        energy = arrays.to_float(arrays.dot(self.data.y, self.data.y))
        return max(arrays.to_float(arrays.dot(self._back, self._back)) / energy, 1e-30) if energy > 0 else 1.0

    def _scale(self, x0: Array) -> float:
        if self.scale is not None:
            return self.scale
        x = x0
        if not arrays.to_float(arrays.norm(x)) > 0:
            x = self._back / self._curvature
        spread, size = (arrays.to_float(arrays.norm(a)) / math.sqrt(arrays.size(x)) for a in (x - x.mean(), x))
        # A start without features tells how bright the image is; they are sought on that scale.
        return STEP_OF_SPREAD * (spread if spread > FLAT * size else size) if size > 0 else 1.0

    def _balanced(self, state: ADMMState, imbalance: tuple[float, ...]) -> ADMMState:
        """Bring primal and dual residuals together by changing the penalties."""
        return self._scaled(state, tuple(map(correction, imbalance)))

    def paced(self, state: ADMMState, factor: float) -> ADMMState:
        """The state with the prior's penalties ``factor`` times as large, and its dual variables as they were."""
        return self._scaled(state, tuple(factor if split.tunable else 1.0 for split in self._splits))

    def _scaled(self, state: ADMMState, factors: tuple[float, ...]) -> ADMMState:
        """The state with other penalties; the scaled dual variables follow."""
        if all(f == 1.0 for f in factors):
            return state
        rho = tuple(r * f for r, f in zip(state.rho, factors, strict=True))
        rescaled = [
            (variables, bi) if f == 1.0 else split.rescale(variables, self._step(split, r), f)
            for split, variables, bi, r, f in zip(self._splits, state.splits, state.b, state.rho, factors, strict=True)
        ]
        variables, b = zip(*rescaled, strict=True)
        return replace(state, splits=variables, b=b, rho=rho, inverse=self._inverse(rho))


def _sampled_prox(solve_shifted: Callable[[Array, float], Array], back: Array, v: Array, step: float) -> Array:
    """Proximal map of ``1/2 |C w - y|^2`` from the closed form of ``C``, with ``back = C^H y``."""
    rho = 1.0 / step
    return solve_shifted(arrays.axpy(rho, v, back), rho)


def _forward_transform(x: Array, ndim: int) -> Array:
    axes = tuple(range(-ndim, 0))
    return arrays.fftn(x, axes) if arrays.is_complex(x) else arrays.rfftn(x, axes)


def _filtered_inverse(spectrum: Array, offset: Array | None, inverse: Array, like: Array, ndim: int) -> Array:
    """Inverse transform of ``(spectrum + offset) * inverse`` onto the shape and kind of ``like``."""
    axes = tuple(range(-ndim, 0))
    if isinstance(spectrum, np.ndarray):
        if offset is not None:
            spectrum += offset  # the spectrum is this function's own
        spectrum *= inverse
    else:
        spectrum = (spectrum if offset is None else spectrum + offset) * inverse
    if arrays.is_complex(like):
        return arrays.fftn(spectrum, axes, inverse=True)
    return arrays.irfftn(spectrum, tuple(like.shape[-ndim:]), axes)
