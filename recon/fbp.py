"""Filtered back-projection of parallel-beam and fan-beam sinograms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon._filtered import admitted, covering
from recon._ramp import filter_views
from recon._ray_weights import angular_weights, fan_weights, parallel_weights
from recon.operators.fan_beam import FanBeam
from recon.operators.parallel_beam import ParallelBeam
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import OperatorError


def fbp(y: Array, operator: ParallelBeam | FanBeam, *, window: str = "ram-lak") -> Array:
    r"""Filtered back-projection, the direct inverse of a densely measured sinogram.

    .. math:: x(r) = \sum_k w_k \, (h * y_k)(u_k(r)), \qquad \sum_k w_k = \pi

    ``h`` is the ramp of the detector's band, sampled in space: ``1 / 4``, 0 at even and ``-1 / (pi n)^2`` at odd n, in
    units of ``1 / detector_spacing^2``. Sampling the ramp in frequency instead would lower the whole image. The
    weights ``w_k`` are half the gaps to the neighbouring angles, so unequal angles and full turns come out right; a
    gap that nobody measured (a limited-angle scan) counts for none of its neighbours. Beyond the ends of the detector
    the views are taken as zero; where it reaches the edge of the image on one side only, a full turn makes up for it.

    Rays of a fan are first weighted by ``cos(gamma) + sin(gamma) * axis_offset / source_distance``, and views on their
    way back by the inverse square of the distance from the source: along the central ray for a flat detector, along the
    ray for a curved one, whose kernel has the further factor ``(gamma / sin(gamma))^2``. Lines that are measured twice
    count half; in scans of less than a turn they share by Parker's smooth weights.

    Parameters
    ----------
    y : array (..., angles, detectors)
        Sinogram; leading axes are a batch. numpy or a torch tensor on the CPU.
    operator : ParallelBeam or FanBeam
        The geometry of the scan. A short scan of a fan covers half a turn and the fan angle; less gives a warning.
    window : {"ram-lak", "shepp-logan", "cosine", "hamming", "hann"}
        Factor of the ramp, from the sharpest to the smoothest.

    Returns
    -------
    array (..., rows, columns)
        In the dtype of ``y``. If ``y`` is attenuation times length, this is attenuation: a disc of value mu comes out
        with mu.

    Raises
    ------
    OperatorError, OptionError, ShapeError, DTypeError
        Another operator, an unknown window, or a sinogram that does not fit.

    References
    ----------
    A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press (1988), chapter 3, eqs. 61, 92
    and 125; D. L. Parker, "Optimal short scan convolution reconstruction for fanbeam CT", Med. Phys. 9 (1982).

    Examples
    --------
    >>> A = ParallelBeam((65, 65), 120)
    >>> x = fbp(A(np.pad(np.ones((33, 33)), 16)), A)
    >>> round(float(x[28:37, 28:37].mean()), 2)
    1.0
    """
    if not isinstance(operator, ParallelBeam | FanBeam):
        raise OperatorError(
            f"operator is {operator!r}; expected ParallelBeam or FanBeam, which fbp inverts. "
            "Use recon.reconstruct for other operators."
        )
    invert: Any = _fan if isinstance(operator, FanBeam) else _parallel
    return arrays.to_device_of(invert(admitted(y, operator, window, "fbp"), operator, window), y)


def _parallel(y: np.ndarray, operator: ParallelBeam, window: str) -> np.ndarray:
    radius = 0.5 * math.hypot(*operator.in_shape) * operator.spacing / operator.detector_spacing
    sinogram, wide = covering(y * parallel_weights(operator).astype(y.dtype), operator, -radius, radius)
    filtered = filter_views(sinogram, operator.detector_spacing, window)
    return wide.smear(filtered, angular_weights(operator.angles))


def _fan(y: np.ndarray, operator: FanBeam, window: str) -> np.ndarray:
    gamma, beside = operator.fan_angles, operator.axis_offset / operator.source_distance
    # The rays of one view are this much denser than those of parallel beams.
    density = np.cos(gamma) + beside * np.sin(gamma)
    rays = y * (density * fan_weights(operator)).astype(y.dtype)
    curved = operator.detector == "curved"
    low, high = operator.shadow()
    # Rounded up to a whole cell, the arc might go beyond a right angle.
    sinogram, wide = covering(rays, operator, low + curved, high - curved)
    opening = operator.detector_spacing / (operator.source_distance + operator.detector_distance)
    filtered = filter_views(sinogram, opening, window, fan=curved)
    weights = angular_weights(operator.angles, 2 * np.pi) / operator.source_distance
    return wide.smear(filtered, weights)
