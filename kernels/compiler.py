"""The part of compiling that needs numba: see `kernels`, which imports this when it must."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import _dynfunc, njit, types
from numba.core import cgutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError
from numba.core.typing.npydecl import parse_dtype
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from . import CompileError, target_machine


class _Ingredient(JITCodeLibrary):  # type: ignore[misc]
    """The code of a function that other compiled functions call, not yet optimised.

    numba makes machine code of every function with all that it calls, at every level of a chain
    of calls anew. Here a level is left as it is: whatever Python calls is optimised once, whole.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _InnerCompiler(Compiler):  # type: ignore[misc]
    """numba's compiler without the last step, machine code."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        args, return_type, flags, given_locals = rest
        flags = flags.copy()
        flags.no_compile = True
        super().__init__(typingctx, targetctx, library, args, return_type, flags, given_locals)
        if library is None:
            self.state.library = _Ingredient(self.state.targetctx.codegen(), "inner")

    def _compile_core(self) -> Any:
        result = super()._compile_core()
        function = self.state.func_id
        # numba insists on an entry from Python; nobody can get at this one
        module = function.module or sys.modules[__name__]
        nowhere = _dynfunc.make_function(
            module,
            function.func_name,
            "",
            0,
            result.environment,
            (),
        )
        self.state.targetctx.insert_user_function(nowhere, result.fndesc, [result.library])
        return result._replace(entry_point=nowhere)


inner = njit(
    pipeline_class=_InnerCompiler,
    no_cpython_wrapper=True,
    no_cfunc_wrapper=True,
    error_model="numpy",  # nothing raises, so nothing needs Python
)
"""Decorator of functions that compiled functions call. Called from Python, they crash."""


@intrinsic
def view(typing_context: Any, address: Any, shape: Any, dtype: Any) -> Any:
    """The C-contiguous array of `shape` and `dtype` at an address."""
    array_type = types.Array(parse_dtype(dtype), len(shape), "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = context.get_value_type(types.intp)
        data_type = context.get_data_type(array_type.dtype)
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(data_type))
        lengths = [
            context.cast(builder, length, kind, types.intp)
            for length, kind in zip(cgutils.unpack_tuple(builder, args[1]), shape, strict=True)
        ]
        strides = [itemsize]
        for length in reversed(lengths[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        array = make_array(array_type)(context, builder)
        populate_array(
            array,
            data=builder.inttoptr(args[0], data_type.as_pointer()),
            shape=cgutils.pack_array(builder, lengths, ty=word),
            strides=cgutils.pack_array(builder, strides, ty=word),
            itemsize=itemsize,
            meminfo=None,
        )
        return array._getvalue()

    return array_type(types.int64, shape, dtype), codegen


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


@global_compiler_lock
def object_code(
    name: str, function: Callable[..., Any], result: str, parameters: tuple[str, ...]
) -> bytes:
    """Compile `function` to the object code of a C function called `name`.

    `result` and `parameters` are LLVM types: i64, double, or void as result.

    Raises:
        CompileError: numba refuses, or the code needs Python at run time (to make an array).
    """
    kinds = {"i64": types.int64, "double": types.float64}
    dispatcher = inner(function)
    # a last parameter *numbers takes the rest, as in a call
    key = dispatcher._compiler.fold_argument_types(tuple(kinds[p] for p in parameters), {})[1]
    try:
        dispatcher.compile(key)
    except NumbaError as error:
        told = [line for line in str(error).splitlines() if line.startswith("Unknown")]
        reason = told[0].partition(" of type")[0] if told else type(error).__name__
        raise CompileError(reason) from error
    compiled = dispatcher.overloads[key]
    compiled.library._ensure_finalized()
    module = compiled.library._final_module.clone()
    symbol = compiled.fndesc.llvm_func_name
    takes = ", ".join(f"{kind} %a{i}" for i, kind in enumerate(parameters))
    returns = "ptr" if result == "void" else result
    answer = (
        "ret void" if result == "void" else f"%r = load {returns}, ptr %result\nret {returns} %r"
    )
    entry = f"""
        define void @NRT_incref(ptr %view) {{ ret void }}
        define void @NRT_decref(ptr %view) {{ ret void }}
        declare i32 @"{symbol}"({", ".join(["ptr", "ptr", *parameters])})
        define {result} @{name}({takes}) {{
            %result = alloca {returns}
            %error = alloca ptr
            %status = call i32 @"{symbol}"({
        ", ".join(["ptr %result", "ptr %error", *takes.split(", ")])
    })
            {answer}
        }}
    """
    module.link_in(llvm.parse_assembly(entry))  # nobody counts the users of a view
    for defined in module.functions:
        if not defined.is_declaration and defined.name != name:
            defined.linkage = llvm.Linkage.internal
    machine = target_machine()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    module.verify()
    for needed in module.functions:
        if needed.is_declaration and needed.name.startswith(("numba", "NRT", "Py", "_Py", "_ZN")):
            raise CompileError(f"it needs {needed.name}")
    return bytes(machine.emit_object(module))
