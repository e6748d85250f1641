"""Seeded problems on images that scikit-image carries: a truth, an operator, a measurement and a prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon import operators as ops
from recon import psf
from recon.sampling import variable_density_lines


@dataclass(frozen=True)
class Problem:
    """One measurement to reconstruct."""

    name: str
    y: np.ndarray
    operator: Any
    prior: Any = "tv"
    noise: Any = "auto"  # as for reconstruct; its level where it is known
    truth: np.ndarray | None = None
    strength: float | None = None  # None: chosen once, as reconstruct does, and then the same for every solver


def psnr(truth: np.ndarray, image: np.ndarray, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB, of the magnitude where the image is complex."""
    from skimage.metrics import peak_signal_noise_ratio

    truth, image = (np.abs(a) if np.iscomplexobj(a) else np.asarray(a) for a in (truth, image))
    return float(peak_signal_noise_ratio(truth, image, data_range=data_range))


def photograph(name: str, size: int = 512) -> np.ndarray:
    """A grey photograph of scikit-image in [0, 1], float32, reduced to ``size`` x ``size``."""
    from skimage import color, data, transform, util

    image = util.img_as_float32(getattr(data, name)())
    image = color.rgb2gray(image) if image.ndim == 3 else image
    side = min(image.shape)
    image = image[:side, :side]
    if side != size:
        image = transform.resize(image, (size, size), anti_aliasing=True)
    return image.astype(np.float32)


def noisy(clean: np.ndarray, operator: Any, sigma: float, seed: int = 0) -> np.ndarray:
    """Add seeded Gaussian noise of an absolute level where the operator measures."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(clean.shape)
    if np.iscomplexobj(clean):
        noise = noise + 1j * rng.standard_normal(clean.shape)
    if operator.sampling is not None:
        noise = noise * operator.sampling
    return clean + (sigma * noise).astype(clean.dtype)


def simulated(name: str, truth: np.ndarray, operator: Any, sigma: float, prior: Any = "tv") -> Problem:
    """A problem of known noise level."""
    return Problem(name, noisy(operator(truth), operator, sigma), operator, prior, sigma, truth)


def deblur(image: str = "camera", sigma: float = 0.01, size: int = 512) -> Problem:
    truth = photograph(image, size)
    return simulated("deblur", truth, ops.Blur(psf.gaussian(2.0), truth.shape), sigma)


def deblur_frame(image: str = "camera", sigma: float = 0.01, size: int = 256) -> Problem:
    """Nothing is known beyond the frame; the image is larger than the measurement."""
    whole = photograph(image, size)
    operator = ops.Blur(psf.gaussian(1.5), tuple(n - 12 for n in whole.shape), boundary="unknown")
    truth = np.pad(whole, [(0, n - m) for n, m in zip(operator.in_shape, whole.shape, strict=True)], mode="edge")
    return simulated("deblur-frame", truth, operator, sigma)


def deblur_wavelet() -> Problem:
    truth = photograph("camera", 256)
    return simulated("deblur-wavelet", truth, ops.Blur(psf.gaussian(1.5), truth.shape), 0.01, "wavelet")


def deblur_counts(image: str = "camera", photons: float = 200.0, size: int = 256) -> Problem:
    """Photon counts of a blurred photograph, ``photons`` where it is white."""
    truth = photograph(image, size)
    operator = photons * ops.Blur(psf.gaussian(1.5), truth.shape)
    counts = np.random.default_rng(0).poisson(operator(truth).clip(0)).astype(np.float32)
    return Problem("deblur-counts", counts, operator, "tv", "poisson", truth)


def denoise(image: str = "camera", sigma: float = 0.1, size: int = 512) -> Problem:
    truth = photograph(image, size)
    return simulated("denoise", truth, ops.Identity(truth.shape), sigma)


def inpaint(image: str = "camera", sigma: float = 0.01, size: int = 256) -> Problem:
    truth = photograph(image, size)
    return simulated("inpaint", truth, ops.Mask(np.random.default_rng(1).random(truth.shape) < 0.5), sigma)


def superresolve(image: str = "camera", sigma: float = 0.01, size: int = 256) -> Problem:
    truth = photograph(image, size)
    return simulated("superresolve", truth, ops.Downsample(2, truth.shape, psf.gaussian(1.0)), sigma)


def _views(count: int, size: int) -> Any:
    return ops.ParallelBeam((size, size), count, spacing=1 / size)


def ct_sparse(image: str = "camera", sigma: float = 0.005, size: int = 256) -> Problem:
    return simulated("ct-sparse", photograph(image, size), _views(60, size), sigma)


def ct_dense() -> Problem:
    return simulated("ct-dense", photograph("camera", 128), _views(180, 128), 0.005)


def ct_tikhonov() -> Problem:
    return simulated("ct-tikhonov", photograph("camera", 128), _views(90, 128), 0.005, "tikhonov")


def coils(count: int, shape: tuple[int, int]) -> np.ndarray:
    """Smooth complex sensitivities on a circle around the image, their squares summing to one."""
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    angles = 2 * np.pi * np.arange(count) / count
    maps = [
        np.exp(-((rows - 1.2 * np.sin(a)) ** 2 + (columns - 1.2 * np.cos(a)) ** 2) / 2 + 1j * (a + columns * np.sin(a)))
        for a in angles
    ]
    stack = np.stack(maps)
    return (stack / np.sqrt((np.abs(stack) ** 2).sum(0))).astype(np.complex64)


def lines(shape: tuple[int, int], acceleration: float) -> np.ndarray:
    """Random phase-encoding lines and a fully sampled centre."""
    return np.broadcast_to(variable_density_lines(shape[0], acceleration)[:, None], shape).copy()


def mri_coils() -> Problem:
    truth = photograph("camera", 256).astype(np.complex64)
    operator = ops.CartesianMRI(lines(truth.shape, 4), coils(8, truth.shape))
    return simulated("mri-coils", truth, operator, 0.01, "wavelet")


def mri_tv(image: str = "camera", sigma: float = 0.01, size: int = 256) -> Problem:
    truth = photograph(image, size).astype(np.complex64)
    return simulated("mri-tv", truth, ops.CartesianMRI(lines(truth.shape, 3)), sigma)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "deblur": deblur,
    "deblur-frame": deblur_frame,
    "deblur-wavelet": deblur_wavelet,
    "deblur-counts": deblur_counts,
    "denoise": denoise,
    "inpaint": inpaint,
    "superresolve": superresolve,
    "ct-sparse": ct_sparse,
    "ct-dense": ct_dense,
    "ct-tikhonov": ct_tikhonov,
    "mri-coils": mri_coils,
    "mri-tv": mri_tv,
}
