"""What compiled functions share: their decorator, and pointers made of addresses."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

inner = njit(cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Like `njit(cache=True)`, without the entry from Python: it compiles in half the time.

Calling such a function from Python ends the process: give what Python calls `njit(cache=True)`.
"""


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    """Turn an address into a pointer that `numba.carray` takes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen
