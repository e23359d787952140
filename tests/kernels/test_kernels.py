"""Compiled functions give what their Python text says, and come back from where they are kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numba import literal_unroll

from kvsim.kernels import (
    CompileError,
    array_of,
    c_function,
    c_functions,
    inner,
    kernel,
    pasted,
    record_at,
    view,
)
from kvsim.kernels.kept import compiled_sources
from kvsim.policies import POLICIES, make_policy

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


def test_a_kernel_makes_no_array() -> None:
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


def test_a_function_becomes_one_c_function_for_each_first_number() -> None:
    import ctypes

    @pasted
    def chosen(event: int, a: float) -> float:
        return a + 1.0 if event == 1 else 10.0 * a + event

    def choose(event: int, place: int, a: float) -> float:
        return chosen(event, a) + 100.0 * place

    addresses = c_functions(choose, 3, 2, 1, name=None)
    calls = [
        ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_double)(address)
        for address in addresses
    ]
    assert [call(7, 0.5) for call in calls] == [705.0, 701.5, 707.0]


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


TABLES = np.dtype([("n_rows", "i8"), ("counts", "i8"), ("pairs", "i8")])
_COUNTS = {"WIDTH": 3}
_record = record_at(TABLES)
_counts = array_of(TABLES, "counts", "(n_rows >> 1) + 1, WIDTH", np.int32, _COUNTS)
_pairs = array_of(TABLES, "pairs", "n_rows * WIDTH", PAIR, _COUNTS)


@inner
def _sum_of(values: np.ndarray) -> int:
    total = 0
    for i in range(len(values)):
        total += values[i]
    return total


@kernel
def _use_tables(address: int, row: int) -> tuple[int, int, float, int]:
    _counts(address)[row, -1] += 1
    _counts(address)[0, np.int32(1)] = 7
    _pairs(address)[-1].weight = 2.5
    pair = _pairs(address)[len(_pairs(address)) - 1]
    return (
        _sum_of(_counts(address)[row]),
        _counts(address).shape[0] if row < 0 else _record(address).n_rows,
        pair.weight,
        _counts(address)[row][1],
    )


def test_arrays_that_a_record_tells_of() -> None:
    counts = np.arange(9, dtype=np.int32).reshape(3, 3)
    pairs = np.zeros(12, PAIR)
    record = np.array([(4, counts.ctypes.data, pairs.ctypes.data)], TABLES)
    assert _use_tables(record.ctypes.data, 1) == (3 + 4 + 6, 4, 2.5, 4)
    assert _use_tables(record.ctypes.data, -1) == (6 + 7 + 9, 3, 2.5, 7)
    assert counts.tolist() == [[0, 7, 2], [3, 4, 6], [6, 7, 9]]
    assert pairs[-1]["weight"] == 2.5


@inner
def _half(x: int) -> int:
    return x // 2


@inner
def _share(x: float, of: float = 4) -> float:
    return x // of


def test_an_annotation_says_the_type() -> None:
    @kernel
    def pass_what_fits(values: np.ndarray) -> tuple[int, float, float]:
        return _half(values[0]) + _half(7) + _half(values[0] > 0), _share(6), _share(x=9, of=2)

    assert pass_what_fits(np.array([-3], np.int32)) == (-2 + 3 + 0, 1.0, 4.0)


def test_what_the_few_passes_cannot_do_all_passes_do() -> None:
    @kernel
    def sum_squares(n: int) -> int:
        total = 0
        for pair in literal_unroll(((1, 2.0), (3, 4.0, 5.0))):
            total += len(pair) * n
        return total

    assert sum_squares(2) == 10


_START = 3


def test_a_variable_may_be_set_again() -> None:
    @kernel
    def set_again(n: int, values: np.ndarray) -> tuple[int, float, int]:
        low = _START  # a named constant, then a number found out
        mean = 0  # a whole number, then a fraction
        for i in range(n):
            low = min(low, values[i])
            mean = mean + values[i] / n
        last = values[n - 1] if n > 2 else -1
        return low, mean, last

    assert set_again(3, np.array([5, -2, 6])) == (-2, 3.0, 6)
    assert set_again(2, np.array([5, 4])) == (3, 4.5, -1)


def test_a_variable_of_two_types_needs_all_passes() -> None:
    @kernel
    def reuse_a_name(values: np.ndarray) -> int:
        what = values[0]
        what = (what, 2 * what)
        return what[0] + what[1]

    assert reuse_a_name(np.array([5])) == 15


def test_what_is_compiled_goes_by_all_sources_that_it_may_come_from() -> None:
    """Else a version would run what an older one left: a policy's file may be plain Python."""
    sources = set(compiled_sources())
    for name in POLICIES:
        file = sys.modules[type(make_policy(name)).__module__].__file__
        assert Path(file or "") in sources, name
