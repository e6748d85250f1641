"""Responses that are not linear."""

import numpy as np
from images import phantom
from shown import row

from recon import Gaussian, Poisson, reconstruct
from recon import operators as ops


def low_dose():
    """A thousand photons a ray, of which a few come through: the counts say how far each ray is to be believed."""
    F = ops.Transmission(ops.ParallelBeam(phantom.shape, angles=120, spacing=0.1), counts=1000)
    y = Poisson().sample(F(phantom), rng=0)
    x = reconstruct(y, F)
    return row(phantom, y, F, x, how="reconstruct(y, F)", third=("first guess", F.first_guess(y)))


def t2_map():
    """Eight echoes of a slice: its T2 map, 40 to 120 ms, where a fit of each voxel is noisy."""
    time = 40 + 80 * phantom[::2, ::2]
    F = ops.Relaxometry(np.linspace(15, 120, 8), time.shape)
    y = Gaussian(0.03).sample(F(F.maps_of(np.ones_like(time), time)), rng=0)
    x = reconstruct(y, F)
    fit = ("fit of each voxel", F.relaxation_time(F.fit(y)))
    return row(time, y[3], F, F.relaxation_time(x), how="reconstruct(y, F)", third=fit)


FAMILIES = {
    "Low-dose tomography, counts": low_dose,
    "T2 map": t2_map,
}
