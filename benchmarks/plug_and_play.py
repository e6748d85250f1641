"""Learned priors in plug-and-play restoration: ``python -m benchmarks.plug_and_play [section ...]``.

Sections: deblur (ten kernels), weight (against the oracle's), inpaint, tomography, mri, units. Test images of
``benchmarks.data``; nothing is tuned: ``reconstruct(y, A, prior="learned")``.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks.strength import GRID
from priors import Denoiser, PlugAndPlay
from recon import operators as ops
from recon import psf, reconstruct
from recon.bench.problems import noisy, psnr
from recon.sampling import variable_density_lines


class Counted:
    """A denoiser that counts its calls on an image."""

    def __init__(self, *, channels: bool = False):
        self.denoiser, self.calls, self.axes = Denoiser(channels=channels), 0, 3 if channels else 2

    def __call__(self, v: np.ndarray, sigma: float) -> np.ndarray:
        self.calls += int(np.prod(v.shape[: v.ndim - self.axes]))
        return self.denoiser(v, sigma)


def deblur() -> None:
    """Ten kernels, ten colour images, circular borders (Zhang et al. 2017), the noise level not told."""
    limits = {0.01: 31.2, 0.03: 27.8, 0.05: 26.2}
    for sigma, limit in limits.items():
        values, counted, begin = [], Counted(channels=True), time.perf_counter()
        for kernel in data.ten_kernels():
            for image in data.images("cbsd68", count=10):
                operator = ops.Blur(kernel, shape=image.shape[1:])
                noise = np.random.RandomState(0).standard_normal((*image.shape[1:], 3))  # the protocol's generator
                y = operator(image) + (sigma * np.moveaxis(noise, -1, 0)).astype(np.float32)
                values.append(psnr(image, reconstruct(y, operator, prior=PlugAndPlay(counted), channel_axis=0)))
        calls, spent = counted.calls / len(values), time.perf_counter() - begin
        print(
            f"noise {sigma:g}: {np.mean(values):.2f} dB, at least {limit}; denoiser calls {calls:.0f}, at most 30; "
            f"{spent / len(values):.2f} s an image",
            flush=True,
        )


def weight() -> None:
    """Six photographs, three noise levels, a random motion kernel each: the weight against the best of a grid."""
    losses = []
    for i, image in enumerate(data.images("bsd68", count=6)):
        kernel = psf.camera_shake(21, rng=i)
        operator = ops.Blur(kernel, shape=image.shape)
        for sigma in (0.005, 0.02, 0.05):
            y = noisy(operator(image), operator, sigma, seed=i)
            found, info = reconstruct(y, operator, prior="learned", return_info=True)
            best = oracle(lambda s: reconstruct(y, operator, prior="learned", strength=s), image, info.plan.strength)  # noqa: B023
            losses.append(best - psnr(image, found))
            print(f"image {i} noise {sigma:g}: {psnr(image, found):.2f} dB, best {best:.2f}", flush=True)
    print(f"loss against the oracle weight: mean {np.mean(losses):.3f} dB, at most 0.05; worst {max(losses):.3f}")


def oracle(solve: Callable[[float], Any], truth: np.ndarray, near: float) -> float:
    """Best PSNR over a grid of strengths: climbed from ``near`` until both neighbours are worse."""
    found: dict[int, float] = {}

    def at(i: int) -> float:
        if i not in found:
            found[i] = psnr(truth, solve(near * GRID**i))
        return found[i]

    i = 0
    while not (at(i) >= at(i - 1) and at(i) >= at(i + 1)):
        i += 1 if at(i + 1) > at(i - 1) else -1
    return at(i)


def inpaint() -> None:
    """Set3C, 30 % of the pixels kept, no noise: against linear interpolation; a hundred seeds without divergence."""
    from scipy.interpolate import griddata

    gains = []
    grey = [image.mean(0) for image in data.images("set3c")]
    for seed in range(100):
        image = grey[seed % len(grey)]
        mask = np.random.default_rng(seed).random(image.shape) < 0.3
        found = psnr(image, reconstruct(mask * image, ops.Mask(mask), prior="learned"))
        points = np.argwhere(mask)
        rows, columns = np.indices(image.shape)
        linear = griddata(points, image[mask], (rows, columns), method="linear")
        nearest = griddata(points, image[mask], (rows, columns), method="nearest")
        gains.append(found - psnr(image, np.where(np.isnan(linear), nearest, linear)))
    print(
        f"gain over linear interpolation: mean {np.mean(gains):.2f} dB, at least 5; least {min(gains):.2f} of 100 seeds"
    )


def tomography() -> None:
    """Test slices, 60 views, 1 % noise: against the best weight of total variation."""
    report("CT, 60 views", _scans())


def _scans() -> Iterator[tuple[np.ndarray, Any, np.ndarray]]:
    for image in data.images("ct"):
        operator = ops.ParallelBeam(image.shape, angles=60, spacing=1 / image.shape[0])
        clean = operator(image)
        yield image, operator, noisy(clean, operator, 0.01 * float(np.abs(clean).mean()))


def mri() -> None:
    """Test slices, a quarter of k-space, 1 % noise: against the best weight of total variation."""
    report("MRI, 4x", _slices())


def _slices() -> Iterator[tuple[np.ndarray, Any, np.ndarray]]:
    for i, image in enumerate(data.images("mri")):
        lines = variable_density_lines(image.shape[1], 4, rng=i)
        operator = ops.CartesianMRI(np.broadcast_to(lines, image.shape).copy())
        yield image, operator, noisy(operator(image), operator, 0.01)


def report(title: str, problems: Iterator[tuple[np.ndarray, Any, np.ndarray]]) -> None:
    """Gain of the learned prior over total variation at its best weight."""
    gains = []
    for i, (image, operator, y) in enumerate(problems):
        learned = psnr(image, reconstruct(y, operator, prior="learned"))
        _, info = reconstruct(y, operator, prior="tv", return_info=True)
        solve = lambda s, y=y, A=operator: reconstruct(y, A, prior="tv", strength=s, max_iter=1000)  # noqa: E731
        best = oracle(solve, image, info.plan.strength)
        gains.append(learned - best)
        print(f"{title} {i}: learned {learned:.2f} dB, total variation at best {best:.2f}", flush=True)
    print(f"{title}: gain {np.mean(gains):.2f} dB on the mean, at least 1.0")


def units() -> None:
    """The same picture in Hounsfield units, reflectances up to 10000 and [0, 1]: the same answer up to scale."""
    image = data.images("ct", count=1)[0][::2, ::2]
    operator = ops.Blur(psf.gaussian(1.5), shape=image.shape)
    y = noisy(operator(image), operator, 0.02)
    base = reconstruct(y, operator, prior="learned")
    for name, scale, shift in (("reflectance", 1e4, 0.0), ("Hounsfield", 4095.0, -1024.0)):
        other = (reconstruct(scale * y + shift, operator, prior="learned") - shift) / scale
        print(f"{name}: differs by {np.abs(other - base).max() / np.ptp(base):.1e} of the range, at most 1e-3")


def main(sections: Sequence[str] = ()) -> None:
    known = {f.__name__: f for f in (deblur, weight, inpaint, tomography, mri, units)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sections or known:
            print(f"-- {known[name].__doc__}", flush=True)
            known[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
