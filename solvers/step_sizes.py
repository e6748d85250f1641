"""Certified bounds of an operator's norm, from which solvers take their step sizes.

A step taken from a plain power iteration is too long whenever the iteration has not converged, and nothing says so.
The bounds here are never under the norm and at most 2 % over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from solvers import arrays
from solvers.errors import ArgumentError, OperatorError

Gram = Callable[[np.ndarray], np.ndarray]

TIGHTNESS = 1.02  # bound over norm
FAILURE = 1e-6  # probability that a random start hides the leading eigenvector
_MAX_STEPS = 300  # 65 suffice for 10^9 unknowns and the worst spectrum; this only bounds a broken operator


@np.errstate(over="ignore", invalid="ignore")
def lanczos_norm(
    gram: Gram,
    shape: Sequence[int],
    *,
    complex_start: bool = False,
    dtype: Any = np.float32,
    upper: float = math.inf,
) -> float:
    r"""Upper bound of ``||A||`` from the Lanczos process on ``A^H A``, with probability 1 - 1e-6.

    After k steps from a random unit vector v with Ritz values t_i and couplings b_j, the Lanczos polynomial obeys
    ``prod_i (lambda - t_i) <= b_1 ... b_k / |<v, u>|`` at the largest eigenvalue lambda with eigenvector u. A uniform v
    has ``|<v, u>| >= s = FAILURE sqrt(pi / (2 n))`` with probability at least ``1 - FAILURE``, so the root of
    ``prod_i (lambda - t_i) = b_1 ... b_k / s`` beyond all t_i bounds lambda. The event does not depend on k, so the
    bound survives stopping as soon as it is tight. Ghost copies of converged Ritz values do no harm, hence no
    reorthogonalisation and three vectors of memory.

    Parameters
    ----------
    gram : callable
        ``x -> A^H A x`` on arrays of ``shape``; Hermitian and positive semidefinite.
    shape : tuple of int
        Shape of the image.
    complex_start : bool
        Whether the image is complex.
    dtype : dtype
        Real precision of the iteration.
    upper : float
        A bound of ``||A||`` known beforehand; the iteration then also stops once it is shown to be tight.

    Returns
    -------
    float
        At least ``||A||`` and at most 1.02 times it. The random start is fixed, so the value is too.

    References
    ----------
    J. L. M. van Dorsselaer, M. E. Hochstenbach, H. A. van der Vorst, "Computing probabilistic bounds for extreme
    eigenvalues of symmetric matrices with the Lanczos method", SIAM J. Matrix Anal. Appl. 22 (2001).

    Examples
    --------
    >>> weights = np.linspace(0, 3, 50)
    >>> 3 <= lanczos_norm(lambda x: weights**2 * x, (50,)) <= 3 * 1.02
    True
    """
    v = _random_unit(shape, complex_start, dtype)
    unknowns = v.size * (2 if complex_start else 1)
    log_overlap = math.log(FAILURE) + 0.5 * math.log(math.pi / (2 * unknowns))
    diagonal: list[float] = []
    couplings: list[float] = []
    previous, beta, bound = np.zeros_like(v), 0.0, math.inf
    for _ in range(_MAX_STEPS):
        w = arrays.axpy(-beta, previous, gram(v))
        alpha = float(np.vdot(v, w).real)
        w = arrays.axpy(-alpha, v, w)
        beta = float(np.linalg.norm(w.reshape(-1)))
        if not math.isfinite(alpha + beta) or alpha < _smallest(dtype):
            return _outside_range(gram, shape, complex_start, dtype, alpha + beta)
        diagonal.append(alpha)
        couplings.append(beta)
        bound = _largest_eigenvalue_bound(diagonal, couplings, log_overlap)
        if beta == 0.0 or min(bound, upper**2) <= _tight(dtype) * _ritz_values(diagonal, couplings)[-1]:
            break
        previous, v = v, w / beta
    return min(_round_up(math.sqrt(bound), dtype), upper)


def _outside_range(gram: Gram, shape: Sequence[int], complex_start: bool, dtype: Any, figure: float) -> float:
    """The norm of an operator whose gram is zero, overflows or underflows in ``dtype``."""
    if np.dtype(dtype) != np.float64:
        return lanczos_norm(gram, shape, complex_start=complex_start, dtype=np.float64)
    if math.isfinite(figure):
        return 0.0
    raise OperatorError(
        "A^H A of a finite image holds NaN or infinite values, so the operator has no norm; expected finite values. "
        "Look for NaN or infinite entries in what the operator was built from."
    )


def _random_unit(shape: Sequence[int], complex_start: bool, dtype: Any) -> np.ndarray:
    rng = np.random.default_rng(0)
    v = rng.standard_normal(tuple(shape))
    if complex_start:
        v = v + 1j * rng.standard_normal(tuple(shape))
    v = v / np.linalg.norm(v.reshape(-1))
    return v.astype(np.result_type(dtype, np.complex64) if complex_start else dtype)


def _ritz_values(diagonal: list[float], couplings: list[float]) -> np.ndarray:
    from scipy.linalg import eigvalsh_tridiagonal

    return eigvalsh_tridiagonal(np.array(diagonal), np.array(couplings[:-1]))


def _largest_eigenvalue_bound(diagonal: list[float], couplings: list[float], log_overlap: float) -> float:
    """The root beyond all Ritz values of ``prod (x - t_i) = prod b_j / overlap``, from above, by bisection of logs."""
    ritz = _ritz_values(diagonal, couplings)
    low = float(ritz[-1])
    if couplings[-1] == 0.0:
        return low
    target = sum(map(math.log, couplings)) - log_overlap
    high = low + math.exp(target / len(ritz))  # each factor is then at least the geometric mean of the right side
    for _ in range(60):
        middle = 0.5 * (low + high)
        with np.errstate(divide="ignore"):
            reached = float(np.log(np.maximum(middle - ritz, 0.0)).sum()) >= target
        low, high = (low, middle) if reached else (middle, high)
    return high


@np.errstate(over="ignore", invalid="ignore")
def collatz_wielandt_norm(
    gram: Gram,
    shape: Sequence[int],
    *,
    complex_start: bool = False,
    dtype: Any = np.float32,
    max_iter: int = 60,
) -> float:
    r"""Upper bound of ``||A||`` for an entrywise non-negative ``A``, without any probability.

    For ``G = A^T A`` and any positive v, ``<v, G v> / <v, v> <= lambda <= max_i (G v)_i / v_i`` (Collatz and
    Wielandt). Power iteration from ones closes the gap.

    Parameters
    ----------
    gram : callable
        ``x -> A^T A x`` on arrays of ``shape``.
    shape : tuple of int
        Shape of the image.
    complex_start : bool
        Whether the operator only takes complex images.
    dtype : dtype
        Real precision of the iteration.
    max_iter : int
        Applications of ``gram`` after which :func:`lanczos_norm` takes over.

    Returns
    -------
    float
        At least ``||A||`` and at most 1.02 times it.

    References
    ----------
    H. Wielandt, "Unzerlegbare, nicht negative Matrizen", Math. Z. 52 (1950).

    Examples
    --------
    >>> matrix = np.array([[1.0, 2.0], [0.0, 3.0]])
    >>> bound = collatz_wielandt_norm(lambda x: matrix.T @ (matrix @ x), (2,))
    >>> bool(1.0 <= bound / np.linalg.norm(matrix, 2) <= 1.02)
    True
    """
    v = np.ones(tuple(shape), dtype=np.result_type(dtype, np.complex64) if complex_start else dtype)
    upper = math.inf
    for _ in range(max_iter):
        w = gram(v)
        largest = float(w.real.max())
        if not _smallest(dtype) < largest < math.inf:
            return _outside_range(gram, shape, complex_start, dtype, largest)
        seen = v.real > 0
        upper = min(upper, float((w.real[seen] / v.real[seen]).max()))
        rayleigh = float(np.vdot(v, w).real / np.vdot(v, v).real)
        if upper <= _tight(dtype) * rayleigh:
            return _round_up(math.sqrt(upper), dtype)
        v = _floored(w, largest)
    upper = _round_up(math.sqrt(upper), dtype)
    return lanczos_norm(gram, shape, complex_start=complex_start, dtype=dtype, upper=upper)


def _floored(w: np.ndarray, largest: float) -> np.ndarray:
    """The next iterate. Pixels that no ray sees stay zero: their rows of G vanish and cannot carry an eigenvector.

    The others are kept away from underflow; any positive vector gives a valid bound.
    """
    return np.where(w.real > 0, np.maximum(w.real / largest, 1e-12), 0.0).astype(w.dtype)


def data_curvature(data: Any) -> float:
    """Bound of the curvature of a data term in the image, ``curvature() * norm(A)^2``; the term has a bound."""
    return float(data.curvature()) * data.operator.norm() ** 2


def term_curvature(term: Any, shape: tuple[int, ...]) -> float:
    """Bound of the curvature of one smooth term ``g(K x)`` of a prior, for images of ``shape``.

    ``g.curvature()`` where it has one; for a quadratic ``g`` the norm of its gradient, which is linear.
    """
    function = term.function
    if hasattr(getattr(function, "prior", function), "curvature"):  # that of a multiple follows from what it multiplies
        own = float(function.curvature())
    elif getattr(function, "is_quadratic", False):
        own = lanczos_norm(function.gradient, term.apply(np.zeros(shape)).shape, dtype=np.float64) ** 2
    else:
        raise ArgumentError(
            f"{function!r} tells no bound of its curvature; expected a method curvature(). "
            "Give it one, or use FISTA or GradientDescent, which find the step as they go."
        )
    return own * term.norm() ** 2


def _smallest(dtype: Any) -> float:
    # Eigenvalues below are too near the end of the range for their digits to be trusted.
    return 1e8 * float(np.finfo(dtype).tiny)


def _slack(dtype: Any) -> float:
    # Sums of n terms lose a few hundred ulps at worst here, and a bound must not be lost to rounding.
    return 1e3 * float(np.finfo(dtype).eps)


def _round_up(bound: float, dtype: Any) -> float:
    return bound * (1.0 + _slack(dtype))


def _tight(dtype: Any) -> float:
    """How far the bound of an eigenvalue may exceed the eigenvalue, rounding up included."""
    return (TIGHTNESS / (1.0 + _slack(dtype))) ** 2
