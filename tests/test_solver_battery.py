"""Every solver reaches a known minimiser, gradients pass through its steps, and its examples run."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
from solvers_list import OWN, SOLVERS

import solvers
from recon import check_solver
from recon._solver_checks import HalfSquare
from recon.operators import from_matrix
from solvers import unroll

MODULES = [
    "solvers.acceleration",
    "solvers.clipped",
    "solvers.descent",
    "solvers.early_stopping",
    "solvers.gauss_newton",
    "solvers.golub_kahan",
    "solvers.krylov",
    "solvers.linearised_admm",
    "solvers.noise_ball",
    "solvers.nonlinear_plug_and_play",
    "solvers.nonlinear_splitting",
    "solvers.optimised_gradient",
    "solvers.ordered_subsets",
    "solvers.quasi_newton",
    "solvers.robust_losses",
    "solvers.phase_retrieval",
    "solvers.plug_and_play",
    "solvers.splitting",
    "solvers.step_sizes",
    "solvers.three_operator",
    "solvers.tomography",
    "solvers.transmission",
]

UNROLLED = 3  # steps at most
# Unknown parameters are numbers, found in numpy; gradients pass through the image at parameters that stay.
FOUND_IN_NUMPY = ("palm", "variable projection")


@pytest.mark.parametrize("name", SOLVERS)
def test_solver_passes_the_battery(name):
    build, max_iter = SOLVERS[name]
    check_solver(build, max_iter=max_iter)


@pytest.mark.parametrize("name", OWN)
def test_solver_reaches_the_minimiser_of_its_own_problem(name):
    case = OWN[name]()
    found = unroll(case.build(case.y), case.start, case.steps)
    assert np.linalg.norm(found - case.minimiser) <= 1e-6 * np.linalg.norm(case.minimiser)


@pytest.mark.parametrize("name", sorted(set(OWN) - {*FOUND_IN_NUMPY}))
def test_gradients_through_the_steps_are_differences(name):
    torch = pytest.importorskip("torch")
    case, rng, h = OWN[name](), np.random.default_rng(3), 1e-5
    way, seen = rng.standard_normal(case.y.shape), rng.standard_normal(case.start.shape)

    def last(y, start):
        return unroll(case.build(y), start, case.steps if case.adaptive else min(case.steps, UNROLLED))

    y = torch.from_numpy(case.y.copy()).requires_grad_()
    image = last(y, torch.from_numpy(case.start.copy()))
    (gradient,) = torch.autograd.grad(image, y, torch.from_numpy(seen))
    difference = last(case.y + h * way, case.start) - last(case.y - h * way, case.start)
    assert np.vdot(gradient.numpy(), way) == pytest.approx(np.vdot(seen, difference) / (2 * h), rel=1e-5)


def test_the_lists_hold_every_solver():
    exported = {name for name in solvers.__all__ if hasattr(getattr(solvers, name), "init")}
    y, operator = np.ones(3), from_matrix(np.eye(3))
    listed = {type(build(operator, y, HalfSquare(), 0.5)).__name__ for build, _ in SOLVERS.values()}
    listed |= {type((case := make()).build(case.y)).__name__ for make in OWN.values()}
    assert listed == exported


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert found.failed == 0
