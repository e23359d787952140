"""Measure kvsim against its goals, side by side with what it is compared with.

    python benchmarks/run.py [--only cache-multi-turn ...] [--rounds 5] [--json FILE]

CPU seconds of this process; each value is the median of interleaved rounds, with the lowest and
the highest. A goal that is missed says so. To add a measurement, write a function from Setting
to Results and add one line to MEASUREMENTS.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cache_replay
import offline
import policy_replay
import serving
import trace_files
from harness import Measurement, Result, Setting

MEASUREMENTS: dict[str, Measurement] = {
    "cache-multi-turn": cache_replay.multi_turn,
    "cache-mooncake": cache_replay.mooncake,
    "cache-single-blocks": cache_replay.single_blocks,
    "cache-memory": cache_replay.memory,
    "offline-optimum": offline.optimum,
    "offline-flow": offline.flow,
    "policies-compiled": policy_replay.compiled,
    "policies-all": policy_replay.every,
    "policies-elsewhere": policy_replay.elsewhere,
    "policies-python": policy_replay.in_python,
    "serving-throughput": serving.throughput,
    "serving-hour": serving.hour,
    "serving-million": serving.million,
    "start-up": serving.start_up,
    "trace-files-speed": trace_files.speed,
    "trace-files-size": trace_files.sizes,
}
DATA = Path(__file__).resolve().parents[2] / "shared" / "traces"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    options = _parser().parse_args(arguments)
    chosen = [n for n in MEASUREMENTS if not options.only or n.startswith(tuple(options.only))]
    if not chosen:
        print(f"nothing is called {' '.join(options.only)}: {', '.join(MEASUREMENTS)}")
        return 2
    results: list[Result] = []
    print(f"{platform.machine()}, Python {platform.python_version()}, {options.rounds} rounds")
    print(f"{'goal':4}  {'case':52}  {'median':>16}  {'low - high':>17}  {'must':>7}  verdict")
    with tempfile.TemporaryDirectory() as scratch:
        for name in chosen:
            folder = Path(scratch, name)
            folder.mkdir()
            setting = Setting(rounds=options.rounds, scratch=folder, data=options.data)
            for result in MEASUREMENTS[name](setting):
                print(_line(result), flush=True)
                results.append(result)
    n_missed = sum(result.verdict == "MISSED" for result in results)
    print(f"{len(results)} values, {n_missed} missed their goal")
    if options.json:
        rows = [asdict(result) | {"verdict": result.verdict} for result in results]
        text = json.dumps(rows, indent=1).replace("NaN", "null")
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.gate is None:
        return 0
    return int(any(not _passes(result, options.gate) for result in results))


def _passes(result: Result, gate: float) -> bool:
    if result.value is None:
        return True
    return result.reaches(result.must / gate if result.at_most else result.must * gate)


def _line(result: Result) -> str:
    if result.value is None:
        return f"{result.goal:4}  {result.case:52}  {result.verdict}: {result.note}"
    spread = "" if result.low != result.low else f"{result.low:.4g} - {result.high:.4g}"
    return (
        f"{result.goal:4}  {result.case:52}  {result.value:>6.4g} {result.unit:<9}  {spread:>17}"
        f"  {result.must:>7.4g}  {result.verdict:7}  {result.note}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure kvsim against its goals.")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help=f"start of a name: {', '.join(MEASUREMENTS)}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--json", metavar="FILE", help="also write all results there")
    parser.add_argument(
        "--gate",
        type=float,
        metavar="SHARE",
        help="exit 1 if a value falls below this share of its goal (0.5 for a noisy machine)",
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the public traces")
    return parser


if __name__ == "__main__":
    sys.exit(main())
