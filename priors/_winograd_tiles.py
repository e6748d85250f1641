r"""Winograd's minimal filtering ``F(4 x 4, 3 x 3)``: tiles into and out of the form in which convolution is a product.

    y = A^T [(G w G^T) * (B^T d B)] A

gives 4 x 4 outputs y of a 3 x 3 convolution from 6 x 6 inputs d with 36 multiplications in the place of 144. Between
the channels of all tiles the elementwise products are 36 products of matrices, done here for TILES tiles at a time
whose sums stay in the processor's registers. The code is laid out here: the compiler does not find this form by itself.

The transforms interpolate polynomials at 0, +-3/4, +-3/2 and infinity: the usual +-1 and +-2 round twice as coarsely.
Arrays of transformed inputs and weights are single precision, or bfloat16 as integers of 16 bits; sums are single.

References
----------
Lavin and Gray 2016, "Fast algorithms for convolutional neural networks"; Barabasz et al. 2020, "Error analysis and
improving the accuracy of Winograd convolution for deep neural networks".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils

from solvers.lanes import FLAGS, LANES, intrinsic, splat_of

OUT, IN = 4, 6
"""Sides of a tile of outputs, and of the inputs that it depends on."""

_WIDEST = bool(binding.get_host_cpu_features().get("avx512f"))
TILES, RUNS = (8, 2) if _WIDEST else (6, 1)
"""Tiles, and runs of output channels, whose sums stay in registers together."""

_settings: Any = config  # its names are not typed
COMPILED = not _settings.DISABLE_JIT
"""Whether kernels run as what they are compiled to: nothing else knows what is laid out here."""
HALVES = (
    COMPILED
    and bool(binding.get_host_cpu_features().get("avx512bf16"))
    and binding.llvm_version_info[0] >= 18
    and not (_settings.CPU_NAME or _settings.CPU_FEATURES)
)
"""Whether the processor multiplies bfloat16, and the compiler knows how and works for that very processor."""


class _Bfloat(ir.Type):
    """The compiler's type, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"


_RUN = ir.VectorType(ir.FloatType(), LANES)
_HALF_RUN, _HALF_PAIRS = (ir.VectorType(_Bfloat(), count) for count in (LANES, 2 * LANES))
_PAIRS = ir.VectorType(ir.IntType(32), LANES)
_WORD = ir.IntType(64)

A, B = 0.75, 1.5
"""Where polynomials are interpolated, with either sign."""


def transformed(weight: np.ndarray) -> np.ndarray:
    """``G w G^T`` of weights ``(outputs, inputs, 3, 3)`` as ``(36, inputs, outputs)``."""
    rows = [[1 / (A * B) ** 2, 0, 0]]
    for p, other in ((A, B), (-A, B), (B, A), (-B, A)):
        rows.append([p**k / (2 * p**2 * (p**2 - other**2)) for k in range(3)])
    rows.append([0, 0, 1])
    flat = weight.astype(np.float64).reshape(*weight.shape[:2], -1)
    return np.einsum("qk,oik->qio", np.kron(rows, rows), flat, optimize=True)


def _inputs_transformed(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> tuple[Any, ...]:
    """``B^T d`` of one column."""
    first, last = (even.plus(-(A**2 + B**2), odd) for even, odd in ((d4, d2), (d5, d3)))
    even_a, odd_a, even_b, odd_b = (
        d4.plus(-(B**2), d2),
        d3.plus(-(B**2), d1),
        d4.plus(-(A**2), d2),
        d3.plus(-(A**2), d1),
    )
    of_a, of_b = ([even.plus(p, odd), even.plus(-p, odd)] for p, even, odd in ((A, even_a, odd_a), (B, even_b, odd_b)))
    return first.plus((A * B) ** 2, d0), *of_a, *of_b, last.plus((A * B) ** 2, d1)


def _outputs_of(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any) -> tuple[Any, ...]:
    """``A^T m`` of one column."""
    even_a, odd_a, even_b, odd_b = m1.plus(1, m2), m1.plus(-1, m2), m3.plus(1, m4), m3.plus(-1, m4)
    second, third = odd_a.times(A).plus(B, odd_b), even_a.times(A**2).plus(B**2, even_b)
    return m0.plus(1, even_a).plus(1, even_b), second, third, m5.plus(A**3, odd_a).plus(B**3, odd_b)


class _Code:
    """Code of arithmetic with runs."""

    def __init__(self, builder: Any, value: Any):
        self.builder, self.value = builder, value

    def times(self, factor: float) -> _Code:
        return _Code(self.builder, self.builder.fmul(_constant(factor), self.value, flags=FLAGS))

    def plus(self, factor: float, other: _Code) -> _Code:
        """``self + factor * other``, in one instruction where there is one."""
        run = (_constant(factor), other.value, self.value)
        return _Code(self.builder, _call(self.builder, f"llvm.fmuladd.v{LANES}f32", *run))


def _constant(value: float) -> Any:
    return ir.Constant(_RUN, [float(value)] * LANES)


def _call(builder: Any, name: str, *args: Any) -> Any:
    """A function of the compiler's own that gives a run."""
    kind = ir.FunctionType(_RUN, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


class _Array:
    """Code that reads and writes runs of a flat array."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any):
        self.half = kind.dtype == types.int16
        self._data = context.make_array(kind)(context, builder, array).data
        self._builder = builder

    def place(self, at: Any, kind: Any) -> Any:
        """Where the number ``at`` is, as what begins there."""
        return self._builder.bitcast(self._builder.gep(self._data, [at]), kind.as_pointer())

    def read(self, at: Any) -> Any:
        """A run; of halves, a run of pairs."""
        kind, align = (_HALF_PAIRS, 2) if self.half else (_RUN, 4)
        return self._builder.load(self.place(at, kind), align=align)

    def write(self, at: Any, run: Any) -> None:
        if self.half:
            self._builder.store(self._builder.fptrunc(run, _HALF_RUN), self.place(at, _HALF_RUN), align=2)
        else:
            self._builder.store(run, self.place(at, _RUN), align=4)

    def read_everywhere(self, at: Any) -> Any:
        """A run of one number; of halves, of one pair."""
        kind = _PAIRS if self.half else _RUN
        one = self._builder.load(self.place(at, kind.element), align=2 if self.half else 4)
        lanes = splat_of(self._builder, one, kind)
        return self._builder.bitcast(lanes, _HALF_PAIRS) if self.half else lanes


def _plus_product(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """``total + a b``; of runs of pairs, with the products of both numbers of each pair."""
    if a.type == _RUN:
        return builder.fadd(total, builder.fmul(a, b, flags=FLAGS), flags=FLAGS)
    return _call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", total, a, b)


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
            left, right, sums = (_Array(context, builder, signature.args[k], args[k]) for k in (0, 3, 6))
            tiles = _steps(builder, args[1], args[2], TILES)
            run, together = ir.Constant(_WORD, LANES), ir.Constant(_WORD, 2 if left.half else 1)
            places = [
                place for tile in _steps(builder, args[7], args[8], TILES) for place in _steps(builder, tile, run, runs)
            ]
            totals = [cgutils.alloca_once(builder, _RUN) for _ in places]
            for place, total in zip(places, totals, strict=True):
                builder.store(builder.select(args[9], _constant(0), sums.read(place)), total)
            with cgutils.for_range_slice(builder, ir.Constant(_WORD, 0), args[5], together, _WORD) as (k, _):
                start = builder.add(args[4], builder.mul(k, ir.Constant(_WORD, runs * LANES)))
                columns = [right.read(at) for at in _steps(builder, start, builder.mul(run, together), runs)]
                rest = iter(totals)
                for tile in tiles:
                    lanes = left.read_everywhere(builder.add(tile, k))
                    for column in columns:
                        total = next(rest)
                        builder.store(_plus_product(builder, builder.load(total), lanes, column), total)
            for place, total in zip(places, totals, strict=True):
                sums.write(place, builder.load(total))
            return context.get_dummy_value()

        word = types.intp
        return types.none(v, word, word, u, word, word, m, word, word, types.boolean), body

    return products


products = _products(RUNS)
"""``products(v, at, v_step, u, u_at, depth, m, to, m_step, first)``: for TILES tiles t and RUNS runs of channels o

    ``m[to + m_step * t + o] (+)= sum_k v[at + v_step * t + k] * u[u_at + k * RUNS * LANES + o]``

over k below ``depth``; added to what is there unless ``first``. Of halves, u holds pairs of k for each o."""

narrow_products = _products(1)
"""The same for one run of channels."""
