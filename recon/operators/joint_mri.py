"""Magnetic resonance imaging where the sensitivities of the coils are as unknown as the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.operators._constants import Constant
from recon.operators.base import LinearOperator
from recon.operators.mri import CartesianMRI
from recon.operators.nonlinear import AtAnImage, NonlinearOperator
from solvers import arrays
from solvers.arrays import Array
from solvers.validation import positive_int

STEEPNESS, ORDER = 220.0, 16  # of the weight (1 + steepness |f|^2)^order, f in cycles a pixel: Uecker et al. 2008


class JointMRI(NonlinearOperator):
    r"""k-space as a function of image and coil sensitivities together: ``y_c = m F (s_c x)``, ``s_c = F^H (c_c / w)``.

    The first of the ``coils + 1`` images is ``x``, the others are the spectra ``c_c`` of the sensitivities under the
    Sobolev weight ``w(f) = (1 + 220 |f|^2)^16``: the squared norm of ``c_c`` is large for all but smooth sensitivities.
    ``x`` and ``s_c`` share a factor of each pixel; :meth:`image` and :meth:`sensitivities` give it to the image, so
    that the squared sensitivities sum to one.

    Parameters
    ----------
    mask : array of bool, shape (ky, kx)
        True where k-space is measured, zero frequency at the centre. Any number of axes.
    coils : int
        Number of coils.

    Raises
    ------
    DTypeError, ArgumentError
        ``mask`` is not boolean or measures nothing, ``coils`` is not a number above zero.

    References
    ----------
    M. Uecker, T. Hohage, K. T. Block, J. Frahm, "Image reconstruction by regularized nonlinear inversion - joint
    estimation of coil sensitivities and image content", Magn. Reson. Med. 60 (2008).

    Examples
    --------
    >>> F = JointMRI(np.ones((8, 8), dtype=bool), coils=2)
    >>> u = np.zeros(F.in_shape, dtype=complex)
    >>> u[0], u[1, 4, 4] = 1.0, 8.0  # a flat image, seen by the first coil alone
    >>> F.in_shape, float(abs(F(u)[0, 4, 4]).round(6)), float(abs(F.sensitivities(u)[0]).min().round(6))
    ((3, 8, 8), 8.0, 1.0)
    """

    kind = "complex"
    neighbours_alike = False

    def __init__(self, mask: Any, coils: int):
        self._k_space = CartesianMRI(mask)
        self.mask, shape = self._k_space.mask, self._k_space.in_shape
        self.coils = positive_int("coils", coils)
        super().__init__((self.coils + 1, *shape), (self.coils, *shape))
        self.sampling = np.broadcast_to(self.mask, self.out_shape)
        self._whole = CartesianMRI(np.ones(shape, dtype=bool))
        self._smooth = Constant(1 / _sobolev_weight(shape))

    def image(self, u: Array) -> Array:
        """The image, in the unit in which the squared sensitivities sum to one."""
        x, s = self._parts(u)
        return x * _root_sum_of_squares(s, self._coil_axis)

    def sensitivities(self, u: Array) -> Array:
        """Those of the coils, (..., coils, *shape)."""
        _, s = self._parts(u)
        size = _root_sum_of_squares(s, self._coil_axis)
        return s / arrays.namespace(size).clip(size, min=arrays.eps(size) ** 2)[self._one_more]

    def first_guess(self, y: Array) -> Array:
        """A flat image of the brightness of the root sum of squares, and no sensitivity at all."""
        y = self._admit(y, "y", self.out_shape, self.out_kind)
        flat = _root_sum_of_squares(self._whole.adjoint(y), self._coil_axis)
        level = (flat * flat).mean() ** 0.5
        x = (level + 0 * flat + 0 * y[..., 0, *(slice(None),) * len(self.mask.shape)])[self._one_more]
        return arrays.namespace(y).concat([x, 0 * y], self._coil_axis)

    def _apply(self, u: Array) -> Array:
        x, s = self._parts(u)
        return self._k_space(s * x[self._one_more])

    def _linearize(self, u: Array) -> LinearOperator:
        return _Derivative(self, u)

    def _parts(self, u: Array) -> tuple[Array, Array]:
        """Image and sensitivities as the measurement has them."""
        x, c = self._split(u)
        return x, self._whole.adjoint(self._smooth.like(c) * c)

    def _split(self, u: Array) -> tuple[Array, Array]:
        behind = (slice(None),) * len(self.mask.shape)
        return u[(..., 0, *behind)], u[(..., slice(1, None), *behind)]

    @property
    def _coil_axis(self) -> int:
        return -1 - len(self.mask.shape)

    @property
    def _one_more(self) -> tuple[Any, ...]:
        """Index that gives an image the axis of the coils."""
        return (..., None, *(slice(None),) * len(self.mask.shape))

    def __repr__(self) -> str:
        return f"JointMRI({self.mask.shape}, {self.mask.mean():.1%} measured, {self.coils} coils unknown)"


class _Derivative(AtAnImage):
    """``m F (s_c dx + x ds_c)``."""

    def __init__(self, operator: JointMRI, u: Array):
        super().__init__(operator, u)
        self.operator = operator
        self.x, self.s = operator._parts(u)

    def _apply(self, d: Array) -> Array:
        x, s = self._at(d)
        dx, ds = self.operator._parts(d)
        one_more = self.operator._one_more
        return self.operator._k_space(s * dx[one_more] + x[one_more] * ds)

    def _adjoint(self, r: Array) -> Array:
        x, s = self._at(r)
        operator = self.operator
        seen = operator._k_space.adjoint(r)
        dx = (s.conj() * seen).sum(operator._coil_axis)[operator._one_more]
        dc = operator._smooth.like(r) * operator._whole(x.conj()[operator._one_more] * seen)
        return arrays.namespace(r).concat([dx, dc], operator._coil_axis)

    def _at(self, v: Array) -> tuple[Array, Array]:
        if arrays.is_torch(v):
            return arrays.asarray(self.x, v), arrays.asarray(self.s, v)
        return arrays.asarray(arrays.to_numpy(self.x), v), arrays.asarray(arrays.to_numpy(self.s), v)


def _sobolev_weight(shape: tuple[int, ...]) -> np.ndarray:
    squares = np.zeros(())
    for n in shape:
        squares = np.add.outer(squares, ((np.arange(n) - n // 2) / n) ** 2)
    return (1 + STEEPNESS * squares) ** ORDER


def _root_sum_of_squares(s: Array, axis: int) -> Array:
    return (abs(s) ** 2).sum(axis) ** 0.5
