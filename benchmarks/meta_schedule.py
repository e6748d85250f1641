"""A start for schedules, from which twenty gradient steps suit one operator: ``python -m benchmarks.meta schedule``."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from benchmarks.denoise import verdict
from priors import Denoiser, PlugAndPlay
from recon._first_guess import first_guess
from recon._plug_and_play import BuildDPIR, measured_noise, usual_strength
from recon.bench.problems import noisy, photograph
from recon.learn import meta
from recon.noise import Gaussian

TRAINED, HELD_OUT = ("blur", "inpainting", "superresolution", "patterns", "shading"), ("mri",)
PHOTOGRAPHS, NEW = ("camera", "astronaut", "chelsea", "rocket"), ("coffee", "moon")
SIZE, LENGTH, STEPS, TESTS, INSTRUMENTS = 32, 6, 70, 6, 3
METHOD = meta.Reptile(inner_steps=5, rate=0.02, meta_rate=0.5, batch=4)
ADAPTING = 20
DENOISER = Denoiser("fast-grey", precision="float32")


@lru_cache
def _picture(name: str) -> np.ndarray:
    return photograph(name, 256)


def patch(names: tuple[str, ...], size: int, rng: np.random.Generator) -> np.ndarray:
    """A random square of a photograph."""
    image = _picture(names[rng.integers(len(names))])
    row, column = rng.integers(256 - size + 1, size=2)
    return np.ascontiguousarray(image[row : row + size, column : column + size])


class Denoising(PlugAndPlay):
    """The shipped denoiser as a proximal map through whose level gradients pass."""

    def prox(self, v: torch.Tensor, variance: Any) -> torch.Tensor:
        return self.denoiser(v, torch.as_tensor(variance).sqrt())


def restored(schedule: Any, operator: Any, sigma: float, truth: np.ndarray, seed: int) -> torch.Tensor:
    """PSNR in dB of plug-and-play restoration whose steps a schedule sets."""
    from solvers import LearnedDPIR, LeastSquares

    model, y = Gaussian(sigma), noisy(operator(truth), operator, sigma, seed)
    plain = BuildDPIR(model)(LeastSquares(operator, torch.from_numpy(y)), Denoising(DENOISER), usual_strength(y, model))
    noise = measured_noise(y, model)
    algorithm = LearnedDPIR(
        plain.data, plain.prior, plain.strength, level=plain.level, length=LENGTH, noise=noise, schedule=schedule
    )
    state = algorithm.init(torch.from_numpy(np.ascontiguousarray(first_guess(operator, y))))
    for k in range(LENGTH):
        state = algorithm.step(state, k)
    x = state.x.abs() if state.x.is_complex() else state.x
    return -10 * torch.log10((x - torch.from_numpy(truth)).square().mean() + 1e-10)


def instrument(family: str, rng: np.random.Generator) -> Callable[[tuple[str, ...]], Callable[[Any], torch.Tensor]]:
    """Photographs to the loss of a schedule: minus the PSNR with one operator, on another image at each call."""
    from recon.learn.problems import FAMILIES

    operator, sigma = FAMILIES[family](rng, SIZE)

    def loss_on(names: tuple[str, ...]) -> Callable[[Any], torch.Tensor]:
        def loss(schedule: Any) -> torch.Tensor:
            truth = patch(names, operator.in_shape[-1], rng)
            return -0.1 * restored(schedule, operator, sigma, truth, int(rng.integers(2**31)))

        return loss

    return loss_on


def tasks(rng: np.random.Generator) -> meta.Task:
    """A random operator of the families that are trained on."""
    return meta.Task(instrument(TRAINED[rng.integers(len(TRAINED))], rng)(PHOTOGRAPHS))


def quality(schedule: Any, family: str, number: int) -> float:
    """Mean PSNR of an instrument on new photographs, the same images and noise for every schedule."""
    from recon.learn.problems import FAMILIES

    operator, sigma = FAMILIES[family](np.random.default_rng((7, number)), SIZE)
    rng = np.random.default_rng((8, number))
    with torch.no_grad():
        found = [restored(schedule, operator, sigma, patch(NEW, operator.in_shape[-1], rng), i) for i in range(TESTS)]
    return float(torch.stack(found).mean())


def report(steps: int = STEPS) -> None:
    """Classical schedule, that of Reptile, and both after twenty gradient steps on one operator of their own."""
    from recon.learn.schedule_network import ScheduleNetwork
    from solvers import LearnedSchedule
    from solvers.learned_plug_and_play import BOUNDS, FEATURES

    torch.set_num_threads(1)
    classical = ScheduleNetwork(LearnedSchedule.untrained(FEATURES, BOUNDS))
    learned = meta.train(classical, tasks, METHOD, steps=steps, progress=print)
    gains = []
    for family in (*TRAINED[:2], *HELD_OUT):
        for number in range(INSTRUMENTS):
            found = []
            for start, rates in ((classical, METHOD.rate), (learned.module, learned.rates)):
                loss = instrument(family, np.random.default_rng((7, number)))(PHOTOGRAPHS)
                adapted = meta.adapt(start, loss, ADAPTING, rates)
                found += [quality(schedule, family, number) for schedule in (start, adapted)]
            gains.append([value - found[0] for value in found[1:]])
        mean = np.mean(gains[-INSTRUMENTS:], axis=0)
        known = "held out" if family in HELD_OUT else "new operators"
        print(f"{family}, {known}, gain over the classical schedule: {ADAPTING} steps from it {mean[0]:+.2f} dB; "
              f"Reptile's start {mean[1]:+.2f}, {ADAPTING} steps from there {mean[2]:+.2f}", flush=True)  # fmt: skip
    mean = np.mean(gains, axis=0)
    print(f"all: {ADAPTING} steps gain {mean[0]:+.2f} dB from the classical schedule and {mean[2]:+.2f} from Reptile's "
          f"(limit: more from Reptile's: {verdict(mean[2] > mean[0])})", flush=True)  # fmt: skip
