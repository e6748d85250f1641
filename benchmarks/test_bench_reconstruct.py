"""Whole reconstructions under pytest-benchmark; ``--benchmark-compare-fail`` guards them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.problems import measure, photograph
from recon import operators as ops
from recon import reconstruct
from recon.bench import PROBLEMS

TV = {"prior": "tv"}


@pytest.fixture(scope="module")
def deblurring():
    return PROBLEMS["deblur"]()


@pytest.fixture(scope="module")
def tomography():
    truth = photograph("camera", 256)
    return measure("CT", truth, ops.ParallelBeam(truth.shape, 60, spacing=1 / 256), 0.005)


def test_deblur_512_with_the_choice_of_prior_and_strength(benchmark, deblurring):
    benchmark.pedantic(reconstruct, (deblurring.y, deblurring.operator), rounds=2, warmup_rounds=1)


def test_deblur_512_with_the_choice_of_strength(benchmark, deblurring):
    benchmark.pedantic(reconstruct, (deblurring.y, deblurring.operator), TV, rounds=5, warmup_rounds=1)


def test_deblur_512_at_a_given_strength(benchmark, deblurring):
    benchmark.pedantic(reconstruct, (deblurring.y, deblurring.operator), {"strength": 6e-4}, rounds=5, warmup_rounds=1)


def test_tomography_256_with_the_choice_of_strength(benchmark, tomography):
    benchmark.pedantic(reconstruct, (tomography.y, tomography.operator), TV, rounds=5, warmup_rounds=1)


def test_tomography_256_at_a_given_strength(benchmark, tomography):
    benchmark.pedantic(
        reconstruct, (tomography.y, tomography.operator), {"strength": 1.3e-4}, rounds=5, warmup_rounds=1
    )


def test_inpainting_512_at_a_given_strength(benchmark):
    truth = photograph("camera")
    mask = np.random.default_rng(1).random(truth.shape) < 0.5
    problem = measure("mask", truth, ops.Mask(mask), 0.03)
    benchmark.pedantic(reconstruct, (problem.y, problem.operator), {"strength": 1e-2}, rounds=3, warmup_rounds=1)
