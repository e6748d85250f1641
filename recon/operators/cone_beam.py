"""Cone-beam tomography, circular and helical: the X-ray transform of a volume, and its exact adjoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from recon.operators._cone_geometry import diverging_rays
from recon.operators._cone_scan import VolumeScan, cell_counts, detector_center, finite_number, lengths, volume_shape
from recon.operators._planar_scan import angles_argument, covering, detector_form
from solvers.errors import ArgumentError
from solvers.validation import positive_float


class ConeBeam(VolumeScan):
    r"""Line integrals of a volume along the rays from a point source to the cells of an area detector.

    .. math:: y_{k,r,c} = \int_0^\infty x\Bigl(S_k + l \, \frac{P_{k,r,c} - S_k}{|P_{k,r,c} - S_k|}\Bigr) \, dl

    The axis of rotation is z and passes through the middle of the volume. Slices are numbered upwards, along z, and so
    are the rows of the detector; seen from above, x runs to the right and y upwards (row 0 of a slice is on top), and
    angles turn counter-clockwise, as in :class:`ParallelBeam`. At angle :math:`\theta` the source S and the cell P in
    row r and column c of the detector stand at

    .. math:: S &= (R \sin\theta,\; -R \cos\theta,\; h), \qquad h = pitch \cdot \theta / 2 \pi \\
        P &= (u \cos\theta - D \sin\theta,\; u \sin\theta + D \cos\theta,\; h + v), \qquad
        u = (c - c_0) \, w, \quad v = (r - r_0) \, w'

    with R the ``source_distance``, D the ``detector_distance``, :math:`(r_0, c_0)` the ``center`` and
    :math:`(w', w)` the ``detector_spacing``: far from the source this is a stack of :class:`ParallelBeam`.

    The integral is Joseph's: in every row of voxels that the ray crosses (column, if it runs along x rather than y) the
    volume is interpolated linearly across and upwards. That needs rays that rise less steeply than 45 degrees, which
    every cone-beam scanner has. The adjoint uses the same weights.

    Parameters
    ----------
    shape : (int, int, int)
        Slices, rows and columns of the volume.
    angles : array of float, or int
        Positions of the source in radians, in any order and range; an integer n stands for n steps over [0, 2 pi).
    source_distance : float
        From the source to the axis of rotation, in your unit of length.
    detector_distance : float
        From the axis to the detector, in the same unit; 0 for a detector thought to stand on the axis.
    detectors : (int, int), optional
        Rows and columns of the detector. By default as many as cover the volume at the height of the source.
    spacing : float or (float, float, float)
        Size of a voxel along slices, rows and columns; integrals are in the volume's unit times this length.
    detector_spacing : float or (float, float), optional
        Distance of neighbouring rows and columns of cells; by default that of the voxels, magnified from the axis to
        the detector.
    center : (float, float), optional
        Row and column, in cells from cell (0, 0), that the ray through the axis at the height of the source meets;
        the middle by default.
    pitch : float
        How far the source and the detector rise in one turn: 0 is a circular scan, anything else a helical one. They
        pass the middle slice at angle 0; negative angles lie below it.
    detector : {"flat", "curved"}
        A plane, or a cylinder whose axis is the vertical line through the source; u is then measured along the arc.

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
    >>> A = ConeBeam((16, 24, 24), 30, source_distance=80, detector_distance=40)
    >>> y = A(np.ones((16, 24, 24), np.float32))
    >>> y.shape, A.adjoint(y).shape
    ((30, 22, 36), (16, 24, 24))
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        angles: Any,
        *,
        source_distance: float,
        detector_distance: float,
        detectors: tuple[int, int] | None = None,
        spacing: float | tuple[float, float, float] = 1.0,
        detector_spacing: float | tuple[float, float] | None = None,
        center: tuple[float, float] | None = None,
        pitch: float = 0.0,
        detector: str = "flat",
    ):
        axes = volume_shape(shape)
        self.angles = angles_argument(angles, 2 * np.pi)
        self.source_distance = positive_float("source_distance", source_distance)
        self.detector_distance = positive_float("detector_distance", detector_distance, zero=True)
        self.spacing = lengths("spacing", spacing, ("slices", "rows", "columns"))
        magnified = self.magnification * self.spacing[0], self.magnification * self.spacing[2]
        self.detector_spacing = (
            magnified
            if detector_spacing is None
            else lengths("detector_spacing", detector_spacing, ("rows", "columns"))
        )
        self.pitch = finite_number("pitch", pitch)
        self.detector = detector_form(detector)
        self._require_outside(axes)
        self.detectors = self._covering(axes) if detectors is None else cell_counts(detectors)
        self.center = detector_center(center, self.detectors)
        super().__init__(axes, (len(self.angles), *self.detectors))
        across = self.source_distance * np.stack([np.sin(self.angles), -np.cos(self.angles)], -1)
        source = np.concatenate([across, self.heights[:, None]], axis=-1)
        rows = -self.center[0] * self.detector_spacing[0], self.detector_spacing[0]
        self.rays = diverging_rays(axes, self.spacing, source, self._courses(), rows)

    @property
    def magnification(self) -> float:
        """Size on the detector of what stands at the axis."""
        return 1.0 + self.detector_distance / self.source_distance

    @property
    def heights(self) -> np.ndarray:
        """Height of the source in each view, over the middle of the volume."""
        return self.pitch / (2 * np.pi) * self.angles

    def slopes(self) -> np.ndarray:
        """How steeply the rays rise, upwards by along: (angles, detector rows, detector columns)."""
        rows = np.arange(self.detectors[0])[:, None]
        return self.rays.e0[:, None] + self.rays.e1[:, None] * rows

    def smear(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        r"""Sum over views of ``weights[k]`` times the view's value where each voxel projects, linear between cells.

        .. math:: b_{ijl} = \sum_k w_k \, (source\_distance / L_{ijk})^2 \, y_k(u_k, v_k)

        ``L`` is the distance of the voxel from the source as seen from above, along the central ray for a flat detector
        and along the voxel's own for a curved one. The back-projection of :func:`recon.fdk`, for circular scans.
        """
        from recon.operators import _cone_smear

        scans = y.reshape(-1, *self.out_shape)
        views = _cone_smear.views_of(self, weights)
        x = np.stack([_cone_smear.smear(scan, views, self.in_shape) for scan in scans])
        return x.reshape(y.shape[:-3] + self.in_shape)

    def widened(self, left: int, right: int) -> ConeBeam:
        """The same scan with so many more columns at the ends of the detector."""
        rows, columns = self.detectors
        wide = {"detectors": (rows, left + columns + right), "center": (self.center[0], self.center[1] + left)}
        make: Callable[..., ConeBeam] = type(self)
        return make(self.in_shape, self.angles, **{**self._geometry(), **wide})

    def _geometry(self) -> dict[str, Any]:
        names = ("source_distance", "detector_distance", "detectors", "spacing", "detector_spacing", "center")
        return {name: getattr(self, name) for name in (*names, "pitch", "detector")}

    def _courses(self) -> np.ndarray:
        """From the source to the columns of the detector, seen from above: (angles, columns, 2) in x and y."""
        u = (np.arange(self.detectors[1]) - self.center[1]) * self.detector_spacing[1]
        reach = self.source_distance + self.detector_distance
        ahead, aside = (
            (reach * np.cos(u / reach), reach * np.sin(u / reach)) if self.detector == "curved" else (reach, u)
        )
        cos, sin = np.cos(self.angles)[:, None], np.sin(self.angles)[:, None]
        return np.stack([aside * cos - ahead * sin, aside * sin + ahead * cos], -1)

    def _require_outside(self, shape: tuple[int, int, int]) -> None:
        half = 0.5 * np.array(shape[:0:-1]) * self.spacing[:0:-1]
        source = self.source_distance * np.abs([np.sin(self.angles), np.cos(self.angles)])
        if (source < half[:, None]).all(axis=0).any():
            raise ArgumentError(
                f"source_distance is {self.source_distance:g}; the source stands inside the volume, which reaches "
                f"{half[0]:g} and {half[1]:g} from the axis. Pass all lengths in the same unit; expected "
                f"source_distance above {math.hypot(*half):g}."
            )

    def _covering(self, shape: tuple[int, int, int]) -> tuple[int, int]:
        """As many cells as cover the volume, of the parity of its slices and columns."""
        height, depth, width = (n * h for n, h in zip(shape, self.spacing, strict=True))
        radius = 0.5 * math.hypot(depth, width)
        if radius >= self.source_distance:
            raise ArgumentError(
                f"source_distance is {self.source_distance:g} and the corners of the volume are {radius:g} from the "
                "axis, so no detector covers them; expected detectors=(rows, columns). Pass those of your scanner."
            )
        fan, reach = math.asin(radius / self.source_distance), self.source_distance + self.detector_distance
        rows = height * reach / (self.source_distance - radius) / self.detector_spacing[0]
        columns = 2 * reach * (fan if self.detector == "curved" else math.tan(fan)) / self.detector_spacing[1]
        return covering(rows, shape[0]), covering(columns, shape[2])

    def rows(self, indices: np.ndarray) -> ConeBeam:
        """The same scan of some of the views alone."""
        make, (shape, angles) = self.__reduce__()
        return make(shape, angles[indices])

    def __reduce__(self) -> tuple[Callable[..., ConeBeam], tuple[Any, ...]]:
        # Rebuilt from its arguments: small, and read-only stays read-only.
        return partial(type(self), **self._geometry()), (self.in_shape, self.angles)
