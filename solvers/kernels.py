"""How numba kernels are launched: when in parallel, and safely from several Python threads.

numba's ``workqueue`` threading layer aborts the process when two Python threads launch parallel kernels at once, and
which layer is active depends on what is installed. Every parallel launch of the library therefore goes through
:func:`run_parallel`, one at a time. Serial kernels need no lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from solvers.arrays import threads

PARALLEL_LOCK = threading.Lock()
"""Held while a parallel kernel runs. A kernel never launches another one through it."""

PARALLEL_SIZE = 32_768
"""Array elements from which the start of a parallel region (some 10 microseconds) costs less than it saves."""


def parallel_pays(size: int) -> bool:
    """Whether a pass over ``size`` elements is worth a parallel region."""
    return size >= PARALLEL_SIZE and threads() > 1


def run_parallel(kernel: Callable[..., Any], *args: Any) -> Any:
    """Call ``kernel(*args)``, a function compiled with ``parallel=True``, alone among all threads of the process."""
    with PARALLEL_LOCK:
        return kernel(*args)


def run_jobs(job: Callable[..., Any], jobs: Callable[..., Any], size: int, count: int, *args: Any) -> None:
    """Do jobs ``0 .. count - 1``: ``jobs(count, *args)`` in parallel where ``size`` elements are worth it.

    Otherwise ``job(k, *args)`` one after the other.
    """
    if count > 1 and parallel_pays(size):
        run_parallel(jobs, count, *args)
        return
    for k in range(count):
        job(k, *args)


def _new_lock_in_child() -> None:
    # A child forked while another thread was inside a kernel would inherit a lock that nobody releases.
    global PARALLEL_LOCK
    PARALLEL_LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock_in_child)
