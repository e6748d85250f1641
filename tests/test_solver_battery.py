"""Every solver passes the public battery, and its examples run."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
from solvers_list import SOLVERS

from recon import check_solver

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


@pytest.mark.parametrize("name", SOLVERS)
def test_solver_passes_the_battery(name):
    build, max_iter = SOLVERS[name]
    check_solver(build, max_iter=max_iter)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert found.failed == 0
