"""Filtered back-projection of parallel-beam sinograms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.operators.parallel_beam import ParallelBeam
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, OperatorError, OptionError, suggestion

WINDOWS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")


def fbp(y: Array, operator: ParallelBeam, *, window: str = "ram-lak") -> Array:
    r"""Filtered back-projection, the direct inverse of a densely measured parallel-beam sinogram.

    .. math:: x(r) = \sum_k w_k \, (h * y_k)(u_k(r)), \qquad \sum_k w_k = \pi

    ``h`` is the ramp of the detector's band, sampled in space: ``1 / 4``, 0 at even and ``-1 / (pi n)^2`` at odd n, in
    units of ``1 / detector_spacing^2``. Sampling the ramp in frequency instead would lower the whole image. The
    weights ``w_k`` are half the gaps to the neighbouring angles, so unequal angles and full turns come out right; a
    gap that nobody measured (a limited-angle scan) counts for none of its neighbours. Beyond the ends of the detector
    the views are taken as zero.

    Parameters
    ----------
    y : array (..., angles, detectors)
        Sinogram; leading axes are a batch. numpy or a torch tensor on the CPU.
    operator : ParallelBeam
        The geometry of the scan.
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
        An operator that is no ParallelBeam, an unknown window, or a sinogram that does not fit.

    References
    ----------
    A. C. Kak, M. Slaney, "Principles of Computerized Tomographic Imaging", IEEE Press (1988), chapter 3, eq. 61.

    Examples
    --------
    >>> A = ParallelBeam((65, 65), 120)
    >>> x = fbp(A(np.pad(np.ones((33, 33)), 16)), A)
    >>> round(float(x[28:37, 28:37].mean()), 2)
    1.0
    """
    if not isinstance(operator, ParallelBeam):
        raise OperatorError(
            f"operator is {operator!r}; fbp inverts ParallelBeam only. Use recon.reconstruct for other operators."
        )
    if window not in WINDOWS:
        raise OptionError(f"window is {window!r}; expected one of {', '.join(WINDOWS)}.{suggestion(window, WINDOWS)}")
    y = operator._admit(y, "y", operator.out_shape)
    _require_plain(y)
    sinogram, wide = _covering(arrays.to_numpy(y), operator)
    filtered = _filter(sinogram, operator.detector_spacing, window)
    return arrays.to_device_of(wide.smear(filtered, angular_weights(operator.angles)), y)


def _require_plain(y: Array) -> None:
    if arrays.is_torch(y) and y.device.type != "cpu":
        raise ArgumentError(f"y is on {y.device}; fbp computes on the CPU. Pass y.cpu() and move the result back.")
    if arrays.is_torch(y) and y.requires_grad:
        raise DTypeError("y requires gradients; fbp has none. Pass y.detach(), or train through operator.adjoint(y).")


def _covering(y: np.ndarray, operator: ParallelBeam) -> tuple[np.ndarray, ParallelBeam]:
    """Extend views by zeros until the detector sees the corners of the image, which the filtered views reach."""
    radius = 0.5 * math.hypot(*operator.in_shape) * operator.spacing / operator.detector_spacing
    left = max(0, int(np.ceil(radius - operator.center)))
    right = max(0, int(np.ceil(radius - (operator.detectors - 1 - operator.center))))
    if not left + right:
        return y, operator
    wide = ParallelBeam(
        (operator.in_shape[0], operator.in_shape[1]),
        operator.angles,
        detectors=left + operator.detectors + right,
        spacing=operator.spacing,
        detector_spacing=operator.detector_spacing,
        center=operator.center + left,
    )
    return np.pad(y, [(0, 0)] * (y.ndim - 1) + [(left, right)]), wide


def _filter(y: np.ndarray, spacing: float, window: str) -> np.ndarray:
    """Convolve each view with the windowed ramp; padding keeps the two ends of a view apart."""
    import scipy.fft

    detectors = y.shape[-1]
    length = scipy.fft.next_fast_len(2 * detectors, real=True)
    response = ramp(length, spacing) * _window(length, window)
    workers = arrays.threads()
    spectrum = scipy.fft.rfft(y, length, workers=workers)
    spectrum *= response.astype(y.dtype)
    return scipy.fft.irfft(spectrum, length, workers=workers, overwrite_x=True)[..., :detectors]


def ramp(length: int, spacing: float) -> np.ndarray:
    """Spectrum of the band-limited ramp, ``length // 2 + 1`` values in 1 / length unit."""
    n = np.minimum(np.arange(length), length - np.arange(length))
    kernel = np.zeros(length)
    kernel[0] = 0.25
    odd = n % 2 == 1
    kernel[odd] = -1.0 / (np.pi * n[odd]) ** 2
    return np.fft.rfft(kernel).real / spacing


def _window(length: int, name: str) -> np.ndarray:
    f = 2 * np.fft.rfftfreq(length)  # 1 at the highest frequency of the detector
    values: dict[str, Any] = {
        "ram-lak": np.ones_like(f),
        "shepp-logan": np.sinc(f / 2),
        "cosine": np.cos(np.pi * f / 2),
        "hamming": 0.54 + 0.46 * np.cos(np.pi * f),
        "hann": 0.5 + 0.5 * np.cos(np.pi * f),
    }
    return values[name]


def angular_weights(angles: np.ndarray) -> np.ndarray:
    """Half the gaps between each direction and its neighbours, modulo pi; they sum to pi in a complete scan.

    A gap above 15 degrees and ten times the median is a wedge that was not measured: its ends count the median gap.
    """
    order = np.argsort(angles % np.pi, kind="stable")
    directions = (angles % np.pi)[order]
    gaps = np.diff(directions, append=directions[0] + np.pi)
    distinct = gaps[gaps > 1e-9]  # a full turn measures each direction twice, up to rounding
    typical = np.median(distinct)
    gaps = np.where(gaps > max(10 * typical, np.pi / 12), typical, gaps)
    weights = np.empty_like(gaps)
    weights[order] = 0.5 * (gaps + np.roll(gaps, 1))
    return weights
