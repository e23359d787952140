"""numba's two contexts, of types and of operations, without what they do in vain for kernels."""

from __future__ import annotations

import operator
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import typing
from numba.core.callconv import create_error_model
from numba.core.cpu import CPUContext
from numba.core.registry import cpu_target
from numba.cpython.slicing import fix_index
from numba.np import arrayobj


class Typing(typing.Context):  # type: ignore[misc]
    """numba's rules of types, which remembers what it once found out.

    Finding that int64 + int64 is int64 means to try dozens of rules, for each + anew.
    """

    found: dict[Any, Any]
    attributes: dict[Any, Any]

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        key = func, args
        try:
            is_found = key in self.found
        except TypeError:  # a constant slice has no hash
            return super().resolve_function_type(func, args, kws)
        if kws:
            return super().resolve_function_type(func, args, kws)
        if not is_found:
            self.found[key] = super().resolve_function_type(func, args, kws)
        return self.found[key]

    def resolve_getattr(self, typ: Any, attr: str) -> Any:
        key = typ, attr
        if key not in self.attributes:
            self.attributes[key] = super().resolve_getattr(typ, attr)
        return self.attributes[key]


class _Known:
    """An operator whose types were found out before."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self._found: dict[Any, Any] = {}

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        if args not in self._found:
            self._found[args] = self.function.get_call_type(context, args, kws)
        return self._found[args]


class _TypingAgain(Typing):
    """The same while code is made, when numba asks for the types of each operator once more."""

    known: dict[Any, _Known]

    def resolve_value_type(self, val: Any) -> Any:
        kind = super().resolve_value_type(val)
        is_operator = getattr(val, "__module__", None) == operator.add.__module__
        return self.known.setdefault(kind, _Known(kind)) if is_operator else kind


class Lowering(CPUContext):  # type: ignore[misc]
    """What numba makes of types and operations; of arrays, nobody counts the users."""

    sizes: dict[str, int]
    rules: Typing
    typing_context: Any
    counts_from_the_end: bool
    """Whether an index that is not constant may be negative, as in Python; see `index_of`."""

    def _compile_subroutine_no_cache(self, *args: Any, **named: Any) -> Any:
        before = self.typing_context, self.counts_from_the_end
        self.typing_context = self.rules  # it infers types from here
        self.counts_from_the_end = True
        try:
            return super()._compile_subroutine_no_cache(*args, **named)
        finally:
            self.typing_context, self.counts_from_the_end = before

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        if isinstance(fn, _Known):
            fn = fn.function
        # where numba finds nothing it looks for new definitions, and it tries some in vain for
        # each index of an array; only an intrinsic's can be new
        return super().get_function(fn, sig, _firstcall and isinstance(fn, types.Type))

    def get_abi_sizeof(self, ty: Any) -> Any:
        key = str(ty)
        if key not in self.sizes:  # it has LLVM parse a module to find out
            self.sizes[key] = super().get_abi_sizeof(ty)
        return self.sizes[key]


def index_of(context: Any, builder: Any, kind: Any, index: Any, length: Any) -> Any:
    """Return the place that an index means: from the end if it is negative.

    To ask that of every index is a third of all instructions of kernels, none of which has a
    negative one but a constant. Another package's functions may.
    """
    is_constant = isinstance(index, ir.Constant)
    may_be_negative = index.constant < 0 if is_constant else context.counts_from_the_end
    if kind.signed and may_be_negative:
        return fix_index(builder, context.cast(builder, index, kind, types.intp), length)
    return context.cast(builder, index, kind, types.intp if kind.signed else types.uintp)


_numbas_index = arrayobj.fix_integer_index


def _index(context: Any, builder: Any, kind: Any, index: Any, length: Any) -> Any:
    make = index_of if isinstance(context, Lowering) else _numbas_index
    return make(context, builder, kind, index, length)


arrayobj.fix_integer_index = _index


@cache
def contexts() -> tuple[Typing, Lowering]:
    """Our own kinds of numba's two contexts, which share all definitions with them."""
    cpu_target.target_context.refresh()  # numba loads its definitions when first asked to
    rules = object.__new__(Typing)
    rules.__dict__.update(vars(cpu_target.typing_context), found={}, attributes={})
    target = cpu_target.target_context
    again = object.__new__(_TypingAgain)
    again.__dict__.update(vars(rules), known={})
    lowering = object.__new__(Lowering)
    lowering.__dict__.update(
        vars(target),
        typing_context=again,
        error_model=create_error_model("numpy", target),
        rules=rules,
        sizes={},
        counts_from_the_end=True,
    )
    return rules, lowering
