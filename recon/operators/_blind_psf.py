"""The point spread function of a blurred photograph, estimated from it alone, coarse to fine.

At each scale in turns, with ``L0`` counting the pixels where an image has an edge:

    x <- argmin |k * x - y|^2 + lambda L0(grad x)                 half-quadratic splitting, in Fourier space
    k <- argmin |grad x * k - grad y|^2 + gamma |k|^2             conjugate gradients on the PSF's frame

``x`` is no picture but its strong edges, sharpened: they are what tells a motion. What is negative, weak or stray in
the PSF is dropped after each turn, and ``lambda`` falls, so that finer edges come in. Cho and Lee 2009; Xu, Zheng and
Jia 2013; Pan, Hu, Su and Yang 2014.
"""

from __future__ import annotations

import math

import numpy as np

from recon.operators._of_the_psf import places
from solvers import arrays

CONTRAST = 0.25  # standard deviation to which pictures are brought: what the strengths below refer to
EDGES = 8e-3  # lambda at the coarsest scale,
FALL = 1.1  # divided by this after each turn,
FINEST_EDGES = 1e-4  # down to this
SMOOTHNESS = 8.0  # gamma
TURNS = 5  # at each scale
SCALE = math.sqrt(0.5)  # of neighbouring scales
SMALLEST = 5  # entries along the longer axis of the PSF at the coarsest scale
PENALTIES = (2.0, 1e5)  # of the splitting: the first over lambda, and the last
GROWTH = 2.0  # from one penalty to the next
PSF_STEPS = 20  # conjugate gradients
WEAK = 0.05  # of the largest entry, below which entries of the PSF are dropped
STRAY = 0.1  # of its sum, below which islands are
LARGEST = 800  # pixels along an axis: of larger pictures the part with most edges is taken


def estimated_psf(y: np.ndarray, shape: tuple[int, ...], *, periodic: bool) -> np.ndarray:
    """The PSF that all pictures of ``y`` (..., rows, columns) share, of ``shape`` and sum one, its centroid centred."""
    pictures = y.reshape(-1, *y.shape[y.ndim - len(shape) :]).astype(np.float32)
    pictures, whole = most_detailed(pictures)
    deviation = float(pictures.std()) or 1.0
    pictures = (pictures - pictures.mean()) * (CONTRAST / deviation)
    psf, strength = _streak(_at_scale(shape, _scales(shape)[0])), EDGES
    for scale in _scales(shape):
        measured = _resized(pictures, [round(scale * n) for n in pictures.shape[1:]])
        psf = _resized_psf(psf, _at_scale(shape, scale))
        measured = measured if periodic and whole else wrapped(measured, psf.shape)
        psf, strength = _in_turns(measured, psf, strength)
    return psf.astype(float)


def _in_turns(y: np.ndarray, psf: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Sharp edges and PSF in turns at one scale."""
    slopes = _gradient(y)
    for _ in range(TURNS):
        edges = sharp_edges(y, psf, strength)
        psf = cleaned(fitted_psf(_gradient(edges), slopes, psf.shape))
        strength = max(strength / FALL, FINEST_EDGES)
    return centred(psf), strength


def sharp_edges(y: np.ndarray, psf: np.ndarray, strength: float) -> np.ndarray:
    """``argmin |psf * x - y|^2 + strength L0(grad x)``, periodic."""
    shape = y.shape[1:]
    axes = tuple(range(1, y.ndim))
    transfer = _spectrum(psf, shape)
    laplacian = _laplacian(shape)
    fit, gram = transfer.conj() * arrays.rfftn(y, axes), abs(transfer) ** 2
    x, penalty = y, PENALTIES[0] * strength
    while penalty < PENALTIES[1]:
        slopes = _gradient(x)
        slopes *= (slopes**2).sum(axis=0) >= strength / penalty
        x = arrays.irfftn(
            (fit + penalty * arrays.rfftn(_divergence(slopes), axes)) / (gram + penalty * laplacian), shape, axes
        )
        penalty *= GROWTH
    return x


def fitted_psf(edges: np.ndarray, slopes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``argmin |edges * k - slopes|^2 + gamma |k|^2`` over PSFs of ``shape``."""
    from scipy.sparse.linalg import LinearOperator, cg

    axes = tuple(range(2, edges.ndim))
    grid = edges.shape[2:]
    spectra, measured = (arrays.rfftn(a, axes) for a in (edges, slopes))
    right = (spectra.conj() * measured).sum(axis=(0, 1))
    gram = (abs(spectra) ** 2).sum(axis=(0, 1))
    frame = places(shape, grid)

    def framed(spectrum: np.ndarray) -> np.ndarray:
        return arrays.irfftn(spectrum, grid, tuple(range(len(grid))))[frame]

    def normal(k: np.ndarray) -> np.ndarray:
        k = k.reshape(shape)
        return (framed(gram * _spectrum(k, grid)) + SMOOTHNESS * k).ravel()

    size = math.prod(shape)
    found, _ = cg(LinearOperator((size, size), normal), framed(right).ravel(), rtol=1e-5, maxiter=PSF_STEPS)
    return np.asarray(found).reshape(shape)


def cleaned(psf: np.ndarray) -> np.ndarray:
    """Without what is weak, negative or an island, of sum one; a point where nothing is left."""
    from scipy.ndimage import label
    from scipy.ndimage import sum as sums

    psf = np.where(psf >= WEAK * psf.max(), psf, 0.0).clip(min=0)
    if not psf.any():
        return _streak(psf.shape)
    psf /= psf.sum()
    islands, count = label(psf > 0, np.ones((3,) * psf.ndim))
    shares = np.concatenate([[0.0], sums(psf, islands, range(1, count + 1))])
    psf = psf * (shares >= min(STRAY, shares.max()))[islands]
    return psf / psf.sum()


def centred(psf: np.ndarray) -> np.ndarray:
    """Moved by whole pixels until the centroid is at ``k // 2``."""
    from scipy.ndimage import center_of_mass, shift

    away = [round(k // 2 - c) for k, c in zip(psf.shape, center_of_mass(psf), strict=True)]
    moved = shift(psf, away, order=0)
    return moved / moved.sum()


def wrapped(pictures: np.ndarray, psf: tuple[int, ...]) -> np.ndarray:
    """Pictures continued by ramps from each end to the opposite one, so that they wrap around without an edge."""
    import scipy.fft

    for axis, k in enumerate(psf, start=1):
        n = pictures.shape[axis]
        added = scipy.fft.next_fast_len(n + k - 1, real=True) - n
        ramp = np.linspace(0, 1, added + 2, dtype=np.float32)[1:-1]
        ramp = ramp.reshape(-1, *(1,) * (pictures.ndim - 1 - axis))
        last, first = pictures.take([-1], axis), pictures.take([0], axis)
        pictures = np.concatenate([pictures, last + ramp * (first - last)], axis)
    return pictures


def most_detailed(pictures: np.ndarray) -> tuple[np.ndarray, bool]:
    """The part, of a size that is enough, with the largest gradients; and whether that is the whole."""
    from scipy.ndimage import uniform_filter

    size = tuple(min(n, LARGEST) for n in pictures.shape[1:])
    if size == pictures.shape[1:]:
        return pictures, True
    detail = uniform_filter((_gradient(pictures) ** 2).sum(axis=(0, 1)), size, mode="constant")
    inside = tuple(slice(s // 2, n - (s - s // 2) + 1) for s, n in zip(size, detail.shape, strict=True))
    corner = np.unravel_index(np.argmax(detail[inside]), detail[inside].shape)
    return pictures[(slice(None), *(slice(c, c + s) for c, s in zip(corner, size, strict=True)))], False


def _scales(shape: tuple[int, ...]) -> list[float]:
    """The coarsest scale first."""
    count = max(math.ceil(math.log(SMALLEST / max(shape)) / math.log(SCALE)), 0)
    return [SCALE**i for i in range(count, -1, -1)]


def _at_scale(shape: tuple[int, ...], scale: float) -> tuple[int, ...]:
    """An odd number of entries at coarser scales, so that there is a middle one."""
    return shape if scale == 1 else tuple(math.ceil(scale * k) // 2 * 2 + 1 for k in shape)


def _streak(shape: tuple[int, ...]) -> np.ndarray:
    """Two neighbouring points: a PSF of a single one would be content with the blurred picture."""
    psf = np.zeros(shape)
    middle = tuple(k // 2 for k in shape)
    psf[middle] = 0.5
    psf[(*middle[:-1], min(middle[-1] + 1, shape[-1] - 1))] += 0.5
    return psf


def _resized(pictures: np.ndarray, shape: list[int]) -> np.ndarray:
    from skimage.transform import resize

    if tuple(shape) == pictures.shape[1:]:
        return pictures
    return np.stack([resize(p, shape, order=1, anti_aliasing=True) for p in pictures])


def _resized_psf(psf: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    from skimage.transform import resize

    if psf.shape == shape:
        return psf
    psf = resize(psf, shape, order=3, anti_aliasing=False).clip(min=0)
    return psf / psf.sum()


def _gradient(pictures: np.ndarray) -> np.ndarray:
    """Periodic forward differences along each axis of the pictures, on a new first axis."""
    return np.stack([np.roll(pictures, -1, axis) - pictures for axis in range(1, pictures.ndim)])


def _divergence(slopes: np.ndarray) -> np.ndarray:
    """Adjoint of :func:`_gradient`."""
    return np.asarray(sum(np.roll(s, 1, axis) - s for axis, s in enumerate(slopes, start=1)))


def _laplacian(shape: tuple[int, ...]) -> np.ndarray:
    """Eigenvalues of divergence after gradient, over the half of the frequencies that a real transform has."""
    squares = [2 - 2 * np.cos(2 * np.pi * np.arange(n, dtype=np.float32) / n) for n in shape]
    squares[-1] = squares[-1][: shape[-1] // 2 + 1]
    return np.asarray(sum(np.meshgrid(*squares, indexing="ij", sparse=True)))


def _spectrum(psf: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Transform of a PSF on a grid of ``shape``."""
    grid = np.zeros(shape, np.float32)
    grid[places(psf.shape, shape)] = psf
    return np.asarray(arrays.rfftn(grid, tuple(range(len(shape)))))
