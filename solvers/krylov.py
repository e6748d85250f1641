"""Krylov methods for linear systems and least squares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError
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


@dataclass(frozen=True, slots=True)
class MINRESState:
    """State of :class:`MINRES`."""

    x: Array  # iterate
    v: tuple[Array, Array]  # last two Lanczos vectors
    w: tuple[Array, Array]  # last two search directions
    beta: Any  # coupling of the Lanczos vectors
    rotations: tuple[Any, Any, Any, Any]  # last two cosines, last two sines
    eta: Any  # norm of the residual, signed
    floor: float  # at which the residual is rounding: the solution is found


@dataclass(frozen=True, eq=False)
class MINRES:
    """Minimal residuals for ``M x = b`` with ``M`` Hermitian, definite or not.

    Parameters
    ----------
    matvec : callable
        ``x -> M x``.
    b : array
        Right-hand side. Leading batch axes make one block-diagonal system.

    References
    ----------
    C. C. Paige, M. A. Saunders, "Solution of sparse indefinite systems of linear equations", SIAM J. Numer. Anal. 12
    (1975).

    Examples
    --------
    >>> from solvers import MINRES, solve
    >>> matrix = np.diag([1.0, -2.0])
    >>> solve(MINRES(lambda x: matrix @ x, np.array([3.0, 4.0])), np.zeros(2)).image.round(3)
    array([ 3., -2.])
    """

    matvec: Callable[[Array], Array]
    b: Array

    def init(self, x0: Array) -> MINRESState:
        r = self.b - self.matvec(x0)
        beta, nothing = arrays.norm(r), arrays.zeros(r.shape, r)
        v = r * (1 / beta) if arrays.to_float(beta) > 0 else r
        floor = arrays.eps(self.b) * arrays.to_float(arrays.norm(self.b))
        return MINRESState(x0, (nothing, v), (nothing, nothing), 0.0, (1.0, 1.0, 0.0, 0.0), beta, floor)

    def step(self, state: MINRESState, k: int) -> MINRESState:
        if arrays.to_float(abs(state.eta)) <= state.floor:
            return state
        (v_old, v), (w_older, w_old) = state.v, state.w
        c_old, c, s_old, s = state.rotations
        Mv = self.matvec(v)
        alpha = arrays.dot(v, Mv)
        ahead = arrays.axpy(-state.beta, v_old, arrays.axpy(-alpha, v, Mv))
        beta = arrays.norm(ahead)
        delta = c * alpha - c_old * s * state.beta
        rho = (delta * delta + beta * beta) ** 0.5
        if not arrays.to_float(rho) > state.floor * 1e-30:
            return state
        w = arrays.axpy(-s_old * state.beta, w_older, v)
        w = arrays.axpy(-(s * alpha + c_old * c * state.beta), w_old, w) * (1 / rho)
        c_new, s_new = delta / rho, beta / rho
        x = arrays.axpy(c_new * state.eta, w, state.x)
        v_new = ahead * (1 / beta) if arrays.to_float(beta) > 0 else ahead
        return MINRESState(x, (v, v_new), (w_old, w), beta, (c, c_new, s, s_new), -s_new * state.eta, state.floor)


@dataclass(frozen=True, eq=False)
class DampedLeastSquares:
    """``min_x 1/2 |A x - y|^2 + damping/2 |x|^2``.

    Parameters
    ----------
    operator : LinearOperator
        ``A``.
    y : array
        Measurement. Leading batch axes make one block-diagonal system.
    damping : float
        Weight of ``1/2 |x|^2``. With zero, stopping early is the regularisation (:class:`solvers.Discrepancy`).
    """

    operator: Any
    y: Array
    damping: float = 0.0

    @property
    def strength(self) -> float:
        """The damping."""
        return self.damping

    def at(self, strength: float) -> Self:
        """The same problem with another damping; one without damping stays so."""
        return replace(self, damping=strength) if self.damping else self

    def restart(self, state: Any, strength: float, item: int | None = None) -> Any:
        """Turn a state of the problem at another ``strength`` (one ``item`` of a batch) into a start for this one."""
        return self.init(state.x if item is None else state.x[item])

    def init(self, x0: Array) -> Any:
        """The state at the start ``x0``."""
        raise NotImplementedError

    def objective(self, x: Array) -> Any:
        """The function minimised."""
        r = self.operator(x) - self.y
        return 0.5 * arrays.dot(r, r) + 0.5 * self.damping * arrays.dot(x, x)

    def _rounding(self) -> float:
        """Norm of the normal residual that is nothing but rounding."""
        back = self.operator.adjoint(self.y)
        return arrays.eps(back) * arrays.to_float(arrays.norm(back))


@dataclass(frozen=True, eq=False)
class CGLS(DampedLeastSquares):
    """Conjugate gradients for ``min_x 1/2 |A x - y|^2 + damping/2 |x|^2`` without forming ``A^H A``.

    Parameters
    ----------
    operator, y, damping
        See :class:`DampedLeastSquares`.

    References
    ----------
    Björck, Numerical Methods for Least Squares Problems, 1996, algorithm 7.4.1.
    """

    def init(self, x0: Array) -> CGLSState:
        r = self.y - self.operator(x0)
        s = self._normal_residual(x0, r)
        return CGLSState(x=x0, r=r, p=s, gamma=arrays.dot(s, s), floor=self._rounding() ** 2)

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

    def residual_norm(self, state: CGLSState) -> float:
        """``|A x - y|``."""
        return arrays.to_float(arrays.norm(state.r))

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

    Raises
    ------
    ArgumentError
        The data term or the prior is not quadratic.
    """

    def __post_init__(self) -> None:
        quadratic = all(getattr(term.function, "is_quadratic", False) for term in self.prior.terms())
        if not (self.data.quadratic and quadratic):
            raise ArgumentError(
                f"data term and prior are {type(self.data).__name__} and {self.prior!r}; RegularisedCG takes least "
                "squares without weights and quadratic priors, such as Tikhonov. Use ADMM, PDHG or FISTA."
            )

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
