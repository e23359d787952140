"""Hit ratios that others have published or compute: a real trace's table, and libCacheSim's LRU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kvsim.studies.curves import hit_ratio, lru_curve, lru_replay
from kvsim.studies.mrc import miss_ratio_curve
from kvsim.studies.optimum import optimum_replay
from kvsim.traces.compiled import CompiledTrace
from kvsim.traces.formats import read_trace
from kvsim.traces.prefix_tree import PrefixTree, compile_tree
from kvsim.traces.schema import Trace

CONVERSATION = (
    Path(__file__).resolve().parents[3] / "shared/traces/mooncake/conversation_trace.jsonl.gz"
)
"""One hour of chat traffic, published with Mooncake (FAST 2025); 512-token blocks."""


@pytest.fixture(scope="module")
def conversation() -> Trace:
    if not CONVERSATION.exists():
        pytest.skip("needs the Mooncake conversation trace in ../shared/traces/mooncake")
    return read_trace(CONVERSATION)


@pytest.fixture(scope="module")
def tree(conversation: Trace) -> PrefixTree:
    return compile_tree(conversation, 512, partial_blocks=True)


@pytest.mark.parametrize(
    ("share", "ratio"),
    [(0.01, 0.0525), (0.05, 0.1958), (0.1, 0.2789), (0.25, 0.3535), (0.5, 0.3631), (1, 0.3664)],
)
def test_lru_on_the_conversation_trace_is_as_published(
    tree: PrefixTree, share: float, ratio: float
) -> None:
    assert tree.n_keys == 182_790
    capacity = round(share * tree.n_keys)
    assert hit_ratio(lru_replay(tree, capacity), tree) == pytest.approx(ratio, abs=5e-4)


def test_lru_and_optimum_of_the_conversation_trace_to_the_last_printed_digit(
    conversation: Trace,
) -> None:
    capacities = [256, 1024, 4096, 16384, 65536, 182790]
    tree = compile_tree(conversation, 512, partial_blocks=True)
    compiled = CompiledTrace(trace=conversation, tree=tree, digest="test")
    curve = miss_ratio_curve(compiled, capacities)
    printed = {policy: [f"{ratio:.4f}"[1:] for _, ratio in curve[policy]] for policy in curve}
    assert printed == {
        "lru": [".0419", ".0448", ".0879", ".2656", ".3594", ".3664"],
        "optimum": [".0661", ".1816", ".3226", ".3664", ".3664", ".3664"],
    }


def test_the_curve_of_the_conversation_trace_is_its_replays(tree: PrefixTree) -> None:
    capacities = np.unique(np.geomspace(100, tree.n_keys, 40).astype(int)).tolist()
    replayed = [lru_replay(tree, c).sum() for c in capacities]
    assert lru_curve(tree).hits_at(capacities).tolist() == replayed


def keys_of_paths(tree: PrefixTree) -> list[list[int]]:
    """Every request's blocks, shallow to deep."""
    per_block = tree.per_block()
    parent = per_block.parent.tolist()
    paths = []
    for key in per_block.end.tolist():
        path = []
        while key >= 0:
            path.append(key)
            key = parent[key]
        paths.append(path[::-1])
    return paths


def libcachesim_lru_hits(paths: list[list[int]], capacity: int, scratch: Path) -> int:
    """Hits of libCacheSim's LRU, which knows no requests, when fed so that it is the same cache.

    Each path goes in forward, then in reverse. The cached part of a path is its beginning, so
    all hits of the first pass come before its first miss, and the misses push out none of the
    path's own blocks while it fits. The second pass hits throughout and leaves the beginning
    of the path most recent.
    """
    libcachesim = pytest.importorskip("libcachesim")
    fed = [path for path in paths if 0 < len(path) <= capacity]
    accesses = np.concatenate([np.array(path + path[::-1]) for path in fed])
    record = [("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")]
    rows = np.zeros(len(accesses), record)
    rows["id"] = accesses + 1
    rows["size"] = 1
    rows["next"] = -1
    rows.tofile(scratch / "accesses.bin")
    reader = libcachesim.TraceReader(
        str(scratch / "accesses.bin"), libcachesim.TraceType.ORACLE_GENERAL_TRACE
    )
    cache = libcachesim.LRU(cache_size=capacity, hashpower=16)
    miss_ratio, _ = cache.process_trace(reader)
    return round((1 - miss_ratio) * len(accesses)) - len(accesses) // 2


@pytest.mark.parametrize("capacity", [150, 256, 1000, 5000, 20000])
def test_libcachesim_lru_hits_the_same_blocks_of_the_conversation_trace(
    conversation: Trace, capacity: int, tmp_path: Path
) -> None:
    tree = compile_tree(conversation.head(2000), 512, partial_blocks=True)
    hits = libcachesim_lru_hits(keys_of_paths(tree), capacity, tmp_path)
    assert lru_replay(tree, capacity).sum() == hits


def test_libcachesim_lru_hits_the_same_blocks_of_a_random_tree(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    n_keys = 400
    parent = np.array([rng.integers(max(-1, s - 60), s) for s in range(n_keys)], np.int32)
    depth = np.zeros(n_keys, np.int32)
    for s in range(n_keys):
        depth[s] = depth[parent[s]] + 1 if parent[s] >= 0 else 0
    tree = PrefixTree(
        block_size=1,
        parent=parent,
        first_key=np.arange(n_keys, dtype=np.int64),
        n_blocks=np.ones(n_keys, np.int32),
        depth=depth,
        end=rng.integers(0, n_keys, 3000).astype(np.int32),
    )
    paths = keys_of_paths(tree)
    for capacity in range(3, n_keys, 20):
        hits = libcachesim_lru_hits(paths, capacity, tmp_path)
        assert lru_replay(tree, capacity).sum() == hits
        assert optimum_replay(tree, capacity).sum() >= hits
