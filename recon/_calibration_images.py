"""Images to calibrate on where none are given: photographs of scikit-image, and ellipses with a fine texture."""

from __future__ import annotations

from typing import Any

import numpy as np

PHOTOGRAPHS = ("camera", "moon", "astronaut", "cell")
ELLIPSES = 12
TEXTURE = 0.02


def simulated_images(operator: Any, rng: np.random.Generator) -> list[np.ndarray]:
    """Eight images in [0, 1] that an operator takes; complex ones have a phase that changes slowly."""
    from recon.bench.problems import photograph

    rows, columns = operator.in_shape
    photographs = [photograph(name, max(rows, columns))[:rows, :columns] for name in PHOTOGRAPHS]
    both = zip(photographs, (ellipses((rows, columns), rng) for _ in PHOTOGRAPHS), strict=True)
    images = [image for pair in both for image in pair]
    return [_with_phase(image, rng) for image in images] if operator.kind == "complex" else images


def ellipses(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A body of overlapping ellipses, slightly textured, on black; float32."""
    y, x = (np.linspace(-1, 1, n)[s] for n, s in zip(shape, ((slice(None), None), (None, slice(None))), strict=True))
    inside = x**2 / rng.uniform(0.6, 0.9) ** 2 + y**2 / rng.uniform(0.6, 0.9) ** 2 < 1
    image = 0.3 * inside
    for _ in range(ELLIPSES):
        (u, v), (a, b), turn = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.03, 0.35, 2), rng.uniform(0, np.pi)
        along, across = (
            (np.cos(turn) * (x - u) + np.sin(turn) * (y - v)),
            (np.cos(turn) * (y - v) - np.sin(turn) * (x - u)),
        )
        image = image + rng.uniform(-0.15, 0.3) * ((along / a) ** 2 + (across / b) ** 2 < 1)
    texture = TEXTURE * _smooth(rng.standard_normal(shape), 1.0)
    return np.clip(image + inside * texture, 0, 1).astype(np.float32)


def _with_phase(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    phase = _smooth(rng.standard_normal(image.shape), min(image.shape) / 6)
    return (image * np.exp(1j * phase)).astype(np.complex64)


def _smooth(noise: np.ndarray, width: float) -> np.ndarray:
    """Noise averaged over a width in pixels, of standard deviation 1."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(noise, width, mode="wrap")
    return smooth / smooth.std()
