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

from kvsim.traces.formats import read_trace, write_trace
from kvsim.traces.schema import Trace

FEW, MANY = 100_000, 1_000_000
_PEAK = """
import pathlib, re, sys
from kvsim.traces.formats import read_trace
trace = read_trace(sys.argv[1], block_size=16)
# not ru_maxrss, which a new process inherits from the one that starts it
status = pathlib.Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) * 1024, len(trace.block_ids))
"""


def speed(setting: Setting) -> Iterator[Result]:
    """Time to columns of checked, sorted, chained rows, against json.loads of each line alone."""
    trace = workloads.multi_turn(FEW)
    lines, columns = _written(trace, setting.scratch)
    times = interleaved(
        {
            "json": lambda: _stdlib(lines),
            "jsonl": lambda: read_trace(lines, block_size=16),
            "parquet": lambda: read_trace(columns),
        },
        setting.rounds,
    )
    size = f"{FEW:,} requests, {len(trace.block_ids) / 1e6:.0f} M ids"
    for name, must, stretch in (("jsonl", 2, 3), ("parquet", 2, 4)):
        yield ratio(
            "trace files",
            f"{name} / stdlib json, {size}",
            slow=times["json"],
            fast=times[name],
            must=must,
            stretch=stretch,
        )


def sizes(setting: Setting) -> Iterator[Result]:
    """Bytes of the Parquet file in per cent of the JSON lines, and peak memory of reading each."""
    trace = workloads.multi_turn(MANY)
    lines, columns = _written(trace, setting.scratch)
    size = f"{MANY:,} requests, {len(trace.block_ids) / 1e6:.0f} M ids"
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
    for path in (lines, columns):
        command = [sys.executable, "-c", _PEAK, str(path)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        peak, n_ids = map(int, told)
        yield Result(
            goal="trace files",
            case=f"peak memory of reading {path.suffix[1:]} / its ids in memory, {size}",
            value=peak / (8 * n_ids),
            must=3,
            stretch=2,
            at_most=True,
            note=f"{peak / 2**30:.2f} GiB",
        )


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
