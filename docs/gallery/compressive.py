"""Coded and compressive measurements."""

import numpy as np
from images import camera, colours, picture
from shown import coverage, plain, row

from recon import Gaussian, psf, reconstruct
from recon import operators as ops


def single_pixel():
    """A camera of one pixel and a quarter of the Hadamard patterns, the coarse ones first."""
    A = ops.SinglePixel(camera.shape, measurements=camera.size // 4)
    y = Gaussian(0.01).sample(A(camera), rng=0)
    x = reconstruct(y, A)
    return row(camera, y, A, x)


def random_projections():
    """Random mixtures of all the pixels, a third as many as there are pixels."""
    A = ops.RandomProjection(camera.size // 3, camera.shape, kind="srht")
    y = Gaussian(0.01).sample(A(camera), rng=0)
    x = reconstruct(y, A)
    return row(camera, y, A, x)


def snapshot_spectra():
    """Eight bands in one exposure, behind a coded aperture and a prism."""
    bands = np.exp(-((np.linspace(0, 2, 8)[:, None] - [2, 1, 0]) ** 2) / 0.5)
    cube = np.tensordot(bands / bands.sum(1, keepdims=True), colours, 1).astype(np.float32)
    A = ops.CodedAperture(np.random.default_rng(0).random(cube.shape[1:]) < 0.5, bands=8)
    y = Gaussian(0.01).sample(A(cube), rng=0)
    x = reconstruct(y, A)
    return row(cube, y, A, x, view=lambda cube: plain(cube[[7, 4, 0]]), measured=plain)


def lensless():
    """No lens: a diffuser spreads every point over a pattern as large as the sensor, which cuts it off."""
    rough = np.random.default_rng(0).standard_normal((96, 96))
    pattern = ops.Blur(psf.gaussian(1.5), rough.shape)(rough).clip(0.15)  # bright lines where it focuses
    A = ops.Blur((pattern - 0.15) / (pattern - 0.15).sum(), (192, 192), boundary="unknown")
    scene = np.zeros(A.in_shape, np.float32)
    scene[A.interior] = picture("coffee", 192, 192).mean(0)
    y = Gaussian(0.001).sample(A(scene), rng=0)
    x = reconstruct(y, A, bounds=(0, np.inf))
    return row(scene, y, A, x, view=lambda image: image[A.interior], measured=plain)


def interferometry():
    """Radio telescopes: every pair measures an arc of the Fourier plane while the Earth turns."""
    sky = picture("hubble_deep_field", 192, 192).mean(0)
    places = np.random.default_rng(0).normal(scale=20, size=(24, 2))
    base = (places[:, None] - places)[~np.eye(24, dtype=bool)]
    hours = np.linspace(-0.8, 0.8, 40)
    turns = np.array([[np.cos(hours), np.sin(hours)], [-np.sin(hours), np.cos(hours)]])
    second = np.deg2rad(1 / 3600)
    uv = 1000 * np.tensordot(base, turns, (1, 0)).transpose(0, 2, 1).clip(-95, 95)  # wavelengths
    A = ops.RadioInterferometry(uv, sky.shape, pixel=second)
    y = Gaussian(4.0).sample(A(sky), rng=0)
    x = reconstruct(y, A, bounds=(0, np.inf))
    return row(sky, y, A, x, measured=lambda _: coverage(uv * second * 192, sky.shape))


FAMILIES = {
    "Single-pixel camera": single_pixel,
    "Random projections": random_projections,
    "Snapshot spectra": snapshot_spectra,
    "Lensless camera": lensless,
    "Radio interferometry": interferometry,
}
