"""Kernels launched one right after the other, by threads that stay awake in between.

To wake a thread takes 30 to 50 microseconds, a fifth of a kernel of a quarter of a millisecond. Within
:func:`succession` a thread that is done looks for the next kernel for some 50 microseconds before it sleeps. It then
costs others no more than that on a busy machine, where threads that only spin hold each other up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import njit, types

from solvers.arrays import threads
from solvers.kernels import parallel_pays
from solvers.lanes import intrinsic

LOOKS = 200_000
"""How often a thread looks before it sleeps."""


@intrinsic
def _fresh(_: Any, counter: Any) -> Any:
    """``counter[0]``, read anew each time."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load_atomic(data, "acquire", 8)

    return types.int64(counter), body


@njit(cache=True, nogil=True)
def _watch(counter: np.ndarray, before: int, looks: int) -> None:
    """Wait until a counter is no longer what it was before, but not for long."""
    for _ in range(looks):
        if _fresh(counter) != before:
            return


class _Signal:
    """Told by one thread, awaited by another."""

    def __init__(self) -> None:
        self._counter = np.zeros(1, np.int64)
        self._lock = threading.Lock()
        self._lock.acquire()
        self._seen = 0

    def tell(self) -> None:
        self._counter[0] += 1  # for who looks
        self._lock.release()  # for who sleeps

    def wait(self) -> None:
        _watch(self._counter, self._seen, LOOKS)
        self._lock.acquire()
        self._seen += 1


class _Helper:
    """A thread that shares in one job after the other."""

    def __init__(self) -> None:
        self._given, self._done = _Signal(), _Signal()
        self._share: Callable[[], None] = lambda: None
        self._error: BaseException | None = None
        threading.Thread(target=self._serve, name="recon-succession", daemon=True).start()

    def give(self, share: Callable[[], None]) -> None:
        self._share = share
        self._given.tell()

    def wait(self) -> BaseException | None:
        """Until the job is done; gives what went wrong."""
        self._done.wait()
        error, self._error, self._share = self._error, None, lambda: None
        return error

    def _serve(self) -> None:
        while True:
            self._given.wait()
            try:
                self._share()
            except BaseException as error:
                self._error = error
            self._done.tell()


class _Helpers:
    """The helpers of a process, none of them lent twice."""

    def __init__(self) -> None:
        self._free: list[_Helper] = []
        self._made = 0
        self._guard = threading.Lock()

    def take(self) -> list[_Helper]:
        """All that are free."""
        with self._guard:
            while self._made < threads() - 1:
                self._free.append(_Helper())
                self._made += 1
            taken, self._free = self._free, []
        return taken

    def give_back(self, helpers: list[_Helper], idle: bool) -> None:
        """Those of an interrupted run may still be at work: others take their place."""
        with self._guard:
            if idle:
                self._free += helpers
            else:
                self._made -= len(helpers)


_helpers = _Helpers()


@contextmanager
def succession() -> Iterator[Callable[..., None]]:
    """Lend the threads that are free: gives a function that is called as :func:`~solvers.kernels.run_jobs` is."""
    owner = _helpers
    helpers, idle = owner.take(), True

    def run(job: Callable[..., Any], size: int, count: int, *args: Any) -> None:
        nonlocal idle
        numbers = iter(range(count))  # shared: each thread takes the next number

        def share() -> None:
            for k in numbers:
                job(k, *args)

        busy = helpers[: count - 1] if parallel_pays(size) else []
        idle = False
        for helper in busy:
            helper.give(share)
        try:
            share()
        finally:
            errors = [helper.wait() for helper in busy]
            idle = True
        for error in filter(None, errors):
            raise error

    try:
        yield run
    finally:
        owner.give_back(helpers, idle)


def _forget() -> None:
    """Threads do not exist in a forked child."""
    global _helpers
    _helpers = _Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
