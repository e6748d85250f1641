"""Parallel-beam tomography of volumes: slices by the planar projector, and tilted rays (laminography)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from recon.operators._cone_geometry import parallel_rays
from recon.operators._cone_scan import VolumeScan, cell_counts, detector_center, finite_number, lengths, volume_shape
from recon.operators._planar_scan import angles_argument, covering
from recon.operators.parallel_beam import ParallelBeam
from solvers.arrays import Array
from solvers.errors import ArgumentError


class ParallelBeam3D(VolumeScan):
    r"""Line integrals of a volume along parallel rays, as an area detector records them.

    .. math:: y_{k,r,c} = \int x(u_c \, e_k + v_r \, f_k + l \, n_k) \, dl

    with :math:`e_k = (\cos\theta_k, \sin\theta_k, 0)` along the columns of the detector,
    :math:`n_k = (-\sin\theta_k \cos\phi, \cos\theta_k \cos\phi, \sin\phi)` along the rays and
    :math:`f_k = e_k \times n_k`, upwards along the rows. The axis of rotation is z, through the middle of the volume;
    slices and rows are numbered upwards, along z, and within a slice all is as in :class:`ParallelBeam`.

    Without ``tilt``, every slice is projected to a row of its own by :class:`ParallelBeam`. A tilt raises the rays out
    of the slices (laminography of flat objects); the volume is then also interpolated linearly between slices.

    Parameters
    ----------
    shape : (int, int, int)
        Slices, rows and columns of the volume.
    angles : array of float, or int
        Directions in radians, in any order and range; an integer n stands for n equal steps over [0, pi), or over
        [0, 2 pi) with a tilt, where opposite views differ.
    detectors : (int, int), optional
        Rows and columns of the detector. By default as many as cover the volume.
    spacing : float or (float, float, float)
        Size of a voxel along slices, rows and columns; integrals are in the volume's unit times this length.
    detector_spacing : float or (float, float), optional
        Distance of neighbouring rows and columns of cells; that of slices and columns by default.
    center : (float, float), optional
        Row and column, in cells from cell (0, 0), that the ray through the middle of the volume meets; the middle by
        default.
    tilt : float
        The angle phi between the rays and the slices, in radians, at most pi / 4.

    Attributes
    ----------
    in_shape, out_shape : tuple of int
        ``(slices, rows, columns)`` and ``(angles, detector rows, detector columns)``; leading axes of an argument are a
        batch.
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
    >>> A = ParallelBeam3D((16, 24, 24), 30, tilt=np.pi / 6)
    >>> y = A(np.ones((16, 24, 24), np.float32))
    >>> y.shape, A.adjoint(y).shape
    ((30, 32, 34), (16, 24, 24))
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        angles: Any,
        *,
        detectors: tuple[int, int] | None = None,
        spacing: float | tuple[float, float, float] = 1.0,
        detector_spacing: float | tuple[float, float] | None = None,
        center: tuple[float, float] | None = None,
        tilt: float = 0.0,
    ):
        axes = volume_shape(shape)
        self.tilt = _tilt(tilt)
        self.angles = angles_argument(angles, 2 * np.pi if self.tilt else np.pi)
        self.spacing = lengths("spacing", spacing, ("slices", "rows", "columns"))
        given = (self.spacing[0], self.spacing[2]) if detector_spacing is None else detector_spacing
        self.detector_spacing = lengths("detector_spacing", given, ("rows", "columns"))
        self.detectors = self._covering(axes) if detectors is None else cell_counts(detectors)
        self.center = detector_center(center, self.detectors)
        super().__init__(axes, (len(self.angles), *self.detectors))
        self.plane = self._plane()
        if self.plane is None:
            u = (np.arange(self.detectors[1]) - self.center[1]) * self.detector_spacing[1]
            rows = -self.center[0] * self.detector_spacing[0], self.detector_spacing[0]
            self.rays = parallel_rays(axes, self.spacing, self.angles, self.tilt, u, rows)

    def _plane(self) -> ParallelBeam | None:
        """The projector of a slice, where every slice has its row."""
        height, depth, width = self.spacing
        rows = self.detectors[0] == self.in_shape[0] and self.center[0] == 0.5 * (self.in_shape[0] - 1)
        if self.tilt or not rows or self.detector_spacing[0] != height or depth != width:
            return None
        return ParallelBeam(
            (self.in_shape[1], self.in_shape[2]),
            self.angles,
            detectors=self.detectors[1],
            spacing=width,
            detector_spacing=self.detector_spacing[1],
            center=self.center[1],
        )

    def _apply(self, x: np.ndarray) -> np.ndarray:
        if self.plane is None:
            return super()._apply(x)
        return np.ascontiguousarray(self.plane._apply(x).swapaxes(-3, -2))

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        if self.plane is None:
            return super()._adjoint(y)
        return self.plane._adjoint(y.swapaxes(-3, -2))

    def gram(self, x: Array) -> Array:
        """The normal operator ``A^H A x``, slice by slice where every slice has its row of the detector."""
        return super().gram(x) if self.plane is None else self.plane.gram(self._admit(x, "x", self.in_shape))

    def _apply_torch(self, x: Any) -> Any:
        if self.plane is None:
            return super()._apply_torch(x)
        return self.plane._apply_torch(x).swapaxes(-3, -2)

    def _adjoint_torch(self, y: Any) -> Any:
        if self.plane is None:
            return super()._adjoint_torch(y)
        return self.plane._adjoint_torch(y.swapaxes(-3, -2))

    def _covering(self, shape: tuple[int, int, int]) -> tuple[int, int]:
        """As many cells as cover the volume, of the parity of its slices and columns."""
        height, depth, width = (n * h for n, h in zip(shape, self.spacing, strict=True))
        diagonal = math.hypot(depth, width)
        rows = (height * math.cos(self.tilt) + diagonal * math.sin(abs(self.tilt))) / self.detector_spacing[0]
        return covering(rows - 1e-9, shape[0]), covering(diagonal / self.detector_spacing[1], shape[2])

    def __reduce__(self) -> tuple[Callable[..., ParallelBeam3D], tuple[Any, ...]]:
        # Rebuilt from its arguments: small, and read-only stays read-only.
        names = ("detectors", "spacing", "detector_spacing", "center", "tilt")
        return partial(type(self), **{name: getattr(self, name) for name in names}), (self.in_shape, self.angles)


def _tilt(tilt: Any) -> float:
    value = finite_number("tilt", tilt)
    if abs(value) > 0.25 * math.pi + 1e-12:
        raise ArgumentError(
            f"tilt is {value:g}; expected radians between -pi / 4 and pi / 4. Pass np.deg2rad(tilt) for degrees; with "
            "steeper rays, turn the volume."
        )
    return value
