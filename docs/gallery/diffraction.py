"""Diffraction without phases."""

import numpy as np
from images import crystal, picture, root_counts
from shown import log_magnitude, row

from recon import Gaussian, reconstruct
from recon import operators as ops


def coded():
    """Intensities of four diffraction patterns, each through a plate of random phases; noise of 20 dB."""
    F = ops.CodedDiffraction(4, crystal.shape)
    y = F(crystal)
    y = Gaussian(0.1 * y.std()).sample(y, rng=0)
    x = reconstruct(y, F)
    return row(crystal, y, F, x, how="reconstruct(y, F)", measured=log_magnitude, third=without_phases(F, y))


def isolated():
    """One pattern of an isolated object, 1e8 photons: the dark around it tells it, or it upside down."""
    window = picture("camera", 64, 64)
    F = ops.FourierMagnitude(window.shape, measures="magnitude")
    y = root_counts(F(window), photons=1e8)
    x = reconstruct(y, F, bounds=(0, np.inf))
    x = min(x, x[::-1, ::-1], key=lambda image: np.linalg.norm(image - window))  # the same pattern, either way
    return row(window, y, F, x, how="reconstruct(y, F)", measured=log_magnitude, third=without_phases(F, y))


def scanned():
    """A small beam lights the object in parts that overlap, and each gives a pattern; 1e7 photons in all."""
    part = crystal[20:148, 64:192]
    r, c = np.mgrid[-16:16, -16:16]
    probe = np.exp(-(r**2 + c**2) / 72 + 1j * (r**2 + c**2) / 60)
    jitter = np.random.default_rng(0).integers(-1, 2, (13**2, 2))
    corners = np.stack(np.meshgrid(*[np.arange(13) * 8] * 2, indexing="ij"), -1).reshape(-1, 2) + jitter
    F = ops.Ptychography(probe, corners.clip(0, 96), part.shape, measures="magnitude")
    y = root_counts(F(part), photons=1e7)
    x = reconstruct(y, F)
    lit = (slice(12, -12),) * 2
    return row(
        part, y, F, x, how="reconstruct(y, F)", view=lambda image: abs(image[lit]),
        measured=lambda parts: np.log10(1e-4 + abs(parts[84]) / parts.max()), third=without_phases(F, y),
    )  # fmt: skip


def without_phases(F, y):
    """The title and the image that the magnitudes give where phases are taken for zero."""
    return "phases taken for zero", F.field.adjoint(F.magnitudes(y))


FAMILIES = {
    "Coded diffraction": coded,
    "Fourier magnitude": isolated,
    "Ptychography": scanned,
}
