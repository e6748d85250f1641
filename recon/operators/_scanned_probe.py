"""The field behind an object that a probe lights part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators.base import LinearOperator
from recon.operators.mri import CartesianMRI
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import require_finite, shape_argument


class ScannedProbe(LinearOperator):
    """``z_j = F(p x_j)``: the centred orthonormal transforms of parts of an image, each times a probe.

    Parameters
    ----------
    probe : array, shape (rows, columns)
    positions : array of int, shape (positions, 2)
    shape : tuple of int
        See :class:`recon.operators.Ptychography`.
    """

    kind = "complex"
    neighbours_alike = False

    def __init__(self, probe: Any, positions: Any, shape: Sequence[int]):
        shape = shape_argument("shape", shape)
        self.probe = _illumination(probe, shape)
        self.positions = _corners(positions, self.probe.shape, shape)
        super().__init__(shape, (len(self.positions), *self.probe.shape))
        # One position's field is a coil's k-space: the transform of a product.
        self._field = CartesianMRI(np.ones(self.probe.shape, bool), self.probe[None])
        self._light = Constant(abs(self.probe) ** 2)

    def _apply(self, x: Array) -> Array:
        return self._field(self.parts(x))[..., 0, :, :]

    def _adjoint(self, y: Array) -> Array:
        return self.together(self._field.adjoint(y[..., None, :, :]))

    def parts(self, x: Array) -> Array:
        """The lit parts of the image, on a new axis."""
        return arrays.namespace(x).stack([x[(..., *window)] for window in self._windows()], -3)

    def together(self, parts: Array) -> Array:
        """Adjoint of :meth:`parts`: the sum of all parts, each at its place."""
        x = arrays.zeros((*parts.shape[:-3], *self.in_shape), parts)
        for j, window in enumerate(self._windows()):
            x[(..., *window)] += parts[..., j, :, :]
        return x

    def diagonal_gram(self) -> np.ndarray:
        return self.together(np.broadcast_to(self._light.double, self.out_shape))

    def _windows(self) -> Iterator[tuple[slice, slice]]:
        rows, columns = self.probe.shape
        for row, column in self.positions.tolist():
            yield slice(row, row + rows), slice(column, column + columns)


def _illumination(probe: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = arrays.to_numpy(probe)
    if values.dtype.kind not in "biufc":
        raise DTypeError(f"probe has dtype {values.dtype}; expected complex numbers. Convert it to complex64.")
    if len(shape) != 2 or values.ndim != 2 or any(k > n for k, n in zip(values.shape, shape, strict=True)):
        raise ShapeError(
            f"probe has shape {values.shape} and shape is {shape}; expected two axes each, and a probe that fits into "
            "the image. Crop the probe, or enlarge the image."
        )
    require_finite("probe", values, "Set what lies outside the illumination to zero: np.nan_to_num(probe).")
    if not values.any():
        raise ArgumentError("probe is zero everywhere; expected some light. Pass the measured illumination.")
    return values.astype(np.complex128)


def _corners(positions: Any, probe: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(positions)
    if values.dtype.kind not in "iu":
        raise DTypeError(f"positions has dtype {values.dtype}; expected integers. Pass positions.round().astype(int).")
    if values.ndim != 2 or values.shape[1] != 2 or len(values) == 0:
        raise ShapeError(f"positions has shape {values.shape}; expected (positions, 2). Pass rows and columns.")
    outside = ((values < 0) | (values + probe > shape)).any(axis=1)
    if outside.any():
        j = int(np.argmax(outside))
        raise ArgumentError(
            f"positions[{j}] is {tuple(values[j].tolist())}: a probe of {probe} there leaves the image of {shape}. "
            "Shift the positions, or enlarge the image."
        )
    return values.astype(np.int64)
