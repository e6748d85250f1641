"""Meta-learning: gradients against closed forms, Reptile on quadratics, resumption, and what is refused."""

from __future__ import annotations

import copy
import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recon.learn import meta
from recon.learn._meta_methods import State
from solvers.errors import ArgumentError, DTypeError, FileError, NonFiniteError, OptionError, ShapeError

CURVATURE = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]], dtype=torch.float64)


class Point(nn.Module):
    """A module whose output is its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64))

    def forward(self) -> torch.Tensor:
        return self.place


def bowl(centre) -> meta.Task:
    """A quadratic around a centre, in support and query; the query's is shifted."""
    centre = torch.as_tensor(centre, dtype=torch.float64)

    def loss(model, shift: float = 0.0):
        d = model() - centre - shift
        return 0.5 * d @ CURVATURE @ d

    return meta.Task(loss, lambda model: loss(model, 0.25))


def bowls(rng: np.random.Generator) -> meta.Task:
    return bowl(rng.normal(size=3))


def perceptron() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def regression(rng: np.random.Generator) -> meta.Task:
    x, y = (torch.from_numpy(rng.normal(size=(6, n))) for n in (2, 1))
    return meta.Task(
        lambda model: (model(x[:3]) - y[:3]).square().mean(), lambda model: (model(x[3:]) - y[3:]).square().mean()
    )


def gradient(method: meta.MAML, module: nn.Module, task: meta.Task) -> dict[str, torch.Tensor]:
    return method._gradients(module, State.of(module, method.learn_rates), task)[1]


def test_second_order_gradient_is_the_closed_form_on_a_quadratic() -> None:
    method, centre = meta.MAML(inner_steps=3, rate=0.2, learn_rates="layer"), torch.tensor([1.0, 0.0, -1.0]).double()
    module = Point()
    shrink = torch.linalg.matrix_power(torch.eye(3).double() - 0.2 * CURVATURE, 3)
    start = module.place.detach() - centre
    slope = CURVATURE @ (shrink @ start - 0.25)
    found = gradient(method, module, bowl(centre))
    torch.testing.assert_close(found["weights.place"], shrink @ slope)
    once = torch.linalg.matrix_power(torch.eye(3).double() - 0.2 * CURVATURE, 2)
    torch.testing.assert_close(found["factors.place"], -3 * 0.2 * (slope @ (once @ CURVATURE @ start)))


@pytest.mark.parametrize("learn_rates", [None, "layer", "weight"])
def test_second_order_gradient_is_that_of_finite_differences(learn_rates: str | None) -> None:
    method = meta.MAML(inner_steps=2, rate=0.1, learn_rates=learn_rates)
    module, task = perceptron(), regression(np.random.default_rng(0))
    state = State.of(module, learn_rates)
    _, found = method._gradients(module, state, task)
    rng = np.random.default_rng(1)
    for name, tensor in state.optimiser.weights.items():
        direction, step = torch.from_numpy(np.asarray(rng.normal(size=tuple(tensor.shape)))), 1e-5
        values = []
        for sign in (1, -1):
            tensor += sign * step * direction
            values.append(method._gradients(module, state, task)[0])
            tensor -= sign * step * direction
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx(float((found[name] * direction).sum()), rel=1e-6, abs=1e-9), name


def test_first_order_is_second_order_where_the_hessian_is_zero() -> None:
    def slopes(sign: float):
        return lambda model: sign * (model() * torch.arange(3.0, dtype=torch.float64)).sum()

    flat = meta.Task(slopes(1.0), slopes(-2.0))
    exact, first = (gradient(meta.MAML(2, 0.1, second), Point(), flat) for second in (True, False))
    torch.testing.assert_close(exact, first)
    exact, first = (gradient(meta.MAML(2, 0.1, second), Point(), bowl(np.zeros(3))) for second in (True, False))
    assert not torch.allclose(exact["weights.place"], first["weights.place"])


def test_reptile_on_quadratics_has_a_closed_form() -> None:
    centre, n, rate = torch.tensor([1.0, 0.0, -1.0]).double(), 4, 0.3
    found = meta.train(Point(), lambda rng: bowl(centre), meta.Reptile(n, rate, meta_rate=0.5, batch=2), steps=1)
    start = Point().place.detach()
    end = centre + torch.linalg.matrix_power(torch.eye(3).double() - rate * CURVATURE, n) @ (start - centre)
    torch.testing.assert_close(found.module.place.detach(), start + 0.5 * (end - start))


def test_the_best_start_for_all_quadratics_is_found() -> None:
    """After one step of 0.3, the mean of centres around zero is to lie at the query's shift."""
    best = torch.linalg.solve(torch.eye(3).double() - 0.3 * CURVATURE, torch.full((3,), 0.25).double())
    for method, expected in [
        (meta.MAML(rate=0.3, meta_rate=0.2, batch=8), best),
        (meta.Reptile(2, 0.3, batch=8), torch.zeros(3).double()),
    ]:
        found = meta.train(Point(), bowls, method, steps=40)
        assert float((found.module.place.detach() - expected).norm()) < 0.4
        losses = [entry["loss"] for entry in found.progress.history]
        assert len(losses) == 40 and np.mean(losses[-10:]) < 0.7 * np.mean(losses[:3])


def test_learned_rates_find_the_step_of_newton() -> None:
    """With a curvature for each weight, one step of the inverse curvature solves every task."""
    curvature = torch.tensor([4.0, 1.0, 0.5]).double()

    def task(rng):
        centre = torch.from_numpy(rng.normal(size=3))
        loss = lambda model: 0.5 * (curvature * (model() - centre) ** 2).sum()  # noqa: E731
        return meta.Task(loss, loss)

    method = meta.MAML(rate=0.3, learn_rates="weight", meta_rate=0.05)
    found = meta.train(Point(), task, method, steps=100)
    torch.testing.assert_close(found.rates["place"], 1 / curvature, rtol=0.05, atol=0.0)
    new = task(np.random.default_rng(9))
    assert float(new.query(found.adapt(new.support)).detach()) < 0.02


@pytest.mark.parametrize(
    "method", [meta.MAML(2, 0.05, learn_rates="weight"), meta.MAML(1, 0.05, second_order=False), meta.Reptile(2, 0.05)]
)
def test_an_interrupted_training_goes_on_to_the_same_bits(method, tmp_path: Path) -> None:
    module = nn.Sequential(perceptron(), nn.Dropout(0.2))
    whole = meta.train(module, regression, method, steps=6, rng=5)
    calls = 0

    def interrupted(rng):
        nonlocal calls
        calls += 1
        if calls > 3 * method.batch:
            raise KeyboardInterrupt
        return regression(rng)

    again = {"steps": 6, "rng": 5, "checkpoint": tmp_path / "c.safetensors"}
    with pytest.raises(KeyboardInterrupt):
        meta.train(module, interrupted, method, **again)
    resumed = meta.train(module, regression, method, **again)
    assert resumed.progress.steps == 6
    for name, weight in whole.module.state_dict().items():
        assert torch.equal(weight, resumed.module.state_dict()[name]), name
    for name, rate in whole.rates.items():
        assert torch.equal(rate, resumed.rates[name]), name
    with pytest.raises(FileError, match="other settings"):
        meta.train(module, regression, method, **{**again, "rng": 6})


def test_the_module_is_not_changed() -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    before, task = copy.deepcopy(module.state_dict()), regression(np.random.default_rng(0))
    for method in (meta.MAML(2), meta.Reptile(2)):
        found = meta.train(module, regression, method, steps=2)
        assert not torch.equal(found.module[0].weight, module[0].weight)
        found.adapt(task.support, steps=2)
    meta.adapt(module, task.support, 3)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(weight.grad is None for weight in module.parameters())


def test_frozen_weights_stay_and_the_callers_random_numbers_too() -> None:
    module = perceptron()
    module[0].requires_grad_(False)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    found = meta.train(module, regression, meta.MAML(), steps=2, progress=lambda text: None)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(found.module[0].weight, module[0].weight)
    assert set(found.rates) == {"2.weight", "2.bias"}


def test_minutes_end_a_training() -> None:
    found = meta.train(Point(), bowls, meta.Reptile(), minutes=0.002)
    assert found.progress.steps and 0.12 <= found.progress.seconds < 5


def test_adapt_takes_rates_of_each_weight() -> None:
    module, task = Point(), bowl(np.zeros(3))
    rates = {"place": torch.tensor([0.0, 0.1, 0.0]).double()}
    found, start = meta.adapt(module, task.support, 1, rates).place, module.place
    assert bool(found[0] == start[0]) and bool(found[2] == start[2])
    assert float((found[1] - start[1]).detach()) == pytest.approx(-0.1 * float((CURVATURE @ start.detach())[1]))


def test_wrong_inputs_are_refused() -> None:
    method, reptile = meta.MAML(), meta.Reptile(1)
    for given, error, match in [
        ({"module": 3}, DTypeError, "torch.nn.Module"),
        ({"module": Point().requires_grad_(False)}, ArgumentError, "requires_grad_"),
        ({"tasks": [1]}, DTypeError, "function of a random generator"),
        ({"tasks": lambda rng: 3}, DTypeError, "meta.Task"),
        ({"tasks": lambda rng: meta.Task(bowls(rng).support)}, ArgumentError, "query"),
        ({"steps": None}, ArgumentError, "one of the two"),
        ({"minutes": 1}, ArgumentError, "one of the two"),
        ({"rng": -1}, ArgumentError, "rng"),
        ({"tasks": lambda rng: meta.Task(lambda model: model()), "method": reptile}, ShapeError, "scalar"),
        ({"tasks": lambda rng: meta.Task(lambda model: 1.0), "method": reptile}, ShapeError, "float"),
        (
            {"tasks": lambda rng: meta.Task(lambda model: torch.zeros(())), "method": reptile},
            ArgumentError,
            "does not depend",
        ),
        (
            {"tasks": lambda rng: meta.Task(lambda model: model().sum() / 0), "method": reptile},
            NonFiniteError,
            "Lower the rate",
        ),
    ]:
        call = {"module": Point(), "tasks": bowls, "method": method, "steps": 1} | given
        with pytest.raises(error, match=match):
            meta.train(**call)
    with pytest.raises(OptionError, match="learn_rates"):
        meta.MAML(learn_rates="all")
    with pytest.raises(ArgumentError, match="inner_steps"):
        meta.Reptile(inner_steps=0)
    with pytest.raises(ArgumentError, match="rates lack 'place'"):
        meta.adapt(Point(), bowl(np.zeros(3)).support, 1, {})


def test_examples() -> None:
    assert doctest.testmod(meta).failed == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_what_the_cpu_finds() -> None:
    found = [meta.train(Point().to(device), _on(device), meta.MAML(2), steps=3) for device in ("cpu", "cuda")]
    torch.testing.assert_close(found[0].module.place, found[1].module.place.cpu())


def _on(device: str):
    def tasks(rng):
        task = bowls(rng)
        return meta.Task(lambda m: task.support(lambda: m().cpu()), lambda m: task.query(lambda: m().cpu()))

    return tasks
