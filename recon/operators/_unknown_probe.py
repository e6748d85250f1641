"""The probe of a ptychographic scan, found with the object: extended ptychographical iterative engine.

Position after position, in another order each time, the lit part ``p x_j`` is given the magnitudes measured there; what
changes is shared out between object and probe,

    d    = F^H (b_j F(p x_j) / |F(p x_j)|) - p x_j
    x_j <- x_j + conj(p) / max |p|^2 d,      p <- p + conj(x_j) / max |x_j|^2 d

Maiden and Rodenburg 2009.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PASSES = 120
TINY = 1e-12


def found_probe(magnitudes: np.ndarray, positions: np.ndarray, shape: tuple[int, ...], start: Any) -> np.ndarray:
    """The probe of a scan, from a first guess or from the mean pattern; its energy is that of the mean pattern."""
    energy = float((magnitudes**2).sum((-2, -1)).mean())
    probe = _of_energy(_focus(magnitudes) if start is None else np.asarray(start, dtype=complex), energy)
    image, rng = np.ones(shape, dtype=complex), np.random.default_rng(0)
    rows, columns = probe.shape
    for _ in range(PASSES):
        for j in rng.permutation(len(positions)):
            row, column = positions[j]
            window = (slice(row, row + rows), slice(column, column + columns))
            part = image[window].copy()
            change = _measured_as(probe * part, magnitudes[j]) - probe * part
            image[window] = part + probe.conj() * change / (abs(probe) ** 2).max()
            probe = probe + part.conj() * change / max(float((abs(part) ** 2).max()), TINY)
    return _of_energy(probe, energy)


def _focus(magnitudes: np.ndarray) -> np.ndarray:
    """The probe that the mean pattern shows if it is in focus."""
    return _inverse(np.sqrt((magnitudes**2).mean(0)))


def _measured_as(field: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    pattern = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(field), norm="ortho"))
    return _inverse(magnitude * pattern / np.maximum(abs(pattern), TINY))


def _inverse(pattern: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(pattern), norm="ortho"))


def _of_energy(probe: np.ndarray, energy: float) -> np.ndarray:
    return probe * np.sqrt(energy / max(float((abs(probe) ** 2).sum()), TINY))
