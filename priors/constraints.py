"""Constraints: sets that the image must lie in. Their proximal map is the projection onto the set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from priors.base import Prior
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError


@dataclass(frozen=True, eq=False, repr=False)
class Box(Prior):
    """Every pixel within bounds: ``g(x) = 0`` where ``lower <= x <= upper``, infinite elsewhere.

    ``prox(v, step) = min(max(v, lower), upper)`` for every step.

    Parameters
    ----------
    lower, upper : float or array
        Bounds in the unit of the image; arrays broadcast to it. Infinite means no bound.

    Raises
    ------
    ArgumentError
        If a lower bound lies above an upper one, or a bound is NaN.
    DTypeError
        If a bound or the image is complex: complex numbers have no order.
    """

    lower: Any = -np.inf
    upper: Any = np.inf

    is_constraint: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            object.__setattr__(self, name, _bound(name, getattr(self, name)))
        if not np.all(np.asarray(self.lower) <= np.asarray(self.upper)):  # false for NaN as well
            raise ArgumentError(
                f"lower is {self.lower} and upper is {self.upper}; expected lower <= upper everywhere. "
                "Pass bounds that some image can satisfy."
            )

    @property
    def bounds(self) -> tuple[Any, Any]:
        """``(lower, upper)``."""
        return self.lower, self.upper

    def intersect(self, other: Box) -> Box:
        """Both constraints at once."""
        return Box(_tighter(np.maximum, self.lower, other.lower), _tighter(np.minimum, self.upper, other.upper))

    def _value(self, x: Array) -> Any:
        xp = arrays.namespace(x)
        lower, upper = arrays.asarray(self.lower, x), arrays.asarray(self.upper, x)
        inside = bool(xp.all((x >= lower) & (x <= upper)))
        if arrays.is_torch(x):
            return x.new_zeros(()) if inside else x.new_full((), np.inf)
        return 0.0 if inside else float("inf")

    def _prox(self, v: Array, step: Any) -> Array:
        xp = arrays.namespace(v)
        return xp.minimum(xp.maximum(v, arrays.asarray(self.lower, v)), arrays.asarray(self.upper, v))

    def _admit(self, name: str, x: Any) -> Array:
        x = super()._admit(name, x)
        if arrays.is_complex(x):
            raise DTypeError(
                f"{name} has dtype {x.dtype}; {self!r} takes real images, complex numbers have no order. "
                f"Pass {name}.real, or leave the constraint out."
            )
        return x

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_short(self.lower)}, {_short(self.upper)})"


class NonNegative(Box):
    """Every pixel at least 0."""

    def __init__(self) -> None:
        super().__init__(0.0, np.inf)

    def __repr__(self) -> str:
        return "NonNegative()"


def _bound(name: str, value: Any) -> Any:
    array = np.asarray(arrays.to_numpy(value) if arrays.is_torch(value) else value)
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"{name} has dtype {array.dtype}; expected real numbers. Pass a number or a real array.")
    return float(array) if array.ndim == 0 else array


def _tighter(choose: Any, a: Any, b: Any) -> Any:
    return choose(a, b)


def _short(bound: Any) -> str:
    return f"array{bound.shape}" if isinstance(bound, np.ndarray) else f"{bound:g}"
