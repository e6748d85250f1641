"""Large images are reconstructed in place: the same answer, in little memory."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest

import recon._large as large
from priors import group_norm
from recon import operators as ops
from recon import plan, reconstruct
from solvers import _in_place

SIGMA = 0.05


def volume(n):
    axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32)] * 3, indexing="ij", sparse=True)
    ball = sum(a**2 for a in axes) < 0.6
    box = np.maximum(np.maximum(*(abs(a - 0.2) for a in axes[:2])), abs(axes[2] - 0.2)) < 0.3
    return (0.5 * ball + 0.3 * box + 0.1 * ball * np.sin(20 * axes[0]) * np.cos(15 * axes[1])).astype(np.float32)


def operator(name, shape):
    profile = np.array([0.06, 0.24, 0.4, 0.24, 0.06])
    return {
        "identity": lambda: ops.Identity(shape),
        "blur": lambda: ops.Blur(np.einsum("i,j,k->ijk", *[profile / profile.sum()] * 3), shape),
        "mask": lambda: ops.Mask(np.random.default_rng(1).random(shape) < 0.5),
    }[name]()


def problem(name, n):
    truth = volume(n)
    A = operator(name, truth.shape)
    noise = SIGMA * np.random.default_rng(2).standard_normal(truth.shape, dtype=np.float32)
    return truth, A, A(truth) + (A(noise) if name == "mask" else noise)


@pytest.fixture
def in_place(monkeypatch):
    """Treats small volumes as large ones; blocks are small beside them, as they would be."""
    monkeypatch.setattr(large, "LARGE", 0)
    monkeypatch.setattr(_in_place, "BLOCK", 2**12)
    monkeypatch.setattr(group_norm, "BLOCK", 2**12)


def error(x, truth):
    return 10 * np.log10(np.mean((x - truth) ** 2))


@pytest.mark.parametrize("name", ["identity", "blur", "mask"])
def test_the_strength_chosen_is_as_good_as_that_of_the_usual_search(name, monkeypatch):
    truth, A, y = problem(name, 40)
    usual = reconstruct(y, A, noise=SIGMA)
    monkeypatch.setattr(large, "LARGE", 0)
    x, info = reconstruct(y, A, noise=SIGMA, return_info=True)
    assert info.status.ok and 0.5 < info.residual < 1.5
    assert info.choice.divergence > 0
    assert error(x, truth) < error(usual, truth) + 0.3


@pytest.mark.parametrize("bounds", [None, (0.0, 0.7)])
def test_the_image_at_a_strength_is_that_of_the_usual_steps(bounds, monkeypatch):
    _, A, y = problem("blur", 24)
    options = {"strength": 0.02, "tol": 3e-4, "bounds": bounds}
    usual = reconstruct(y.astype(float), A, **options)
    monkeypatch.setattr(large, "LARGE", 0)
    assert np.abs(reconstruct(y.astype(float), A, **options) - usual).max() < 5e-3


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        ("identity", "auto"),
        pytest.param("blur", "auto", marks=pytest.mark.slow),
        pytest.param("mask", "auto", marks=pytest.mark.slow),
        ("blur", 0.03),
        ("mask", 0.03),
    ],
)
def test_a_volume_takes_no_more_than_eight_of_its_size(name, strength, in_place):
    truth, A, y = problem(name, 64)
    _, small, measured = problem(name, 16)
    reconstruct(measured, small, strength=strength, max_iter=20, tol=0.1)  # compilation, imports
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reconstruct(y, A, strength=strength)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 8.0 * truth.nbytes


def test_what_is_not_for_it_goes_the_usual_way(in_place):
    _, A, y = problem("identity", 12)
    seen = []
    reconstruct(y, A, strength=0.03, callback=lambda state, k: seen.append(state.x))
    assert not np.shares_memory(seen[0], seen[-1])
    assert reconstruct(np.stack([y, y]), A, strength=0.03).shape == (2, *y.shape)
    assert np.isfinite(reconstruct(y, A, strength="whiteness")).all()
    assert plan(y, A).prior.ndim == 3


def test_the_plan_says_what_a_large_problem_takes(in_place):
    _, A, y = problem("blur", 24)
    asked = plan(np.broadcast_to(y[:1, :1, :1], (24, 24, 24)).copy(), A)
    assert asked.memory == pytest.approx(7.7 * y.nbytes, rel=0.1)
    assert "memory" not in asked.decisions  # little
    whole = ops.Identity((256, 256, 256))
    decided = plan(np.zeros(whole.in_shape, np.float32), whole, noise=0.1).decisions["memory"]
    assert decided.choice == "about 429 MB" and "in place" in decided.reason


@pytest.mark.parametrize("name", ["identity", "blur", "mask"])
@pytest.mark.parametrize(("strength", "usual"), [(0.03, False), (0.03, True), ("auto", True)])
def test_the_estimate_is_near_the_peak(name, strength, usual, in_place, monkeypatch):
    if usual:
        monkeypatch.setattr(large, "LARGE", 2**40)
    truth, A, y = problem(name, 64)  # rows as long as the kernels' tiles: shorter ones are padded
    if usual:  # of an image: the same, quicker
        truth, A, y = truth[32], *planar(name, truth[32])
    estimate = plan(y, A, strength=strength).memory
    reconstruct(y, A, strength=strength)  # compilation, imports
    tracemalloc.start()
    reconstruct(y, A, strength=strength)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 1 / 1.35 < estimate / peak < 1.35


def planar(name, truth):
    truth = np.kron(truth, np.ones((4, 4), np.float32))
    A = {
        "identity": lambda: ops.Identity(truth.shape),
        "blur": lambda: ops.Blur(np.ones((5, 5)) / 25, truth.shape),
        "mask": lambda: ops.Mask(np.random.default_rng(1).random(truth.shape) < 0.5),
    }[name]()
    noise = SIGMA * np.random.default_rng(2).standard_normal(truth.shape, dtype=np.float32)
    return A, A(truth + noise) if name == "mask" else A(truth) + noise


def test_a_shortage_is_warned_of_with_the_remedy(monkeypatch):
    from recon import _memory
    from recon.info import ReconstructionWarning

    _, A, y = problem("identity", 12)
    monkeypatch.setattr(_memory, "free_bytes", lambda: 1000)
    with pytest.warns(ReconstructionWarning, match=r"about .* of memory and 0.001 MB are free. Pass y in single"):
        reconstruct(y, A, strength=0.03)
    monkeypatch.setattr(_memory, "free_bytes", lambda: None)
    assert _memory.shortage(10**12) is None
