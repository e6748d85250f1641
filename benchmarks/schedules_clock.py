"""Wall clock of learned steps at sizes that occur: ``python -m benchmarks.schedules_clock KIND --steps FILE``.

KIND is tv, plug or closed (:mod:`benchmarks.schedules_clock_closed`). Tomography of 384 pixels and 180 views, 12 coils
of 320 pixels, photographs of 384, a single-pixel camera of 128. As in :mod:`benchmarks.schedules_calls`, each solver
runs to the same goal, ours with the schedule that was trained without the family. A first call counts the steps that
each takes and writes them to FILE; with all of them there it only times, so that the machine need be quiet for no
longer. Timed are a start from nothing, the features of the problem and all else that is set up, and the steps; not the
norm of the operator, nor compilation. Both sides have the same threads.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import data
from benchmarks import schedules_clock_closed as closed
from benchmarks.schedules_calls import CLASSICAL, HELD, LEVELS, Started, classical_plug, held_out
from priors import Denoiser, TotalVariation
from recon import operators as ops
from recon import psf, trajectories
from recon.bench._trace import Counter
from recon.bench.problems import coils, psnr
from recon.learn.costly_problems import Costly, measured
from recon.learn.modelled_steps import DECIBELS, DENOISER, modelled
from recon.learn.newton_steps import GAP
from recon.learn.problems import Drawn
from recon.sampling import variable_density_lines, variable_density_points
from solvers import LeastSquares, ProximalNewton, unroll

OURS = "learned"
REFERENCE, LONG = "admm, 2 cg", 60
"""What plug-and-play is compared with after so many steps."""
LEAST = 60
"""Steps of ours, after which the objective is at its minimum."""
MOST = {"tv": 400, "plug": 250}
"""Operator calls after which a run is given up."""
BEYOND = {"tv": 1.6, "plug": 3.0}
"""Calls over the fewest of a classical solver so far, after which another one is given up."""
REPEATS, NEAR = 3, 1.3
"""Times that a run is timed, where the first one took at most so many times the quickest."""
CT, MRI, PHOTOGRAPH, PATTERNS = 384, 320, 384, 128
FIRST = ("pogm", "admm, 1 cg", "admm", "fista")
"""Classical solvers with total variation that are followed: not all that calls are counted of, to save time."""
Build = Callable[[Any], Any]


def _parallel() -> Drawn:
    return ops.ParallelBeam((CT, CT), 180, spacing=1 / CT), 0.002


def _limited() -> Drawn:
    return ops.ParallelBeam((CT, CT), np.linspace(0, 2 / 3 * np.pi, 120), spacing=1 / CT), 0.002


def _fan() -> Drawn:
    return ops.FanBeam((CT, CT), 180, source_distance=2.0, detector_distance=1.0, spacing=1 / CT), 0.002


def _coil_lines() -> Drawn:
    lines = variable_density_lines(MRI, 4.0, rng=0)
    return ops.CartesianMRI(np.broadcast_to(lines[:, None], (MRI, MRI)).copy(), coils(12, (MRI, MRI))), 0.01


def _coil_points() -> Drawn:
    return ops.CartesianMRI(variable_density_points((MRI, MRI), 8.0, rng=0), coils(12, (MRI, MRI))), 0.01


def _spokes() -> Drawn:
    path = trajectories.radial(64, 2 * MRI, size=MRI, golden=True)
    return ops.NonCartesianMRI(path, (MRI, MRI), coils(12, (MRI, MRI))), 0.01


def _spiral() -> Drawn:
    return ops.NonCartesianMRI(trajectories.spiral(16, 4096, size=MRI), (MRI, MRI), coils(12, (MRI, MRI))), 0.01


def _shake() -> Drawn:
    return ops.Blur(psf.camera_shake(9.0, rng=0), (PHOTOGRAPH, PHOTOGRAPH), boundary="reflecting"), 0.01


def _varying() -> Drawn:
    widths = np.linspace(0.6, 2.5, 9).reshape(3, 3)
    kernels = np.array([[psf.gaussian(float(width), 13) for width in row] for row in widths])
    return ops.VaryingBlur(kernels, (PHOTOGRAPH, PHOTOGRAPH), boundary="reflecting"), 0.01


def _single_pixel() -> Drawn:
    rows, columns = np.indices((PATTERNS, PATTERNS)) / PATTERNS - 0.4
    light = np.float32(1) / (1 + 6 * (rows**2 + columns**2)).astype(np.float32)
    return ops.SinglePixel((PATTERNS, PATTERNS), PATTERNS**2 // 4) @ ops.Diagonal(light), 0.01


SCENES: dict[str, tuple[str, str, Callable[[], Drawn]]] = {
    "parallel": ("parallel", "ct", _parallel),
    "limited": ("limited", "ct", _limited),
    "fan": ("fan", "ct", _fan),
    "coil lines": ("coil lines", "mri", _coil_lines),
    "coil points": ("coil points", "mri", _coil_points),
    "spokes": ("spokes", "mri", _spokes),
    "spiral": ("spokes", "mri", _spiral),
    "shake": ("blur", "set12", _shake),
    "varying blur": ("blur", "set12", _varying),
    "single pixel": ("single pixel", "set12", _single_pixel),
}
"""Families, images and operators by name."""
PLUG = tuple(SCENES)[:7]


def problem(name: str) -> Costly:
    """A seeded problem."""
    family, images, draw = SCENES[name]
    drawn, number = draw(), list(SCENES).index(name)
    large = [picture for picture in data.images(images) if min(picture.shape) >= drawn[0].in_shape[-1]]
    return measured(family, drawn, large[number % len(large)], np.random.default_rng((11, number)))


def solvers_of(kind: str, given: Costly, operator: Any) -> dict[str, Build]:
    """Ours and the classical ones by name, each of which is built with another copy of the operator."""
    norm, measured_by = given.operator.norm(), lambda op: LeastSquares(op, given.y)
    if kind == "tv":
        schedule = held_out(given.family)
        own = lambda op: ProximalNewton(measured_by(op), TotalVariation(), given.strength, schedule)  # noqa: E731
        peers = {
            name: (lambda op, build=build: build(measured_by(op), TotalVariation(), given.strength, norm))
            for name, build in ((name, CLASSICAL[name]) for name in FIRST)
        }
    else:
        denoiser, learned = Denoiser(DENOISER), held_out(given.family, "modelled-plug-and-play-quick")
        own = lambda op: modelled(given, op, denoiser, learned, quick=True)  # noqa: E731
        peers = {
            f"{name}{'' if factor == 1 else f' x {factor}'}": (
                lambda op, name=name, factor=factor: classical_plug(given, op, denoiser, factor)[name]
            )
            for factor in LEVELS
            for name in classical_plug(given, operator, denoiser, factor)
        }
    return {OURS: own} | {
        name: (lambda op, build=build: Started(build(op), op, given.y)) for name, build in peers.items()
    }


def goal_of(kind: str, given: Costly, builds: dict[str, Build]) -> Callable[[np.ndarray], bool]:
    """Whether an image is good enough."""
    if kind == "tv":
        algorithm = builds[OURS](given.operator)
        least = algorithm.objective(unroll(algorithm, _zeros(given), LEAST))
        return lambda x: algorithm.objective(x) <= (1 + GAP) * least
    algorithm, state = builds[REFERENCE](given.operator), None
    state = algorithm.init(_zeros(given))
    for k in range(LONG):
        state = algorithm.step(state, k)
    wanted = psnr(given.truth, state.x) - DECIBELS
    return lambda x: psnr(given.truth, x) >= wanted


def _zeros(given: Costly) -> np.ndarray:
    return np.zeros(given.operator.in_shape, given.truth.dtype)


def counted(kind: str, given: Costly) -> dict[str, tuple[int, int]]:
    """Steps and operator calls from which on each solver keeps its goal."""
    builds = solvers_of(kind, given, given.operator)
    good, found = goal_of(kind, given, builds), {}
    for name, build in builds.items():
        most = min([MOST[kind], *(BEYOND[kind] * calls for solver, (_, calls) in found.items() if solver != OURS)])
        reached = _reached(Counter(given.operator), build, _zeros(given), good, most)
        if reached is not None:
            found[name] = reached
        print(f"    {name}: {reached or f'more than {most:.0f} calls'}", flush=True)
    return found


def _reached(counter: Counter, build: Build, start: np.ndarray, good: Any, most: float) -> tuple[int, int] | None:
    """Steps and calls until an image is good and stays so for some steps."""
    algorithm, reached, k = build(counter.operator), None, 0
    state = algorithm.init(start)
    while reached is not None or counter.calls < most:
        state = algorithm.step(state, k)
        k += 1
        if not good(state.x):
            reached = None
        elif reached is None:
            reached = (k, counter.calls)
        elif k == reached[0] + HELD:
            return reached
    return None


def seconds(build: Build, given: Costly, steps: int) -> float:
    """Of set-up and steps; a step beforehand has compiled what they run."""
    algorithm = build(given.operator)
    begin = time.perf_counter()
    state = algorithm.init(_zeros(given))
    for k in range(steps):
        state = algorithm.step(state, k)
    return time.perf_counter() - begin


def timed(kind: str, given: Costly, steps: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Least wall clock of each solver to the goal."""
    builds = solvers_of(kind, given, given.operator)
    for name in steps:
        seconds(builds[name], given, 1)
    found = {name: seconds(builds[name], given, count) for name, (count, _) in steps.items()}
    near = [name for name in steps if name == OURS or found[name] <= NEAR * _least(found)[1]]
    for _ in range(REPEATS - 1):
        for name in near:
            found[name] = min(found[name], seconds(builds[name], given, steps[name][0]))
    return found


def _least(found: dict[str, float]) -> tuple[str, float]:
    """The classical solver with the least of something."""
    return min(((name, value) for name, value in found.items() if name != OURS), key=lambda pair: pair[1])


def show(kind: str, names: Sequence[str], steps: dict[str, Any]) -> None:
    """Ratios of operator calls and of wall clock, problem by problem, and their medians."""
    ratios = []
    for name in names:
        given = problem(name)
        spent = timed(kind, given, steps[f"{kind} {name}"])
        calls = {solver: float(found[1]) for solver, found in steps[f"{kind} {name}"].items()}
        fewest, quickest = _least(calls), _least(spent)
        own = calls.get(OURS, math.inf), spent.get(OURS, math.inf)
        ratios.append((fewest[1] / own[0], quickest[1] / own[1]))
        print(
            f"{name:>13}: {fewest[0]} {fewest[1]:.0f} calls, learned {own[0]:.0f}, ratio {ratios[-1][0]:.2f};  "
            f"{quickest[0]} {quickest[1]:.2f} s, learned {own[1]:.2f} s, ratio {ratios[-1][1]:.2f}",
            flush=True,
        )
    calls_ratio, clock = np.median(ratios, 0)
    print(f"{kind}, median ratio: calls {calls_ratio:.2f}, wall clock {clock:.2f} (more than 1)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Count what was not counted yet, or time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=(*MOST, "closed"))
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(SCENES)}, or families with a closed form")
    parser.add_argument("--steps", type=Path, required=True, help="JSON file of the steps that each solver takes")
    parser.add_argument("--side", type=int, default=128, help="pixels of problems with a closed form")
    given = parser.parse_args(arguments)
    kind, side = given.kind, given.side
    names = given.names or {"tv": tuple(SCENES), "plug": PLUG, "closed": closed.FAMILIES}[kind]
    steps = json.loads(given.steps.read_text()) if given.steps.exists() else {}
    prefix = f"closed {side}" if kind == "closed" else kind
    missing = [name for name in names if f"{prefix} {name}" not in steps]
    for name in missing:
        print(f"-- counting {prefix}, {name}", flush=True)
        found = closed.counted(name, side) if kind == "closed" else counted(kind, problem(name))
        steps[f"{prefix} {name}"] = found
        given.steps.write_text(json.dumps(steps, indent=1))
    if not missing:
        closed.show(names, side, steps) if kind == "closed" else show(kind, names, steps)


if __name__ == "__main__":
    main()
