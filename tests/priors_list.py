"""Every prior with a twin of its definition in CVXPY, written from matrices: no code of the prior itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import pywt

import priors
from recon.operators import from_matrix

cp = pytest.importorskip("cvxpy")

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Case:
    """A prior, the shape of an image, and ``x -> (g(x), constraints)`` of the raveled image."""

    prior: Any
    shape: tuple[int, ...]
    twin: Callable[[Any], tuple[Any, list[Any]]]
    tolerance: float = 1e-5


def differences(shape, periodic=False):
    """Matrices of the forward differences along each axis, zero at the far border unless periodic."""
    found = []
    for axis, n in enumerate(shape):
        one = np.roll(np.eye(n), 1, axis=1) - np.eye(n)
        one[-1] *= periodic
        factors = [one if i == axis else np.eye(m) for i, m in enumerate(shape)]
        found.append(_kron(factors))
    return found


def laplacian(shape):
    """That of a periodic image, its sign such that no eigenvalue is negative."""
    return sum(D.T @ D for D in differences(shape, periodic=True))


def _kron(factors):
    out = np.ones((1, 1))
    for factor in factors:
        out = np.kron(out, factor)
    return out


def lengths(parts):
    """Euclidean length over the parts, entry by entry."""
    return cp.norm(cp.vstack(parts), 2, axis=0)


def total_variation(shape, isotropic=True):
    def twin(x):
        parts = [D @ x for D in differences(shape)]
        return (cp.sum(lengths(parts)) if isotropic else sum(cp.norm1(part) for part in parts)), []

    return twin


def huber(shape, delta):
    return lambda x: (cp.sum(cp.huber(lengths([D @ x for D in differences(shape)]), delta)) / (2 * delta), [])


def generalised(shape, ratio):
    """Second-order total generalised variation: slopes w live where there is a next pixel."""

    def twin(x):
        index, ndim = np.arange(np.prod(shape)).reshape(shape), len(shape)
        coordinates = np.indices(shape)
        ahead = [(coordinates[d] < n - 1).ravel() for d, n in enumerate(shape)]
        D, n = differences(shape), index.size
        w = [cp.Variable(n) for _ in shape]
        slopes = [D[d] @ x - cp.multiply(ahead[d].astype(float), w[d]) for d in range(ndim)]
        bends = []
        for d in range(ndim):
            inner = (ahead[d] & (coordinates[d] > 0).ravel())[:, None]
            back = np.eye(n) - np.eye(n)[np.roll(index, 1, d).ravel()]
            bends.append((inner * back) @ w[d])
        for d, e in combinations(range(ndim), 2):
            both = (ahead[d] & ahead[e])[:, None] / np.sqrt(2)
            bends.append((both * D[e]) @ w[d] + (both * D[d]) @ w[e])
        return cp.sum(lengths(slopes)) + ratio * cp.sum(lengths(bends)), []

    return twin


def vectorial(shape, channels):
    """Sum over the pixels of the nuclear norm of the Jacobian of the channels."""

    def twin(x):
        D, n = differences(shape), int(np.prod(shape))
        jacobians = [[d @ x[c * n : (c + 1) * n] for d in D] for c in range(channels)]
        at = [cp.bmat([[part[i] for part in row] for row in jacobians]) for i in range(n)]
        return sum(cp.normNuc(matrix) for matrix in at), []

    return twin


def directional(guide, gamma, eta):
    def twin(x):
        D = differences(guide.shape)
        slopes = np.stack([d @ guide.ravel() for d in D])
        xi = slopes / np.sqrt((slopes**2).sum(0) + eta**2)
        along = sum(cp.multiply(xi[d], D[d] @ x) for d in range(len(D)))
        return cp.sum(lengths([D[d] @ x - gamma * cp.multiply(xi[d], along) for d in range(len(D))])), []

    return twin


def haar(shape, shifts):
    """Moduli of the Haar details of one scale, on the mean over shifts of the image."""
    size, rows = int(np.prod(shape)), []
    for shift in shifts:
        for unit in np.eye(size).reshape(size, *shape):
            _, details = pywt.dwt2(np.roll(unit, shift, (0, 1)), "haar", mode="periodization")
            rows.append(np.concatenate([d.ravel() for d in details]))
    matrix = np.concatenate(np.split(np.array(rows).T, len(shifts), axis=1)) / len(shifts)
    return lambda x: (cp.norm1(matrix @ x), [])


def quadratic(matrix):
    return lambda x: (0.5 * cp.sum_squares(matrix @ x), [])


def power(matrix, exponent):
    """Of a positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.maximum(values, 0) ** exponent @ vectors.T


def casorati(shape, blocks=((slice(None),),)):
    """Nuclear norm of frames by pixels, over blocks of the pixels."""

    def twin(x):
        index = np.arange(np.prod(shape)).reshape(shape)
        parts = [index[(slice(None), *block)].reshape(shape[0], -1) for block in blocks]
        return sum(cp.normNuc(cp.reshape(x[part.ravel()], part.shape, order="C")) for part in parts), []

    return twin


def infimal(x):
    rest = cp.Variable(9)
    ((D,), L) = differences((9,)), laplacian((9,))
    return cp.norm1(D @ (x - rest)) + 2.5 * cp.sum_squares(L @ rest), []


def within(*limits):
    """A constraint: functions of the image that give one each."""
    return lambda x: (0.0, [limit(x) for limit in limits])


SMALL = (5, 4)
GUIDE, MASK, KNOWN = RNG.random(SMALL), RNG.random(SMALL) > 0.5, RNG.random(SMALL)
MATRIX = 0.3 * RNG.standard_normal((12, 6))
SMOOTHER = power(np.eye(20) + laplacian(SMALL), -1.0)
BLOCKS = list(product((slice(0, 1), slice(1, 3)), (slice(0, 2), slice(2, 3))))
TIGHT = {"tol": 1e-10, "iterations": 50000}


def smoothed(v, sigma):
    """A linear, symmetric denoiser."""
    return (v.reshape(-1, 20) @ SMOOTHER).reshape(v.shape)


def halved(v, sigma):
    """The proximal map of ``1/2 |x|^2``."""
    return v / (1 + sigma**2)


PRIORS: dict[str, Case] = {
    "box": Case(priors.Box(-0.5, 0.4), SMALL, within(lambda x: x >= -0.5, lambda x: x <= 0.4)),
    "directional": Case(priors.DirectionalTV(GUIDE, 0.9, 0.2, **TIGHT), SMALL, directional(GUIDE, 0.9, 0.2)),
    "entropy": Case(priors.Entropy(0.7), SMALL, lambda x: (cp.sum(cp.kl_div(x, 0.7)), [])),
    "huber": Case(priors.HuberTV(0.3, **TIGHT), SMALL, huber(SMALL, 0.3)),
    "infimal sum": Case(
        priors.InfimalSum(priors.TotalVariation(1, **TIGHT), 5 * priors.Sobolev(2, 1), tol=1e-10, iterations=20000),
        (9,), infimal, 1e-4,
    ),
    "known region": Case(
        priors.KnownRegion(MASK, KNOWN), SMALL, within(lambda x: x[np.flatnonzero(MASK)] == KNOWN[MASK])
    ),
    "laplacian": Case(priors.Laplacian(), SMALL, quadratic(laplacian(SMALL))),
    "locally low rank": Case(priors.LocallyLowRank(2, offset=(1, 0)), (3, 3, 3), casorati((3, 3, 3), BLOCKS)),
    "l1": Case(priors.Sparsity(), SMALL, lambda x: (cp.norm1(x), [])),
    "nonnegative": Case(priors.NonNegative(), SMALL, within(lambda x: x >= 0)),
    "norm ball": Case(priors.NormBall(1.0), SMALL, within(lambda x: cp.norm(x) <= 1)),
    "norm ball, l1": Case(priors.NormBall(1.0, "l1"), SMALL, within(lambda x: cp.norm1(x) <= 1)),
    "norm ball, maximum": Case(priors.NormBall(0.4, "max", center=KNOWN), SMALL,
                               within(lambda x: cp.norm_inf(x - KNOWN.ravel()) <= 0.4)),
    "nuclear norm": Case(priors.NuclearNorm(), (4, 2, 3), casorati((4, 6))),
    "plug and play": Case(priors.PlugAndPlay(halved), SMALL, quadratic(np.eye(20))),
    "red": Case(priors.RED(smoothed, 0.1), SMALL, quadratic(power(np.eye(20) - SMOOTHER, 0.5)), 1e-3),
    "simplex": Case(priors.Simplex(-1, 2.0), SMALL,
                    within(lambda x: x >= 0, lambda x: cp.sum(cp.reshape(x, SMALL, order="C"), axis=1) == 2)),
    "sobolev": Case(priors.Sobolev(1.5), SMALL, quadratic(power(laplacian(SMALL), 0.75))),
    "sparsity of groups": Case(
        priors.Sparsity(from_matrix(MATRIX, out_shape=(6, 2)), groups=-1, weights=np.arange(6.0)[:, None], **TIGHT),
        (6,), lambda x: (np.arange(6.0) @ lengths([(MATRIX @ x)[::2], (MATRIX @ x)[1::2]]), []),
    ),
    "tgv": Case(priors.TGV(1.5, tol=1e-7, iterations=20000), SMALL, generalised(SMALL, 1.5), 1e-3),
    "tikhonov": Case(priors.Tikhonov(), SMALL, quadratic(np.eye(20))),
    "tikhonov of differences": Case(priors.Tikhonov(priors.Gradient(periodic=True)), SMALL,
                                    quadratic(np.concatenate(differences(SMALL, periodic=True)))),
    "total variation": Case(priors.TotalVariation(**TIGHT), SMALL, total_variation(SMALL)),
    "total variation, anisotropic": Case(priors.TotalVariation(isotropic=False, **TIGHT), SMALL,
                                         total_variation(SMALL, isotropic=False)),
    "undecimated wavelet": Case(priors.UndecimatedWavelet("haar", 1, **TIGHT), (4, 4),
                                haar((4, 4), list(product((0, 1), (0, 1))))),
    "vectorial": Case(priors.VectorialTV(**TIGHT), (2, 3, 3), vectorial((3, 3), 2)),
    "wavelet": Case(priors.Wavelet("haar", 1), (4, 4), haar((4, 4), [(0, 0)])),
    "zero": Case(priors.Zero(), SMALL, within()),
}  # fmt: skip
