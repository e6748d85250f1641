"""The Feldkamp-Davis-Kress method: filtered back-projection of circular cone-beam scans."""

from __future__ import annotations

import math

import numpy as np

from recon._filtered import admitted, covering
from recon._ramp import filter_views
from recon._ray_weights import angular_weights, fan_weights
from recon.operators.cone_beam import ConeBeam
from recon.operators.fan_beam import FanBeam
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OperatorError


def fdk(y: Array, operator: ConeBeam, *, window: str = "ram-lak") -> Array:
    r"""Filtered back-projection of a circular cone-beam scan.

    .. math:: x(r) = \sum_k w_k \frac{R^2}{L_k(r)^2} \, (h * (c \, y_k))(u_k(r), v_k(r))

    Every row of a view is weighted by the cosine c between its rays and the central one, filtered with the ramp h as
    in :func:`recon.fbp`, and smeared back along its rays, by the inverse square of the distance L from the source.
    Where all lines are measured, in the plane of the source, this is exact; above and below it is the better the
    flatter the cone, and the values fall off. Lines that are measured twice count half; in scans of less than a turn
    they share by Parker's smooth weights.

    Parameters
    ----------
    y : array (..., angles, detector rows, detector columns)
        Projections; leading axes are a batch. numpy or a torch tensor on the CPU.
    operator : ConeBeam
        The geometry of the scan, with ``pitch=0``. A short scan covers half a turn and the fan angle; less gives a
        warning.
    window : {"ram-lak", "shepp-logan", "cosine", "hamming", "hann"}
        Factor of the ramp, from the sharpest to the smoothest.

    Returns
    -------
    array (..., slices, rows, columns)
        In the dtype of ``y``. If ``y`` is attenuation times length, this is attenuation: a ball of value mu comes out
        with mu.

    Raises
    ------
    OperatorError, OptionError, ShapeError, DTypeError
        Another operator or a helical scan, an unknown window, or projections that do not fit.

    References
    ----------
    L. A. Feldkamp, L. C. Davis, J. W. Kress, "Practical cone-beam algorithm", J. Opt. Soc. Am. A 1 (1984).

    Examples
    --------
    >>> A = ConeBeam((9, 33, 33), 90, source_distance=100, detector_distance=50)
    >>> x = fdk(A(np.pad(np.ones((9, 17, 17)), [(0, 0), (8, 8), (8, 8)])), A)
    >>> round(float(x[4, 14:19, 14:19].mean()), 2)
    1.0
    """
    _require_circular(operator)
    return arrays.to_device_of(_invert(admitted(y, operator, window, "fdk"), operator, window), y)


def _require_circular(operator: ConeBeam) -> None:
    if not isinstance(operator, ConeBeam):
        raise OperatorError(
            f"operator is {operator!r}; expected ConeBeam, which fdk inverts. Use recon.fbp for planar scans and "
            "recon.reconstruct for the others."
        )
    if operator.pitch:
        raise OperatorError(
            f"operator has pitch={operator.pitch:g}; expected a circular scan, pitch=0. Use recon.reconstruct."
        )


def _invert(y: np.ndarray, operator: ConeBeam, window: str) -> np.ndarray:
    fan = _middle_fan(operator)
    reach = operator.source_distance + operator.detector_distance
    # The rays of one view are denser than those of parallel beams, by the cosines of their angles across and upwards.
    share = (np.cos(fan.fan_angles) * fan_weights(fan))[:, None, :] / np.sqrt(1 + operator.slopes() ** 2)
    views, wide_fan = covering(y * share.astype(y.dtype), fan, *fan.shadow())
    left = round(wide_fan.center - fan.center)
    wide = operator.widened(left, wide_fan.detectors - fan.detectors - left)
    filtered = filter_views(views, operator.detector_spacing[1] / reach, window, fan=operator.detector == "curved")
    return wide.smear(filtered, angular_weights(operator.angles, 2 * np.pi) / operator.source_distance)


def _middle_fan(operator: ConeBeam) -> FanBeam:
    """The scan of the slice at the height of the source."""
    _, height, width = operator.spacing
    rows = math.ceil(operator.in_shape[1] * height / width)
    return FanBeam(
        (rows, operator.in_shape[2]),
        operator.angles,
        source_distance=operator.source_distance,
        detector_distance=operator.detector_distance,
        detectors=operator.detectors[1],
        detector_spacing=operator.detector_spacing[1],
        spacing=width,
        center=operator.center[1],
        detector=operator.detector,
    )
