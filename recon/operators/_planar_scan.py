"""What scans of one plane share: batches, the two marching directions, angles and their errors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np

from recon.operators.base import LinearOperator
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OptionError, ShapeError, suggestion
from solvers.validation import positive_int, shape_argument

SCRATCH_BYTES = 2**26
"""Working memory of one kernel launch; longer batches are taken in pieces."""


DETECTORS = "flat", "curved"


class PlanarScan(LinearOperator):
    """Projections ``(angles, detectors)`` of an image ``(rows, columns)``.

    A subclass has ``marching``: the rays that march along the rows of the image, and those that march along the rows of
    its transpose. It projects and back-projects one of the two.
    """

    kind = "real"
    torch_body = False
    nonnegative = True
    angles: np.ndarray
    detectors: int
    center: float
    marching: tuple[Any, Any]

    def _project(self, images: np.ndarray, g: Any, y: np.ndarray) -> None:
        """Write the rays ``g`` of ``images`` into ``y``."""
        raise NotImplementedError

    def _collect(self, y: np.ndarray, g: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Images of ``shape`` from the rays ``g``: the adjoint of :meth:`_project`."""
        raise NotImplementedError

    _project_torch: Callable[[Any, Any, Any], None]
    """:meth:`_project` of tensors, on their device."""

    _collect_torch: Callable[[Any, Any, Any], None]
    """Adds what :meth:`_collect` makes of tensors to its last argument."""

    def _geometry(self) -> dict[str, Any]:
        """Keywords that make this scan again, from its shape and angles."""
        raise NotImplementedError

    def widened(self, left: int, right: int) -> Self:
        """The same scan with so many more cells at the ends of the detector."""
        wide = {"detectors": left + self.detectors + right, "center": self.center + left}
        make: Callable[..., Self] = type(self)
        return make(self.in_shape, self.angles, **{**self._geometry(), **wide})

    def rows(self, indices: np.ndarray) -> Self:
        """The same scan of some of the views alone."""
        make: Callable[..., Self] = type(self)
        return make(self.in_shape, self.angles[indices], **self._geometry())

    def _scratch(self) -> int:
        """Elements of working memory for one image."""
        return (max(self.in_shape) + 64) ** 2

    def _apply(self, x: np.ndarray) -> np.ndarray:
        images = x.reshape(-1, *self.in_shape)
        y = np.empty((len(images), *self.out_shape), x.dtype)
        for piece in self._pieces(images):
            for g, turned in zip(self.marching, (images, images.swapaxes(1, 2)), strict=True):
                self._project(turned[piece], g, y[piece])
        return y.reshape(x.shape[:-2] + self.out_shape)

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        return self._back_project(y, self._collect)

    def _back_project(
        self, y: np.ndarray, collect: Callable[[np.ndarray, Any, tuple[int, ...]], np.ndarray]
    ) -> np.ndarray:
        """Sum over the marching directions of what ``collect`` makes of their rays."""
        sinograms = plain(y.reshape(-1, *self.out_shape))
        x = np.empty((len(sinograms), *self.in_shape), y.dtype)
        along_rows, along_columns = self.marching
        for piece in self._pieces(sinograms):
            x[piece] = collect(
                sinograms[piece], along_rows, self.in_shape
            )  # one after the other, to hold one at a time
            x[piece] += collect(sinograms[piece], along_columns, self.in_shape[::-1]).swapaxes(1, 2)
        return x.reshape(y.shape[:-2] + self.in_shape)

    def _apply_torch(self, x: Any) -> Any:
        """The same on tensors, without numba, for devices other than the CPU; gradients are ``recon.autograd``'s."""
        images = x.reshape(-1, *self.in_shape)
        y = x.new_zeros((len(images), *self.out_shape))
        for g, turned in zip(self.marching, (images, images.transpose(1, 2)), strict=True):
            self._project_torch(turned, g, y)
        return y.reshape(*x.shape[:-2], *self.out_shape)

    def _adjoint_torch(self, y: Any) -> Any:
        sinograms = y.reshape(-1, *self.out_shape)
        x = y.new_zeros((len(sinograms), *self.in_shape))
        for g, turned in zip(self.marching, (x, x.transpose(1, 2)), strict=True):
            self._collect_torch(sinograms, g, turned)
        return x.reshape(*y.shape[:-2], *self.in_shape)

    def _pieces(self, batch: np.ndarray) -> list[slice]:
        """Slices of a batch whose scratch arrays fit into the working memory."""
        length = max(1, SCRATCH_BYTES // (self._scratch() * batch.itemsize))
        return [slice(first, first + length) for first in range(0, len(batch), length)]

    def _shape_remedy(self, name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> str:
        if name == "x":
            return f"Pass an image of shape {expected}, or shape={given[-2:]} to {type(self).__name__}."
        if given[-2:] == expected[::-1]:
            return "A sinogram is (angles, detectors). Pass y with its last two axes exchanged."
        if len(given) > 2 and (given[-3], given[-1]) == expected:
            return f"Leading axes are a batch of sinograms. Pass np.moveaxis({name}, -2, 0)."
        if len(given) >= 2 and given[-1] == expected[-1]:
            return f"Pass {given[-2]} angles."
        if len(given) >= 2 and given[-2] == expected[-2]:
            return f"Pass detectors={given[-1]}."
        return "Pass one row of detectors for each angle."

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(shape={self.in_shape}, angles={len(self.angles)}, detectors={self.detectors})"

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[Any, ...]]:
        # Rebuilt from its arguments: small, and read-only stays read-only.
        return partial(type(self), **self._geometry()), (self.in_shape, self.angles)


def plain(array: np.ndarray) -> np.ndarray:
    """Contiguous and writeable: numba would compile everything once more for read-only memory."""
    array = np.ascontiguousarray(array)
    return array if array.flags.writeable else array.copy()


def image_shape(shape: Any) -> tuple[int, int]:
    """Rows and columns."""
    axes = shape_argument("shape", shape)
    if len(axes) != 2:
        raise ShapeError(f"shape is {axes}; expected the rows and columns of one image. Pass volumes as a batch.")
    return axes[0], axes[1]


def angles_argument(angles: Any, whole: float) -> np.ndarray:
    """Radians as a read-only float64 vector; an integer stands for so many equal steps over ``[0, whole)``."""
    if hasattr(angles, "__index__") and np.ndim(angles) == 0:
        out = np.arange(count := positive_int("angles", angles)) * (whole / count)
    else:
        out = _vector(angles)
    if out.ndim != 1 or not out.size:
        raise ShapeError(f"angles has shape {out.shape}; expected a vector of at least one angle. Pass angles.ravel().")
    bad = np.flatnonzero(~np.isfinite(out))
    if bad.size:
        raise NonFiniteError(
            f"angles holds {bad.size} NaN or infinite values, the first at index {bad[0]}; expected finite radians. "
            "Remove them together with their rows of the sinogram."
        )
    _warn_of_degrees(out)
    out.setflags(write=False)
    return out


def _vector(angles: Any) -> np.ndarray:
    try:
        out = np.array(angles)
    except ValueError:
        raise DTypeError("angles is a ragged sequence; expected a vector of radians. Pass a flat list.") from None
    if out.dtype.kind not in "iuf":
        raise DTypeError(f"angles has dtype {out.dtype}; expected real numbers in radians. Pass a list of floats.")
    return out.astype(np.float64)


def _warn_of_degrees(angles: np.ndarray) -> None:
    """Degrees go far beyond two turns of radians, in round numbers or over a round range."""
    largest = float(np.abs(angles).max())
    if largest <= 4 * math.pi:
        return
    reach = np.ptp(angles)
    ranges = np.array([reach, reach * angles.size / max(1, angles.size - 1)]) / 90  # with and without the last step
    if np.mean(_whole(8 * angles)) > 0.9 or (_whole(ranges) & (ranges > 0.5)).any():
        warnings.warn(
            f"angles reach {largest:g}, which looks like degrees; expected radians. Pass np.deg2rad(angles).",
            stacklevel=4,  # where the operator is made
        )


def _whole(numbers: np.ndarray) -> np.ndarray:
    return np.abs(numbers - np.rint(numbers)) < 1e-4


def cell_position(center: Any) -> float:
    """A position on the detector, in cells."""
    if isinstance(center, (bool, str)) or not hasattr(center, "__float__"):
        raise DTypeError(f"center is {center!r}; expected a number, in cells. Pass recon.preprocess.find_center(...).")
    if not np.isfinite(center):
        raise ArgumentError(f"center is {center}; expected a finite number, in cells. Pass (detectors - 1) / 2.")
    return float(center)


def covering(length: float, columns: int) -> int:
    """The least number of cells that covers ``length`` cells and has the parity of the image's columns."""
    count = math.ceil(length)
    return count + (count - columns) % 2


def detector_form(detector: Any) -> str:
    """Whether the detector of a point source is flat or curved about it."""
    if detector not in DETECTORS:
        raise OptionError(
            f"detector is {detector!r}; expected one of {', '.join(DETECTORS)}.{suggestion(str(detector), DETECTORS)}"
        )
    return str(detector)
