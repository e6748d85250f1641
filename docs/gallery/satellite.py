"""Satellite images."""

import numpy as np
from images import camera, colours, picture
from shown import plain, row

from priors import Simplex, TotalVariation
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
    """Forty bands, three materials: their shares of a pixel are at least 0 and sum to 1."""
    wavelengths = np.linspace(0, 1, 40)[:, None]
    spectra = 0.3 + np.exp(-(((wavelengths - [0.2, 0.5, 0.7]) / 0.2) ** 2))
    shares = (colours + 0.05) / (colours + 0.05).sum(0)
    A = ops.SpectralMixing(spectra, shares.shape[1:])
    y = Gaussian(0.1).sample(A(shares), rng=0)
    x = reconstruct(y, A, prior=TotalVariation(channel_axis=-3) + Simplex(axis=-3))
    return row(shares, y, A, x, measured=lambda cube: cube[20])


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
    """Six passes over one place, each with its own clouds, of a sensor that blurs."""
    rough = np.random.default_rng(0).standard_normal((6, 128, 128))
    cover = ops.Blur(psf.gaussian(6), (128, 128))(rough)
    scene = np.linspace(0.95, 1.05, 6, dtype=np.float32)[:, None, None] * picture("gravel", 128, 128)
    sensor = ops.Blur(psf.gaussian(0.7), (128, 128), boundary="unknown")
    around = [(inside.start, n - inside.stop) for inside, n in zip(sensor.interior, sensor.in_shape, strict=True)]
    scene = np.pad(scene, [(0, 0), *around], mode="reflect")
    A = ops.block_diagonal([ops.Mask(clear) @ sensor for clear in cover < np.quantile(cover, 0.6)])
    y = A.sampling * Gaussian(0.01).sample(A(scene), rng=0)
    x = reconstruct(y, A)
    return row(scene, y, A, x, view=lambda passes: passes[(2, *sensor.interior)], measured=lambda y: y[2])


FAMILIES = {
    "Pansharpening": pansharpening,
    "Unmixing": unmixing,
    "Destriping": stripes,
    "Landsat-7 gaps": gaps,
    "Clouds": clouds,
}
