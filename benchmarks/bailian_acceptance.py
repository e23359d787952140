"""Print how the Qwen-Bailian likenesses, or the files themselves, compare with what was published.

python benchmarks/bailian_acceptance.py                 all four likenesses
python benchmarks/bailian_acceptance.py qwen-a FILE     a file instead of the likeness
"""

from __future__ import annotations

import sys

from kvsim.studies.bailian import (
    LRU_SECOND_HOUR,
    PUBLISHED,
    WORKLOAD_AWARE_SECOND_HOUR,
    compare_with_published,
)
from kvsim.studies.first_hour import first_hour_table
from kvsim.traces.formats import read_trace
from kvsim.traces.generate.presets import preset
from kvsim.traces.generate.sessions import generate
from kvsim.traces.schema import Trace


def main(arguments: list[str]) -> int:
    names = arguments[:1] or list(PUBLISHED)
    n_missed = 0
    for name in names:
        trace = read_trace(arguments[1]) if len(arguments) > 1 else generate(preset(name))
        n_missed += show_acceptance(name, trace)
        if name in ("qwen-a", "qwen-b"):
            show_second_hour(name, trace)
    return 1 if n_missed else 0


def show_acceptance(name: str, trace: Trace) -> int:
    """Print a row a published statistic; return how many are missed."""
    checks = compare_with_published(trace, name)
    n_missed = sum(not check.is_met for check in checks)
    print(f"\n### {name}: {len(checks) - n_missed} of {len(checks)} within tolerance\n")
    print(
        "| statistic | published | found | off | allowed | |\n| --- | --- | --- | --- | --- | --- |"
    )
    for check in checks:
        unit = " %" if check.is_relative else ""
        scale = 100 if check.is_relative else 1
        off = f"{scale * check.difference:+.{1 if check.is_relative else 3}f}{unit}"
        verdict = "met" if check.is_met else "MISSED"
        found = f"{check.published:,.6g} | {check.found:,.6g}"
        print(f"| {check.name} | {found} | {off} | {scale * check.tolerance:g}{unit} | {verdict} |")
    return n_missed


def show_second_hour(name: str, trace: Trace) -> None:
    """Print workload-aware with parameters of hour one against lru, in hour two."""
    print(f"\n{name}, second hour, 128-token blocks, parameters of the first hour\n")
    is_told = name == "qwen-a"
    told = zip(LRU_SECOND_HOUR, WORKLOAD_AWARE_SECOND_HOUR, strict=True)
    print("| blocks | lru | workload-aware | gain |", "published |" if is_told else "")
    print("| --- | --- | --- | --- |", "--- |" if is_told else "")
    for row in first_hour_table(trace):
        line = f"| {row.capacity_blocks} | {row.lru:.4f} | {row.workload_aware:.4f} "
        line += f"| {100 * row.gain:+.1f} % |"
        if is_told:
            lru, aware = next(told)
            line += f" {lru:.4f}, {aware:.4f}: {100 * (aware / lru - 1):+.1f} % |"
        print(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
