"""Iterative algorithms, the loop that runs them, data terms and step sizes. Each name loads on first use."""

from typing import TYPE_CHECKING

from solvers._lazy import attach

if TYPE_CHECKING:
    from solvers.data_terms import LeastSquares as LeastSquares
    from solvers.data_terms import PoissonLikelihood as PoissonLikelihood
    from solvers.loop import Solution as Solution
    from solvers.loop import Status as Status
    from solvers.loop import solve as solve
    from solvers.loop import steps as steps
    from solvers.loop import unroll as unroll

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "LeastSquares": "solvers.data_terms",
        "PoissonLikelihood": "solvers.data_terms",
        "Solution": "solvers.loop",
        "Status": "solvers.loop",
        "solve": "solvers.loop",
        "steps": "solvers.loop",
        "unroll": "solvers.loop",
    },
)
