"""Finite differences as a forward operator: images measured by their gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from priors.differences import Gradient
from recon.operators.base import LinearOperator
from solvers.arrays import Array
from solvers.errors import ShapeError
from solvers.validation import shape_argument


class FiniteDifference(LinearOperator):
    r"""Forward differences along every axis: ``y[d, i] = (x[i + 1 along d] - x[i]) / spacing_d``.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, one to three axes.
    periodic : bool
        Whether the last pixel's neighbour is the first one; otherwise the last difference is 0.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels along each axis, in your unit of length; ``y`` is in the image's unit over it.
        None is 1.

    Raises
    ------
    ShapeError
        ``shape`` has more than three axes.
    DTypeError, ArgumentError
        ``spacing`` is not a positive number for each axis.

    Examples
    --------
    >>> A = FiniteDifference((1, 3))
    >>> A(np.array([[1.0, 2.0, 4.0]]))[1]
    array([[1., 2., 0.]])
    """

    def __init__(self, shape: Sequence[int], periodic: bool = False, spacing: float | Sequence[float] | None = None):
        shape = shape_argument("shape", shape)
        if len(shape) > 3:
            raise ShapeError(
                f"shape is {shape}; expected one to three axes. Leave the leading ones out: they are a batch."
            )
        super().__init__(shape, (len(shape), *shape))
        self.gradient = Gradient(len(shape), spacing, periodic)

    def _apply(self, x: Array) -> Array:
        return self.gradient(x)

    def _adjoint(self, y: Array) -> Array:
        return self.gradient.adjoint(y)

    def fourier_gram(self) -> np.ndarray | None:
        return self.gradient.fourier_gram(self.in_shape)

    def norm(self) -> float:
        # The eigenvalues of A^T A are sums of 4 sin^2(pi k / n), or of 4 sin^2(pi k / 2n) without wrap.
        total = 0.0
        for n, scale in zip(self.in_shape, self.gradient.scales, strict=True):
            highest = (n // 2) / n if self.gradient.periodic else (n - 1) / (2 * n)
            total += (2 * scale * math.sin(math.pi * highest)) ** 2
        return math.sqrt(total)

    def __repr__(self) -> str:
        return f"FiniteDifference({self.in_shape}, periodic={self.gradient.periodic})"
