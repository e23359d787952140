"""Random requests for a cache-only replay, block by block, and a replay of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import prefix_cache_model as model

from kvsim.policies import Policy, make_policy
from kvsim.policies.base import Setting
from kvsim.sim.history import first_part_of
from kvsim.sim.prefix_replay import replay as replay_by_runs
from kvsim.traces.prefix_tree import PrefixTree, compile_tree
from kvsim.traces.schema import Sessions, Trace

NAMES = ("a-1", "b-1", "c-1")
SETTING = Setting(
    n_items=30,
    n_caches=1,
    n_keys=300,
    capacity_blocks=30,
    category_names=NAMES,
    seed=1,
)


def tree_of(accesses: list[model.Access]) -> PrefixTree:
    """One-token blocks; a block is named by everything up to it."""
    number: dict[model.Path, int] = {}
    paths = [a.path for a in accesses]
    ids = [number.setdefault(p[: d + 1], len(number)) for p in paths for d in range(len(p))]
    n = len(paths)
    n_blocks = np.array([len(p) for p in paths], np.int64)
    rows = np.arange(n)
    trace = Trace(
        name="test",
        block_size=1,
        request_id=rows,
        arrival_s=np.array([a.now_s for a in accesses]),
        input_tokens=np.maximum(n_blocks, 1),
        output_tokens=np.ones(n, np.int64),
        parent=np.full(n, -1),
        session=rows,
        turn=np.ones(n, np.int64),
        category=np.array([a.category for a in accesses], np.int64),
        category_names=NAMES,
        block_ids=np.array(ids, np.int64),
        block_offsets=np.concatenate(([0], np.cumsum(n_blocks))),
        covered_tokens=n_blocks,
        sessions=Sessions.NONE,
    )
    return compile_tree(trace, 1, partial_blocks=True)


def hits_of(policy: Policy | str, accesses: list[model.Access], capacity: int) -> list[int]:
    return replay_by_runs(
        tree_of(accesses),
        make_policy(policy) if isinstance(policy, str) else policy,
        capacity,
        arrival_s=np.array([a.now_s for a in accesses]),
        category=np.array([a.category for a in accesses], np.int64),
        category_names=NAMES,
        seed=1,
        name="tested",
    ).tolist()


def setting_of(accesses: list[model.Access]) -> Setting:
    """What a policy may know before a replay of the accesses."""
    arrival_s = np.array([a.now_s for a in accesses])
    category = np.array([a.category for a in accesses], np.int32)
    return replace(SETTING, first_part=first_part_of(tree_of(accesses), arrival_s, category))


def conversations(rng: np.random.Generator, n: int) -> list[model.Access]:
    """Requests of conversations that take turns: each repeats what was said, and says more.

    Some begin alike, some are asked again what they were asked before, and some part in two.
    """
    paths = [tuple(int(x) for x in rng.integers(0, 2, 6)) for _ in range(12)]
    found = []
    for t in range(n):
        i = int(rng.integers(len(paths)))
        if rng.random() < 0.8:
            paths[i] += tuple(rng.integers(0, 9, rng.integers(1, 5)).tolist())
        if rng.random() < 0.05 or len(paths[i]) > 40:
            paths[rng.integers(len(paths))] = paths[i][: rng.integers(3, 7)]
        found.append(model.Access(paths[i], float(t // 2), i % len(NAMES)))
    return found


def random_accesses(rng: np.random.Generator) -> tuple[list[model.Access], int]:
    """Paths with shared leading runs, at times whose sums are exact; and a capacity."""
    n = int(rng.integers(1, 60))
    found: list[model.Access] = []
    now_s = 0.0
    longest = int(rng.integers(2, 10))
    for _ in range(n):
        if found and rng.random() < 0.5:
            old = found[int(rng.integers(len(found)))].path
            path = old[: int(rng.integers(0, len(old) + 1))]
        else:
            path = ()
        grown = tuple(int(x) for x in rng.choice((0, 0, 1, 2), size=int(rng.integers(0, 5))))
        path = (*path, *grown)[:longest]
        now_s += float(rng.choice((0.0, 0.25, 0.5, 1.0, 4.0)))
        found.append(model.Access(path, now_s, int(rng.integers(0, len(NAMES)))))
    return found, int(rng.integers(1, 25))
