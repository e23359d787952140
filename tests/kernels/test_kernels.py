"""Compiled functions give what their Python text says, and come back from where they are kept."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from kvsim.kernels import CompileError, c_function, inner, jitted, kernel, view

PAIR = np.dtype([("weight", "f8"), ("count", "i4")], align=True)


class Sums(NamedTuple):
    total: np.ndarray
    parts: np.ndarray


@inner
def _twice(x: float) -> float:
    return 2 * x


@kernel
def _weigh(pairs: np.ndarray, sums: Sums, factor: float, limit: int) -> tuple[int, float, bool]:
    n = 0
    for i in range(min(len(pairs), limit)):
        sums.total[0] += _twice(pairs[i].weight) * pairs[i].count * factor
        sums.parts[i, 1] = pairs[i].count
        n += 1
    return n, sums.total[0], n == limit


def _case() -> tuple[np.ndarray, Sums]:
    pairs = np.array([(0.5, 2), (1.5, 3), (4.0, -1)], PAIR)
    return pairs, Sums(np.zeros(1), np.zeros((3, 2), np.int32))


def test_a_kernel_takes_records_tuples_and_numbers_and_returns_numbers() -> None:
    pairs, sums = _case()
    assert _weigh(pairs, sums, 0.5, 2) == (2, 5.5, True)
    assert sums.parts.tolist() == [[0, 2], [0, 3], [0, 0]]
    n, total, is_full = _weigh(pairs, sums, 1.0, 9)
    assert (n, total, is_full) == (3, 5.5 + 2.0 + 9.0 - 8.0, False)
    assert isinstance(n, int)
    assert isinstance(total, float)
    assert isinstance(is_full, bool)


@kernel
def _halve(values: np.ndarray) -> None:
    for i in range(len(values)):
        values[i] = values[i] // 2


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_other_element_types_are_other_code(dtype: type) -> None:
    values = np.array([7, -7, 0], dtype)
    assert _halve(values) is None
    assert values.tolist() == [3, -4, 0]


def test_strided_arrays_and_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="contiguous"):
        _halve(np.arange(10)[::2])
    with pytest.raises((TypeError, ValueError)):
        _halve("text")


def test_an_inner_function_is_not_for_python() -> None:
    with pytest.raises(TypeError, match="_twice is for compiled functions"):
        _twice(1.0)


@jitted
def _squares(n: int) -> np.ndarray:
    out = np.empty(n)
    for i in range(n):
        out[i] = _twice(i) * i
    return out


def test_a_jitted_function_may_make_arrays() -> None:
    assert _squares(4).tolist() == [0, 2, 8, 18]


def test_a_kernel_may_not() -> None:
    @kernel
    def allocates(n: int) -> float:
        made = np.empty(n)
        for i in range(n):
            made[i] = i
        total: float = made.sum()
        return total

    with pytest.raises(CompileError, match="NRT"):
        allocates(5)


def test_views_are_laid_out_as_in_c() -> None:
    table = np.arange(24, dtype=np.int32).reshape(2, 3, 4)

    @kernel
    def pick(address: int) -> int:
        return view(address, (2, 3, 4), np.int32)[1, 2, -1]

    assert pick(table.ctypes.data) == 23


def test_a_c_function_has_an_address() -> None:
    import ctypes

    def mix(event: int, a: float, b: float) -> float:
        return a * b + event

    address = c_function(mix, 1, 2, name=None)
    call = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, *[ctypes.c_double] * 2)(address)
    assert call(3, 2.0, 0.25) == 3.5


def test_what_numba_refuses_says_why() -> None:
    def refused(x: int, y: float) -> float:
        return open("nowhere").read()

    with pytest.raises(CompileError):
        c_function(refused, 1, 1, name=None)


def test_a_second_process_loads_what_the_first_kept_and_never_imports_numba() -> None:
    pairs, sums = _case()
    _weigh(pairs, sums, 1.0, 3)
    program = """
import sys
import numpy as np
from kvsim.calibration.latency import LatencyModel
print(LatencyModel.parse("1,2,3,4").unloaded_s(10, 3))
print(sorted(name for name in sys.modules if name.split(".")[0] in ("numba", "scipy")))
"""
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
    value, loaded = run.stdout.splitlines()
    assert float(value) == (1 + 20 + 40) + (1 + 3 + 44) + (1 + 3 + 48)
    assert loaded == "[]"
