"""Nuclear norm and locally low rank of image series."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch

from priors import LocallyLowRank, NuclearNorm
from recon import check_prior
from recon.operators import Identity
from solvers.admm import ADMM
from solvers.data_terms import LeastSquares
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.loop import solve


def random(shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.issubdtype(dtype, np.complexfloating) else x).astype(dtype)


def shrunk(matrix, step):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return (u * np.maximum(s - step, 0)) @ v


PRIORS = [
    (NuclearNorm(), (4, 5, 6)), (NuclearNorm(-2), (9, 4)), (0.5 * LocallyLowRank(3), (4, 7, 6)),
    (LocallyLowRank((2, 3), offset=(1, 2)), (5, 5, 7)), (LocallyLowRank((2, 2, 2), axis=-5), (3, 2, 4, 5, 3)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def one_torch_thread():
    """Small tensors gain nothing from more, and wait long for them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_examples_in_docstrings():
    assert doctest.testmod(importlib.import_module("priors.low_rank")).failed == 0


@pytest.mark.parametrize(("prior", "shape"), PRIORS, ids=lambda p: repr(p)[:60])
def test_contract(prior, shape):
    assert check_prior(prior, shape, tolerance=1e-9).ok


@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.float32, np.complex64])
@pytest.mark.parametrize("shape", [(2, 4, 5, 6), (9, 2, 3)])
def test_nuclear_norm_shrinks_singular_values(shape, dtype):
    v = random(shape, dtype)
    v.flags.writeable = False
    matrices = v.reshape(-1, shape[-3], shape[-2] * shape[-1])
    tight = np.finfo(dtype).eps > 1e-10
    wanted = np.stack([shrunk(m, 0.8) for m in matrices]).reshape(shape)
    for given in (v, torch.tensor(v)):
        np.testing.assert_allclose(np.asarray(NuclearNorm().prox(given, 0.8)), wanted, atol=1e-5 if tight else 1e-11)
    total = sum(np.linalg.svd(m, compute_uv=False).sum() for m in matrices)
    assert NuclearNorm().value(v) == pytest.approx(total, rel=1e-5 if tight else 1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("offset", [(0, 0), (1, 3)])
def test_blocks_shrink_on_their_own(offset, dtype):
    v, block = random((5, 9, 11), dtype), (3, 4)
    prior, wanted, total = LocallyLowRank(block, offset=offset), np.zeros_like(v), 0.0
    edges = [sorted({0, n, *range(o, n, b)}) for n, o, b in zip((9, 11), offset, block, strict=True)]
    for top, bottom in zip(edges[0], edges[0][1:], strict=False):
        for left, right in zip(edges[1], edges[1][1:], strict=False):
            part = v[:, top:bottom, left:right]
            matrix = part.reshape(5, -1)
            wanted[:, top:bottom, left:right] = shrunk(matrix, 0.7).reshape(part.shape)
            total += np.linalg.svd(matrix, compute_uv=False).sum()
    np.testing.assert_allclose(prior.prox(v, 0.7), wanted, atol=1e-11)
    assert prior.value(v) == pytest.approx(total, rel=1e-12)
    moved = LocallyLowRank(block, axis=-4, offset=offset)
    batch = random((5, 2, 9, 11), dtype)
    one = np.moveaxis(batch, 0, 1)
    np.testing.assert_allclose(moved.prox(batch, 0.7), np.moveaxis(_joined(moved, one), 1, 0), atol=1e-11)


def _joined(prior, v):
    """With channels between frames and pixels, each channel's blocks are matrices of their own."""
    alone = LocallyLowRank(prior.block, offset=prior.offset)
    return alone.prox(v, 0.7)


def test_series_of_few_components_are_found():
    rng = np.random.default_rng(1)
    truth = np.tensordot(rng.standard_normal((12, 2)), rng.standard_normal((2, 16, 16)), 1)
    v = truth + 0.3 * rng.standard_normal(truth.shape)
    x = NuclearNorm().prox(v, 6.0)
    assert np.linalg.matrix_rank(x.reshape(12, -1), tol=1e-6) == 2
    assert np.linalg.norm(x - truth) < 0.7 * np.linalg.norm(v - truth)


def test_averaged_partitions():
    shape = (4, 8, 8)
    prior = LocallyLowRank.averaged(3, 4)
    terms = prior.terms()
    x = random(shape)
    offsets = [term.function.prior.offset for term in terms]
    assert len(terms) == 3 and offsets[0] == (0, 0) and len(set(offsets)) > 1
    assert prior.value(x) == pytest.approx(np.mean([LocallyLowRank(4, offset=o).value(x) for o in offsets]))
    found = solve(ADMM(LeastSquares(Identity(shape), x), prior, 0.5), x, max_iter=500, tol=1e-6)
    objective = [
        0.5 * ((u - x) ** 2).sum() + 0.5 * prior.value(u) for u in (found.image, LocallyLowRank(4).prox(x, 0.5))
    ]
    assert objective[0] < objective[1]


def test_arguments():
    with pytest.raises(ArgumentError, match="axis is -1"):
        NuclearNorm(-1)
    with pytest.raises(DTypeError, match="axis is 'time'"):
        NuclearNorm("time")
    with pytest.raises(ArgumentError, match="axis is -2"):
        LocallyLowRank(4, axis=-2)
    with pytest.raises(ArgumentError, match="block is 0"):
        LocallyLowRank(0)
    with pytest.raises(ArgumentError, match="below the block size"):
        LocallyLowRank(4, offset=4)
    with pytest.raises(ShapeError, match="at least 3 axes"):
        LocallyLowRank(4).prox(np.zeros((5, 5)), 1)
