"""Record what SGLang's own radix tree hits: `python record.py FOLDER [paths.json] > radix.json`.

FOLDER holds an unpacked wheel of SGLang 0.5.23 (`pip download --no-deps sglang==0.5.23`; it needs
PyTorch and msgspec). Its default tree is run, `UnifiedTreeCore` with full attention, and its
eviction policies; what these import besides is replaced by stand-ins: no memory pool, no events, no
tier below. Requests come one at a time, as in a cache-only replay: match, lock, evict what is
lacking, insert, unlock. Without paths.json, which has `paths` and `capacities`, random traces.
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

CACHE = "sglang.srt.mem_cache"
TREE = f"{CACHE}.unified_cache"
REAL = {f"{CACHE}.{m}" for m in ("radix_cache", "evict_policy", "cache_init_params")}
REAL |= {f"{CACHE}.base_prefix_cache", TREE, f"{TREE}.components", f"{TREE}.components.base"}
REAL |= {f"{TREE}.{m}" for m in ("cache_action", "component_type", "components.full")}
REAL |= {f"{TREE}.{m}" for m in ("unified_tree_core", "unified_tree_core_interface")}
ORDERS = {"lru": "LRU", "lfu": "LFU", "slru": "SLRU", "priority": "Priority", "tlru": "TLRU"}
PRIORITIES = (0, 5, 2)
"""Of the categories."""
SPARE_BLOCKS = 3
"""Threshold less next prompt of `tlru`, in blocks, which are tokens here."""
SAMPLE_SPARE_BLOCKS = 17
N_CASES = 300


class StandIn(types.ModuleType):
    """A module of which whatever is asked for is there, and does nothing."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name[0].isupper() and name != "StorageMedium":  # a class, to inherit from or to ask for
            setattr(self, name, type(name, (), {}))
            return getattr(self, name)
        return MagicMock(name=name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the real modules in a folder, and makes up all others of the package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.partition(".")[0] != "sglang":
            return None
        if name not in REAL:
            return ModuleSpec(name, self, is_package=True)
        place = self.folder / name.replace(".", "/")
        if place.is_dir():
            return importlib.util.spec_from_file_location(
                name, place / "__init__.py", submodule_search_locations=[str(place)]
            )
        return importlib.util.spec_from_file_location(name, f"{place}.py")

    def create_module(self, spec: Any) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None: ...


class Engine:
    """The parts of the engine."""

    def __init__(self, folder: Path) -> None:
        sys.meta_path.insert(0, Finder(folder))
        self.keys = importlib.import_module(f"{CACHE}.radix_cache")
        self.policies = importlib.import_module(f"{CACHE}.evict_policy")
        self.base = importlib.import_module(f"{CACHE}.base_prefix_cache")
        self.params = importlib.import_module(f"{CACHE}.cache_init_params")
        self.components = importlib.import_module(f"{TREE}.components")
        self.core = importlib.import_module(f"{TREE}.unified_tree_core")
        self.core.KVCacheEventRecorder = MagicMock()
        self.core.split_node_hash_value = lambda *_: (None, None)
        self.full = self.components.ComponentType.FULL

    def tree(self, order: str, spare: int) -> Any:
        """An empty tree."""

        def strategy(name: str, config: Any = None) -> Any:
            made = getattr(self.policies, f"{ORDERS[name]}Strategy")
            return made(threshold=spare) if name == "tlru" else made()

        self.core.get_eviction_strategy = strategy
        allocator = MagicMock(device="cpu", page_size=1)
        params = self.params.CacheInitParams(
            disable=False,
            req_to_token_pool=None,
            token_to_kv_pool_allocator=allocator,
            page_size=1,
            eviction_policy=order,
        )
        params.tree_components = (self.full,)
        owner = MagicMock(enable_session_radix_cache=False, token_to_kv_pool_allocator=allocator)
        full = self.components.FullComponent(owner, params)
        full.reclaimable_value_len = lambda node: len(node.component_data[self.full].value)
        core = self.core.UnifiedTreeCore(params, {self.full: full})
        full.tree_core = core
        core.reset()
        return core

    def evict(self, core: Any, n_blocks: int) -> int:
        """Evict at least so many blocks; return how many."""
        gone = {self.full: 0}
        core.evict_device_start(self.full, n_blocks)
        while (step := core.evict_device_next_node(self.full, gone)).node_id is not None:
            leaf = core.evict_device_leaf(step.node_id, False)
            for result in (step, leaf):
                gone[self.full] += result.tracker.get(self.full, 0)
                result.device_frees.clear()
        core.evict_device_end(self.full)
        return gone[self.full]

    def replay(
        self, requests: list[tuple[list[int], int]], capacity: int, order: str, spare: int
    ) -> list[int]:
        """Hit blocks of each request: (path, category)."""
        import torch

        core = self.tree(order, spare)
        n_free = capacity
        hits = []
        for path, category in requests:
            if not path or len(path) > capacity:
                hits.append(0)
                continue
            key = self.keys.RadixKey(token_ids=array("q", path))
            found = core.match_prefix(self.base.MatchPrefixParams(key=key))
            n, node = found.device_prefix_len, found.last_device_node
            lock = core.inc_lock_ref(node)
            if len(path) - n > n_free:
                n_free += self.evict(core, len(path) - n - n_free)
            n_free -= len(path) - n
            step = core.begin_insert(
                self.base.InsertParams(
                    key=key,
                    value=torch.arange(len(path)),
                    priority=PRIORITIES[category],
                    inserted_len=0,
                )
            )
            while step.result is None:
                step = core.resume_insert()
            core.end_insert()
            core.dec_lock_ref(node, lock.to_dec_params())
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
    engine = Engine(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        told = json.loads(Path(sys.argv[2]).read_text())
        requests = [(path, 0) for path in told["paths"]]
        result: Any = {
            order: {
                str(size): sum(engine.replay(requests, size, order, SAMPLE_SPARE_BLOCKS))
                for size in told["capacities"]
            }
            for order in ORDERS
        }
    else:
        rng = np.random.default_rng(1)
        result = []
        for _ in range(N_CASES):
            requests, capacity = random_case(rng)
            hits = {o: engine.replay(requests, capacity, o, SPARE_BLOCKS) for o in ORDERS}
            result.append({"requests": requests, "capacity": capacity, "hits": hits})
    sys.stdout.write(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
