"""Unknown parameters of a forward model, estimated together with the image.

``Vignetting(Unknown(), shape)`` is not one operator but a family of them, one for each value of the parameter. The
family with its values filled in is the operator with known parameters, nothing else: same class, same closed forms.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recon.operators.base import LinearOperator, Operator
from solvers import arrays
from solvers.errors import ArgumentError, DTypeError, OperatorError, ShapeError
from solvers.validation import require_finite, shape_argument


@dataclass(frozen=True, eq=False)
class Unknown:
    """A parameter that is not known: :func:`recon.reconstruct` finds it with the image.

    Pass it to a forward model in place of an argument: ``Vignetting(Unknown(), shape)``. What was found stands in
    ``info.unknowns``. One value holds for all images of a batch.

    Parameters
    ----------
    start : array, optional
        First guess. By default the model guesses from the measurement, or starts where it does nothing.
    shape : tuple of int, optional
        Shape of the parameter, where the model leaves a choice: the grid of an illumination, the size of a PSF.
    prior : Prior, optional
        What is known of the parameter, as a proximal map: a constraint of :mod:`priors`, or ``strength * prior``.
    bounds : (float, float), optional
        Smallest and largest value.
    name : str, optional
        Name in ``info.unknowns``; by default that of the argument.

    Raises
    ------
    ArgumentError, DTypeError
        ``start`` is not finite, or ``shape``, ``prior`` or ``bounds`` is none.

    Examples
    --------
    >>> from recon.operators import Vignetting
    >>> family = Vignetting(Unknown(), shape=(48, 64))
    >>> sorted(family.unknowns), family.with_values(coefficients=[-0.3, 0.0, 0.0])
    (['coefficients'], Vignetting((48, 64), gain 0.7 in the corners))
    """

    start: Any = None
    shape: tuple[int, ...] | None = None
    prior: Any = None
    bounds: tuple[float, float] | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.start is not None:
            start = arrays.to_numpy(self.start)
            start = start.astype(complex if start.dtype.kind == "c" else float)
            require_finite("start", start, "Pass a finite first guess, or None.")
            if self.shape is not None and start.shape != tuple(self.shape):
                raise ShapeError(
                    f"start has shape {start.shape}; expected {self.shape}, as shape says. Pass one of them."
                )
            object.__setattr__(self, "start", start)
        if self.shape is not None:
            object.__setattr__(self, "shape", shape_argument("shape", self.shape))
        if self.prior is not None and not hasattr(self.prior, "prox"):
            raise DTypeError(f"prior is {self.prior!r}; expected an object with prox. See priors.Simplex.")
        if self.bounds is not None and not float(self.bounds[0]) < float(self.bounds[1]):
            raise ArgumentError(f"bounds are {self.bounds}; expected lower < upper. Swap or widen them.")

    @property
    def free(self) -> bool:
        """Whether nothing is known of it."""
        return self.bounds is None and self.prior is None

    def admissible(self, value: np.ndarray, step: float = 1.0) -> np.ndarray:
        """The proximal map of what is known of the parameter: bounds, then the prior."""
        if self.bounds is not None:
            value = np.clip(value, *self.bounds)
        return value if self.prior is None else np.asarray(self.prior.prox(value, step))


class Parametrised:
    """What a forward model offers so that its arguments may be :class:`Unknown`.

    An operator that inherits it (first) lists the arguments in ``parameters``, and writes :meth:`neutral`,
    :meth:`in_parameter` and, where it can, :meth:`estimated` and :meth:`gauge`.
    """

    parameters: tuple[str, ...] = ()

    refined: tuple[str, ...] = ()
    """Those whose ``start`` is where :meth:`estimated` begins, not what stands."""

    of_a_series: tuple[str, ...] = ()
    """Those that one image, however likely, does not tell: several measurements of it do."""

    guessing: str = "guessed by the model from the measurement"
    """How :meth:`estimated` finds them, for the plan."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if not any(isinstance(given, Unknown) for given in (*args, *kwargs.values())):
            return super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(list(bound.arguments.items())[1:])
        return Model(cls, arguments)

    @classmethod
    def neutral(cls, name: str, unknown: Unknown, arguments: dict[str, Any]) -> np.ndarray:
        """A value of the parameter with which the model does next to nothing; its shape is that of the parameter."""
        raise NotImplementedError

    @classmethod
    def estimated(cls, y: np.ndarray, names: Sequence[str], arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        """Values of the parameters ``names`` guessed from a measurement; ``arguments`` holds the known ones."""
        return {}

    def in_parameter(self, name: str, x: np.ndarray) -> Operator:
        """The measurement as a function of one parameter, image and other parameters fixed.

        ``in_shape`` is the parameter's; ``out_shape`` that of the measurement, the batch of ``x`` included. Linear or
        :class:`~recon.operators.affine.Affine` for bilinear models.
        """
        raise NotImplementedError

    def gauge(self, names: Sequence[str]) -> tuple[dict[str, np.ndarray], float, float]:
        """Values that follow the convention, and the ``a, b`` with which the image ``a x + b`` measures the same."""
        return {}, 1.0, 0.0


class Family:
    """A forward model with unknown parameters; :func:`recon.reconstruct` takes it as it takes an operator.

    Attributes
    ----------
    unknowns : dict of str to Unknown
    in_shape, out_shape : tuple of int
        Shapes of one image and one measurement.
    """

    unknowns: dict[str, Unknown]

    of_a_series: tuple[str, ...] = ()
    guessing: str

    def __init__(self) -> None:
        at_rest = self.with_values(**self.neutral())
        self.in_shape, self.out_shape = at_rest.in_shape, at_rest.out_shape

    def with_values(self, **values: Any) -> Any:
        """The operator with these parameters, known ones from now on."""
        raise NotImplementedError

    def neutral(self) -> dict[str, np.ndarray]:
        """For each unknown its first guess, or a value with which the model does next to nothing."""
        raise NotImplementedError

    def estimated(self, y: np.ndarray) -> dict[str, np.ndarray]:
        """Values that the model guesses from a measurement; not every unknown need be among them."""
        raise NotImplementedError

    def in_parameter(self, name: str, x: np.ndarray, **values: Any) -> Operator:
        """The measurement as a function of the unknown ``name``; the image and the other ``values`` are fixed."""
        raise NotImplementedError

    def gauge(self, x: np.ndarray, **values: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The same measurement with parameters that follow the convention, and the image that goes with them."""
        found, a, b = self._gauge(values)
        return {**values, **found}, a * x + b

    def fit(self, x: Any, y: Any) -> dict[str, np.ndarray]:
        """The parameters with which a known image explains its measurement: a chart, a flat field, a point.

        Parameters
        ----------
        x : array, shape (..., *in_shape)
            What was in front of the camera.
        y : array, shape (..., *out_shape)

        Returns
        -------
        dict of str to array
            For :meth:`with_values`.
        """
        from solvers.variable_projection import fit_parameters

        image, measured = (np.asarray(arrays.to_numpy(a), dtype=float) for a in (x, y))
        start = {**self.neutral(), **{n: u.start for n, u in self.unknowns.items() if u.start is not None}}
        return fit_parameters(self, measured, image, start)

    def _gauge(self, values: dict[str, Any]) -> tuple[dict[str, np.ndarray], float, float]:
        raise NotImplementedError

    def _require(self, values: dict[str, Any]) -> None:
        if set(values) != set(self.unknowns):
            raise ArgumentError(
                f"values are given for {sorted(values)}; expected {sorted(self.unknowns)}. Pass one for each unknown."
            )

    def __matmul__(self, other: Any) -> Family:
        return ModelProduct(self, other) if isinstance(other, (Operator, Family)) else NotImplemented

    def __rmatmul__(self, other: Any) -> Family:
        return ModelProduct(other, self) if isinstance(other, Operator) else NotImplemented


class Model(Family):
    """One forward model, some of whose arguments are unknown."""

    def __init__(self, operator: Any, arguments: dict[str, Any]):
        self.operator = operator
        self._arguments: dict[str, Any] = {}  # of the constructor, known
        self._places: dict[str, str] = {}  # name of an unknown -> argument
        self.unknowns = {}
        for place, given in arguments.items():
            if not isinstance(given, Unknown):
                self._arguments[place] = given
                continue
            if place not in operator.parameters:
                raise OperatorError(
                    f"{place} of {operator.__name__} is Unknown; expected a value. What can be estimated there is "
                    f"{', '.join(operator.parameters)}."
                )
            self._places[given.name or place] = place
            self.unknowns[given.name or place] = given
        self.of_a_series = tuple(name for name, place in self._places.items() if place in operator.of_a_series)
        self.guessing = operator.guessing
        super().__init__()

    def with_values(self, **values: Any) -> Any:
        self._require(values)
        return self.operator(**self._arguments, **{self._places[name]: value for name, value in values.items()})

    def neutral(self) -> dict[str, np.ndarray]:
        return {
            name: self.operator.neutral(self._places[name], unknown, self._arguments)
            if unknown.start is None
            else unknown.start
            for name, unknown in self.unknowns.items()
        }

    def estimated(self, y: np.ndarray) -> dict[str, np.ndarray]:
        known = dict(self._arguments)
        known.update({self._places[n]: u.start for n, u in self.unknowns.items() if u.start is not None})
        wanted = {
            self._places[n]: n
            for n, u in self.unknowns.items()
            if u.start is None or self._places[n] in self.operator.refined
        }
        shapes = {place: self.neutral()[name].shape for place, name in wanted.items()}
        found = self.operator.estimated(y, shapes, known) if wanted else {}
        return {wanted[place]: self.unknowns[wanted[place]].admissible(value) for place, value in found.items()}

    def in_parameter(self, name: str, x: np.ndarray, **values: Any) -> Operator:
        return self.with_values(**values).in_parameter(self._places[name], x)

    def _gauge(self, values: dict[str, Any]) -> tuple[dict[str, np.ndarray], float, float]:
        free = [name for name, u in self.unknowns.items() if u.free]
        found, a, b = self.with_values(**values).gauge([self._places[name] for name in free])
        names = {place: name for name, place in self._places.items()}
        return {names[place]: value for place, value in found.items()}, a, b

    def __repr__(self) -> str:
        return f"{self.operator.__name__}({self.in_shape} -> {self.out_shape}, unknown: {', '.join(self.unknowns)})"


class ModelProduct(Family):
    """``F G`` where parameters of either are unknown."""

    def __init__(self, outer: Any, inner: Any):
        self.outer, self.inner = outer, inner
        self._parts = [part for part in (outer, inner) if isinstance(part, Family)]
        names = [name for part in self._parts for name in part.unknowns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ArgumentError(
                f"{', '.join(twice)} is unknown in both factors; expected names of their own. "
                f"Pass Unknown(name=...) in one of them."
            )
        self.unknowns = {name: u for part in self._parts for name, u in part.unknowns.items()}
        self.of_a_series = tuple(name for part in self._parts for name in part.of_a_series)
        self.guessing = "; ".join(dict.fromkeys(part.guessing for part in self._parts))
        super().__init__()

    def with_values(self, **values: Any) -> Any:
        self._require(values)
        return _filled(self.outer, values) @ _filled(self.inner, values)

    def neutral(self) -> dict[str, np.ndarray]:
        return {name: value for part in self._parts for name, value in part.neutral().items()}

    def estimated(self, y: np.ndarray) -> dict[str, np.ndarray]:
        found = self.outer.estimated(y) if isinstance(self.outer, Family) else {}
        if not isinstance(self.inner, Family):
            return found
        values = {**self.outer.neutral(), **found} if isinstance(self.outer, Family) else {}
        return {**found, **self.inner.estimated(undone(_filled(self.outer, values), y))}

    def in_parameter(self, name: str, x: np.ndarray, **values: Any) -> Operator:
        outer, inner = _filled(self.outer, values), _filled(self.inner, values)
        if isinstance(self.outer, Family) and name in self.outer.unknowns:
            return self.outer.in_parameter(name, inner(x), **_of(self.outer, values))
        of_inner = self.inner.in_parameter(name, x, **_of(self.inner, values))
        batch = of_inner.out_shape[: len(of_inner.out_shape) - len(outer.in_shape)]
        return batched(outer, batch) @ of_inner

    def _gauge(self, values: dict[str, Any]) -> tuple[dict[str, np.ndarray], float, float]:
        found, a, b = self.inner._gauge(_of(self.inner, values)) if isinstance(self.inner, Family) else ({}, 1.0, 0.0)
        inner = _filled(self.inner, {**values, **found})
        if isinstance(self.outer, Family) and isinstance(inner, LinearOperator):
            own, scale, shift = self.outer._gauge(_of(self.outer, values))
            if shift == 0:
                return {**found, **own}, scale * a, scale * b
            level = inner(np.ones(inner.in_shape))
            if np.ptp(level) < 1e-6 * abs(level.mean()):  # constants stay constants: a shift has one to match
                return {**found, **own}, scale * a, scale * b + shift / float(level.mean())
        return found, a, b

    def __repr__(self) -> str:
        return f"{self.outer!r} @ {self.inner!r}"


def _filled(part: Any, values: dict[str, Any]) -> Any:
    return part.with_values(**_of(part, values)) if isinstance(part, Family) else part


def _of(part: Family, values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in part.unknowns}


def batched(operator: Any, batch: tuple[int, ...]) -> Any:
    """``operator`` that counts the axes of a batch among those of its image."""
    if not batch:
        return operator
    from recon.operators.base import block_diagonal
    from recon.operators.rearrange import Reshape

    n = math.prod(batch)
    blocks = block_diagonal([operator] * n)
    inwards = Reshape(batch + operator.in_shape, (n, *operator.in_shape))
    return Reshape((n, *operator.out_shape), batch + operator.out_shape) @ blocks @ inwards


def undone(operator: Any, y: np.ndarray) -> np.ndarray:
    """A quick inverse of a known operator, good enough to guess from what stands behind it.

    A convolution is only undone in its mean: sharpening would bring out noise, and guesses look at large structures.
    """
    from recon._first_guess import first_guess
    from recon.operators.affine import Affine

    if isinstance(operator, Affine):
        return undone(operator.linear, y - operator.offset)
    if isinstance(operator, LinearOperator):
        transfer = operator.transfer()
        mean = 0.0 if transfer is None else float(transfer.flat[0].real)
        return y / mean if mean > 0 else np.asarray(first_guess(operator, y))
    guess = operator.first_guess(y)
    return y if guess is None else np.asarray(guess)
