"""Magnetic resonance imaging of what moves: each frame is measured in its own way, by the same coils."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon.operators._coils import Coils
from recon.operators._combinations import scaled
from recon.operators._constants import Constant
from recon.operators.base import LinearOperator
from recon.operators.mri import CartesianMRI, kept_frequencies, sensitivities, varying_axes
from recon.operators.non_cartesian import NonCartesianMRI, checked_weights
from recon.operators.pointwise import Mask, boolean_mask
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ShapeError
from solvers.step_sizes import lanczos_norm
from solvers.validation import shape_argument


class DynamicMRI(LinearOperator):
    r"""Frames on a Cartesian grid, one mask each: ``y_tc = m_t F (s_c x_t)``.

    ``F`` is the centred orthonormal Fourier transform of the spatial axes, as in :class:`CartesianMRI`; the coils are
    the same for all frames. The default prior takes the first axis of the image for time.

    Parameters
    ----------
    masks : array of bool, shape (frames, ky, kx)
        True where k-space is measured, zero frequency at the centre. Any number of spatial axes.
    coils : array of complex, shape (coils, ky, kx), optional
        Sensitivities ``s_c``. None is one coil of sensitivity one, and k-space then has no coil axis; with them it is
        (frames, coils, ky, kx).

    Raises
    ------
    ShapeError
        ``masks`` has no axis of frames, or the shapes of a frame and ``coils`` differ.
    DTypeError, ArgumentError, NonFiniteError
        ``masks`` is not boolean or measures nothing, ``coils`` are not numbers or not finite.

    References
    ----------
    R. Otazo, E. Candes, D. K. Sodickson, "Low-rank plus sparse matrix decomposition for accelerated dynamic MRI with
    separation of background and dynamic components", Magn. Reson. Med. 73 (2015).

    Examples
    --------
    >>> A = DynamicMRI(np.random.default_rng(0).random((10, 8, 8)) < 0.3)
    >>> A(np.ones((10, 8, 8))).shape
    (10, 8, 8)
    """

    kind = "complex"
    frames = True
    sampling: np.ndarray

    def __init__(self, masks: Any, coils: Any = None):
        self.masks = boolean_mask("masks", masks)
        if self.masks.ndim < 2:
            raise ShapeError(
                f"masks has shape {self.masks.shape}; expected (frames, ky, kx). Pass CartesianMRI one mask alone."
            )
        count, *shape = self.masks.shape
        self._frame = CartesianMRI(np.ones(shape, bool), coils)
        self.coils = self._frame.coils
        between = () if self.coils is None else (len(self.coils),)
        super().__init__(self.masks.shape, (count, *between, *shape))
        each = self.masks.reshape((count, *(1,) * len(between), *shape))
        self.sampling = np.broadcast_to(each, self.out_shape)
        self._mask = Constant(each.astype(np.float64))

    def _apply(self, x: Array) -> Array:
        return scaled(self._frame(x), self._mask.like(x))

    def _adjoint(self, y: Array) -> Array:
        return self._frame.adjoint(y * self._mask.like(y))

    def gram(self, x: Array) -> Array:
        """The normal operator ``A^H A x``, frame by frame and coil by coil."""
        x = self._admit(x, "x", self.in_shape)
        if arrays.is_torch(x):
            return self._adjoint(self._frame(x))
        masks = self._mask.like(x).reshape(self.masks.shape)
        axes = tuple({axis for mask in self.masks for axis in varying_axes(mask)})
        coils, images = self._frame._coils, x.reshape(-1, *self.in_shape[1:])

        def filtered(image: int, coil: int) -> np.ndarray:
            return kept_frequencies(coils.seen(images[image], coil), masks[image % len(masks)], axes)

        return coils.combined(filtered, len(images), x.dtype).reshape(x.shape)

    def fourier_gram(self) -> np.ndarray | None:
        level = self._frame.level if self.coils is None or self.masks.all() else None
        if level is None or (self.masks != self.masks[:1]).any():
            return None
        return level * np.fft.ifftshift(self.masks, axes=tuple(range(1, self.masks.ndim)))

    def diagonal_gram(self) -> np.ndarray | None:
        diagonal = self._frame.diagonal_gram()
        return np.broadcast_to(diagonal, self.in_shape) if diagonal is not None and self.masks.all() else None

    def sensitivity(self) -> np.ndarray | None:
        return self._frame.sensitivity()

    def factors(self) -> tuple[LinearOperator, LinearOperator] | None:
        """The samples picked of the whole k-space, where a frame and its whole k-space have one norm."""
        if self._frame.level is None:
            return super().factors()
        return Mask(self.sampling), DynamicMRI(np.ones_like(self.masks), self.coils)

    @property
    def has_solve_shifted(self) -> bool:
        return self.coils is None or bool(self.masks.all())

    def _solve_shifted(self, b: Array, rho: Any) -> Array:
        if self.coils is not None:
            return super()._solve_shifted(b, rho)
        return self._frame.adjoint(self._frame(b) / (self._mask.like(b) + rho))

    def _iterate_norm(self) -> float:
        return lanczos_norm(self.gram, self.in_shape, complex_start=True, upper=self._frame.norm())

    def with_coils(self, coils: np.ndarray) -> DynamicMRI:
        """The same scan by other coils."""
        return DynamicMRI(self.masks, coils)

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        sampling = boolean_mask("sampling", sampling, shape=self.out_shape)
        if self.coils is None:
            return DynamicMRI(self.masks & sampling)
        if (sampling != sampling[:, :1]).any():
            return super().with_sampling(sampling)  # coils that are sampled differently
        return DynamicMRI(self.masks & sampling[:, 0], self.coils)

    def __repr__(self) -> str:
        coils = "" if self.coils is None else f", {len(self.coils)} coils"
        return f"DynamicMRI({self.in_shape}, {self.masks.mean():.1%} measured{coils})"


class DynamicNonCartesianMRI(LinearOperator):
    r"""Frames on trajectories of any kind, one each, seen by the same coils.

    Frame ``t`` is what ``NonCartesianMRI(trajectories[t], shape, coils)`` measures. The default prior takes the first
    axis of the image for time.

    Parameters
    ----------
    trajectories : array of float, shape (frames, ..., ndim)
        Positions of the samples of each frame, as for :class:`NonCartesianMRI`: cycles per field of view.
    shape : tuple of int
        One frame, (rows, columns).
    coils : array of complex, shape (coils, *shape), optional
        Sensitivities. None is one coil of sensitivity one, and k-space then has no coil axis; with them it is
        (frames, coils, ...).
    weights : array of float, shape (frames, ...), optional
        How much each sample counts, as for :class:`NonCartesianMRI`.
    eps : float
        Relative tolerance of the transforms.

    Raises
    ------
    ShapeError
        ``trajectories``, ``shape``, ``coils`` and ``weights`` do not fit each other.
    ArgumentError, DTypeError, NonFiniteError
        As for :class:`NonCartesianMRI`.

    References
    ----------
    L. Feng et al., "Golden-angle radial sparse parallel MRI", Magn. Reson. Med. 72 (2014).

    Examples
    --------
    >>> from recon.trajectories import radial
    >>> spokes = radial(20, 32).reshape(5, 4, 32, 2)  # four spokes a frame
    >>> DynamicNonCartesianMRI(spokes, (16, 16))(np.ones((5, 16, 16))).shape
    (5, 4, 32)
    """

    kind = "complex"
    frames = True

    def __init__(self, trajectories: Any, shape: Any, coils: Any = None, weights: Any = None, eps: float = 1e-6):
        shape = shape_argument("shape", shape)
        given = arrays.to_numpy(trajectories)
        if given.ndim < 3:
            raise ShapeError(
                f"trajectories has shape {given.shape}; expected (frames, ..., {len(shape)}), the samples of each "
                "frame. Pass NonCartesianMRI the trajectory of one frame alone."
            )
        if weights is not None:
            weights = checked_weights(weights, given.shape[:-1])
        each = [None] * len(given) if weights is None else weights
        self.parts = tuple(NonCartesianMRI(k, shape, None, w, eps) for k, w in zip(given, each, strict=True))
        self.coils = None if coils is None else sensitivities(coils, shape)
        self._coils = Coils(self.coils, shape)
        between = () if self.coils is None else (len(self.coils),)
        samples = given.shape[1:-1]
        super().__init__((len(given), *shape), (len(given), *between, *samples))
        self.adjoint_tolerance = self.parts[0].adjoint_tolerance
        if weights is not None and not weights.all():
            each = (weights > 0).reshape((len(given), *(1,) * len(between), *samples))
            self.sampling = np.broadcast_to(each, self.out_shape)
        self.trajectories, self.weights, self.eps = given, weights, self.parts[0].eps

    def _apply(self, x: Array) -> Array:
        xp, axis = arrays.namespace(x), x.ndim - len(self.in_shape)
        if self.coils is None:
            return xp.stack([part(frame) for part, frame in zip(self.parts, self._split(x), strict=True)], axis)
        seen = (self._coils.all_seen(frame) for frame in self._split(x))
        return xp.stack([part(frame) for part, frame in zip(self.parts, seen, strict=True)], axis)

    def _adjoint(self, y: Array) -> Array:
        xp, axis = arrays.namespace(y), y.ndim - len(self.out_shape)
        frames = [y[(slice(None),) * axis + (t,)] for t in range(len(self.parts))]
        back = [part.adjoint(frame) for part, frame in zip(self.parts, frames, strict=True)]
        return xp.stack(back if self.coils is None else [self._coils.together(image) for image in back], axis)

    def sensitivity(self) -> np.ndarray | None:
        return self._coils.strength()

    def gram(self, x: Array) -> Array:
        """The normal operator ``A^H A x``: for each frame and coil a convolution."""
        x = self._admit(x, "x", self.in_shape)
        frames = zip(self.parts, self._split(x), strict=True)
        back = [self._coils.gram(frame, part.convolution) for part, frame in frames]
        return arrays.namespace(x).stack(back, x.ndim - len(self.in_shape))

    def _iterate_norm(self) -> float:
        if self.coils is None:
            return max(part.norm() for part in self.parts)
        return super()._iterate_norm() * (1 + self.eps)  # the forward may be that much larger than its gram says

    def with_coils(self, coils: np.ndarray) -> DynamicNonCartesianMRI:
        """The same scan by other coils."""
        return DynamicNonCartesianMRI(self.trajectories, self.in_shape[1:], coils, self.weights, self.eps)

    def with_sampling(self, sampling: np.ndarray) -> LinearOperator:
        sampling = np.broadcast_to(sampling, self.out_shape)
        if not all(frame.any() for frame in sampling) or (
            self.coils is not None and (sampling != sampling[:, :1]).any()
        ):
            return super().with_sampling(sampling)  # coils that are sampled differently, or a frame that is not
        sampling = sampling if self.coils is None else sampling[:, 0]
        weights = sampling * (1.0 if self.weights is None else self.weights)
        return DynamicNonCartesianMRI(self.trajectories, self.in_shape[1:], self.coils, weights, self.eps)

    def _split(self, x: Array) -> list[Array]:
        """The frames of a series."""
        before = (slice(None),) * (x.ndim - len(self.in_shape))
        return [x[(*before, t)] for t in range(len(self.parts))]

    def __repr__(self) -> str:
        coils = "" if self.coils is None else f", {len(self.coils)} coils"
        return f"DynamicNonCartesianMRI({self.in_shape}, {math.prod(self.parts[0].out_shape)} samples a frame{coils})"
