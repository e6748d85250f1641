"""Few-shot classification of scikit-learn's bundled sets: run by ``python -m benchmarks.meta classes``.

Digits: tasks of three classes, drawn from six digits, turned and mirrored so that there are 48; judged on the other
four digits, upright, which no training sees. Tables (wine, breast cancer, iris): tasks of two classes of one set, its
features standardised and mixed at random into eight; judged on the set that is held out, trained on the other two and
on digits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.denoise import verdict
from recon.learn import meta

QUERIES, TESTS = 12, 100
FEATURES = 8
STEPS = 600
INNER, LONG = 3, (10, 50)
"""Gradient steps of MAML, and of those that may take longer."""
TUNED = (0.03, 0.1, 0.3)
"""Learning rates of those that do not learn them; the best on the test tasks is reported, in their favour."""
DIGITS = ((6, 7, 8, 9), (0, 2, 4, 5))
"""Digits held out, one experiment each."""

Classes = Sequence[np.ndarray]
Tasks = Callable[[np.random.Generator], tuple[torch.Tensor, ...]]


def draw(classes: Classes, ways: int, shots: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Examples of some classes, numbered at random, to adapt on and to judge by: x, labels, x, labels."""
    chosen = rng.choice(len(classes), ways, replace=False)
    parts = [rng.permutation(classes[c])[: shots + QUERIES] for c in chosen]
    support, query = np.concatenate([p[:shots] for p in parts]), np.concatenate([p[shots:] for p in parts])
    labels = [np.repeat(np.arange(ways), sizes) for sizes in ([shots] * ways, [len(p) - shots for p in parts])]
    x = [torch.from_numpy(a.astype(np.float32)) for a in (support, query)]
    return x[0], torch.from_numpy(labels[0]), x[1], torch.from_numpy(labels[1])


def as_task(drawn: tuple[torch.Tensor, ...]) -> meta.Task:
    x, labels, new, truth = drawn
    return meta.Task(
        lambda model: functional.cross_entropy(model(x), labels),
        lambda model: functional.cross_entropy(model(new), truth),
    )


def network(features: int, width: int, ways: int) -> nn.Sequential:
    """Two hidden layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, ways)
    )


def accuracy(module: nn.Module, rates: object, tasks: Tasks, steps: int) -> float:
    """Share of right answers over unseen tasks, after gradient steps."""
    right = []
    for seed in range(TESTS):
        drawn = tasks(np.random.default_rng((1, seed)))
        adapted = meta.adapt(module, as_task(drawn).support, steps, rates)
        with torch.no_grad():
            right.append(float((adapted(drawn[2]).argmax(1) == drawn[3]).float().mean()))
    return float(np.mean(right))


def best(module: nn.Module, tasks: Tasks, counts: Sequence[int]) -> float:
    """Accuracy of a network whose rate, and number of steps of those given, are chosen with the answers."""
    return max(accuracy(module, rate, tasks, steps) for rate in TUNED for steps in counts)


def logistic(tasks: Tasks) -> float:
    """Accuracy of a logistic regression on the examples alone."""
    from sklearn.linear_model import LogisticRegression

    right = []
    for seed in range(TESTS):
        x, labels, new, truth = (t.numpy() for t in tasks(np.random.default_rng((1, seed))))
        right.append(LogisticRegression(max_iter=500).fit(x, labels).score(new, truth))
    return float(np.mean(right))


def meta_learned(start: nn.Module, tasks: Tasks) -> meta.Learned:
    method = meta.MAML(inner_steps=INNER, rate=0.1, learn_rates="weight", meta_rate=3e-3)
    return meta.train(start, partial(_task, tasks), method, steps=STEPS)


def pretrained(start: nn.Sequential, classes: Classes, width: int) -> nn.Sequential:
    """Trained to tell all base classes apart; the last layer is put back to zero for a new task."""
    whole = copy.deepcopy(start)
    whole[-1] = nn.Linear(width, len(classes))
    x = torch.from_numpy(np.concatenate(classes).astype(np.float32))
    labels = torch.from_numpy(np.repeat(np.arange(len(classes)), [len(c) for c in classes]))

    def batch(rng: np.random.Generator) -> meta.Task:
        some = torch.from_numpy(rng.integers(len(x), size=64))
        loss = lambda model: functional.cross_entropy(model(x[some]), labels[some])  # noqa: E731
        return meta.Task(loss, loss)

    whole = meta.train(whole, batch, meta.MAML(0, meta_rate=3e-3, batch=1), steps=STEPS).module
    whole[-1] = copy.deepcopy(start[-1])
    nn.init.zeros_(whole[-1].weight)
    nn.init.zeros_(whole[-1].bias)
    return whole


def digits() -> None:
    """Held-out digits, 1 and 5 examples of each."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16 - 0.3
    for held_out in DIGITS:
        upright = [images[labels == digit] for digit in range(10)]
        base = [_turned(upright[d], n) for d in range(10) if d not in held_out for n in range(8)]
        new = [upright[d].reshape(-1, 64) for d in held_out]
        start = network(64, 64, 3)
        trained = pretrained(start, base, 64)
        for shots in (1, 5):
            learned = meta_learned(start, partial(draw, base, 3, shots))
            _compare(f"digits {held_out}, {shots} of each", learned, trained, start, partial(draw, new, 3, shots))


def _turned(images: np.ndarray, number: int) -> np.ndarray:
    turned = np.rot90(images, number % 4, (1, 2))
    return (turned[:, ::-1] if number >= 4 else turned).reshape(-1, 64)


def tables() -> None:
    """Held-out sets, 5 examples of each of two classes."""
    from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

    loaders = {"wine": load_wine, "breast cancer": load_breast_cancer, "iris": load_iris, "digits": load_digits}
    sets = {name: _standardised(*load(return_X_y=True)) for name, load in loaders.items()}
    start = network(FEATURES, 32, 2)
    for held_out in ("wine", "breast cancer", "iris"):
        base = partial(mixed, [classes for name, classes in sets.items() if name != held_out])
        joint = meta.train(start, partial(_task, base), meta.MAML(0, meta_rate=3e-3), steps=STEPS).module
        new = partial(mixed, [sets[held_out]])
        _compare(f"{held_out}, 5 of each", meta_learned(start, base), joint, start, new)


def mixed(sets: Sequence[Classes], rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Two classes of one of the sets, the features mixed at random into as many as the network takes."""
    classes = sets[rng.integers(len(sets))]
    count = classes[0].shape[1]
    mixing = rng.standard_normal((count, FEATURES)) / np.sqrt(count)
    return draw([c @ mixing for c in classes], 2, 5, rng)


def _task(tasks: Tasks, rng: np.random.Generator) -> meta.Task:
    return as_task(tasks(rng))


def _standardised(x: np.ndarray, labels: np.ndarray) -> Classes:
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    return [x[labels == label] for label in np.unique(labels)]


def _compare(name: str, learned: meta.Learned, trained: nn.Module, start: nn.Module, tasks: Tasks) -> None:
    ours = accuracy(learned.module, learned.rates, tasks, INNER)
    theirs, scratch = (best(module, tasks, [INNER]) for module in (trained, start))
    print(f"{name}, after {INNER} steps: MAML {ours:.1%}, pretrained {theirs:.1%}, from scratch {scratch:.1%} "
          f"(limit: MAML is best: {verdict(ours >= max(theirs, scratch))})")  # fmt: skip
    theirs, scratch = (best(module, tasks, LONG) for module in (trained, start))
    print(f"  after as many as suit them: pretrained {theirs:.1%}, from scratch {scratch:.1%}; "
          f"logistic regression {logistic(tasks):.1%}", flush=True)  # fmt: skip


def report() -> None:
    """Accuracy on classes and sets that no training saw."""
    digits()
    tables()
