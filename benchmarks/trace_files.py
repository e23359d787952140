"""Reading and writing trace files: speed against the standard library's json, sizes, memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import workloads
from harness import Result, Setting, interleaved, ratio

from kvsim.traces.compiled import SUFFIX
from kvsim.traces.formats import read_trace, write_trace
from kvsim.traces.schema import Trace

FEW, MANY = 100_000, 1_000_000
FEW_ROUNDS = 3
_READ = """
import sys
from kvsim.traces.formats import read_trace
told = (0, len(read_trace(sys.argv[1], block_size=16).block_ids))
"""
_DESCRIBE = """
import sys, time
start = time.perf_counter()
from kvsim.cli import app
app(["trace", "describe", *sys.argv[1:]], standalone_mode=False)
told = (1e3 * (time.perf_counter() - start), 1e3 * time.process_time())
"""
_TELL = """
import pathlib, re
# not ru_maxrss, which a new process inherits from the one that starts it
status = pathlib.Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024, *map(int, told))
"""


def speed(setting: Setting) -> Iterator[Result]:
    """Time to columns of checked, sorted, chained rows, against json.loads of each line alone."""
    trace = workloads.multi_turn(FEW)
    lines, columns = _written(trace, setting.scratch)
    yield from _speed(lines, columns, _size(trace), setting.rounds)


def million(setting: Setting) -> Iterator[Result]:
    """A million requests: speed of reading, size of the files, memory, and `trace describe`."""
    trace = workloads.multi_turn(MANY)
    lines, columns = _written(trace, setting.scratch)
    size = _size(trace)
    workloads.multi_turn.cache_clear()
    del trace
    yield Result(
        goal="trace files",
        case=f"parquet / JSON lines, {size}",
        value=100 * columns.stat().st_size / lines.stat().st_size,
        must=6,
        stretch=3,
        unit="%",
        at_most=True,
        note=f"{columns.stat().st_size / 1e6:.1f} MB against {lines.stat().st_size / 1e6:.0f} MB",
    )
    yield from _speed(lines, columns, size, min(setting.rounds, FEW_ROUNDS))
    for path in (lines, columns):
        peak, _, n_ids = _in_a_process(_READ, path)
        yield Result(
            goal="trace files",
            case=f"peak memory of reading {path.suffix[1:]} / its ids in memory, {size}",
            value=peak / (8 * n_ids),
            must=3,
            stretch=2,
            at_most=True,
            note=f"{peak / 2**30:.2f} GiB",
        )
    yield from _description(columns, size)


def _size(trace: Trace) -> str:
    return f"{len(trace):,} requests, {len(trace.block_ids) / 1e6:.0f} M ids"


def _speed(lines: Path, columns: Path, size: str, rounds: int) -> Iterator[Result]:
    times = interleaved(
        {
            "json": lambda: _stdlib(lines),
            "jsonl": lambda: read_trace(lines, block_size=16),
            "parquet": lambda: read_trace(columns),
        },
        rounds,
    )
    for name, must, stretch in (("jsonl", 2, 3), ("parquet", 2, 4)):
        yield ratio(
            "trace files",
            f"{name} / stdlib json, {size}",
            slow=times["json"],
            fast=times[name],
            must=must,
            stretch=stretch,
        )


def _description(columns: Path, size: str) -> Iterator[Result]:
    """`kvsim trace describe`, with its page of figures and without, of a file never seen before."""
    for words in ("", " --html"):
        for kept in columns.parent.glob(f"*{SUFFIX}"):
            kept.unlink()
        page = columns.with_suffix(".html")
        more = ["--html", "--out", str(page), "--overwrite"] if words else []
        peak, wall_ms, cpu_ms = _in_a_process(_DESCRIBE, columns, *more)
        case = f"trace describe{words}, {size}"
        note = f"{cpu_ms / 1e3:.1f} CPU s"
        yield Result(
            goal="describe",
            case=case,
            value=wall_ms / 1e3,
            must=60,
            stretch=20,
            unit="s wall",
            at_most=True,
            note=note,
        )
        yield Result(
            goal="describe",
            case=case,
            value=peak / 1e9,
            must=2,
            stretch=1.8,
            unit="GB",
            at_most=True,
        )


def _in_a_process(code: str, *arguments: object) -> tuple[int, int, int]:
    """Run Python code in a process of its own; return the three numbers that it tells last."""
    command = [sys.executable, "-c", code + _TELL, *map(str, arguments)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    peak, first, second = map(int, told[-3:])
    return peak, first, second


def _written(trace: Trace, folder: Path) -> tuple[Path, Path]:
    """Write `trace` in both formats, its times to a ms, so that JSON has them in whole numbers."""
    from dataclasses import replace

    rounded = replace(trace, arrival_s=np.rint(trace.arrival_s * 1000) / 1000)
    lines, columns = folder / f"{len(trace)}.jsonl", folder / f"{len(trace)}.parquet"
    write_trace(rounded, lines, "mooncake")
    write_trace(rounded, columns)
    return lines, columns


def _stdlib(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(len(json.loads(line)["hash_ids"]) for line in stream)
