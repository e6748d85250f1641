"""Every solver by its name: one image where the problem allows it, a remedy where it does not."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import recon
import solvers
from priors import Zero
from recon import operators as ops
from recon._solver_names import SOLVERS
from recon.info import ReconstructionWarning
from recon.operators import from_matrix
from solvers.errors import ArgumentError, OptionError

RNG = np.random.default_rng(0)
SHAPE = (16, 16)
SCAN = ops.ParallelBeam(SHAPE, 36)
PICTURE = np.pad(RNG.random((3, 3)).repeat(3, 0).repeat(3, 1), ((3, 4), (4, 3)))
Y = SCAN(PICTURE) + 0.1 * RNG.standard_normal(SCAN.out_shape)
COUNTS = RNG.poisson(SCAN(30 * PICTURE)).astype(float)
ANY_PRIOR = ["admm", "condat-vu", "douglas-rachford", "fista", "linearised-admm", "pd3o", "pdhg", "pogm",
             "stochastic-pdhg"]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SMOOTH = ["cg", "cgls", "gradient", "lbfgs", "lsmr", "lsqr", "ogm", "ordered-subsets"]
STOPPED = ["cgls", "lsmr", "lsqr", "sart", "sirt"]


def solved(name, y=Y, **options):
    return recon.reconstruct(y, SCAN, solver=name, return_info=True, **{"noise": 0.1, **options})


@pytest.mark.parametrize("name", ANY_PRIOR)
def test_total_variation(name):
    expected = solved("admm", prior="tv", strength=0.2, tol=1e-5, max_iter=1000)[0]
    x, info = solved(name, prior="tv", strength=0.2, tol=1e-4, max_iter=600)
    assert info.plan.decisions["solver"].choice == name
    assert np.linalg.norm(x - expected) <= 5e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", SMOOTH)
def test_tikhonov(name):
    expected = solved("cg", prior="tikhonov", strength=1.0, tol=1e-6)[0]
    x, _ = solved(name, prior="tikhonov", strength=1.0, tol=1e-5)
    assert np.linalg.norm(x - expected) <= 1e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", STOPPED)
def test_without_a_prior_the_noise_stops(name):
    x, info = solved(name, prior="none", tol=1e-9)
    assert info.status.ok and info.residual == pytest.approx(1.0, abs=0.15)
    fitted = np.linalg.norm(solved("admm", prior="none", tol=1e-5, max_iter=1000)[0] - PICTURE)
    assert np.linalg.norm(x - PICTURE) < fitted
    assert info.iterations < 100


@pytest.mark.parametrize("name", ["mlem", "osem"])
def test_photon_counts(name):
    x, info = solved(name, COUNTS, noise="poisson", prior="none")
    assert x.min() >= 0 and info.status.ok
    assert np.linalg.norm(x - 30 * PICTURE) < 0.3 * np.linalg.norm(30 * PICTURE)


def test_expectation_maximisation_stops_near_its_best_image():
    data = solvers.PoissonLikelihood(SCAN, COUNTS)
    plain = solvers.MLEM(data, Zero(), 0.0, uniform=True)
    states = solvers.steps(plain, np.zeros(SHAPE))
    errors = [np.linalg.norm(next(states).x - 30 * PICTURE) for _ in range(200)]
    x, _ = solved("mlem", COUNTS, noise="poisson", prior="none")
    assert np.linalg.norm(x - 30 * PICTURE) < 1.3 * min(errors)


@pytest.mark.parametrize("name", ["gradient", "lbfgs"])
def test_photon_counts_with_a_smooth_prior(name):
    options = {"noise": "poisson", "prior": "tikhonov", "strength": 0.02, "bounds": (0, np.inf)}
    x, _ = solved(name, COUNTS, tol=1e-4, **options)
    expected, _ = solved("pdhg", COUNTS, tol=1e-4, max_iter=1000, **options)
    assert np.linalg.norm(x - expected) <= 1e-2 * np.linalg.norm(expected)


def test_half_quadratic_splitting_is_near():
    x, _ = solved("half-quadratic", prior="tv", strength=0.2)
    assert np.linalg.norm(x - PICTURE) < 0.3 * np.linalg.norm(PICTURE)


@pytest.mark.parametrize("name", ["pdhg", "lsqr", "pogm", "lbfgs"])
def test_the_strength_is_selected_with_any_of_them(name):
    prior = "tikhonov" if name in SMOOTH else "tv"
    x, info = solved(name, prior=prior)
    expected, other = solved("admm" if prior == "tv" else "cg", prior=prior)
    assert 0.2 < info.plan.strength / other.plan.strength < 5
    assert np.linalg.norm(x - PICTURE) < 1.1 * np.linalg.norm(expected - PICTURE)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("mlem", {"prior": "none"}, r"takes photon counts.*noise='poisson'"),
        ("mlem", {"prior": "tv", "noise": "poisson"}, r"takes none but bounds"),
        ("sirt", {"prior": "tv"}, r"takes none but bounds"),
        ("sirt", {"prior": "none", "noise": "poisson"}, r"least squares.*'osem'"),
        ("lsqr", {"prior": "tv"}, r"prior='none' or 'tikhonov'"),
        ("cgls", {"prior": "tikhonov", "bounds": (0, 1)}, r"no bounds"),
        ("lsmr", {"prior": "none", "noise": "poisson"}, r"least squares without weights"),
        ("lbfgs", {"prior": "tv"}, r"has no gradient.*FISTA"),
        ("ogm", {"prior": "tikhonov", "bounds": (0, 1)}, r"no bounds.*POGM"),
        ("pogm", {"noise": "poisson"}, r"curvature has no bound"),
        ("pd3o", {"noise": "poisson"}, r"curvature has no bound"),
        ("douglas-rachford", {"noise": "poisson"}, r"least squares without weights"),
        ("cg", {"prior": "tv"}, r"quadratic priors, such as Tikhonov"),
        ("dpir", {"prior": "none"}, r"without one\. Name a prior"),
        ("nonlinear-dpir", {"prior": "none"}, r"without one\. Name a prior"),
        ("irgn", {"prior": "none", "bounds": (0, 1)}, r"without one\. Name a prior"),
    ],
)
def test_what_a_solver_cannot_do_is_said_by_the_plan(name, options, match):
    y = COUNTS if options.get("noise") == "poisson" else Y
    with pytest.raises(ArgumentError, match=match):
        recon.plan(y, SCAN, solver=name, **{"noise": 0.1, **options})


def test_signed_operators_are_refused_by_those_that_divide_by_sums():
    A = from_matrix(RNG.standard_normal((20, 10)))
    with pytest.raises(ArgumentError, match=r"not known to be non-negative"):
        recon.plan(np.ones(20), A, solver="sart", prior="none", noise=0.1)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'lbfgs'"):
        recon.plan(Y, SCAN, solver="l-bfgs")


@pytest.mark.parametrize("name", SOLVERS)
def test_plans_pickle(name):
    counts = name in ("mlem", "osem")
    prior = "none" if counts or name in ("sirt", "sart") else "tikhonov"
    operator = ops.Mask(np.ones(SCAN.out_shape, bool)) if name.startswith("learned") else SCAN  # closed forms
    planned = recon.plan(COUNTS, operator, solver=name, prior=prior, noise="poisson" if counts else 0.1)
    assert str(pickle.loads(pickle.dumps(planned))) == str(planned)


def test_the_solver_taken_by_default_is_the_quickest_that_the_operator_allows():
    shape = (16, 16)
    blur, mask = ops.Blur(np.ones((3, 3)) / 9, shape), ops.Mask(np.eye(16) < 0.5)
    chosen = {
        (blur, "tv"): "admm",
        (mask, "tv"): "douglas-rachford",
        (mask, "tgv"): "admm",
        (mask, "wavelet"): "douglas-rachford",
        (mask, "undecimated-wavelet"): "pdhg",
        (ops.Downsample(2, shape), "tv"): "douglas-rachford",
        (ops.Blur(np.ones((3, 3)) / 9, shape, boundary="unknown"), "tv"): "admm",
        (ops.Mask(np.ones((4, 4, 4))), "tv"): "admm",  # in place where it is large
        (blur, "tikhonov"): "cg",
    }
    for (A, prior), name in chosen.items():
        assert recon.plan(np.ones(A.out_shape), A, prior=prior, noise=0.1).decisions["solver"].choice == name
    bounded = recon.plan(np.ones(shape), mask, noise=0.1, bounds=(0, 1)).decisions["solver"]
    assert bounded.choice == "douglas-rachford"
    sparse = recon.plan(np.ones(shape), mask, prior="wavelet", noise=0.1, bounds=(0, 1)).decisions["solver"]
    assert sparse.choice == "pdhg"  # the proximal map within bounds has no closed form


def test_an_unsettled_fit_of_the_noise_is_told_to_stop_earlier():
    with pytest.warns(ReconstructionWarning, match="Without a prior they fit the noise.*'cgls'"):
        recon.reconstruct(Y, SCAN, prior="none", solver="fista", max_iter=10, tol=1e-9)
