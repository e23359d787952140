"""The part of compiling that needs numba: see `kernels`, which imports this when it must.

numba spends more than half of its time on what kernels never do: exceptions, garbage, closures,
array expressions, an entry from Python, machine code of every function on its own. Here a
function goes through the passes that it needs and is left as LLVM text; whatever Python calls
is made of that, whole, and optimised once. A function that needs more than these passes, as a
user's may, gets all of them.
"""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Hashable
from functools import cache
from inspect import signature as parameters_of
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import bytecode, cgutils, compiler, typing
from numba.core import ir as numba_ir
from numba.core.callconv import create_error_model
from numba.core.codegen import CodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.cpu import CPUContext
from numba.core.datamodel.models import OpaqueModel, PrimitiveModel
from numba.core.errors import NumbaError
from numba.core.funcdesc import PythonFunctionDescriptor
from numba.core.interpreter import Interpreter
from numba.core.ir_utils import build_definitions
from numba.core.lowering import Lower
from numba.core.registry import cpu_target
from numba.core.rewrites.static_getitem import RewriteConstGetitems, RewriteConstSetitems
from numba.core.runtime.nrt import rtsys
from numba.core.ssa import reconstruct_ssa
from numba.core.targetconfig import ConfigStack
from numba.core.transforms import canonicalize_cfg
from numba.core.typed_passes import PreLowerStripPhis, type_inference_stage
from numba.core.imputils import lower_builtin, lower_cast, lower_getattr_generic
from numba.core.typing.npydecl import parse_dtype
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
)
from numba.cpython.builtins import cast_int, do_minmax
from numba.cpython.slicing import fix_index
from numba.extending import intrinsic, register_model
from numba.np.arrayobj import make_array, populate_array
from numba.np.numpy_support import from_dtype

from . import CompileError, target_machine


class _Text(CodeLibrary):  # type: ignore[misc]
    """The code of one function: a module of LLVM, neither linked nor optimised.

    numba makes machine code of every function with all that it calls, at every level of a chain
    of calls anew.
    """

    def __init__(self, name: str) -> None:
        super().__init__(cpu_target.target_context.codegen(), name)
        self._modules: list[Any] = []
        self._called: dict[Any, None] = {}
        self._finalized = True

    def _raise_if_finalized(self) -> None:
        pass

    def add_ir_module(self, ir_module: Any) -> None:
        self._modules.append(llvm.parse_assembly(cgutils.normalize_ir_text(str(ir_module))))

    def add_linking_library(self, library: Any) -> None:
        if library is not rtsys.library:  # numba's count of who uses an array: nobody does here
            self._called[library] = None

    def whole(self) -> Any:
        """A module of this function and all that it calls."""
        module = llvm.parse_assembly(str(self.create_ir_module(self.name)))
        seen: dict[Any, None] = {}
        waiting = [self]
        while waiting:
            library = waiting.pop()
            if library not in seen:
                seen[library] = None
                if isinstance(library, _Text):
                    waiting.extend(library._called)
        for library in seen:
            own = isinstance(library, _Text)
            for part in library._modules if own else [library._get_module_for_linking()]:
                module.link_in(part, preserve=True)
        return module

    def _get_module_for_linking(self) -> Any:  # asked by what numba itself compiles
        module = self.whole()
        for function in module.functions:
            if not function.is_declaration and function.linkage == llvm.Linkage.external:
                function.linkage = llvm.Linkage.linkonce_odr
        return module

    def finalize(self) -> None:
        pass

    def get_function(self, name: str) -> Any:
        return self._modules[0].get_function(name)

    def get_llvm_str(self) -> str:
        return str(self.whole())

    def get_asm_str(self) -> str:
        return str(target_machine().emit_assembly(self.whole()))


def _flags(*, counts_users: bool) -> Any:
    flags = compiler.Flags()
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.enable_looplift = False
    flags.enable_pyobject = False
    flags.error_model = "numpy"  # nothing raises, so nothing needs Python
    flags.nrt = counts_users
    return flags


def _compile_plainly(function: Any, kinds: tuple[Any, ...], text: _Text) -> Any:
    """Put a function of plain arithmetic, loops and calls into `text`; return its descriptor.

    These are numba's own passes, without those that find nothing to do in such a function.
    """
    flags = _flags(counts_users=False)
    identity = bytecode.FunctionIdentity.from_function(function)
    with ConfigStack().enter(flags):
        code = Interpreter(identity).interpret(bytecode.ByteCode(identity))
        code.blocks = canonicalize_cfg(code.blocks)
        _name_cheaper(code)
        _find_constant_indices(code)
        code = reconstruct_ssa(code)
        code._definitions = build_definitions(code.blocks)
        rules, context = _contexts()
        typed = type_inference_stage(rules, context, code, kinds, None)
        code = PreLowerStripPhis()._strip_phi_nodes(code)
        code._definitions = build_definitions(code.blocks)
        code.generator_info = None
        descriptor = PythonFunctionDescriptor.from_specialized_function(
            code,
            typed.typemap,
            typed.return_type,
            typed.calltypes,
            mangler=context.mangler,
            inline=False,
            noalias=False,
            abi_tags=[],
        )
        with context.push_code_library(text):
            Lower(context, text, descriptor, code).lower()
    return descriptor


class _Typing(typing.Context):  # type: ignore[misc]
    """numba's rules of types, which remembers what it once found out.

    Finding that int64 + int64 is int64 means to try dozens of rules, for each + anew.
    """

    found: dict[Any, Any]
    attributes: dict[Any, Any]

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        if isinstance(func, _InnerType):
            return func.get_call_type(self, args, kws)
        if kws:
            return super().resolve_function_type(func, args, kws)
        key = func, args
        if key not in self.found:
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


class _TypingAgain(_Typing):
    """The same while code is made, when numba asks for the types of each operator once more."""

    known: dict[Any, _Known]

    def resolve_value_type(self, val: Any) -> Any:
        kind = super().resolve_value_type(val)
        is_operator = getattr(val, "__module__", None) == operator.add.__module__
        return self.known.setdefault(kind, _Known(kind)) if is_operator else kind


class _Lowering(CPUContext):  # type: ignore[misc]
    """What numba makes of types and operations; of arrays, nobody counts the users."""

    sizes: dict[str, int]

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


@cache
def _contexts() -> tuple[_Typing, _Lowering]:
    """Our own kinds of numba's two contexts, which share all definitions with them."""
    rules = object.__new__(_Typing)
    rules.__dict__.update(vars(cpu_target.typing_context), found={}, attributes={})
    target = cpu_target.target_context
    again = object.__new__(_TypingAgain)
    again.__dict__.update(vars(rules), known={})
    lowering = object.__new__(_Lowering)
    lowering.__dict__.update(
        vars(target),
        typing_context=again,
        error_model=create_error_model("numpy", target),
        sizes={},
    )
    return rules, lowering


def _compile_wholly(function: Any, kinds: tuple[Any, ...], text: _Text) -> Any:
    """Do the same with all of numba's passes."""
    typing_context, context = cpu_target.typing_context, cpu_target.target_context
    typing_context.callstack._fail_cache.clear()  # with other passes it may well do
    flags = _flags(counts_users=True)
    work = compiler.Compiler(typing_context, context, text, kinds, None, flags, {})
    return work.compile_extra(function).fndesc


def _find_constant_indices(code: Any) -> None:
    """Mark `a[0]` and the like, which numba types otherwise than `a[i]`."""
    for rewrite_class in (RewriteConstGetitems, RewriteConstSetitems):
        rewrite = rewrite_class(None)
        for label, block in code.blocks.items():
            if rewrite.match(code, block, None, None):
                code.blocks[label] = rewrite.apply()


def _name_cheaper(function: Any) -> None:
    """Put the functions below in place of Python's: numba compiles its own for each call."""
    for block in function.blocks.values():
        for assignment in block.find_insts(numba_ir.Assign):
            named = assignment.value
            if isinstance(named, numba_ir.Global) and isinstance(named.value, Hashable):
                named.value = _CHEAPER.get(named.value, named.value)


def _extreme(compare: Any) -> Any:
    @intrinsic
    def extreme(typing_context: Any, *numbers: Any) -> Any:
        if len(numbers) < 2 or not all(
            isinstance(n, (types.Number, types.Boolean)) for n in numbers
        ):
            return None
        kind = typing_context.unify_types(*numbers)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            [kinds] = signature.args
            values = cgutils.unpack_tuple(builder, args[0])
            return do_minmax(context, builder, list(kinds), values, compare)

        return kind(types.StarArgTuple(numbers)), codegen

    return extreme


_CHEAPER = {min: _extreme(operator.lt), max: _extreme(operator.gt), int: cast_int}


class _InnerType(types.Callable, types.Dummy):  # type: ignore[misc]
    """numba's type of an inner function, which knows how calls of it are typed."""

    def __init__(self, function: _Inner) -> None:
        self.function = function
        super().__init__(f"inner({function.name} at {id(function)})")

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        return self.function.compiled(args, kws).signature

    def get_call_signatures(self) -> Any:
        return [done.signature for done in self.function.done.values()], True

    def get_impl_key(self, signature: Any) -> Any:
        return self.function.done[signature.args].descriptor


register_model(_InnerType)(OpaqueModel)


class _Compiled(NamedTuple):
    signature: Any
    descriptor: Any
    text: _Text


class _Inner:
    """A function that compiled functions call, compiled once for each kind of arguments.

    A parameter is of the type that its annotation says: what is passed as `int`, be it an int32,
    a bool or a literal, is passed as int64, and as `float` as float64. Else a function would be
    compiled for each mixture of integers that it is called with.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.done: dict[tuple[Any, ...], _Compiled] = {}
        """What it became, by types of arguments."""
        self._parameters = parameters_of(function)
        self._numba_type_ = _InnerType(self)

    def compiled(self, args: Any, kws: Any) -> _Compiled:
        """Return the code for such arguments."""
        kinds = typing.fold_arguments(
            self._parameters, args, kws, self._kind, self._default, self._rest
        )
        if kinds not in self.done:
            self.done[kinds] = self._compile(kinds)
        return self.done[kinds]

    def _kind(self, index: int, parameter: Any, kind: Any) -> Any:
        hint = parameter.annotation
        if isinstance(hint, str):
            named = self._function.__globals__
            hint = named.get(hint, getattr(builtins, hint, None))
        kind = types.unliteral(kind)
        if isinstance(kind, _Member):
            return kind.array
        if hint is int and (isinstance(kind, types.Boolean) or _is_small_integer(kind)):
            return types.int64
        if hint is float and isinstance(kind, (types.Integer, types.Float)):
            return types.float64
        return kind

    @staticmethod
    def _default(index: int, parameter: Any, default: Any) -> Any:
        return types.Omitted(default)

    @staticmethod
    def _rest(index: int, parameter: Any, values: Any) -> Any:
        return types.StarArgTuple(values)

    def _compile(self, kinds: tuple[Any, ...]) -> _Compiled:
        target = cpu_target.target_context
        try:
            text = _Text(self.name)
            descriptor = _compile_plainly(self._function, kinds, text)
        except Exception:  # whatever the reason was, with all its passes numba tells it better
            text = _Text(self.name)
            descriptor = _compile_wholly(self._function, kinds, text)
        target.insert_user_function(descriptor, descriptor, [text])
        signature = typing.signature(descriptor.restype, *kinds).replace(pysig=self._parameters)
        return _Compiled(signature, descriptor, text)


def _is_small_integer(kind: Any) -> bool:
    """Whether each number of the type is an int64."""
    return isinstance(kind, types.Integer) and (kind.signed or kind.bitwidth < 64)


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function that compiled functions call."""
    return _Inner(function)


@intrinsic
def view(typing_context: Any, address: Any, shape: Any, dtype: Any) -> Any:
    """The C-contiguous array of `shape` and `dtype` at an address."""
    array_type = types.Array(parse_dtype(dtype), len(shape), "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lengths = [
            context.cast(builder, length, kind, types.intp)
            for length, kind in zip(cgutils.unpack_tuple(builder, args[1]), shape, strict=True)
        ]
        return _array_at(context, builder, array_type, args[0], lengths)

    return array_type(types.int64, shape, dtype), codegen


def _array_at(context: Any, builder: Any, array_type: Any, address: Any, lengths: Any) -> Any:
    word = context.get_value_type(types.intp)
    element = array_type.dtype
    size = element.size if isinstance(element, types.Record) else element.bitwidth // 8
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


class _Member(types.Type):  # type: ignore[misc]
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
            if of_kind.signed:
                each = fix_index(builder, each, length)
            at = each if at is None else builder.add(builder.mul(at, length), each)
        data = builder.inttoptr(first, context.get_data_type(self.array.dtype).as_pointer())
        return builder.gep(data, [at])


@register_model(_Member)
class _MemberModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, member: Any) -> None:
        super().__init__(manager, member, ir.IntType(64))


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        member, index = args
        if not isinstance(member, _Member):
            return None
        kind = member.index_type(index)
        if kind is not None:
            return member.array.dtype(member, kind)
        return self.context.resolve_function_type(operator.getitem, (member.array, index), {})


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        member, index, _ = args
        kind = member.index_type(index) if isinstance(member, _Member) else None
        return None if kind is None else types.none(member, kind, member.array.dtype)


@infer_global(len)
class _Len(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        [member] = args
        return types.intp(member.array) if isinstance(member, _Member) else None


@infer_getattr
class _Attributes(AttributeTemplate):  # type: ignore[misc]
    key = _Member

    def generic_resolve(self, member: Any, name: str) -> Any:
        return self.context.resolve_getattr(member.array, name)


@lower_getattr_generic(_Member)
def _get_attribute(context: Any, builder: Any, member: Any, address: Any, name: str) -> Any:
    array = context.cast(builder, address, member, member.array)
    return context.get_getattr(member.array, name)(context, builder, member.array, array, name)


@lower_builtin(operator.getitem, _Member, types.Any)
def _get_item(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    member, kind = signature.args
    place = member.place(context, builder, args[0], kind, args[1])
    return context.unpack_value(builder, member.array.dtype, place)


@lower_builtin(operator.setitem, _Member, types.Any, types.Any)
def _set_item(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    member, kind, _ = signature.args
    place = member.place(context, builder, args[0], kind, args[1])
    context.pack_value(builder, member.array.dtype, args[2], place)
    return context.get_dummy_value()


@lower_cast(_Member, types.Array)
def _as_array(context: Any, builder: Any, member: Any, array: Any, address: Any) -> Any:
    first, lengths = member.parts(builder, address)
    return _array_at(context, builder, array, first, lengths)


def array_of(record: Any, name: str, shape: str, element: Any, constants: dict[str, Any]) -> Any:
    """Make an intrinsic, see `kernels.array_of`."""
    member = _Member(record, name, shape, element, constants)

    @intrinsic
    def array(typing_context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return args[0]

        return member(types.int64), codegen

    return array


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
    try:
        # a last parameter *numbers takes the rest, as in a call
        compiled = inner(function).compiled(tuple(kinds[p] for p in parameters), {})
    except NumbaError as error:
        told = [line for line in str(error).splitlines() if line.startswith("Unknown")]
        reason = told[0].partition(" of type")[0] if told else type(error).__name__
        raise CompileError(reason) from error
    module = compiled.text.whole()
    symbol = compiled.descriptor.llvm_func_name
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
