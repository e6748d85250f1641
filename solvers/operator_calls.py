"""How often a solver calls its operator.

While :func:`counting` an operator, its own forward, adjoint and normal operations are counted, in the thread that
counts. What a composition does inside is one call of it; closed forms (``solve_shifted``) are none.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Watched(threading.local):
    operator: Any = None
    made: int = 0
    inside: bool = False


_WATCHED = _Watched()


@contextmanager
def counting(operator: Any) -> Iterator[Callable[[], int]]:
    """A function that says how many calls of ``operator`` were made since; of the outer operator not, meanwhile."""
    before = _WATCHED.operator, _WATCHED.made
    _WATCHED.operator, _WATCHED.made = operator, 0
    try:
        yield lambda: _WATCHED.made
    finally:
        _WATCHED.operator, _WATCHED.made = before


def counted(cost: int, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of an operator, noted as so many calls: ``A^H A`` is two."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        if _WATCHED.operator is not self or _WATCHED.inside:
            return method(self, *args, **options)
        _WATCHED.inside, _WATCHED.made = True, _WATCHED.made + cost
        try:
            return method(self, *args, **options)
        finally:
            _WATCHED.inside = False

    return call
