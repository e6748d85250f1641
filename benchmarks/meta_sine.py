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
TESTS = 600
STEPS = 7000
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
    """Error after 0, 1 and 10 steps: training on all tasks, MAML, MAML with learned rates, which are for one step."""
    methods = {
        "pretrained": meta.MAML(0, meta_rate=3e-3, batch=8),
        "MAML": meta.MAML(1, 0.01, meta_rate=3e-3, batch=8),
        "MAML, learned rates": meta.MAML(1, 0.01, learn_rates="weight", meta_rate=3e-3, batch=8),
    }
    found: dict[tuple[str, int], list[float]] = {}
    for name, method in methods.items():
        learned = meta.train(network(), sine, method, steps=steps)
        for shots, rate in RATES.items():
            rates = rate if name == "pretrained" else learned.rates
            counts = (0, 1) if method.learn_rates else (0, 1, 10)
            found[name, shots] = [after(learned.module, rates, shots, count) for count in counts]
            errors = ", ".join(f"{error:.2f}" for error in found[name, shots])
            print(f"{shots} shots, {name}: error after {', '.join(map(str, counts))} steps {errors}", flush=True)
    for shots in RATES:
        compare(shots, found["MAML", shots], found["pretrained", shots])


def compare(shots: int, ours: list[float], theirs: list[float]) -> None:
    """The behaviour that was published, as ratios."""
    print(f"{shots} shots, published: {PUBLISHED[shots]}")
    print(f"  after 1 step MAML has {ours[1] / theirs[1]:.2f} of the pretrained one's error "
          f"(limit 0.5: {verdict(ours[1] <= 0.5 * theirs[1])})")  # fmt: skip
    print(f"  from 1 to 10 steps MAML falls to {ours[2] / ours[1]:.2f} of its error "
          f"(limit 0.8: {verdict(ours[2] <= 0.8 * ours[1])}), and after 10 the pretrained one has "
          f"{theirs[2] / theirs[0]:.2f} of its start (at least 0.5: {verdict(theirs[2] >= 0.5 * theirs[0])})",
          flush=True)  # fmt: skip
