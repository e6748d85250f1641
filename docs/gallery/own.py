"""Operators and noise of your own."""

import numpy as np
import torch
from images import camera
from shown import row

from recon import Gaussian, reconstruct
from recon import operators as ops


def torch_function():
    """A double exposure, written in torch; its adjoint is found by automatic differentiation."""
    A = ops.from_torch(lambda x: 0.6 * x + 0.4 * torch.roll(x, (4, 14), (-2, -1)), camera.shape)
    y = Gaussian(0.01).sample(A(camera), rng=0)
    x = reconstruct(y, A)
    return row(camera, y, A, x)


def noise_map():
    """A vignette that was corrected: the noise grows towards the corners, and each pixel counts by its own."""
    across = np.linspace(-1, 1, 256)
    shade = 1 / (1 + 4 * (across[:, None] ** 2 + across**2)) ** 2
    A = ops.Blur(np.full((5, 5), 1 / 25), camera.shape)
    y = Gaussian(0.01 / shade).sample(A(camera), rng=0)
    x = reconstruct(y, A, noise=0.01 / shade)
    return row(camera, y, A, x)


FAMILIES = {"A function in torch": torch_function, "A noise level for each pixel": noise_map}
