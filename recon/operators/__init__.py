"""Forward operators. Each loads on first use."""

from typing import TYPE_CHECKING

from solvers._lazy import attach

if TYPE_CHECKING:
    from recon.operators.affine import Affine as Affine
    from recon.operators.base import LinearOperator as LinearOperator
    from recon.operators.base import Operator as Operator
    from recon.operators.base import block_diagonal as block_diagonal
    from recon.operators.base import stack as stack
    from recon.operators.bayer import Bayer as Bayer
    from recon.operators.blur import Blur as Blur
    from recon.operators.bridges import from_deepinv as from_deepinv
    from recon.operators.bridges import from_pylops as from_pylops
    from recon.operators.bridges import from_sigpy as from_sigpy
    from recon.operators.bridges import from_torch as from_torch
    from recon.operators.camera import CameraResponse as CameraResponse
    from recon.operators.camera import Clipping as Clipping
    from recon.operators.camera import Exposures as Exposures
    from recon.operators.camera import Logarithm as Logarithm
    from recon.operators.camera import Saturation as Saturation
    from recon.operators.coded_aperture import CodedAperture as CodedAperture
    from recon.operators.colour_mixing import ColourMixing as ColourMixing
    from recon.operators.cone_beam import ConeBeam as ConeBeam
    from recon.operators.destripe import Destripe as Destripe
    from recon.operators.diffraction import CodedDiffraction as CodedDiffraction
    from recon.operators.diffraction import FourierMagnitude as FourierMagnitude
    from recon.operators.diffraction import Ptychography as Ptychography
    from recon.operators.downsample import Downsample as Downsample
    from recon.operators.dynamic_mri import DynamicMRI as DynamicMRI
    from recon.operators.dynamic_mri import DynamicNonCartesianMRI as DynamicNonCartesianMRI
    from recon.operators.fan_beam import FanBeam as FanBeam
    from recon.operators.filters import Diagonal as Diagonal
    from recon.operators.filters import FrequencyResponse as FrequencyResponse
    from recon.operators.finite_difference import FiniteDifference as FiniteDifference
    from recon.operators.flicker import Flicker as Flicker
    from recon.operators.fourier_slice import FourierSlice as FourierSlice
    from recon.operators.hadamard import SinglePixel as SinglePixel
    from recon.operators.haze import Haze as Haze
    from recon.operators.illumination import Illumination as Illumination
    from recon.operators.illumination import Vignetting as Vignetting
    from recon.operators.joint_mri import JointMRI as JointMRI
    from recon.operators.mri import CartesianMRI as CartesianMRI
    from recon.operators.multi_frame import MultiFrame as MultiFrame
    from recon.operators.non_cartesian import NonCartesianMRI as NonCartesianMRI
    from recon.operators.nonlinear import NonlinearOperator as NonlinearOperator
    from recon.operators.nonlinear import PointwiseOperator as PointwiseOperator
    from recon.operators.pansharpening import Pansharpening as Pansharpening
    from recon.operators.parallel_beam import ParallelBeam as ParallelBeam
    from recon.operators.parallel_beam_3d import ParallelBeam3D as ParallelBeam3D
    from recon.operators.phase import Phaseless as Phaseless
    from recon.operators.pointwise import Identity as Identity
    from recon.operators.pointwise import Mask as Mask
    from recon.operators.radio_interferometry import RadioInterferometry as RadioInterferometry
    from recon.operators.random_matrix import RandomProjection as RandomProjection
    from recon.operators.real_image import RealImage as RealImage
    from recon.operators.rearrange import Permute as Permute
    from recon.operators.rearrange import Reshape as Reshape
    from recon.operators.rearrange import Restriction as Restriction
    from recon.operators.relaxometry import Relaxometry as Relaxometry
    from recon.operators.resample import Resample as Resample
    from recon.operators.shift import Shift as Shift
    from recon.operators.spectral import SpectralMixing as SpectralMixing
    from recon.operators.transmission import Transmission as Transmission
    from recon.operators.unknown import Unknown as Unknown
    from recon.operators.varying_blur import VaryingBlur as VaryingBlur
    from recon.operators.wrappers import from_callables as from_callables
    from recon.operators.wrappers import from_matrix as from_matrix
    from recon.operators.wrappers import from_scipy as from_scipy

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Affine": "recon.operators.affine",
        "Bayer": "recon.operators.bayer",
        "Blur": "recon.operators.blur",
        "CameraResponse": "recon.operators.camera",
        "CartesianMRI": "recon.operators.mri",
        "Clipping": "recon.operators.camera",
        "CodedAperture": "recon.operators.coded_aperture",
        "CodedDiffraction": "recon.operators.diffraction",
        "ColourMixing": "recon.operators.colour_mixing",
        "ConeBeam": "recon.operators.cone_beam",
        "Destripe": "recon.operators.destripe",
        "Diagonal": "recon.operators.filters",
        "Downsample": "recon.operators.downsample",
        "DynamicMRI": "recon.operators.dynamic_mri",
        "DynamicNonCartesianMRI": "recon.operators.dynamic_mri",
        "Exposures": "recon.operators.camera",
        "FanBeam": "recon.operators.fan_beam",
        "FiniteDifference": "recon.operators.finite_difference",
        "Flicker": "recon.operators.flicker",
        "FourierMagnitude": "recon.operators.diffraction",
        "FourierSlice": "recon.operators.fourier_slice",
        "FrequencyResponse": "recon.operators.filters",
        "Haze": "recon.operators.haze",
        "Identity": "recon.operators.pointwise",
        "Illumination": "recon.operators.illumination",
        "JointMRI": "recon.operators.joint_mri",
        "LinearOperator": "recon.operators.base",
        "Logarithm": "recon.operators.camera",
        "Mask": "recon.operators.pointwise",
        "MultiFrame": "recon.operators.multi_frame",
        "NonCartesianMRI": "recon.operators.non_cartesian",
        "NonlinearOperator": "recon.operators.nonlinear",
        "Operator": "recon.operators.base",
        "Pansharpening": "recon.operators.pansharpening",
        "ParallelBeam": "recon.operators.parallel_beam",
        "ParallelBeam3D": "recon.operators.parallel_beam_3d",
        "Permute": "recon.operators.rearrange",
        "Phaseless": "recon.operators.phase",
        "PointwiseOperator": "recon.operators.nonlinear",
        "Ptychography": "recon.operators.diffraction",
        "RadioInterferometry": "recon.operators.radio_interferometry",
        "RandomProjection": "recon.operators.random_matrix",
        "RealImage": "recon.operators.real_image",
        "Relaxometry": "recon.operators.relaxometry",
        "Resample": "recon.operators.resample",
        "Reshape": "recon.operators.rearrange",
        "Restriction": "recon.operators.rearrange",
        "Saturation": "recon.operators.camera",
        "Shift": "recon.operators.shift",
        "SinglePixel": "recon.operators.hadamard",
        "SpectralMixing": "recon.operators.spectral",
        "Unknown": "recon.operators.unknown",
        "Transmission": "recon.operators.transmission",
        "VaryingBlur": "recon.operators.varying_blur",
        "Vignetting": "recon.operators.illumination",
        "block_diagonal": "recon.operators.base",
        "from_callables": "recon.operators.wrappers",
        "from_deepinv": "recon.operators.bridges",
        "from_matrix": "recon.operators.wrappers",
        "from_pylops": "recon.operators.bridges",
        "from_scipy": "recon.operators.wrappers",
        "from_sigpy": "recon.operators.bridges",
        "from_torch": "recon.operators.bridges",
        "stack": "recon.operators.base",
    },
)
