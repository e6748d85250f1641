"""The benchmark of memory counts what a call allocates, and operators stay within its limit."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from recon.operators import Blur, Diagonal, Mask, block_diagonal, from_callables, stack

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.memory import LIMIT, _array_peak, measure

N = 512


def test_a_peak_is_what_is_held_at_once():
    def three_at_once(x):
        first, second = x + 1, x + 2
        return first * second

    x = np.zeros((N, N))
    assert _array_peak(three_at_once, x) == pytest.approx(3 * x.nbytes, rel=0.01)
    assert _array_peak(np.copy, x) == pytest.approx(x.nbytes, rel=0.01)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Mask(np.eye(N)),
        lambda: Diagonal(np.ones((N, N))),
        lambda: stack([Mask(np.eye(N))] * 3),
        lambda: block_diagonal([Mask(np.eye(N)), Blur(np.ones((9, 9)), (N, N))]),
        lambda: from_callables(np.negative, np.negative, (N, N), (N, N)),
    ],
)
def test_operators_hold_little(build):
    peaks = measure(build())
    assert max(arrays for arrays, _ in peaks.values()) <= LIMIT
