"""The pictures that the gallery measures, all from scikit-image."""

import numpy as np
from skimage import data, transform


def picture(name, *shape):
    """A photograph of scikit-image, 0 to 1, in float32; colours first."""
    image = transform.resize(getattr(data, name)(), shape, anti_aliasing=True).astype(np.float32)
    return np.moveaxis(image[..., :3], -1, 0) if image.ndim == 3 else image


phantom = picture("shepp_logan_phantom", 160, 160)  # 0 to 1
camera = picture("camera", 256, 256)
colours = picture("astronaut", 192, 192)  # (3, 192, 192)


def ball(shape, z, y, x, radius):
    """One inside a ball, zero outside; the volume reaches from -1 to 1 along each axis."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    return (sum((g - c) ** 2 for g, c in zip(grid, (z, y, x), strict=True)) < radius**2).astype(np.float32)


def coil_maps(count, *shape):
    """Smooth complex sensitivities of coils around the object, their squares summing to one."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    turns = 2 * np.pi * np.arange(count) / count
    away = [(y - 1.2 * np.sin(t)) ** 2 + (x - 1.2 * np.cos(t)) ** 2 for t in turns]
    maps = np.stack([np.exp(-d + 1j * (np.cos(t) * y + np.sin(t) * x)) for d, t in zip(away, turns, strict=True)])
    return (maps / np.linalg.norm(maps, axis=0)).astype(np.complex64)


def root_counts(magnitudes, photons):
    """What a detector that counts photons measures; the noise of a root of counts is the same everywhere."""
    scale = photons / (magnitudes**2).sum()
    return np.sqrt(np.random.default_rng(0).poisson(scale * magnitudes**2) / scale).astype(np.float32)


crystal = camera * np.exp(2j * picture("moon", 256, 256))  # one photograph its amplitude, another its phase
