"""Few-shot regression of sine waves, as of Finn et al. 2017: run by ``python -m benchmarks.meta sine``."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from benchmarks.denoise import verdict
from recon.learn import meta

RATES = {5: 0.01, 10: 0.02}
"""Learning rate of the pretrained network, the better one for it; that of MAML is 0.01."""
TESTS = 100
STEPS = 2500
# Read off the curves of Finn et al. 2017 (10 shots: figure 3; 5 shots: the appendix), after 0, 1 and 9 steps.
PUBLISHED = {
    5: "MAML about 2.8, 0.7, 0.35; pretrained about 2.9, 2.3, 2.1",
    10: "MAML about 3.0, 0.45, 0.15; pretrained about 2.8, 2.3, 1.8",
}


def network() -> nn.Module:
    """Two hidden layers of 40 units."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))


def sine(rng: np.random.Generator, shots: int = 10, queries: int = 10) -> meta.Task:
    """Amplitude in [0.1, 5], phase in [0, pi], samples in [-5, 5]; the loss is the mean squared error."""
    amplitude, phase = rng.uniform(0.1, 5.0), rng.uniform(0.0, math.pi)

    def error(count: int):
        x = torch.from_numpy(rng.uniform(-5.0, 5.0, (count, 1)).astype(np.float32))
        y = amplitude * torch.sin(x - phase)
        return lambda model: (model(x) - y).square().mean()

    return meta.Task(error(shots), error(queries))


def after(module: nn.Module, rates: object, shots: int, steps: int) -> float:
    """Mean error over unseen tasks after some gradient steps."""
    errors = []
    for seed in range(TESTS):
        task = sine(np.random.default_rng((1, seed)), shots, 100)
        adapted = meta.adapt(module, task.support, steps, rates)
        with torch.no_grad():
            errors.append(float(task.query(adapted)))
    return float(np.mean(errors))


def report(steps: int = STEPS) -> None:
    """Error after 0, 1 and 10 steps: MAML, with learned rates, and training on all tasks."""
    pretrained = meta.train(network(), sine, meta.MAML(0, meta_rate=3e-3, batch=8), steps=steps)
    plain = meta.train(network(), sine, meta.MAML(1, 0.01, meta_rate=3e-3, batch=8), steps=steps)
    learned = meta.train(network(), sine, meta.MAML(1, 0.01, True, "weight", 3e-3, 8), steps=steps)
    for shots, rate in RATES.items():
        rows = {
            "pretrained": (pretrained.module, rate),
            "MAML": (plain.module, 0.01),
            "MAML, learned rates": (learned.module, learned.rates),
        }
        found = {name: [after(*row, shots, count) for count in (0, 1, 10)] for name, row in rows.items()}
        for name, errors in found.items():
            print(f"{shots} shots, {name}: error after 0, 1, 10 steps {', '.join(f'{e:.2f}' for e in errors)}")
        ours, theirs = found["MAML"], found["pretrained"]
        print(f"{shots} shots, published: {PUBLISHED[shots]}")
        print(f"  after 1 step MAML has {ours[1] / theirs[1]:.2f} of the pretrained one's error "
              f"(limit 0.5: {verdict(ours[1] <= 0.5 * theirs[1])})")  # fmt: skip
        print(f"  from 1 to 10 steps MAML falls to {ours[2] / ours[1]:.2f} of its error "
              f"(limit 0.8: {verdict(ours[2] <= 0.8 * ours[1])}), and after 10 the pretrained one has "
              f"{theirs[2] / theirs[0]:.2f} of its start (at least 0.5: {verdict(theirs[2] >= 0.5 * theirs[0])})",
              flush=True)  # fmt: skip
