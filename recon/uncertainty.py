"""How wrong each pixel of a reconstruction may be, by the parametric bootstrap.

The image is taken for the truth: measurements of it are simulated with the noise that was found, and reconstructed in
the same way. How far these fall from it, bias included, is how far it may fall from the truth (Efron and Tibshirani
1993). It takes any operator, prior and solver. Detail that the prior removes from every image shows only in part, for
the image simulated from has already lost it; a factor makes up for that on the mean of deblurring, inpainting,
tomography and MRI (``python -m benchmarks.uncertainty`` prints the calibration).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from recon._selection_problem import background
from solvers import arrays
from solvers.arrays import Array
from solvers.loop import solve

SAMPLES = 8
LOST = 1.5  # error over what the bootstrap sees of it
WIDTH = 1.0  # of the Gaussian in pixels over which squared errors are averaged: few samples, but neighbours are alike


def pixelwise(
    image: Array, plan: Any, build: Callable[[Any, Array, float], Any], rng: np.random.Generator,
    to_image: Callable[[Array], Array] | None = None,
) -> Array:  # fmt: skip
    """Root mean square error of each pixel of a reconstruction.

    Parameters
    ----------
    image : array
        The reconstruction.
    plan : Plan
        What was done; its strength is known.
    build : callable
        ``build(operator, y, strength)`` returns the algorithm.
    rng : numpy.random.Generator
        Source of the noise simulated.
    to_image : callable, optional
        From what is solved for to the image.
    """
    from recon._first_guess import first_guess

    operator = plan.operator

    def again(y: Array) -> Array:
        start = first_guess(operator, y - background(plan.noise))
        found = solve(build(operator, y, plan.strength), start, max_iter=plan.max_iter, tol=plan.tol, objective=False)
        return found.image if to_image is None else to_image(found.image)

    spatial = len(operator.in_shape) - bool(operator.channels)
    shown = image if to_image is None else to_image(image)
    return LOST * bootstrap(shown, lambda _, rng: _simulated(image, plan, rng), again, spatial, rng)


def _simulated(image: Array, plan: Any, rng: np.random.Generator) -> Array:
    """A measurement of the image, with noise where it measures."""
    operator = plan.operator
    clean = operator(image)
    noisy = plan.noise.sample(clean, rng)
    return (
        noisy if operator.sampling is None else clean + (noisy - clean) * arrays.asarray(operator.sampling, clean.real)
    )


def bootstrap(
    image: Array, simulate: Callable[[Array, np.random.Generator], Array], solve: Callable[[Array], Array], ndim: int,
    rng: np.random.Generator, samples: int = SAMPLES,
) -> Array:  # fmt: skip
    """Root mean square error of each pixel.

    Parameters
    ----------
    image : array
        The reconstruction, ``(..., *in_shape)``.
    simulate : callable
        ``simulate(image, rng)`` returns a noisy measurement of it.
    solve : callable
        ``solve(y)`` reconstructs one.
    ndim : int
        Number of trailing axes that are space.
    rng : numpy.random.Generator
        Source of the noise.
    samples : int
        Number of measurements to simulate.

    Returns
    -------
    array
        Of the shape of ``image``, real, in its unit.
    """
    from scipy.ndimage import gaussian_filter

    total = np.zeros(tuple(image.shape), arrays.to_numpy(image).real.dtype)
    for _ in range(samples):
        error = arrays.to_numpy(solve(simulate(image, rng)) - image)
        total += (error.conj() * error).real
    width = (0.0,) * (total.ndim - ndim) + (WIDTH,) * ndim
    return arrays.to_device_of(np.sqrt(gaussian_filter(total / samples, width)), image)


def coverage(truth: Any, image: Any, uncertainty: Any) -> tuple[float, float, float]:
    """How well an uncertainty is calibrated.

    Share of the pixels within one and two of it (0.68 and 0.95 for Gaussian errors), and the root mean square
    uncertainty over the root mean square error.
    """
    error, expected = np.abs(np.asarray(image) - np.asarray(truth)), np.asarray(uncertainty)
    within = [float((error <= k * expected).mean()) for k in (1, 2)]
    return within[0], within[1], math.sqrt(float((expected**2).mean()) / max(float((error**2).mean()), 1e-300))
