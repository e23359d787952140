"""Arrays that a record of addresses tells of, as numba sees them: see `kernels.array_of`."""

from __future__ import annotations

import ast
import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.core.imputils import lower_builtin, lower_cast, lower_getattr_generic
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
)
from numba.extending import intrinsic, register_model
from numba.np.numpy_support import from_dtype

from .contexts import index_of
from .intrinsics import array_at


class _Length:
    """A word of LLVM in the arithmetic of a shape."""

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder = builder
        self.value = value

    def _with(self, other: Any, operation: str) -> _Length:
        value = other.value if isinstance(other, _Length) else ir.IntType(64)(other)
        return _Length(self._builder, getattr(self._builder, operation)(self.value, value))

    def __add__(self, other: Any) -> _Length:
        return self._with(other, "add")

    def __mul__(self, other: Any) -> _Length:
        return self._with(other, "mul")

    def __rshift__(self, other: Any) -> _Length:
        return self._with(other, "lshr")


class _Words(dict[str, Any]):
    """The names of a shape: constants, and the words of the record at an address."""

    def __init__(self, builder: Any, record: Any, address: Any, constants: dict[str, Any]) -> None:
        super().__init__(constants)
        self._builder = builder
        self._first = builder.inttoptr(address, ir.IntType(64).as_pointer())
        self._record = record

    def __missing__(self, name: str) -> _Length:
        if name not in self._record.names:
            raise KeyError(name)
        at = ir.IntType(64)(self._record.fields[name][1] // 8)
        value = self._builder.load(self._builder.gep(self._first, [at]))
        self[name] = _Length(self._builder, value)
        return self[name]


class Member(types.Type):  # type: ignore[misc]
    """numba's type of an array that a record tells of: its value is the record's address.

    Most are made to take one element of them. A value of numba's own type has seven fields, all
    of which it writes and reads for that; it is made of this only where the whole is passed on.
    """

    def __init__(
        self, record: Any, name: str, shape: str, element: Any, constants: dict[str, Any]
    ) -> None:
        text = f"({shape},)"
        n_dimensions = len(ast.parse(text).body[0].value.elts)  # type: ignore[attr-defined]
        self.array = types.Array(from_dtype(np.dtype(element)), n_dimensions, "C")
        self._record = record
        self._name = name
        self._shape = compile(text, f"<shape of {name}>", "eval")
        self._constants = constants
        super().__init__(f"member({name} at {id(self)})")

    def index_type(self, index: Any) -> Any:
        """The type as which to take an index of one element; None if it is none."""
        kinds = list(index) if isinstance(index, types.BaseTuple) else [index]
        if len(kinds) != self.array.ndim or not all(isinstance(k, types.Integer) for k in kinds):
            return None
        words = [types.int64 if kind.signed else types.uint64 for kind in kinds]
        return types.BaseTuple.from_types(words) if len(words) > 1 else words[0]

    def parts(self, builder: Any, address: Any) -> tuple[Any, list[Any]]:
        """Return the address of the first element, and the lengths."""
        words = _Words(builder, self._record, address, self._constants)
        lengths = eval(self._shape, {}, words)
        return words[self._name].value, [
            each.value if isinstance(each, _Length) else ir.IntType(64)(each) for each in lengths
        ]

    def place(self, context: Any, builder: Any, address: Any, kind: Any, index: Any) -> Any:
        """Return the pointer to an element."""
        first, lengths = self.parts(builder, address)
        kinds = list(kind) if isinstance(kind, types.BaseTuple) else [kind]
        indices = cgutils.unpack_tuple(builder, index) if len(kinds) > 1 else [index]
        at = None
        for each, of_kind, length in zip(indices, kinds, lengths, strict=True):
            each = index_of(context, builder, of_kind, each, length)
            at = each if at is None else builder.add(builder.mul(at, length), each)
        data = builder.inttoptr(first, context.get_data_type(self.array.dtype).as_pointer())
        return builder.gep(data, [at])


@register_model(Member)
class _MemberModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, member: Any) -> None:
        super().__init__(manager, member, ir.IntType(64))


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        member, index = args
        if not isinstance(member, Member):
            return None
        kind = member.index_type(index)
        if kind is not None:
            return member.array.dtype(member, kind)
        return self.context.resolve_function_type(operator.getitem, (member.array, index), {})


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        member, index, _ = args
        kind = member.index_type(index) if isinstance(member, Member) else None
        return None if kind is None else types.none(member, kind, member.array.dtype)


@infer_global(len)
class _Len(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        [member] = args
        return types.intp(member.array) if isinstance(member, Member) else None


@infer_getattr
class _Attributes(AttributeTemplate):  # type: ignore[misc]
    key = Member

    def generic_resolve(self, member: Any, name: str) -> Any:
        return self.context.resolve_getattr(member.array, name)


@lower_getattr_generic(Member)
def _get_attribute(context: Any, builder: Any, member: Any, address: Any, name: str) -> Any:
    array = context.cast(builder, address, member, member.array)
    return context.get_getattr(member.array, name)(context, builder, member.array, array, name)


@lower_builtin(operator.getitem, Member, types.Any)
def _get_item(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    member, kind = signature.args
    place = member.place(context, builder, args[0], kind, args[1])
    return context.unpack_value(builder, member.array.dtype, place)


@lower_builtin(operator.setitem, Member, types.Any, types.Any)
def _set_item(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    member, kind, _ = signature.args
    place = member.place(context, builder, args[0], kind, args[1])
    context.pack_value(builder, member.array.dtype, args[2], place)
    return context.get_dummy_value()


@lower_cast(Member, types.Array)
def _as_array(context: Any, builder: Any, member: Any, array: Any, address: Any) -> Any:
    first, lengths = member.parts(builder, address)
    return array_at(context, builder, array, first, lengths)


def array_of(record: Any, name: str, shape: str, element: Any, constants: dict[str, Any]) -> Any:
    """Make an intrinsic, see `kernels.array_of`."""
    member = Member(record, name, shape, element, constants)

    @intrinsic
    def array(typing_context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return args[0]

        return member(types.int64), codegen

    return array
