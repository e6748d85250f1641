"""Iterative algorithms, the loop that runs them, data terms and step sizes. Each name loads on first use."""

from typing import TYPE_CHECKING

from solvers._lazy import attach

if TYPE_CHECKING:
    from solvers.acceleration import Anderson as Anderson
    from solvers.acceleration import Restarted as Restarted
    from solvers.admm import ADMM as ADMM
    from solvers.alternating import PALM as PALM
    from solvers.clipped import ClippedLeastSquares as ClippedLeastSquares
    from solvers.data_proximal import DataProximalGradient as DataProximalGradient
    from solvers.data_terms import LeastSquares as LeastSquares
    from solvers.data_terms import PoissonLikelihood as PoissonLikelihood
    from solvers.descent import GradientDescent as GradientDescent
    from solvers.early_stopping import Discrepancy as Discrepancy
    from solvers.gauss_newton import IRGN as IRGN
    from solvers.gauss_newton import GaussNewton as GaussNewton
    from solvers.gauss_newton import LevenbergMarquardt as LevenbergMarquardt
    from solvers.golub_kahan import LSMR as LSMR
    from solvers.golub_kahan import LSQR as LSQR
    from solvers.gradient import FISTA as FISTA
    from solvers.gradient import ProximalGradient as ProximalGradient
    from solvers.krylov import CG as CG
    from solvers.krylov import CGLS as CGLS
    from solvers.krylov import MINRES as MINRES
    from solvers.krylov import RegularisedCG as RegularisedCG
    from solvers.learned_first_order import LearnedSteps as LearnedSteps
    from solvers.learned_first_order import with_learned_steps as with_learned_steps
    from solvers.learned_nonlinear_plug_and_play import LearnedNonlinearDPIR as LearnedNonlinearDPIR
    from solvers.learned_plug_and_play import LearnedDPIR as LearnedDPIR
    from solvers.learned_schedule import LearnedSchedule as LearnedSchedule
    from solvers.linearised_admm import LinearisedADMM as LinearisedADMM
    from solvers.loop import Solution as Solution
    from solvers.loop import Status as Status
    from solvers.loop import solve as solve
    from solvers.loop import steps as steps
    from solvers.loop import unroll as unroll
    from solvers.modelled_plug_and_play import ModelledDPIR as ModelledDPIR
    from solvers.noise_ball import NoiseBall as NoiseBall
    from solvers.nonlinear_plug_and_play import NonlinearDPIR as NonlinearDPIR
    from solvers.nonlinear_splitting import NonlinearADMM as NonlinearADMM
    from solvers.nonlinear_splitting import NonlinearPDHG as NonlinearPDHG
    from solvers.optimised_gradient import OGM as OGM
    from solvers.optimised_gradient import POGM as POGM
    from solvers.ordered_subsets import OrderedSubsets as OrderedSubsets
    from solvers.ordered_subsets import StochasticPDHG as StochasticPDHG
    from solvers.phase_retrieval import HIO as HIO
    from solvers.phase_retrieval import RAAR as RAAR
    from solvers.phase_retrieval import AmplitudeFlow as AmplitudeFlow
    from solvers.phase_retrieval import ErrorReduction as ErrorReduction
    from solvers.plug_and_play import DPIR as DPIR
    from solvers.primal_dual import PDHG as PDHG
    from solvers.proximal_newton import ProximalNewton as ProximalNewton
    from solvers.quasi_newton import LBFGS as LBFGS
    from solvers.robust_losses import AbsoluteDeviation as AbsoluteDeviation
    from solvers.robust_losses import Huber as Huber
    from solvers.robust_losses import StudentT as StudentT
    from solvers.safeguard import LearnedPace as LearnedPace
    from solvers.safeguard import Safeguarded as Safeguarded
    from solvers.splitting import DouglasRachford as DouglasRachford
    from solvers.splitting import HalfQuadratic as HalfQuadratic
    from solvers.three_operator import PD3O as PD3O
    from solvers.three_operator import CondatVu as CondatVu
    from solvers.tomography import MLEM as MLEM
    from solvers.tomography import OSEM as OSEM
    from solvers.tomography import SART as SART
    from solvers.tomography import SIRT as SIRT
    from solvers.transmission import TransmissionLikelihood as TransmissionLikelihood
    from solvers.variable_projection import VariableProjection as VariableProjection

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ADMM": "solvers.admm",
        "AbsoluteDeviation": "solvers.robust_losses",
        "AmplitudeFlow": "solvers.phase_retrieval",
        "Anderson": "solvers.acceleration",
        "CG": "solvers.krylov",
        "CGLS": "solvers.krylov",
        "ClippedLeastSquares": "solvers.clipped",
        "CondatVu": "solvers.three_operator",
        "DPIR": "solvers.plug_and_play",
        "DataProximalGradient": "solvers.data_proximal",
        "Discrepancy": "solvers.early_stopping",
        "DouglasRachford": "solvers.splitting",
        "ErrorReduction": "solvers.phase_retrieval",
        "FISTA": "solvers.gradient",
        "GaussNewton": "solvers.gauss_newton",
        "GradientDescent": "solvers.descent",
        "HIO": "solvers.phase_retrieval",
        "HalfQuadratic": "solvers.splitting",
        "Huber": "solvers.robust_losses",
        "IRGN": "solvers.gauss_newton",
        "LBFGS": "solvers.quasi_newton",
        "LSMR": "solvers.golub_kahan",
        "LSQR": "solvers.golub_kahan",
        "LearnedDPIR": "solvers.learned_plug_and_play",
        "LearnedNonlinearDPIR": "solvers.learned_nonlinear_plug_and_play",
        "LearnedPace": "solvers.safeguard",
        "LearnedSchedule": "solvers.learned_schedule",
        "LearnedSteps": "solvers.learned_first_order",
        "LeastSquares": "solvers.data_terms",
        "LevenbergMarquardt": "solvers.gauss_newton",
        "LinearisedADMM": "solvers.linearised_admm",
        "MINRES": "solvers.krylov",
        "MLEM": "solvers.tomography",
        "ModelledDPIR": "solvers.modelled_plug_and_play",
        "NoiseBall": "solvers.noise_ball",
        "NonlinearADMM": "solvers.nonlinear_splitting",
        "NonlinearDPIR": "solvers.nonlinear_plug_and_play",
        "NonlinearPDHG": "solvers.nonlinear_splitting",
        "OGM": "solvers.optimised_gradient",
        "OSEM": "solvers.tomography",
        "OrderedSubsets": "solvers.ordered_subsets",
        "PALM": "solvers.alternating",
        "PD3O": "solvers.three_operator",
        "PDHG": "solvers.primal_dual",
        "POGM": "solvers.optimised_gradient",
        "PoissonLikelihood": "solvers.data_terms",
        "ProximalGradient": "solvers.gradient",
        "ProximalNewton": "solvers.proximal_newton",
        "RAAR": "solvers.phase_retrieval",
        "RegularisedCG": "solvers.krylov",
        "Restarted": "solvers.acceleration",
        "SART": "solvers.tomography",
        "SIRT": "solvers.tomography",
        "Safeguarded": "solvers.safeguard",
        "Solution": "solvers.loop",
        "Status": "solvers.loop",
        "StochasticPDHG": "solvers.ordered_subsets",
        "StudentT": "solvers.robust_losses",
        "TransmissionLikelihood": "solvers.transmission",
        "VariableProjection": "solvers.variable_projection",
        "solve": "solvers.loop",
        "steps": "solvers.loop",
        "unroll": "solvers.loop",
        "with_learned_steps": "solvers.learned_first_order",
    },
)
