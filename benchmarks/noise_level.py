"""The noise level found in an image, and what not knowing it costs: ``python -m benchmarks.noise_level [prior ...]``.

Test images (``benchmarks.data``) with white noise of a level: the error of the level found, beside that of
``skimage.restoration.estimate_sigma``, and the PSNR that ``reconstruct`` has where it is told the level and where not.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence

import numpy as np

from benchmarks.data import images
from recon import operators as ops
from recon import reconstruct
from recon.bench.problems import psnr
from recon.noise import estimate_sigma

SETS = {"bsd68": 17, "set12": 12, "ct": 3}
"""Test sets, and how many images of each. Those of knees have noise of their own, of 4 of 255."""
LEVELS = (2, 5, 10, 25, 50)
SIDE = 256


def error(found: Sequence[float], level: float) -> str:
    """How far estimates are off, root mean square, and the largest factor."""
    ratios = np.array(found) / level
    return f"off by {100 * np.sqrt(np.mean((ratios - 1) ** 2)):5.1f} %, {ratios.min():.2f} to {ratios.max():.2f} times"


def show(level: int, priors: Sequence[str]) -> None:
    """One line of estimates, and one for each prior."""
    from skimage.restoration import estimate_sigma as of_peer

    sigma, rng, ours, peers, lost = level / 255, np.random.default_rng(0), [], [], {name: [] for name in priors}
    for name, count in SETS.items():
        for image in images(name, count=count):
            truth = image[:SIDE, :SIDE].astype(np.float64)
            y, operator = truth + sigma * rng.standard_normal(truth.shape), ops.Identity(truth.shape)
            ours.append(estimate_sigma(y, operator))
            peers.append(float(of_peer(y)))
            for prior in priors:
                told, found = (psnr(truth, reconstruct(y, operator, prior=prior, noise=n)) for n in (sigma, "auto"))
                lost[prior].append((told, told - found))
    print(f"noise {level:2} of 255, {len(ours)} images: ours {error(ours, sigma)}; scikit-image {error(peers, sigma)}")
    for prior, both in lost.items():
        told, loss = np.array(both).T
        print(f"    prior {prior}: {told.mean():.2f} dB where it is told, {loss.mean():.2f} less where it is not, "
              f"median {np.median(loss):.2f}, at worst {loss.max():.2f}", flush=True)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """The priors given, or the learned one and total variation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("priors", nargs="*", default=["learned", "tv"], help="names of priors")
    given = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for level in LEVELS:
            show(level, given.priors)


if __name__ == "__main__":
    main()
