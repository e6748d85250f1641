"""Timings of the convolutions for pytest-benchmark: ``pytest benchmarks --benchmark-only``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal

from benchmarks.convolution import PSFS, SIZE
from recon.operators import Blur
from recon.operators._blur_bodies import BOUNDARIES

pytest.importorskip("pytest_benchmark")


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", PSFS)
def test_blur(benchmark: Any, name: str, boundary: Any) -> None:
    A = Blur(PSFS[name](), (SIZE, SIZE), boundary=boundary)
    x = np.ones(A.in_shape, np.float32)
    assert A(x).shape == A.out_shape  # and compiled: rounds are counted by the first call
    benchmark(A, x)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", PSFS)
def test_adjoint(benchmark: Any, name: str, boundary: Any) -> None:
    A = Blur(PSFS[name](), (SIZE, SIZE), boundary=boundary)
    y = np.ones(A.out_shape, np.float32)
    assert A.adjoint(y).shape == A.in_shape
    benchmark(A.adjoint, y)


def test_fftconvolve_of_scipy(benchmark: Any) -> None:
    psf = PSFS["random entries"]().astype(np.float32)
    image = np.ones((SIZE, SIZE), np.float32)
    assert benchmark(scipy.signal.fftconvolve, image, psf, mode="same").shape == (SIZE, SIZE)
