"""Satellite images."""

import numpy as np
from images import camera, colours, picture
from shown import plain, row

from priors import TotalVariation
from recon import Gaussian, psf, reconstruct
from recon import operators as ops
from recon.gaps import landsat7_gaps
from recon.preprocess import destripe


def pansharpening():
    """Coarse colours and a fine panchromatic band."""
    A = ops.Pansharpening(colours.shape, factor=4, band_mtf=0.3)
    y = Gaussian(0.005).sample(A(colours), rng=0)
    x = reconstruct(y, A)
    return row(colours, y, A, x, measured=lambda y: plain(A.unpack(y)[0]))


def unmixing():
    """Forty bands, three materials: how much of each is in a pixel."""
    wavelengths = np.linspace(0, 1, 40)[:, None]
    spectra = 0.3 + np.exp(-(((wavelengths - [0.2, 0.5, 0.7]) / 0.2) ** 2))
    A = ops.SpectralMixing(spectra, colours.shape[1:])
    y = Gaussian(0.1).sample(A(colours), rng=0)
    x = reconstruct(y, A, bounds=(0, np.inf))
    return row(colours, y, A, x, measured=lambda cube: cube[20])


def stripes():
    """Detectors of unequal offset, one for each column."""
    offsets = 0.1 * np.random.default_rng(0).standard_normal(256, dtype=np.float32)
    y = Gaussian(0.01).sample(camera + offsets, rng=0)
    x = destripe(y)
    A = ops.Destripe(camera.shape)
    return row(camera, y, A, x, how="destripe(y)")


def gaps():
    """The gaps between the scans of Landsat 7."""
    scene = picture("moon", 256, 256)
    A = ops.Mask(landsat7_gaps(scene.shape))
    y = A(Gaussian(0.005).sample(scene, rng=0))
    x = reconstruct(y, A)
    return row(scene, y, A, x)


def clouds():
    """Six passes over one place, each with its own clouds: pixels of two passes are nearer than neighbours."""
    rough = np.random.default_rng(0).standard_normal((6, 128, 128))
    cover = ops.Blur(psf.gaussian(6), (128, 128))(rough)
    scene = np.linspace(0.8, 1.2, 6, dtype=np.float32)[:, None, None] * picture("gravel", 128, 128)
    A = ops.Mask(cover < np.quantile(cover, 0.6))
    y = A(Gaussian(0.01).sample(scene, rng=0))
    x = reconstruct(y, A, prior=TotalVariation(ndim=3, spacing=(0.1, 1, 1)))
    return row(scene, y, A, x, view=lambda passes: passes[2])


FAMILIES = {
    "Pansharpening": pansharpening,
    "Unmixing": unmixing,
    "Destriping": stripes,
    "Landsat-7 gaps": gaps,
    "Clouds": clouds,
}
