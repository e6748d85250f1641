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
    assert benchmark(A, np.ones(A.in_shape, np.float32)).shape == A.out_shape


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", PSFS)
def test_adjoint(benchmark: Any, name: str, boundary: Any) -> None:
    A = Blur(PSFS[name](), (SIZE, SIZE), boundary=boundary)
    assert benchmark(A.adjoint, np.ones(A.out_shape, np.float32)).shape == A.in_shape


def test_fftconvolve_of_scipy(benchmark: Any) -> None:
    psf = PSFS["random entries"]().astype(np.float32)
    image = np.ones((SIZE, SIZE), np.float32)
    assert benchmark(scipy.signal.fftconvolve, image, psf, mode="same").shape == (SIZE, SIZE)
