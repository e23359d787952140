"""Goals G4 and G6: eviction policies on runs of blocks against libCacheSim's per block."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import libcachesim
import numpy as np
import workloads
from harness import Result, Setting, interleaved, ratio
from libcachesim_baseline import Accesses

from kvsim.policies import POLICIES, Block, ScorePolicy, make_policy
from kvsim.policies.registry import find_policy
from kvsim.policies.sampled import SampledPolicy
from kvsim.sim.prefix_replay import replay
from kvsim.traces.prefix_tree import compile_tree
from kvsim.traces.schema import Trace

SHARES = (0.02, 0.1, 0.4)
PEERS = {
    "2q": "TwoQ",
    "arc": "ARC",
    "belady": "Belady",
    "clock": "Clock",
    "dynamo-multi-lru": "SLRU",
    "fifo": "FIFO",
    "filo": "FIFO",
    "gdsf": "GDSF",
    "hyperbolic": "Hyperbolic",
    "learned-reuse": "ThreeLCache",
    "lecar": "LeCaR",
    "lfu": "LFU",
    "lfuda": "LFUDA",
    "lhd": "LHD",
    "lirs": "LIRS",
    "marconi": "LHD",
    "ragcache": "GDSF",
    "random": "Random",
    "rlt": "Random",
    "s3-fifo": "S3FIFO",
    "sglang-lfu": "LFU",
    "sglang-slru": "SLRU",
    "sieve": "Sieve",
    "slru": "SLRU",
    "w-tinylfu": "WTinyLFU",
}
"""The policy of its name there, or the nearest in kind: 3LCache too learns a model of the trace."""


def _peer_of(name: str) -> str:
    """Return libCacheSim's policy of the same class.

    Nobody else has those of engines and of research. Those of them that compare the values of a
    sample at each eviction meet LHD, the faster one of the two there that do the same; all others
    LRU, which is among the fastest.
    """
    is_sampled = issubclass(find_policy(name), SampledPolicy)
    return PEERS.get(name, "LHD" if is_sampled else "LRU")


NAMED = ("gdsf", "lfu", "belady", "workload-aware")
"""Measured at all capacities."""
SLOW = {"Hyperbolic", "ThreeLCache"}
"""Take a minute or so: timed in one round."""


@dataclass(frozen=True)
class PythonLru(ScorePolicy):
    """Least recently used, as a user would write it: plain Python, one line."""

    def score(self, block: Block) -> float:
        return block.last_access


def compiled(setting: Setting) -> Iterator[Result]:
    """G4: some compiled policies on the multi-turn trace, at three capacities."""
    yield from _against_peers(workloads.multi_turn(), NAMED, SHARES, setting)


def every(setting: Setting) -> Iterator[Result]:
    """G4: all registered policies on the multi-turn trace, where libCacheSim is fastest."""
    yield from _against_peers(workloads.multi_turn(), tuple(POLICIES), SHARES[:1], setting)


def elsewhere(setting: Setting) -> Iterator[Result]:
    """G4: all registered policies at larger capacities, and on Mooncake's conversations."""
    yield from _against_peers(workloads.multi_turn(), tuple(POLICIES), SHARES[1:], setting)
    trace = workloads.mooncake(setting.data)
    if trace is None:
        yield Result(goal="G4", case="mooncake", value=None, note="the trace is not there")
    else:
        yield from _against_peers(trace, tuple(POLICIES), SHARES, setting)


def _against_peers(
    trace: Trace, names: tuple[str, ...], shares: tuple[float, ...], setting: Setting
) -> Iterator[Result]:
    """Time each policy and its peer in the same rounds; a peer once a round for all it meets."""
    tree = compile_tree(trace, trace.block_size, partial_blocks=True)
    run = partial(
        replay,
        tree,
        arrival_s=trace.arrival_s,
        category=np.arange(len(trace)) % 4,
        category_names=("a", "b", "c", "d"),
    )
    accesses = Accesses(trace, setting.scratch)
    peer_of = {name: _peer_of(name) for name in names}
    for share in shares:
        capacity = int(share * tree.n_keys)
        for peer in dict.fromkeys(peer_of.values()):
            own = [name for name in names if peer_of[name] == peer]
            is_slow = peer in SLOW
            theirs, hashpower = accesses.best(peer, capacity, repeats=1, is_slow=is_slow)
            contenders: dict[str, Callable[[], object]] = {"theirs": theirs}
            for name in own:
                policy = make_policy(name)
                contenders[name] = partial(run, policy=policy, capacity_blocks=capacity)
            times = interleaved(contenders, 1 if is_slow else setting.rounds)
            for name in own:
                yield ratio(
                    "G4",
                    f"{trace.name}, {name}, C = {share:g}",
                    slow=times["theirs"],
                    fast=times[name],
                    must=30,
                    stretch=100,
                    note=f", {peer}, hashpower {hashpower}",
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
