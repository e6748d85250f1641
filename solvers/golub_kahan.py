"""Least squares by the bidiagonalisation of Golub and Kahan: more accurate than CGLS where the problem is hard.

    min_x  1/2 |A x - y|^2 + damping/2 |x|^2

    beta u   <- A v - alpha u
    alpha v  <- A^H u - beta v

LSQR minimises the residual over the space spanned by the v, LSMR that of the normal equations. The damping is a second
block below A, so that a start other than zero is no special case. Paige and Saunders 1982; Fong and Saunders 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solvers import arrays
from solvers.arrays import Array
from solvers.krylov import DampedLeastSquares

Block = tuple[Array, ...]  # a measurement, and an image below it where there is damping


@dataclass(frozen=True, slots=True)
class LSQRState:
    """State of :class:`LSQR`."""

    x: Array  # iterate
    u: Block  # left vector of the bidiagonalisation
    v: Array  # right vector
    w: Array  # search direction
    alpha: Any  # coefficient of the next v
    rho: Any  # last entry of the bidiagonal matrix that is not rotated yet
    phi: Any  # norm of the residual, signed
    floor: float  # norm of the normal residual at which it is rounding


@dataclass(frozen=True, eq=False)
class _Bidiagonal(DampedLeastSquares):
    def _apply(self, v: Array) -> Block:
        out = self.operator(v)
        return (out, v * self.damping**0.5) if self.damping else (out,)

    def _adjoint(self, u: Block) -> Array:
        out = self.operator.adjoint(u[0])
        return arrays.axpy(self.damping**0.5, u[1], out) if self.damping else out

    def _start(self, x0: Array) -> tuple[Block, Array, Any, Any]:
        """``u, v, alpha, beta`` of the residual at ``x0``."""
        r = self.y - self.operator(x0)
        u, beta = _unit((r, x0 * -(self.damping**0.5)) if self.damping else (r,))
        (v,), alpha = _unit((self._adjoint(u),))
        return u, v, alpha, beta

    def _next(self, u: Block, v: Array, alpha: Any) -> tuple[Block, Array, Any, Any]:
        """The next ``u, v, alpha, beta``."""
        ahead = self._apply(v)
        u, beta = _unit(tuple(arrays.axpy(-alpha, old, new) for old, new in zip(u, ahead, strict=True)))
        (v,), alpha = _unit((arrays.axpy(-beta, v, self._adjoint(u)),))
        return u, v, alpha, beta


@dataclass(frozen=True, eq=False)
class LSQR(_Bidiagonal):
    """LSQR for ``min_x 1/2 |A x - y|^2 + damping/2 |x|^2``.

    In exact arithmetic the iterates of CGLS; in rounded ones better where ``A`` is badly conditioned.

    Parameters
    ----------
    operator, y, damping
        See :class:`solvers.CGLS`.

    References
    ----------
    C. C. Paige, M. A. Saunders, "LSQR: an algorithm for sparse linear equations and sparse least squares", ACM Trans.
    Math. Softw. 8 (1982).

    Examples
    --------
    >>> from recon.operators import from_matrix
    >>> from solvers import LSQR, solve
    >>> solve(LSQR(from_matrix(np.diag([1.0, 4.0])), np.array([3.0, 8.0])), np.zeros(2)).image.round(3)
    array([3., 2.])
    """

    def init(self, x0: Array) -> LSQRState:
        u, v, alpha, beta = self._start(x0)
        return LSQRState(x0, u, v, v, alpha, alpha, beta, self._rounding())

    def step(self, state: LSQRState, k: int) -> LSQRState:
        if arrays.to_float(abs(state.phi * state.alpha)) <= state.floor or not arrays.to_float(abs(state.rho)) > 0:
            return state
        u, v, alpha, beta = self._next(state.u, state.v, state.alpha)
        c, s, rho = _rotation(state.rho, beta)
        x = arrays.axpy(c * state.phi / rho, state.w, state.x)
        w = arrays.axpy(-s * alpha / rho, state.w, v)
        return LSQRState(x, u, v, w, alpha, -c * alpha, s * state.phi, state.floor)

    def residual_norm(self, state: LSQRState) -> float:
        """``|A x - y|``, the damping included."""
        return arrays.to_float(abs(state.phi))


@dataclass(frozen=True, slots=True)
class LSMRState:
    """State of :class:`LSMR`."""

    x: Array  # iterate
    u: Block  # left vector of the bidiagonalisation
    v: Array  # right vector
    h: Array  # direction of the first rotations
    h_bar: Array  # search direction
    alpha: Any  # coefficient of the next v
    alpha_bar: Any  # last entry of the bidiagonal matrix that is not rotated yet
    rho: tuple[Any, Any]  # last diagonals of the two triangular factors
    second: tuple[Any, Any]  # cosine and sine of the second rotation
    zeta: Any  # norm of the normal residual, signed
    floor: float  # at which that is rounding


@dataclass(frozen=True, eq=False)
class LSMR(_Bidiagonal):
    """LSMR for ``min_x 1/2 |A x - y|^2 + damping/2 |x|^2``: the normal residual shrinks at every step.

    Parameters
    ----------
    operator, y, damping
        See :class:`solvers.CGLS`.

    References
    ----------
    D. C.-L. Fong, M. A. Saunders, "LSMR: an iterative algorithm for sparse least-squares problems", SIAM J. Sci.
    Comput. 33 (2011).

    Examples
    --------
    >>> from recon.operators import from_matrix
    >>> from solvers import LSMR, solve
    >>> solve(LSMR(from_matrix(np.diag([1.0, 4.0])), np.array([3.0, 8.0])), np.zeros(2)).image.round(3)
    array([3., 2.])
    """

    def init(self, x0: Array) -> LSMRState:
        u, v, alpha, beta = self._start(x0)
        nothing = arrays.zeros(v.shape, v)
        return LSMRState(
            x0, u, v, v, nothing, alpha, alpha, (1.0, 1.0), (1.0, 0.0), alpha * beta, self._rounding()
        )  # fmt: skip

    def step(self, state: LSMRState, k: int) -> LSMRState:
        if arrays.to_float(abs(state.zeta)) <= state.floor:
            return state
        u, v, alpha, beta = self._next(state.u, state.v, state.alpha)
        (rho_old, rho_bar_old), (c_bar, s_bar) = state.rho, state.second
        c, s, rho = _rotation(state.alpha_bar, beta)
        theta, theta_bar = s * alpha, s_bar * rho
        c_bar, s_bar, rho_bar = _rotation(c_bar * rho, theta)
        h_bar = arrays.axpy(-theta_bar * rho / (rho_old * rho_bar_old), state.h_bar, state.h)
        x = arrays.axpy(c_bar * state.zeta / (rho * rho_bar), h_bar, state.x)
        h = arrays.axpy(-theta / rho, state.h, v)
        return LSMRState(
            x, u, v, h, h_bar, alpha, c * alpha, (rho, rho_bar), (c_bar, s_bar), -s_bar * state.zeta, state.floor
        )


def _unit(block: Block) -> tuple[Block, Any]:
    """The block over its norm, and that norm; a zero block stays."""
    squared = sum(arrays.dot(part, part) for part in block)
    if not arrays.to_float(squared) > 0:
        return block, 0.0
    length = squared**0.5
    return tuple(part * (1 / length) for part in block), length


def _rotation(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Cosine, sine and length of the plane rotation of ``(a, b)`` onto ``(length, 0)``."""
    length = (a * a + b * b) ** 0.5
    return a / length, b / length, length
