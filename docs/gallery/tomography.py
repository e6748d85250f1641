"""X-ray tomography."""

import numpy as np
from images import ball, phantom
from shown import row

from recon import Gaussian, reconstruct
from recon import operators as ops
from recon.preprocess import absorption

WINDOW = (0, 0.5)


def parallel_beam():
    """Parallel rays, as at a synchrotron: 60 views over half a turn."""
    A = ops.ParallelBeam(phantom.shape, angles=60)
    y = Gaussian(0.5).sample(A(phantom), rng=0)
    x = reconstruct(y, A)
    return row(phantom, y, A, x, window=WINDOW)


def slices():
    """The same views for an image that is band-limited: each is a slice of its spectrum, their sum a convolution."""
    rays = ops.ParallelBeam(phantom.shape, angles=60)
    y = Gaussian(0.5).sample(rays(phantom), rng=0)
    A = ops.FourierSlice(rays)
    x = reconstruct(y, A)
    return row(phantom, y, A, x, window=WINDOW)


def low_dose():
    """Few photons: each ray is weighted by the noise that its photons leave."""
    A = ops.ParallelBeam(phantom.shape, angles=180, spacing=0.05)
    counts = np.random.default_rng(0).poisson(2000 * np.exp(-A(phantom))).astype(np.float32)
    y = absorption(counts / 2000)
    x = reconstruct(y, A, noise=1 / np.sqrt(np.maximum(counts, 1)))
    return row(phantom, y, A, x, window=WINDOW)


def fan_beam():
    """Rays that fan out from a source to a curved detector: 90 views over a whole turn."""
    A = ops.FanBeam(phantom.shape, 90, source_distance=400, detector_distance=300, detector="curved")
    y = Gaussian(0.5).sample(A(phantom), rng=0)
    x = reconstruct(y, A)
    return row(phantom, y, A, x, window=WINDOW)


def cone_beam():
    """A volume from 45 cone-beam projections; one slice and one projection are shown."""
    shape = (48, 48, 48)
    holes = ball(shape, 0, -0.3, 0.2, 0.3) + ball(shape, 0.1, 0.4, -0.3, 0.2) + ball(shape, -0.1, 0.4, 0.4, 0.15)
    volume = ball(shape, 0, 0, 0, 0.9) - 0.5 * holes
    A = ops.ConeBeam(shape, 45, source_distance=200, detector_distance=150)
    y = Gaussian(0.5).sample(A(volume), rng=0)
    x = reconstruct(y, A)
    return row(volume, y, A, x, view=lambda volume: volume[22], measured=lambda y: y[0])


def helical():
    """The table moves on while the source turns: three turns along a long object, seen from the side."""
    shape = (80, 40, 40)
    volume = ball(shape, 0, 0, 0, 0.9)
    volume -= sum(0.5 * ball(shape, z, 0, x, 0.2) for z, x in ((-0.6, 0.2), (-0.2, -0.3), (0.2, 0.3), (0.6, -0.2)))
    turns = np.linspace(-3 * np.pi, 3 * np.pi, 120)
    A = ops.ConeBeam(shape, turns, source_distance=150, detector_distance=100, detectors=(64, 80), pitch=25.0)
    y = Gaussian(0.3).sample(A(volume), rng=0)
    x = reconstruct(y, A)
    return row(volume, y, A, x, view=lambda volume: volume[:, 20], measured=lambda y: y[60])


def laminography():
    """A flat object, through which tilted parallel rays pass; one of its layers is shown."""
    shape = (16, 64, 64)
    plate = ball((1, 64, 64), 0, 0, 0, 0.9) - 0.5 * ball((1, 64, 64), 0, 0.4, 0.3, 0.25)
    volume = np.repeat(plate, 16, axis=0)
    volume[6:10] -= 0.5 * ball((1, 64, 64), 0, -0.3, -0.2, 0.3)
    A = ops.ParallelBeam3D(shape, 60, tilt=np.pi / 6)
    y = Gaussian(0.3).sample(A(volume), rng=0)
    x = reconstruct(y, A)
    return row(volume, y, A, x, view=lambda volume: volume[8], measured=lambda y: y[0])


FAMILIES = {
    "Parallel beam": parallel_beam,
    "Slices of the spectrum": slices,
    "Low dose, weighted rays": low_dose,
    "Fan beam": fan_beam,
    "Cone beam": cone_beam,
    "Helical cone beam": helical,
    "Laminography": laminography,
}
