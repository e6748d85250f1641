"""What scans of volumes share: batches, memory, arguments and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators import _cone_numba, _cone_torch
from recon.operators._cone_geometry import Rays
from recon.operators._planar_scan import cell_position
from recon.operators.base import LinearOperator
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import positive_float, positive_int, shape_argument


class VolumeScan(LinearOperator):
    """Projections ``(angles, detector rows, detector columns)`` of a volume ``(slices, rows, columns)``."""

    kind = "real"
    torch_body = False
    nonnegative = True
    angles: np.ndarray
    detectors: tuple[int, int]
    rays: Rays

    def _apply(self, x: np.ndarray) -> np.ndarray:
        volumes = x.reshape(-1, *self.in_shape)
        y = np.empty((len(volumes), *self.out_shape), x.dtype)
        for volume, out in zip(volumes, y, strict=True):
            _cone_numba.project(volume, self.rays, out)
        return y.reshape(x.shape[:-3] + self.out_shape)

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        scans = y.reshape(-1, *self.out_shape)
        x = np.empty((len(scans), *self.in_shape), y.dtype)
        for scan, out in zip(scans, x, strict=True):
            _cone_numba.back_project(scan, self.rays, out)
        return x.reshape(y.shape[:-3] + self.in_shape)

    def _apply_torch(self, x: Any) -> Any:
        """The same on tensors, without numba, for devices other than the CPU; gradients are ``recon.autograd``'s."""
        volumes = x.reshape(-1, *self.in_shape)
        y = x.new_zeros((len(volumes), *self.out_shape))
        _cone_torch.project(volumes, self.rays, y)
        return y.reshape(*x.shape[:-3], *self.out_shape)

    def _adjoint_torch(self, y: Any) -> Any:
        scans = y.reshape(-1, *self.out_shape)
        x = y.new_zeros((len(scans), *self.in_shape))
        _cone_torch.back_project(scans, self.rays, x)
        return x.reshape(*y.shape[:-3], *self.in_shape)

    def _shape_remedy(self, name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> str:
        if name == "x":
            return f"Pass a volume of shape {expected}, or shape={given[-3:]} to {type(self).__name__}."
        if len(given) >= 3 and (given[-2], given[-3], given[-1]) == expected:
            return f"Projections are (angles, detector rows, detector columns). Pass np.swapaxes({name}, -3, -2)."
        if len(given) >= 3 and given[-2:] == expected[-2:]:
            return f"Pass {given[-3]} angles."
        if len(given) >= 3 and given[-3] == expected[-3]:
            return f"Pass detectors={given[-2:]}."
        return "Projections are (angles, detector rows, detector columns)."

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(shape={self.in_shape}, angles={len(self.angles)}, detectors={self.detectors})"


def volume_shape(shape: Any) -> tuple[int, int, int]:
    """Slices, rows and columns."""
    axes = shape_argument("shape", shape)
    if len(axes) != 3:
        raise ShapeError(f"shape is {axes}; expected the slices, rows and columns of one volume. Pass three numbers.")
    return axes[0], axes[1], axes[2]


def lengths(name: str, value: Any, axes: tuple[str, ...]) -> tuple[float, ...]:
    """One positive length for each of the axes; a number stands for all of them."""
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str):
        return (positive_float(name, value),) * len(axes)
    _require_count(name, value, axes)
    return tuple(positive_float(f"{name}[{k}]", length) for k, length in enumerate(value))


def cell_counts(detectors: Any) -> tuple[int, int]:
    """Rows and columns of the detector."""
    _require_count("detectors", detectors, ("rows", "columns"))
    rows, columns = (positive_int(f"detectors[{k}]", n) for k, n in enumerate(detectors))
    return rows, columns


def detector_center(center: Any, detectors: tuple[int, int]) -> tuple[float, float]:
    """Row and column of the central ray, in cells; the middle of the detector by default."""
    if center is None:
        return 0.5 * (detectors[0] - 1), 0.5 * (detectors[1] - 1)
    _require_count("center", center, ("row", "column"))
    row, column = (cell_position(position) for position in center)
    return row, column


def finite_number(name: str, value: Any) -> float:
    """A finite number of either sign."""
    if isinstance(value, (bool, np.bool_, str)) or not hasattr(value, "__float__") or np.ndim(value):
        raise DTypeError(f"{name} is {value!r}; expected a number. Pass a plain number.")
    if not np.isfinite(value):
        raise ArgumentError(f"{name} is {value}; expected a finite number. Pass such a number.")
    return float(value)


def _require_count(name: str, value: Any, axes: tuple[str, ...]) -> None:
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, str) or np.shape(value) != (len(axes),):
        wanted = ", ".join(axes)
        raise ShapeError(f"{name} is {value!r}; expected {len(axes)} numbers: {wanted}. Pass a tuple ({wanted}).")
