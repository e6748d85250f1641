"""Closed forms of operators whose measurements do not overlap: ``A A^H`` is diagonal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators.base import LinearOperator
from recon.operators.pointwise import Identity
from solvers.arrays import Array


class OrthogonalRows(LinearOperator):
    """An operator with orthogonal rows: ``A A^H = diag(d)``; a subclass gives ``d``.

    The eigenvalues of ``A^H A`` are then ``d`` and zeros, and by Woodbury's identity
    ``(A^H A + rho I)^-1 b = (b - A^H (A b / (d + rho))) / rho``.
    """

    def outer_gram(self) -> np.ndarray:
        """The diagonal of ``A A^H``; broadcasts to ``out_shape``."""
        raise NotImplementedError

    def norm(self) -> float:
        return math.sqrt(float(self.outer_gram().max()))

    def factors(self) -> tuple[LinearOperator, LinearOperator]:
        return self, Identity(self.in_shape)

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        d = Constant(self.outer_gram()).like(b)
        return (b - self.adjoint(self(b) / (d + measured_shift(self, rho)))) / rho


def measured_shift(operator: LinearOperator, rho: Any) -> Any:
    """A shift that broadcasts against images, made to broadcast against measurements."""
    if not getattr(rho, "ndim", 0):
        return rho
    batch = tuple(rho.shape[: max(rho.ndim - len(operator.in_shape), 0)])
    return rho.reshape(batch + (1,) * len(operator.out_shape))
