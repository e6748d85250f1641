"""Learned priors in plug-and-play restoration: ``python -m benchmarks.plug_and_play [section ...]``.

Sections: deblur (ten kernels), weight (against the oracle's), inpaint, tomography, mri, units, choice, counts. Test
images of ``benchmarks.data``; nothing is tuned: ``reconstruct(y, A, prior="learned")``.
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
from solvers import Status


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
            usual = psnr(image, reconstruct(y, operator, prior="learned"))
            found, info = reconstruct(y, operator, prior="learned", strength="gcv", return_info=True)
            best = oracle(lambda s: reconstruct(y, operator, prior="learned", strength=s), image, info.plan.strength)  # noqa: B023
            best = max(best, usual, psnr(image, found))
            losses.append((best - psnr(image, found), best - usual))
            print(f"image {i} noise {sigma:g}: best {best:.2f} dB, lost {losses[-1]}", flush=True)
    (chosen, usual), (worst, _) = np.mean(losses, 0), np.max(losses, 0)
    print(
        f"strength='gcv' loses {chosen:.3f} dB on the mean, at most 0.05, {worst:.3f} at worst; the usual {usual:.3f}"
    )


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
    """Set3C, 30 % of the pixels kept, no noise: against linear interpolation; a hundred seeds on crops."""
    grey = [image.mean(0) for image in data.images("set3c")]
    gains = [_gain(image, seed) for seed, image in enumerate(grey)]
    print(f"gain over linear interpolation: {np.round(gains, 2)} dB, mean {np.mean(gains):.2f}, at least 5", flush=True)
    crops = [np.ascontiguousarray(image[96:160, 96:160]) for image in grey]
    small = [_gain(crops[seed % 3], seed) for seed in range(100)]
    print(f"a hundred seeds: gain {np.mean(small):.2f} dB on the mean, {min(small):.2f} at least")


def _gain(image: np.ndarray, seed: int) -> float:
    """Of the learned prior over linear interpolation, nearest neighbours outside the convex hull."""
    from scipy.interpolate import griddata

    mask = np.random.default_rng(seed).random(image.shape) < 0.3
    found, info = reconstruct(mask * image, ops.Mask(mask), prior="learned", return_info=True)
    assert info.status is Status.FINISHED, "diverged"
    points, everywhere = np.argwhere(mask), tuple(np.indices(image.shape))
    linear, nearest = (griddata(points, image[mask], everywhere, method=method) for method in ("linear", "nearest"))
    return psnr(image, found) - psnr(image, np.where(np.isnan(linear), nearest, linear))


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


def choice() -> None:
    """Which of total variation and the learned prior ``prior=["tv", "learned"]`` takes, and what that gains."""
    rows = []
    for name, image, operator, y in _mixed():
        values = [psnr(image, reconstruct(y, operator, prior=prior)) for prior in ("tv", "learned", ["tv", "learned"])]
        rows.append((*values, max(values[:2])))
        print(f"{name}: tv {values[0]:.2f}, learned {values[1]:.2f}, the choice {values[2]:.2f} dB", flush=True)
    tv, learned, chosen, best = np.mean(rows, 0)
    print(f"mean: tv {tv:.2f}, learned {learned:.2f}, the choice {chosen:.2f}, better of both {best:.2f} dB")


def _mixed() -> Iterator[tuple[str, np.ndarray, Any, np.ndarray]]:
    for i, image in enumerate(data.images("bsd68", count=2)):
        blur = ops.Blur(psf.camera_shake(21, rng=i), shape=image.shape)
        for sigma in (0.01, 0.05):
            yield f"photograph {i}, shake, noise {sigma:g}", image, blur, noisy(blur(image), blur, sigma)
        identity = ops.Identity(image.shape)
        yield f"photograph {i}, noise 0.1", image, identity, noisy(image, identity, 0.1)
        mask = ops.Mask(np.random.default_rng(i).random(image.shape) < 0.5)
        yield f"photograph {i}, half of the pixels", image, mask, noisy(mask(image), mask, 0.02)
    for i, (image, operator, y) in zip(range(1), _scans(), strict=False):
        yield f"CT {i}, 60 views", image, operator, y
    for i, (image, operator, y) in zip(range(2), _slices(), strict=False):
        yield f"MRI {i}, 4x", image, operator, y
    phantom = np.kron(np.random.default_rng(0).random((8, 8)), np.ones((16, 16))).astype(np.float32)
    blur = ops.Blur(psf.gaussian(2.0), shape=phantom.shape)
    yield "flat squares, blurred", phantom, blur, noisy(blur(phantom), blur, 0.05)


def counts() -> None:
    """Photon counts of three test images, as they are and blurred: against the likelihood with total variation."""
    from recon.noise import Poisson

    for peak in (5, 20, 100):
        found = []
        for i, image in enumerate(data.images("set12", count=3)):
            for operator in (ops.Identity(image.shape), ops.Blur(psf.gaussian(1.5), image.shape, "reflecting")):
                y = Poisson().sample(peak * operator(image), rng=i)
                priors = ("tv", "learned", "auto")
                found.append([psnr(image, reconstruct(y, operator, prior=p, noise="poisson") / peak) for p in priors])
        tv, learned, choice = np.mean(found, 0)
        print(f"at most {peak} counts: tv {tv:.2f}, learned {learned:.2f}, choice {choice:.2f} dB", flush=True)


def main(sections: Sequence[str] = ()) -> None:
    known = {f.__name__: f for f in (deblur, weight, inpaint, tomography, mri, units, choice, counts)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in sections or known:
            print(f"-- {known[name].__doc__}", flush=True)
            known[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
