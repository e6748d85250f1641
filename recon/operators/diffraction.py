"""Diffraction patterns: of an object behind masks, of an isolated object, of the parts that a probe lights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recon.operators._scanned_probe import ScannedProbe
from recon.operators._unknown_probe import found_probe
from recon.operators.mri import CartesianMRI, sensitivities
from recon.operators.phase import Image, Measures, Phaseless
from recon.operators.pointwise import Crop
from recon.operators.unknown import Parametrised, Unknown
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, ShapeError
from solvers.validation import positive_float, positive_int, shape_argument

UNEVEN = 1e-2  # noise of a flat start
TRIALS = 8  # random starts where a single one often fails
CYCLES = 12
CYCLE = (60, 20)  # steps of hybrid input-output and of error reduction
EXPLAINED = 1e-3  # relative misfit at which no further start is tried


class CodedDiffraction(Phaseless):
    r"""Diffraction patterns of an object seen through several known masks: ``y_k = |F(m_k x)|^2``.

    ``F`` is the centred orthonormal Fourier transform, so that a mask of modulus one keeps the energy. Four random
    patterns determine almost every complex image up to a global phase.

    Parameters
    ----------
    patterns : int or array, shape (patterns, *shape)
        The masks, real or complex; a number of them draws random phases.
    shape : tuple of int, optional
        Shape of the image; needed where ``patterns`` is a number.
    measures, image
        See :class:`Phaseless`.
    rng : int or numpy.random.Generator, optional
        Source of the random phases; by default the same for every call.

    Raises
    ------
    ShapeError, DTypeError, NonFiniteError
        ``shape`` is missing or not that of the patterns; patterns that are not finite numbers.

    References
    ----------
    E. J. Candes, X. Li, M. Soltanolkotabi, "Phase retrieval from coded diffraction patterns", Appl. Comput. Harmon.
    Anal. 39 (2015).

    Examples
    --------
    >>> F = CodedDiffraction(4, (32, 32))
    >>> F(np.ones((32, 32))).shape, round(float(F(np.ones((32, 32))).sum()))
    ((4, 32, 32), 4096)
    """

    def __init__(
        self,
        patterns: Any = 4,
        shape: Sequence[int] | None = None,
        measures: Measures = "intensity",
        image: Image = "complex",
        rng: Any = None,
    ):
        self.patterns = _masks(patterns, None if shape is None else shape_argument("shape", shape), rng)
        super().__init__(CartesianMRI(np.ones(self.patterns.shape[1:], bool), self.patterns), measures, image)

    def __repr__(self) -> str:
        return f"CodedDiffraction({len(self.patterns)} patterns, {self.in_shape}, measures={self.measures!r})"


class FourierMagnitude(Phaseless):
    r"""One diffraction pattern of an isolated object: ``y = |F P x|^2``, ``P`` surrounding it with zeros.

    ``F`` is the centred orthonormal Fourier transform. The zeros around the object are what replaces the phases; they
    are known, so the image holds the object's frame only. An object and its mirror image about a point, both moved
    anywhere in the frame, measure the same: a frame that fits tightly leaves only the mirror image.

    Parameters
    ----------
    shape : tuple of int
        Frame of the object, in pixels.
    oversampling : float
        Length of each axis of the pattern over that of the frame; at least 2 for a measurement without aliases.
    measures, image
        See :class:`Phaseless`.

    Raises
    ------
    ArgumentError
        ``oversampling`` is below 1.

    References
    ----------
    J. R. Fienup, "Phase retrieval algorithms: a comparison", Appl. Opt. 21 (1982); J. Miao, D. Sayre, H. N. Chapman,
    "Phase retrieval from the magnitude of the Fourier transforms of nonperiodic objects", J. Opt. Soc. Am. A 15 (1998).

    Examples
    --------
    >>> F = FourierMagnitude((16, 16))
    >>> F(np.ones((16, 16))).shape, round(float(F(np.ones((16, 16))).sum()))
    ((32, 32), 256)
    """

    def __init__(
        self,
        shape: Sequence[int],
        oversampling: float = 2.0,
        measures: Measures = "intensity",
        image: Image = "nonnegative",
    ):
        shape = shape_argument("shape", shape)
        self.oversampling = positive_float("oversampling", oversampling)
        if self.oversampling < 1:
            raise ArgumentError(f"oversampling is {self.oversampling}; expected at least 1. Pass 2 for no aliases.")
        padded = tuple(round(self.oversampling * n) for n in shape)
        frame = tuple(slice(m // 2 - n // 2, m // 2 - n // 2 + n) for n, m in zip(shape, padded, strict=True))
        super().__init__(CartesianMRI(np.ones(padded, bool)) @ Crop(padded, frame).H, measures, image)

    def starts(self, y: Array, rng: np.random.Generator) -> Iterator[Array]:
        """None: the first guess is already the best of several."""
        return iter(())

    @property
    def starting(self) -> tuple[str, str]:
        return "random phases", f"not convex: up to {TRIALS} tries, the one that explains most goes on"

    def _found(self, b: Array, rng: np.random.Generator) -> Array:
        """The best, for each item of the batch, of several images that random phases lead to."""
        best = self._descended(b, self._cycled(b, rng))
        for _ in range(TRIALS - 1):
            misfit = self._misfit(b, best)
            if (misfit < EXPLAINED).all():
                break
            other = self._descended(b, self._cycled(b, rng))
            best = arrays.namespace(b).where(self._misfit(b, other) < misfit, other, best)
        return best

    def _misfit(self, b: Array, x: Array) -> Array:
        """``| |A x| - b | / |b|`` of each item, on axes of length one."""
        axes = tuple(range(-len(self.out_shape), 0))
        missed = ((abs(self.field(x)) - b) ** 2).sum(axes, keepdims=True)
        return (missed / ((b**2).sum(axes, keepdims=True) + arrays.eps(b))) ** 0.5

    def _cycled(self, b: Array, rng: np.random.Generator) -> Array:
        """From random phases by turns of hybrid input-output and error reduction."""
        from solvers.loop import unroll
        from solvers.phase_retrieval import HIO, ErrorReduction

        problem = (self.field, b, self.kind == "real", self._constraint)
        climb, settle = HIO(*problem), ErrorReduction(*problem)
        x = climb.image(b * arrays.asarray(np.exp(2j * np.pi * rng.random(tuple(b.shape))), b))
        for _ in range(CYCLES):
            x = unroll(settle, unroll(climb, x, CYCLE[0]), CYCLE[1])
        return x

    def __repr__(self) -> str:
        return f"FourierMagnitude({self.in_shape}, pattern {self.out_shape}, measures={self.measures!r})"


class Ptychography(Parametrised, Phaseless):
    r"""Diffraction patterns of the parts of an object that a probe lights in turn: ``y_j = |F(p x_j)|^2``.

    ``x_j`` is the part of the image at the ``j``-th position, of the probe's shape, and ``F`` the centred orthonormal
    Fourier transform. Neighbouring parts overlap, by 60 % or more, which determines the phases.

    Parameters
    ----------
    probe : array, shape (rows, columns), or Unknown
        Complex illumination. An unknown one, ``Unknown(start=...)`` or ``Unknown(shape=(rows, columns))``, is found
        with the object, from that start and from several that are out of focus by different amounts. By convention
        its energy is that of the mean pattern, and its centre that of the start, or of its window: neither a factor,
        a shift nor a phase ramp that probe and object share can be seen.
    positions : array of int, shape (positions, 2)
        First row and column of each part.
    shape : tuple of int
        Shape of the image. Pixels that no position lights cannot be seen.
    measures, image
        See :class:`Phaseless`.

    Raises
    ------
    ShapeError, ArgumentError, DTypeError, NonFiniteError
        Probe or positions of another shape or kind; a part that leaves the image.

    References
    ----------
    J. M. Rodenburg, H. M. L. Faulkner, "A phase retrieval algorithm for shifting illumination", Appl. Phys. Lett. 85
    (2004); P. Thibault et al., "High-resolution scanning X-ray diffraction microscopy", Science 321 (2008);
    unknown probes: A. M. Maiden, J. M. Rodenburg, "An improved ptychographical phase retrieval algorithm for
    diffractive imaging", Ultramicroscopy 109 (2009).

    Examples
    --------
    >>> F = Ptychography(np.ones((8, 8)), [(0, 0), (0, 4), (4, 0), (4, 4)], (12, 12))
    >>> F(np.ones((12, 12))).shape
    (4, 8, 8)
    """

    parameters = ("probe",)
    refined = ("probe",)
    _begun = "nearly flat"
    guessing = "with the object, from several defoci: the one that explains most goes on"

    def __init__(
        self,
        probe: Any,
        positions: Any,
        shape: Sequence[int],
        measures: Measures = "intensity",
        image: Image = "complex",
    ):
        super().__init__(ScannedProbe(probe, positions, shape), measures, image)

    @classmethod
    def neutral(cls, name: str, unknown: Unknown, arguments: dict[str, Any]) -> np.ndarray:
        if unknown.shape is None or len(unknown.shape) != 2:
            raise ArgumentError(
                f"probe is Unknown of shape {unknown.shape}; expected (rows, columns), those of a pattern. "
                "Pass Unknown(shape=...), or a start."
            )
        return np.ones(unknown.shape, dtype=complex)

    @classmethod
    def estimated(cls, y: np.ndarray, names: Any, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        at_rest = cls(**{**arguments, "probe": np.ones(names["probe"])})
        if y.shape != at_rest.out_shape:
            raise ShapeError(
                f"y has shape {y.shape}; expected {at_rest.out_shape}, one scan whose probe is unknown. "
                "Reconstruct scans one by one."
            )
        b = np.sqrt(np.maximum(y, 0)) if at_rest.measures == "intensity" else np.maximum(y, 0)
        probe = found_probe(b, np.asarray(arguments["positions"]), at_rest.in_shape, arguments.get("probe"))
        return {"probe": probe}

    def _start(self, b: Array, rng: np.random.Generator) -> Array:
        """Almost flat: a spectral start leaves parts far from each other with phases of their own."""
        from solvers.phase_retrieval import random_image, scaled_to

        batch = tuple(b.shape[: b.ndim - len(self.out_shape)])
        noise = random_image(batch + self.in_shape, b, rng, real=self.kind == "real")
        return scaled_to(self.field, 1 + UNEVEN * noise, b)

    def __repr__(self) -> str:
        parts, *probe = self.out_shape
        return f"Ptychography({parts} positions, probe {tuple(probe)}, {self.in_shape}, measures={self.measures!r})"


def _masks(patterns: Any, shape: tuple[int, ...] | None, rng: Any) -> np.ndarray:
    """The masks given, or random phases."""
    if np.ndim(patterns) == 0:
        count = positive_int("patterns", patterns)
        if shape is None:
            raise ShapeError(f"shape is None with patterns={count}; expected the image's shape. Pass shape=(128, 128).")
        rng = np.random.default_rng(0 if rng is None else rng)
        return np.exp(2j * np.pi * rng.random((count, *shape)))
    values = arrays.to_numpy(patterns)
    if values.ndim < 2:
        raise ShapeError(f"patterns has shape {values.shape}; expected (patterns, *shape). Pass a stack of masks.")
    return sensitivities(values, values.shape[1:] if shape is None else shape, name="patterns")
