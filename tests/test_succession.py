"""Kernels in quick succession: every job is done once, also from several threads at once, and what fails is told."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from solvers import succession as launching
from solvers.succession import succession

LARGE = 10**6


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "threads", lambda: 3)
    monkeypatch.setattr(launching, "parallel_pays", lambda size: size >= LARGE)
    monkeypatch.setattr(launching, "_helpers", launching._Helpers())


def add(k: int, done: np.ndarray) -> None:
    done[k] += 1


def counted(launches: int, jobs: int = 7) -> np.ndarray:
    done = np.zeros(jobs)
    with succession() as run:
        for _ in range(launches):
            run(add, LARGE, jobs, done)
    return done


def test_each_job_is_done_once() -> None:
    assert (counted(300) == 300).all()


def test_several_threads_launch_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all((done == 200).all() for done in pool.map(counted, [200] * 4))
    assert len(launching._helpers.take()) == 2  # all were given back


def test_jobs_are_shared_among_threads() -> None:
    meet, names = threading.Barrier(3), set()

    def job(k: int) -> None:
        meet.wait(10)
        names.add(threading.get_ident())

    with succession() as run:
        run(job, LARGE, 3)
        run(lambda k: names.add(threading.get_ident()), 10, 9)  # too small to be shared
    assert len(names) == 3


@pytest.mark.parametrize("failing", range(3))
def test_what_goes_wrong_is_raised_and_the_threads_live_on(failing: int) -> None:
    meet = threading.Barrier(3)

    def job(k: int) -> None:
        meet.wait(10)
        if k == failing:
            raise ValueError(f"job {k}")

    with succession() as run:
        with pytest.raises(ValueError, match=f"job {failing}"):
            run(job, LARGE, 3)
        done = np.zeros(5)
        run(add, LARGE, 5, done)
    assert (done == 1).all()


def test_a_sleeping_thread_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "LOOKS", 0)
    assert (counted(100) == 100).all()


def test_threads_of_an_interrupted_run_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(launching._Helper, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            counted(1)
    assert (counted(50) == 50).all()
    assert len(launching._helpers.take()) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    counted(1)
    child = os.fork()
    if child == 0:
        os._exit(0 if (counted(5) == 5).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
