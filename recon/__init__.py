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
    from recon._noise_other import Impulse as Impulse
    from recon._noise_other import Rician as Rician
    from recon._noise_other import Speckle as Speckle
    from recon.calibration import Calibration as Calibration
    from recon.calibration import calibrate as calibrate
    from recon.check import check_operator as check_operator
    from recon.check import check_prior as check_prior
    from recon.check import check_solver as check_solver
    from recon.enhancement import enhance as enhance
    from recon.fbp import fbp as fbp
    from recon.fdk import fdk as fdk
    from recon.noise import Gaussian as Gaussian
    from recon.noise import Poisson as Poisson
    from recon.noise import PoissonGaussian as PoissonGaussian
    from recon.plan import plan as plan
    from recon.reconstruct import reconstruct as reconstruct
    from solvers import errors as errors

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Calibration": "recon.calibration",
        "Gaussian": "recon.noise",
        "Impulse": "recon._noise_other",
        "Poisson": "recon.noise",
        "PoissonGaussian": "recon.noise",
        "Rician": "recon._noise_other",
        "Speckle": "recon._noise_other",
        "calibrate": "recon.calibration",
        "check_operator": "recon.check",
        "check_prior": "recon.check",
        "check_solver": "recon.check",
        "enhance": "recon.enhancement",
        "fbp": "recon.fbp",
        "fdk": "recon.fdk",
        "plan": "recon.plan",
        "reconstruct": "recon.reconstruct",
    },
    modules={"errors": "solvers.errors", "files": "recon.files", "operators": "recon.operators"},
)
