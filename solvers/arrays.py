"""Array arithmetic: the one place where numpy and torch part ways.

Solvers use operators, ``+ - *`` and the functions below. torch is never imported here: an array can only be a tensor
if the caller has imported torch already. A fused update is a generic expression plus a numba branch that is taken
only when every operand is an ``ndarray``, so gradients never vanish silently.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or torch.Tensor; torch is optional at import time, so no static union


def is_torch(x: Any) -> bool:
    """Whether ``x`` is a torch tensor (torch is not imported to find out)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def namespace(x: Any) -> Any:
    """Return the module, ``numpy`` or ``torch``, whose functions accept ``x``."""
    return sys.modules["torch"] if is_torch(x) else np


def is_complex(x: Any) -> bool:
    """Whether the array has a complex dtype."""
    return bool(x.is_complex()) if is_torch(x) else bool(np.iscomplexobj(x))


def real_dtype(x: Any) -> Any:
    """The real dtype of the same precision as ``x``'s."""
    return x.real.dtype if is_complex(x) else x.dtype


def eps(x: Any) -> float:
    """Machine precision of the dtype of ``x``."""
    if is_torch(x):
        return float(sys.modules["torch"].finfo(real_dtype(x)).eps)
    return float(np.finfo(x.dtype).eps)


def size(x: Any) -> int:
    """Number of elements."""
    return int(x.numel()) if is_torch(x) else int(x.size)


@lru_cache(maxsize=1)
def threads() -> int:
    """Threads that kernels and transforms use: the processors this process may run on."""
    wanted = os.environ.get("NUMBA_NUM_THREADS")
    if wanted and wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


WORTH_THREADS = 200_000
"""Numbers from which a Fourier transform is quicker on several threads: it wakes them once for each axis."""


def transform_threads(x: np.ndarray) -> int:
    """Threads for a Fourier transform of ``x`` over several axes."""
    return threads() if x.size >= WORTH_THREADS else 1


def dot(x: Array, y: Array) -> Any:
    """Real inner product ``Re <x, y>`` over all elements, the products of real and imaginary parts added.

    Returns a Python float for numpy, a 0-d tensor with gradients for torch.
    """
    if is_torch(x):
        torch = sys.modules["torch"]
        if is_complex(x):
            x, y = torch.view_as_real(x.resolve_conj()), torch.view_as_real(y.resolve_conj())
        return torch.sum(x * y)
    return float(np.vdot(x, y).real)


def norm(x: Array) -> Any:
    """Euclidean norm over all elements (float for numpy, 0-d tensor for torch)."""
    squared = dot(x, x)
    return squared.sqrt() if is_torch(squared) else squared**0.5


def axpy(a: Any, x: Array, y: Array) -> Array:
    """``y + a * x`` in the dtype of ``y``."""
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        out = np.multiply(x, _scalar(a, x))
        out += y
        return out
    return y + a * x


def lincomb(a: Any, x: Array, b: Any, y: Array) -> Array:
    """``a * x + b * y`` without promoting float32 to float64."""
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        out = np.multiply(x, _scalar(a, x))
        out += np.multiply(y, _scalar(b, y))
        return out
    return a * x + b * y


def _scalar(a: Any, like: np.ndarray) -> Any:
    # A numpy scalar of higher precision promotes the array it multiplies; a Python number does not.
    return a.item() if isinstance(a, np.generic) else a


def exp(value: Any) -> Any:
    """Exponential of a number, or of a tensor with its gradient."""
    return value.exp() if is_torch(value) else math.exp(value)


def to_float(value: Any) -> float:
    """A Python float from a float or a 0-d tensor."""
    return float(value.detach()) if is_torch(value) else float(value)


def zeros(shape: Sequence[int], like: Array) -> Array:
    """Zeros with the dtype and device of ``like``."""
    if is_torch(like):
        return like.new_zeros(tuple(shape))
    return np.zeros(tuple(shape), dtype=like.dtype)


def asarray(values: Any, like: Array, *, dtype: Any = None) -> Array:
    """Bring a numpy constant to the namespace and device of ``like`` (and its real precision unless ``dtype``)."""
    if is_torch(like):
        torch = sys.modules["torch"]
        out = torch.as_tensor(values if is_torch(values) else np.asarray(values), device=like.device)
        target = dtype or (complex_dtype(like) if out.is_complex() else real_dtype(like))
        return out.to(target)
    out = np.asarray(values)
    target = dtype or (complex_dtype(like) if np.iscomplexobj(out) else np.empty(0, like.dtype).real.dtype)
    return out.astype(target, copy=False)


def complex_dtype(x: Any) -> Any:
    """The complex dtype of the same precision as ``x``'s."""
    if is_torch(x):
        torch = sys.modules["torch"]
        return torch.complex128 if real_dtype(x) == torch.float64 else torch.complex64
    return np.result_type(x.dtype, np.complex64)


def to_numpy(x: Array) -> np.ndarray:
    """A numpy view (CPU tensors share memory) without gradients."""
    return x.detach().cpu().resolve_conj().numpy() if is_torch(x) else np.asarray(x)


def to_device_of(x: np.ndarray, like: Array) -> Array:
    """Return a numpy result in the namespace and on the device of ``like``, dtype kept."""
    if is_torch(like):
        return sys.modules["torch"].from_numpy(np.ascontiguousarray(x)).to(like.device)
    return x


def fftn(x: Array, axes: tuple[int, ...], *, inverse: bool = False, ortho: bool = False) -> Array:
    """Complex discrete Fourier transform over ``axes``."""
    kind = "ortho" if ortho else "backward"
    if is_torch(x):
        fft = sys.modules["torch"].fft
        return (fft.ifftn if inverse else fft.fftn)(x, dim=axes, norm=kind)
    import scipy.fft

    transform = scipy.fft.ifftn if inverse else scipy.fft.fftn
    return transform(x, axes=axes, norm=kind, workers=transform_threads(x))


def rfftn(x: Array, axes: tuple[int, ...]) -> Array:
    """Real discrete Fourier transform over ``axes``; the last axis is halved."""
    if is_torch(x):
        return sys.modules["torch"].fft.rfftn(x, dim=axes)
    import scipy.fft

    return scipy.fft.rfftn(x, axes=axes, workers=transform_threads(x))


def irfftn(x: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Inverse of :func:`rfftn` onto the real ``shape`` of ``axes``."""
    if is_torch(x):
        return sys.modules["torch"].fft.irfftn(x, s=shape, dim=axes)
    import scipy.fft

    return scipy.fft.irfftn(x, s=shape, axes=axes, workers=transform_threads(x))


def filter_fourier(x: Array, response: np.ndarray | Array, ndim: int) -> Array:
    """Multiply the spectrum of the trailing ``ndim`` axes of ``x`` by ``response``.

    ``response`` covers the full grid of frequencies in FFT order. For real ``x`` it must be Hermitian (the spectrum of
    a real kernel); only its half is then used.
    """
    axes = tuple(range(-ndim, 0))
    shape = tuple(x.shape[-ndim:])
    if is_complex(x):
        return fftn(fftn(x, axes) * asarray(response, x), axes, inverse=True)
    half = asarray(response[..., : shape[-1] // 2 + 1], x)
    spectrum = rfftn(x, axes)
    if is_torch(spectrum):
        return irfftn(spectrum * half, shape, axes)
    spectrum *= half
    return irfftn(spectrum, shape, axes)
