"""Runs of LANES neighbouring numbers as one value of a numba kernel.

The compiler's own vectors need proof that what a loop writes is not what it reads next, and look at the addresses of
every short run to find out. A run loaded here is loaded before anything else is stored, so there is nothing to prove.
The code is the compiler's generic one: it becomes whatever vectors the processor has.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

LANES = 16
"""Numbers in a run: one vector of single precision where vectors are widest, two or four elsewhere."""

FLAGS = ("contract", "nsz")
"""What the arithmetic of vectors may do: fuse a product and a sum, and lose the sign of zero."""

_numba: Any = extending  # its decorators are not typed
intrinsic, overload, register_model = _numba.intrinsic, _numba.overload, _numba.register_model


class Run(types.Type):
    """Numba's type of a run of numbers of one kind."""

    def __init__(self, dtype: types.Float):
        self.dtype = dtype
        super().__init__(f"Run({dtype})")


@register_model(Run)
class _RunModel(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Run):
        super().__init__(manager, kind, ir.VectorType(manager[kind.dtype].get_value_type(), LANES))


def _place(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """Where a run of a contiguous array begins."""
    data = context.make_array(kind)(context, builder, array).data
    run = ir.VectorType(context.get_value_type(kind.dtype), LANES)
    return builder.bitcast(builder.gep(data, [at]), run.as_pointer())


def _splat(builder: Any, value: Any) -> Any:
    return splat_of(builder, value, ir.VectorType(value.type, LANES))


def splat_of(builder: Any, value: Any, run: Any) -> Any:
    """The code of a vector of type ``run`` that holds one value."""
    one = builder.insert_element(ir.Constant(run, ir.Undefined), value, ir.Constant(cgutils.int32_t, 0))
    zeros = ir.Constant(ir.VectorType(cgutils.int32_t, run.count), [0] * run.count)
    return builder.shuffle_vector(one, ir.Constant(run, ir.Undefined), zeros)


def _call(builder: Any, name: str, run: Any) -> Any:
    """The compiler's own function of a run."""
    return _intrinsic(builder, f"{name}.v{LANES}{run.type.element.intrinsic_name}", run.type, [run])


@intrinsic
def load(_: Any, array: Any, at: Any) -> Any:
    """The numbers ``array[at : at + LANES]`` of a contiguous array."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args)
        return builder.load(place, align=context.get_abi_sizeof(place.type.pointee.element))

    return Run(array.dtype)(array, types.uintp), body


@intrinsic
def store(_: Any, array: Any, at: Any, run: Any) -> Any:
    """Write a run to ``array[at : at + LANES]``."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], place, align=context.get_abi_sizeof(args[2].type.element))
        return context.get_dummy_value()

    return types.none(array, types.uintp, run), body


@intrinsic
def load_some(_: Any, array: Any, at: Any, count: Any) -> Any:
    """:func:`load` of the first ``count`` numbers, and zeros."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args[:2])
        run = place.type.pointee
        return _masked(builder, "load", place, args[2], ir.Constant(run, [0.0] * LANES))

    return Run(array.dtype)(array, types.uintp, types.int32), body


@intrinsic
def store_some(_: Any, array: Any, at: Any, run: Any, count: Any) -> Any:
    """:func:`store` of the first ``count`` numbers."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args[:2])
        _masked(builder, "store", place, args[3], args[2])
        return context.get_dummy_value()

    return types.none(array, types.uintp, run, types.int32), body


def _masked(builder: Any, action: str, place: Any, count: Any, run: Any) -> Any:
    """Load or store where the mask holds; a load gives ``run`` elsewhere."""
    counts = ir.VectorType(cgutils.int32_t, LANES)
    mask = builder.icmp_signed("<", ir.Constant(counts, list(range(LANES))), _splat(builder, count))
    align = cgutils.int32_t(4 if isinstance(run.type.element, ir.FloatType) else 8)
    name = f"llvm.masked.{action}.v{LANES}{run.type.element.intrinsic_name}.p0"
    if action == "load":
        return _intrinsic(builder, name, run.type, [place, align, mask, run])
    return _intrinsic(builder, name, ir.VoidType(), [run, place, align, mask])


def _intrinsic(builder: Any, name: str, result: Any, args: list[Any]) -> Any:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@intrinsic
def splat(_: Any, value: Any) -> Any:
    """A run of one number."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return Run(value)(value), body


@intrinsic
def ramp(_: Any, start: Any, step: Any) -> Any:
    """``start + step * t`` for t = 0, 1, ..."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        begin, by = (_splat(builder, value) for value in args)
        count = ir.Constant(begin.type, [float(t) for t in range(LANES)])
        return builder.fadd(begin, builder.fmul(by, count, flags=FLAGS), flags=FLAGS)

    return Run(start)(start, start), body


@intrinsic
def swapped(_: Any, x: Any) -> Any:
    """x with the numbers of each pair, such as the parts of a complex number, exchanged."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pairs = ir.Constant(ir.VectorType(cgutils.int32_t, LANES), [t ^ 1 for t in range(LANES)])
        return builder.shuffle_vector(args[0], args[0], pairs)

    return x(x), body


@intrinsic
def hat(_: Any, x: Any) -> Any:
    """``max(1 - |x|, 0)``."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one, zero = (ir.Constant(args[0].type, [value] * LANES) for value in (1.0, 0.0))
        high = builder.fsub(one, _call(builder, "llvm.fabs", args[0]), flags=FLAGS)
        return builder.select(builder.fcmp_ordered(">", high, zero), high, zero)

    return x(x), body


@intrinsic
def floor(_: Any, x: Any) -> Any:
    """The largest whole numbers that are not above x."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "llvm.floor", args[0])

    return x(x), body


@intrinsic
def where_reached(_: Any, x: Any, level: Any, a: Any, b: Any) -> Any:
    """a where ``x >= level``, else b."""

    def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">=", args[0], args[1]), args[2], args[3])

    return x(x, x, x, x), body


def _arithmetic(symbol: Any, instruction: str) -> None:
    @intrinsic
    def of_runs(_: Any, a: Any, b: Any) -> Any:
        def body(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args, flags=FLAGS)

        return a(a, b), body

    @overload(symbol, strict=False)
    def choose(a: Any, b: Any) -> Any:
        if isinstance(a, Run) and a == b:
            return lambda a, b: of_runs(a, b)
        return None


for _symbol, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _arithmetic(_symbol, _instruction)
