"""Photons counted behind an absorbing object: the law of Beer and Lambert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators._nonlinear_combinations import Chain
from recon.operators.base import LinearOperator
from recon.operators.nonlinear import PointwiseOperator
from recon.operators.pointwise import Identity
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import ArgumentError, DTypeError, ShapeError
from solvers.validation import positive_float, require_finite

LEAST = -30.0  # line integral below which more photons are not told apart: numbers stay finite
FEWEST = 0.5  # counts that stand for none in the logarithm of a first guess
NEWTON_STEPS = 8


class Transmission(Chain):
    r"""Photon counts behind an object, ``y = counts * exp(-p(A x)) + background``: X-ray tomography at low dose.

    ``A x`` are line integrals of the attenuation. The counts are Poisson, so that ``reconstruct(y, F)`` weighs every
    ray by what it says; the logarithm of few counts is biased, and that of none is infinite.

    Parameters
    ----------
    projector : LinearOperator
        ``A``, for example :class:`ParallelBeam`; the image is then in 1/length.
    counts : float or array
        Expected counts without the object, broadcastable to the measurement.
    background : float
        Expected counts that did not come through the object: scatter, dark current.
    hardening : sequence of float
        Coefficients ``(c2, c3, ...)`` of ``p(t) = t + c2 t^2 + c3 t^3 + ...`` for a beam of many energies, mostly
        ``c2 < 0``: soft rays are absorbed first. ``p`` must rise over the line integrals that occur.

    Raises
    ------
    DTypeError, ArgumentError
        ``projector`` is not a linear operator; counts are not above zero, or the background is below it.

    References
    ----------
    H. Erdogan, J. A. Fessler, "Monotonic algorithms for transmission tomography", IEEE Trans. Med. Imaging 18 (1999);
    for the polynomial, G. T. Herman, "Correction for beam hardening in computed tomography", Phys. Med. Biol. 24
    (1979).

    Examples
    --------
    >>> from recon.operators import ParallelBeam
    >>> F = Transmission(ParallelBeam((8, 8), angles=6), counts=1e4)
    >>> bool((F(np.zeros((8, 8))) == 1e4).all())
    True
    """

    def __init__(self, projector: Any, counts: Any, *, background: float = 0.0, hardening: Sequence[float] = ()):
        if not isinstance(projector, LinearOperator):
            raise DTypeError(f"projector is {projector!r}; expected a linear operator. Pass one.")
        self.projector = projector
        self.law = BeerLambert(projector.out_shape, counts, background, hardening)
        super().__init__(self.law, projector)

    def example(self, rng: np.random.Generator) -> np.ndarray:
        """An image behind which some of the photons are left."""
        x = rng.random(self.in_shape)
        return x / max(float(abs(self.projector(x)).max()), 1e-30)

    def __repr__(self) -> str:
        return f"Transmission({self.projector!r}, {self.law.described})"


class BeerLambert(PointwiseOperator):
    """``y = counts * exp(-p(t)) + background`` of line integrals ``t``."""

    natural_noise = "poisson"

    def __init__(self, shape: Sequence[int], counts: Any, background: float, hardening: Sequence[float]):
        super().__init__(shape)
        values = np.asarray(counts, dtype=float)
        require_finite("counts", values, "Pass finite counts.")
        if not (values > 0).all():
            raise ArgumentError("counts holds values that are not above 0; expected counts. Mask dead cells out.")
        if not _broadcasts(values.shape, self.in_shape):
            raise ShapeError(
                f"counts has shape {values.shape}; expected {self.in_shape}, that of the measurement. Pass a number, "
                "or an array that broadcasts to it."
            )
        self.counts = float(values) if values.ndim == 0 else np.broadcast_to(values, self.in_shape)
        self._counts = Constant(self.counts)
        self.background = positive_float("background", background, zero=True)
        self.hardening = tuple(float(c) for c in hardening)
        require_finite("hardening", np.asarray(self.hardening), "Pass finite coefficients.")

    @property
    def described(self) -> str:
        """What ``repr`` says of it."""
        extra = f", hardening={self.hardening}" if self.hardening else ""
        return f"counts about {float(np.mean(self.counts)):.3g}{extra}"

    def data_term(self, y: Array, noise: Any, inner: Any = None) -> Any:
        """The likelihood of the line integrals, which is convex; None with hardening or other noise."""
        from recon.noise import Poisson
        from solvers.transmission import TransmissionLikelihood

        if not isinstance(noise, Poisson) or self.hardening:
            return None
        blank = self.counts if y is None else self.counts_like(y)
        return TransmissionLikelihood(inner or Identity(self.in_shape), y, blank, self.background + noise.background)

    def counts_like(self, y: Array) -> Any:
        """Counts without the object, in the precision and library of ``y``."""
        return self.counts if isinstance(self.counts, float) else self._counts.like(y)

    def inverse(self, y: Array) -> Array:
        """``t`` from the counts alone, ``p(t) = -log((y - background) / counts)``."""
        xp = arrays.namespace(y)
        target = xp.log(self.counts_like(y) / xp.clip(y - self.background, min=FEWEST))
        t = target
        for _ in range(NEWTON_STEPS if self.hardening else 0):
            t = t - (self._polynomial(t) - target) / xp.clip(self._rise(t), min=0.1)
        return t

    def _apply(self, t: Array) -> Array:
        return self._through(t) + self.background

    def _slope(self, t: Array) -> Array:
        return -self._through(t) * self._rise(t)

    def _through(self, t: Array) -> Array:
        xp = arrays.namespace(t)
        return self.counts_like(t) * xp.exp(-xp.clip(self._polynomial(t), min=LEAST))

    def _polynomial(self, t: Array) -> Array:
        total = 0 * t
        for c in reversed((1.0, *self.hardening)):
            total = (total + c) * t
        return total

    def _rise(self, t: Array) -> Array:
        total = 0 * t
        for power in range(len(self.hardening) + 1, 0, -1):
            total = total * t + power * (1.0, *self.hardening)[power - 1]
        return total


def _broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    trailing = target[len(target) - len(shape) :] if len(shape) <= len(target) else ()
    return len(trailing) == len(shape) and all(n in (1, m) for n, m in zip(shape, trailing, strict=True))
