"""Weighted sums of shifted images, a tile of ROWS rows at a time whose sums stay in the processor's registers.

A vector of the image, once loaded, is added to all the rows of the tile that read it, each with its own weight. The
loop then waits for multiplications alone. The compiler does not find this form by itself, so the tile is laid out here.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from recon.operators._tap_sums import ROWS
from solvers.lanes import FLAGS, intrinsic, splat_of

_WIDEST = bool(binding.get_host_cpu_features().get("avx512f"))
BYTES = 64 if _WIDEST else 32
"""Of a vector register."""

RUNS = 4 if _WIDEST else 2
"""Vectors in a row of the tile: with ROWS of them, half of the registers of the processor."""


def span(itemsize: int) -> int:
    """Numbers in a row of the tile."""
    return RUNS * BYTES // itemsize


@intrinsic
def tile_sum(_: Any, image: Any, at: Any, offsets: Any, weights: Any, out: Any, to: Any, stride: Any) -> Any:
    """``out[to + stride * r + t] = sum_k weights[k, r] * image[at + offsets[k] + t]``, r below ROWS, t below the span.

    Arrays are flat but for ``weights``, (stops, ROWS); all contiguous.
    """

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        tile = _Tile(context, builder, signature, args)
        with cgutils.for_range(builder, tile.stops, intp=tile.word) as stop:
            tile.add(stop.index)
        tile.write()
        return context.get_dummy_value()

    word = types.intp
    return types.none(image, word, offsets, weights, out, word, word), body


class _Tile:
    """The code of one tile: variables that become registers, and what is done to them."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any):
        arrays = [context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 2, 3, 4)]
        self._image, self._offsets, self._weights, self._out = (array.data for array in arrays)
        self._builder, self._at, self._to, self._stride = builder, args[1], args[5], args[6]
        self.word = self._at.type
        self.stops = builder.extract_value(arrays[1].shape, 0)
        number = context.get_value_type(signature.args[0].dtype)
        self._align = context.get_abi_sizeof(number)
        self._run = ir.VectorType(number, BYTES // self._align)
        zero = ir.Constant(self._run, [0.0] * self._run.count)
        self._sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(RUNS)] for _ in range(ROWS)]
        for row in self._sums:
            for total in row:
                builder.store(zero, total)

    def add(self, stop: Any) -> None:
        """What one stop adds to every row."""
        builder = self._builder
        place = builder.add(self._at, builder.load(builder.gep(self._offsets, [stop])))
        runs = [builder.load(self._place(self._image, place, c), align=self._align) for c in range(RUNS)]
        first = builder.mul(stop, ir.Constant(self.word, ROWS))
        for r, row in enumerate(self._sums):
            weight = builder.load(builder.gep(self._weights, [builder.add(first, ir.Constant(self.word, r))]))
            lanes = splat_of(builder, weight, self._run)
            for run, total in zip(runs, row, strict=True):
                more = builder.fmul(lanes, run, flags=FLAGS)
                builder.store(builder.fadd(builder.load(total), more, flags=FLAGS), total)

    def write(self) -> None:
        """Store the sums."""
        for r, row in enumerate(self._sums):
            line = self._builder.add(self._to, self._builder.mul(self._stride, ir.Constant(self.word, r)))
            for c, total in enumerate(row):
                self._builder.store(self._builder.load(total), self._place(self._out, line, c), align=self._align)

    def _place(self, data: Any, at: Any, run: int) -> Any:
        """Where the ``run``-th vector from ``at`` on begins."""
        at = self._builder.add(at, ir.Constant(self.word, run * self._run.count))
        return self._builder.bitcast(self._builder.gep(data, [at]), self._run.as_pointer())
