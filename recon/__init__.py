"""Image reconstruction: one call turns a measurement and its forward model into an image.

>>> from recon import reconstruct, operators as ops
>>> x = reconstruct(y, ops.Blur(psf, shape=(512, 512)))  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

from solvers._lazy import attach

__version__ = "0.1.0"

if TYPE_CHECKING:
    from recon import files as files
    from recon import operators as operators
    from recon.check import check_operator as check_operator
    from recon.check import check_prior as check_prior
    from recon.check import check_solver as check_solver
    from recon.fbp import fbp as fbp
    from recon.noise import Gaussian as Gaussian
    from recon.noise import Poisson as Poisson
    from recon.plan import plan as plan
    from recon.reconstruct import reconstruct as reconstruct
    from solvers import errors as errors

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Gaussian": "recon.noise",
        "Poisson": "recon.noise",
        "check_operator": "recon.check",
        "check_prior": "recon.check",
        "check_solver": "recon.check",
        "fbp": "recon.fbp",
        "plan": "recon.plan",
        "reconstruct": "recon.reconstruct",
    },
    modules={"errors": "solvers.errors", "files": "recon.files", "operators": "recon.operators"},
)
