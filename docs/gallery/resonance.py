"""Magnetic resonance imaging."""

import numpy as np
from images import ball, coil_maps, phantom
from shown import log_magnitude, row

from recon import Gaussian, Rician, reconstruct
from recon import operators as ops
from recon.coils import sensitivities_from_center
from recon.sampling import variable_density_lines
from recon.trajectories import radial, spiral

WINDOW = (0, 0.5)


def cartesian():
    """A quarter of the lines of k-space, denser in the middle."""
    lines = variable_density_lines(160, 4, rng=0)
    A = ops.CartesianMRI(np.repeat(lines[:, None], 160, axis=1))
    y = A.sampling * Gaussian(0.01).sample(A(phantom), rng=0)
    x = reconstruct(y, A)
    return row(phantom, y, A, x, measured=log_magnitude, window=WINDOW)


def coils():
    """Six coils, a sixth of the lines; the sensitivities come from the measurement's own middle."""
    mask = np.repeat(variable_density_lines(160, 6, rng=0)[:, None], 160, axis=1)
    truth = ops.CartesianMRI(mask, coil_maps(6, 160, 160))
    y = mask * Gaussian(0.005).sample(truth(phantom), rng=0)
    A = ops.CartesianMRI(mask, sensitivities_from_center(y))
    x = reconstruct(y, A)
    return row(phantom, y, A, x, measured=log_magnitude, window=WINDOW)


def radial_spokes():
    """Forty spokes through the middle of k-space, on no grid."""
    A = ops.NonCartesianMRI(radial(40, 320, size=160), phantom.shape)
    y = Gaussian(0.01).sample(A(phantom), rng=0)
    x = reconstruct(y, A)
    return row(phantom, y, A, x, measured=log_magnitude, window=WINDOW)


def spirals():
    """Twelve interleaved spirals and six coils."""
    A = ops.NonCartesianMRI(spiral(12, 1200, size=160), phantom.shape, coil_maps(6, 160, 160))
    y = Gaussian(0.01).sample(A(phantom), rng=0)
    x = reconstruct(y, A)
    return row(phantom, y, A, x, measured=log_magnitude, window=WINDOW)


def beating():
    """Eight frames of a beating object, a sixth of the lines of each."""
    radii = 0.4 + 0.1 * np.sin(2 * np.pi * np.arange(8) / 8)
    frames = np.stack([ball((1, 80, 80), 0, 0, 0, 0.8)[0] - 0.5 * ball((1, 80, 80), 0, 0.1, 0, r)[0] for r in radii])
    lines = [variable_density_lines(80, 6, rng=k) for k in range(8)]
    A = ops.DynamicMRI(np.repeat(np.stack(lines)[:, :, None], 80, axis=2))
    y = A.sampling * Gaussian(0.01).sample(A(frames), rng=0)
    x = reconstruct(y, A)
    return row(frames, y, A, x, view=lambda frames: abs(frames[4]), measured=log_magnitude)


def golden_spokes():
    """The same heart along eight spokes a frame, at the golden angle, and four coils."""
    radii = 0.4 + 0.1 * np.sin(2 * np.pi * np.arange(8) / 8)
    frames = np.stack([ball((1, 80, 80), 0, 0, 0, 0.8)[0] - 0.5 * ball((1, 80, 80), 0, 0.1, 0, r)[0] for r in radii])
    spokes = radial(64, 160, size=80, golden=True).reshape(8, 8, 160, 2)
    A = ops.DynamicNonCartesianMRI(spokes, (80, 80), coil_maps(4, 80, 80))
    y = Gaussian(0.02).sample(A(frames), rng=0)
    x = reconstruct(y, A)
    return row(frames, y, A, x, view=lambda frames: abs(frames[4]), measured=lambda y: log_magnitude(y[4, 0]))


def magnitudes():
    """The magnitude alone was kept: where there is no signal, noise is left, which a bias correction takes off."""
    A = ops.Identity(phantom.shape)
    y = Rician(0.08).sample(phantom, rng=0)
    x = reconstruct(y, A, noise="rician")
    return row(phantom, y, A, x, window=WINDOW)


FAMILIES = {
    "Cartesian k-space": cartesian,
    "Several coils": coils,
    "Radial k-space": radial_spokes,
    "Spirals": spirals,
    "Frames": beating,
    "Frames on golden spokes": golden_spokes,
    "Magnitudes": magnitudes,
}
