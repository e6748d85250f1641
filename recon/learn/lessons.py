"""What the best steps are on single problems, found with the truth: what schedules are trained on.

For one problem the parameters of every step are raised along the gradient of the PSNR, through all steps of the
unrolled run and through the denoiser. A lesson is what came out: the features of each step, the parameters that were
best there, and how much each of them mattered. The problems of a batch go through the denoiser together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from priors._decorrelation import Transform
from priors._precision import ROUNDING
from priors.denoisers import load_denoiser
from recon._learned_steps import BuildLearnedDPIR, classical_start
from recon._nonlinear import is_nonlinear
from recon._nonlinear_plug_and_play import BuildLearnedNonlinearDPIR, BuildNonlinearDPIR
from recon._plug_and_play import measured_noise, typical_gain, usual_strength
from recon._stages import data_term
from recon.files import replacing
from recon.learn.images import Collection
from recon.learn.problems import ALL, noise_model
from solvers import DPIR, LearnedDPIR, LearnedNonlinearDPIR, NonlinearDPIR
from solvers.errors import FileError
from solvers.learned_plug_and_play import BOUNDS, FEATURES, LearnedDPIRState

SCALE = {"penalty": 2.5, "level": 1.0, "momentum": 1.5, "answer": 1.0}
"""Unit of each parameter in which the ascent is steepest: large where it matters little and has far to go."""
LONGEST = 0.5
"""Length of the first step of an ascent of an 8-step run, in those units; they become shorter."""
SHORTEST = 0.15
"""Length of the last one over it."""
INERTIA = 0.5
"""Share of a step that is taken again with the next one."""
EARLY = 0.05
"""Weight of the iterates before the last one."""
GRAIN = (0.004, 0.03)
"""Least and largest standard deviation of grain, images ranging over [0, 1]."""
WITHIN = 0.9
"""Share of the bounds that lessons keep to, where the network still has a slope."""


@dataclass(frozen=True)
class Lessons:
    """Lessons as a table with a row for each step of each run."""

    features: np.ndarray  # (rows, FEATURES)
    targets: np.ndarray  # (rows, BOUNDS): the best parameters, over the untaught ones
    mattered: np.ndarray  # (rows, BOUNDS): mean size of the gradient on the way, in dB
    gain: np.ndarray  # (rows,): of the run over an untaught one, in dB
    family: np.ndarray  # (rows,): number of the family
    length: np.ndarray  # (rows,): steps of the run

    @classmethod
    def none(cls) -> Lessons:
        """A table without rows."""
        wide = (np.zeros((0, n)) for n in (len(FEATURES), len(BOUNDS), len(BOUNDS)))
        return cls(*wide, *(np.zeros(0) for _ in range(3)))

    def __add__(self, other: Lessons) -> Lessons:
        return Lessons(*(np.concatenate([getattr(part, f.name) for part in (self, other)]) for f in fields(self)))

    def without(self, families: Sequence[str]) -> Lessons:
        """The lessons of the other families."""
        numbers = [list(ALL).index(name) for name in families]
        return self.where(~np.isin(self.family, numbers))

    def where(self, kept: np.ndarray) -> Lessons:
        """Some of the rows."""
        return Lessons(*(getattr(self, f.name)[kept] for f in fields(self)))

    @property
    def runs(self) -> int:
        """Number of problems."""
        return round(float((1 / self.length).sum())) if len(self.length) else 0

    def save(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write them, with what they were made with."""
        from safetensors.numpy import save_file

        tensors = {f.name: np.ascontiguousarray(getattr(self, f.name), np.float64) for f in fields(self)}
        with replacing(path) as temporary:
            save_file(tensors, str(temporary), {"about": json.dumps(about)})

    @classmethod
    def load(cls, path: Path) -> tuple[Lessons, dict[str, Any]]:
        """Read them again.

        Raises
        ------
        FileError
            The file is damaged, or holds something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), "np") as file:
                return cls(*(file.get_tensor(f.name) for f in fields(cls))), json.loads(file.metadata()["about"])
        except (SafetensorError, KeyError, TypeError) as error:
            raise FileError(f"{path} holds no lessons ({error}). Delete it to start anew.") from error


@dataclass(frozen=True)
class Exercise:
    """A measurement with its truth, as ``reconstruct`` would set it up."""

    family: str
    algorithm: LearnedDPIR | LearnedNonlinearDPIR
    start: Tensor
    truth: Tensor
    operator: Any
    y: np.ndarray
    noise: Any

    @classmethod
    def drawn(
        cls, family: str, images: Collection, rng: np.random.Generator, size: int, grainy: float = 0.0
    ) -> Exercise:
        """A random problem of a family on a random patch, which has grain of its own with a chance of ``grainy``."""
        operator, sigma = ALL[family](rng, size)
        truth = images.patches(rng, 1, operator.in_shape[-1])[0, 0]
        if grainy and rng.random() < grainy:
            truth = truth + grain(rng, truth.shape)
        truth -= truth.min()
        noise = noise_model(sigma)
        y = noise.sample(operator(truth), rng)
        y = y if operator.sampling is None else y * operator.sampling
        start = torch.from_numpy(classical_start(operator, y, noise))
        restored = problem(operator, torch.from_numpy(y), noise, None, lambda features: {})
        return cls(family, restored, start, torch.from_numpy(truth), operator, y, noise)

    def classical(self, prior: Any, factor: float, length: int, first: float | None = None) -> DPIR | NonlinearDPIR:
        """The classical schedule; see :func:`classical`."""
        return classical(self.operator, self.y, self.noise, prior, factor, length, first, self.start.numpy())

    def psnr(self, x: Tensor) -> Tensor:
        """PSNR in dB, of the magnitude where the image is complex."""
        error = (x.abs() if x.is_complex() else x) - self.truth
        return -10 * torch.log10(error.square().mean() + 1e-10)


def problem(
    operator: Any, y: Any, noise: Any, prior: Any, schedule: Any, length: int = 8
) -> LearnedDPIR | LearnedNonlinearDPIR:
    """Restoration of ``y`` by a schedule, with the weight and the levels that the classical one has."""
    build = BuildLearnedNonlinearDPIR if is_nonlinear(operator) else BuildLearnedDPIR
    data = data_term(operator, y, noise)
    return build(noise, schedule, length)(data, prior, usual_strength(y, noise))


def grain(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise that belongs to an image, white or a little blurred: slices and photographs are measurements themselves."""
    found = rng.standard_normal(shape).astype(np.float32)
    width = rng.choice([0.0, rng.uniform(0.4, 0.9)])
    if width > 0:
        found = gaussian_filter(found, width)
        found /= found.std()
    return np.float32(math.exp(rng.uniform(*np.log(GRAIN)))) * found


def classical(
    operator: Any, y: np.ndarray, noise: Any, prior: Any, factor: float, length: int, first: float | None, start: Any
) -> DPIR | NonlinearDPIR:
    """The classical schedule at a multiple of its weight, its first level over the last one.

    Without a first level it is that of a run from the first guess. ``start``, from which nonlinear ones begin, tells
    their last level.
    """
    strength, data = factor * usual_strength(y, noise), data_term(operator, y, noise)
    if is_nonlinear(operator):
        plain = replace(BuildNonlinearDPIR(noise)(data, prior, strength), length=length)
        return plain if first is None else replace(plain, first=first * plain.init(start).last)
    level = measured_noise(y, noise) / typical_gain(operator)
    return DPIR(data, prior, strength, level, length, first and first * level)


def lessons(exercises: Sequence[Exercise], length: int, ascent: int, denoiser: str) -> Lessons:
    """The best steps of runs of ``length`` steps, after ``ascent`` steps along the gradient."""
    runner = Runner(exercises, length, denoiser)
    theta = torch.zeros((len(exercises), length, len(BOUNDS)), dtype=torch.float64)
    untaught = best = torch.full((len(exercises),), -torch.inf)
    seen = [np.zeros(0)] * len(exercises)
    chosen, step, mattered = theta.clone(), torch.zeros_like(theta), torch.zeros_like(theta)
    reach, scale = (torch.tensor(list(units.values()), dtype=torch.float64) for units in (BOUNDS, SCALE))
    usual = torch.tensor([[list(a.untaught.values())] for a in runner.algorithms], dtype=torch.float64)
    reach = WITHIN * reach
    for i in range(ascent + 1):
        decibels, features, gradient = _slope(runner, theta, last=i == ascent)
        untaught = decibels[-1] if i == 0 else untaught
        for j in (decibels[-1] > best).nonzero().flatten().tolist():
            chosen[j], seen[j] = theta[j], features[j]
        best = torch.maximum(best, decibels[-1])
        if gradient is None:
            break
        mattered += gradient.abs() / ascent
        scaled = scale * gradient
        step = INERTIA * step + scaled / scaled.flatten(1).norm(dim=1).clamp_min(1e-6)[:, None, None]
        width = LONGEST * (1 - (1 - SHORTEST) * i / ascent) * (length / 8) ** 0.5
        theta = (theta + width * scale * step).clamp(-reach - usual, reach - usual)
    gain = (best - untaught).repeat_interleave(length).double().numpy()
    family = np.repeat([float(list(ALL).index(e.family)) for e in exercises], length)
    targets, sizes = (t.flatten(0, 1).numpy() for t in (chosen, mattered))
    return Lessons(np.concatenate(seen), targets, sizes, gain, family, np.full(len(family), float(length)))


def _slope(runner: Runner, theta: Tensor, *, last: bool) -> tuple[Tensor, list[np.ndarray], Tensor | None]:
    """PSNR of all iterates, features of all steps, and the gradient of what is to grow."""
    theta = theta.clone().requires_grad_(not last)
    with torch.set_grad_enabled(not last):
        decibels, features = runner(theta)
    if last:
        return decibels, features, None
    goal = (1 - EARLY) * decibels[-1] + EARLY * decibels[:-1].mean(0)
    return decibels.detach(), features, torch.nan_to_num(torch.autograd.grad(goal.sum(), theta)[0])


class Runner:
    """Runs exercises side by side: ``(exercises, steps, parameters)`` to the PSNR of every iterate and the features.

    With ``half`` every image is denoised in half precision, not only those whose noise hides it.
    """

    def __init__(self, exercises: Sequence[Exercise], length: int, denoiser: str, *, half: bool = False) -> None:
        self.exercises, self.length = exercises, length
        self.algorithms = [replace(e.algorithm, length=length) for e in exercises]
        self.network = load_denoiser(denoiser)
        self.half = self.network.in_half()
        self.always_half = half

    def __call__(self, theta: Tensor) -> tuple[Tensor, list[np.ndarray]]:
        seen: list[list[list[float]]] = [[] for _ in self.exercises]
        states, decibels = self.begun(), []
        for k in range(self.length):
            states = self.stepped(states, [_Told(theta[i, k], seen[i], k) for i in range(len(states))], k)
            decibels.append(self.psnr(states))
        return torch.stack(decibels), [np.array(rows) for rows in seen]

    def begun(self) -> list[LearnedDPIRState]:
        """States before the first step."""
        return [a.init(e.start) for a, e in zip(self.algorithms, self.exercises, strict=True)]

    def stepped(self, states: Sequence[LearnedDPIRState], schedules: Sequence[Any], k: int) -> list[LearnedDPIRState]:
        """States after step ``k``, to each exercise its schedule."""
        algorithms = [replace(a, schedule=schedule) for a, schedule in zip(self.algorithms, schedules, strict=True)]
        told = [a.before_denoising(state, k) for a, state in zip(algorithms, states, strict=True)]
        even = self._denoised([t.fit / t.places for t in told], [torch.as_tensor(t.level) for t in told])
        images = [image * t.places for image, t in zip(even, told, strict=True)]
        return [a.after_denoising(*parts) for a, *parts in zip(algorithms, states, images, told, strict=True)]

    def psnr(self, states: Sequence[LearnedDPIRState]) -> Tensor:
        """PSNR of each."""
        return torch.stack([e.psnr(s.x) for e, s in zip(self.exercises, states, strict=True)])

    def _denoised(self, images: Sequence[Tensor], levels: Sequence[Tensor]) -> list[Tensor]:
        """Every image denoised as :class:`priors.Denoiser` would, those of one size at once."""
        transforms = [Transform.of(image[None].detach(), 1) for image in images]
        parts = [transform.split(image[None]) for transform, image in zip(transforms, images, strict=True)]
        out: list[Any] = [None] * len(images)
        for coarse, members in _alike(parts, levels):
            sigma = torch.cat([levels[i].float().expand(len(parts[i])) for i in members])
            network = self.half if coarse or self.always_half else self.network
            found = network(torch.cat([parts[i] for i in members]), sigma)
            for i, part in zip(members, found.split([len(parts[i]) for i in members]), strict=True):
                out[i] = transforms[i].join(part)[0]
        return out


class _Told:
    """A schedule that gives fixed parameters and writes down the features of step ``k``, however often it is asked."""

    def __init__(self, parameters: Tensor, seen: list[list[float]], k: int) -> None:
        self.parameters, self.seen, self.k = parameters, seen, k

    def __call__(self, features: Mapping[str, float]) -> dict[str, Tensor]:
        self.seen[self.k :] = [[features[name] for name in FEATURES]]
        return dict(zip(BOUNDS, self.parameters, strict=True))


def _alike(parts: Sequence[Tensor], levels: Sequence[Tensor]) -> Iterator[tuple[bool, list[int]]]:
    """Numbers of the images of one size and one precision, and whether that is the half one."""
    groups: dict[tuple[Any, bool], list[int]] = {}
    for i, (part, level) in enumerate(zip(parts, levels, strict=True)):
        coarse = float(level.detach()) >= ROUNDING * float(part.detach().std(correction=0))
        groups.setdefault((part.shape[-2:], coarse), []).append(i)
    for (_, coarse), members in groups.items():
        yield coarse, members
