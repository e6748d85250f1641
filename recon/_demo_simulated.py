"""Scenes measured by simulation from images that installed packages carry, so that the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from recon import operators as ops
from recon._demo_scene import Panel, Scene
from recon.fbp import fbp
from recon.psf import motion
from recon.sampling import variable_density_lines
from solvers.errors import FileError, ReconError

WATER = 0.2  # attenuation of water at the energies of medical CT, in 1/cm


def simulated() -> Iterator[Callable[[], Scene]]:
    """What makes the scenes, one after the other."""
    yield from (tomography, photograph, resonance)


def tomography() -> Scene:
    """A CT slice, measured again from 60 directions with noise of 1 % of the sinogram's root mean square."""
    slice_ = _dicom("J2K_pixelrep_mismatch.dcm")
    truth = attenuation(slice_.array)
    operator = ops.ParallelBeam(truth.shape, 60, spacing=slice_.metadata["spacing"][0] / 10)  # cm
    clean = operator(truth)
    y = clean + 0.01 * _rms(clean) * _normal(clean.shape)
    window = (float(attenuation(-260.0)), float(attenuation(340.0)))
    return Scene(
        name="CT, 60 views",
        y=y,
        operator=operator,
        baseline=lambda: fbp(y, operator, window="hann"),
        baseline_name="filtered back-projection, Hann",
        beside=(Panel("truth", truth, window), Panel("sinogram", y, (0, float(y.max())))),
        window=window,
        truth=truth,
        data_range=float(np.ptp(truth)),
    )


def attenuation(hounsfield: Any) -> Any:
    """Attenuation in 1/cm from Hounsfield units; nothing attenuates less than air."""
    return np.maximum(WATER * (1 + np.asarray(hounsfield, np.float32) / 1000), 0)


def photograph() -> Scene:
    """A colour photograph blurred by 21 pixels of motion, noise 0.01; what lies outside the frame is not known."""
    from skimage import data, restoration, util

    whole = util.img_as_float32(data.astronaut())
    psf = motion(21, degrees=30, size=21)
    frame = tuple(n - k + 1 for n, k in zip(whole.shape, psf.shape, strict=False))
    operator = ops.Blur(psf, frame, boundary="unknown")  # its image is the whole photograph
    clean = np.moveaxis(operator(np.moveaxis(whole, -1, 0)), 0, -1)
    y = clean + 0.01 * _normal(clean.shape)
    margin = 2 * len(psf)

    def richardson_lucy() -> np.ndarray:
        image = np.zeros_like(whole)
        for c in range(3):
            padded = np.pad(y[..., c].clip(1e-3), margin, mode="reflect")  # or the borders would ring even more
            answer = restoration.richardson_lucy(padded, psf, num_iter=30)
            image[(*operator.interior, c)] = answer[margin:-margin, margin:-margin]
        return image

    truth = whole[operator.interior]
    return Scene(
        name="photograph, motion blur",
        y=y,
        operator=operator,
        baseline=richardson_lucy,
        baseline_name="Richardson-Lucy, 30 steps",
        beside=(Panel("truth", truth, (0, 1)), Panel("photograph", y.clip(0, 1), (0, 1))),
        window=(0, 1),
        truth=truth,
        show=lambda image: image[operator.interior].clip(0, 1),
        options={"channel_axis": -1},
    )


def resonance() -> Scene:
    """A quarter of the k-space lines of an MR slice, with complex noise of 0.005 of its largest value."""
    slice_ = _dicom("examples_overlay.dcm").array.astype(np.float32)
    truth = slice_ / slice_.max()
    mask = np.repeat(variable_density_lines(len(truth), 4)[:, None], truth.shape[1], axis=1)
    operator = ops.CartesianMRI(mask)
    noise = _normal((2, *truth.shape))
    y = operator(truth) + 0.005 * (noise[0] + 1j * noise[1]) * mask
    return Scene(
        name="MRI, a quarter of k-space",
        y=y,
        operator=operator,
        baseline=lambda: operator.adjoint(y),
        baseline_name="zero-filled",
        beside=(Panel("truth", truth, (0, 0.7)), Panel("k-space, log", *log_magnitude(y))),
        window=(0, 0.7),
        truth=truth,
        show=np.abs,
    )


def log_magnitude(k: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """k-space as a picture, and its window: five decades."""
    peak = float(np.abs(k).max())
    return np.log10(np.maximum(np.abs(k) / peak, 1e-5)), (-5.0, 0.0)


def _dicom(name: str) -> Any:
    """A DICOM image that pydicom carries."""
    from recon import files

    try:
        from pydicom.data import get_testdata_file
    except ImportError:
        raise ReconError(
            "the demo reads images that pydicom carries, and pydicom is not installed; install it with "
            "`pip install recon-imaging[dicom,plot]`."
        ) from None
    path = get_testdata_file(name, download=False)
    if path is None:
        raise FileError(f"this version of pydicom does not carry {name}. Install pydicom 3.0.")
    return files.read(path)


def _normal(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(array**2)))
