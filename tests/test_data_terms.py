"""Data terms: gradients against differences, proximal maps against their definition, robustness."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.optimize

import solvers
from priors import NonNegative, Tikhonov, TotalVariation, Zero
from recon.operators import Identity, ParallelBeam, from_matrix
from solvers import (
    ADMM,
    FISTA,
    LBFGS,
    PDHG,
    AbsoluteDeviation,
    Huber,
    LeastSquares,
    NoiseBall,
    PoissonLikelihood,
    StudentT,
    TransmissionLikelihood,
    solve,
    unroll,
)
from solvers.errors import ArgumentError

RNG = np.random.default_rng(0)
N = 40
Y = RNG.poisson(20, N).astype(float)
A = Identity((N,))
TERMS = {
    "least squares": LeastSquares(A, Y),
    "weighted": LeastSquares(A, Y, RNG.random(N)),
    "poisson": PoissonLikelihood(A, Y, 0.5),
    "huber": Huber(A, Y, 1.5),
    "student": StudentT(A, Y, 2.0, 3.0),
    "transmission": TransmissionLikelihood(A, Y, 40 + 20 * RNG.random(N)),
    "transmission, background": TransmissionLikelihood(A, Y, 60.0, 3.0),
    "absolute": AbsoluteDeviation(A, Y),
    "ball": NoiseBall(A, Y, 5.0),
}
SMOOTH = [name for name, term in TERMS.items() if term.smooth]
PROXIMABLE = [name for name in TERMS if name != "transmission, background"]


def near(name, spread=4.0):
    """Points where the term is defined, some far from the data."""
    if "transmission" in name:
        return RNG.uniform(-0.5, 4, N)
    return np.abs(Y + spread * RNG.standard_normal(N)) + 0.1


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_is_the_derivative(name):
    data, w, d = TERMS[name], near(name), RNG.standard_normal(N)
    h = 1e-6
    numeric = (data.loss(w + h * d) - data.loss(w - h * d)) / (2 * h)
    assert numeric == pytest.approx(float(d @ data.loss_gradient(w)), rel=1e-6)


@pytest.mark.parametrize("step", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("name", [n for n in PROXIMABLE if n != "ball"])
def test_prox_minimises_its_definition(name, step):
    data, v = TERMS[name], near(name, 8.0)
    w = data.loss_prox(v, step)
    best = step * data.loss(w) + 0.5 * np.sum((w - v) ** 2)
    for size in (1e-4, 1e-2, 1.0, 5.0):
        for _ in range(20):
            other = w + size * RNG.standard_normal(N)
            assert best <= step * data.loss(other) + 0.5 * np.sum((other - v) ** 2) + 1e-8
    if data.smooth:
        np.testing.assert_allclose(step * data.loss_gradient(w) + w - v, 0, atol=1e-8 * (1 + np.abs(v).max()))


@pytest.mark.parametrize("name", [n for n in PROXIMABLE if n != "ball"])
def test_prox_takes_a_step_for_each_sample(name):
    data, v, steps = TERMS[name], near(name), RNG.uniform(0.1, 2, N)
    whole = data.loss_prox(v, steps)
    assert whole[7] == pytest.approx(data.loss_prox(v, float(steps[7]))[7], rel=1e-10)


@pytest.mark.parametrize("name", [n for n in SMOOTH if TERMS[n].curvature() is not None])
def test_curvature_bounds_the_change_of_the_gradient(name):
    data = TERMS[name]
    for _ in range(50):
        a, b = near(name), near(name)
        change = np.linalg.norm(data.loss_gradient(a) - data.loss_gradient(b))
        assert change <= data.curvature() * np.linalg.norm(a - b) * (1 + 1e-10)


@pytest.mark.parametrize("name", TERMS)
def test_precision_torch_and_pickles(name):
    torch = pytest.importorskip("torch")
    data, w = TERMS[name], near(name)
    copy = pickle.loads(pickle.dumps(data))
    assert float(copy.loss(w)) == float(data.loss(w))
    fields = {k: v for k, v in vars(data).items() if isinstance(v, np.ndarray)}
    single = type(data)(**{**vars(data), **{k: v.astype(np.float32) for k, v in fields.items()}})
    tensors = type(data)(**{**vars(data), **{k: torch.from_numpy(v) for k, v in fields.items()}})
    assert single.loss_gradient(w.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(tensors.loss_gradient(torch.from_numpy(w)), data.loss_gradient(w), atol=1e-10)
    if name in PROXIMABLE:
        assert single.loss_prox(w.astype(np.float32), 0.3).dtype == np.float32
        np.testing.assert_allclose(tensors.loss_prox(torch.from_numpy(w), 0.3), data.loss_prox(w, 0.3), atol=1e-9)


@pytest.mark.parametrize("term", [Huber, AbsoluteDeviation, StudentT])
def test_complex_residuals_keep_their_phase(term):
    y = RNG.standard_normal(N) + 1j * RNG.standard_normal(N)
    v = y + 3 * (RNG.standard_normal(N) + 1j * RNG.standard_normal(N))
    data = term(A, y)
    for vector in (data.loss_gradient(v), data.loss_prox(v, 0.4) - y):
        ratio = vector / (v - y)
        np.testing.assert_allclose(ratio.imag, 0, atol=1e-12)
        assert (ratio.real >= 0).all()


@pytest.mark.parametrize("term", [Huber, AbsoluteDeviation, StudentT])
def test_outliers_hardly_count(term):
    matrix = RNG.standard_normal((60, 10))
    truth = RNG.standard_normal(10)
    y = matrix @ truth + 0.05 * RNG.standard_normal(60)
    y[::10] += 30.0
    operator = from_matrix(matrix)
    data = {
        Huber: Huber(operator, y, 0.07),
        AbsoluteDeviation: AbsoluteDeviation(operator, y),
        StudentT: StudentT(operator, y, 0.05),
    }[term]
    prior = Tikhonov()
    plain = solve(FISTA(LeastSquares(operator, y), prior, 1e-6), np.zeros(10)).image
    for solver in (ADMM, PDHG) if term is AbsoluteDeviation else (LBFGS,) if term is StudentT else (ADMM, PDHG, LBFGS):
        found = solve(solver(data, prior, 1e-6), np.zeros(10), max_iter=3000, tol=1e-7).image
        assert np.linalg.norm(found - truth) < 0.1 < 0.1 * np.linalg.norm(plain - truth)


def test_absolute_deviation_is_a_linear_program():
    matrix, y = RNG.standard_normal((30, 5)), RNG.standard_normal(30)
    cost = np.r_[np.zeros(5), np.ones(30)]
    bounds = [(None, None)] * 5 + [(0, None)] * 30
    upper = np.block([[matrix, -np.eye(30)], [-matrix, -np.eye(30)]])
    expected = scipy.optimize.linprog(cost, upper, np.r_[y, -y], bounds=bounds)
    found = solve(PDHG(AbsoluteDeviation(from_matrix(matrix), y), Zero(), 1.0), np.zeros(5), max_iter=5000, tol=1e-9)
    np.testing.assert_allclose(found.image, expected.x[:5], atol=1e-5)


def test_the_noise_ball_gives_the_smallest_image_that_explains_the_data():
    matrix, y = RNG.standard_normal((8, 20)), RNG.standard_normal(8)
    data = NoiseBall(from_matrix(matrix), y, 0.5)
    found = solve(PDHG(data, Tikhonov(), 1.0), np.zeros(20), max_iter=5000, tol=1e-9).image
    assert np.linalg.norm(matrix @ found - y) == pytest.approx(0.5, rel=1e-5)

    def tikhonov(damping):
        return matrix.T @ np.linalg.solve(matrix @ matrix.T + damping * np.eye(8), y)

    damping = scipy.optimize.brentq(lambda d: np.linalg.norm(matrix @ tikhonov(d) - y) - 0.5, 1e-6, 1e6)
    np.testing.assert_allclose(found, tikhonov(damping), atol=1e-5)


def test_the_ball_is_projected_onto_as_a_whole():
    scan = ParallelBeam((8, 8), 24)
    picture = np.pad(RNG.random((4, 4)), 2)
    noise = 0.1 * RNG.standard_normal(scan.out_shape)
    data = NoiseBall(scan, scan(picture) + noise, float(np.linalg.norm(noise)))
    found = {s: unroll(s(data, TotalVariation(2), 1.0), np.zeros((8, 8)), 1500) for s in (PDHG, solvers.LinearisedADMM)}
    for x in found.values():
        assert np.linalg.norm(scan(x) - data.y) <= data.radius * (1 + 1e-4)
    np.testing.assert_allclose(*found.values(), atol=1e-3)
    with pytest.raises(ArgumentError, match="cannot be taken in subsets"):
        solvers.StochasticPDHG(data, TotalVariation(2), 1.0).init(picture)


def test_each_item_of_a_batch_has_its_own_ball():
    data = NoiseBall(A, np.stack([Y, 2 * Y]), 1.0)
    moved = data.loss_prox(np.stack([Y + 3, 2 * Y]), 1.0)
    assert np.linalg.norm(moved[0] - Y) == pytest.approx(1.0)
    np.testing.assert_array_equal(moved[1], 2 * Y)


def test_transmission_at_low_dose_beats_the_logarithm():
    rng = np.random.default_rng(3)
    scan = ParallelBeam((24, 24), 30)
    picture = np.zeros((24, 24))
    picture[6:18, 5:17] = 0.3
    blank = 60.0
    counts = rng.poisson(blank * np.exp(-scan(picture))).astype(float)
    data = TransmissionLikelihood(scan, counts, blank)
    prior = TotalVariation(2) + NonNegative()
    start = np.full((24, 24), 0.1)
    likely = {s: unroll(s(data, prior, 3.0), start, 250) for s in (PDHG, FISTA)}
    np.testing.assert_allclose(likely[PDHG], likely[FISTA], atol=5e-3)
    logarithm = LeastSquares(scan, -np.log(np.maximum(counts, 0.5) / blank))
    errors = [
        min(np.linalg.norm(unroll(PDHG(term, prior, s), start, 150) - picture) for s in strengths)
        for term, strengths in ((data, (1.0, 3.0)), (logarithm, (0.1, 0.3, 1.0)))
    ]
    assert errors[0] < 0.9 * errors[1]


def test_what_has_no_gradient_is_refused_where_one_is_needed():
    data = AbsoluteDeviation(A, Y)
    for solver in ("FISTA", "GradientDescent", "LBFGS", "OGM"):
        with pytest.raises(ArgumentError, match=r"has no gradient.*ADMM, PDHG"):
            getattr(solvers, solver)(data, Tikhonov(), 1.0)
    with pytest.raises(ArgumentError, match=r"background is 3.*LBFGS"):
        TERMS["transmission, background"].loss_prox(Y, 1.0)
    with pytest.raises(ArgumentError, match="delta is 0"):
        Huber(A, Y, 0.0)
    with pytest.raises(ArgumentError, match="blank holds"):
        TransmissionLikelihood(A, Y, 0 * Y)
