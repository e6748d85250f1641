"""The ramp filter of filtered back-projection and its windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers import arrays

WINDOWS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
"""Factors of the ramp, from the sharpest to the smoothest."""


def filter_views(y: np.ndarray, spacing: float, window: str, *, fan: bool = False) -> np.ndarray:
    """Convolve each view with the windowed ramp; padding keeps the two ends of a view apart.

    ``spacing`` is the distance of the cells, or with ``fan`` the angle between them as seen from the source.
    """
    import scipy.fft

    detectors = y.shape[-1]
    length = scipy.fft.next_fast_len(2 * detectors, real=True)
    response = ramp(length, spacing, spacing * detectors if fan else 0.0) * _window(length, window)
    workers = arrays.transform_threads(y)
    spectrum = scipy.fft.rfft(y, length, workers=workers)
    spectrum *= response.astype(y.dtype)
    return scipy.fft.irfft(spectrum, length, workers=workers, overwrite_x=True)[..., :detectors]


def ramp(length: int, spacing: float, fan: float = 0.0) -> np.ndarray:
    """Spectrum of the band-limited ramp, ``length // 2 + 1`` values in 1 / length unit.

    With a ``fan`` of that many radians ``spacing`` is an angle g, and the kernel is multiplied by ``(g / sin g)^2``.
    """
    n = np.minimum(np.arange(length), length - np.arange(length))
    kernel = np.zeros(length)
    kernel[0] = 0.25
    odd = n % 2 == 1
    kernel[odd] = -1.0 / (np.pi * n[odd]) ** 2
    if fan:
        # Beyond the fan no two cells are so far apart.
        kernel = np.where(n * spacing < fan, kernel / np.sinc(n * spacing / np.pi) ** 2, 0)
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
