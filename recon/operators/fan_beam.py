"""Fan-beam tomography: line integrals from a point source to a flat or curved detector, and their exact adjoint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.operators import _fan_numba, _fan_torch
from recon.operators._fan_geometry import Fans, split_fans
from recon.operators._mean_response import of_projections
from recon.operators._planar_scan import (
    PlanarScan,
    angles_argument,
    cell_position,
    covering,
    detector_form,
    image_shape,
)
from solvers.errors import ArgumentError, DTypeError
from solvers.validation import positive_float, positive_int


class FanBeam(PlanarScan):
    r"""Line integrals of an image along the rays of a fan.

    .. math:: y_{k,d} = \int x(s_k + l \, (n_k \cos\gamma_d + e_k \sin\gamma_d)) \, dl, \qquad
        s_k = -source\_distance \cdot n_k - axis\_offset \cdot e_k

    with ``e = (cos t, sin t)`` along the detector and ``n = (-sin t, cos t)`` from the source to it, at the angle
    ``t = angles[k]``. Cell d stands ``u = (d - center) * detector_spacing`` from the central ray, so that
    ``tan(gamma) = u / (source_distance + detector_distance)`` on a flat detector and ``gamma`` itself is that ratio on
    one that is curved about the source.

    x runs to the right and y upwards from the middle of the image (row 0 is on top), and angles turn counter-clockwise:
    at angle 0 the source is below the image and cells count from left to right. As the source moves away this becomes
    :class:`ParallelBeam`.

    The integral is Joseph's, by linear interpolation where the ray crosses the rows of the image, or its columns if it
    is nearer to them. It is evaluated four times a pixel, and a cell reads between the two nearest of them. The adjoint
    uses the same weights.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    angles : array of float, or int
        Of the detector, in radians, in any order and range; an integer n stands for n equal steps over [0, 2 pi).
    source_distance : float
        From the source to the rotation axis, in the unit of ``spacing``; more than half the diagonal of the image.
    detector_distance : float
        From the rotation axis to the detector; 0 puts a virtual detector on the axis.
    detectors : int, optional
        Cells of the detector. By default as many as cover the image from every side, of the parity of its columns.
    detector_spacing : float, optional
        Distance of neighbouring cells, along the arc if curved. By default the shadow of a pixel at the axis.
    spacing : float
        Side of a pixel in your unit of length; integrals are in the image's unit times this length.
    center : float, optional
        Where the central ray, which is perpendicular to the detector, meets it, in cells from cell 0;
        ``(detectors - 1) / 2`` by default.
    axis_offset : float
        How far the rotation axis lies beside the central ray, in the direction of rising cells.
    detector : {"flat", "curved"}
        A straight line, or an arc about the source.

    Attributes
    ----------
    in_shape, out_shape : tuple of int
        ``(rows, columns)`` and ``(angles, detectors)``; leading axes of an argument are a batch.
    angles : ndarray
        Radians, float64, read-only.

    Raises
    ------
    ShapeError, DTypeError, ArgumentError, NonFiniteError, OptionError
        From the constructor, naming the argument.

    References
    ----------
    P. M. Joseph, "An improved algorithm for reprojecting rays through pixel images", IEEE Trans. Med. Imaging 1 (1982).

    Examples
    --------
    >>> A = FanBeam((64, 64), 90, source_distance=200.0, detector_distance=100.0)
    >>> y = A(np.ones((64, 64), np.float32))
    >>> y.shape, A.adjoint(y).shape
    ((90, 94), (64, 64))
    """

    costly = True

    def __init__(
        self,
        shape: tuple[int, int],
        angles: Any,
        *,
        source_distance: float,
        detector_distance: float,
        detectors: int | None = None,
        detector_spacing: float | None = None,
        spacing: float = 1.0,
        center: float | None = None,
        axis_offset: float = 0.0,
        detector: str = "flat",
    ):
        rows, columns = image_shape(shape)
        self.angles = angles_argument(angles, 2 * np.pi)
        self.spacing = positive_float("spacing", spacing)
        self.source_distance = _outside(source_distance, 0.5 * math.hypot(rows, columns) * self.spacing)
        self.detector_distance = positive_float("detector_distance", detector_distance, zero=True)
        self.axis_offset = _offset(axis_offset)
        self.detector = detector_form(detector)
        self.detector_spacing = (
            self.spacing * self._reach / self.source_distance
            if detector_spacing is None
            else positive_float("detector_spacing", detector_spacing)
        )
        self.in_shape = rows, columns
        self.detectors = (
            covering(2 * max(map(abs, self.shadow())), columns)
            if detectors is None
            else positive_int("detectors", detectors)
        )
        self.center = 0.5 * (self.detectors - 1) if center is None else cell_position(center)
        super().__init__(self.in_shape, (len(self.angles), self.detectors))
        self.fan_angles = self._fan_angles()
        source = self.source_distance, -self.axis_offset
        self.marching = split_fans(self.in_shape, self.angles, np.tan(self.fan_angles), source, self.spacing)

    @property
    def _reach(self) -> float:
        """Distance from the source to the detector."""
        return self.source_distance + self.detector_distance

    def shadow(self) -> tuple[float, float]:
        """Where the circle around the image begins and ends on the detector, in cells from the centre."""
        radius = 0.5 * math.hypot(*self.in_shape) * self.spacing
        axis = math.atan2(self.axis_offset, self.source_distance)
        half = math.asin(radius / math.hypot(self.source_distance, self.axis_offset))
        low, high = axis - half, axis + half
        if self.detector == "flat":
            low, high = math.tan(low), math.tan(high)
        return low * self._reach / self.detector_spacing, high * self._reach / self.detector_spacing

    def _fan_angles(self) -> np.ndarray:
        """Angle between each cell's ray and the central one."""
        ratio = (np.arange(self.detectors) - self.center) * (self.detector_spacing / self._reach)
        gamma = np.arctan(ratio) if self.detector == "flat" else ratio
        widest = float(np.abs(gamma).max())
        if widest >= 0.5 * np.pi:
            raise ArgumentError(
                f"the fan opens {np.rad2deg(widest):.0f} degrees to one side; expected less than 90. "
                "Check detectors, detector_spacing and center."
            )
        return gamma

    def _project(self, images: np.ndarray, g: Fans, y: np.ndarray) -> None:
        _fan_numba.project(images, g, y)

    def _collect(self, y: np.ndarray, g: Fans, shape: tuple[int, ...]) -> np.ndarray:
        return _fan_numba.back_project(y, g, shape)

    _project_torch = staticmethod(_fan_torch.project)
    _collect_torch = staticmethod(_fan_torch.collect)

    def smear(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        r"""Sum over views of ``weights[k]`` times the view's value where each pixel projects, linear between cells.

        .. math:: b_{ij} = \sum_k w_k \, (source\_distance / L_{ijk})^2 \, y_k(u_k(x_{ij}, y_{ij}))

        ``L`` is the distance of the pixel from the source, along the central ray for a flat detector and along the
        pixel's own for a curved one. The back-projection of :func:`recon.fbp`.
        """
        return _fan_numba.smear(self, y, np.asarray(weights, dtype=np.float64))

    def mean_response(self) -> np.ndarray:
        # A cell as it shows at the axis. What is nearer to the source in one view is farther from it in another.
        cell = self.detector_spacing * self.source_distance / self._reach
        return of_projections(self.in_shape, self.angles, self.spacing, cell)

    def _geometry(self) -> dict[str, Any]:
        names = ("source_distance", "detector_distance", "detectors", "detector_spacing", "spacing", "center")
        return {name: getattr(self, name) for name in (*names, "axis_offset", "detector")}


def _outside(source_distance: Any, radius: float) -> float:
    distance = positive_float("source_distance", source_distance)
    if distance <= radius:
        raise ArgumentError(
            f"source_distance is {distance:g}; expected more than half the diagonal of the image, {radius:g}, so that "
            "the source stays outside. Check its unit: it is that of spacing."
        )
    return distance


def _offset(offset: Any) -> float:
    if isinstance(offset, (bool, str)) or not hasattr(offset, "__float__"):
        raise DTypeError(f"axis_offset is {offset!r}; expected a number, a length. Pass 0 where the axis is centred.")
    if not np.isfinite(offset):
        raise ArgumentError(f"axis_offset is {offset}; expected a finite length. Pass 0 where the axis is centred.")
    return float(offset)
