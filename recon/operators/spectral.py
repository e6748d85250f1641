"""Bands that are mixtures: spectral responses, hyperspectral unmixing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators.base import LinearOperator
from recon.operators.pointwise import Identity
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError, ShapeError
from solvers.validation import require_finite, shape_argument


class SpectralMixing(LinearOperator):
    r"""Each measured band is a weighted sum of the bands at the same pixel: ``y[k] = sum_b response[k, b] x[b]``.

    With the spectral response of a sensor the image is a cube of narrow bands, seen through a few wide ones. With the
    spectra of pure materials as columns (``endmembers``, wavelengths x materials) it is the linear mixing model: the
    image holds the abundance of each material, and ``reconstruct(cube, A, bounds=(0, np.inf))`` unmixes.

    Parameters
    ----------
    response : array, shape (measured bands, bands)
        Weights, in the unit of ``y`` over that of ``x``.
    shape : tuple of int
        Pixels of one band, (rows, columns). The image is (bands, rows, columns).

    Raises
    ------
    ShapeError
        ``response`` is not a matrix.
    DTypeError, NonFiniteError
        ``response`` does not hold finite numbers.

    References
    ----------
    N. Keshava, J. F. Mustard, "Spectral unmixing", IEEE Signal Process. Mag. 19 (2002).

    Examples
    --------
    >>> A = SpectralMixing([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], shape=(64, 64))
    >>> A(np.ones((3, 64, 64))).shape
    (2, 64, 64)
    """

    channels = True

    def __init__(self, response: Any, shape: Sequence[int]):
        self.response = _matrix("response", response)
        shape = shape_argument("shape", shape)
        out_bands, bands = self.response.shape
        super().__init__((bands, *shape), (out_bands, *shape))
        self.kind = "complex" if np.iscomplexobj(self.response) else "any"
        self.nonnegative = self.kind == "any" and bool(self.response.min() >= 0)
        self._forward = Constant(self.response)
        self._backward = Constant(self.response.conj().T)

    def _apply(self, x: Array) -> Array:
        return self._mix(self._forward.like(x), x)

    def _adjoint(self, y: Array) -> Array:
        return self._mix(self._backward.like(y), y)

    def _mix(self, matrix: Array, x: Array) -> Array:
        pixels = len(self.in_shape) - 1
        columns = x.reshape((*x.shape[: x.ndim - pixels], -1))
        if arrays.is_torch(x) and matrix.dtype != x.dtype:
            matrix = matrix.to(x.dtype)
        mixed = matrix @ columns
        return mixed.reshape((*mixed.shape[:-1], *x.shape[x.ndim - pixels :]))

    def gram(self, x: Array) -> Array:
        x = self._admit(x, "x", self.in_shape)
        return self._mix(self._gram.like(x), x)

    @cached_property
    def _gram(self) -> Constant:
        return Constant(self._backward.double @ self._forward.double)

    @cached_property
    def _modes(self) -> tuple[Constant, Constant, Constant]:
        """Eigenvalues of ``response^H response``, its eigenvectors and their conjugate transpose."""
        values, vectors = np.linalg.eigh(self._gram.double)
        return Constant(np.maximum(values, 0.0)), Constant(vectors), Constant(vectors.conj().T)

    def norm(self) -> float:
        return float(np.linalg.norm(self.response, 2))

    def factors(self) -> tuple[LinearOperator, LinearOperator]:
        return self, Identity(self.in_shape)

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        values, vectors, transposed = (constant.like(b) for constant in self._modes)
        values = values.reshape((-1,) + (1,) * (len(self.in_shape) - 1))
        return self._mix(vectors, self._mix(transposed, b) / (values + rho))

    def __repr__(self) -> str:
        return f"SpectralMixing({self.in_shape} -> {self.out_shape})"


def _matrix(name: str, values: Any) -> np.ndarray:
    matrix = arrays.to_numpy(values)
    if matrix.dtype.kind not in "biufc":
        raise DTypeError(f"{name} has dtype {matrix.dtype}; expected numbers. Convert it, for example to float64.")
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ShapeError(
            f"{name} has shape {matrix.shape}; expected (measured bands, bands), one row for each band that is "
            "measured. Pass a matrix; endmembers stand in its columns."
        )
    require_finite(name, matrix, "Leave out the wavelengths where they are not known.")
    return matrix.astype(np.complex128 if matrix.dtype.kind == "c" else np.float64)
