"""Times of total variation for pytest-benchmark: ``pytest benchmarks/test_bench_tv.py``. Compilation is not counted.

``python -m benchmarks.tv`` compares times to equal accuracy.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tv import STRENGTH, noisy_image, ours, peer
from priors import TotalVariation, Wavelet

SIZES = [512, 2048]


@pytest.mark.parametrize("size", SIZES)
def test_fifty_iterations(benchmark, size):
    v = noisy_image(size)
    benchmark.pedantic(ours, (v, STRENGTH, 50), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("size", SIZES)
def test_fifty_iterations_of_scikit_image(benchmark, size):
    v = noisy_image(size)
    benchmark.pedantic(peer, (v, STRENGTH, 50), rounds=2)


@pytest.mark.parametrize("size", SIZES)
def test_default_prox(benchmark, size):
    v, prior = noisy_image(size), TotalVariation()
    benchmark.pedantic(prior.prox, (v, STRENGTH), rounds=3, warmup_rounds=1)


def test_warm_started_prox(benchmark):
    """What an outer iteration pays for an inexact proximal map."""
    v, prior = noisy_image(512), TotalVariation()
    _, dual = prior.prox_from(v, STRENGTH)
    benchmark(lambda: prior.prox_from(v, STRENGTH, dual, iterations=8))


@pytest.mark.parametrize("shape", [(512, 512), (2, 512, 512), (2048, 2048)])
def test_splitting_update(benchmark, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (term,) = TotalVariation().terms()
    z = term.apply(x)
    term.function.split_step(x, z, 0.1, 1.8)  # compiled: rounds are counted by the first call
    benchmark(lambda: term.function.split_step(x, z, 0.1, 1.8))


def test_value(benchmark):
    v, prior = noisy_image(512), TotalVariation()
    prior.value(v)
    benchmark(lambda: prior.value(v))


def test_wavelet_prox(benchmark):
    v, prior = noisy_image(512), Wavelet()
    prior.prox(v, STRENGTH)
    benchmark(lambda: prior.prox(v, STRENGTH))


def test_signals(benchmark):
    v, prior = noisy_image(512), TotalVariation(1)
    prior.prox(v, STRENGTH)
    benchmark(lambda: prior.prox(v, STRENGTH))
