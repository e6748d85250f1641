"""The ridge regulariser and the gradient-step prior: gradients, curvature, proximal map, objectives, units, weights."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from priors import Denoiser, GradientStep, NonNegative, RidgeRegulariser, load_denoiser, weights
from priors._ridge_body import BORDER, Ridge
from priors.networks import Architecture, UNet
from priors.ridge import WHOLE
from priors.ridge_network import RidgeArchitecture, RidgeNetwork
from recon import operators as ops
from recon import reconstruct
from solvers import LBFGS, DataProximalGradient, LeastSquares, steps
from solvers.errors import ArgumentError, DTypeError, FileError, OperatorError, ShapeError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small regulariser that was not trained, its profile far from convex."""
    torch.manual_seed(0)
    network = RidgeNetwork(RidgeArchitecture((3, 6)))
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    weights.write(path, weights.Weights(network.state_dict(), network.architecture.as_dict(), {}))
    return path


@pytest.fixture(scope="module")
def smooth_net(tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    """A small network that was not trained."""
    torch.manual_seed(0)
    network = UNet(Architecture(1, (8,), (1,)))
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    weights.write(path, weights.Weights(network.state_dict(), network.architecture.as_dict(), {}))
    return Denoiser(path, precision="float32")


def image(rows: int = 20, columns: int = 17) -> np.ndarray:
    """A disc and a ramp of amplitude 1, with noise of level 0.2."""
    y, x = np.mgrid[:rows, :columns]
    return 0.5 * x / columns + ((x - 8) ** 2 + (y - 9) ** 2 < 25) + 0.2 * RNG.standard_normal((rows, columns))


def weights_of(path: Path) -> Ridge:
    found = weights.read(path)
    network = RidgeNetwork(RidgeArchitecture(tuple(found.architecture["widths"])))
    network.load_state_dict(found.tensors)
    return Ridge.of([w.detach() for w in network.double().weights()])


def test_the_value_is_that_of_its_definition(file: Path) -> None:
    ridge, x = weights_of(file), image() / 0.3
    n = ridge.reach
    t = torch.from_numpy(np.pad(x, n, mode="symmetric"))[None, None]
    for kernel in ridge.kernels:
        t = functional.conv2d(t, kernel)
    knots, second = np.arange(len(ridge.table)), ridge.table[:, 2].numpy()
    u = np.abs((t[0] * ridge.scales.view(-1, 1, 1)).numpy())
    fine = np.linspace(0, u.max(), 200_001)
    slope = np.concatenate(([0], np.cumsum(second[np.minimum(fine[:-1].astype(int), knots[-1])] * np.diff(fine))))
    psi = np.concatenate(([0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(fine))))
    edge = [np.where((np.arange(m) < n) | (np.arange(m) >= m - n), BORDER, 1) for m in x.shape]
    terms = np.interp(u, fine, psi) / ridge.scales.numpy()[:, None, None] ** 2 * np.outer(*edge)
    assert RidgeRegulariser(0.3 / WHOLE, file).value(0.3 * x) == pytest.approx(0.3**2 * terms.sum(), rel=1e-4)


def test_gradients_are_those_of_the_value(file: Path) -> None:
    g, x, d = RidgeRegulariser(0.3, file), image(), RNG.standard_normal((20, 17))
    slope = (g.value(x + 1e-6 * d) - g.value(x - 1e-6 * d)) / 2e-6
    assert np.sum(g.gradient(x) * d) == pytest.approx(slope, rel=1e-5)
    for part in (x, x + 1j * x[::-1]):
        z = torch.from_numpy(part).requires_grad_()
        (by_torch,) = torch.autograd.grad(g.value(z), z)
        np.testing.assert_allclose(by_torch.numpy(), g.gradient(part), atol=1e-12)
        np.testing.assert_allclose(g.gradient(z).detach().numpy(), g.gradient(part), atol=1e-12)
    assert g.gradient(x.astype(np.float32)).dtype == np.float32


def test_batches_and_strips_are_images_one_by_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    g, x = RidgeRegulariser(0.3, file), np.stack([image(), image()])
    value, gradient, denoised = g.value(x), g.gradient(x), g.prox(x, 0.5)
    assert value == pytest.approx(g.value(x[0]) + g.value(x[1]), rel=1e-12)
    np.testing.assert_allclose(denoised[1], g.prox(x[1], 0.5), atol=1e-3 * 0.3)
    monkeypatch.setattr("priors._ridge_body.STRIP", 5 * 17)
    np.testing.assert_allclose(g.gradient(x), gradient, atol=1e-13)
    assert g.value(x) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("shape", [(6, 9), (24, 31)])
def test_the_curvature_is_within_its_bounds(file: Path, shape: tuple[int, int]) -> None:
    """Power iterations on the Hessian at noisy images, by differences of the gradient."""
    g = RidgeRegulariser(0.3, file)
    low, high = -g.weak_convexity(), g.curvature()
    assert -1 < low < 0 < high
    for x in (np.zeros(shape), 0.3 * RNG.standard_normal(shape), 2.0 * RNG.standard_normal(shape)):
        for shift in (low, high):
            v = RNG.standard_normal(shape)
            for _ in range(40):
                v /= np.linalg.norm(v)
                product = (g.gradient(x + 1e-7 * v) - g.gradient(x - 1e-7 * v)) / 2e-7
                quotient, v = np.sum(v * product), product - shift * v
            assert low - 1e-4 <= quotient <= high + 1e-4


def test_the_filters_gain_is_one_at_borders_as_well(file: Path) -> None:
    ridge = weights_of(file)
    for rows, columns in ((6, 6), (13, 30)):
        x = torch.from_numpy(RNG.standard_normal((1, 1, rows, columns)))
        for _ in range(60):
            x = ridge.synthesis(ridge.border(x) * ridge.analysis(x / x.norm()))
        assert float(x.norm()) <= 1.01


def test_the_proximal_map_is_where_plain_gradient_descent_ends(file: Path) -> None:
    g, v, step = RidgeRegulariser(0.3, file, tol=1e-9, iterations=2000), image(), 0.9
    x = v
    for _ in range(1200):
        x = x - (x - v + step * g.gradient(x)) / (1 + step * g.curvature())
    np.testing.assert_allclose(g.prox(v, step), x, atol=1e-7)
    np.testing.assert_allclose(g.prox(v, 0.0), v, rtol=1e-14)


def test_the_proximal_map_has_its_derivatives(file: Path) -> None:
    g, v, d = RidgeRegulariser(0.3, file, tol=1e-11, iterations=2000), image(), RNG.standard_normal((20, 17))
    z, step = torch.from_numpy(v).requires_grad_(), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    by_v, by_step = torch.autograd.grad((g.prox(z, step) * torch.from_numpy(d)).sum(), (z, step))
    e = 1e-6
    slope = np.sum((g.prox(v + e * d, 0.7) - g.prox(v - e * d, 0.7)) * d) / (2 * e)
    assert np.sum(by_v.numpy() * d) == pytest.approx(slope, rel=1e-3)
    assert float(by_step) == pytest.approx(np.sum((g.prox(v, 0.7 + e) - g.prox(v, 0.7 - e)) * d) / (2 * e), rel=1e-3)


@pytest.mark.parametrize(("scale", "offset"), [(3000.0, -1024.0), (1e4, 0.0)])
def test_units_do_not_matter(file: Path, scale: float, offset: float) -> None:
    x = image()
    g, other = RidgeRegulariser(0.2, file), RidgeRegulariser(0.2 * scale, file)
    assert other.value(scale * x + offset) == pytest.approx(scale**2 * g.value(x), rel=1e-9)
    np.testing.assert_allclose((other.prox(scale * x + offset, 0.9) - offset) / scale, g.prox(x, 0.9), atol=1e-4)


@pytest.mark.parametrize("solver", [LBFGS, DataProximalGradient])
def test_objectives_decrease_to_a_stationary_point(file: Path, solver: type) -> None:
    A = ops.Blur(np.ones((3, 3)) / 9, shape=(20, 17))
    problem = solver(LeastSquares(A, A(image())), RidgeRegulariser(0.1, file), 0.3)
    states = [state for state, _ in zip(steps(problem, np.zeros((20, 17))), range(120), strict=False)]
    values = np.array([problem.objective(state.x) for state in states])
    assert np.all(np.diff(values) <= 1e-12 * values[0])
    x = states[-1].x
    gradient = problem.data.gradient(x) + 0.3 * problem.prior.gradient(x)
    assert np.linalg.norm(gradient) < 1e-3 * np.linalg.norm(problem.data.gradient(0 * x))


def test_training_follows_the_derivative_of_the_denoised_image(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivative by implicit differentiation, beside differences of the loss, by each group of weights."""
    import priors.ridge_network as module

    for name, value in (("TOL", 1e-4), ("STEPS", 200), ("ADJOINT_TOL", 1e-4), ("ADJOINT_STEPS", 40)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(Ridge, "half", lambda self: self)
    found = weights.read(file)
    network = RidgeNetwork(RidgeArchitecture(tuple(found.architecture["widths"])))
    network.load_state_dict(found.tensors)
    noisy, clean = torch.from_numpy(image()).float()[None, None], torch.zeros(1, 1, 20, 17)

    def loss() -> torch.Tensor:
        return (network(noisy, torch.tensor([0.2])) - clean).double().square().sum()

    gradients = torch.autograd.grad(loss(), list(network.parameters()))
    for weight, gradient in zip(network.parameters(), gradients, strict=True):
        with torch.no_grad():
            along = gradient / gradient.norm()
            weight += 1e-3 * along
            above = loss()
            weight -= 2e-3 * along
            slope = (above - loss()) / 2e-3
            weight += 1e-3 * along
        assert float(slope) == pytest.approx(float(gradient.norm()), rel=0.03)


def test_a_gradient_step_is_the_gradient_of_its_value(smooth_net: Denoiser) -> None:
    g, x, d = GradientStep(0.2, smooth_net), image(), RNG.standard_normal((20, 17))
    slope = (g.value(x + 1e-3 * d) - g.value(x - 1e-3 * d)) / 2e-3
    assert np.sum(g.gradient(x) * d) == pytest.approx(slope, rel=1e-2)
    z = torch.from_numpy(x).requires_grad_()
    (by_torch,) = torch.autograd.grad(g.value(z), z)
    np.testing.assert_allclose(by_torch.numpy(), g.gradient(x), atol=1e-5)
    np.testing.assert_allclose(g(x, 0.2), x - g.gradient(x), atol=1e-12)
    np.testing.assert_allclose(GradientStep(200.0, smooth_net).value(1000 * x), 1e6 * g.value(x), rtol=1e-4)


def test_plug_and_play_with_the_networks_gradient_lowers_its_objective() -> None:
    A = ops.Blur(np.ones((3, 3)) / 9, shape=(32, 32))
    y = A(image(32, 32)).astype(np.float32)
    problem = DataProximalGradient(LeastSquares(A, y), GradientStep(0.1), 0.5)
    values = [problem.objective(state.x) for state, _ in zip(steps(problem, y), range(12), strict=False)]
    assert np.all(np.diff(values) <= 1e-6 * values[0]) and values[-1] < 0.9 * values[0]


def test_it_is_chosen_by_name() -> None:
    A = ops.Blur(np.ones((3, 3)) / 9, shape=(32, 32))
    clean = np.zeros((32, 32))
    clean[8:24, 8:24] = 1
    y = A(clean) + 0.02 * RNG.standard_normal(clean.shape)
    x, info = reconstruct(y, A, prior="ridge", noise=0.02, return_info=True)
    assert np.linalg.norm(x - clean) < 0.7 * np.linalg.norm(y - clean)
    values = np.array(info.history["objective"])
    assert np.all(np.diff(values) <= 1e-5 * values[0])
    other = reconstruct(1e4 * y, A, prior="ridge", noise=200.0)
    np.testing.assert_allclose(other / 1e4, x, atol=1e-3)


def test_wrong_inputs_are_refused(file: Path, smooth_net: Denoiser) -> None:
    g = RidgeRegulariser(0.3, file)
    with pytest.raises(OperatorError, match="unique for steps below"):
        g.prox(image(), 2.0)
    with pytest.raises(ShapeError, match="at least 4 x 4"):
        g.value(np.zeros((3, 8)))
    with pytest.raises(ArgumentError, match="level"):
        RidgeRegulariser(0.0, file)
    with pytest.raises(DTypeError, match="name"):
        RidgeRegulariser(0.1, 3)  # type: ignore[arg-type]
    with pytest.raises(FileError, match="denoising network"):
        RidgeRegulariser(0.1, smooth_net.name).value(image())
    with pytest.raises(FileError, match="ridge regulariser"):
        load_denoiser(file)
    with pytest.raises(DTypeError, match="denoiser"):
        GradientStep(0.1, 3)  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match="data-proximal"):
        GradientStep(0.1).prox(image(), 1.0)
    with pytest.raises(ArgumentError, match="bounds"):
        DataProximalGradient(LeastSquares(ops.Identity((20, 17)), image()), g + NonNegative(), 1.0)


@pytest.mark.parametrize("module", ["priors.ridge", "priors.gradient_step", "solvers.data_proximal"])
def test_examples_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module), extraglobs={"np": np})
    assert found.attempted and not found.failed
