"""A matrix, dense or sparse, as an operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator
from solvers import arrays
from solvers.errors import DTypeError, ShapeError
from solvers.validation import require_finite, shape_argument


class Matrix(LinearOperator):
    """``y = M x`` on flattened images; see :func:`recon.operators.from_matrix`."""

    torch_body = False

    def __init__(self, matrix: Any, in_shape: Sequence[int] | None, out_shape: Sequence[int] | None):
        self.matrix = _numeric_matrix(matrix)
        super().__init__(*matrix_shapes(self.matrix, in_shape, out_shape))
        entries = self.matrix if isinstance(self.matrix, np.ndarray) else self.matrix.data
        self.kind = "complex" if np.iscomplexobj(entries) else "any"
        self.nonnegative = self.kind == "any" and (entries.size == 0 or bool(entries.min() >= 0))

    def _apply(self, x: np.ndarray) -> np.ndarray:
        return self._multiply(self._like(x), x, self.in_shape, self.out_shape)

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        # conj(M^T conj(y)) = M^H y, and a transpose needs no copy of the matrix.
        return self._multiply(self._like(y).T, y.conj(), self.out_shape, self.in_shape).conj()

    def _like(self, array: np.ndarray) -> Any:
        return self._single if arrays.eps(array) > 1e-10 else self.matrix

    @cached_property
    def _single(self) -> Any:
        """The matrix in single precision: products in double would need twice the memory and time."""
        entries = self.matrix if isinstance(self.matrix, np.ndarray) else self.matrix.data
        single = entries.astype(np.complex64 if np.iscomplexobj(entries) else np.float32, copy=False)
        if isinstance(self.matrix, np.ndarray):
            return single
        return type(self.matrix)((single, self.matrix.indices, self.matrix.indptr), shape=self.matrix.shape)

    @staticmethod
    def _multiply(matrix: Any, array: np.ndarray, taken: tuple[int, ...], given: tuple[int, ...]) -> np.ndarray:
        batch = array.shape[: array.ndim - len(taken)]
        columns = array.reshape(-1, math.prod(taken)).T
        return np.ascontiguousarray((matrix @ columns).T, dtype=array.dtype).reshape(batch + given)

    def __repr__(self) -> str:
        return f"from_matrix({self.matrix.shape}: {self.in_shape} -> {self.out_shape})"


def _numeric_matrix(matrix: Any) -> Any:
    """Return a dense or CSR matrix of floating-point or complex numbers."""
    from scipy import sparse

    is_sparse = sparse.issparse(matrix)
    out = sparse.csr_array(matrix) if is_sparse else np.asarray(arrays.to_numpy(matrix))
    if out.ndim != 2 or 0 in out.shape:
        raise ShapeError(f"matrix has shape {out.shape}; expected (m, n) with no empty axis. Pass a matrix.")
    if out.dtype.kind not in "biufc":
        raise DTypeError(f"matrix has dtype {out.dtype}; expected numbers. Convert it, for example to float64.")
    if out.dtype not in (np.float32, np.float64, np.complex64, np.complex128):
        out = out.astype(np.complex128 if out.dtype.kind == "c" else np.float64)
    require_finite("matrix", out.data if is_sparse else out, "Replace them, or drop their rows.")
    return out


def matrix_shapes(
    matrix: Any, in_shape: Sequence[int] | None, out_shape: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the image and the measurement, held against the matrix's."""
    m, n = matrix.shape
    pair = []
    for name, shape, size in (("in_shape", in_shape, n), ("out_shape", out_shape, m)):
        axes = (int(size),) if shape is None else shape_argument(name, shape)
        if math.prod(axes) != size:
            raise ShapeError(
                f"{name} is {axes}, {math.prod(axes)} entries; expected {size}, for the matrix is {m} x {n}. "
                f"Pass a shape of {size} entries."
            )
        pair.append(axes)
    return pair[0], pair[1]
