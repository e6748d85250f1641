"""Counts behind an object, relaxation, clipped light; and what is lost where nothing is tuned.

``python -m benchmarks.nonlinear counts relaxation clipped untuned``. Limits stand beside the figures.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.data import images
from benchmarks.problems import Problem, measure, photograph, psnr, seconds
from benchmarks.strength import oracle, solve
from recon import operators as ops
from recon import psf

SIDE, VIEWS = 128, 160
THICKEST = 5.0  # largest line integral
AT_LEAST = {1e4: 0.3, 1e3: 1.0}  # dB by which the counts' own likelihood must be better
FITTED = 400  # voxels that scipy fits one by one
FEWEST = 0.5  # photons that stand for none in a logarithm


def slices(count: int) -> list[np.ndarray]:
    """CT slices in [0, 1], reduced to ``SIDE`` x ``SIDE``."""
    factor = 512 // SIDE
    return [x.reshape(SIDE, factor, SIDE, factor).mean((1, 3)) for x in images("ct", count=count)]


def counted(truth: np.ndarray, photons: float) -> Problem:
    """Low-dose tomography of a slice."""
    thickness = float(ops.ParallelBeam(truth.shape, VIEWS)(truth).max())
    F = ops.Transmission(ops.ParallelBeam(truth.shape, VIEWS, spacing=THICKEST / thickness), photons)
    y = np.random.default_rng(0).poisson(F(truth)).astype(np.float32)
    return Problem(f"CT, {photons:g} photons a ray", y, F, truth=truth)


def by_logarithm(problem: Problem) -> Problem:
    """The same after the logarithm, every ray with the same weight."""
    law, projector = problem.operator.parts
    integrals = -np.log(np.maximum(problem.y, FEWEST) / law.counts).astype(np.float32)
    return replace(problem, y=integrals, operator=projector)


def low_dose() -> None:
    for photons, least in AT_LEAST.items():
        gains = []
        for truth in slices(3):
            problem = counted(truth, photons)
            best = [_best(problem), _best(by_logarithm(problem))]
            gains.append(best[0] - best[1])
            print(f"{problem.name}: counts {best[0]:.2f} dB, logarithm {best[1]:.2f} dB", flush=True)
        print(f"  mean gain {np.mean(gains):.2f} dB (at least {least})")


def _best(problem: Problem) -> float:
    """PSNR at the best weight."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, info = solve(problem, return_info=True)
        return oracle(problem, info.plan.strength)[1]


def relaxed(side: int = 64) -> tuple[Any, np.ndarray, np.ndarray]:
    """T2 maps of plain regions and a ramp, and sixteen echoes of them."""
    rows, columns = np.mgrid[:side, :side] / side
    time = 40 + 60 * columns + 40 * ((rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.1)
    F = ops.Relaxometry(np.linspace(10, 160, 16), (side, side))
    truth = F.maps_of(1.0 + 0.5 * (rows > 0.5), time)
    return F, truth, F(truth) + 0.02 * np.random.default_rng(0).standard_normal(F.out_shape)


def relaxation() -> None:
    from scipy.optimize import curve_fit

    F, _, y = relaxed()
    columns = y.reshape(len(F.times), -1)[:, :FITTED]

    def one_by_one() -> np.ndarray:
        return np.array([curve_fit(_decay, F.times, column, p0=(1.0, 70.0))[0][1] for column in columns.T])

    fitted = F.relaxation_time(F.fit(y)).reshape(-1)[:FITTED]
    off = float(np.abs(fitted / one_by_one() - 1).max())
    ratio = (seconds(one_by_one, 2) / FITTED) / (seconds(lambda: F.fit(y), 5) / (y.size / len(F.times)))
    print(
        f"T2 off scipy's curve_fit by at most {100 * off:.2g} % (at most 2 %), {ratio:.0f} times as fast (at least 50)"
    )


def _decay(t: np.ndarray, amplitude: float, time: float) -> np.ndarray:
    return amplitude * np.exp(-t / time)


def overexposed(name: str) -> Problem:
    """A blurred photograph of which a fifth is clipped."""
    truth = photograph(name, 256)
    A = ops.Blur(psf.gaussian(1.5), truth.shape)
    upper = float(np.quantile(A(truth), 0.8))
    F = ops.Clipping(truth.shape, upper=upper) @ A
    light = A(truth) + 0.005 * np.random.default_rng(0).standard_normal(truth.shape)
    return Problem(f"clipped, {name}", np.minimum(light, upper).astype(np.float32), F, noise=0.005, truth=truth)


def clipped() -> None:
    gains = []
    for name in ("camera", "astronaut", "coffee"):
        problem = overexposed(name)
        ends, A = problem.operator.parts
        there = problem.y >= ends.upper
        found = [_psnr_at(there, solve(p), problem.truth) for p in (problem, replace(problem, operator=A))]
        gains.append(found[0] - found[1])
        print(
            f"{problem.name}, on the clipped pixels: {found[0]:.2f} dB, clipping ignored {found[1]:.2f} dB", flush=True
        )
    print(f"  mean gain {np.mean(gains):.2f} dB (at least 3)")


def _psnr_at(where: np.ndarray, image: np.ndarray, truth: Any) -> float:
    return psnr(truth[where], image[where])


def problems() -> Iterator[Problem]:
    """Nonlinear problems whose strength is chosen by itself."""
    truth = slices(1)[0]
    yield from (counted(truth, photons) for photons in AT_LEAST)
    yield from (overexposed(name) for name in ("camera", "astronaut"))
    light = photograph("camera", 128) ** 2.2
    A = ops.Blur(psf.gaussian(1.0), light.shape)
    yield measure("camera response behind a blur", light, ops.CameraResponse(light.shape) @ A, 0.01)
    yield measure("soft saturation behind a blur", light, ops.Saturation(light.shape, 0.6) @ A, 0.01)
    F, maps, y = relaxed()
    yield Problem("T2 of sixteen echoes", y.astype(np.float32), F, truth=maps)


def untuned() -> None:
    losses = []
    for problem in problems():
        image, info = solve(problem, return_info=True)
        reached = psnr(problem.truth, image)
        best, limit = oracle(problem, info.plan.strength)
        losses.append(limit - reached)
        print(
            f"{problem.name:32s} {info.plan.criterion:16s} strength {info.plan.strength:.3g}, best {best:.3g}; "
            f"{reached:.2f} dB, best {limit:.2f}, loss {losses[-1]:.3f}",
            flush=True,
        )
    print(f"  mean loss {np.mean(losses):.3f} dB (at most 0.3)")
