"""Huber total variation: quadratic for small differences, so that gentle slopes are not made flat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from priors.composite import Composite, check_channel_axis
from priors.differences import Gradient
from priors.group_norm import HuberGroupNorm
from solvers.arrays import Array
from solvers.protocols import Term
from solvers.validation import positive_float


@dataclass(frozen=True)
class HuberTV(Composite):
    """Huber total variation ``g(x) = sum_i h(|(D x)_i|)``, ``D`` being the differences of neighbouring pixels.

    ``h(r) = r^2 / (2 delta)`` where ``r <= delta`` and ``r - delta / 2`` elsewhere: differences below ``delta`` are
    taken for slopes and smoothed, those above are taken for edges and kept. Lengths and couplings are those of
    :class:`TotalVariation`, to which it tends for ``delta -> 0``.

    Parameters
    ----------
    delta : float
        Largest difference, divided by the spacing, that is a slope; in the unit of the image.
    ndim : int
        Number of trailing spatial axes: 1, 2 or 3. Leading axes are a batch.
    isotropic : bool
        Whether the directions are coupled.
    channel_axis : int, optional
        Negative axis of coupled channels, before the spatial ones. None treats all leading axes as a batch.
    spacing : float or tuple of float, optional
        Distance of neighbouring pixels along each spatial axis. None is 1.
    tol, iterations
        Accuracy of the proximal map (relative duality gap) and its most iterations; see :class:`TotalVariation`.

    References
    ----------
    Huber 1964; Charbonnier, Blanc-Feraud, Aubert and Barlaud 1997; proximal map: :mod:`priors.composite`.

    Examples
    --------
    >>> import numpy as np
    >>> from priors import HuberTV
    >>> HuberTV(0.5, ndim=1).value(np.array([0.0, 0.3, 2.0]))
    1.54
    """

    delta: float
    ndim: int = 2
    isotropic: bool = True
    channel_axis: int | None = None
    spacing: Any = None
    tol: float | None = None
    iterations: int = 2000

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", positive_float("delta", self.delta))
        object.__setattr__(self, "spacing", Gradient(self.ndim, self.spacing).spacing)
        check_channel_axis(self.channel_axis, self.ndim)
        self._check_accuracy()

    @property
    def image_ndim(self) -> int:
        return self.ndim if self.channel_axis is None else -self.channel_axis

    def terms(self) -> tuple[Term, ...]:
        """One term, of the periodic gradient, in which differences that wrap around do not count."""
        return (self._term(periodic=True),)

    def gradient(self, x: Array) -> Array:
        """``D^H h'(D x)``."""
        x = self._admit("x", x)
        term = self._composition()
        return term.adjoint(term.function.gradient(term.apply(x)))

    def _composition(self) -> Term:
        return self._term(periodic=False)

    def _term(self, *, periodic: bool) -> Term:
        K = Gradient(self.ndim, self.spacing, periodic=periodic)
        return Term(HuberGroupNorm(K, self.isotropic, self.channel_axis, smoothing=self.delta), K)
