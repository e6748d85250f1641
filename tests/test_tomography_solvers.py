"""Algebraic reconstruction, expectation maximisation, ordered subsets and stochastic steps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize

import solvers
from priors import Box, NonNegative, Tikhonov, TotalVariation, Zero
from recon.operators import Blur, ConeBeam, FanBeam, Mask, ParallelBeam, from_matrix
from solvers import (
    MLEM,
    OSEM,
    PDHG,
    SART,
    SIRT,
    LeastSquares,
    OrderedSubsets,
    PoissonLikelihood,
    StochasticPDHG,
    solve,
    unroll,
)
from solvers._subsets import count_at, parts_of, usual_count
from solvers.errors import ArgumentError

RNG = np.random.default_rng(0)
SHAPE = (6, 6)
SCAN = ParallelBeam(SHAPE, 24)
SCANS = [
    SCAN,
    FanBeam((6, 6), 10, source_distance=20.0, detector_distance=5.0),
    ConeBeam((3, 5, 5), 8, source_distance=20.0, detector_distance=5.0),
]
PICTURE = np.pad(RNG.random((4, 4)), 1)
Y = SCAN(PICTURE) + 0.05 * RNG.standard_normal(SCAN.out_shape)
COUNTS = RNG.poisson(SCAN(20 * PICTURE)).astype(float)


# Well conditioned, so that slow methods come to their limit.
MATRIX = np.vstack([np.eye(12)] * 3) + 0.1 * RNG.random((36, 12))


@pytest.mark.parametrize("solver", [SIRT, SART])
def test_algebraic_reconstruction_tends_to_the_weighted_least_squares(solver):
    y = MATRIX @ RNG.standard_normal(12) + 0.3 * RNG.standard_normal(36)
    weights = 1 / np.sqrt(MATRIX.sum(1))
    expected = scipy.optimize.lsq_linear(weights[:, None] * MATRIX, weights * y, (0, np.inf), tol=1e-14).x
    found = unroll(solver(LeastSquares(from_matrix(MATRIX), y), NonNegative(), 0.0), np.zeros(12), 150)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("solver", [MLEM, OSEM])
def test_expectation_maximisation_tends_to_the_most_likely_image(solver):
    y = RNG.poisson(MATRIX @ (20 * RNG.random(12))).astype(float)
    x = unroll(solver(PoissonLikelihood(from_matrix(MATRIX), y, 0.5), Zero(), 0.0), np.ones(12), 400)
    gradient = MATRIX.T @ (1 - y / (MATRIX @ x + 0.5))
    active = x > 1e-3
    assert active.sum() > 8 and (gradient[~active] > 0).all()
    np.testing.assert_allclose(gradient[active], 0, atol=1e-6)


def test_each_pass_of_mlem_is_likelier_and_keeps_the_counts():
    data = PoissonLikelihood(SCAN, COUNTS)
    algorithm = MLEM(data, Zero(), 0.0)
    state, values = algorithm.init(np.zeros(SHAPE)), []
    for k in range(20):
        state = algorithm.step(state, k)
        values.append(data.value(state.x))
        seen = COUNTS[SCAN(np.ones(SHAPE)) > 0].sum()
        assert SCAN(state.x).sum() == pytest.approx(seen, rel=1e-10)
    assert (np.diff(values) < 0).all()


def test_of_a_blur_it_is_the_deconvolution_of_richardson_and_lucy():
    stars, psf = np.zeros((24, 24)), np.outer([1.0, 3, 2], [1.0, 2, 3, 1])
    stars[RNG.integers(24, size=12), RNG.integers(24, size=12)] = 100.0
    psf /= psf.sum()
    counts = RNG.poisson(scipy.ndimage.convolve(stars, psf, mode="wrap") + 0.1).astype(float)
    expected = np.ones((24, 24))
    for _ in range(30):
        ratio = counts / (scipy.ndimage.convolve(expected, psf, mode="wrap") + 0.1)
        expected *= scipy.ndimage.correlate(ratio, psf, mode="wrap")  # both read the PSF about the entry k // 2
    for method in ("fft", "direct"):
        data = PoissonLikelihood(Blur(psf, (24, 24), method=method), counts, 0.1)
        np.testing.assert_allclose(unroll(MLEM(data, Zero(), 0.0), np.ones((24, 24)), 30), expected, atol=1e-9)


@pytest.mark.parametrize("solver", [MLEM, OSEM])
def test_what_transforms_round_below_zero_does_not_reach_the_image(solver):
    psf, dots = np.ones((5, 5)) / 25, np.zeros((16, 16), np.float32)
    dots[3, 4] = dots[11, 9] = 1e4
    for boundary in ("periodic", "reflecting", "unknown"):
        found = {}
        for method, dtype in (("fft", np.float32), ("direct", np.float64)):
            operator = 2 * Mask(np.indices((16, 16)).sum(0) % 3 > 0) @ Blur(psf, (16, 16), boundary, method)
            picture = np.pad(dots.astype(dtype), [(0, n - 16) for n in operator.in_shape])
            data = PoissonLikelihood(operator, np.maximum(operator(picture), 0))
            found[method] = unroll(solver(data, Zero(), 0.0), np.ones_like(picture), 50)
        assert found["fft"].min() >= 0
        np.testing.assert_allclose(found["fft"], found["direct"], atol=1e-3 * found["direct"].max())


def test_ordered_subsets_do_in_one_pass_what_takes_the_whole_several():
    scan, picture = ParallelBeam((32, 32), 96), np.pad(RNG.random((16, 16)), 8)
    start, few, many = np.zeros((32, 32)), 2, 10
    for whole, subsets, data in (
        (SIRT, SART, LeastSquares(scan, scan(picture))),
        (MLEM, OSEM, PoissonLikelihood(scan, scan(picture))),
    ):
        quick = unroll(subsets(data, Zero(), 0.0), start, few)
        slow = unroll(whole(data, Zero(), 0.0), start, many)
        assert np.linalg.norm(quick - picture) < np.linalg.norm(slow - picture)


@pytest.mark.parametrize(
    "scan",
    [*SCANS, SCAN @ Mask(PICTURE > 0)],
)
def test_parts_are_the_rows_of_the_whole(scan):
    x = RNG.random(scan.in_shape)
    y = RNG.random((2, *scan.out_shape))
    parts = parts_of(LeastSquares(scan, y, weights=y[0]), 3)
    assert sum(part.operator.out_shape[0] for part in parts) == scan.out_shape[0]
    rows = [np.arange(first, scan.out_shape[0], 3) for first in range(3)]
    seen = {part.y.tobytes(): part for part in parts}
    for indices in rows:
        part = seen[np.ascontiguousarray(y[:, indices]).tobytes()]
        np.testing.assert_allclose(part.operator(x), scan(x)[indices], atol=1e-12)
        np.testing.assert_array_equal(part.weights, np.broadcast_to(y[0], y.shape)[:, indices])
        r = RNG.random(part.operator.out_shape)
        assert np.vdot(part.operator(x), r) == pytest.approx(np.vdot(x, part.operator.adjoint(r)), rel=1e-10)


def test_scans_of_some_views_compute_those_alone():
    for scan in SCANS:
        part = scan.rows(np.array([1, 4]))
        assert type(part) is type(scan) and part.out_shape == (2, *scan.out_shape[1:])


def test_subsets_are_merged_down_to_the_whole():
    assert usual_count(ParallelBeam((8, 8), 180)) == 16 and usual_count(ParallelBeam((8, 8), 5)) == 1
    counts = [count_at(k, 8) for k in range(20)]
    assert counts[0] == 8 and counts[-1] == 1 and (np.diff(counts) <= 0).all()


def test_ordered_subsets_with_momentum_reach_the_minimiser():
    data, prior = LeastSquares(SCAN, Y), Tikhonov() + Box(0.0, 0.8)
    expected = solve(solvers.LBFGS(data, prior, 0.5), np.zeros(SHAPE), tol=1e-12, max_iter=2000).image
    np.testing.assert_allclose(unroll(OrderedSubsets(data, prior, 0.5), np.zeros(SHAPE), 150), expected, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_stochastic_steps_reach_the_minimiser_whatever_the_seed(seed):
    for data in (LeastSquares(SCAN, Y), PoissonLikelihood(SCAN, COUNTS, 0.5)):
        prior = TotalVariation(2) + NonNegative()
        expected = solve(PDHG(data, prior, 0.2), np.ones(SHAPE), tol=1e-9, max_iter=3000).image
        algorithm = StochasticPDHG(data, prior, 0.2, rng=seed)
        found = unroll(algorithm, np.ones(SHAPE), 300)
        np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())
        np.testing.assert_array_equal(found[0], unroll(algorithm, np.ones(SHAPE), 300)[0])


def test_single_precision_batches_and_warm_starts():
    y = np.stack([Y, 2 * Y]).astype(np.float32)
    for solver in (SIRT, SART, OrderedSubsets, StochasticPDHG):
        algorithm = solver(LeastSquares(SCAN, y), NonNegative(), 0.1)
        state = algorithm.step(algorithm.init(np.zeros((2, *SHAPE), np.float32)), 0)
        assert state.x.dtype == np.float32 and state.x.shape == (2, *SHAPE)
        single = solver(LeastSquares(SCAN, y[1]), NonNegative(), 0.2)
        assert single.step(single.restart(state, 0.1, 1), 0).x.shape == SHAPE
    counts = np.stack([COUNTS, 2 * COUNTS]).astype(np.float32)
    for solver in (MLEM, OSEM):
        x = unroll(solver(PoissonLikelihood(SCAN, counts), Zero(), 0.0), np.zeros((2, *SHAPE), np.float32), 5)
        assert x.dtype == np.float32
        np.testing.assert_allclose(x[1], 2 * x[0], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("solver", [SIRT, SART, MLEM, OSEM])
def test_gradients_pass_through_the_passes(solver):
    torch = pytest.importorskip("torch")

    def last(measured):
        data = (PoissonLikelihood if solver in (MLEM, OSEM) else LeastSquares)(SCAN, measured)
        return unroll(solver(data, Zero(), 0.0), measured.new_ones(SHAPE), 3).square().sum()

    counts = torch.from_numpy(COUNTS + 1).requires_grad_()
    (gradient,) = torch.autograd.grad(last(counts), counts)
    direction, h = torch.from_numpy(RNG.standard_normal(COUNTS.shape)), 1e-5
    numeric = (last(counts.detach() + h * direction) - last(counts.detach() - h * direction)) / (2 * h)
    assert float((gradient * direction).sum()) == pytest.approx(float(numeric), rel=1e-4)


def test_what_they_cannot_do_is_refused_with_the_remedy():
    signed = from_matrix(RNG.standard_normal((4, 3)))
    for solver in (SIRT, SART, MLEM, OSEM):
        data = PoissonLikelihood(signed, np.ones(4)) if solver in (MLEM, OSEM) else LeastSquares(signed, np.ones(4))
        with pytest.raises(ArgumentError, match=r"not known to be non-negative.*CGLS"):
            solver(data, Zero(), 0.0)
        for operator in (Blur(np.array([[-1.0, 3.0, -1.0]]), (4, 4)), -1.0 * Blur(np.ones((2, 2)), (4, 4))):
            with pytest.raises(ArgumentError, match="not known to be non-negative"):
                solver(type(data)(operator, np.ones((4, 4))), Zero(), 0.0)
    with pytest.raises(ArgumentError, match=r"takes none but bounds.*StochasticPDHG"):
        SIRT(LeastSquares(SCAN, Y), TotalVariation(2), 1.0)
    with pytest.raises(ArgumentError, match=r"takes photon counts.*SIRT"):
        MLEM(LeastSquares(SCAN, Y), Zero(), 1.0)
    with pytest.raises(ArgumentError, match=r"curvature has no bound"):
        OrderedSubsets(PoissonLikelihood(SCAN, COUNTS), Zero(), 1.0)
