"""Steps in place: the same iterates as the pure steps of ADMM, in a few arrays of the image's size."""

from __future__ import annotations

import tracemalloc
from itertools import islice

import numpy as np
import pytest

from priors import Box, HuberTV, TotalVariation, Wavelet
from recon import operators as ops
from solvers import ADMM, LeastSquares, PoissonLikelihood
from solvers._in_place import supported

SHAPE = (10, 14, 11)
RNG = np.random.default_rng(0)
OPERATORS = {
    "identity": ops.Identity(SHAPE),
    "blur": ops.Blur(RNG.random((3, 3, 3)) / 13, SHAPE),
    "response": ops.FrequencyResponse(lambda *f: 1 / (1 + sum(g**2 for g in f)), SHAPE),
    "mask": ops.Mask(RNG.random(SHAPE) < 0.5),
}
PRIORS = {
    "tv": TotalVariation(3),
    "anisotropic": TotalVariation(3, isotropic=False, spacing=(1.0, 2.0, 0.5)),
    "huber": 2.0 * HuberTV(0.1, 3),
    "bounds": TotalVariation(3) + Box(0.1, 0.9),
}


def problem(name, prior, dtype=np.float64):
    A = OPERATORS[name]
    y = A(np.random.default_rng(1).random(SHAPE).astype(dtype))
    return ADMM(LeastSquares(A, y), PRIORS[prior], 0.1)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", OPERATORS)
def test_the_limit_is_that_of_the_pure_steps(name, prior):
    algorithm = problem(name, prior)
    start = algorithm.start_in_place()
    state = algorithm.init(start.x.copy())
    for k in range(300):
        state = algorithm.step(state, k)
    for found in islice(algorithm.steps_in_place(start), 300):  # noqa: B007
        pass
    np.testing.assert_allclose(found.x, state.x, atol=1e-5)


@pytest.mark.parametrize("name", ["identity", "blur", "response"])
def test_iterates_are_those_of_the_pure_steps(name):
    algorithm = problem(name, "tv")
    start = algorithm.start_in_place()
    state = algorithm.init(start.x.copy())
    # Penalties are balanced at steps 2, 5 and 9.
    for k, found in enumerate(islice(algorithm.steps_in_place(start), 12)):
        state = algorithm.step(state, k)
        np.testing.assert_allclose(found.x, state.x, atol=1e-12)
        np.testing.assert_allclose(found.rho, state.rho, rtol=1e-5)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_restart_at_another_strength_reaches_its_minimiser(name):
    algorithm = problem(name, "tv")
    for state in islice(algorithm.steps_in_place(algorithm.start_in_place()), 30):  # noqa: B007
        pass
    other = algorithm.at(0.03)
    state = other.restart(state, algorithm.strength)
    for found in islice(other.steps_in_place(state), 300):  # noqa: B007
        pass
    wanted = other.init(np.zeros(SHAPE))
    for k in range(300):
        wanted = other.step(wanted, k)
    np.testing.assert_allclose(found.x, wanted.x, atol=1e-5)


def test_what_has_no_steps_in_place_is_told():
    A, y = OPERATORS["blur"], np.ones(SHAPE)
    assert supported(LeastSquares(A, y), TotalVariation(3), y)
    assert not supported(LeastSquares(A, y), TotalVariation(2), y)  # a batch of images
    assert not supported(LeastSquares(A, y), Wavelet(), y)
    assert not supported(LeastSquares(A, y), TotalVariation(3) + Box(np.zeros(SHAPE), np.ones(SHAPE)), y)
    assert not supported(LeastSquares(A, y), TotalVariation(3), np.ones((2, *SHAPE)))
    assert not supported(LeastSquares(A, y), TotalVariation(3), y + 0j)
    assert not supported(PoissonLikelihood(A, y), TotalVariation(3), y)
    unknown = ops.Blur(np.ones((3, 3, 3)), SHAPE, boundary="unknown")
    assert not supported(LeastSquares(unknown, y), TotalVariation(3), np.ones(unknown.in_shape))


def test_images_are_treated_alike():
    A = ops.Blur(np.ones((5, 3)) / 15, (37, 26))
    algorithm = ADMM(LeastSquares(A, RNG.random((37, 26))), TotalVariation(), 0.05)
    start = algorithm.start_in_place()
    state = algorithm.init(start.x.copy())
    for k in range(12):
        state = algorithm.step(state, k)
    for found in islice(algorithm.steps_in_place(start), 12):  # noqa: B007
        pass
    np.testing.assert_allclose(found.x, state.x, atol=1e-12)


@pytest.mark.parametrize(("name", "volumes"), [("identity", 1.0), ("blur", 2.0), ("mask", 1.0)])
def test_steps_take_one_array_more_than_the_state(monkeypatch, name, volumes):
    from priors import group_norm
    from solvers import _in_place

    shape = (64, 64, 64)
    # Blocks are small beside images that fill the memory.
    monkeypatch.setattr(_in_place, "BLOCK", 2**12)
    monkeypatch.setattr(group_norm, "BLOCK", 2**12)
    A = {
        "identity": ops.Identity(shape),
        "blur": ops.Blur(np.ones((3, 3, 3)) / 27, shape),
        "mask": ops.Mask(RNG.random(shape) < 0.5),
    }[name]
    y = A(RNG.random(shape).astype(np.float32))
    algorithm = ADMM(LeastSquares(A, y), TotalVariation(3), 0.1)
    state = algorithm.start_in_place()
    next(algorithm.steps_in_place(state))  # compilation
    algorithm = ADMM(LeastSquares(A, y), TotalVariation(3), 0.1)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    steps = algorithm.steps_in_place(state)
    for _ in range(6):
        next(steps)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < (volumes + 0.6) * y.nbytes
