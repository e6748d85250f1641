"""An operator of this library as scipy sees one: a matrix that is only multiplied with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator as ScipyLinearOperator

from solvers.errors import DTypeError


class ScipyView(ScipyLinearOperator):
    """``A`` on flattened images and measurements; several columns go through as one batch."""

    def __init__(self, operator: Any, dtype: Any):
        self.operator = operator
        super().__init__(view_dtype(operator, dtype), (math.prod(operator.out_shape), math.prod(operator.in_shape)))

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._product(self.operator, x.reshape(-1, 1), self.operator.in_shape)[:, 0]

    def _rmatvec(self, y: np.ndarray) -> np.ndarray:
        return self._product(self.operator.adjoint, y.reshape(-1, 1), self.operator.out_shape)[:, 0]

    def _matmat(self, x: np.ndarray) -> np.ndarray:
        return self._product(self.operator, x, self.operator.in_shape)

    def _rmatmat(self, y: np.ndarray) -> np.ndarray:
        return self._product(self.operator.adjoint, y, self.operator.out_shape)

    def _product(self, apply: Any, columns: np.ndarray, taken: tuple[int, ...]) -> np.ndarray:
        if self.operator.kind == "real" and np.iscomplexobj(columns):
            return self._product(apply, columns.real, taken) + 1j * self._product(apply, columns.imag, taken)
        images = np.ascontiguousarray(columns.T).reshape(-1, *taken)
        out = apply(images.astype(np.result_type(images, self.dtype), copy=False))
        return out.reshape(len(images), -1).T


def view_dtype(operator: Any, dtype: Any) -> np.dtype:
    """The dtype asked for, double precision of the operator's kind by default."""
    if operator.out_kind is not None:
        raise DTypeError(
            f"{operator!r} takes {operator.kind} images and gives {operator.out_kind} measurements; a matrix of scipy "
            "is real or complex on both sides. Use reconstruct, or the solvers of this library."
        )
    wanted = np.dtype(("complex128" if operator.kind == "complex" else "float64") if dtype is None else dtype)
    allowed = {"complex": "c", "real": "f"}.get(operator.kind, "fc")
    if wanted.kind not in allowed or wanted.itemsize // (2 if wanted.kind == "c" else 1) not in (4, 8):
        known = {"c": ["complex64", "complex128"], "f": ["float32", "float64"]}
        names = [name for kind in allowed for name in known[kind]]
        raise DTypeError(f"dtype is {wanted}; {operator!r} works in {' or '.join(names)}. Pass one of them.")
    return wanted
