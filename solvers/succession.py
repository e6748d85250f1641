"""Steps that several threads take together, one after the other, within compiled code.

To launch a kernel on several threads takes 50 microseconds, a fifth of a kernel of a quarter of a millisecond. Threads
that go through a list of steps by themselves need none: the work of a step is cut into units, a thread that is free
claims one, its own ones first, whose data are in its cache, and goes on when all of the step are done. Nobody is waited
for who has not begun: whoever is there does the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from solvers.lanes import intrinsic

LOOKS = 200_000
"""How often a thread looks whether the others are done, some 50 microseconds, before it lets others have the core."""


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [at])


@intrinsic
def _exchanged(_: Any, flags: Any, at: Any) -> Any:
    """What ``flags[at]`` was before it became 1."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args)
        return builder.atomic_rmw("xchg", place, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(flags, types.intp), body


@intrinsic
def _incremented(_: Any, counts: Any, at: Any) -> Any:
    """What ``counts[at]`` was before it grew by 1."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args)
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(counts, types.intp), body


@intrinsic
def _fresh(_: Any, counts: Any, at: Any) -> Any:
    """``counts[at]``, read anew each time."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature.args[0], *args), "acquire", 8)

    return types.int64(counts, types.intp), body


@njit(nogil=True, cache=True)
def claim(claims: np.ndarray, unit: int) -> bool:
    """Whether a unit of work is for the thread that asks: nobody claimed it before. ``claims`` are int64 zeros."""
    return _fresh(claims, unit) == 0 and _exchanged(claims, unit) == 0


@njit(nogil=True, cache=True)
def report(done: np.ndarray, step: int) -> None:
    """Tell the others that a unit of a step is done. ``done`` counts them for each step, from zero, as int64."""
    _incremented(done, step)


@njit(nogil=True, cache=True)
def all_done(done: np.ndarray, step: int, units: int) -> bool:
    """Whether all units of a step are done; waits for it, but not for long."""
    for _ in range(LOOKS):  # noqa: SIM110 - compiled
        if _fresh(done, step) == units:
            return True
    return False
