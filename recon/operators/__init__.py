"""Forward operators. Each loads on first use."""

from typing import TYPE_CHECKING

from solvers._lazy import attach

if TYPE_CHECKING:
    from recon.operators.base import LinearOperator as LinearOperator
    from recon.operators.base import Operator as Operator
    from recon.operators.base import block_diagonal as block_diagonal
    from recon.operators.base import stack as stack
    from recon.operators.blur import Blur as Blur
    from recon.operators.downsample import Downsample as Downsample
    from recon.operators.filters import Diagonal as Diagonal
    from recon.operators.filters import FrequencyResponse as FrequencyResponse
    from recon.operators.finite_difference import FiniteDifference as FiniteDifference
    from recon.operators.mri import CartesianMRI as CartesianMRI
    from recon.operators.parallel_beam import ParallelBeam as ParallelBeam
    from recon.operators.pointwise import Identity as Identity
    from recon.operators.pointwise import Mask as Mask
    from recon.operators.rearrange import Permute as Permute
    from recon.operators.rearrange import Reshape as Reshape
    from recon.operators.rearrange import Restriction as Restriction
    from recon.operators.wrappers import from_callables as from_callables
    from recon.operators.wrappers import from_matrix as from_matrix
    from recon.operators.wrappers import from_scipy as from_scipy

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Blur": "recon.operators.blur",
        "CartesianMRI": "recon.operators.mri",
        "Diagonal": "recon.operators.filters",
        "Downsample": "recon.operators.downsample",
        "FiniteDifference": "recon.operators.finite_difference",
        "FrequencyResponse": "recon.operators.filters",
        "Identity": "recon.operators.pointwise",
        "LinearOperator": "recon.operators.base",
        "Mask": "recon.operators.pointwise",
        "Operator": "recon.operators.base",
        "ParallelBeam": "recon.operators.parallel_beam",
        "Permute": "recon.operators.rearrange",
        "Reshape": "recon.operators.rearrange",
        "Restriction": "recon.operators.rearrange",
        "block_diagonal": "recon.operators.base",
        "from_callables": "recon.operators.wrappers",
        "from_matrix": "recon.operators.wrappers",
        "from_scipy": "recon.operators.wrappers",
        "stack": "recon.operators.base",
    },
)
