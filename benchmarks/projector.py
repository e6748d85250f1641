"""Parallel-beam projector beside ASTRA, scikit-image and deepinv, in one run: ``python -m benchmarks.projector``.

512 x 512 pixels, 360 views of 729 cells, float32, on the CPU. Calls take turns and the shortest of several counts, so
that a busy machine slows everybody alike; compare ratios, not milliseconds. ASTRA's CPU projectors use one thread, ours
all. Peers that are not installed are left out.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.fbp import fbp
from recon.operators import ParallelBeam
from solvers.arrays import threads

SIZE, VIEWS, DETECTORS = 512, 360, 729
ROUNDS = 7
SLOW_ROUNDS = 2  # for calls of seconds
LIMITS = {"forward": 8.0, "adjoint": 4.0}  # times ASTRA's "linear", at least


@dataclass(frozen=True)
class Contender:
    """A projector: what it does to an image and to a sinogram."""

    name: str
    forward: Callable[[], Any]
    adjoint: Callable[[], Any]
    rounds: int = ROUNDS


def phantom(size: int = SIZE) -> np.ndarray:
    """The Shepp-Logan phantom, smoothed to the scale of a few pixels."""
    from scipy.ndimage import gaussian_filter
    from skimage.data import shepp_logan_phantom
    from skimage.transform import resize

    return gaussian_filter(resize(shepp_logan_phantom(), (size, size)), 2).astype(np.float32)


def ours(x: np.ndarray, angles: np.ndarray) -> Contender:
    """This library."""
    A = ParallelBeam(x.shape, angles, detectors=DETECTORS)
    y = A(x)
    return Contender("recon", lambda: A(x), lambda: A.adjoint(y))


def astra(x: np.ndarray, angles: np.ndarray, kind: str = "linear") -> Contender:
    """ASTRA's CPU projector of parallel beams."""
    import astra

    return astra_contender(x, astra.create_proj_geom("parallel", 1.0, DETECTORS, angles), kind)


def astra_contender(x: np.ndarray, geometry: Any, kind: str) -> Contender:
    """ASTRA's CPU projector of a geometry; only the run is timed, its arrays and algorithms are made beforehand."""
    import astra

    volume = astra.create_vol_geom(*x.shape)
    projector = astra.create_projector(kind, geometry, volume)
    sinogram = astra.data2d.create("-sino", astra.projector.projection_geometry(projector))
    image = astra.data2d.create("-vol", volume, x)
    back = astra.data2d.create("-vol", volume)

    def algorithm(name: str, data: str, target: int) -> int:
        config = astra.astra_dict(name)
        config.update({"ProjectorId": projector, "ProjectionDataId": sinogram, data: target})
        return astra.algorithm.create(config)

    forward = algorithm("FP", "VolumeDataId", image)
    adjoint = algorithm("BP", "ReconstructionDataId", back)

    def run(which: int, result: int) -> np.ndarray:
        astra.algorithm.run(which)
        return astra.data2d.get_shared(result)

    return Contender(f"ASTRA {kind}", lambda: run(forward, sinogram), lambda: run(adjoint, back))


def scikit_image(x: np.ndarray, angles: np.ndarray) -> Contender:
    """``radon``; for the adjoint ``iradon`` without a filter, its back-projection."""
    from skimage.transform import iradon, radon

    degrees = np.rad2deg(angles)
    y = radon(x, degrees, circle=False)
    return Contender(
        "scikit-image",
        lambda: radon(x, degrees, circle=False).T,
        lambda: iradon(y, degrees, filter_name=None, circle=False),
        SLOW_ROUNDS,
    )


def deepinv(x: np.ndarray, angles: np.ndarray) -> Contender:
    """The Tomography physics and its adjoint."""
    import torch
    from deepinv.physics import Tomography

    physics = Tomography(torch.as_tensor(np.rad2deg(angles)), x.shape[-1], circle=False, normalize=False)
    image = torch.from_numpy(x)[None, None]
    with torch.no_grad():
        y = physics(image)
    return Contender("deepinv", lambda: physics(image), lambda: physics.A_adjoint(y), SLOW_ROUNDS)


PEERS: dict[str, list[Callable[[np.ndarray, np.ndarray], Contender]]] = {
    "astra": [astra, lambda x, angles: astra(x, angles, "line")],
    "skimage": [scikit_image],
    "deepinv": [deepinv],
}


def contenders(x: np.ndarray, angles: np.ndarray) -> list[Contender]:
    """This library and the peers that are installed."""
    found = [make for module, makes in PEERS.items() if importlib.util.find_spec(module) for make in makes]
    return [make(x, angles) for make in [ours, *found]]


def shortest(calls: list[tuple[Callable[[], Any], int]]) -> list[float]:
    """Seconds of the quickest of some rounds, the calls taking turns."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(max(rounds for _, rounds in calls) + 1):
        for slot, (call, rounds) in zip(times, calls, strict=True):
            if turn <= rounds:  # the first turn warms up
                start = time.perf_counter()
                call()
                slot.append(time.perf_counter() - start)
    return [min(slot[1:]) for slot in times]


def agreement(x: np.ndarray, angles: np.ndarray) -> str:
    """How far our sinogram is from ASTRA's, and ASTRA's projectors from each other."""
    y = ParallelBeam(x.shape, angles, detectors=DETECTORS)(x)
    linear, line = (astra(x, angles, kind).forward().copy() for kind in ("linear", "line"))

    def apart(a: np.ndarray) -> float:
        return float(np.linalg.norm(a - linear) / np.linalg.norm(linear))

    return f"relative difference from ASTRA linear: recon {apart(y):.1e}, ASTRA line {apart(line):.1e}"


def more(x: np.ndarray, angles: np.ndarray) -> list[tuple[str, float]]:
    """Milliseconds of our other calls: float64, a batch, filtered back-projection, the norm."""
    A = ParallelBeam(x.shape, angles, detectors=DETECTORS)
    y, doubled, batch = A(x), x.astype(np.float64), np.stack([x] * 8)
    calls: dict[str, Callable[[], Any]] = {
        "forward, float64": lambda: A(doubled),
        "forward, 8 images": lambda: A(batch),
        "filtered back-projection": lambda: fbp(y, A),
        "certified norm": lambda: ParallelBeam(x.shape, angles, detectors=DETECTORS).norm(),
    }
    seconds = shortest([(call, 3) for call in calls.values()])
    return [(name, 1e3 * s) for name, s in zip(calls, seconds, strict=True)]


def print_verdict(what: str, figure: float, limit: float) -> None:
    """A ratio beside what it must reach."""
    print(f"{what}: {figure:.2f} (at least {limit:g}): {'ok' if figure >= limit else 'FAILS'}")


def print_table(title: str, rivals: list[Contender], against: str, limits: dict[str, float]) -> None:
    """Time the first contender and its rivals, in both directions; it is held to the rival named ``against``."""
    forward = shortest([(c.forward, c.rounds) for c in rivals])
    adjoint = shortest([(c.adjoint, c.rounds) for c in rivals])
    print(title)
    print(f"{'':19s} {'forward':>10s} {'times recon':>12s} {'adjoint':>10s} {'times recon':>12s}")
    for c, f, a in zip(rivals, forward, adjoint, strict=True):
        print(f"{c.name:19s} {1e3 * f:7.1f} ms {f / forward[0]:12.1f} {1e3 * a:7.1f} ms {a / adjoint[0]:12.1f}")
    slots = [slot for slot, c in enumerate(rivals) if c.name == against]
    for direction, seconds in (("forward", forward), ("adjoint", adjoint)):
        for slot in slots:
            print_verdict(f"{direction}, times {against}", seconds[slot] / seconds[0], limits[direction])


def main() -> None:
    """Print the table."""
    x, angles = phantom(), np.arange(VIEWS) * (np.pi / VIEWS)
    rivals = contenders(x, angles)
    title = f"{SIZE} x {SIZE}, {VIEWS} views x {DETECTORS} cells, float32, {threads()} threads"
    print_table(title, rivals, "ASTRA linear", LIMITS)
    if importlib.util.find_spec("astra"):
        print(agreement(x, angles))
    for name, milliseconds in more(x, angles):
        print(f"recon, {name}: {milliseconds:.1f} ms")


if __name__ == "__main__":
    main()
