"""Record what SGLang's own radix cache hits: `python record.py FOLDER [paths.json] > radix.json`.

FOLDER holds an unpacked wheel of SGLang 0.5.23 (`pip download --no-deps sglang==0.5.23`; only three
of its modules are run, and PyTorch is needed). What they import besides is replaced by stand-ins:
no memory pool, no events, no metrics. Time is a counter, so that no two accesses coincide. Requests
come one at a time, as in a cache-only replay: match, lock, evict what is lacking, insert, unlock.
`tlru` needs two more numbers a node, which the engine's other tree keeps; they are kept here.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import json
import sys
import types
from array import array
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

CACHE = "sglang.srt.mem_cache."
REAL = tuple(CACHE + m for m in ("radix_cache", "evict_policy", "cache_init_params"))
REAL += (CACHE + "base_prefix_cache",)
PRIORITIES = (0, 5, 2)
"""Of the categories."""
SPARE_BLOCKS = 3
"""Threshold less next prompt of `tlru`, in blocks, which are tokens here."""
SAMPLE_SPARE_BLOCKS = 17
N_CASES = 300


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the real modules in a folder, and makes up all others of the package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] != "sglang":
            return None
        if name in REAL:
            return importlib.util.spec_from_file_location(
                name, self.folder / (name.replace(".", "/") + ".py")
            )
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__path__ = []  # type: ignore[attr-defined]
        module.__getattr__ = lambda name: MagicMock(name=name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None: ...


class Counter:
    """In place of the module time."""

    now = 0.0

    @classmethod
    def monotonic(cls) -> float:
        cls.now += 1.0
        return cls.now

    perf_counter = monotonic


class Allocator:
    """Counts free blocks."""

    device = "cpu"

    def __init__(self, free: int) -> None:
        self.free = free

    def free_segment(self, values: Any, start_pos: int = 0) -> None:
        self.free += len(values)


def make_cache(engine: Any, policies: Any, order: str, blocks: Allocator, spare: int) -> Any:
    """An empty cache of the engine, with its own eviction strategy."""
    cache = engine.RadixCache.create_simulated(mock_allocator=blocks)
    cache.update_eviction_metrics = lambda *_, **__: None
    if order != "tlru":
        name = {"lru": "LRU", "lfu": "LFU", "slru": "SLRU", "priority": "Priority"}[order]
        cache.eviction_strategy = getattr(policies, f"{name}Strategy")()
        return cache
    cache.eviction_strategy = policies.TLRUStrategy(threshold=spare)
    cache.root_node._tlru_cached_prefix_len = cache.root_node._tlru_history_len = 0
    split = cache._split_node

    def split_node(key: Any, child: Any, length: int) -> Any:
        upper = split(key, child, length)
        upper._tlru_cached_prefix_len = upper.parent._tlru_cached_prefix_len + length
        upper._tlru_history_len = child._tlru_history_len
        return upper

    cache._split_node = split_node
    return cache


def note_depth(node: Any) -> None:
    """Tell a new node and those above it how long the path is."""
    if not hasattr(node, "_tlru_history_len"):
        depth = node._tlru_cached_prefix_len = node.parent._tlru_cached_prefix_len + len(node.key)
        node._tlru_history_len = depth
        while node is not None:
            node._tlru_history_len = max(node._tlru_history_len, depth)
            node = node.parent


def replay(
    modules: tuple[Any, Any, Any],
    requests: list[tuple[list[int], int]],
    capacity: int,
    order: str,
    spare: int,
) -> list[int]:
    """Hit blocks of each request: (path, category)."""
    import torch

    engine, policies, base = modules
    blocks = Allocator(capacity)
    cache = make_cache(engine, policies, order, blocks, spare)
    hits = []
    for path, category in requests:
        if not path or len(path) > capacity:
            hits.append(0)
            continue
        key = engine.RadixKey(token_ids=array("q", path))
        found = cache.match_prefix(base.MatchPrefixParams(key=key))
        n = found.device_prefix_len
        node = found.last_device_node
        cache.inc_lock_ref(node)
        lacking = len(path) - n - blocks.free
        if lacking > 0:
            cache.evict(base.EvictParams(num_tokens=lacking))
        blocks.free -= len(path) - n
        params = base.InsertParams(
            key=key,
            value=torch.arange(len(path)),
            priority=PRIORITIES[category],
            inserted_len=0,
        )
        last = cache.insert(params).last_device_node
        if order == "tlru":
            note_depth(last)
        cache.dec_lock_ref(node)
        hits.append(n)
    return hits


def random_case(rng: np.random.Generator) -> tuple[list[tuple[list[int], int]], int]:
    """Paths with shared leading runs; and a capacity."""
    paths: list[list[int]] = []
    for _ in range(int(rng.integers(5, 51))):
        old = paths[rng.integers(len(paths))] if paths and rng.random() < 0.6 else []
        path = old[: rng.integers(0, len(old) + 1)]
        path = path + rng.choice((0, 0, 1, 2), size=rng.integers(0, 6)).tolist()
        paths.append(path[:12])
    return [(path, int(rng.integers(3))) for path in paths], int(rng.integers(8, 31))


def main() -> None:
    sys.meta_path.insert(0, StandIns(Path(sys.argv[1])))
    modules = [importlib.import_module(name) for name in (REAL[0], REAL[1], REAL[3])]
    engine, policies, base = modules
    engine.time = Counter
    engine.split_node_hash_value = lambda *_: (None, None)
    orders = ("lru", "lfu", "slru", "priority", "tlru")
    found = (engine, policies, base)
    if len(sys.argv) > 2:
        told = json.loads(Path(sys.argv[2]).read_text())
        requests = [(path, 0) for path in told["paths"]]
        result: Any = {
            order: {
                str(size): sum(replay(found, requests, size, order, SAMPLE_SPARE_BLOCKS))
                for size in told["capacities"]
            }
            for order in orders
        }
    else:
        rng = np.random.default_rng(1)
        result = []
        for _ in range(N_CASES):
            requests, capacity = random_case(rng)
            hits = {o: replay(found, requests, capacity, o, SPARE_BLOCKS) for o in orders}
            result.append({"requests": requests, "capacity": capacity, "hits": hits})
    sys.stdout.write(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
