"""How compiled functions are made, kept and called. Knows nothing that is simulated.

numba writes the code; importing it and its type system takes longer than a replay. So nothing
here imports it until something has to be compiled, and what Python calls is kept as plain
object code, which llvmlite alone can load.

- `inner`: called by compiled functions only; `seldom`: that, but in few runs; `pasted`: that, but
  copied to each caller;
- `kernel`: called by Python, with numbers and arrays; allocates nothing;
- `branching_kernel`: the same of much code whose loops are short;
- `c_function`: compiled to the address of a C function, for what is called through a pointer;
- `c_functions`: the same for a function that does several things, one of each.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any, get_args, get_type_hints

import numpy as np

from .kept import address_of, addresses_of


class _Late:
    """Something that numba knows, made when compiled code first mentions it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @cached_property
    def made(self) -> Any:
        """The thing itself."""
        return self._make()

    @cached_property
    def _numba_type_(self) -> Any:  # what numba asks an object that it does not know
        from numba.core.registry import cpu_target

        made = self.made
        if not hasattr(made, "_numba_type_"):
            cpu_target.target_context.refresh()  # numba looks for new intrinsics only when told
        return cpu_target.typing_context.resolve_value_type(made)


class _Inner(_Late):
    def __init__(self, function: Callable[..., Any], *attributes: str) -> None:
        super().__init__(lambda: _compiler().inner(function, *attributes))
        self.py_func = function
        update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.py_func.__qualname__} is for compiled functions to call")


def is_own(module: str) -> bool:
    """Whether a module, by its full name, is one of this package."""
    return module.partition(".")[0] == __package__.partition(".")[0]


_FEWEST_BYTES_MAPPED = 1 << 18


def zeros(n: int, dtype: Any) -> np.ndarray[Any, Any]:
    """Return (n,) zeros, of which it costs nothing what is never used.

    numpy writes the zeros if it has the memory from an earlier array: for what is as large as a
    cache may ever need, that took a tenth of a replay.
    """
    n_bytes = n * np.dtype(dtype).itemsize
    if n_bytes < _FEWEST_BYTES_MAPPED or not hasattr(mmap, "MAP_PRIVATE"):
        return np.zeros(n, dtype)
    memory = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, dtype, n)


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function that compiled functions call, and Python does not."""
    return _Inner(function)


def seldom(function: Callable[..., Any]) -> Any:
    """Do as `inner` does for what only few runs call: made small, which takes half the time."""
    return _Inner(function, "noinline", "minsize", "optsize")


def pasted(function: Callable[..., Any]) -> Any:
    """Do as `inner` does, and put a copy of the code wherever it is called."""
    return _Inner(function, "alwaysinline")


def late(make: Callable[[], Any]) -> Any:
    """Define an intrinsic, or the like, when compiled code first mentions it."""
    return _Late(make)


@late
def view() -> Any:
    """`view(address, shape, dtype)`: the array at an address. Nobody owns it."""
    return _intrinsics().view


@late
def prefetch() -> Any:
    """`prefetch(address)`: have the processor fetch what is about to be read and written."""
    return _intrinsics().prefetch


@late
def lowest_bit() -> Any:
    """`lowest_bit(word)`: the number of the lowest bit that is set in an int64 other than 0."""
    return _intrinsics().lowest_bit


def record_at(dtype: np.dtype[Any]) -> Any:
    """Define `record(address)`: the record of a dtype at an address."""
    return late(lambda: _intrinsics().record_at(dtype))


def array_of(
    record: np.dtype[Any], name: str, shape: str, element: Any, constants: dict[str, Any]
) -> Any:
    """Define `array(address)`: an array that a record of int64s at an address tells of.

    Its address is the word `name` of the record. `shape` is written in terms of the other words
    and of `constants`, whole numbers at least 0, with +, * and >>: "n_items + 1, N_ROWS".
    """

    def make() -> Any:
        from .members import array_of

        return array_of(record, name, shape, element, constants)

    return late(make)


def c_call(n_ints: int, n_floats: int) -> Any:
    """Define `call(address, ints, floats)`: call a C function of int64s, then doubles."""
    return late(lambda: _intrinsics().c_call(n_ints, n_floats))


class _Kernel:
    """A function that Python calls with numbers, contiguous arrays, and tuples of them.

    Its C function gets the address of a row of 64-bit words: the numbers, and of each array the
    address and the shape; the results, numbers too, take the words behind them.
    """

    def __init__(self, function: Callable[..., Any], *, has_short_loops: bool) -> None:
        self.py_func = function
        self._has_short_loops = has_short_loops
        self._entries: dict[tuple[Any, ...], Any] = {}
        update_wrapper(self, function)

    @cached_property
    def _results(self) -> tuple[type, ...]:
        hint = get_type_hints(self.py_func)["return"]
        return () if hint is type(None) else get_args(hint) or (hint,)

    def __call__(self, *args: Any) -> Any:
        words: list[int] = []
        kinds = tuple(_take_apart(arg, words) for arg in args)
        n = len(words)
        row = np.zeros(n + len(self._results), np.int64)
        row[:n] = words
        entry = self._entries.get(kinds)
        if entry is None:
            entry = self._entries[kinds] = self._compiled(kinds, len(row))
        entry(row.ctypes.data)
        results = [
            kind(row.view(np.float64)[n + i] if kind is float else row[n + i])
            for i, kind in enumerate(self._results)
        ]
        return results[0] if len(results) == 1 else tuple(results) if results else None

    def _compiled(self, kinds: tuple[Any, ...], n_words: int) -> Any:
        def code(name: str) -> bytes:
            return _compiler().object_code(
                name,
                self._wrapper(kinds, n_words),
                "void",
                ("i64",),
                has_short_loops=self._has_short_loops,
            )

        where = self.py_func.__module__
        address = address_of(
            f"{where}.{self.py_func.__qualname__}{kinds}" if is_own(where) else None, code
        )
        return ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)

    def _wrapper(self, kinds: tuple[Any, ...], n_words: int) -> Any:
        """Write the compiled function that puts the arguments together again."""
        names: dict[str, Any] = {"__name__": __name__, "function": _Inner(self.py_func)}
        names.update(view=view, int64=np.int64, float64=np.float64)
        words = iter(range(n_words))
        call = ", ".join(_put_together(kind, words, names) for kind in kinds)
        lines = [
            "def wrapper(row):",
            f"    ints = view(row, ({n_words},), int64)",
            f"    floats = view(row, ({n_words},), float64)",
            f"    result = function({call})",
        ]
        for i, kind in enumerate(self._results):
            value = "result" if len(self._results) == 1 else f"result[{i}]"
            lines.append(f"    {'floats' if kind is float else 'ints'}[{next(words)}] = {value}")
        exec("\n".join(lines), names)
        return names["wrapper"]


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls with numbers and arrays; its results are numbers."""
    return _Kernel(function, has_short_loops=False)


def branching_kernel(function: Callable[..., Any]) -> Any:
    """Do the same for much code whose loops run few times: they are not unrolled or vectorised.

    That would take a quarter of LLVM's time and gain nothing.
    """
    return _Kernel(function, has_short_loops=True)


def _take_apart(arg: Any, words: list[int]) -> Any:
    """Append an argument's words; return its kind, which the code depends on."""
    if isinstance(arg, np.ndarray):
        if not arg.flags.c_contiguous:
            raise TypeError("a kernel takes contiguous arrays")
        words.append(arg.ctypes.data)
        words.extend(arg.shape)
        return (arg.dtype, arg.ndim)
    if isinstance(arg, tuple):
        return (type(arg), *[_take_apart(part, words) for part in arg])
    if isinstance(arg, float):
        words.append(int(np.float64(arg).view(np.int64)))
        return "floats"
    words.append(int(arg))
    return "ints"


def _put_together(kind: Any, words: Any, names: dict[str, Any]) -> str:
    """Write the expression that makes an argument of its words."""
    if isinstance(kind, str):
        return f"{kind}[{next(words)}]"
    name = f"type{len(names)}"
    names[name] = kind[0]
    if isinstance(kind[0], np.dtype):
        address = f"ints[{next(words)}]"
        shape = ", ".join(f"ints[{next(words)}]" for _ in range(kind[1]))
        return f"view({address}, ({shape},), {name})"
    return f"{name}({', '.join(_put_together(part, words, names) for part in kind[1:])})"


class CompileError(Exception):
    """A function is more than compiled code can do; the message says why."""


def c_function(
    function: Callable[..., float], n_ints: int, n_floats: int, *, name: str | None
) -> int:
    """Compile `function(int64 ..., double ...) -> double`; return the address of the C function.

    Its code is kept under `name`, which stands for it among these sources; None keeps nothing.

    Raises:
        CompileError: the function is not plain arithmetic.
    """
    return address_of(name, _code_of(function, n_ints, n_floats, n_firsts=0))


def c_functions(
    function: Callable[..., float], n: int, n_ints: int, n_floats: int, *, name: str | None
) -> list[int]:
    """Do as `c_function` does, once for each first number below n; return their addresses.

    The C functions do not take that number, and what it decides is decided when they are compiled,
    as far as the functions they call are `pasted`.
    """
    code = _code_of(function, n_ints, n_floats, n_firsts=n)
    return addresses_of(name, code, tuple(f"_{k}" for k in range(n)))


def _code_of(
    function: Callable[..., float], n_ints: int, n_floats: int, *, n_firsts: int
) -> Callable[[str], bytes]:
    """Return what compiles a function of numbers under a name."""
    types = ("i64",) * n_ints + ("double",) * n_floats

    def code(name: str) -> bytes:
        return _compiler().object_code(name, function, "double", types, n_firsts=n_firsts)

    return code


def _compiler() -> Any:
    from . import compiler

    return compiler


def _intrinsics() -> Any:
    from . import intrinsics

    return intrinsics
