"""Magnetic resonance imaging with samples anywhere in k-space: radial, spiral, any trajectory."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from recon.operators._coils import Coils, seen_from_centre
from recon.operators._mean_response import periodic, seen_on_average
from recon.operators._nufft import NUFFT, tolerance
from recon.operators._toeplitz import RealToeplitz, Toeplitz
from recon.operators.base import LinearOperator
from recon.operators.mri import sensitivities
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.kernels import run_jobs
from solvers.validation import require_finite, shape_argument

_NEXT_TO_NOTHING = math.pi  # a trajectory that ends here is in radians a pixel, unless the image is tiny


class NonCartesianMRI(LinearOperator):
    r"""k-space on any trajectory, of an image seen by one or several coils.

    .. math:: y_{cj} = \sqrt{w_j / N} \sum_n e^{-2 \pi i \, k_j \cdot (n - \lfloor N/2 \rfloor) / N} s_{cn} x_n

    with ``N`` the pixels of the image (of each axis in the exponent, of all together in the root). At whole numbers
    ``k_j`` this is what :class:`CartesianMRI` measures at the sample ``k_j + N // 2``, scale included.

    Parameters
    ----------
    trajectory : array of float, shape (..., ndim)
        Positions in cycles per field of view, in the order of the image's axes (ky, kx): from ``-N / 2`` to ``N / 2``
        along an axis of ``N`` pixels. Multiply radians a pixel by ``N / (2 pi)``. See :mod:`recon.trajectories`.
    shape : tuple of int
        Image; two or three axes, or one.
    coils : array of complex, shape (coils, *shape), optional
        Sensitivities ``s_c``. None is one coil of sensitivity one, and k-space then has no coil axis.
    weights : array of float, shape (...), optional
        How much each sample counts in least squares, at least 0. The operator then measures ``sqrt(w)`` times the
        samples: reconstruct from ``np.sqrt(w) * y``. Without weights every sample counts the same, which is right for
        white noise. For a density-compensated image ("gridding") use ``A.adjoint(w * y)`` of the operator without.
    eps : float
        Relative tolerance of forward and adjoint, 1e-12 to 1e-3. They are adjoint to each other far beyond it.
        :meth:`gram` is a convolution on a doubled grid and agrees with them within ``10 * eps``.

    Raises
    ------
    ShapeError
        ``trajectory``, ``shape``, ``coils`` and ``weights`` do not fit each other.
    ArgumentError, DTypeError, NonFiniteError
        Positions beyond the edge of k-space or in another unit, negative weights, no numbers, NaN.

    References
    ----------
    K. P. Pruessmann et al., "Advances in sensitivity encoding with arbitrary k-space trajectories", Magn. Reson. Med.
    46 (2001). A. H. Barnett, J. Magland, L. af Klinteberg, "A parallel nonuniform fast Fourier transform library based
    on an 'exponential of semicircle' kernel", SIAM J. Sci. Comput. 41 (2019). J. A. Fessler et al., "Toeplitz-based
    iterative image reconstruction for MRI with correction for magnetic field inhomogeneity", IEEE Trans. Signal
    Process. 53 (2005).

    Examples
    --------
    >>> from recon.trajectories import radial
    >>> A = NonCartesianMRI(radial(12, 32), shape=(16, 16))
    >>> A(np.ones((16, 16))).shape
    (12, 32)
    >>> round(float(abs(A(np.ones((16, 16)))[0, 16])), 4)  # the centre of k-space
    16.0
    """

    kind = "complex"
    torch_body = False

    def __init__(self, trajectory: Any, shape: Any, coils: Any = None, weights: Any = None, eps: float = 1e-6):
        shape = shape_argument("shape", shape)
        self.trajectory = _positions(trajectory, shape)
        self.coils = None if coils is None else sensitivities(coils, shape)
        self.weights = None if weights is None else checked_weights(weights, self.trajectory.shape[:-1])
        self.eps = tolerance("eps", eps)
        samples = self.trajectory.shape[:-1]
        super().__init__(shape, samples if self.coils is None else (len(self.coils), *samples))
        self.adjoint_tolerance = {"float32": max(self.eps, 1e-6), "float64": self.eps}
        if self.weights is not None and not self.weights.all():
            self.sampling = np.broadcast_to(self.weights > 0, self.out_shape)
        turns = self.trajectory.reshape(-1, len(shape)) / np.array(shape)
        self._transform = NUFFT(2 * np.pi * turns.T, shape, self.eps)
        self._scale = 1.0 / math.sqrt(math.prod(shape))
        if self.weights is not None:
            self._scale = self._scale * np.sqrt(self.weights).reshape(-1)
        self._coils = Coils(self.coils, shape)

    def _apply(self, x: np.ndarray) -> np.ndarray:
        images, coils = x.reshape(-1, *self.in_shape), self._coils.count
        tasks = len(images) * coils

        def sample(task: int, out: np.ndarray | None = None) -> np.ndarray:
            image, coil = divmod(task, coils)
            samples = self._transform.forward(self._coils.seen(images[image], coil))
            return np.multiply(samples, self._scale, out=out, dtype=x.dtype, casting="same_kind")

        if tasks == 1:  # nothing is held for the result while the transform holds the most
            out = sample(0)
        else:
            out = np.empty((tasks, self._transform.points.shape[1]), x.dtype)
            run_jobs(lambda task: sample(task, out[task]), out.size, tasks)
        return out.reshape(*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape)

    def _adjoint(self, y: np.ndarray) -> np.ndarray:
        samples = y.reshape(-1, self._coils.count, self._transform.points.shape[1])

        def spread(image: int, coil: int) -> np.ndarray:
            # In the transform's precision at once: no second copy beside it.
            return self._transform.adjoint(np.multiply(samples[image, coil], self._scale, dtype=np.complex128))

        images = self._coils.combined(spread, len(samples), y.dtype)
        return images.reshape(*y.shape[: y.ndim - len(self.out_shape)], *self.in_shape)

    def sensitivity(self) -> np.ndarray | None:
        return self._coils.strength()

    def gram(self, x: Array) -> Array:
        """The normal operator ``A^H A x``: for each coil a convolution with the spectrum of the sampling density."""
        return self._coils.gram(self._admit(x, "x", self.in_shape), self.convolution)

    def impulse_response(self) -> np.ndarray:
        return seen_from_centre(self._convolution_and_middle[1], self.coils)

    def mean_response(self) -> np.ndarray:
        lags = np.fft.ifftshift(self._lags())
        # One coil's products are that convolution themselves: a periodic one is quicker.
        return periodic(lags) if self.coils is None else seen_on_average(lags, self.coils)

    @property
    def convolution(self) -> Toeplitz:
        """``A^H A`` of one coil."""
        return self._convolution_and_middle[0]

    @cached_property
    def _convolution_and_middle(self) -> tuple[Toeplitz, np.ndarray]:
        """``A^H A`` of one coil, and its response to an impulse at the image's centre, that at the origin."""
        lags = self._lags()
        middle = tuple(slice(n - n // 2, 2 * n - n // 2) for n in self.in_shape)
        return Toeplitz(lags), np.fft.ifftshift(lags[middle])

    def _lags(self) -> np.ndarray:
        """A transform of the weights to all the lags there are."""
        doubled = tuple(2 * n for n in self.in_shape)
        lags = NUFFT(self._transform.points, doubled, max(0.1 * self.eps, 1e-13))
        return lags.adjoint(np.broadcast_to(self._scale**2, lags.points.shape[1:]))

    def real_gram(self, x: Array) -> Array:
        """Real part of the normal operator of one coil, of a real image of two axes."""
        if arrays.is_torch(x):
            return self.gram(x).real
        return self._real_convolution(x, workers=arrays.transform_threads(x))

    @cached_property
    def _real_convolution(self) -> RealToeplitz:
        return RealToeplitz(self._lags())

    def _iterate_norm(self) -> float:
        return super()._iterate_norm() * (1 + self.eps)  # the forward may be that much larger than its gram says

    def with_coils(self, coils: np.ndarray) -> NonCartesianMRI:
        """The same scan by other coils."""
        return NonCartesianMRI(self.trajectory, self.in_shape, coils, self.weights, self.eps)

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        sampling = np.broadcast_to(sampling, self.out_shape)
        if self.coils is not None:
            if (sampling != sampling[:1]).any():
                return super().with_sampling(sampling)  # coils that are sampled differently
            sampling = sampling[0]
        weights = sampling * (1.0 if self.weights is None else self.weights)
        return NonCartesianMRI(self.trajectory, self.in_shape, self.coils, weights, self.eps)

    def __repr__(self) -> str:
        coils = "" if self.coils is None else f", {len(self.coils)} coils"
        return f"NonCartesianMRI({self.in_shape}, {math.prod(self.trajectory.shape[:-1])} samples{coils})"


def _positions(trajectory: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = arrays.to_numpy(trajectory)
    if values.dtype.kind not in "iuf":
        raise DTypeError(f"trajectory has dtype {values.dtype}; expected real positions. Pass floats, (..., ky, kx).")
    if len(shape) > 3:
        raise ShapeError(f"shape is {shape}; expected one to three axes. Pass leading axes as a batch.")
    if values.ndim < 2 or values.shape[-1] != len(shape) or not values.size:
        raise ShapeError(
            f"trajectory has shape {values.shape}; expected (..., {len(shape)}), a position for each axis of the image "
            f"{shape}. Stack the coordinates on the last axis, ky before kx."
        )
    require_finite("trajectory", values, "Leave out the samples whose position is not known, here and in y.")
    values = values.astype(np.float64)
    edge, reach = np.array(shape) / 2, np.abs(values).reshape(-1, len(shape)).max(axis=0)
    if (reach > edge * (1 + 1e-6)).any():
        axis = int(np.argmax(reach / edge))
        raise ArgumentError(
            f"trajectory reaches {reach[axis]:g} on axis {axis}; expected cycles per field of view, at most "
            f"{edge[axis]:g} for {shape[axis]} pixels. Rescale it, or reconstruct more pixels."
        )
    if min(shape) > 8 * _NEXT_TO_NOTHING and reach.max() <= _NEXT_TO_NOTHING * (1 + 1e-6):
        raise ArgumentError(
            f"trajectory reaches {reach.max():g}; expected cycles per field of view, up to {edge.max():g}. Multiply "
            "radians a pixel by N / (2 pi), cycles a pixel by N, for N pixels."
        )
    return values


def checked_weights(weights: Any, samples: tuple[int, ...]) -> np.ndarray:
    """Check how much each of the ``samples`` counts; returns float64 of that shape."""
    values = arrays.to_numpy(weights)
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"weights have dtype {values.dtype}; expected real numbers. Pass one for each sample.")
    try:
        values = np.broadcast_to(values, samples).astype(np.float64)
    except ValueError:
        raise ShapeError(
            f"weights have shape {values.shape}; expected {samples}, one for each position. Reshape them."
        ) from None
    require_finite("weights", values, "Give samples that should not count the weight 0.")
    if values.min() < 0 or not values.any():
        raise ArgumentError(
            f"weights go from {values.min():g} to {values.max():g}; expected numbers of at least 0, not all of them 0. "
            "Pass the density compensation of the trajectory."
        )
    return values
