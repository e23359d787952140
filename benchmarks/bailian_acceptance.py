"""Print how the Qwen-Bailian likenesses, or the files themselves, compare with what was published.

python benchmarks/bailian_acceptance.py                  the four likenesses
python benchmarks/bailian_acceptance.py qwen-a --seeds 5 one of them, and what other seeds change
python benchmarks/bailian_acceptance.py FILE             a file of the published schema
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from kvsim import KvsimError
from kvsim.studies.bailian import (
    FILES,
    LRU_SECOND_HOUR,
    PUBLISHED,
    WORKLOAD_AWARE_SECOND_HOUR,
    Check,
    compare_with_published,
    which,
)
from kvsim.studies.first_hour import Row, first_hour_table
from kvsim.traces.formats import read_trace
from kvsim.traces.generate.presets import preset
from kvsim.traces.generate.sessions import generate
from kvsim.traces.schema import Trace

SECOND_HOUR = ("qwen-a", "qwen-b")
"""Traces on which workload-aware is compared with lru: published for A, said to be equal on B."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", metavar="NAME|FILE", help="default: all likenesses")
    parser.add_argument("--seeds", type=int, default=1, help="of the likenesses: 0 to N - 1")
    given = parser.parse_args(arguments)
    wanted = given.what or list(PUBLISHED)
    n_missed = 0
    for what in wanted:
        if what in PUBLISHED:
            n_missed += show(what, generate(preset(what)), "seed 0")
        else:
            n_missed += show_file(Path(what))
    if given.seeds > 1:
        n_missed += show_seeds([what for what in wanted if what in PUBLISHED], given.seeds)
    return 1 if n_missed else 0


def show_file(file: Path) -> int:
    """Compare a file with the trace that its request types say it is."""
    # ids of prompts only: with outputs, a parent's partial last block is its child's full one
    trace = read_trace(file, settings={"output_blocks": "false"})
    name = which(trace)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    known, expected = FILES[name]
    verdict = "the published file" if digest == expected else f"not the published {known}"
    print(f"\n{file}: compared with {name}; by its SHA-256 it is {verdict}")
    return show(name, trace, str(file))


def show(name: str, trace: Trace, what: str) -> int:
    """Print the acceptance of a trace, and its second hour where there is one to compare with."""
    n_missed = show_acceptance(f"{name}, {what}", compare_with_published(trace, name))
    if name in SECOND_HOUR:
        show_second_hour(name, first_hour_table(trace))
    return n_missed


def show_acceptance(title: str, checks: list[Check]) -> int:
    """Print a row a published statistic; return how many are missed."""
    n_missed = sum(not check.is_met for check in checks)
    print(f"\n### {title}: {len(checks) - n_missed} of {len(checks)} within tolerance\n")
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


def show_seeds(names: list[str], n_seeds: int) -> int:
    """Print a row a likeness and seed; return how many statistics seeds above 0 miss."""
    print("\n| likeness | seed | met | farthest, of its tolerance | gains in the second hour, % |")
    print("| --- | --- | --- | --- | --- |")
    n_missed = 0
    for name in names:
        for seed in range(n_seeds):
            trace = generate(preset(name), seed=seed)
            checks = compare_with_published(trace, name)
            met = sum(check.is_met for check in checks)
            n_missed += len(checks) - met if seed else 0
            share, what = max(
                (abs(check.difference) / check.tolerance, check.name)
                for check in checks
                if check.tolerance
            )
            rows = first_hour_table(trace) if name in SECOND_HOUR else []
            gains = " ".join(f"{100 * row.gain:+.1f}" for row in rows)
            far = f"{what}, {share:.0%}"
            print(f"| {name} | {seed} | {met} of {len(checks)} | {far} | {gains} |")
    return n_missed


def show_second_hour(name: str, rows: list[Row]) -> None:
    """Print workload-aware with parameters of hour one against lru, in hour two."""
    print(f"\n**{name}, second hour, 128-token blocks, parameters of the first hour**\n")
    is_told = name == "qwen-a"
    told = zip(LRU_SECOND_HOUR, WORKLOAD_AWARE_SECOND_HOUR, strict=True)
    print("| blocks | lru | workload-aware | gain |", "published |" if is_told else "")
    print("| --- | --- | --- | --- |", "--- |" if is_told else "")
    for row in rows:
        line = f"| {row.capacity_blocks} | {row.lru:.4f} | {row.workload_aware:.4f} "
        line += f"| {100 * row.gain:+.1f} % |"
        if is_told:
            lru, aware = next(told)
            line += f" {lru:.4f}, {aware:.4f}: {100 * (aware / lru - 1):+.1f} % |"
        print(line)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KvsimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
