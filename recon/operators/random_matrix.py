"""Random projections, dense and structured, for compressive sensing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from recon.operators._constants import Constant
from recon.operators._cosine_rows import cosine, inverse_cosine
from recon.operators._walsh import hadamard, is_power_of_two
from recon.operators._woodbury import OrthogonalRows, measured_shift
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, OptionError, ShapeError, suggestion
from solvers.validation import positive_int, shape_argument

KINDS = ("gaussian", "rademacher", "srht", "cosine")
LARGEST_MATRIX = 2**25
"""Entries of a dense matrix: 400 MB in both precisions."""


class RandomProjection(OrthogonalRows):
    r"""Random measurements that keep lengths on average, ``E |A x|^2 = |x|^2``.

    ``gaussian`` and ``rademacher`` are matrices of independent entries, ``N(0, 1 / m)`` and ``+-1 / sqrt(m)``: for
    small problems. ``srht`` and ``cosine`` hold no matrix: random signs, an orthonormal transform (Walsh-Hadamard or
    cosine) and a random choice of ``m`` coefficients, times ``sqrt(n / m)``.

    Parameters
    ----------
    measurements : int
        Number of measurements m; ``srht`` and ``cosine`` have at most one for each pixel.
    shape : tuple of int
        Shape of the image of n pixels; ``srht`` takes a power of two.
    kind : {"gaussian", "rademacher", "srht", "cosine"}
        How the measurements are drawn.
    rng : int or numpy.random.Generator, optional
        Source of the draws; by default the same for every call.

    Raises
    ------
    OptionError
        Unknown kind.
    ArgumentError, ShapeError
        A dense matrix that is too large, more measurements than the kind has, a size that ``srht`` does not take.

    References
    ----------
    J. A. Tropp, "Improved analysis of the subsampled randomized Hadamard transform", Adv. Adapt. Data Anal. 3 (2011).

    Examples
    --------
    >>> A = RandomProjection(300, (32, 32), kind="srht")
    >>> A(np.ones((32, 32))).shape, round(A.norm() ** 2, 2)
    ((300,), 3.41)
    """

    neighbours_alike = False

    def __init__(
        self,
        measurements: int,
        shape: Sequence[int],
        kind: Literal["gaussian", "rademacher", "srht", "cosine"] = "gaussian",
        rng: Any = None,
    ):
        shape = shape_argument("shape", shape)
        m, n = positive_int("measurements", measurements), math.prod(shape)
        _require_kind(kind, m, n)
        super().__init__(shape, (m,))
        self.draw = kind
        # A stream of its own: probes of random signs begin with the same seeds, and it would not see those it flips.
        (rng,) = np.random.default_rng(0 if rng is None else rng).spawn(1)
        self._matrix = self._transposed = None
        if kind in ("srht", "cosine"):
            self._signs = Constant(2.0 * rng.integers(0, 2, n) - 1.0)
            self._rows = np.sort(rng.choice(n, m, replace=False))
        else:
            entries = rng.standard_normal((m, n)) if kind == "gaussian" else 2.0 * rng.integers(0, 2, (m, n)) - 1.0
            self._matrix = Constant(entries / math.sqrt(m))

    def _apply(self, x: Array) -> Array:
        flat = x.reshape((*x.shape[: x.ndim - len(self.in_shape)], -1))
        if self._matrix is not None:
            return _times(flat, arrays.namespace(x).swapaxes(self._matrix.like(x), 0, 1))
        transform = hadamard if self.draw == "srht" else cosine
        return self._gain * transform(flat * self._signs.like(x))[..., self._rows]

    def _adjoint(self, y: Array) -> Array:
        shape = (*y.shape[:-1], *self.in_shape)
        if self._matrix is not None:
            return _times(y, self._matrix.like(y)).reshape(shape)
        full = arrays.zeros((*y.shape[:-1], math.prod(self.in_shape)), y)
        full[..., self._rows] = self._gain * y
        transform = hadamard if self.draw == "srht" else inverse_cosine
        return (transform(full) * self._signs.like(y)).reshape(shape)

    @property
    def _gain(self) -> float:
        return math.sqrt(math.prod(self.in_shape) / self.out_shape[0])

    def outer_gram(self) -> np.ndarray:
        return np.full(1, self._gain**2)

    def norm(self) -> float:
        return super().norm() if self._matrix is None else self._certified_norm

    @cached_property
    def _modes(self) -> tuple[Constant, Constant]:
        """Eigenvalues and eigenvectors of ``A A^T``."""
        assert self._matrix is not None
        values, vectors = np.linalg.eigh(self._matrix.double @ self._matrix.double.T)
        return Constant(np.maximum(values, 0.0)), Constant(vectors)

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        if self._matrix is None:
            return super()._solve_shifted(b, rho)
        values, vectors = (constant.like(b) for constant in self._modes)
        seen = _times(self._apply(b), vectors) / (values + measured_shift(self, rho))
        return (b - self._adjoint(_times(seen, arrays.namespace(b).swapaxes(vectors, 0, 1)))) / rho

    def __repr__(self) -> str:
        return f"RandomProjection({self.in_shape} -> {self.out_shape}, kind={self.draw!r})"


def _times(rows: Array, matrix: Array) -> Array:
    """``rows @ matrix`` for a real matrix and rows that may be complex."""
    if arrays.is_torch(rows) and rows.dtype != matrix.dtype:
        matrix = matrix.to(rows.dtype)
    return rows @ matrix


def _require_kind(kind: str, m: int, n: int) -> None:
    if kind not in KINDS:
        raise OptionError(
            f"kind is {kind!r}; expected one of {', '.join(KINDS)}.{suggestion(kind, KINDS)} Pass one of them."
        )
    structured = kind in ("srht", "cosine")
    if structured and m > n:
        raise ArgumentError(f"measurements is {m}; kind {kind!r} has at most {n}, one for each pixel. Pass fewer.")
    if not structured and m * n > LARGEST_MATRIX:
        raise ArgumentError(
            f"measurements is {m} of {n} pixels; expected at most {LARGEST_MATRIX} entries of a dense matrix. "
            'Pass kind="srht" or kind="cosine", which need none.'
        )
    if kind == "srht" and not is_power_of_two(n):
        raise ShapeError(f'shape holds {n} pixels; kind "srht" expected a power of two. Pass kind="cosine".')
