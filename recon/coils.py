"""Coil sensitivities for parallel MRI, from the measurement itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers import arrays
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import as_inexact, positive_int, require_finite

CENTER = 12  # half the width of the centre that ESPIRiT looks at: more says little that is new
NORM = 100.0  # of k-space, on which the strengths of a nonlinear inversion are meant
FALL = 1 / 3  # of the strength from one Gauss-Newton step to the next
INNER = 12  # conjugate gradients in each
LEAST = 2  # half the width of a centre that still shows where the coils stand


def sensitivities_from_center(k: Any, *, size: int | None = None) -> np.ndarray:
    r"""Coil sensitivities from the fully sampled centre of k-space.

    .. math:: s_c = \frac{F^H (w \, k_c)}{\sqrt{\sum_j |F^H (w \, k_j)|^2}}

    The images ``F^H w k_c`` of the centre show the object at low resolution, times the sensitivities, which are smooth;
    their root sum of squares, the object. ``w`` is a Hann window, so that no edge rings. The image that
    ``CartesianMRI(mask, coils=s)`` then reconstructs is the one that the root sum of squares of all coils would show.

    Parameters
    ----------
    k : array of complex, shape (coils, ky, kx)
        k-space as :class:`recon.operators.CartesianMRI` has it: zero frequency at ``n // 2``, zeros where nothing was
        measured. Any number of axes after the coils.
    size : int, optional
        Samples along each axis of the centre, made odd; by default the largest that all coils measured in full.

    Returns
    -------
    ndarray of complex, shape (coils, ky, kx)
        ``sum_c |s_c|^2 = 1`` everywhere. Where there is no object they are noise, and nothing depends on them.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError
        ``k`` is no complex array with coils on its first axis, or holds NaN.
    ArgumentError
        The centre is not measured in full, or is too small to see anything.

    References
    ----------
    C. A. McKenzie et al., "Self-calibrating parallel imaging with automatic coil sensitivity extraction", Magn. Reson.
    Med. 47 (2002).

    Examples
    --------
    >>> k = np.ones((2, 16, 16), dtype=complex)
    >>> s = sensitivities_from_center(k)
    >>> s.shape, round(float(abs(s[0, 8, 8])), 3)
    ((2, 16, 16), 0.707)
    """
    k = _k_space(k)
    center, reach = _measured_center(k, size, LEAST)
    low = np.zeros_like(k)
    low[(slice(None), *center)] = k[(slice(None), *center)] * _hann(k.shape[1:], center, reach).astype(k.real.dtype)
    images = _images(low)
    together = np.sqrt((images.real**2 + images.imag**2).sum(axis=0))
    return images / np.maximum(together, np.finfo(together.dtype).tiny)


def espirit(
    k: Any, *, size: int | None = None, kernel: int = 6, threshold: float = 0.02, crop: float = 0.0
) -> np.ndarray:
    r"""Coil sensitivities by ESPIRiT: the eigenvectors of what any small patch of k-space must satisfy.

    Patches of ``kernel`` samples a side, of all coils together, lie in a space of few dimensions, found by a singular
    value decomposition of those in the centre. Projecting every patch of k-space onto it is, in the image, a matrix
    ``M(r)`` of coils by coils at each pixel, and the sensitivities satisfy ``M(r) s(r) = s(r)``.

    Sharper than :func:`sensitivities_from_center` near the edge of the object, and free of the object's own shading.

    Parameters
    ----------
    k : array of complex, shape (coils, ky, kx)
        k-space as :class:`recon.operators.CartesianMRI` has it, zeros where nothing was measured. Any number of axes.
    size : int, optional
        Samples along each axis of the centre; by default the largest that all coils measured in full, at most 25.
    kernel : int
        Samples along each axis of a patch.
    threshold : float
        Singular values below this, relative to the largest, are noise.
    crop : float
        Sensitivities are zero where the eigenvalue is below, that is, where there is no object. 0 keeps them all.

    Returns
    -------
    ndarray of complex, shape (coils, ky, kx)
        ``sum_c |s_c|^2 = 1``, or 0 where cropped, with the phase of :func:`sensitivities_from_center`.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, ArgumentError
        As for :func:`sensitivities_from_center`; the centre is smaller than two patches.

    References
    ----------
    M. Uecker et al., "ESPIRiT - an eigenvalue approach to autocalibrating parallel MRI: where SENSE meets GRAPPA",
    Magn. Reson. Med. 71 (2014), eqs. 10 to 16.

    Examples
    --------
    >>> s = espirit(np.ones((2, 24, 24), dtype=complex))
    >>> s.shape, round(float(abs(s[0, 12, 12])), 3)
    ((2, 24, 24), 0.707)
    """
    k, kernel = _k_space(k), positive_int("kernel", kernel)
    center, reach = _measured_center(k, size, kernel)
    if size is None and reach > CENTER:
        center, reach = _measured_center(k, 2 * CENTER + 1, kernel)
    M = _pointwise(_projection(k[(slice(None), *center)], kernel, threshold), kernel, k.shape)
    eigenvalues, vectors = np.linalg.eigh(M)
    maps = np.moveaxis(vectors[..., -1], -1, 0)
    phase = (sensitivities_from_center(k, size=2 * reach + 1).conj() * maps).sum(axis=0)
    maps = maps * (phase.conj() / np.maximum(np.abs(phase), np.finfo(phase.real.dtype).tiny))
    return (maps * (eigenvalues[..., -1] >= crop)).astype(k.dtype)


def nlinv(k: Any, *, steps: int = 12) -> np.ndarray:
    r"""Coil sensitivities by regularised nonlinear inversion: those that explain all samples together with an image.

    .. math:: \min_{x, s} \tfrac12 \sum_c |m F (s_c x) - k_c|^2 + \tfrac{\alpha}{2} (|x|^2 + \sum_c |w F s_c|^2)

    by Gauss-Newton steps (:class:`solvers.IRGN`) whose ``alpha`` falls by a factor of three each, ``w`` the weight of
    :class:`recon.operators.JointMRI` that keeps sensitivities smooth. Every sample speaks, not those of the centre
    alone: a few lines there are enough, where :func:`espirit` needs twenty or so and then does as well in less time.

    Parameters
    ----------
    k : array of complex, shape (coils, ky, kx)
        k-space as :class:`recon.operators.CartesianMRI` has it, zeros where nothing was measured. Any number of axes.
    steps : int
        Gauss-Newton steps: the smallest ``alpha`` is ``3^-(steps - 1)``, where ``k`` has the norm 100.

    Returns
    -------
    ndarray of complex, shape (coils, ky, kx)
        ``sum_c |s_c|^2 = 1``.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError, ArgumentError
        ``k`` is no complex array with coils on its first axis, holds NaN or nothing; ``steps`` is not above zero.

    References
    ----------
    M. Uecker, T. Hohage, K. T. Block, J. Frahm, "Image reconstruction by regularized nonlinear inversion - joint
    estimation of coil sensitivities and image content", Magn. Reson. Med. 60 (2008).

    Examples
    --------
    >>> s = nlinv(np.ones((2, 16, 16), dtype=complex), steps=3)
    >>> s.shape, round(float(abs(s[0, 8, 8])), 3)
    ((2, 16, 16), 0.707)
    """
    from priors import Tikhonov
    from recon.operators.joint_mri import JointMRI
    from solvers import IRGN, LeastSquares, unroll

    k, last = _k_space(k), FALL ** (positive_int("steps", steps) - 1)
    size = float(np.linalg.norm(k))
    if size == 0:
        raise ArgumentError("k is zero everywhere; expected k-space samples. Pass the measurement.")
    F = JointMRI((k != 0).any(axis=0), len(k))
    scaled = k * k.real.dtype.type(NORM / size)
    start = np.zeros(F.in_shape, dtype=k.dtype)
    start[0] = 1
    algorithm = IRGN(LeastSquares(F, scaled), Tikhonov(), last, first=1 / last, ratio=FALL, cg_iterations=INNER)
    return np.asarray(F.sensitivities(unroll(algorithm, start, steps)))


def prewhiten(k: Any, operator: Any, covariance: Any) -> tuple[Any, Any]:
    r"""Mix coils until their noise is white: of level 1, in the real and the imaginary part, and uncorrelated.

    With ``C = E[n n^H]`` and ``C / 2 = L L^H``, what is returned are ``L^-1 k`` and the scan by the coils ``L^-1 s``;
    the image is the same. Without a covariance :func:`recon.reconstruct` weighs coils whose levels differ by estimates
    of them.

    Parameters
    ----------
    k : array of complex, shape (..., *operator.out_shape)
        k-space.
    operator : CartesianMRI, NonCartesianMRI, DynamicMRI or DynamicNonCartesianMRI
        What measured it, with coils; other operators may come before it, as in ``A @ RealImage(shape)``.
    covariance : array of complex, shape (coils, coils)
        That of the noise, such as ``n @ n.conj().T / n.shape[1]`` of a scan ``n`` without an object.

    Returns
    -------
    (array, LinearOperator)
        What to reconstruct from, ``noise=1.0`` being known.

    Raises
    ------
    DTypeError, ShapeError, ArgumentError
        The operator has no coils, the covariance another number of them, or it is not Hermitian and positive.

    References
    ----------
    K. P. Pruessmann, M. Weiger, P. Bornert, P. Boesiger, "Advances in sensitivity encoding with arbitrary k-space
    trajectories", Magn. Reson. Med. 46 (2001), section on noise decorrelation.

    Examples
    --------
    >>> from recon.operators import CartesianMRI
    >>> A = CartesianMRI(np.ones((4, 4), dtype=bool), np.ones((2, 4, 4)))
    >>> k, A = prewhiten(A(np.ones((4, 4))), A, np.diag([2.0, 8.0]))
    >>> A.coils[:, 0, 0].real
    array([1. , 0.5])
    """
    from recon._coil_noise import mixed_coils, scanner_of

    scanner = scanner_of(operator)
    if scanner is None:
        raise DTypeError(f"operator is {operator!r}; expected one with coils. Pass such as CartesianMRI(mask, coils).")
    C, count = np.asarray(arrays.to_numpy(covariance)), len(scanner.coils)
    if C.shape != (count, count):
        raise ShapeError(f"covariance has shape {C.shape}; expected ({count}, {count}), that of the coils. Pass n n^H.")
    require_finite("covariance", C, "Leave out the samples that are not numbers.")
    if abs(C - C.conj().T).max() > 1e-4 * abs(C).max() or np.linalg.eigvalsh(C).min() <= 0:
        raise ArgumentError(
            "covariance is not Hermitian and positive definite; expected n @ n.conj().T / n.shape[1] of at least as "
            "many samples as coils. Measure more noise, or leave out coils that are dead or copies."
        )
    k = operator._admit(k, "k", operator.out_shape, operator.out_kind)
    return mixed_coils(k, operator, np.linalg.inv(np.linalg.cholesky(C / 2)))


def _projection(center: np.ndarray, kernel: int, threshold: float) -> np.ndarray:
    """Projection onto the space of patches, (coils * kernel^d, coils * kernel^d)."""
    ndim = center.ndim - 1
    patches = np.lib.stride_tricks.sliding_window_view(center, (kernel,) * ndim, axis=tuple(range(1, ndim + 1)))
    columns = np.moveaxis(patches, range(1, ndim + 1), range(ndim)).reshape(-1, len(center) * kernel**ndim).T
    columns = columns.astype(np.complex128)
    energy, basis = np.linalg.eigh(columns @ columns.conj().T)
    basis = basis[:, energy > (threshold**2) * energy[-1]]
    return basis @ basis.conj().T


def _pointwise(projection: np.ndarray, kernel: int, shape: tuple[int, ...]) -> np.ndarray:
    """The matrix that the mean of all projected patches is at each pixel, (*image, coils, coils)."""
    coils, image = shape[0], shape[1:]
    blocks = projection.reshape(coils, kernel ** len(image), coils, -1)
    places = list(np.ndindex(*(kernel,) * len(image)))
    lags = np.zeros((coils, coils, *image), np.complex128)
    for i, u in enumerate(places):
        for j, v in enumerate(places):
            lag = tuple((b - a) % n for a, b, n in zip(u, v, image, strict=True))
            lags[(slice(None), slice(None), *lag)] += blocks[:, i, :, j]
    axes = tuple(range(2, lags.ndim))
    return np.moveaxis(np.fft.fftshift(arrays.fftn(lags, axes), axes), (0, 1), (-2, -1)) / len(places)


def _measured_center(k: np.ndarray, size: int | None, least: int) -> tuple[tuple[slice, ...], int]:
    """The centre of k-space that is measured in full, and half its width."""
    largest = _reach((k != 0).all(axis=0))
    reach = largest if size is None else positive_int("size", size) // 2
    if not least <= reach <= largest:
        raise ArgumentError(
            f"size is {size}; the centre of k is measured in full over {max(2 * largest + 1, 0)} samples an axis, "
            f"and {2 * least + 1} is the least. Pass a size between, or sensitivities measured otherwise."
        )
    return tuple(slice(n // 2 - reach, n // 2 + reach + 1) for n in k.shape[1:]), reach


def _k_space(k: Any) -> np.ndarray:
    k = as_inexact("k", k)
    if arrays.is_torch(k) or not arrays.is_complex(k):
        kind = "a torch tensor" if arrays.is_torch(k) else f"of dtype {k.dtype}"
        raise DTypeError(f"k is {kind}; expected a complex numpy array. Pass k-space samples, not magnitudes.")
    if k.ndim < 2:
        raise ShapeError(f"k has shape {k.shape}; expected (coils, ky, kx). Pass k[None] for a single coil.")
    require_finite("k", k)
    return k


def _reach(measured: np.ndarray) -> int:
    """Half the width of the largest centred cube that is measured in full; -1 where not even its middle is."""
    reach = -1
    while reach + 1 <= min((n - 1) // 2 for n in measured.shape):
        block = tuple(slice(n // 2 - reach - 1, n // 2 + reach + 2) for n in measured.shape)
        if not measured[block].all():
            break
        reach += 1
    return reach


def _hann(shape: tuple[int, ...], center: tuple[slice, ...], reach: int) -> np.ndarray:
    window = np.ones(())
    for n, part in zip(shape, center, strict=True):
        distance = np.arange(n)[part] - n // 2
        window = np.multiply.outer(window, 0.5 + 0.5 * np.cos(np.pi * distance / (reach + 1)))
    return window


def _images(k: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, k.ndim))
    return np.fft.fftshift(arrays.fftn(np.fft.ifftshift(k, axes), axes, inverse=True, ortho=True), axes)
