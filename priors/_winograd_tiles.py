r"""Winograd's minimal filtering ``F(4 x 4, 3 x 3)``: tiles into and out of the form in which convolution is a product.

    y = A^T [(G w G^T) * (B^T d B)] A

gives 4 x 4 outputs y of a 3 x 3 convolution from 6 x 6 inputs d with 36 multiplications in the place of 144. Between
the channels of all tiles the elementwise products are 36 products of matrices, done here for TILES tiles at a time
whose sums stay in the processor's registers. The code is laid out here: the compiler does not find this form by itself.

References
----------
Lavin and Gray 2016, "Fast algorithms for convolutional neural networks".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from solvers.lanes import FLAGS, LANES, intrinsic, splat_of

OUT, IN = 4, 6
"""Sides of a tile of outputs, and of the inputs that it depends on."""

_WIDEST = bool(binding.get_host_cpu_features().get("avx512f"))
TILES, RUNS = (8, 2) if _WIDEST else (6, 1)
"""Tiles, and runs of output channels, whose sums stay in registers together."""

_RUN = ir.VectorType(ir.FloatType(), LANES)
_WORD = ir.IntType(64)
_ALIGN = 4

_WEIGHTS = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24


def transformed(weight: np.ndarray) -> np.ndarray:
    """``G w G^T`` of weights ``(outputs, inputs, 3, 3)`` as ``(36, inputs, outputs)``."""
    both = np.kron(_WEIGHTS, _WEIGHTS)
    flat = weight.astype(np.float64).reshape(*weight.shape[:2], -1)
    return np.einsum("qk,oik->qio", both, flat, optimize=True)


def _inputs_transformed(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> tuple[Any, ...]:
    """``B^T d`` of one column."""
    even, odd = d4 - 4 * d2, d3 - 4 * d1
    even_twice, odd_twice = d4 - d2, 2 * (d3 - d1)
    first, last = 4 * d0 + (d4 - 5 * d2), 4 * d1 + (d5 - 5 * d3)
    return first, even + odd, even - odd, even_twice + odd_twice, even_twice - odd_twice, last


def _outputs_of(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any) -> tuple[Any, ...]:
    """``A^T m`` of one column."""
    even, odd, even_twice, odd_twice = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return m0 + even + even_twice, odd + 2 * odd_twice, even + 4 * even_twice, odd + m5 + 8 * odd_twice


class _Code:
    """Code of arithmetic with runs."""

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value = builder, value

    def __add__(self, other: _Code) -> _Code:
        return _Code(self.builder, self.builder.fadd(self.value, other.value, flags=FLAGS))

    def __sub__(self, other: _Code) -> _Code:
        return _Code(self.builder, self.builder.fsub(self.value, other.value, flags=FLAGS))

    def __rmul__(self, factor: float) -> _Code:
        lanes = ir.Constant(_RUN, [float(factor)] * LANES)
        return _Code(self.builder, self.builder.fmul(lanes, self.value, flags=FLAGS))


class _Array:
    """Code that reads and writes runs of a flat array of single precision."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any):
        self.data = context.make_array(kind)(context, builder, array).data
        self._builder = builder

    def _place(self, at: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(self.data, [at]), _RUN.as_pointer())

    def read(self, at: Any) -> Any:
        return self._builder.load(self._place(at), align=_ALIGN)

    def write(self, at: Any, run: Any) -> None:
        self._builder.store(run, self._place(at), align=_ALIGN)


def _steps(builder: Any, at: Any, step: Any, count: int) -> list[Any]:
    """``at, at + step, ...``."""
    places = [at]
    while len(places) < count:
        places.append(builder.add(places[-1], step))
    return places


@intrinsic
def tile_in(_: Any, x: Any, at: Any, row: Any, pixel: Any, v: Any, to: Any, step: Any) -> Any:
    """``v[to + step * q] = (B^T d B)_q`` of inputs ``d_ij = x[at + row * i + pixel * j]``, each a run of channels."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (_Array(context, builder, signature.args[k], args[k]) for k in (0, 4))
        rows, columns = _steps(builder, args[1], args[2], IN), []
        for _ in range(IN):
            columns.append(_inputs_transformed(*(_Code(builder, source.read(at)) for at in rows)))
            rows = [builder.add(at, args[3]) for at in rows]
        places = iter(_steps(builder, args[5], args[6], IN * IN))
        for i in range(IN):
            for code in _inputs_transformed(*(column[i] for column in columns)):
                target.write(next(places), code.value)
        return context.get_dummy_value()

    word = types.intp
    return types.none(x, word, word, word, v, word, word), body


def _tile_out(finish: Callable[[Any, Any, Any, Any], Any]) -> Any:
    @intrinsic
    def tile_out(_: Any, m: Any, at: Any, step: Any, y: Any, to: Any, row: Any, pixel: Any, low: Any) -> Any:
        def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source, target = (_Array(context, builder, signature.args[k], args[k]) for k in (0, 3))
            places = iter(_steps(builder, args[1], args[2], IN * IN))
            rows = [_outputs_of(*(_Code(builder, source.read(next(places))) for _ in range(IN))) for _ in range(IN)]
            low = splat_of(builder, args[7], _RUN)
            for j, column in enumerate(_steps(builder, args[4], args[6], OUT)):
                results = _outputs_of(*(one[j] for one in rows))
                for place, code in zip(_steps(builder, column, args[5], OUT), results, strict=True):
                    target.write(place, finish(builder, code.value, target.read(place), low))
            return context.get_dummy_value()

        word = types.intp
        return types.none(m, word, word, y, word, word, word, types.float32), body

    return tile_out


def _at_least(builder: Any, result: Any, _: Any, low: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", result, low), low, result)


def _added(builder: Any, result: Any, before: Any, _: Any) -> Any:
    return builder.fadd(result, before)


tile_above = _tile_out(_at_least)
"""``tile_above(m, at, step, y, to, row, pixel, low)``: the outputs of ``m_q = m[at + step * q]``,

    ``y[to + row * i + pixel * j] = max(A^T m A, low)_ij``."""

tile_added = _tile_out(_added)
"""The same with ``y += A^T m A``; ``low`` is not looked at."""


def _products(runs: int) -> Any:
    @intrinsic
    def products(
        _: Any, v: Any, at: Any, v_step: Any, u: Any, u_at: Any, depth: Any, m: Any, to: Any, m_step: Any, first: Any
    ) -> Any:
        def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, at, v_step, _, u_at, depth, _, to, m_step, first = args
            left, right, sums = (_Array(context, builder, signature.args[k], args[k]) for k in (0, 3, 6))
            places = [_steps(builder, at, ir.Constant(_WORD, LANES), runs) for at in _steps(builder, to, m_step, TILES)]
            tiles = [builder.gep(left.data, [at]) for at in _steps(builder, at, v_step, TILES)]
            zero = ir.Constant(_RUN, [0.0] * LANES)
            totals = [[cgutils.alloca_once_value(builder, zero) for _ in range(runs)] for _ in range(TILES)]
            for line, line_places in zip(totals, places, strict=True):
                for total, place in zip(line, line_places, strict=True):
                    builder.store(builder.select(first, zero, sums.read(place)), total)
            with cgutils.for_range(builder, depth, intp=_WORD) as k:
                column = builder.add(u_at, builder.mul(k.index, ir.Constant(_WORD, runs * LANES)))
                columns = [right.read(c) for c in _steps(builder, column, ir.Constant(_WORD, LANES), runs)]
                for tile, line in zip(tiles, totals, strict=True):
                    lanes = splat_of(builder, builder.load(builder.gep(tile, [k.index])), _RUN)
                    for run, total in zip(columns, line, strict=True):
                        more = builder.fmul(lanes, run, flags=FLAGS)
                        builder.store(builder.fadd(builder.load(total), more, flags=FLAGS), total)
            for line, line_places in zip(totals, places, strict=True):
                for total, place in zip(line, line_places, strict=True):
                    sums.write(place, builder.load(total))
            return context.get_dummy_value()

        word = types.intp
        return types.none(v, word, word, u, word, word, m, word, word, types.boolean), body

    return products


products = _products(RUNS)
"""``products(v, at, v_step, u, u_at, depth, m, to, m_step, first)``: for TILES tiles t and RUNS runs of channels o

    ``m[to + m_step * t + o] (+)= sum_k v[at + v_step * t + k] * u[u_at + k * RUNS * LANES + o]``

over k below ``depth``; added to what is there unless ``first``."""

narrow_products = _products(1)
"""The same for one run of channels."""
