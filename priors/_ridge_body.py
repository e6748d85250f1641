"""The ridge regulariser at given weights, on tensors: filters, profile, their gradient and Hessian."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from solvers.kernels import block_of, run_jobs

STRIP = 2**19
"""Pixels whose responses are in memory at once, where no gradients are taken."""


BORDER = 0.8
"""Weight of the responses next to an edge, which see what is near it twice: without it, the gain would be larger there
than inside, and the weak convexity with it."""


class Ridge:
    """``R(x) = sum_i sum_p b_p psi(c_i (W_i x)_p) / c_i^2`` of images ``(batch, 1, rows, columns)``.

    The weights b are 1 inside.

    Parameters
    ----------
    scales : Tensor
        ``c``, for each channel of the responses ``W x``.
    table : Tensor
        psi, psi' and psi'' at the knots 0, 1, ... of psi', ``(knots, 3)``.
    kernels : sequence of Tensor
        Convolutions that make ``W`` one after the other; images go on as their mirror image.
    """

    def __init__(self, scales: Tensor, table: Tensor, kernels: Sequence[Tensor]) -> None:
        self.scales, self.table, self.kernels = scales, table, tuple(kernels)
        self.reach = sum(k.shape[-1] - 1 for k in kernels) // 2

    @classmethod
    def of(cls, weights: Sequence[Tensor]) -> Ridge:
        """From scales, table and kernels in a row."""
        return cls(weights[0], weights[1], weights[2:])

    def half(self) -> Ridge:
        """The same, whose convolutions have fewer digits."""
        return Ridge(self.scales, self.table, [k.bfloat16() for k in self.kernels])

    @cached_property
    def _turned(self) -> list[Tensor]:
        """Kernels of the adjoint, the last one first: a convolution is quicker than a transposed one."""
        turned = [k.flip(2, 3).transpose(0, 1) for k in reversed(self.kernels)]
        return [k.contiguous(memory_format=torch.channels_last) for k in turned]

    def analysis(self, x: Tensor) -> Tensor:
        """The responses ``W x``, ``(batch, channels, rows, columns)``."""
        return self._filtered(extended(x, self.reach))

    def synthesis(self, t: Tensor) -> Tensor:
        """The adjoint of :meth:`analysis`."""
        return folded(self._spread(t), self.reach)

    def value(self, x: Tensor) -> Tensor:
        """``R(x)``, with gradients."""
        return self._potentials(self.analysis(x), self.border(x)).sum()

    def slopes(self, t: Tensor, border: Tensor) -> Tensor:
        """``b psi'(c t) / c``, with gradients."""
        u, k, rest = self._pieces(t)
        slopes = torch.sign(u) * (self.table[:, 1][k] + rest * self.table[:, 2][k])
        return border * slopes / self.scales.view(-1, 1, 1)

    def border(self, x: Tensor) -> Tensor:
        """The weights of the pixels, ``(rows, columns)``."""
        rows, columns = (x.new_ones(n) for n in x.shape[2:])
        for axis in (rows, columns):
            axis[: self.reach] = axis[-self.reach :] = BORDER
        return torch.outer(rows, columns)

    def gradient(self, x: Tensor) -> Tensor:
        """``R'(x)``, with gradients."""
        return self.synthesis(self.slopes(self.analysis(x), self.border(x)))

    @torch.no_grad()
    def plain_value(self, x: Tensor) -> float:
        """``R(x)``."""
        return sum(self._total(self._filtered(part), border) for _, part, border in self._strips(x))

    @torch.no_grad()
    def plain_gradient(self, x: Tensor) -> Tensor:
        """``R'(x)`` without gradients of its own."""
        out = x.new_zeros(*x.shape[:2], *(n + 2 * self.reach for n in x.shape[2:]))
        for rows, part, border in self._strips(x):
            out[..., rows, :] += self._spread(self._mapped("slopes", self._filtered(part), border))
        return folded(out, self.reach)

    @torch.no_grad()
    def hessian(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """``R''(x)`` as a function of an image."""
        second = self._mapped("curvatures", self.analysis(x), self.border(x))
        return lambda z: self.synthesis(second * self.analysis(z))

    def _strips(self, x: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Rows of the extended image whose responses are a strip of them, and the weights of these."""
        z, rows, border = extended(x, self.reach), x.shape[2], self.border(x)
        height = max(1, STRIP // (x.shape[0] * x.shape[3]))
        for start in range(0, rows, height):
            own = slice(start, min(start + height, rows) + 2 * self.reach)
            yield own, z[..., own, :], border[start : start + height]

    def _filtered(self, z: Tensor) -> Tensor:
        t = z.to(self.kernels[0].dtype)
        for kernel in self.kernels:
            t = functional.conv2d(t, kernel.contiguous(memory_format=torch.channels_last))
        return t.to(z.dtype)

    def _spread(self, t: Tensor) -> Tensor:
        out = t.to(self.kernels[0].dtype)
        for kernel in self._turned:
            out = functional.conv2d(out, kernel, padding=kernel.shape[-1] - 1)
        return out.to(t.dtype)

    def _pieces(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Responses in knots, the knot on their left, and the rest."""
        u = t * self.scales.view(-1, 1, 1)
        k = u.detach().abs().clamp(max=len(self.table) - 1).int()
        return u.detach(), k, u.abs() - k

    def _potentials(self, t: Tensor, border: Tensor) -> Tensor:
        _, k, rest = self._pieces(t)
        psi = self.table[:, 0][k] + rest * (self.table[:, 1][k] + 0.5 * rest * self.table[:, 2][k])
        return border * psi / self.scales.view(-1, 1, 1).square()

    def _total(self, t: Tensor, border: Tensor) -> float:
        if t.device.type != "cpu":
            return float(self._potentials(t, border).sum(dtype=torch.float64))
        from priors import ridge_kernels

        rows = _rows(t)
        block = block_of(len(rows))
        out = np.empty(-(-len(rows) // block))
        run_jobs(
            ridge_kernels.values, t.numel(), len(out), block, rows, border.numpy().ravel(), *self._profile(t.dtype), out
        )
        return float(out.sum())

    def _mapped(self, name: str, t: Tensor, border: Tensor) -> Tensor:
        """A function of the profile on every response, by a kernel on a CPU."""
        if t.device.type != "cpu":
            return self.slopes(t, border) if name == "slopes" else border * self.table[:, 2][self._pieces(t)[1]]
        from priors import ridge_kernels

        rows = _rows(t)
        block = block_of(len(rows))
        given = rows, border.numpy().ravel(), *self._profile(t.dtype)
        run_jobs(getattr(ridge_kernels, name), t.numel(), -(-len(rows) // block), block, *given)
        return _responses(rows, t)

    def pulled_back(self, x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        """Derivatives of ``w . R'(x)`` by scales, table and kernels."""
        with torch.enable_grad():
            free = [weight.detach().requires_grad_() for weight in (self.scales, self.table, *self.kernels)]
            ridge = Ridge(free[0], free[1], free[2:])
            if x.device.type != "cpu":
                return torch.autograd.grad(
                    (ridge.analysis(w) * ridge.slopes(ridge.analysis(x), self.border(x))).sum(), free
                )
            both = ridge.analysis(torch.cat((x, w)))
        from priors import ridge_kernels

        t, along = (_rows(part.detach()).copy() for part in both.chunk(2))
        block = block_of(len(t))
        jobs = -(-len(t) // block)
        by_scale, by_knot = np.zeros((jobs, t.shape[1])), np.zeros((jobs, 2, len(self.table)))
        given = t, along, self.border(x).numpy().ravel(), *self._profile(x.dtype)
        run_jobs(ridge_kernels.pullback, t.size, jobs, block, *given, by_scale, by_knot)
        outer = torch.cat([_responses(part, both) for part in (t, along)])
        by_table = np.pad(by_knot.sum(0), ((1, 0), (0, 0))).T
        own = (torch.from_numpy(np.ascontiguousarray(a)).to(x.dtype) for a in (by_scale.sum(0), by_table))
        return *own, *torch.autograd.grad(both, free[2:], outer)

    def _profile(self, dtype: torch.dtype) -> list[np.ndarray]:
        """Scales, one over them, psi, psi' and psi'' as kernels take them."""
        parts = (self.scales, 1 / self.scales, *self.table.T)
        return [part.detach().to(dtype).contiguous().numpy() for part in parts]


def _rows(t: Tensor) -> np.ndarray:
    """Responses as ``(pixel, channel)``; the same memory where channels come last."""
    return t.permute(0, 2, 3, 1).reshape(-1, t.shape[1]).numpy()


def _responses(rows: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(rows).view(-1, *like.shape[2:], like.shape[1]).permute(0, 3, 1, 2)


def extended(x: Tensor, reach: int) -> Tensor:
    """The image, on each side continued by its mirror image."""
    for axis in (-2, -1):
        n = x.shape[axis]
        x = torch.cat((x.narrow(axis, 0, reach).flip(axis), x, x.narrow(axis, n - reach, reach).flip(axis)), axis)
    return x


def folded(x: Tensor, reach: int) -> Tensor:
    """Adjoint of :func:`extended`."""
    for axis in (-2, -1):
        n = x.shape[axis] - 2 * reach
        low, high = x.narrow(axis, 0, reach).flip(axis), x.narrow(axis, n + reach, reach).flip(axis)
        x = x.narrow(axis, reach, n).clone()
        x.narrow(axis, 0, reach).add_(low)
        x.narrow(axis, n - reach, reach).add_(high)
    return x
