"""Real images for operators that take complex ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator
from solvers import arrays
from solvers.arrays import Array


class RealImage(LinearOperator):
    """A real image taken for a complex one: ``y = x + 0i``. Its adjoint is the real part.

    ``A @ RealImage(shape)`` is ``A`` for images known to be real: k-space of a magnitude image, say. Half of the
    unknowns are gone, and bounds may be given. ``RealImage(shape).H @ B`` measures the real part of ``B x``, as a
    hologram does.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, in pixels.

    Raises
    ------
    ShapeError
        ``shape`` has no axis, or one of length 0.

    Examples
    --------
    >>> from recon.operators import CartesianMRI
    >>> A = CartesianMRI(np.eye(4)) @ RealImage((4, 4))
    >>> A(np.ones((4, 4))).dtype, A.adjoint(A(np.ones((4, 4)))).dtype
    (dtype('complex128'), dtype('float64'))
    """

    kind = "real"
    out_kind = "complex"
    nonnegative = True
    selects = True
    pointwise = True

    def __init__(self, shape: Sequence[int]):
        super().__init__(shape, shape)

    def _apply(self, x: Array) -> Array:
        return x  # the base makes it complex

    def _adjoint(self, y: Array) -> Array:
        return y.real.clone() if arrays.is_torch(y) else y.real.copy()

    def transfer(self) -> np.ndarray:
        return np.ones(self.in_shape, dtype=complex)

    def diagonal_gram(self) -> np.ndarray:
        return np.ones(self.in_shape)

    def norm(self) -> float:
        return 1.0

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        return b / (1.0 + rho)
