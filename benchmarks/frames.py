"""Moving scenes: how much is lost by letting the strength be chosen, ``python -m benchmarks.frames [picture.png]``.

Phantoms that beat, move and take up contrast, measured by Cartesian lines of one coil and of four, along golden-angle
spokes, and behind clouds. The loss against the best strength of a fine grid is at most 0.3 dB. A file named on the
command line gets frames and profiles over time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.problems import Problem, measure, psnr
from benchmarks.strength import oracle, solve
from recon import operators as ops
from recon import psf
from recon.sampling import variable_density_lines
from recon.trajectories import radial

LIMIT = 0.3  # dB
SIZE, FRAMES = 64, 10


def ellipse(y: float, x: float, height: float, width: float) -> np.ndarray:
    """One inside an ellipse with a soft edge, in an image that reaches from -1 to 1."""
    rows, columns = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    distance = np.hypot((rows - y) / height, (columns - x) / width)
    return 1 / (1 + np.exp((distance - 1) / 0.02))


def body() -> np.ndarray:
    """What does not change."""
    whole = 0.6 * ellipse(0, 0, 0.85, 0.7) - 0.3 * ellipse(-0.3, -0.3, 0.2, 0.15)
    return whole + 0.3 * ellipse(0.45, 0.3, 0.12, 0.12) + 0.2 * ellipse(0.5, -0.2, 0.08, 0.2)


def beating() -> np.ndarray:
    """A chamber whose wall moves to and fro."""
    turns = np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES)
    wall = [(0.25 + 0.08 * s, 0.12 + 0.05 * s) for s in turns]
    return np.stack([body() + 0.4 * ellipse(0.05, 0.05, a, a) - 0.3 * ellipse(0.05, 0.05, b, b) for a, b in wall])


def moving() -> np.ndarray:
    """Two discs that cross the body."""
    times = np.arange(FRAMES) / FRAMES
    discs = [0.4 * ellipse(t - 0.5, 0.15, 0.12, 0.12) + 0.3 * ellipse(0.2, 0.5 * t - 0.4, 0.1, 0.1) for t in times]
    return np.stack([body() + disc for disc in discs])


def contrast() -> np.ndarray:
    """Nothing moves; three regions take up contrast agent: of rank three."""
    t = np.arange(FRAMES) / FRAMES
    slow, quick = 1 - np.exp(-5 * t), 2 * t * np.exp(1 - 3 * t)
    lesions = 0.5 * ellipse(-0.3, 0.35, 0.15, 0.15) + 0.3 * ellipse(0.3, -0.4, 0.1, 0.1)
    return body() + np.multiply.outer(slow, 0.4 * ellipse(0.05, 0.1, 0.25, 0.25)) + np.multiply.outer(quick, lesions)


def lines(reduction: float) -> np.ndarray:
    """Other lines of k-space in each frame, denser in the middle."""
    each = [variable_density_lines(SIZE, reduction, rng=k) for k in range(FRAMES)]
    return np.repeat(np.stack(each)[:, :, None], SIZE, axis=2)


def coils() -> np.ndarray:
    """Four of them around the object."""
    rows, columns = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    places = [(-1.2, 0), (0, 1.2), (1.2, 0), (0, -1.2)]
    return np.stack(
        [np.exp(-((rows - y) ** 2) - (columns - x) ** 2 + 1j * (y * rows + x * columns)) for y, x in places]
    )


def problems() -> Iterator[Problem]:
    """Scenes and ways to measure them, noise of which nobody is told."""
    scenes = {make.__name__: make().astype(np.float32) for make in (beating, moving, contrast)}
    spokes = radial(8 * FRAMES, 2 * SIZE, size=SIZE, golden=True).reshape(FRAMES, 8, 2 * SIZE, 2)
    rough = ops.Blur(psf.gaussian(4), (SIZE, SIZE))(np.random.default_rng(0).standard_normal((FRAMES, SIZE, SIZE)))
    clear = rough < np.quantile(rough, 0.6)
    scanners: dict[str, tuple[Any, float]] = {
        "lines": (ops.DynamicMRI(lines(5)), 0.01),
        "lines, noisy": (ops.DynamicMRI(lines(4)), 0.03),
        "lines, 4 coils": (ops.DynamicMRI(lines(8), coils()), 0.01),
        "golden spokes": (ops.DynamicNonCartesianMRI(spokes, (SIZE, SIZE)), 0.01),
        "clouds": (ops.block_diagonal([ops.Mask(mask) for mask in clear]), 0.02),
    }
    for scanner, (operator, sigma) in scanners.items():
        for scene, truth in scenes.items():
            image = truth if operator.kind == "any" else truth.astype(np.complex64)
            yield replace(measure(f"{scanner}: {scene}", image, operator, sigma), prior="auto")
    still = scenes["contrast"].astype(np.complex64)
    yield replace(measure("lines: contrast, low rank", still, ops.DynamicMRI(lines(5)), 0.01), prior="low-rank")


def main(arguments: Sequence[str] = ()) -> None:
    losses, shown = [], []
    print(f"{'problem':26s} {'apart':>6s} {'strength':>9s} {'PSNR':>6s} {'best':>6s} {'loss':>6s} {'s':>6s}  status")
    for problem in problems():
        image, info = solve(problem, return_info=True)
        prior = info.plan.prior
        reached = psnr(problem.truth, image)
        _, limit = oracle(replace(problem, prior=prior), info.plan.strength)
        losses.append(limit - reached)
        apart = getattr(prior, "spacing", (float("nan"),))[0]
        print(
            f"{problem.name:26s} {apart:6.2f} {info.plan.strength:9.3g} {reached:6.2f} {limit:6.2f} "
            f"{losses[-1]:6.3f} {info.seconds['total']:6.2f}  {info.status.name.lower()}",
            flush=True,
        )
        shown.append((problem.name, problem.truth, problem.operator.adjoint(problem.y), image))
    verdict = "ok" if max(losses) <= LIMIT else "FAILS"
    print(f"loss: mean {np.mean(losses):.3f} dB, worst {max(losses):.3f} dB (limit {LIMIT}): {verdict}")
    if arguments:
        _draw(shown, arguments[0])


def _draw(shown: Sequence[tuple[str, Any, Any, Any]], path: str) -> None:
    """Truth, adjoint image and reconstruction: a frame, and a column over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.1 * len(shown)), layout="constrained")
    for row, (name, *series) in zip(figure.subplots(len(shown), 6), shown, strict=True):
        for k, frames in enumerate(map(np.abs, series)):
            for axes, picture in ((row[2 * k], frames[FRAMES // 2]), (row[2 * k + 1], frames[:, :, SIZE // 2].T)):
                axes.imshow(picture, cmap="gray", vmin=0, vmax=series[0].real.max(), aspect="auto")
                axes.set_axis_off()
        row[0].set_title(name, fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    main(sys.argv[1:])
