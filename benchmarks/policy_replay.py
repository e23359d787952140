"""Goals G4 and G6: eviction policies on runs of blocks against libCacheSim's per block."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import libcachesim
import numpy as np
import workloads
from harness import Result, Setting, interleaved, ratio
from libcachesim_baseline import Accesses

from kvsim.policies import Block, ScorePolicy, make_policy
from kvsim.sim.prefix_replay import replay
from kvsim.traces.prefix_tree import compile_tree
from kvsim.traces.schema import Trace

SHARES = (0.02, 0.1, 0.4)
PEERS = {"workload-aware": "LRU", "gdsf": "GDSF", "lfu": "LFU", "belady": "Belady"}
"""The same-class policy; nobody else has a workload-aware one, so it meets the fastest."""


CLASSICS = {
    "2q": "TwoQ",
    "arc": "ARC",
    "clock": "Clock",
    "dynamo-multi-lru": "SLRU",
    "fifo": "FIFO",
    "filo": "FIFO",
    "hyperbolic": "Hyperbolic",
    "lecar": "LeCaR",
    "lfuda": "LFUDA",
    "lhd": "LHD",
    "lirs": "LIRS",
    "lpc": "LRU",
    "lru": "LRU",
    "lsm-gnn": "Hyperbolic",
    "mru": "LRU",
    "pensieve": "Hyperbolic",
    "posterior-hazard": "LRU",
    "ragcache": "GDSF",
    "random": "Random",
    "rlt": "Random",
    "s3-fifo": "S3FIFO",
    "sglang-slru": "SLRU",
    "sieve": "Sieve",
    "slru": "SLRU",
    "trt-llm": "Hyperbolic",
    "w-tinylfu": "WTinyLFU",
}
"""The rest; one that nobody else has meets the nearest in kind, a sampled one the sampled one."""


@dataclass(frozen=True)
class PythonLru(ScorePolicy):
    """Least recently used, as a user would write it: plain Python, one line."""

    def score(self, block: Block) -> float:
        return block.last_access


def compiled(setting: Setting) -> Iterator[Result]:
    """G4: compiled policies on the multi-turn trace, at three capacities."""
    yield from _against_peers(workloads.multi_turn(), PEERS, SHARES, setting)


def classics(setting: Setting) -> Iterator[Result]:
    """G4: the classic policies on conversations and on Mooncake's, at three capacities."""
    for trace in (workloads.multi_turn(), workloads.mooncake(setting.data)):
        if trace is None:
            yield Result(goal="G4", case="mooncake", value=None, note="the trace is not there")
        else:
            yield from _against_peers(trace, CLASSICS, SHARES, setting)


def _against_peers(
    trace: Trace, peers: dict[str, str], shares: tuple[float, ...], setting: Setting
) -> Iterator[Result]:
    """Time each policy and its peer in the same rounds."""
    tree = compile_tree(trace, trace.block_size, partial_blocks=True)
    run = partial(
        replay,
        tree,
        arrival_s=trace.arrival_s,
        category=np.arange(len(trace)) % 4,
        category_names=("a", "b", "c", "d"),
    )
    accesses = Accesses(trace, setting.scratch)
    for share in shares:
        capacity = int(share * tree.n_keys)
        contenders = {}
        note = {}
        for name, peer in peers.items():
            contenders[f"theirs {name}"], hashpower = accesses.best(peer, capacity, repeats=1)
            note[name] = f", {peer}, hashpower {hashpower}"
            policy = make_policy(name)
            contenders[f"ours {name}"] = partial(run, policy=policy, capacity_blocks=capacity)
        times = interleaved(contenders, setting.rounds)
        for name in peers:
            yield ratio(
                "G4",
                f"{trace.name}, {name}, C = {share:g}",
                slow=times[f"theirs {name}"],
                fast=times[f"ours {name}"],
                must=30,
                stretch=100,
                note=note[name],
            )


def in_python(setting: Setting) -> Iterator[Result]:
    """G6: a policy in plain Python against libCacheSim's plug-in cache with Python hooks."""
    trace = workloads.multi_turn(n_requests=20_000)
    tree = compile_tree(trace, trace.block_size, partial_blocks=True)
    capacity = int(0.1 * tree.n_keys)
    accesses = Accesses(trace, setting.scratch)
    one = np.zeros(len(trace), np.int64)

    def theirs() -> float:
        cache = libcachesim.PluginCache(
            cache_size=capacity,
            cache_init_hook=lambda _: OrderedDict(),
            cache_hit_hook=lambda blocks, request: blocks.move_to_end(request.obj_id),
            cache_miss_hook=lambda blocks, request: blocks.__setitem__(request.obj_id, None),
            cache_eviction_hook=lambda blocks, _: blocks.popitem(last=False)[0],
            cache_remove_hook=lambda blocks, key: blocks.pop(key, None),
            cache_free_hook=lambda blocks: blocks.clear(),
            hashpower=20,
        )
        return accesses.process(cache)

    def ours() -> object:
        return replay(
            tree,
            PythonLru(),
            capacity,
            arrival_s=trace.arrival_s,
            category=one,
            category_names=("a",),
        )

    times = interleaved({"theirs": theirs, "ours": ours}, setting.rounds)
    yield ratio(
        "G6",
        f"{trace.name}, lru in Python, C = 0.1",
        slow=times["theirs"],
        fast=times["ours"],
        must=30,
        stretch=80,
    )
