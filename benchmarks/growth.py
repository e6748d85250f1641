"""How the time of the projectors grows with the size: ``python -m benchmarks.growth``.

N x N pixels, N views of the default detector, float32, for one thread and for two: N^2 pixels meet N views, so the time
should grow with the third power of N. The exponent is the slope of a straight line through the logarithms.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from recon.operators import FanBeam, ParallelBeam
from solvers.arrays import threads

SIZES = (256, 512, 1024, 2048)
THREADS = (1, 2)
ROUNDS = {256: 7, 512: 5, 1024: 3, 2048: 1}

PROJECTORS: dict[str, Callable[[int], Any]] = {
    "parallel": lambda n: ParallelBeam((n, n), n),
    "fan": lambda n: FanBeam((n, n), n, source_distance=2.0 * n, detector_distance=1.0 * n),
}


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Kernels use this many threads."""
    before = os.environ.get("NUMBA_NUM_THREADS")
    os.environ["NUMBA_NUM_THREADS"] = str(count)
    threads.cache_clear()
    try:
        yield
    finally:
        os.environ.pop("NUMBA_NUM_THREADS")
        if before is not None:
            os.environ["NUMBA_NUM_THREADS"] = before
        threads.cache_clear()


def seconds(n: int) -> dict[tuple[str, str, int], float]:
    """Shortest times by projector, direction and threads, all in one run."""
    x = np.random.default_rng(0).random((n, n), dtype=np.float32)
    times: dict[tuple[str, str, int], float] = {}
    for name, build in PROJECTORS.items():
        A = build(n)
        y = A(x)
        for _ in range(ROUNDS[n]):
            for count in THREADS:
                for direction, call, given in (("forward", A, x), ("adjoint", A.adjoint, y)):
                    spent = stopwatch(call, given, count)
                    times[name, direction, count] = min(times.get((name, direction, count), spent), spent)
    return times


def stopwatch(call: Callable[[np.ndarray], np.ndarray], given: np.ndarray, count: int) -> float:
    """Seconds of one call on ``count`` threads."""
    with on_threads(count):
        start = time.perf_counter()
        call(given)
        return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    table = [seconds(n) for n in SIZES]
    print("milliseconds, N x N pixels and N views, float32")
    print(f"{'':9s} {'':8s} {'threads':>7s}", *(f"{f'N = {n}':>10s}" for n in SIZES), f"{'exponent':>9s}")
    for name, direction, count in table[0]:
        times = [column[name, direction, count] for column in table]
        slope = np.polyfit(np.log(SIZES), np.log(times), 1)[0]
        print(f"{name:9s} {direction:8s} {count:7d}", *(f"{1e3 * t:10.1f}" for t in times), f"{slope:9.2f}")


if __name__ == "__main__":
    main()
