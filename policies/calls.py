"""How a policy's functions become C functions: compiled, or as calls back to Python."""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import PolicyError
from ..kernels import CompileError, c_function, c_functions, inner, pasted
from .block import Block

if TYPE_CHECKING:
    from .base import Binding, CompiledPolicy, QueuePolicy, ScorePolicy


def python_function(
    function: Callable[..., float], n_ints: int, n_floats: int, binding: Binding
) -> int:
    """Make a Python function callable from compiled code; an exception becomes NaN, and is kept."""

    def guarded(*args: Any) -> float:
        try:
            return function(*args)
        except BaseException as error:
            binding.errors.append(error)
            return float("nan")

    kind = ctypes.CFUNCTYPE(
        ctypes.c_double, *[ctypes.c_int64] * n_ints, *[ctypes.c_double] * n_floats
    )
    pointer = kind(guarded)
    binding.kept_alive.append(pointer)
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def number(value: Any, what: str) -> float:
    """Return what a policy answered as a float.

    Raises:
        TypeError: it is no number.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{what} must return a number, got {value!r}") from None


def _place(policy: type) -> str:
    try:
        return f"policy {inspect.getfile(policy)}:{policy.__name__}"
    except (TypeError, OSError):  # made by exec, or typed in
        return f"policy {policy.__name__}"


def checked(policy: type, name: str, arguments: tuple[str, ...]) -> Callable[..., float]:
    """Return a static method that is to be compiled.

    Raises:
        PolicyError: it is not static, or takes other arguments.
    """
    found = inspect.getattr_static(policy, name)
    wanted = f"a @staticmethod of ({', '.join(arguments)})"
    if not isinstance(found, staticmethod):
        raise PolicyError(f"{_place(policy)}: with compiled = True {name} must be {wanted}")
    given = tuple(inspect.signature(found.__func__).parameters)
    if len(given) != len(arguments):
        raise PolicyError(f"{_place(policy)}: {name} must be {wanted}, got ({', '.join(given)})")
    function: Callable[..., float] = found.__func__
    return function


def compiled_score(policy: type[ScorePolicy]) -> int:
    from .records import N_FEATURES

    score: Any = inner(checked(policy, "score", ("block",)))
    make: Any = Block

    def call(block_id: int, *features: float) -> float:
        return float(score(make(block_id, *features)))

    return c_function_of(policy, call, 1, N_FEATURES - 1)


def compiled_events(
    policy: type[CompiledPolicy], function: Callable[..., float]
) -> NDArray[np.int64]:
    """(order.N_EVENTS,): a C function for each event."""
    from .order import N_EVENTS
    from .records import features, items_at

    event_function: Any = pasted(function)
    make: Any = Block

    def call(event: int, state: int, block_id: int, where: int, n_blocks: float) -> float:
        about = features(items_at(where, 1), 0, n_blocks)
        return float(event_function(event, state, make(block_id, *about)))

    return _c_functions_of(policy, lambda name: c_functions(call, N_EVENTS, 4, 1, name=name))


def compiled_value(policy: type[QueuePolicy]) -> int:
    names = ("category", "age_s", "a", "b", "c")
    value: Any = inner(checked(policy, "value", names))

    def call(category: int, age_s: float, a: float, b: float, c: float) -> float:
        return float(value(category, age_s, a, b, c))

    return c_function_of(policy, call, 1, 4)


_COMPILED: dict[type, NDArray[np.int64]] = {}
"""Addresses of compiled functions by policy class: compiling twice gives the same functions."""


def c_function_of(policy: type, call: Callable[..., float], n_ints: int, n_floats: int) -> int:
    """Compile a policy's function; it is kept for later runs if it is one of kvsim's own."""
    return int(
        _c_functions_of(policy, lambda name: [c_function(call, n_ints, n_floats, name=name)])[0]
    )


def _c_functions_of(policy: type, compiled: Callable[[str | None], list[int]]) -> NDArray[np.int64]:
    if policy not in _COMPILED:
        is_own = policy.__module__.startswith(f"{__package__}.")
        name = f"{policy.__module__}.{policy.__qualname__}" if is_own else None
        try:
            _COMPILED[policy] = np.array(compiled(name), np.int64)
        except CompileError as error:
            raise PolicyError(
                f"{_place(policy)}: cannot be compiled:"
                f" {error}; without compiled = True it runs as plain Python"
            ) from None
    return _COMPILED[policy]
