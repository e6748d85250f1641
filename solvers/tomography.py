"""Algebraic reconstruction and expectation maximisation, whole or in ordered subsets of the views.

    SIRT, SART:   x  <- P(x + C A_s^T R_s (y_s - A_s x)),    R = 1 / (A 1),  C = 1 / (A^T 1)
    MLEM, OSEM:   x  <- x / (A_s^T 1) * A_s^T (y_s / (A_s x + b))

A step is one pass over all subsets s, which costs one forward and one adjoint. Subsets hold every n-th view; they bring
the first passes n times as far and would end in a cycle, so they are merged until the whole iterates and converges.

Gilbert 1972; Andersen and Kak 1984; Gregor and Benson 2008. Shepp and Vardi 1982; Hudson and Larkin 1994.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from solvers import arrays
from solvers._subsets import column_sums, count_at, parts_of, row_sums, usual_count
from solvers.arrays import Array
from solvers.errors import ArgumentError
from solvers.regularised import Regularised, is_bound


@dataclass(frozen=True, slots=True)
class PassState:
    """State of the algorithms of this module."""

    x: Array  # image after a pass over all views


@dataclass(frozen=True, eq=False)
class _Passes(Regularised):
    """Passes over subsets of the views, for a non-negative operator and no prior but bounds."""

    def __post_init__(self) -> None:
        name, operator = type(self).__name__, self.data.operator
        if not getattr(operator, "nonnegative_but_rounding", getattr(operator, "nonnegative", False)):
            raise ArgumentError(
                f"the operator is {operator!r}, which is not known to be non-negative; {name} divides by its sums over "
                "rows and columns. Use CGLS, LSQR or FISTA."
            )
        if not all(is_bound(term) for term in self.prior.terms() if not _is_nothing(term.function)):
            raise ArgumentError(
                f"prior is {self.prior!r}; {name} takes none but bounds, and is regularised by stopping early. "
                "Use OrderedSubsets for a smooth prior, ADMM, PDHG or StochasticPDHG for any."
            )

    @property
    def _subsets(self) -> int:
        """Number of subsets of the first pass."""
        return 1

    @cached_property
    def _levels(self) -> dict[int, tuple[Any, ...]]:
        """For each number of subsets that is used: what :meth:`_prepared` makes of their data terms."""
        counts = {self._subsets >> k for k in range(self._subsets.bit_length())}
        return {count: tuple(map(self._prepared, parts_of(self.data, count))) for count in counts}

    def _prepared(self, part: Any) -> Any:
        """A subset's data term with its sums."""
        raise NotImplementedError

    def _updated(self, x: Array, prepared: Any) -> Array:
        """The image after one subset."""
        raise NotImplementedError

    @cached_property
    def _bounds(self) -> tuple[Any, ...]:
        return tuple(term.function for term in self.prior.terms() if is_bound(term))

    def _project(self, x: Array) -> Array:
        for bound in self._bounds:
            x = bound.prox(x, 1.0)
        return x

    def init(self, x0: Array) -> PassState:
        return PassState(self._project(x0))

    def step(self, state: PassState, k: int) -> PassState:
        x = state.x
        for prepared in self._levels[count_at(k, self._subsets)]:
            x = self._project(self._updated(x, prepared))
        return PassState(x)

    @property
    def operator(self) -> Any:
        """``A``."""
        return self.data.operator

    @property
    def y(self) -> Array:
        """The measurement."""
        return self.data.y


def _is_nothing(function: Any) -> bool:
    """Whether a function is the zero of ``prior="none"``."""
    return bool(getattr(function, "is_constraint", False) and getattr(function, "is_quadratic", False))


@dataclass(frozen=True, eq=False)
class SIRT(_Passes):
    """Simultaneous iterative reconstruction: ``min |R^(1/2) (A x - y)|^2`` within bounds, rows weighted by length.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. Least squares with a non-negative operator (its own weights are not used); a prior of
        bounds or none. The strength has no effect: stop early, see :class:`solvers.Discrepancy`.

    Raises
    ------
    ArgumentError
        The operator is not known to be non-negative, or there is a prior.

    References
    ----------
    J. Gregor, T. Benson, "Computational analysis and improvement of SIRT", IEEE Trans. Med. Imaging 27 (2008).

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import ParallelBeam
    >>> from solvers import SIRT, LeastSquares, unroll
    >>> A, square = ParallelBeam((8, 8), 24), np.pad(np.ones((4, 4)), 2)
    >>> x = unroll(SIRT(LeastSquares(A, A(square)), NonNegative(), 0.0), np.zeros((8, 8)), 200)
    >>> bool(abs(x - square).max() < 0.01)
    True
    """

    def _prepared(self, part: Any) -> tuple[Any, Array, Array]:
        back = part.operator.adjoint(part.y)
        rows = row_sums(part.operator, back)
        seen = arrays.namespace(rows).clip(rows, min=1e-6 * max(arrays.to_float(rows.max()), 1e-30))
        return part, 1 / seen, 1 / column_sums(part.operator, 1 + arrays.zeros(rows.shape, rows))

    def _updated(self, x: Array, prepared: tuple[Any, Array, Array]) -> Array:
        part, rows, columns = prepared
        return x + columns * part.operator.adjoint(rows * (part.y - part.operator(x)))


@dataclass(frozen=True, eq=False)
class SART(SIRT):
    """SIRT with ordered subsets of the views, merged as the passes go on; parameters as :class:`SIRT`.

    References
    ----------
    A. H. Andersen, A. C. Kak, "Simultaneous algebraic reconstruction technique (SART)", Ultrason. Imaging 6 (1984).

    Examples
    --------
    >>> from priors import NonNegative
    >>> from recon.operators import ParallelBeam
    >>> from solvers import SART, SIRT, LeastSquares, unroll
    >>> A, square = ParallelBeam((8, 8), 24), np.pad(np.ones((4, 4)), 2)
    >>> data, start = LeastSquares(A, A(square)), np.zeros((8, 8))
    >>> sart, sirt = (unroll(solver(data, NonNegative(), 0.0), start, 5) for solver in (SART, SIRT))
    >>> bool(abs(sart - square).max() < 0.6 * abs(sirt - square).max())
    True
    """

    @property
    def _subsets(self) -> int:
        return usual_count(self.data.operator)


@dataclass(frozen=True, eq=False)
class MLEM(_Passes):
    """Maximum likelihood of photon counts ``y ~ Poisson(A x + b)`` by expectation maximisation; ``x >= 0`` throughout.

    With a blur this is Richardson's and Lucy's deconvolution.

    Parameters
    ----------
    data, prior, strength
        See :class:`Regularised`. :class:`solvers.PoissonLikelihood` with a non-negative operator; a prior of bounds or
        none. The strength has no effect: stop early.
    uniform : bool
        Start from a uniform image whatever the start given: noise in a start stays in the first iterates.

    Raises
    ------
    ArgumentError
        The data are not counts, the operator is not known to be non-negative, or there is a prior.

    References
    ----------
    L. A. Shepp, Y. Vardi, "Maximum likelihood reconstruction for emission tomography", IEEE Trans. Med. Imaging 1
    (1982). W. H. Richardson, J. Opt. Soc. Am. 62 (1972); L. B. Lucy, Astron. J. 79 (1974).

    Examples
    --------
    >>> from priors import Zero
    >>> from recon.operators import ParallelBeam
    >>> from solvers import MLEM, PoissonLikelihood, unroll
    >>> A, activity = ParallelBeam((8, 8), 24), 100 * np.pad(np.ones((4, 4)), 2)
    >>> x = unroll(MLEM(PoissonLikelihood(A, A(activity)), Zero(), 0.0), np.ones((8, 8)), 200)
    >>> bool(abs(x - activity).max() < 1)
    True
    """

    uniform: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.data, "background"):
            raise ArgumentError(
                f"the data term is {type(self.data).__name__}; {type(self).__name__} takes photon counts. "
                "Pass PoissonLikelihood (noise='poisson'), or use SIRT or SART for least squares."
            )

    def init(self, x0: Array) -> PassState:
        """The start is made positive: an image of zeros stays one."""
        return PassState(self._project(self.data.start(0 * x0 if self.uniform else x0)))

    def residual_norm(self, state: PassState) -> float:
        """``|A x + b - y|``, each count over its standard deviation; pass it as noise of ``sigma`` 1."""
        mean = self.data.operator(state.x) + self.data.background
        mean = arrays.namespace(mean).clip(mean, min=1.0)
        return arrays.to_float(arrays.norm((mean - self.data.y) / mean**0.5))

    def _prepared(self, part: Any) -> tuple[Any, Array]:
        return part, 1 / column_sums(part.operator, 1 + arrays.zeros(part.y.shape, part.y))

    def _updated(self, x: Array, prepared: tuple[Any, Array]) -> Array:
        part, columns = prepared
        mean = part.operator(x) + part.background
        least = arrays.eps(x) * max(arrays.to_float(mean.max()), 1e-30)
        xp = arrays.namespace(mean)
        back = part.operator.adjoint(part.y / xp.clip(mean, min=least))
        return x * columns * xp.clip(back, min=0)  # transforms round some zeros to less


@dataclass(frozen=True, eq=False)
class OSEM(MLEM):
    """MLEM with ordered subsets of the views, merged as the passes go on; parameters as :class:`MLEM`.

    References
    ----------
    H. M. Hudson, R. S. Larkin, "Accelerated image reconstruction using ordered subsets of projection data", IEEE Trans.
    Med. Imaging 13 (1994).

    Examples
    --------
    >>> from priors import Zero
    >>> from recon.operators import ParallelBeam
    >>> from solvers import MLEM, OSEM, PoissonLikelihood, unroll
    >>> A, activity = ParallelBeam((8, 8), 24), 100 * np.pad(np.ones((4, 4)), 2)
    >>> data, start = PoissonLikelihood(A, A(activity)), np.ones((8, 8))
    >>> osem, mlem = (unroll(solver(data, Zero(), 0.0), start, 5) for solver in (OSEM, MLEM))
    >>> bool(abs(osem - activity).max() < 0.6 * abs(mlem - activity).max())
    True
    """

    @property
    def _subsets(self) -> int:
        return usual_count(self.data.operator)
