"""How numba kernels are launched: on several threads where it pays, and safely from any of them.

Kernels are compiled without numba's own parallelism. A kernel does one job of several and releases the interpreter
lock; the jobs are shared out among a few Python threads. Unlike numba's threading layers this may be used from several
Python threads at once, waits without spinning when the machine is busy, and compiles in a fraction of the time. A job
owns what it writes, so the result does not depend on who does it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from solvers.arrays import threads

PARALLEL_SIZE = 32_768
"""Array elements from which waking a thread (some 30 microseconds) costs less than it saves."""

JOBS_A_THREAD = 4
"""Into how many jobs a thread's share is cut, so that a thread that is held up does not hold up the others."""


def parallel_pays(size: int) -> bool:
    """Whether a pass over ``size`` elements is worth several threads."""
    return size >= PARALLEL_SIZE and threads() > 1


def run_jobs(job: Callable[..., Any], size: int, count: int, *args: Any) -> None:
    """Call ``job(k, *args)`` for k = 0, ..., count - 1, on several threads where ``size`` elements are worth it.

    Parameters
    ----------
    job : callable
        Function compiled with ``nogil=True``. It launches no jobs itself.
    size : int
        Elements that all jobs together pass over.
    count : int
        Number of jobs.
    *args
        Arguments of every job.
    """
    numbers = iter(range(count))  # shared: each thread takes the next number
    helpers = min(threads(), count) - 1 if parallel_pays(size) else 0
    waiting = [_pool().submit(_drain, job, numbers, args) for _ in range(helpers)]
    try:
        _drain(job, numbers, args)
    finally:
        for future in waiting:
            future.result()


def block_of(count: int) -> int:
    """How many of ``count`` equal tasks make one job."""
    return max(1, -(-count // (JOBS_A_THREAD * threads())))


def _drain(job: Callable[..., Any], numbers: Iterator[int], args: tuple[Any, ...]) -> None:
    for k in numbers:
        job(k, *args)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(threads() - 1, 1), thread_name_prefix="recon-kernels")


if hasattr(os, "register_at_fork"):
    # The threads of a pool do not exist in a forked child.
    os.register_at_fork(after_in_child=_pool.cache_clear)
