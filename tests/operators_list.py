"""Every operator, once. Adding one here puts it through the whole battery, the autograd tests and the benchmark."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from recon.operators import (
    Affine,
    Bayer,
    Blur,
    CameraResponse,
    CartesianMRI,
    Clipping,
    CodedAperture,
    CodedDiffraction,
    ColourMixing,
    ConeBeam,
    Destripe,
    Diagonal,
    Downsample,
    DynamicMRI,
    DynamicNonCartesianMRI,
    Exposures,
    FanBeam,
    FiniteDifference,
    Flicker,
    FourierMagnitude,
    FourierSlice,
    FrequencyResponse,
    Haze,
    Identity,
    Illumination,
    JointMRI,
    Logarithm,
    Mask,
    MultiFrame,
    NonCartesianMRI,
    NonlinearOperator,
    Pansharpening,
    ParallelBeam,
    ParallelBeam3D,
    Permute,
    Phaseless,
    PointwiseOperator,
    Ptychography,
    RadioInterferometry,
    RandomProjection,
    RealImage,
    Relaxometry,
    Resample,
    Reshape,
    Restriction,
    Saturation,
    Shift,
    SinglePixel,
    SpectralMixing,
    Transmission,
    VaryingBlur,
    Vignetting,
    block_diagonal,
    from_callables,
    from_matrix,
    from_scipy,
    from_torch,
    stack,
)
from solvers import arrays


def _real(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _complex(*shape):
    return _real(*shape) + 1j * _real(*shape, seed=1)


def _mask(*shape, seed=2):
    return np.random.default_rng(seed).random(shape) < 0.4


def _psf(*shape):
    return np.abs(_real(*shape))


def _positions(samples, *shape):
    return (np.random.default_rng(5).random((samples, len(shape))) - 0.5) * np.array(shape)


def _double(x):
    return 2 * x


class Exponential(PointwiseOperator):
    """``y = exp(-x)``."""

    def _apply(self, x):
        return arrays.namespace(x).exp(-x)

    def _slope(self, x):
        return -arrays.namespace(x).exp(-x)


class Square(NonlinearOperator):
    """``y = x^2``, its derivative by automatic differentiation; holomorphic."""

    def __init__(self, shape):
        super().__init__(shape, shape)

    def _apply(self, x):
        return x * x


class Cube(Square):
    """``y = x^3`` in numpy alone."""

    torch_body = False

    def _apply(self, x):
        return x**3

    def _vjp(self, x, r):
        return 3 * (x**2).conj() * r

    def _jvp(self, x, d):
        return 3 * x**2 * d


class Power(Square):
    """``y = |x|^2`` of complex images."""

    kind = "complex"
    out_kind = "real"

    def _apply(self, x):
        return x.real**2 + x.imag**2


def _exp_vjp(x, r):
    return np.exp(x) * r


def _waves(x):
    return (x[..., 1:] * x[..., :-1]).sin()


OPERATORS = {
    "identity": lambda: Identity((5, 8)),
    "identity 1-d": lambda: Identity((1,)),
    "mask": lambda: Mask(_mask(7, 6)),
    "mask 3-d": lambda: Mask(_mask(3, 4, 5)),
    "blur odd": lambda: Blur(_psf(3, 5), (9, 11)),
    "blur even": lambda: Blur(_psf(4, 2), (8, 10)),
    "blur whole": lambda: Blur(_psf(7, 6), (7, 6)),
    "blur row": lambda: Blur(_psf(1, 3), (1, 8)),
    "blur 1-d": lambda: Blur(_real(4), (9,)),
    "blur 3-d": lambda: Blur(_real(2, 3, 1), (4, 5, 6)),
    "blur reflecting": lambda: Blur(_psf(3, 4), (9, 8), boundary="reflecting"),
    "blur reflecting, symmetric": lambda: Blur(np.ones((3, 5)), (8, 9), boundary="reflecting"),
    "blur reflecting 3-d": lambda: Blur(_real(2, 3, 1), (4, 5, 3), boundary="reflecting"),
    "blur direct": lambda: Blur(_psf(4, 3), (7, 10), method="direct"),
    "blur separable": lambda: Blur(np.ones((2, 3, 3)), (4, 5, 6), method="separable"),
    "blur reflecting, rows": lambda: Blur(_psf(4, 3), (7, 10), boundary="reflecting", method="rows"),
    "blur unknown, direct": lambda: Blur(_real(4, 3), (7, 6), boundary="unknown", method="direct"),
    "blur unknown": lambda: Blur(_psf(3, 4), (9, 8), boundary="unknown"),
    "blur unknown column": lambda: Blur(_real(4, 1), (9, 1), boundary="unknown"),
    "downsample": lambda: Downsample(2, (8, 6)),
    "downsample axes": lambda: Downsample((3, 1), (9, 5)),
    "downsample bicubic": lambda: Downsample((2, 3), (8, 9), psf="bicubic"),
    "downsample gaussian": lambda: Downsample(4, (12, 8), psf="gaussian"),
    "downsample psf": lambda: Downsample(3, (9, 6), psf=_real(4, 5)),
    "varying blur": lambda: VaryingBlur(_psf(2, 3, 3, 4), (7, 8)),
    "varying blur reflecting": lambda: VaryingBlur(_real(1, 2, 4, 3), (8, 5), boundary="reflecting"),
    "varying blur unknown": lambda: VaryingBlur(_psf(4, 3, 3), (5, 6), _real(4, 2), boundary="unknown", rank=2),
    "bayer": lambda: Bayer((6, 8)),
    "bayer odd": lambda: Bayer((5, 7), pattern="GBRG"),
    "bayer row": lambda: Bayer((1, 4), pattern="BGGR"),
    "shift": lambda: Shift((7, 8), (0.3, -2.7)),
    "shift 3-d": lambda: Shift((4, 3, 5), (1.5, 0.0, -0.25)),
    "frames": lambda: MultiFrame(_real(3, 2), 2, (6, 8)),
    "frames bicubic": lambda: MultiFrame(_real(5, 2), (3, 2), (9, 10), psf="bicubic"),
    "frames 1-d": lambda: MultiFrame(_real(2, 1), 3, (9,), psf=_real(4)),
    "resample smaller": lambda: Resample((9, 8), (4, 5)),
    "resample larger": lambda: Resample((5, 4), (8, 7), kernel="linear"),
    "resample area": lambda: Resample((7, 6, 2), (3, 4, 2), kernel="area"),
    "resample without antialiasing": lambda: Resample((11,), (3,), antialias=False),
    "cone beam": lambda: ConeBeam((5, 8, 9), 6, source_distance=20, detector_distance=10),
    "cone beam, helical": lambda: ConeBeam(
        (7, 6, 8),
        [-1.0, 0.5, 5.0],
        source_distance=20,
        detector_distance=15,
        detectors=(4, 13),
        spacing=(1.2, 0.9, 1.0),
        center=(1.2, 6.5),
        pitch=4.0,
        detector="curved",
    ),
    "parallel beam 3-D": lambda: ParallelBeam3D((4, 7, 6), 5),
    "parallel beam 3-D, tilted": lambda: ParallelBeam3D((5, 6, 7), [0.1, 1.2, 4.0], tilt=-0.4, spacing=(0.8, 1.0, 1.1)),
    "parallel beam 3-D, other rows": lambda: ParallelBeam3D((4, 5, 6), 3, detectors=(7, 9), center=(2.4, 4.2)),
    "parallel beam": lambda: ParallelBeam((9, 8), 7),
    "parallel beam off centre": lambda: ParallelBeam((8, 11), [0.1, 1.0, 4.0], detectors=10, center=3.7, spacing=0.3),
    "fan beam": lambda: FanBeam((9, 8), 7, source_distance=20.0, detector_distance=10.0),
    "fan beam curved, off centre": lambda: FanBeam(
        (8, 11),
        [0.1, 1.0, 4.0],
        source_distance=2.2,
        detector_distance=0.0,
        detectors=14,
        center=4.7,
        axis_offset=0.2,
        spacing=0.3,
        detector="curved",
    ),
    "mri": lambda: CartesianMRI(_mask(8, 6)),
    "mri odd": lambda: CartesianMRI(_mask(7, 5)),
    "mri coils": lambda: CartesianMRI(_mask(6, 7), _complex(3, 6, 7)),
    "mri coils, all measured": lambda: CartesianMRI(np.ones((4, 6)), _complex(2, 4, 6)),
    "mri 3-d": lambda: CartesianMRI(_mask(4, 3, 6)),
    "dynamic mri": lambda: DynamicMRI(_mask(3, 6, 5)),
    "dynamic mri, lines": lambda: DynamicMRI(np.repeat(_mask(4, 6, 1), 7, axis=2)),
    "dynamic mri, one mask": lambda: DynamicMRI(np.stack([_mask(6, 5)] * 3)),
    "dynamic mri coils": lambda: DynamicMRI(_mask(3, 5, 6), _complex(2, 5, 6)),
    "dynamic mri coils of one norm": lambda: DynamicMRI(_mask(2, 4, 6), np.exp(1j * _real(3, 4, 6))),
    "dynamic mri, all measured": lambda: DynamicMRI(np.ones((2, 4, 5)), _complex(2, 4, 5)),
    "dynamic non-cartesian": lambda: DynamicNonCartesianMRI(_positions(36, 6, 7).reshape(3, 12, 2), (6, 7)),
    "dynamic non-cartesian coils": lambda: DynamicNonCartesianMRI(
        _positions(24, 6, 5).reshape(2, 3, 4, 2), (6, 5), _complex(2, 6, 5), weights=np.arange(12.0).reshape(3, 4)
    ),
    "spectral mixing": lambda: SpectralMixing(_real(3, 5), (4, 7)),
    "spectral mixing, more bands out": lambda: SpectralMixing(_psf(6, 2), (5, 3)),
    "spectral mixing complex": lambda: SpectralMixing(_complex(2, 3), (9,)),
    "colour mixing": lambda: ColourMixing(np.eye(3) + 0.2 * _psf(3, 3), (4, 5)),
    "white balance": lambda: ColourMixing([0.8, 1.0, 1.3], (5, 4)),
    "pansharpening": lambda: Pansharpening((3, 8, 12), factor=4, band_mtf=[0.2, 0.3, 0.5]),
    "pansharpening, odd factor": lambda: Pansharpening((2, 6, 9), factor=3, pan_response=[0.8, 0.0]),
    "pansharpening, one row": lambda: Pansharpening((2, 2, 6), factor=2, band_mtf=1.0, pan_response=[0.5, 2.0]),
    "destripe": lambda: Destripe((6, 7)),
    "destripe rows": lambda: Destripe((5, 8), axis=-1, spread=0.7),
    "destripe 3-d": lambda: Destripe((3, 4, 5), axis=0, spread=2.0),
    "coded aperture": lambda: CodedAperture(_mask(5, 6), bands=4),
    "coded aperture, grey": lambda: CodedAperture(_psf(6, 5), bands=3, shift=2),
    "single pixel": lambda: SinglePixel((8, 4)),
    "single pixel, some": lambda: SinglePixel((4, 16), measurements=23),
    "single pixel, random": lambda: SinglePixel((32,), measurements=9, ordering="random"),
    "single pixel, rows": lambda: SinglePixel((2, 4, 4), rows=[5, 0, 31, 8]),
    "random projection": lambda: RandomProjection(11, (5, 6)),
    "random projection, signs": lambda: RandomProjection(25, (4, 4), kind="rademacher"),
    "random projection, Hadamard": lambda: RandomProjection(13, (8, 4), kind="srht"),
    "random projection, cosine": lambda: RandomProjection(12, (7, 5), kind="cosine"),
    "random projection, cosine even": lambda: RandomProjection(9, (3, 6), kind="cosine"),
    "non-cartesian": lambda: NonCartesianMRI(_positions(20, 7, 8), (7, 8)),
    "non-cartesian coils": lambda: NonCartesianMRI(_positions(20, 6, 5), (6, 5), _complex(3, 6, 5)),
    "non-cartesian weights": lambda: NonCartesianMRI(_positions(20, 6, 6), (6, 6), weights=np.arange(20.0), eps=1e-9),
    "non-cartesian 3-d": lambda: NonCartesianMRI(_positions(30, 4, 3, 6), (4, 3, 6), _complex(2, 4, 3, 6)),
    "real image": lambda: RealImage((5, 6)),
    "real part": lambda: RealImage((4, 3)).H,
    "real part of more": lambda: RealImage((9, 10)).H @ FrequencyResponse(_complex(9, 10)),
    "mri of a real image": lambda: CartesianMRI(_mask(7, 6)) @ RealImage((7, 6)),
    "mri coils of a real image": lambda: CartesianMRI(_mask(6, 5), _complex(3, 6, 5)) @ RealImage((6, 5)),
    "complex filter of a real image": lambda: FrequencyResponse(_complex(5, 6)) @ RealImage((5, 6)),
    "k-space of projections": lambda: CartesianMRI(_mask(4, 9)) @ ParallelBeam((6, 6), 4, detectors=9),
    "hologram": lambda: RealImage((4, 5)).H @ Diagonal(_complex(4, 5)) @ FrequencyResponse(_complex(4, 5)),
    "stack of a real image": lambda: stack([RealImage((4, 5)), 1j * RealImage((4, 5))]),
    "sum of real images": lambda: (1 + 2j) * RealImage((4, 5)) + RealImage((4, 5)),
    "blocks of real images": lambda: block_diagonal([RealImage((4, 5)), Diagonal(_complex(4, 5)) @ RealImage((4, 5))]),
    "masked real image": lambda: Mask(_mask(4, 5)) @ RealImage((4, 5)) @ Blur(_psf(2, 3), (4, 5)),
    "Fourier slice": lambda: FourierSlice(ParallelBeam((9, 8), 7)),
    "Fourier slice off centre": lambda: FourierSlice(
        ParallelBeam((8, 11), [0.1, 1.0, 4.0], detectors=17, center=7.7, spacing=0.3), eps=1e-9
    ),
    "radio interferometry": lambda: RadioInterferometry(_real(25, 2), (7, 6), 0.1),
    "radio interferometry, weights": lambda: RadioInterferometry(_real(4, 6, 2), (6, 9), 0.2, np.arange(6.0), eps=1e-9),
    "radio interferometry, masked": lambda: RadioInterferometry(_real(30, 2), (9, 9), 0.1).with_sampling(_mask(30)),
    "adjoint of interferometry": lambda: RadioInterferometry(_real(25, 2), (5, 6), 0.1).H,
    "differences": lambda: FiniteDifference((6, 7)),
    "differences periodic": lambda: FiniteDifference((5, 6), periodic=True, spacing=(0.5, 2.0)),
    "differences 1-d": lambda: FiniteDifference((9,)),
    "differences 3-d": lambda: FiniteDifference((3, 4, 1)),
    "matrix": lambda: from_matrix(_real(7, 12), in_shape=(3, 4)),
    "matrix complex": lambda: from_matrix(_complex(7, 12), in_shape=(3, 4)),
    "matrix sparse": lambda: from_matrix(sparse.random(9, 20, 0.3, random_state=0), in_shape=(4, 5), out_shape=(3, 3)),
    "matrix sparse complex": lambda: from_matrix(sparse.csr_array(_complex(5, 6))),
    "scipy": lambda: from_scipy(aslinearoperator(_real(6, 8)), in_shape=(2, 4)),
    "scipy complex": lambda: from_scipy(aslinearoperator(_complex(6, 8)), out_shape=(3, 2)),
    "callables": lambda: from_callables(_double, _double, (3, 4), (3, 4)),
    "product": lambda: Mask(_mask(9, 10)) @ Blur(_psf(3, 3), (9, 10)),
    "product, unknown boundary": lambda: Mask(_mask(9, 8)) @ Blur(_psf(3, 4), (9, 8), boundary="unknown"),
    "product, numba and torch": lambda: ParallelBeam((8, 8), 5) @ Blur(_psf(3, 3), (8, 8)),
    "product of selections": lambda: Mask(_mask(6, 5)) @ Mask(_mask(6, 5, seed=3)),
    "product of blurs": lambda: Blur(_psf(3, 3), (6, 7)) @ Blur(_psf(2, 4), (6, 7)),
    "sum": lambda: Blur(_psf(3, 3), (6, 6)) + Mask(_mask(6, 6)),
    "difference": lambda: Identity((6, 6)) - Blur(_psf(3, 3), (6, 6)),
    "multiple": lambda: -2.5 * Blur(_psf(3, 3), (6, 7)),
    "multiple of samples": lambda: 3 * (Mask(_mask(9, 8)) @ Blur(_psf(3, 4), (9, 8))),
    "complex multiple": lambda: (1 + 2j) * Blur(_psf(3, 3), (6, 7)),
    "adjoint": lambda: Downsample(2, (8, 6)).H,
    "adjoint of a blur": lambda: Blur(_psf(2, 3), (6, 7)).H,
    "sampled": lambda: ParallelBeam((8, 8), 6).with_sampling(_mask(6, 12)),
    "sampled mri": lambda: CartesianMRI(_mask(6, 7), _complex(3, 6, 7)).with_sampling(_mask(3, 6, 7)),
    "stack": lambda: stack([Mask(_mask(6, 7)), Blur(_psf(3, 3), (6, 7)), Identity((6, 7))]),
    "stack of blurs": lambda: stack([Blur(_psf(3, 3), (6, 7)), Blur(_psf(2, 2), (6, 7))]),
    "stack flat": lambda: stack([Downsample(2, (6, 8)), FiniteDifference((6, 8)), Mask(_mask(6, 8))], flatten=True),
    "stack flat complex": lambda: stack([CartesianMRI(_mask(5, 6)), Identity((5, 6))], flatten=True),
    "restriction": lambda: Restriction([5, 0, -1], (8,)),
    "restriction, positions twice": lambda: Restriction([[3, 1], [0, 3]], (5, 2)),
    "restriction of an axis": lambda: Restriction([4, 0, 1], (3, 5, 2), axis=1),
    "restriction of an axis, twice": lambda: Restriction([4, 4, 1, 0], (3, 5), axis=-1),
    "reshape": lambda: Reshape((3, 4), (2, 6)),
    "permute": lambda: Permute((2, 0, 1), (3, 4, 5)),
    "diagonal": lambda: Diagonal(_real(5, 4)),
    "diagonal complex": lambda: Diagonal(_complex(5, 4)),
    "diagonal with zeros": lambda: Diagonal([0.0, 1.0, 2.0], (4, 3)),
    "vignetting": lambda: Vignetting([-0.4, 0.1], (5, 6)),
    "vignetting of frames, off centre": lambda: Vignetting([-0.2], (2, 5, 6), centre=(1.0, 4.5)),
    "illumination": lambda: Illumination(1 + 0.2 * _psf(2, 3), (6, 7)),
    "illumination, flat field": lambda: Illumination(0.5 + _psf(5, 6), (5, 6)),
    "frequency response": lambda: FrequencyResponse(lambda fy, fx: np.exp(2j * np.pi * (fy + 0.3 * fx)), (5, 7)),
    "frequency response complex": lambda: FrequencyResponse(_complex(5, 6)),
    "frequency response made real": lambda: FrequencyResponse(lambda f: 2j * np.pi * f, (8,), real=True),
    "block diagonal": lambda: block_diagonal([Blur(_psf(3, 3), (6, 7)), Mask(_mask(6, 7))]),
    "block diagonal flat": lambda: block_diagonal([ParallelBeam((5, 5), 4), Mask(_mask(4, 2))], flatten=True),
    "block diagonal complex": lambda: block_diagonal([CartesianMRI(_mask(5, 6)), Mask(_mask(5, 6))]),
    "block diagonal, closed form": lambda: block_diagonal([Downsample(2, (6, 8)), 2 * Downsample(2, (6, 8))]),
    "product, reshaped": lambda: Reshape((6, 7), (42,)) @ Blur(_psf(3, 4), (6, 7)),
    "product, permuted": lambda: Blur(_psf(3, 4), (6, 7)) @ Permute((1, 0), (7, 6)),
    "product, restricted": lambda: Restriction([3, 1], (6, 7), axis=0) @ Blur(_psf(3, 4), (6, 7)),
}

NONLINEAR = {
    "pointwise": lambda: Exponential((4, 5)),
    "by autograd": lambda: Square((4, 5)),
    "numpy alone": lambda: Cube((4, 5)),
    "real from complex": lambda: Power((4, 5)),
    "linear before": lambda: Exponential((5, 12)) @ ParallelBeam((8, 8), 5),
    "linear behind": lambda: ParallelBeam((4, 5), 3) @ Exponential((4, 5)),
    "linear around, complex": lambda: Mask(_mask(6, 5)) @ Power((6, 5)) @ CartesianMRI(_mask(6, 5)),
    "complex from real": lambda: CartesianMRI(_mask(4, 5)) @ Exponential((4, 5)),
    "numpy after torch": lambda: Cube((4, 5)) @ Square((4, 5)),
    "sum": lambda: Square((4, 5)) + Blur(_psf(3, 3), (4, 5)),
    "difference": lambda: Mask(_mask(4, 5)) - Exponential((4, 5)),
    "multiple": lambda: -2.5 * Square((4, 5)),
    "stack": lambda: stack([Exponential((6, 8)), Downsample(2, (6, 8))], flatten=True),
    "stack of magnitudes": lambda: stack([Power((4, 5)), 2 * Power((4, 5))]),
    "block diagonal": lambda: block_diagonal([Exponential((4, 5)), Mask(_mask(4, 5))]),
    "affine": lambda: Affine(Blur(_psf(3, 3), (5, 6)), _real(5, 6)),
    "flicker": lambda: Flicker(0.5 + _psf(3), (3, 4, 5), _real(3)),
    "haze": lambda: Haze(np.exp(-_psf(4, 5)), [0.7, 0.8, 0.9], (3, 4, 5)),
    "coded diffraction": lambda: CodedDiffraction(3, (5, 4)),
    "coded diffraction, magnitudes": lambda: CodedDiffraction(_complex(2, 4, 5), measures="magnitude"),
    "Fourier magnitude": lambda: FourierMagnitude((5, 4)),
    "Fourier magnitude, complex": lambda: FourierMagnitude((4, 6), 1.5, measures="magnitude", image="complex"),
    "ptychography": lambda: Ptychography(_complex(3, 4), [(0, 0), (2, 1), (1, 2)], (5, 6)),
    "random intensities": lambda: Phaseless(from_matrix(_complex(12, 4))),
    "magnitudes of a real field": lambda: Phaseless(from_matrix(_real(9, 4)), measures="magnitude", image="real"),
    "transmission": lambda: Transmission(ParallelBeam((6, 6), 4), 1e3),
    "transmission, hardening": lambda: Transmission(
        ParallelBeam((6, 6), 4), np.linspace(9, 99, 10), background=2.0, hardening=(-0.1, 0.01)
    ),
    "camera, srgb": lambda: CameraResponse((4, 5)),
    "camera, gamma": lambda: CameraResponse((4, 5), 2.2) @ Blur(_psf(3, 3) / _psf(3, 3).sum(), (4, 5)),
    "saturation": lambda: Saturation((4, 5), 0.7),
    "polynomial response": lambda: CameraResponse((4, 5), [0.2, 0.3, 0.5]),
    "clipping": lambda: Clipping((4, 5), -0.4, 0.8),
    "exposures": lambda: Exposures((4, 5), [1.0, 2.5, 0.3]),
    "logarithm": lambda: Logarithm((4, 5)),
    "mri with its coils": lambda: JointMRI(_mask(5, 6), 2),
    "mri with its coils, 3-d": lambda: JointMRI(_mask(3, 4, 2), 1),
    "t2": lambda: Relaxometry([10.0, 20.0, 50.0, 90.0], (3, 4)),
    "t1 by inversion": lambda: Relaxometry([0.0, 20.0, 50.0, 90.0], (3, 4), "inversion"),
    "t1 by saturation": lambda: Relaxometry([5.0, 20.0, 50.0], (12,), "saturation"),
    "t2 in k-space": lambda: block_diagonal([CartesianMRI(_mask(3, 4))] * 3) @ Relaxometry([10.0, 30.0, 80.0], (3, 4)),
    "from torch": lambda: from_torch(_waves, (4, 5), linear=False),
    "from callables": lambda: from_callables(np.exp, None, (4, 5), (4, 5), vjp=_exp_vjp, jvp=_exp_vjp),
    "from callables, no jvp": lambda: from_callables(np.exp, None, (4, 5), (4, 5), vjp=_exp_vjp),
}
