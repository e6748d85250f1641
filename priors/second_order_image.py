"""The second-order splitting update of images in numpy: numba kernels between Fourier transforms."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from priors.layout import run_blocks
from solvers import arrays


def split_step(K: Any, x: np.ndarray, q: np.ndarray, steps: tuple[Any, Any], relax: float) -> Any:
    """The update for real packed arrays.

    Parameters
    ----------
    K : SecondOrder
        The operator, of two dimensions.
    x : ndarray
        Image, ``(image, channel, row, column)``.
    q : ndarray
        Split plus scaled dual variable, ``(image, channel, 5, row, column)``.
    steps : tuple of float
        By how much first and second differences shrink.
    relax : float
        Over-relaxation.

    Returns
    -------
    q_new, b, squares
        As of ``GroupNorm.split_step``.
    """
    a, h = _reflected(K, q, steps)
    run_blocks(_kernels().rest_rows, q.size, len(x) * x.shape[2], x, h, np.array(K.scales, x.dtype))
    q_new, squares = _step(K, x, np.empty((0,) * 5, x.dtype), q, _best_slopes(K, h), a, steps, relax)
    h = _residual_adjoint(K, a, h)
    b = _divergence(K, a)
    b -= _smoothed(K, _divergence(K, h))
    return q_new, b, squares


def value_step(K: Any, z: np.ndarray, Wz: np.ndarray, q: np.ndarray, steps: tuple[Any, Any], relax: float) -> Any:
    """The same for fixed ``z`` in place of ``B x``, with ``Wz = W^H z``: the next ``q``."""
    a, h = _reflected(K, q, steps)
    image = np.zeros((*z.shape[:2], *z.shape[3:]), z.dtype)
    return _step(K, image, z, q, _best_slopes(K, Wz - h), a, steps, relax)[0]


def _kernels() -> Any:
    from priors import second_order_kernels

    return second_order_kernels


def _lengths(steps: tuple[Any, Any], like: np.ndarray) -> tuple[Any, Any]:
    least = float(np.finfo(like.dtype).tiny)  # a group of zeros and a step of 0 must not divide 0 by 0
    first, second = (like.dtype.type(max(float(step), least)) for step in steps)
    return first, second


def _reflected(K: Any, q: np.ndarray, steps: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """``a = z - u`` and ``W^H a``."""
    a = np.empty_like(q)
    run_blocks(_kernels().reflect_rows, q.size, len(q) * q.shape[3], q, a, *_lengths(steps, q))
    return a, _residual_adjoint(K, a, np.empty((*q.shape[:2], 2, *q.shape[3:]), q.dtype))


def _residual_adjoint(K: Any, a: np.ndarray, out: np.ndarray) -> np.ndarray:
    scales, s = np.array(K.scales, a.dtype), a.dtype.type(K.scale)
    run_blocks(_kernels().residual_adjoint_rows, a.size, len(a) * a.shape[3], a, out, scales, s)
    return out


def _divergence(K: Any, z: np.ndarray) -> np.ndarray:
    out = np.empty((*z.shape[:2], *z.shape[3:]), z.dtype)
    run_blocks(_kernels().divergence_rows, 5 * out.size, len(z) * z.shape[3], z, out, np.array(K.scales, z.dtype))
    return out


def _step(K: Any, x: Any, base: Any, q: Any, w: Any, a: Any, steps: Any, relax: float) -> Any:
    """The next ``q`` and the squares; ``a`` becomes what belongs to the former."""
    number, tasks, q_new = q.dtype.type, len(q) * q.shape[3], np.empty_like(q)
    scales, sums = np.array(K.scales, q.dtype), np.zeros((tasks, 4))
    run_blocks(
        _kernels().step_rows, q.size, tasks, q, x, base, w, q_new, a, scales, number(K.scale), *_lengths(steps, q),
        number(relax), sums,
    )  # fmt: skip
    return q_new, tuple(float(total) for total in sums.sum(axis=0))


def _best_slopes(K: Any, h: np.ndarray) -> np.ndarray:
    down, right, total, _ = _spectra(K, h.shape[-2:], h.dtype)
    spectrum = arrays.rfftn(h, (-2, -1))
    tasks, s = len(h) * h.shape[-2], h.dtype.type(K.scale)
    run_blocks(_kernels().slopes_spectrum_rows, 4 * h.size, tasks, spectrum, down, right, total, s)
    return arrays.irfftn(spectrum, h.shape[-2:], (-2, -1))


def _smoothed(K: Any, x: np.ndarray) -> np.ndarray:
    spectrum = arrays.rfftn(x, (-2, -1))
    spectrum *= _spectra(K, x.shape[-2:], x.dtype)[3]
    return arrays.irfftn(spectrum, x.shape[-2:], (-2, -1))


@lru_cache(maxsize=4)
def _spectra(K: Any, shape: tuple[int, int], dtype: Any) -> tuple[np.ndarray, ...]:
    """Transfers of the differences down and to the right, ``S``, and ``F``, at half of the frequencies."""
    wide = np.result_type(dtype, np.complex64)
    down, right = (
        (scale * (np.exp(2j * np.pi * np.arange(n) / n) - 1)).astype(wide)
        for n, scale in zip(shape, K.scales, strict=True)
    )
    kept = shape[1] // 2 + 1
    total = np.ascontiguousarray(K.laplacian(shape)[:, :kept])
    return down, right[:kept].copy(), total.astype(dtype), (1 / (1 + K.scale**2 * total)).astype(dtype)
