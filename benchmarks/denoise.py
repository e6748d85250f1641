"""Denoisers: quality on public test sets, time beside peers, bands, units, tiles: ``python -m benchmarks.denoise``.

Quality follows the usual protocol: float noise on images in [0, 1], nothing clipped, PSNR over whole images, the same
seed for each image. Peers are timed where they are installed; their weights are not downloaded, which time does not
notice. Their PSNR is the published one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.data import images
from benchmarks.problems import psnr
from priors import Denoiser, RidgeRegulariser

LEVELS = (15, 25, 50)
GREY_LIMITS = (31.65, 29.18, 26.22)
QUALITY_LIMITS = (31.70, 29.25, 26.30)
RIDGE_LIMITS = (30.90, 28.40)
COLOUR_LIMITS = (33.60, 30.95, 27.75)
PUBLISHED = {
    "BM3D": "31.08/28.57/25.60",
    "DnCNN": "31.73/29.23/26.23, colour 33.90/31.24/27.95",
    "FFDNet": "31.63/29.19/26.29, colour 33.87/31.21/27.96",
    "DRUNet": "31.91/29.48/26.59, colour 34.30/31.69/28.51",
}
SINGLE_RATIO, HALF_RATIO = 40.0, 70.0
SEAM_LIMIT, UNIT_LIMIT, MEMORY_LIMIT, LOAD_LIMIT = 1e-4, 1e-3, 2.0, 0.3
ROUNDS = 7
REST = 0.02
"""Seconds before each timed call: the threads of the one before spin for some milliseconds."""
TRAINING = Path(__file__).resolve().parents[1] / "docs" / "training"

SCENE = """
import resource, numpy as np
from priors import Denoiser
v = np.random.default_rng(0).standard_normal((4096, 4096), dtype=np.float32)
Denoiser(precision="{precision}")(v, 1.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
LOADING = """
import time, torch
start = time.perf_counter()
import priors
priors.load_denoiser("fast-grey")
print(time.perf_counter() - start)
"""


def noisy(clean: np.ndarray, level: float) -> np.ndarray:
    """The image with seeded white noise of ``level`` of 255."""
    noise = np.random.default_rng(0).standard_normal(clean.shape)
    return (clean + level / 255 * noise).astype(np.float32)


def mean_psnr(denoiser: Callable[[np.ndarray, float], np.ndarray], name: str, level: float) -> float:
    """Mean over a test set."""
    return float(np.mean([psnr(x, denoiser(noisy(x, level), level / 255)) for x in images(name)]))


def verdict(holds: bool) -> str:
    return "ok" if holds else "MISSED"


def quality() -> None:
    """PSNR on BSD68 and CBSD68 at three levels."""
    sets = (
        ("bsd68", Denoiser(), GREY_LIMITS),
        ("bsd68", Denoiser("quality"), QUALITY_LIMITS),
        ("cbsd68", Denoiser(channels=True), COLOUR_LIMITS),
    )
    for name, denoiser, limits in sets:
        for level, limit in zip(LEVELS, limits, strict=True):
            found, held = mean_psnr(denoiser, name, level), f"limit {limit:.2f}"
            print(f"{name} at {level}: {denoiser.name} {found:.2f} dB ({held}: {verdict(found >= limit)})", flush=True)
    for peer, figures in PUBLISHED.items():
        print(f"published, BSD68 at 15/25/50: {peer} {figures}")


def ridge() -> None:
    """PSNR of the weakly convex ridge regulariser on BSD68."""
    for level, limit in zip(LEVELS, RIDGE_LIMITS, strict=False):
        found = mean_psnr(lambda v, sigma: RidgeRegulariser(sigma).prox(v, 1.0), "bsd68", level)
        print(f"bsd68 at {level}: ridge {found:.2f} dB (limit {limit:.2f}: {verdict(found >= limit)})", flush=True)
    print("published: ridge 31.21 at 15, 28.68 at 25")


def sizes() -> None:
    """Megabytes in a file and milliseconds at 256 x 256 of the settings in docs/training, untrained."""
    import torch

    from recon.learn import Settings

    v, sigma = torch.zeros(1, 1, 256, 256), torch.tensor([25 / 255])
    for name in ("fast", "quality"):
        settings = Settings() if name == "fast" else Settings.read(TRAINING / "quality.toml")
        network = settings.network().to(memory_format=torch.channels_last)
        size = 2 * sum(weight.numel() for weight in network.parameters()) / 2**20
        spent = least_times({name: partial(network, v, sigma)}, 3)[name]
        print(f"256 x 256, {torch.get_num_threads()} threads: {name} {1e3 * spent:.0f} ms, {size:.1f} MiB of weights")


def bands() -> None:
    """Colours through principal components and a grey network, beside colour by colour; the colour network alone."""
    together = mean_psnr(Denoiser("fast-grey", channels=True), "cbsd68", 25)
    apart = mean_psnr(Denoiser("fast-grey"), "cbsd68", 25)
    print(f"cbsd68 at 25, grey network: principal components {together:.2f} dB, band by band {apart:.2f} dB "
          f"({verdict(together > apart)})", flush=True)  # fmt: skip
    for level in LEVELS:
        grey, alone = (
            mean_psnr(Denoiser(name, channels=True), "cbsd68", level) for name in ("fast-grey", "fast-colour")
        )
        print(f"cbsd68 at {level}: grey network alone {grey:.2f} dB, colour network alone {alone:.2f} dB", flush=True)


def peers() -> dict[str, Callable[[], object]]:
    """What is installed of the peers, each as a call on the picture of 256 x 256."""
    import torch

    v = torch.from_numpy(noisy(np.full((256, 256), 0.5, np.float32), 25))[None, None]
    calls: dict[str, Callable[[], object]] = {}
    try:
        from deepinv.models import DnCNN, DRUNet
    except ImportError:
        print("deepinv is not installed: no ratios")
        return calls
    drunet = DRUNet(in_channels=1, out_channels=1, pretrained=None).eval()
    dncnn = DnCNN(in_channels=1, out_channels=1, depth=20, bias=True, pretrained=None).eval()
    calls["DRUNet"] = lambda: drunet(v, 25 / 255)
    calls["DnCNN"] = lambda: dncnn(v, 25 / 255)
    return calls


def least_times(calls: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Least time of each call, taken in turns so that what else the machine does hits all of them."""
    import torch

    times = dict.fromkeys(calls, float("inf"))
    with torch.no_grad():
        for call in calls.values():
            call()
        for _ in range(rounds):
            for name, call in calls.items():
                time.sleep(REST)
                start = time.perf_counter()
                call()
                times[name] = min(times[name], time.perf_counter() - start)
    return times


def speed() -> None:
    """Milliseconds for 256 x 256 beside peers."""
    import torch

    v = noisy(np.full((256, 256), 0.5, np.float32), 25)
    ours = {
        f"fast, {precision}": partial(Denoiser(precision=precision), v, 25 / 255)
        for precision in ("float32", "bfloat16")
    }
    others = peers()
    times = least_times({**ours, **others})
    threads = torch.get_num_threads()
    for name, spent in times.items():
        print(f"256 x 256, {threads} threads: {name} {1e3 * spent:.1f} ms")
    if "DRUNet" in times:
        for precision, limit in (("float32", SINGLE_RATIO), ("bfloat16", HALF_RATIO)):
            ratio = times["DRUNet"] / times[f"fast, {precision}"]
            print(f"DRUNet takes {ratio:.0f} times fast in {precision} (limit {limit:g}: {verdict(ratio >= limit)})")
    block_matching(v)


def block_matching(v: np.ndarray) -> None:
    """BM3D, where it is installed: time once, quality on BSD68 is published."""
    try:
        from bm3d import bm3d
    except ImportError:
        print("bm3d is not installed: not timed")
        return
    spent = least_times({"BM3D": lambda: bm3d(v, 25 / 255)}, 1)["BM3D"]
    print(f"256 x 256: BM3D {1e3 * spent:.0f} ms")


def rounding() -> None:
    """What either arithmetic rounds differently from the plain network, which tensors with gradients go through."""
    import torch

    clean = images("bsd68")[::10]
    for precision in ("float32", "bfloat16"):
        for level in LEVELS:
            sizes, losses = [], []
            for x in clean:
                v = noisy(x, level)
                plain = Denoiser()(torch.from_numpy(v).requires_grad_(), level / 255).detach().numpy()
                found = Denoiser(precision=precision)(v, level / 255)
                sizes.append(float(np.sqrt(np.mean((found - plain) ** 2))) / (level / 255))
                losses.append(psnr(x, plain) - psnr(x, found))
            size, loss = np.mean(sizes), np.mean(losses)
            print(f"{precision} at {level}: differs by {size:.1e} of the noise, loses {loss:.4f} dB", flush=True)


def units() -> None:
    """The same image in other units, with the arithmetic that is chosen by itself."""
    clean = images("bsd68", count=1)[0]
    v, sigma = noisy(clean, 25), 25 / 255
    image = Denoiser()(v, sigma)
    for name, scale, offset in (("Hounsfield units", 3000.0, -1024.0), ("reflectances in [0, 10000]", 1e4, 0.0)):
        other = (Denoiser()(np.float32(scale) * v + np.float32(offset), scale * sigma) - offset) / scale
        found = float(np.linalg.norm(other - image) / np.linalg.norm(image))
        print(f"{name}: differs by {found:.1e} (limit {UNIT_LIMIT:g}: {verdict(found <= UNIT_LIMIT)})")


def tiles() -> None:
    """Seams of tiles, and the memory of a large scene."""
    v = noisy(np.tile(images("bsd68", count=1)[0], (3, 2)), 25)
    for precision in ("float32", "bfloat16"):
        whole = Denoiser(precision=precision, tile=4096)(v, 25 / 255)
        seam = float(np.abs(Denoiser(precision=precision, tile=256)(v, 25 / 255) - whole).max() / np.ptp(whole))
        print(f"tiled against whole, {precision}: {seam:.1e} of the range (limit {SEAM_LIMIT:g}: "
              f"{verdict(seam <= SEAM_LIMIT)})")  # fmt: skip
        peak = float(_output(SCENE.format(precision=precision)))
        print(f"4096 x 4096, {precision}: process peak {peak:.2f} GB (limit {MEMORY_LIMIT:g}: "
              f"{verdict(peak <= MEMORY_LIMIT)})", flush=True)  # fmt: skip


def loading() -> None:
    """Time to the network in a fresh process that has imported torch; the best of three."""
    spent = min(float(_output(LOADING)) for _ in range(3))
    print(f"loading after torch: {spent:.2f} s (limit {LOAD_LIMIT:g}: {verdict(spent < LOAD_LIMIT)})")


def _output(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return done.stdout


def main() -> None:
    sections = {s.__name__: s for s in (quality, ridge, bands, speed, sizes, rounding, units, tiles, loading)}
    for name in sys.argv[1:] or sections:
        sections[name]()


if __name__ == "__main__":
    main()
