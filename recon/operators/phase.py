"""Intensities and magnitudes of a field, from which phases are missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from recon.operators.base import LinearOperator
from recon.operators.blur import one_of
from recon.operators.nonlinear import Derivative, NonlinearOperator
from solvers import arrays
from solvers.arrays import Array
from solvers.errors import DTypeError

MEASURES = ("intensity", "magnitude")
IMAGES = ("complex", "real", "nonnegative")
REFLECTIONS = 300  # at most, before the descent
DESCENT = 30
SETTLED = 1e-6
PLENTY = 2  # samples for each unknown number: generic measurements then have one solution (Conca et al. 2015)
FURTHER = 2  # starts beside the first guess where there are fewer
DOUBT = 5.0  # in the weights of the descent that replaces reflections

Measures = Literal["intensity", "magnitude"]
Image = Literal["complex", "real", "nonnegative"]


class Phaseless(NonlinearOperator):
    r"""Intensity ``y = |A x|^2`` or magnitude ``y = |A x|`` of a linear field ``A x``.

    A global phase of a complex image, or sign of a real one, cannot be seen and comes out arbitrary.

    Parameters
    ----------
    field : LinearOperator
        ``A``: any operator, a random matrix for example.
    measures : {"intensity", "magnitude"}
        What a sample is: detectors count intensities, published data are often their roots.
    image : {"complex", "real", "nonnegative"}
        What is known of the image; ``nonnegative`` guides the first guess, ``bounds=(0, inf)`` also the solution.

    Raises
    ------
    DTypeError, OptionError
        ``field`` is not a linear operator; unknown ``measures`` or ``image``.

    References
    ----------
    Y. Shechtman et al., "Phase retrieval with application to optical imaging", IEEE Signal Process. Mag. 32 (2015).

    Examples
    --------
    >>> from recon.operators import Identity
    >>> Phaseless(Identity((2,)))(np.array([3.0, 3.0j]))
    array([9., 9.])
    """

    out_kind = "real"
    neighbours_alike = False
    _begun = "spectral"

    def __init__(self, field: LinearOperator, measures: Measures = "intensity", image: Image = "complex"):
        if not isinstance(field, LinearOperator):
            raise DTypeError(f"field is {field!r}; expected a linear operator. Pass one of recon.operators.")
        super().__init__(field.in_shape, field.out_shape)
        self.field = field
        self.measures = one_of("measures", measures, MEASURES)
        self.image = one_of("image", image, IMAGES)
        self.kind = "complex" if image == "complex" else "real"

    def _apply(self, x: Array) -> Array:
        z = self.field(x)
        return _squared(z) if self.measures == "intensity" else abs(z)

    def _linearize(self, x: Array) -> LinearOperator:
        return FieldSlopes(self, self._slope(self.field(x)), x)

    def _slope(self, z: Array) -> Array:
        """``g`` with ``d|z|^p = Re(conj(g) dz)``; zero where a magnitude has a kink."""
        if self.measures == "intensity":
            return 2 * z
        size = abs(z)
        return z / (size + (size == 0))

    def magnitudes(self, y: Array) -> Array:
        """``|A x|`` according to the measurement ``y``; what noise made negative reads zero."""
        y = arrays.namespace(y).clip(self._admit(y, "y", self.out_shape, "real"), min=0)
        return y**0.5 if self.measures == "intensity" else y

    def first_guess(self, y: Array) -> Array:
        """A spectral start, led past local minima by reflections, then a few steps of descent."""
        return self._found(self.magnitudes(y), np.random.default_rng(0))

    def starts(self, y: Array, rng: np.random.Generator) -> Iterator[Array]:
        """The same from other random vectors; none where so much is measured that the first guess does not fail."""
        b = self.magnitudes(y)
        for _ in range(self._further):
            yield self._found(b, rng)

    @property
    def starting(self) -> tuple[str, str]:
        explored = "reweighted flow" if self.field.diagonal_gram() is None else "reflections"
        tried = f"; {self._further} further ones are tried" if self._further else ""
        return f"{self._begun}, then {explored}", f"not convex: led past local minima{tried}"

    @property
    def _further(self) -> int:
        """Starts beside the first guess."""
        plenty = PLENTY * (2 if self.kind == "complex" else 1) * math.prod(self.in_shape)
        return 0 if math.prod(self.out_shape) >= plenty else FURTHER

    def example(self, rng: np.random.Generator) -> np.ndarray:
        x = super().example(rng)
        return abs(x) if self.image == "nonnegative" else x

    def _found(self, b: Array, rng: np.random.Generator) -> Array:
        return self._descended(b, self._explored(b, self._start(b, rng)))

    def _start(self, b: Array, rng: np.random.Generator) -> Array:
        from solvers.phase_retrieval import spectral_start

        return spectral_start(self.field, b, rng, real=self.kind == "real")

    def _explored(self, b: Array, x: Array) -> Array:
        """Past local minima."""
        from solvers.loop import solve
        from solvers.phase_retrieval import RAAR, AmplitudeFlow

        if self.field.diagonal_gram() is None:
            search: Any = AmplitudeFlow(self.field, b, self.kind == "real", self._constraint, DOUBT)
        else:
            search = RAAR(self.field, b, self.kind == "real", self._constraint)
        return solve(search, x, max_iter=REFLECTIONS, tol=SETTLED, objective=False).image

    def _descended(self, b: Array, x: Array) -> Array:
        from solvers.loop import unroll
        from solvers.phase_retrieval import AmplitudeFlow

        return unroll(AmplitudeFlow(self.field, b, self.kind == "real", self._constraint), x, DESCENT)

    @property
    def _constraint(self) -> Any:
        from priors import NonNegative

        return NonNegative() if self.image == "nonnegative" else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.field!r}, measures={self.measures!r})"


class FieldSlopes(Derivative):
    """``d -> Re(conj(g) A d)``, the derivative of a function of ``|A x|``."""

    operator: Phaseless

    def __init__(self, operator: Phaseless, slopes: Array, x: Array):
        super().__init__(operator, x)
        self.slopes = slopes

    def _apply(self, d: Array) -> Array:
        return _real(self._like(d).conj() * self.operator.field(d))

    def _adjoint(self, r: Array) -> Array:
        back = self.operator.field.adjoint(self._like(r) * r)
        return back if self.kind == "complex" else _real(back)

    def _like(self, v: Array) -> Array:
        return arrays.asarray(self.slopes if arrays.is_torch(v) else arrays.to_numpy(self.slopes), v)


def _squared(z: Array) -> Array:
    return z.real**2 + z.imag**2 if arrays.is_complex(z) else z**2


def _real(z: Array) -> Array:
    return z.real if arrays.is_complex(z) else z
