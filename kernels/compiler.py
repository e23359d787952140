"""The part of compiling that needs numba: see `kernels`, which imports this when it must.

numba spends more than half of its time on what kernels never do: exceptions, garbage, closures,
array expressions, an entry from Python, machine code of every function on its own. Here a
function goes through the passes that it needs and is left as LLVM text; whatever Python calls
is made of that, whole, and optimised once. A function that needs more than these passes, as a
user's may, gets all of them.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Hashable
from functools import cache
from inspect import signature as parameters_of
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from numba import types
from numba.core import bytecode, cgutils, compiler, typing, utils
from numba.core import ir as numba_ir
from numba.core.codegen import CodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.datamodel.models import OpaqueModel
from numba.core.errors import NumbaError
from numba.core.funcdesc import PythonFunctionDescriptor
from numba.core.interpreter import Interpreter
from numba.core.ir_utils import build_definitions
from numba.core.lowering import Lower
from numba.core.registry import cpu_target
from numba.core.rewrites.static_getitem import RewriteConstGetitems, RewriteConstSetitems
from numba.core.runtime.nrt import rtsys
from numba.core.targetconfig import ConfigStack
from numba.core.transforms import canonicalize_cfg
from numba.core.typed_passes import type_inference_stage
from numba.cpython.builtins import cast_int, do_minmax
from numba.extending import intrinsic, register_model

from . import CompileError, is_own
from .contexts import contexts
from .kept import target_machine
from .members import Member


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


class _Flags(compiler.Flags):  # type: ignore[misc]
    """numba's options, not to be changed: a key of its tables, compared at each look-up."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def copy(self) -> Any:
        return compiler.Flags(self)


@cache
def _flags(*, counts_users: bool) -> Any:
    flags = _Flags()
    flags.no_compile = True
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.enable_looplift = False
    flags.enable_pyobject = False
    flags.error_model = "numpy"  # nothing raises, so nothing needs Python
    flags.nrt = counts_users
    return flags


utils.pysignature = cache(utils.pysignature)  # numba asks for those of its own again and again


class _Reader(Interpreter):  # type: ignore[misc]
    """numba's reader of byte code, without what it mends: `with`, dicts, `*args` of a call."""

    def post_process(self, peepholes: Any, func_ir: Any) -> Any:
        return func_ir


def _compile_plainly(function: Any, kinds: tuple[Any, ...], text: _Text) -> Any:
    """Put a function of plain arithmetic, loops and calls into `text`; return its descriptor.

    These are numba's own passes, without those that find nothing to do in such a function, and
    without the one to single assignment: a variable has one type, and LLVM does the rest.
    """
    flags = _flags(counts_users=False)
    identity = bytecode.FunctionIdentity.from_function(function)
    with ConfigStack().enter(flags):
        code = _Reader(identity).interpret(bytecode.ByteCode(identity))
        code.blocks = canonicalize_cfg(code.blocks)
        _look_up_names(code)
        _find_constant_indices(code)
        code._definitions = build_definitions(code.blocks)
        rules, context = contexts()
        typed = type_inference_stage(rules, context, code, kinds, None)
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
        context.counts_from_the_end = not is_own(function.__module__)
        with context.push_code_library(text):
            Lower(context, text, descriptor, code).lower()
    return descriptor


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


def _look_up_names(function: Any) -> None:
    """Put numbers in place of their names, and the functions below in place of Python's.

    A variable that is set to a name could be set to nothing else, and numba compiles a min of its
    own for each call.
    """
    for block in function.blocks.values():
        for assignment in block.find_insts(numba_ir.Assign):
            named = assignment.value
            if not isinstance(named, numba_ir.Global):
                continue
            if type(named.value) in (int, float):
                assignment.value = numba_ir.Const(named.value, named.loc)
            elif isinstance(named.value, Hashable):
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


_ATTRIBUTES: dict[str, tuple[str, ...]] = {}
"""Attributes of functions, by their symbols."""


class _Inner:
    """A function that compiled functions call, compiled once for each kind of arguments.

    A parameter is of the type that its annotation says: what is passed as `int`, be it an int32,
    a bool or a literal, is passed as int64, and as `float` as float64. Else a function would be
    compiled for each mixture of integers that it is called with.
    """

    def __init__(self, function: Callable[..., Any], attributes: tuple[str, ...]) -> None:
        self._function = function
        self._attributes = attributes
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
        if isinstance(kind, Member):
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
        if isinstance(descriptor.restype, types.Optional):  # which the status tells of
            target.insert_user_function(descriptor, descriptor, [text])
        else:
            target._defns[descriptor].append(_call(descriptor, text), descriptor.argtypes)
        _ATTRIBUTES[descriptor.llvm_func_name] = self._attributes
        signature = typing.signature(descriptor.restype, *kinds).replace(pysig=self._parameters)
        return _Compiled(signature, descriptor, text)


def _call(callee: Any, text: _Text) -> Any:
    """Make what writes a call, without a look at whether the callee raised, which none does."""

    def write_call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        convention = context.call_conv
        function = context.declare_function(builder.module, callee)
        place = cgutils.alloca_once(builder, convention.get_return_type(callee.restype).pointee)
        error = convention._get_excinfo_argument(builder.function)
        packed = context.get_arg_packer(callee.argtypes).as_arguments(builder, args)
        builder.call(function, [place, error, *packed])
        return context.get_returned_value(builder, callee.restype, builder.load(place))

    call: Any = write_call
    call.signature = callee.argtypes
    call.libs = (text,)
    return call


def _is_small_integer(kind: Any) -> bool:
    """Whether each number of the type is an int64."""
    return isinstance(kind, types.Integer) and (kind.signed or kind.bitwidth < 64)


def inner(function: Callable[..., Any], *attributes: str) -> Any:
    """Compile a function that compiled functions call, with attributes of LLVM's functions."""
    return _Inner(function, attributes)


@global_compiler_lock
def object_code(
    name: str,
    function: Callable[..., Any],
    result: str,
    parameters: tuple[str, ...],
    *,
    has_short_loops: bool = False,
    n_firsts: int = 0,
) -> bytes:
    """Compile `function` to the object code of a C function called `name`.

    With `n_firsts` it is as many, `name_0`, `name_1`, ..., each without the first parameter, which
    has that number. `result` and `parameters` are LLVM types: i64, double, or void as result. With
    `has_short_loops`, loops are left as they are.

    Raises:
        CompileError: numba refuses, or the code needs Python at run time (to make an array).
    """
    kinds = {"i64": types.int64, "double": types.float64}
    try:
        # a last parameter *numbers takes the rest, as in a call
        attributes = ("alwaysinline",) if n_firsts else ()
        compiled = inner(function, *attributes).compiled(tuple(kinds[p] for p in parameters), {})
    except NumbaError as error:
        told = [line for line in str(error).splitlines() if line.startswith("Unknown")]
        reason = told[0].partition(" of type")[0] if told else type(error).__name__
        raise CompileError(reason) from error
    module = compiled.text.whole()
    symbol = compiled.descriptor.llvm_func_name
    takes = [f"{kind} %a{i}" for i, kind in enumerate(parameters)]
    if n_firsts:
        entries = [(f"{name}_{k}", takes[1:], [f"i64 {k}", *takes[1:]]) for k in range(n_firsts)]
    else:
        entries = [(name, takes, takes)]
    returns = "ptr" if result == "void" else result
    answer = (
        "ret void" if result == "void" else f"%r = load {returns}, ptr %result\nret {returns} %r"
    )
    text = f"""
        define void @NRT_incref(ptr %view) {{ ret void }}
        define void @NRT_decref(ptr %view) {{ ret void }}
        declare i32 @"{symbol}"({", ".join(["ptr", "ptr", *parameters])})
    """
    for entry, given, passed in entries:
        text += f"""
        define {result} @{entry}({", ".join(given)}) {{
            %result = alloca {returns}
            %error = alloca ptr
            %status = call i32 @"{symbol}"({", ".join(["ptr %result", "ptr %error", *passed])})
            {answer}
        }}
        """
    names = {entry for entry, _, _ in entries}
    module.link_in(llvm.parse_assembly(text))  # nobody counts the users of a view
    for defined in module.functions:
        if not defined.is_declaration and defined.name not in names:
            defined.linkage = llvm.Linkage.internal
        if not defined.is_declaration:
            for attribute in _ATTRIBUTES.get(defined.name, ()):
                defined.add_function_attribute(attribute)
    machine = target_machine()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    if has_short_loops:
        options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    module.verify()
    for needed in module.functions:
        if needed.is_declaration and needed.name.startswith(("numba", "NRT", "Py", "_Py", "_ZN")):
            raise CompileError(f"it needs {needed.name}")
    return bytes(machine.emit_object(module))
