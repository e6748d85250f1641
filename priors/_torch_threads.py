"""On how many threads torch runs what stands around a network.

The threads that torch wakes for an image spin for milliseconds once they are done, and hold up the kernels that come
next by more than they save. So they are woken for networks alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_wanted = threading.local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on the calling thread alone."""
    import torch

    before = torch.get_num_threads()
    with _threads(1):
        _wanted.count = before
        yield


@contextmanager
def all_threads() -> Iterator[None]:
    """Within :func:`one_thread`: run torch on as many threads as before."""
    import torch

    with _threads(getattr(_wanted, "count", torch.get_num_threads())):
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()  # of the calling thread, which has a number of its own
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
