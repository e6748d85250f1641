"""Blur and sampling."""

import numpy as np
from images import camera, colours
from scipy import ndimage
from shown import plain, row
from skimage.registration import phase_cross_correlation

from recon import Gaussian, Impulse, Poisson, Speckle, psf, reconstruct
from recon import operators as ops


def motion():
    """A camera that moved; nothing is assumed of what lies outside the frame."""
    A = ops.Blur(psf.motion(15, degrees=30), (236, 236), boundary="unknown")
    scene = np.pad(camera, 20, mode="reflect")[tuple(slice(0, n) for n in A.in_shape)]
    y = Gaussian(0.01).sample(A(scene), rng=0)
    x = reconstruct(y, A)
    return row(scene, y, A, x, view=lambda image: image[A.interior], measured=plain)


def shake():
    """Colours blurred by a shaking hand; the channels share their edges."""
    A = ops.Blur(psf.camera_shake(25, size=25, rng=4), colours.shape[1:])
    y = Gaussian(0.01).sample(A(colours), rng=0)
    x = reconstruct(y, A, channel_axis=0)
    return row(colours, y, A, x)


def unknown_shake():
    """A hand that shook, and nobody knows how: the blur is found from the edges of the photograph."""
    A = ops.Blur(psf.camera_shake(20, size=21, rng=4), (236, 236), boundary="unknown")
    scene = np.pad(camera, 20, mode="reflect")[tuple(slice(0, n) for n in A.in_shape)]
    y = Gaussian(0.01).sample(A(scene), rng=0)
    x = reconstruct(y, ops.Blur(ops.Unknown(shape=(21, 21)), y.shape, boundary="unknown"))
    away, *_ = phase_cross_correlation(scene[A.interior], x[A.interior], upsample_factor=10)
    x = ndimage.shift(x, away, mode="nearest")  # where the photograph stands exactly cannot be known
    return row(
        scene, y, A, x, how="reconstruct(y, F)", view=lambda image: image[A.interior][8:-8, 8:-8], measured=plain,
        third=("the blur known", reconstruct(y, A)),
    )  # fmt: skip


def varying():
    """A lens that is sharp in the middle and defocused towards the corners."""
    corner = np.hypot(*np.meshgrid([-1, -0.5, 0, 0.5, 1], [-1, -0.5, 0, 0.5, 1]))
    psfs = [[psf.gaussian(0.5 + 2 * c, size=17) for c in line] for line in corner]
    A = ops.VaryingBlur(psfs, camera.shape)
    y = Gaussian(0.01).sample(A(camera), rng=0)
    x = reconstruct(y, A)
    return row(camera, y, A, x)


def photons():
    """A microscope that counts photons: Airy pattern, 40 of them where it is brightest."""
    A = ops.Blur(psf.airy(wavelength=0.5, na=0.9, pixel=0.1, size=21), camera.shape)
    y = Poisson(gain=1 / 40).sample(A(camera), rng=0)
    x = reconstruct(y, A, noise=Poisson(gain=1 / 40), bounds=(0, np.inf))
    return row(camera, y, A, x)


def super_resolution():
    """Four times as many pixels along each axis than were measured."""
    A = ops.Downsample(4, camera.shape, psf="bicubic")
    y = Gaussian(0.005).sample(A(camera), rng=0)
    x = reconstruct(y, A)
    return row(camera, y, A, x)


def several_frames():
    """Eight coarse frames of a scene that moved by fractions of a pixel between them."""
    moves = np.random.default_rng(0).uniform(-2, 2, (8, 2))
    A = ops.MultiFrame(moves, factor=4, shape=camera.shape)
    y = Gaussian(0.01).sample(A(camera), rng=0)
    x = reconstruct(y, A)
    return row(camera, y, A, x, measured=lambda frames: frames[0])


def mosaic():
    """The raw pixels of a colour camera: one colour each."""
    A = ops.Bayer(colours.shape[1:])
    y = Gaussian(0.01).sample(A(colours), rng=0)
    x = reconstruct(y, A)
    return row(colours, y, A, x)


def inpainting():
    """A third of the pixels."""
    A = ops.Mask(np.random.default_rng(0).random(camera.shape) < 0.33)
    y = A(Gaussian(0.02).sample(camera, rng=0))
    x = reconstruct(y, A)
    return row(camera, y, A, x)


def impulses():
    """A noisy image of which a fifth is black or white; those pixels are found and left out."""
    A = ops.Identity(camera.shape)
    y = Impulse(0.2, low=0, high=1).sample(Gaussian(0.02).sample(camera, rng=1), rng=0)
    x = reconstruct(y, A, noise="impulse")
    return row(camera, y, A, x)


def speckle():
    """Coherent light: noise multiplies the image, and the number of looks is found out."""
    A = ops.Identity(camera.shape)
    y = Speckle(5).sample(camera + 0.05, rng=0)
    x = reconstruct(y, A, noise="speckle")
    return row(camera + 0.05, y, A, x)


FAMILIES = {
    "Motion blur, unknown surroundings": motion,
    "Camera shake, colours": shake,
    "Camera shake, unknown": unknown_shake,
    "Blur that varies": varying,
    "Photon counts": photons,
    "Super-resolution": super_resolution,
    "Several frames": several_frames,
    "Bayer mosaic": mosaic,
    "Inpainting": inpainting,
    "Impulses": impulses,
    "Speckle": speckle,
}
