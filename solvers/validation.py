"""Checks of arguments that all three packages share. Each error names the argument, the finding and the remedy."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, NonFiniteError, OptionError, ShapeError, suggestion

F = TypeVar("F", bound=Callable[..., Any])

_EXACT_IN_FLOAT32 = 2**24


def shape_argument(name: str, shape: Any) -> tuple[int, ...]:
    """Return ``shape`` as a tuple of positive ints; a single integer is one axis."""
    given = shape if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    if any(isinstance(n, (bool, np.bool_)) or not hasattr(n, "__index__") or np.ndim(n) for n in given):
        raise DTypeError(f"{name} is {shape!r}; expected a tuple of positive integers, such as (512, 512). Pass one.")
    axes = tuple(operator.index(n) for n in given)
    if not axes or any(n <= 0 for n in axes):
        raise ShapeError(f"{name} is {axes}; expected at least one axis and no axis of length 0. Pass the image shape.")
    return axes


def as_inexact(name: str, array: Any) -> Array:
    """Return an array as floating point or complex; integers keep their values.

    Integers and half precision become float32 (float64 where float32 cannot hold them); float64 and complex stay.
    """
    if arrays.is_torch(array):
        return _inexact_tensor(array)
    array = _as_ndarray(name, array)
    dtype = array.dtype.newbyteorder("=")
    if dtype in (np.float32, np.float64, np.complex64, np.complex128):
        return array.astype(dtype, copy=False)
    if dtype.kind in "biu":
        exact = dtype.itemsize <= 2 or array.size == 0 or _largest(array) <= _EXACT_IN_FLOAT32
        return array.astype(np.float32 if exact else np.float64)
    if dtype.kind == "f":
        return array.astype(np.float32 if dtype.itemsize < 4 else np.float64)
    if dtype.kind == "c":
        return array.astype(np.complex128)
    raise DTypeError(
        f"{name} has dtype {dtype}; expected numbers. Convert it, for example with {name}.astype(np.float32)."
    )


def _as_ndarray(name: str, array: Any) -> np.ndarray:
    """A plain ``ndarray``; a mask that would be lost is refused."""
    if isinstance(array, np.ma.MaskedArray):
        raise DTypeError(
            f"{name} is a masked array; expected a plain one. "
            f"Pass {name}.filled(0) and measure with operators.Mask(~np.ma.getmaskarray({name})) @ operator."
        )
    try:
        return np.asarray(array)
    except (ValueError, TypeError) as error:
        raise DTypeError(
            f"{name} is {type(array).__name__}; expected an array of numbers ({error}). Pad a ragged list to one shape."
        ) from None


def _inexact_tensor(tensor: Any) -> Any:
    import torch

    if tensor.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128):
        return tensor
    if tensor.is_complex():
        return tensor.to(torch.complex64)
    wide = not tensor.is_floating_point() and tensor.dtype in (torch.int32, torch.int64) and tensor.numel() > 0
    return tensor.to(torch.float64 if wide and _largest(tensor) > _EXACT_IN_FLOAT32 else torch.float32)


def _largest(array: Array) -> int:
    return max(abs(int(array.max())), abs(int(array.min())))


def require_finite(name: str, array: Array, remedy: str | None = None) -> None:
    """Raise if ``array`` holds NaN or infinite values, giving their count and the first index.

    ``remedy`` replaces the advice for measurements, which is to mask those values out.
    """
    xp = arrays.namespace(array)
    if arrays.is_torch(array):
        bad = ~xp.isfinite(array.detach())
    else:
        # The sum is finite unless some value is not, and it needs no temporary; overflow is settled by the full test.
        with np.errstate(all="ignore"):
            if np.isfinite(array.sum()):
                return
        bad = ~np.isfinite(array)
    count = int(bad.sum())
    if count:
        first = tuple(int(i) for i in arrays.to_numpy(bad.nonzero() if arrays.is_torch(bad) else np.argwhere(bad))[0])
        mask = f"Pass np.nan_to_num({name}) and operators.Mask(np.isfinite({name})) @ operator to leave them out."
        raise NonFiniteError(
            f"{name} holds {count} NaN or infinite values, the first at index {first}; expected finite numbers. "
            f"{remedy or mask}"
        )


def positive_int(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return ``value`` as an int >= ``minimum``; booleans and floats are refused."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__") or np.ndim(value):
        raise DTypeError(f"{name} is {value!r}; expected an integer of at least {minimum}. Pass a plain integer.")
    number = operator.index(value)
    if number < minimum:
        raise ArgumentError(f"{name} is {number}; expected an integer of at least {minimum}. Pass a larger one.")
    return number


def positive_float(name: str, value: Any, *, zero: bool = False) -> float:
    """Return ``value`` as a finite float > 0 (>= 0 with ``zero``)."""
    if isinstance(value, (bool, np.bool_, str)) or not hasattr(value, "__float__") or np.ndim(value):
        raise DTypeError(f"{name} is {value!r}; expected a number. Pass a plain number.")
    number = float(value)
    if not np.isfinite(number) or number < 0 or (number == 0 and not zero):
        least = "of at least 0" if zero else "above 0"
        raise ArgumentError(f"{name} is {number}; expected a finite number {least}. Pass such a number.")
    return number


def random_generator(rng: Any) -> np.random.Generator:
    """The generator of a seed, of 0 where none is given; or the one given."""
    try:
        return np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError):
        raise DTypeError(
            f"rng is {rng!r}; expected an integer of at least 0 or a numpy.random.Generator. Pass one, or None."
        ) from None


def known_keywords(function: F) -> F:
    """Decorate ``function`` to answer an unknown keyword with the nearest known one."""
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in known:
                raise OptionError(
                    f"{name} is not an argument of {function.__name__}.{suggestion(name, known)} "
                    f"It takes {', '.join(known)}."
                )
        return function(*args, **kwargs)

    return cast(F, checked)
