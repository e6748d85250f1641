"""Arrays an operator is made of, ready in the precision, library and device of any image."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from solvers import arrays
from solvers.arrays import Array


class Constant:
    """A numpy constant in both precisions, so that no call converts it.

    Parameters
    ----------
    values : array_like
        Real, complex or boolean; a boolean one stays so.
    """

    def __init__(self, values: Any):
        values = np.ascontiguousarray(values)
        if values.dtype == bool:
            self.double = self.single = values
        else:
            is_complex = np.iscomplexobj(values)
            self.double = values.astype(np.complex128 if is_complex else np.float64, copy=False)
            self.single = values.astype(np.complex64 if is_complex else np.float32)
        # Copies on accelerators: a transfer at every call would cost more than the arithmetic. They are not pickled.
        self._on_device: dict[Any, Any] = {}

    def like(self, x: Array) -> Array:
        """The constant in the precision, library and device of ``x``."""
        is_double = arrays.eps(x) < 1e-10
        values = self.double if is_double else self.single
        if not arrays.is_torch(x):
            return values
        torch = sys.modules["torch"]
        if x.device.type == "cpu":
            return torch.from_numpy(values)
        key = (x.device, is_double)
        if key not in self._on_device:
            self._on_device[key] = torch.from_numpy(values).to(x.device)
        return self._on_device[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return Constant, (self.double,)
