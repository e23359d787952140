"""Goals G1, G2, G3, G5, G7 and G12: exact LRU on prefix trees against libCacheSim's LRU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import workloads
from harness import Result, Setting, interleaved, ratio
from libcachesim_baseline import Accesses

from kvsim.sim.lru_hits import STATE_BYTES_PER_SEGMENT
from kvsim.studies.curves import lru_curve, lru_replay
from kvsim.traces.prefix_tree import PrefixTree, compile_tree
from kvsim.traces.schema import Trace

SHARES = (0.02, 0.1, 0.4)
"""Capacities, as shares of the trace's distinct blocks."""


def multi_turn(setting: Setting) -> Iterator[Result]:
    """G1, G3 and G5 on 50 000 requests of synthetic conversations in 16-token blocks."""
    yield from _against_libcachesim(
        workloads.multi_turn(), setting, replay=("G1", 100, 200), compiled=("G3", 5, 12)
    )


def mooncake(setting: Setting) -> Iterator[Result]:
    """G2, G3 and G5 on the public Mooncake conversation trace in its 512-token blocks."""
    trace = workloads.mooncake(setting.data)
    if trace is None:
        for goal in ("G2", "G3", "G5"):
            yield Result(goal=goal, case="mooncake", value=None, note="the trace is not there")
        return
    yield from _against_libcachesim(trace, setting, replay=("G2", 15, 30), compiled=("G3", 4, 8))


def single_blocks(setting: Setting) -> Iterator[Result]:
    """G7: requests of one block, where a segment is a block."""
    trace = workloads.single_blocks()
    yield from _against_libcachesim(trace, setting, replay=("G7", 1, 2), compiled=None)


def _against_libcachesim(
    trace: Trace,
    setting: Setting,
    *,
    replay: tuple[str, float, float],
    compiled: tuple[str, float, float] | None,
) -> Iterator[Result]:
    """Time everything on one trace in the same rounds; a goal is (name, must, stretch)."""
    tree = compile_tree(trace, trace.block_size, partial_blocks=True)
    accesses = Accesses(trace, setting.scratch)
    capacities = {share: int(share * tree.n_keys) for share in SHARES}
    note = {}
    contenders = {}
    for share, capacity in capacities.items():
        contenders[f"theirs {share}"], hashpower = accesses.best("LRU", capacity)
        note[share] = f", hashpower {hashpower}"
        contenders[f"ours {share}"] = lambda c=capacity: lru_replay(tree, c)
    if compiled:
        contenders["compile"] = lambda: compile_tree(trace, trace.block_size, partial_blocks=True)
        contenders["curve"] = lambda: lru_curve(tree)
    times = interleaved(contenders, setting.rounds)

    for share in SHARES:
        case = f"{trace.name}, C = {share:g}"
        theirs, ours = times[f"theirs {share}"], times[f"ours {share}"]
        goal, must, stretch = replay
        yield ratio(
            goal, case, slow=theirs, fast=ours, must=must, stretch=stretch, note=note[share]
        )
        if compiled:
            goal, must, stretch = compiled
            both = [a + b for a, b in zip(times["compile"], ours, strict=True)]
            yield ratio(
                goal, f"{case}, with compile", slow=theirs, fast=both, must=must, stretch=stretch
            )
            curve = times["curve"]
            yield ratio(
                "G5", f"{case}, all-capacity curve", slow=theirs, fast=curve, must=15, stretch=40
            )


def memory(setting: Setting) -> Iterator[Result]:
    """G12: bytes of a compiled trace, of replay state, and of the compiled trace as a file."""
    for trace in (workloads.multi_turn(), workloads.mooncake(setting.data)):
        if trace is None:
            yield Result(goal="G12", case="mooncake", value=None, note="the trace is not there")
            continue
        tree = compile_tree(trace, trace.block_size, partial_blocks=True)
        n_segments = len(tree.parent)
        columns = (tree.parent, tree.first_key, tree.n_blocks, tree.depth, tree.end)
        yield Result(
            goal="G12",
            case=f"{trace.name}, compiled trace",
            value=sum(column.nbytes for column in columns) / len(trace),
            must=32,
            stretch=16,
            unit="B/request",
            at_most=True,
            note=f"{n_segments / len(trace):.2f} segments a request",
        )
        yield Result(
            goal="G12",
            case=f"{trace.name}, LRU replay state",
            value=STATE_BYTES_PER_SEGMENT,
            must=64,
            stretch=32,
            unit="B/segment",
            at_most=True,
        )
        if trace.block_size == 16:
            yield Result(
                goal="G12",
                case=f"{trace.name}, LRU replay state",
                value=STATE_BYTES_PER_SEGMENT * n_segments / tree.n_keys,
                must=2,
                stretch=1,
                unit="B/block",
                at_most=True,
                note=f"{tree.n_keys} distinct 16-token blocks",
            )
        file_bytes = _file_bytes(tree, setting.scratch)
        jsonl_bytes = sum(map(len, _json_lines(trace)))
        yield Result(
            goal="G12",
            case=f"{trace.name}, compiled file / its JSONL",
            value=100 * file_bytes / jsonl_bytes,
            must=3,
            stretch=0.5,
            unit="%",
            at_most=True,
            note=f"{file_bytes / 1e6:.2f} MB of {jsonl_bytes / 1e6:.1f} MB",
        )


def _file_bytes(tree: PrefixTree, scratch: Path) -> int:
    """Size of the tree as Parquet; depth and first key follow from the columns kept."""
    total = 0
    for name in ("parent", "n_blocks", "end"):
        table = pa.table({name: getattr(tree, name)})
        path = scratch / f"{name}.parquet"
        pq.write_table(
            table,
            path,
            compression="zstd",
            use_dictionary=False,
            column_encoding={name: "DELTA_BINARY_PACKED"},
        )
        total += path.stat().st_size
    return total


def _json_lines(trace: Trace) -> Iterator[bytes]:
    """The trace as Mooncake's JSON lines, without the spaces."""
    for row in range(len(trace)):
        request = {
            "timestamp": int(trace.arrival_s[row] * 1000),
            "input_length": int(trace.input_tokens[row]),
            "output_length": int(trace.output_tokens[row]),
            "hash_ids": trace.ids_of(row).tolist(),
        }
        yield orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE)
