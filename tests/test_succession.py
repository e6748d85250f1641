"""Steps taken together: every unit is done once, and no step begins before the one before is done."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit

from solvers.succession import all_done, claim, report

STEPS, UNITS = 400, 7


@njit(nogil=True)
def smooth(thread: int, threads: int, first: int, x: np.ndarray, claims: np.ndarray, done: np.ndarray) -> int:
    """Each step makes of every number the mean with its neighbour, which another thread may have written."""
    for s in range(first, STEPS):
        for i in range(UNITS):
            k = (UNITS * thread // threads + i) % UNITS
            if claim(claims, s * UNITS + k):
                x[s + 1, k] += 0.5 * (x[s, k] + x[s, (k + 1) % UNITS])
                report(done, s)
        if not all_done(done, s, UNITS):
            return s
    return STEPS


def begun() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.zeros((STEPS + 1, UNITS))
    x[0] = np.arange(UNITS) ** 2
    return x, np.zeros(STEPS * UNITS, np.int64), np.zeros(STEPS, np.int64)


def expected() -> np.ndarray:
    rows = [np.arange(UNITS) ** 2.0]
    for _ in range(STEPS):
        rows.append(0.5 * (rows[-1] + np.roll(rows[-1], -1)))
    return np.array(rows)


def through(thread: int, threads: int, state: tuple[np.ndarray, ...]) -> None:
    first = 0
    while first < STEPS:
        first = smooth(thread, threads, first, *state)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_the_same_as_one_step_after_the_other(threads: int) -> None:
    for _ in range(20):
        state = begun()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda thread, state=state: through(thread, threads, state), range(threads)))
        np.testing.assert_array_equal(state[0], expected())
        assert (state[2] == UNITS).all()


def test_whoever_is_there_does_the_work_of_those_who_never_came() -> None:
    state = begun()
    through(2, 4, state)
    np.testing.assert_array_equal(state[0], expected())
    through(0, 4, state)  # late: finds all done
    np.testing.assert_array_equal(state[0], expected())


def test_who_waits_too_long_comes_back_and_goes_on() -> None:
    x, claims, done = begun()
    assert claim(claims, 3)  # by somebody who is held up
    assert smooth(0, 1, 0, x, claims, done) == 0
    x[1, 3] += 0.5 * (x[0, 3] + x[0, 4])
    late = threading.Thread(target=report, args=(done, 0))
    late.start()
    late.join()
    assert smooth(0, 1, 0, x, claims, done) == STEPS
    np.testing.assert_array_equal(x, expected())
