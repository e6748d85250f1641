"""Before a reconstruction: flat and dark fields, the logarithm, the rotation axis, rings, stripes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from recon._destripe import destripe as destripe
from recon._rings import suppress_rings as suppress_rings
from recon._rotation_axis import mirror_center, moment_center, opposite_views, sharpest_center
from solvers import arrays
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import as_inexact, positive_float, require_finite

_FEWEST_CELLS = 8  # of a detector that can show where an object is


def flat_dark(projections: Any, flats: Any, darks: Any) -> np.ndarray:
    r"""Transmission from counts.

    .. math:: t = (counts - \overline{darks}) / (\overline{flats} - \overline{darks})

    Parameters
    ----------
    projections : array (angles, ..., detectors)
        Counts with the object in the beam.
    flats, darks : array (frames, ..., detectors)
        Counts without the object, and without the beam; averaged over the frames. Darks may be a number.

    Returns
    -------
    ndarray
        Transmission in the shape of ``projections``, 1 where nothing absorbs. Dead cells, where the flats are not above
        the darks, are interpolated from their neighbours, with a warning.

    Raises
    ------
    ShapeError, NonFiniteError, ArgumentError
        Fields that do not fit the projections, NaN, or a row of cells that are all dead.

    Examples
    --------
    >>> counts = np.full((3, 4), 60.0, np.float32)
    >>> flat_dark(counts, np.full((2, 4), 110.0), 10.0)[0]
    array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    projections = _array("projections", projections)
    flat = _mean_field("flats", flats, projections)
    dark = _mean_field("darks", darks, projections)
    gain = flat - dark
    dead = gain <= 0
    out = (projections - dark) / np.where(dead, 1, gain)
    if dead.any():
        _bridge(out, np.broadcast_to(dead, out.shape[1:]))
    return out


def absorption(transmission: Any, *, floor: float = 1e-4) -> np.ndarray:
    r"""Line integrals of the attenuation from transmission, by the law of Lambert and Beer.

    .. math:: y = -\log(\max(t, floor))

    Parameters
    ----------
    transmission : array
        Such as :func:`flat_dark` returns. Values above 1, from noise, become negative integrals and stay unbiased.
    floor : float
        What values under it, zero and negative ones among them, are set to; a warning says how many. Photons that did
        not arrive carry no more than "at least this much".

    Returns
    -------
    ndarray
        Attenuation times length, without unit.

    Raises
    ------
    NonFiniteError, ArgumentError
        NaN, or a floor that is not positive.

    Examples
    --------
    >>> absorption(np.array([1.0, 0.5])).round(3).tolist()
    [-0.0, 0.693]
    """
    transmission = _array("transmission", transmission)
    floor = positive_float("floor", floor)
    low = int(np.count_nonzero(transmission < floor))
    if low:
        share = 100 * low / transmission.size
        warnings.warn(
            f"{low} values ({share:.2g} %) of transmission are under {floor:g} and were set to it; the object may be "
            "too dense for the exposure there, or the dark field too high.",
            stacklevel=2,
        )
    return -np.log(np.maximum(transmission, floor))


def find_center(sinogram: Any, angles: Any) -> float:
    r"""Where the rotation axis meets the detector, in cells from cell 0.

    A scan of a full turn shows each view again, mirrored about the axis, half a turn later: the axis is where they
    correlate best. A scan of half a turn is reconstructed for trial positions. A wrong one draws streaks of both signs
    around every edge, so that the sum of ``|x|`` is least at the right one. The search starts from where the first
    moments of the views and the pairs half a turn apart put the axis.

    Parameters
    ----------
    sinogram : array (..., angles, detectors)
        Line integrals, such as from :func:`absorption`. Slices on leading axes share one axis and are used together.
    angles : array (angles,)
        Radians, over half a turn or more.

    Returns
    -------
    float
        To be passed as ``ParallelBeam(..., center=...)``. For detectors of some hundred cells the error is under 0.1
        cell in good data, 0.1 on average at a noise of 5 % of the peak, and 0.2 where views cut off the object.

    Raises
    ------
    ShapeError, ArgumentError, NonFiniteError, DTypeError
        A sinogram that does not fit the angles, holds NaN or is constant, or less than half a turn.

    References
    ----------
    T. Donath, F. Beckmann, A. Schreyer, "Automated determination of the center of rotation in tomography data",
    J. Opt. Soc. Am. A 23 (2006), metric Q_IA.

    Examples
    --------
    >>> from recon.operators import ParallelBeam
    >>> A = ParallelBeam((65, 65), 91, detectors=101, center=46.3)
    >>> abs(find_center(A(np.pad(np.ones((21, 13)), [(10, 34), (30, 22)])), A.angles) - 46.3) < 0.25
    True
    """
    y, angles = _scan(sinogram, angles)
    first, second = opposite_views(angles)
    paired = mirror_center(y, first, second) if len(first) else None
    if paired is not None and np.ptp(angles) > 1.5 * np.pi and 2 * len(first) >= len(angles):
        return paired
    starts = [moment_center(y, angles)] + ([paired] if paired is not None else [])
    return sharpest_center(y, angles, [c for c in starts if 0 <= c < y.shape[-1]] or [0.5 * (y.shape[-1] - 1)])


def _array(name: str, values: Any) -> np.ndarray:
    array = as_inexact(name, values)
    if arrays.is_torch(array) or arrays.is_complex(array):
        kind = "a torch tensor" if arrays.is_torch(array) else "complex"
        raise DTypeError(f"{name} is {kind}; expected a real numpy array. Pass {name}.numpy() or the real part.")
    require_finite(name, array)
    return array


def _mean_field(name: str, frames: Any, projections: np.ndarray) -> np.ndarray:
    field = _array(name, frames)
    expected = projections.shape[1:]
    if field.ndim and field.shape[1:] != expected:
        raise ShapeError(
            f"{name} has shape {field.shape}; expected (frames, {', '.join(map(str, expected))}) for projections of "
            f"shape {projections.shape}. Pass one or more whole frames, {name}[None] for a single one."
        )
    mean = field.mean(axis=0, dtype=np.float64) if field.ndim else field
    return mean.astype(projections.dtype)


def _bridge(transmission: np.ndarray, dead: np.ndarray) -> None:
    """Interpolate dead cells from the live ones of their row of the detector, in place."""
    cells = np.arange(dead.shape[-1])
    for row in np.argwhere(dead.any(axis=-1)):
        gone = dead[tuple(row)]
        if gone.all():
            raise ArgumentError(
                f"flats are not above darks anywhere in row {tuple(map(int, row))}; expected live cells. "
                "Check that flats and darks are not exchanged, or leave this row out."
            )
        for view in transmission:
            line = view[tuple(row)]
            line[gone] = np.interp(cells[gone], cells[~gone], line[~gone])
    warnings.warn(
        f"{int(dead.sum())} dead cells, whose flats are not above their darks, were interpolated from neighbours.",
        stacklevel=3,
    )


def _scan(sinogram: Any, angles: Any) -> tuple[np.ndarray, np.ndarray]:
    y = _array("sinogram", sinogram)
    angles = _array("angles", angles).astype(np.float64)
    if angles.ndim != 1 or y.ndim < 2 or y.shape[-2] != angles.size:
        raise ShapeError(
            f"sinogram has shape {y.shape} and angles {angles.shape}; expected (..., angles, detectors) and (angles,). "
            "Pass one angle for each view."
        )
    covered = np.ptp(angles) * (1 + 1 / max(1, angles.size - 1))
    if covered < 0.95 * np.pi:
        raise ArgumentError(
            f"angles span {covered:.2f} radians; expected half a turn (3.14) or more. "
            "Pass radians, not degrees, or take the center from the calibration of the scanner."
        )
    if y.shape[-1] < _FEWEST_CELLS:
        raise ShapeError(
            f"sinogram has {y.shape[-1]} detectors; expected at least {_FEWEST_CELLS}. "
            "Pass (..., angles, detectors), with the detectors last."
        )
    if np.ptp(y) == 0:
        raise ArgumentError("sinogram is constant; expected an object. Pass line integrals of one.")
    return y.reshape(-1, *y.shape[-2:]), angles
