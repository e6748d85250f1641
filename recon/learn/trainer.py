"""One training: the network, its optimiser, the mean of its weights, and a step."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from priors import load_denoiser
from priors.networks import placed
from recon.learn import checkpoint, noise
from recon.learn.checkpoint import Progress
from recon.learn.images import Collection
from recon.learn.optimiser import Muon, mean_of
from recon.learn.revival import revive
from recon.learn.settings import Settings
from recon.learn.teacher import Teacher
from solvers.arrays import threads
from solvers.errors import ArgumentError

WARM_UP = 200
"""Steps over which the learning rate grows, or a twentieth of the time where that is less."""
SPIKE = 5.0
"""A step whose loss is so many times the usual one is left out: its gradient would undo what was learned."""
PATIENCE = 10
"""After so many such steps in a row the weights themselves have run away: they go back to their running mean."""
AHEAD = 24
"""Batches that are drawn ahead on the processor's cores for a device that takes a few milliseconds for one."""
FLOOR = 2 / 255
"""Keeps the loss of nearly clean patches from outweighing the others."""
ADVANCE = 4 / 255
"""Noise level from which on a denoiser of photographs leaves less than half of the noise's power."""


Batch = tuple[Tensor, Tensor, Tensor]
"""Clean and noisy patches and their noise levels."""


class Trainer:
    """A denoiser in training.

    On a CPU the batch is split over Python threads that each run the network on one core: the cores then wait for each
    other once a step, not in every convolution, which on a busy machine is several times faster. For another device the
    cores draw the next batches meanwhile.
    """

    def __init__(self, settings: Settings, device: str, cores: int | None = None) -> None:
        self.settings = settings
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(settings.seed)
            self.network = placed(settings.network(), self.device)
        self.mean = copy.deepcopy(self.network).eval()
        self.teacher = self._teacher()
        self.usual, self.spikes, self.slowed = math.inf, 0, 1.0
        on_cpu = self.device.type == "cpu"
        self.workers = min(settings.batch, cores or threads()) if on_cpu else 1
        self.optimiser = Muon(self.network, orthogonal=settings.kind == "unet", workers=self.workers)
        self.ahead = 0 if on_cpu else AHEAD
        self.feeders = ThreadPoolExecutor(max(threads() - 1, 1))
        self.drawn: dict[int, Future[Batch]] = {}

    def _teacher(self) -> Teacher | None:
        name, channels = self.settings.teacher, self.settings.channels
        if not name:
            return None
        network = load_denoiser(name, self.device.type)
        if network.architecture.channels != channels:
            raise ArgumentError(
                f"teacher is {name!r}, a denoiser of {network.architecture.channels} channels; expected {channels}, as "
                "the network has. Name another one."
            )
        return Teacher(network, self.settings.taught)

    def start_mean(self) -> None:
        """Let the mean of the weights begin at the weights."""
        self.mean.load_state_dict(self.network.state_dict())

    def groups(self) -> dict[str, dict[str, Tensor]]:
        """Every tensor that a resumed training needs, by name."""
        return {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.tensors,
        }

    def save(self, path: Path, progress: Progress) -> None:
        """Write a checkpoint."""
        checkpoint.save(path, self.settings, progress, **self.groups())

    def resume(self, path: Path) -> Progress:
        """Continue from a checkpoint, or start where there is none."""
        return checkpoint.load(path, self.settings, **self.groups()) if path.exists() else Progress()

    def revive(self, images: Collection, count: int) -> int:
        """Give dead features fresh weights, judged on the batch of step ``count``; returns how many there were."""
        _, noisy, sigma = (part.to(self.device) for part in self._batch(images, count))
        return revive(self.network, noisy, sigma, self.settings.seed + count, self.mean)

    @contextmanager
    def pool(self) -> Iterator[Executor]:
        """Threads for the steps; torch's own are put aside meanwhile."""
        own = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            with ThreadPoolExecutor(self.workers) as executor:
                yield executor
        finally:
            torch.set_num_threads(own)

    def step(self, images: Collection, count: int, fraction: float, executor: Executor) -> float:
        """Take step ``count`` after a ``fraction`` of the training time; returns the loss."""
        clean, noisy, sigma = (part.to(self.device) for part in self._next(images, count))
        if self.teacher is not None:
            clean = self.teacher.target(clean, noisy, sigma, count, fraction)
        shares = [part.chunk(self.workers) for part in (clean, noisy, sigma)]
        found = list(executor.map(self._gradients, *shares))
        loss = sum(loss for loss, _ in found) / len(found)
        if self._runs_away(loss):
            return loss
        grown = min(1.0, max((count + 1) / WARM_UP, 20 * fraction))
        rate = self.slowed * self.settings.learning_rate * grown * 0.5 * (1 + math.cos(math.pi * fraction))
        self.optimiser.step(mean_of([gradients for _, gradients in found]), rate, count, executor.map)
        self.network.project()
        self._update_mean(count)
        return loss

    def _runs_away(self, loss: float) -> bool:
        """Whether the step is to be left out; where many were, the training goes back and on at half the rate."""
        if not loss <= SPIKE * self.usual:  # also where it is no number
            self.spikes += 1
            if self.spikes == PATIENCE:
                self.network.load_state_dict(self.mean.state_dict())
                for memory in self.optimiser.tensors.values():
                    memory.zero_()
                self.slowed, self.spikes = self.slowed / 2, 0
            return True
        self.usual = loss if math.isinf(self.usual) else 0.98 * self.usual + 0.02 * loss
        self.spikes = 0
        return False

    def _next(self, images: Collection, count: int) -> Batch:
        """The batch of a step, which may have been drawn ahead."""
        for later in range(count, count + self.ahead):
            if later not in self.drawn:
                self.drawn[later] = self.feeders.submit(self._batch, images, later)
        return self.drawn.pop(count).result() if self.ahead else self._batch(images, count)

    def _batch(self, images: Collection, count: int) -> Batch:
        """Clean and noisy patches and their noise levels: the same for the same step, however often interrupted."""
        own = self.settings
        rng = np.random.default_rng((own.seed, count))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        clean = images.patches(rng, own.batch, own.patch)
        clean += rng.normal(scale=own.shift, size=(own.batch, 1, 1, 1)).astype(np.float32)
        sigma = torch.from_numpy(rng.uniform(own.quietest, own.sigma, own.batch).astype(np.float32))
        patches = torch.from_numpy(clean).to(memory_format=torch.channels_last)
        return patches, patches + noise.mixed(patches, sigma, generator, own.noise), sigma

    def _gradients(self, clean: Tensor, noisy: Tensor, sigma: Tensor) -> tuple[float, tuple[Tensor, ...]]:
        with torch.autocast(self.device.type, torch.bfloat16):
            denoised = self.network(noisy, sigma)
        error = (denoised.float() - clean).square().mean((1, 2, 3))
        usual = (sigma.square() + FLOOR**2) / (1 + sigma / ADVANCE)  # what a good denoiser leaves of the noise
        loss = (error / usual).mean()  # so a decibel is worth as much at every level
        return float(loss.detach()), torch.autograd.grad(loss, list(self.network.parameters()))

    @torch.no_grad()
    def _update_mean(self, count: int) -> None:
        kept = min(self.settings.ema, (1 + count) / (10 + count))
        torch._foreach_lerp_(list(self.mean.parameters()), list(self.network.parameters()), 1 - kept)
