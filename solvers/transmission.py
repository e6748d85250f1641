"""Photons counted behind an object: the transmission likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from solvers import arrays
from solvers.arrays import Array
from solvers.data_terms import DataTerm
from solvers.errors import ArgumentError

NEWTON_STEPS = 8


@dataclass(frozen=True)
class TransmissionLikelihood(DataTerm):
    """``sum_i m_i - y_i log m_i`` with ``m = blank exp(-A x) + background``: counts ``y ~ Poisson(m)``.

    For low doses, where ``-log(y / blank)`` is biased and undefined for no photon.

    Parameters
    ----------
    operator, y
        See :class:`DataTerm`; ``y`` are counts and ``A x`` line integrals of the attenuation.
    blank : float or array
        Expected counts without the object, broadcastable to ``y``.
    background : float
        Expected counts that do not come through the object (scatter, dark current).

    Notes
    -----
    The value is the Kullback-Leibler divergence, zero at ``m = y``. It is convex without background.

    References
    ----------
    H. Erdogan, J. A. Fessler, "Monotonic algorithms for transmission tomography", IEEE Trans. Med. Imaging 18 (1999).

    Examples
    --------
    >>> from recon.operators import Identity
    >>> data = TransmissionLikelihood(Identity((2,)), np.array([100.0, 50.0]), blank=100.0)
    >>> data.gradient(np.zeros(2)) + 0.0
    array([  0., -50.])
    """

    blank: Any = 1.0
    background: float = 0.0

    def __post_init__(self) -> None:
        if not (self.blank > 0 if _is_number(self.blank) else bool((self.blank > 0).all())):
            raise ArgumentError("blank holds values that are not above 0; expected counts. Mask dead cells out.")
        if self.background < 0:
            raise ArgumentError(f"background is {self.background}; expected counts of at least 0. Pass 0 for none.")

    def part(self, operator: Any, take: Callable[[Array], Array]) -> Self:
        """The term of a part of the measurement, with its blank scan."""
        part = super().part(operator, take)
        return part if _is_number(self.blank) else replace(part, blank=take(self.blank + 0 * self.y))

    def loss(self, w: Array) -> Any:
        xp = arrays.namespace(w)
        mean = xp.clip(self._through(w) + self.background, min=arrays.eps(w) ** 2)
        counts = xp.clip(self.y, min=0.0)
        log_ratio = xp.log(mean / xp.clip(counts, min=arrays.eps(w) ** 2))
        return (mean - counts - xp.where(counts > 0, counts * log_ratio, xp.zeros_like(mean))).sum()

    def loss_gradient(self, w: Array) -> Array:
        through = self._through(w)
        if not self.background:
            return self.y - through
        return through * (self.y / (through + self.background) - 1)

    def curvatures(self, w: Array) -> Array:
        through = self._through(w)
        return through if not self.background else through * through / (through + self.background)

    def loss_prox(self, v: Array, step: Any) -> Array:
        if self.background:
            raise ArgumentError(
                f"background is {self.background}; the proximal map has a closed form without one only. Subtract it "
                "from the counts, or use a solver that takes the gradient: FISTA, GradientDescent or LBFGS."
            )
        # w = u + z with u = v - step y, z e^z = step blank e^-u.
        u = v - step * self.y
        return u + _log_lambert(arrays.namespace(v).log(step * self.blank + 0 * u) - u)

    def _through(self, w: Array) -> Array:
        """Counts that come through; an integral below -50 is no longer told apart."""
        xp = arrays.namespace(w)
        return self.blank * xp.exp(-xp.clip(w, min=-50.0))


def _log_lambert(L: Array) -> Array:
    """The root ``z > 0`` of ``z + log z = L``: Lambert's W of ``exp(L)``, without overflow."""
    xp = arrays.namespace(L)
    above = xp.clip(L, min=1.0)
    below = xp.exp(xp.clip(L, max=1.0))
    z = xp.where(L > 1, above - xp.log(above) * above / (1 + above), below / (1 + below))
    z = xp.clip(z, min=arrays.eps(L) ** 16)
    for _ in range(NEWTON_STEPS):
        z = z * (1 + L - xp.log(z)) / (1 + z)
    return z


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))
