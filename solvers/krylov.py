"""Krylov methods for linear systems and least squares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.regularised import Regularised


@dataclass(frozen=True, slots=True)
class CGState:
    """State of :class:`CG`."""

    x: Array  # iterate
    r: Array  # residual b - M x
    p: Array  # search direction
    rz: Any  # <r, z> with z the preconditioned residual
    floor: float  # rz at which the residual is rounding: the solution is found


@dataclass(frozen=True)
class CG:
    """Conjugate gradients for ``M x = b`` with ``M`` Hermitian positive definite.

    Parameters
    ----------
    matvec : callable
        ``x -> M x``.
    b : array
        Right-hand side. Leading batch axes make one block-diagonal system.
    precondition : callable, optional
        ``r -> P^-1 r``, Hermitian positive definite.

    References
    ----------
    Hestenes and Stiefel, 1952; Saad, Iterative Methods for Sparse Linear Systems, algorithm 9.1.
    """

    matvec: Callable[[Array], Array]
    b: Array
    precondition: Callable[[Array], Array] | None = None

    def init(self, x0: Array) -> CGState:
        r = self.b - self.matvec(x0)
        z = self._preconditioned(r)
        floor = arrays.eps(self.b) ** 2 * arrays.to_float(arrays.dot(self.b, self._preconditioned(self.b)))
        return CGState(x=x0, r=r, p=z, rz=arrays.dot(r, z), floor=floor)

    def step(self, state: CGState, k: int) -> CGState:
        Mp = self.matvec(state.p)
        curvature = arrays.dot(state.p, Mp)
        if not arrays.to_float(curvature) > 0 or arrays.to_float(state.rz) <= state.floor:
            return state
        alpha = state.rz / curvature
        x = arrays.axpy(alpha, state.p, state.x)
        r = arrays.axpy(-alpha, Mp, state.r)
        z = self._preconditioned(r)
        rz = arrays.dot(r, z)
        return CGState(x=x, r=r, p=arrays.axpy(rz / state.rz, state.p, z), rz=rz, floor=state.floor)

    def _preconditioned(self, r: Array) -> Array:
        return r if self.precondition is None else self.precondition(r)


@dataclass(frozen=True, slots=True)
class CGLSState:
    """State of :class:`CGLS`."""

    x: Array  # iterate
    r: Array  # residual y - A x
    p: Array  # search direction
    gamma: Any  # squared norm of the normal residual A^H r - damping x
    floor: float  # gamma at which that residual is rounding: the solution is found


@dataclass(frozen=True)
class CGLS:
    """Conjugate gradients for ``min_x 1/2 |A x - y|^2 + damping/2 |x|^2`` without forming ``A^H A``.

    Parameters
    ----------
    operator : LinearOperator
        ``A``.
    y : array
        Measurement.
    damping : float
        Weight of ``1/2 |x|^2``. With zero, stopping early is the regularisation.

    References
    ----------
    Björck, Numerical Methods for Least Squares Problems, 1996, algorithm 7.4.1.
    """

    operator: Any
    y: Array
    damping: float = 0.0

    def init(self, x0: Array) -> CGLSState:
        r = self.y - self.operator(x0)
        s = self._normal_residual(x0, r)
        back = self.operator.adjoint(self.y)
        floor = arrays.eps(s) ** 2 * arrays.to_float(arrays.dot(back, back))
        return CGLSState(x=x0, r=r, p=s, gamma=arrays.dot(s, s), floor=floor)

    def step(self, state: CGLSState, k: int) -> CGLSState:
        q = self.operator(state.p)
        delta = arrays.dot(q, q) + self.damping * arrays.dot(state.p, state.p)
        if not arrays.to_float(delta) > 0 or arrays.to_float(state.gamma) <= state.floor:
            return state
        alpha = state.gamma / delta
        x = arrays.axpy(alpha, state.p, state.x)
        r = arrays.axpy(-alpha, q, state.r)
        s = self._normal_residual(x, r)
        gamma = arrays.dot(s, s)
        return CGLSState(x=x, r=r, p=arrays.axpy(gamma / state.gamma, state.p, s), gamma=gamma, floor=state.floor)

    def objective(self, x: Array) -> Any:
        """The function minimised."""
        r = self.operator(x) - self.y
        return 0.5 * arrays.dot(r, r) + 0.5 * self.damping * arrays.dot(x, x)

    def _normal_residual(self, x: Array, r: Array) -> Array:
        s = self.operator.adjoint(r)
        return arrays.axpy(-self.damping, x, s) if self.damping else s


@dataclass(frozen=True, eq=False)
class RegularisedCG(Regularised):
    """Conjugate gradients on the normal equations of ``data + strength * prior``, both quadratic.

        (A^H A + strength * sum_i K_i^H g_i'(K_i .)) x = A^H y

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. Least squares without weights, and a prior whose terms are quadratic
        (``is_quadratic``, with a linear ``gradient``).
    """

    @property
    def _cg(self) -> CG:
        return CG(self._normal, self.data.operator.adjoint(self.data.y))

    def init(self, x0: Array) -> CGState:
        return self._cg.init(x0)

    def step(self, state: CGState, k: int) -> CGState:
        return CG(self._normal, self.data.y).step(state, k)

    def _normal(self, x: Array) -> Array:
        out = self.data.operator.gram(x)
        for term in self.prior.terms():
            out = arrays.axpy(self.strength, term.adjoint(term.function.gradient(term.apply(x))), out)
        return out
