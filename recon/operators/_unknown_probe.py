"""The probe of a ptychographic scan, found with the object: extended ptychographical iterative engine.

Position after position, in another order each time, the lit part ``p x_j`` is given the magnitudes measured there; what
changes is shared out between object and probe,

    d    = F^H (b_j F(p x_j) / |F(p x_j)|) - p x_j
    x_j <- x_j + conj(p) / max |p|^2 d,      p <- p + conj(x_j) / max |x_j|^2 d

Maiden and Rodenburg 2009. From a probe of another defocus it ends in a local minimum, so several are tried. Probe and
object may move together; where the beam is in its window is a convention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

PASSES = 120
TRIAL = 15  # passes that tell how well a start explains the patterns
SPREADS = (0.0, *(sign * 2.0**-k for k in (5, 4, 3, 2) for sign in (1, -1)))  # of the beam by defocus, over the window
TINY = 1e-12


def found_probe(magnitudes: np.ndarray, positions: np.ndarray, shape: tuple[int, ...], start: Any) -> np.ndarray:
    """The probe of a scan, from a first guess or from the mean pattern; its energy is that of the mean pattern."""
    scan = _Scan(magnitudes, positions, shape)
    starts = [*_defocused(magnitudes), *([] if start is None else [np.asarray(start, dtype=complex)])]
    trials = [scan.run(_of_energy(probe, scan.energy), TRIAL) for probe in starts]
    _, probe, image = min(trials, key=lambda trial: trial[0])
    _, probe, _ = scan.run(probe, PASSES - TRIAL, image)
    middle = np.array(probe.shape) // 2 if start is None else _centre(start)
    return _of_energy(np.roll(probe, np.round(middle - _centre(probe)).astype(int), (0, 1)), scan.energy)


@dataclass(frozen=True)
class _Scan:
    """What was measured where."""

    magnitudes: np.ndarray
    positions: np.ndarray
    shape: tuple[int, ...]

    @property
    def energy(self) -> float:
        return float((self.magnitudes**2).sum((-2, -1)).mean())

    def run(self, probe: np.ndarray, passes: int, image: Any = None) -> tuple[float, np.ndarray, np.ndarray]:
        """Squared misfit on the last pass, probe and image; from a flat image by default."""
        image, rng = np.ones(self.shape, dtype=complex) if image is None else image, np.random.default_rng(0)
        rows, columns = probe.shape
        missed = 0.0
        for _ in range(passes):
            missed = 0.0
            for j in rng.permutation(len(self.positions)):
                row, column = self.positions[j]
                window = (slice(row, row + rows), slice(column, column + columns))
                part = image[window].copy()
                change = _measured_as(probe * part, self.magnitudes[j]) - probe * part
                missed += float((abs(change) ** 2).sum())
                image[window] = part + probe.conj() * change / (abs(probe) ** 2).max()
                probe = probe + part.conj() * change / max(float((abs(part) ** 2).max()), TINY)
        return missed, probe, image


def _defocused(magnitudes: np.ndarray) -> list[np.ndarray]:
    """The probe that the mean pattern shows if it is in focus, and further up and down the beam by ``SPREADS``."""
    power = (magnitudes**2).mean(0)
    squared = sum(f**2 for f in np.meshgrid(*(np.fft.fftshift(np.fft.fftfreq(n)) for n in power.shape), indexing="ij"))
    typical = max(float(np.sqrt((power * squared).sum() / power.sum())), 1 / max(power.shape))
    bend = np.pi * max(power.shape) / typical * squared
    return [_inverse(np.sqrt(power) * np.exp(1j * spread * bend)) for spread in SPREADS]


def _measured_as(field: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    pattern = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(field), norm="ortho"))
    return _inverse(magnitude * pattern / np.maximum(abs(pattern), TINY))


def _inverse(pattern: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(pattern), norm="ortho"))


def _centre(probe: Any) -> np.ndarray:
    """Centre of the light."""
    power = abs(np.asarray(probe)) ** 2
    return np.array([(power * axis).sum() for axis in np.indices(power.shape)]) / power.sum()


def _of_energy(probe: np.ndarray, energy: float) -> np.ndarray:
    return probe * np.sqrt(energy / max(float((abs(probe) ** 2).sum()), TINY))
