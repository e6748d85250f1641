"""Parallel-beam tomography: the X-ray transform of an image, and its exact adjoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recon.operators import _marching_numba, _marching_torch
from recon.operators._marching import PHASES, split_views
from recon.operators.base import LinearOperator
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError
from solvers.validation import positive_float, positive_int, shape_argument

_SCRATCH_BYTES = 2**26
"""Working memory of one kernel launch; longer batches are taken in pieces."""


class ParallelBeam(LinearOperator):
    r"""Line integrals of an image along parallel rays.

    .. math:: y_{k,d} = \int x(u_d \cos\theta_k - l \sin\theta_k,\; u_d \sin\theta_k + l \cos\theta_k) \, dl,
        \qquad u_d = (d - center) \cdot detector\_spacing

    The rotation axis passes through the middle of the image, x runs to the right and y upwards (row 0 is on top), and
    angles turn counter-clockwise: at angle 0 a view holds the sums of the columns, from left to right. scikit-image's
    ``radon`` (odd sizes) and ASTRA turn the same way.

    The integral is Joseph's: along the rows, or the columns if the ray is nearer to them, the image is interpolated
    linearly where the ray crosses. It is evaluated four times a pixel of that row, and a cell reads between the two
    nearest of them, which makes no difference at the scale of a pixel (a relative 1e-4 for smooth images) and lets the
    computer run over contiguous memory. The adjoint uses the same weights.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    angles : array of float, or int
        Directions in radians, in any order and range; an integer n stands for n equal steps over [0, pi).
    detectors : int, optional
        Cells of the detector. By default as many as cover the diagonal of the image, of the parity of its columns, so
        that at angle 0 each column has its cell.
    spacing : float
        Side of a pixel in your unit of length; integrals are in the image's unit times this length.
    detector_spacing : float, optional
        Distance of neighbouring cells in the same unit; ``spacing`` by default.
    center : float, optional
        Where the rotation axis meets the detector, in cells from cell 0; ``(detectors - 1) / 2`` by default.
        :func:`recon.preprocess.find_center` measures it.

    Attributes
    ----------
    in_shape, out_shape : tuple of int
        ``(rows, columns)`` and ``(angles, detectors)``; leading axes of an argument are a batch.
    angles : ndarray
        Radians, float64, read-only.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, NonFiniteError
        From the constructor, naming the argument.

    References
    ----------
    P. M. Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med. Imaging 1 (1982).

    Examples
    --------
    >>> A = ParallelBeam((64, 64), 90)
    >>> y = A(np.ones((64, 64), np.float32))
    >>> y.shape, A.adjoint(y).shape
    ((90, 92), (64, 64))
    """

    kind = "real"
    torch_body = False
    nonnegative = True

    def __init__(
        self,
        shape: tuple[int, int],
        angles: Any,
        *,
        detectors: int | None = None,
        spacing: float = 1.0,
        detector_spacing: float | None = None,
        center: float | None = None,
    ):
        height, width = _image_shape(shape)
        self.angles = _angles(angles)
        self.spacing = positive_float("spacing", spacing)
        self.detector_spacing = (
            self.spacing if detector_spacing is None else positive_float("detector_spacing", detector_spacing)
        )
        self.detectors = (
            _covering(height, width, self.detector_spacing / self.spacing)
            if detectors is None
            else positive_int("detectors", detectors)
        )
        self.center = 0.5 * (self.detectors - 1) if center is None else _center(center)
        super().__init__((height, width), (len(self.angles), self.detectors))
        self.marching = split_views(
            self.in_shape, self.angles, self.detectors, self.spacing, self.detector_spacing, self.center
        )

    def _apply(self, x: np.ndarray) -> np.ndarray:
        images = x.reshape(-1, *self.in_shape)
        y = np.empty((len(images), *self.out_shape), x.dtype)
        for piece in self._pieces(images):
            for g, turned in zip(self.marching, (images, images.swapaxes(1, 2)), strict=True):
                _marching_numba.project(turned[piece], g, y[piece])
        return y.reshape(x.shape[:-2] + self.out_shape)

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        return self._back_project(y)

    def smear(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        r"""Sum over views of ``weights[k]`` times the view's value where each pixel projects, linear between cells.

        .. math:: b_{ij} = \sum_k w_k \, y_k(x_{ij} \cos\theta_k + y_{ij} \sin\theta_k)

        The back-projection of :func:`recon.fbp`: unlike the adjoint it has no pattern where the weights that Joseph's
        rays give to neighbouring pixels differ.
        """
        return self._back_project(y, np.ascontiguousarray(weights, dtype=np.float64))

    def _back_project(self, y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        sinograms = np.ascontiguousarray(y.reshape(-1, *self.out_shape))
        if not sinograms.flags.writeable:
            sinograms = sinograms.copy()  # or numba compiles everything once more for read-only memory
        x = np.empty((len(sinograms), *self.in_shape), y.dtype)
        for piece in self._pieces(sinograms):
            along_rows, along_columns = (
                _marching_numba.back_project(sinograms[piece], g, shape, weights)
                for g, shape in zip(self.marching, (self.in_shape, self.in_shape[::-1]), strict=True)
            )
            np.add(along_rows, along_columns.swapaxes(1, 2), out=x[piece])
        return x.reshape(y.shape[:-2] + self.in_shape)

    def _pieces(self, batch: np.ndarray) -> list[slice]:
        """Slices of a batch whose scratch arrays fit into the working memory."""
        fine = max(len(g.views) * PHASES * (g.width + 64) for g in self.marching)
        padded = (max(self.in_shape) + 64) ** 2
        length = max(1, _SCRATCH_BYTES // ((fine + padded) * batch.itemsize))
        return [slice(first, first + length) for first in range(0, len(batch), length)]

    def _apply_torch(self, x: Any) -> Any:
        """The same on tensors, without numba, for devices other than the CPU; gradients are ``recon.autograd``'s."""
        images = x.reshape(-1, *self.in_shape)
        y = x.new_zeros((len(images), *self.out_shape))
        for g, turned in zip(self.marching, (images, images.transpose(1, 2)), strict=True):
            _marching_torch.project(turned, g, y)
        return y.reshape(*x.shape[:-2], *self.out_shape)

    def _adjoint_torch(self, y: Any) -> Any:
        sinograms = y.reshape(-1, *self.out_shape)
        x = y.new_zeros((len(sinograms), *self.in_shape))
        for g, turned in zip(self.marching, (x, x.transpose(1, 2)), strict=True):
            _marching_torch.collect(sinograms, g, turned)
        return x.reshape(*y.shape[:-2], *self.in_shape)

    def _shape_remedy(self, name: str, given: tuple[int, ...], expected: tuple[int, ...]) -> str:
        if name == "x":
            return f"Pass an image of shape {expected}, or shape={given[-2:]} to ParallelBeam."
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
        return f"ParallelBeam(shape={self.in_shape}, angles={len(self.angles)}, detectors={self.detectors})"

    def __reduce__(self) -> tuple[Callable[..., ParallelBeam], tuple[Any, ...]]:
        # Rebuilt from its arguments: small, and read-only stays read-only.
        lengths = self.detectors, self.spacing, self.detector_spacing, self.center
        return _rebuild, (type(self), self.in_shape, self.angles, *lengths)


def _rebuild(
    cls: type[ParallelBeam],
    shape: tuple[int, int],
    angles: np.ndarray,
    detectors: int,
    spacing: float,
    detector_spacing: float,
    center: float,
) -> ParallelBeam:
    return cls(shape, angles, detectors=detectors, spacing=spacing, detector_spacing=detector_spacing, center=center)


def _image_shape(shape: Any) -> tuple[int, int]:
    axes = shape_argument("shape", shape)
    if len(axes) != 2:
        raise ShapeError(f"shape is {axes}; expected the rows and columns of one image. Pass volumes as a batch.")
    return axes[0], axes[1]


def _angles(angles: Any) -> np.ndarray:
    """Radians as a read-only float64 vector."""
    if hasattr(angles, "__index__") and np.ndim(angles) == 0:
        out = np.arange(count := positive_int("angles", angles)) * (np.pi / count)
    else:
        try:
            out = np.array(angles)
        except ValueError:
            raise DTypeError("angles is a ragged sequence; expected a vector of radians. Pass a flat list.") from None
        if out.dtype.kind not in "iuf":
            raise DTypeError(f"angles has dtype {out.dtype}; expected real numbers in radians. Pass a list of floats.")
        out = out.astype(np.float64)
    if out.ndim != 1 or not out.size:
        raise ShapeError(f"angles has shape {out.shape}; expected a vector of at least one angle. Pass angles.ravel().")
    bad = np.flatnonzero(~np.isfinite(out))
    if bad.size:
        raise NonFiniteError(
            f"angles holds {bad.size} NaN or infinite values, the first at index {bad[0]}; expected finite radians. "
            "Remove them together with their rows of the sinogram."
        )
    out.setflags(write=False)
    return out


def _center(center: Any) -> float:
    if isinstance(center, (bool, str)) or not hasattr(center, "__float__"):
        raise DTypeError(f"center is {center!r}; expected a number, in cells. Pass recon.preprocess.find_center(...).")
    if not np.isfinite(center):
        raise ArgumentError(f"center is {center}; expected a finite number, in cells. Pass (detectors - 1) / 2.")
    return float(center)


def _covering(height: int, width: int, ratio: float) -> int:
    """The least number of cells that covers the diagonal and has the parity of the width."""
    count = int(np.ceil(np.hypot(height, width) / ratio))
    return count + (count - width) % 2
