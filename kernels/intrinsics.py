"""The operations of compiled functions that numba has no word for: see `kernels`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.npydecl import parse_dtype
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array
from numba.np.numpy_support import from_dtype


@intrinsic
def view(typing_context: Any, address: Any, shape: Any, dtype: Any) -> Any:
    """The C-contiguous array of `shape` and `dtype` at an address."""
    array_type = types.Array(parse_dtype(dtype), len(shape), "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lengths = [
            context.cast(builder, length, kind, types.intp)
            for length, kind in zip(cgutils.unpack_tuple(builder, args[1]), shape, strict=True)
        ]
        return array_at(context, builder, array_type, args[0], lengths)

    return array_type(types.int64, shape, dtype), codegen


def array_at(context: Any, builder: Any, array_type: Any, address: Any, lengths: Any) -> Any:
    """Make the code of a C-contiguous array of `array_type` at an address."""
    word = context.get_value_type(types.intp)
    element = array_type.dtype
    size = context.get_abi_sizeof(context.get_data_type(element))
    itemsize = context.get_constant(types.intp, size)
    strides = [itemsize]
    for length in reversed(lengths[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    array = make_array(array_type)(context, builder)
    populate_array(
        array,
        data=builder.inttoptr(address, context.get_data_type(element).as_pointer()),
        shape=cgutils.pack_array(builder, lengths, ty=word),
        strides=cgutils.pack_array(builder, strides, ty=word),
        itemsize=itemsize,
        meminfo=None,
    )
    return array._getvalue()


def record_at(dtype: Any) -> Any:
    """Make an intrinsic `record(address)`: the record of `dtype` at an address."""
    record_type = from_dtype(dtype)

    @intrinsic
    def record(typing_context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(record_type))

        return record_type(types.int64), codegen

    return record


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    """Have the processor fetch the cache line of an address that is about to be read and written.

    It goes on meanwhile, and does nothing about an address that it cannot reach.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        for_writing, in_all_levels, of_data = number(1), number(3), number(1)
        where = builder.inttoptr(args[0], byte)
        builder.call(function, [where, for_writing, in_all_levels, of_data])
        return context.get_dummy_value()

    return types.none(types.int64), codegen


@intrinsic
def lowest_bit(typing_context: Any, word: Any) -> Any:
    """The number of the lowest bit that is set, from 0; of 0 it is undefined."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.int64), codegen


def c_call(n_ints: int, n_floats: int) -> Any:
    """Make an intrinsic that calls the C function at an address: int64s, then doubles."""

    @intrinsic
    def call(typing_context: Any, address: Any, ints: Any, floats: Any) -> Any:
        signature = types.float64(
            types.int64,
            types.UniTuple(types.int64, n_ints),
            types.UniTuple(types.float64, n_floats),
        )

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            double = ir.DoubleType()
            parameters = [ir.IntType(64)] * n_ints + [double] * n_floats
            function = ir.FunctionType(double, parameters)
            values = [builder.extract_value(args[1], i) for i in range(n_ints)]
            values += [builder.extract_value(args[2], i) for i in range(n_floats)]
            return builder.call(builder.inttoptr(args[0], function.as_pointer()), values)

        return signature, codegen

    return call
