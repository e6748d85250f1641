"""Sums over the coils of a scanner, coil by coil: an image and its transform stay in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from solvers import arrays
from solvers.arrays import Array, threads, transform_threads
from solvers.kernels import run_jobs


class Coils:
    """Sensitivities ``s_c``, or one coil of sensitivity one.

    Parameters
    ----------
    values : ndarray of complex, shape (coils, *shape), or None
    shape : tuple of int
        Image.
    """

    def __init__(self, values: np.ndarray | None, shape: tuple[int, ...]):
        self.shape = shape
        self.count = 1 if values is None else len(values)
        self._values = None if values is None else Constant(values)
        self._conjugates = None if values is None else Constant(values.conj())

    def strength(self) -> np.ndarray | None:
        """``sum_c |s_c|^2``, or None for one coil of sensitivity one."""
        return None if self._values is None else (self._values.double.real**2 + self._values.double.imag**2).sum(axis=0)

    def seen(self, image: np.ndarray, coil: int) -> np.ndarray:
        """``s_c x``; may be ``image`` itself."""
        return image if self._values is None else image * self._values.like(image)[coil]

    def all_seen(self, x: Array) -> Array:
        """``s_c x`` of all coils, on a new axis before the image's."""
        x = x[(..., None, *(slice(None),) * len(self.shape))]
        return x if self._values is None else x * self._values.like(x)

    def together(self, seen: Array) -> Array:
        """``sum_c conj(s_c) seen_c`` over the axis that :meth:`all_seen` made; overwrites an ndarray."""
        if self._conjugates is not None:
            conjugates = self._conjugates.like(seen)
            seen = seen * conjugates if arrays.is_torch(seen) else np.multiply(seen, conjugates, out=seen)
        return seen.sum(-1 - len(self.shape))

    def combined(self, image_of: Callable[[int, int], np.ndarray], count: int, dtype: Any) -> np.ndarray:
        """``sum_c conj(s_c) image_of(i, c)`` for i < count; coils add up in one order, on several threads.

        ``image_of`` gives arrays that may be overwritten.
        """
        block = -(-self.count // threads())
        blocks = -(-self.count // block)
        parts = np.empty((count, blocks, *self.shape), dtype)

        def add(task: int) -> None:
            image, part = divmod(task, blocks)
            total: Any = None
            for coil in range(part * block, min((part + 1) * block, self.count)):
                own = image_of(image, coil)
                if self._conjugates is not None:
                    np.multiply(own, self._conjugates.like(own)[coil], out=own)
                total = own if total is None else np.add(total, own, out=total)
            parts[image, part] = total

        run_jobs(add, parts.size * block, count * blocks)
        return parts[:, 0] if blocks == 1 else parts.sum(axis=1)

    def gram(self, x: Array, convolve: Callable[..., Array]) -> Array:
        """``sum_c conj(s_c) convolve(s_c x)``, ``convolve(image, workers=)`` giving an array of its own."""
        if arrays.is_torch(x):
            return self.together(convolve(self.all_seen(x)))
        images = x.reshape(-1, *self.shape)
        workers = transform_threads(x) if len(images) * self.count == 1 else 1

        def filtered(image: int, coil: int) -> np.ndarray:
            return convolve(self.seen(images[image], coil), workers=workers)

        return self.combined(filtered, len(images), x.dtype).reshape(x.shape)


def seen_from_centre(response: np.ndarray, coils: np.ndarray | None) -> np.ndarray:
    """What coils make of the response to an impulse at the image's centre, that at the origin."""
    if coils is None:
        return response
    centre = tuple(n // 2 for n in response.shape)
    together = np.tensordot(coils[(slice(None), *centre)], coils.conj(), 1)
    return response * np.roll(together, tuple(-c for c in centre), range(len(centre)))
