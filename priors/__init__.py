"""What a good image looks like: proximal maps, constraints and denoisers. Each name loads on first use."""

from typing import TYPE_CHECKING

from solvers._lazy import attach

if TYPE_CHECKING:
    from priors.base import Prior as Prior
    from priors.constraints import Box as Box
    from priors.constraints import NonNegative as NonNegative
    from priors.denoisers import Denoiser as Denoiser
    from priors.denoisers import load_denoiser as load_denoiser
    from priors.differences import Gradient as Gradient
    from priors.directional import DirectionalTV as DirectionalTV
    from priors.entropy import Entropy as Entropy
    from priors.foreign import BM3D as BM3D
    from priors.foreign import TorchDenoiser as TorchDenoiser
    from priors.gradient_step import GradientStep as GradientStep
    from priors.huber import HuberTV as HuberTV
    from priors.infimal_sum import InfimalSum as InfimalSum
    from priors.low_rank import LocallyLowRank as LocallyLowRank
    from priors.low_rank import NuclearNorm as NuclearNorm
    from priors.non_local_means import NonLocalMeans as NonLocalMeans
    from priors.plug_and_play import RED as RED
    from priors.plug_and_play import AllPlanes as AllPlanes
    from priors.plug_and_play import Averaged as Averaged
    from priors.plug_and_play import Equivariant as Equivariant
    from priors.plug_and_play import LeastLevel as LeastLevel
    from priors.plug_and_play import PlugAndPlay as PlugAndPlay
    from priors.quadratic import Tikhonov as Tikhonov
    from priors.quadratic import Zero as Zero
    from priors.ridge import RidgeRegulariser as RidgeRegulariser
    from priors.sets import KnownRegion as KnownRegion
    from priors.sets import NormBall as NormBall
    from priors.sets import Simplex as Simplex
    from priors.similar_patches import SimilarPatches as SimilarPatches
    from priors.sobolev import Laplacian as Laplacian
    from priors.sobolev import Sobolev as Sobolev
    from priors.sparsity import Sparsity as Sparsity
    from priors.total_generalised_variation import TGV as TGV
    from priors.total_variation import TotalVariation as TotalVariation
    from priors.undecimated import UndecimatedWavelet as UndecimatedWavelet
    from priors.undecimated import WaveletFrame as WaveletFrame
    from priors.vectorial import VectorialTV as VectorialTV
    from priors.wavelet import Wavelet as Wavelet
    from priors.weights import available as available

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AllPlanes": "priors.plug_and_play",
        "Averaged": "priors.plug_and_play",
        "BM3D": "priors.foreign",
        "Box": "priors.constraints",
        "Denoiser": "priors.denoisers",
        "DirectionalTV": "priors.directional",
        "Entropy": "priors.entropy",
        "Equivariant": "priors.plug_and_play",
        "Gradient": "priors.differences",
        "GradientStep": "priors.gradient_step",
        "HuberTV": "priors.huber",
        "InfimalSum": "priors.infimal_sum",
        "KnownRegion": "priors.sets",
        "Laplacian": "priors.sobolev",
        "LeastLevel": "priors.plug_and_play",
        "LocallyLowRank": "priors.low_rank",
        "NonLocalMeans": "priors.non_local_means",
        "NonNegative": "priors.constraints",
        "NormBall": "priors.sets",
        "NuclearNorm": "priors.low_rank",
        "PlugAndPlay": "priors.plug_and_play",
        "Prior": "priors.base",
        "RED": "priors.plug_and_play",
        "RidgeRegulariser": "priors.ridge",
        "SimilarPatches": "priors.similar_patches",
        "Simplex": "priors.sets",
        "Sobolev": "priors.sobolev",
        "Sparsity": "priors.sparsity",
        "TGV": "priors.total_generalised_variation",
        "Tikhonov": "priors.quadratic",
        "TorchDenoiser": "priors.foreign",
        "TotalVariation": "priors.total_variation",
        "UndecimatedWavelet": "priors.undecimated",
        "VectorialTV": "priors.vectorial",
        "Wavelet": "priors.wavelet",
        "WaveletFrame": "priors.undecimated",
        "Zero": "priors.quadratic",
        "available": "priors.weights",
        "load_denoiser": "priors.denoisers",
    },
)
