"""What compiled functions share: their decorator, and pointers made of addresses."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import _dynfunc, njit, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.extending import intrinsic


class _Ingredient(JITCodeLibrary):  # type: ignore[misc]
    """The code of a function that only other compiled functions call.

    numba makes machine code of every function with all that it calls, at every level of a chain
    of calls anew. Here a level is left as it is: whatever Python calls is optimised once, whole.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _InnerCompiler(Compiler):  # type: ignore[misc]
    """numba's compiler, without the last step: machine code."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *rest: Any) -> None:
        super().__init__(typingctx, targetctx, library, *rest)
        if library is None:
            codegen = self.state.targetctx.codegen()
            self.state.library = _Ingredient(codegen, "inner")
        self.state.flags = self.state.flags.copy()
        self.state.flags.no_compile = True

    def _compile_core(self) -> Any:
        result = super()._compile_core()
        function = self.state.func_id
        nowhere = _dynfunc.make_function(
            function.module, function.func_name, "", 0, result.environment, ()
        )
        self.state.targetctx.insert_user_function(nowhere, result.fndesc, [result.library])
        return result._replace(entry_point=nowhere)


inner = njit(pipeline_class=_InnerCompiler, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Like `njit`, for functions that compiled functions call, and Python does not.

Calling such a function from Python ends the process. What Python calls is `njit(cache=True)`: its
cached code holds all inner functions that it uses.
"""


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    """Turn an address into a pointer that `numba.carray` takes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen
