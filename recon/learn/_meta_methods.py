"""How to learn from tasks: MAML and Reptile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recon.learn._inner_loop import Loss, bound, checked, descend, trainable
from recon.learn.optimiser import Adam
from solvers.errors import OptionError
from solvers.validation import positive_float, positive_int

FASTER = 10.0
"""Learning rate of the inner rates, which are relative to their first value, over that of the weights."""
WEIGHTS, FACTORS = "weights.", "factors."


@dataclass(frozen=True)
class Task:
    """A task: adapt on one loss, be judged by another.

    Parameters
    ----------
    support : callable
        ``support(model) -> loss``, a torch scalar, on the data to adapt to; ``model`` is called like the module. Each
        step calls it once, so it may draw other data each time.
    query : callable, optional
        The same on the data to judge by; Reptile needs none.
    """

    support: Loss
    query: Loss | None = None


@dataclass(frozen=True)
class State:
    """What a training changes, all of it in place."""

    weights: dict[str, Tensor]
    factors: dict[str, Tensor]  # of the inner learning rate, for each weight
    optimiser: Adam

    @classmethod
    def of(cls, module: nn.Module, learn_rates: str | None) -> State:
        """The start: a module's weights, and factors of one."""
        weights = {name: weight.clone() for name, weight in trainable(module).items()}
        shape: Callable[[Tensor], Any] = (lambda w: w.shape) if learn_rates == "weight" else (lambda w: ())
        factors = {name: torch.ones(shape(w), dtype=w.dtype, device=w.device) for name, w in weights.items()}
        learned = factors if learn_rates else {}
        moved = {f"{WEIGHTS}{n}": w for n, w in weights.items()} | {f"{FACTORS}{n}": f for n, f in learned.items()}
        return cls(weights, factors, Adam(moved))

    def groups(self) -> dict[str, dict[str, Tensor]]:
        """Every tensor that a resumed training needs."""
        return {"weights": self.weights, "factors": self.factors, "optimiser": self.optimiser.tensors}


class Method(Protocol):
    """How to learn from tasks."""

    @property
    def rate(self) -> float:
        """Inner learning rate at the start."""

    @property
    def batch(self) -> int:
        """Tasks of a step."""

    @property
    def learn_rates(self) -> str | None:
        """Which inner learning rates are learned."""

    def update(self, module: nn.Module, state: State, tasks: list[Task], share: float, count: int) -> float:
        """Take step ``count``, of a learning rate of ``share`` of its largest; returns the loss."""


@dataclass(frozen=True)
class MAML:
    r"""Model-agnostic meta-learning: the query loss after gradient steps on the support loss is made small.

    ``min over w, a of the mean over tasks of Q(w')``, where ``w'`` is ``w <- w - a dS/dw`` some times over, by Adam.

    Parameters
    ----------
    inner_steps : int
        Gradient steps of each task; 0 is the training on all tasks at once.
    rate : float
        Inner learning rate; where they are learned, the first one.
    second_order : bool
        Whether the gradient of the inner steps is exact; otherwise their own gradients are taken for constants, which
        needs no second derivatives.
    learn_rates : {None, "layer", "weight"}
        Learn an inner learning rate for each tensor of weights or for each weight (Meta-SGD); they may change sign.
    meta_rate : float
        Learning rate of Adam at its largest; it follows a cosine to zero.
    batch : int
        Tasks of a step.

    References
    ----------
    Finn, Abbeel and Levine 2017, algorithm 1; learned rates: Li et al. 2017, equation 3.
    """

    inner_steps: int = 1
    rate: float = 0.01
    second_order: bool = True
    learn_rates: str | None = None
    meta_rate: float = 1e-3
    batch: int = 4

    def __post_init__(self) -> None:
        _check(self, least=0)
        if self.learn_rates not in (None, "layer", "weight"):
            raise OptionError(f"learn_rates is {self.learn_rates!r}; expected None, 'layer' or 'weight'. Pass one.")

    def update(self, module: nn.Module, state: State, tasks: list[Task], share: float, count: int) -> float:
        found = [self._gradients(module, state, task) for task in tasks]
        mean = {name: torch.stack([g[name] for _, g in found]).mean(0) for name in state.optimiser.weights}
        for group, rate in ((WEIGHTS, 1.0), (FACTORS, FASTER)):
            part = {name: gradient for name, gradient in mean.items() if name.startswith(group)}
            state.optimiser.step(part, rate * share * self.meta_rate, count)
        return sum(loss for loss, _ in found) / len(found)

    def _gradients(self, module: nn.Module, state: State, task: Task) -> tuple[float, dict[str, Tensor]]:
        """The query loss of the adapted model, and its gradient in all that the optimiser knows."""
        weights = {name: w.detach().requires_grad_() for name, w in state.weights.items()}
        factors = {name: f.detach().requires_grad_() for name, f in state.factors.items()}
        rates = {name: self.rate * f for name, f in factors.items()}
        adapted, _ = descend(module, weights, task.support, self.inner_steps, rates, second_order=self.second_order)
        assert task.query is not None  # a task without one was refused
        loss = checked(task.query(bound(module, adapted)), "query loss")
        inputs = [*weights.values(), *(factors.values() if self.learn_rates else ())]
        gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
        return float(loss.detach()), dict(zip(state.optimiser.weights, gradients, strict=True))


@dataclass(frozen=True)
class Reptile:
    """Moves the weights towards those that gradient steps on a task lead to; no second derivatives, little memory.

    ``w <- w + meta_rate (mean over tasks of w' - w)``, with ``w'`` after ``inner_steps`` of the support loss.

    Parameters
    ----------
    inner_steps, rate, batch
        As for :class:`MAML`; two steps or more, with one it is the training on all tasks at once.
    meta_rate : float
        Share of the way to go at its largest; it follows a cosine to zero.

    References
    ----------
    Nichol, Achiam and Schulman 2018, algorithm 2.
    """

    inner_steps: int = 5
    rate: float = 0.01
    meta_rate: float = 0.5
    batch: int = 4
    learn_rates: None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        _check(self, least=1)

    def update(self, module: nn.Module, state: State, tasks: list[Task], share: float, count: int) -> float:
        rates = {name: self.rate * factor for name, factor in state.factors.items()}
        start = {name: w.clone() for name, w in state.weights.items()}
        losses = []
        for task in tasks:
            adapted, loss = followed(module, start, task.support, self.inner_steps, rates)
            losses.append(loss)
            for name, weight in state.weights.items():
                weight.add_(adapted[name] - start[name], alpha=share * self.meta_rate / len(tasks))
        return sum(losses) / len(losses)


def followed(
    module: nn.Module, weights: Mapping[str, Tensor], loss: Loss, steps: int, rates: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], float]:
    """:func:`descend` that keeps no history of gradients."""
    value = float("nan")
    for _ in range(steps):
        fresh = {name: w.detach().requires_grad_() for name, w in weights.items()}
        weights, value = descend(module, fresh, loss, 1, rates)
    return {name: w.detach() for name, w in weights.items()}, value


def _check(method: Any, least: int) -> None:
    positive_int("inner_steps", method.inner_steps, minimum=least)
    positive_float("rate", method.rate)
    positive_float("meta_rate", method.meta_rate)
    positive_int("batch", method.batch)
