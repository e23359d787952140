"""Candidates of a few classes: bitmaps and a heap, against a plain list."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from replay_cases import random_accesses, tree_of

from kvsim.kernels import kernel
from kvsim.policies import make_policy
from kvsim.policies.base import Setting
from kvsim.policies.classes import first_to_go, make_classes, put, take
from kvsim.sim import prefix_replay

N_ITEMS, N_CLASSES, N_USES = 60, 4, 9000


@kernel
def play(classes: int, actions, items, of_class, last, depth, found) -> None:
    for i in range(len(actions)):
        if actions[i] == 0:
            put(classes, items[i], of_class[i], last[i], depth[i])
        elif actions[i] == 1:
            take(classes, items[i])
        else:
            found[i] = first_to_go(classes)


@pytest.mark.parametrize("n_bitmaps", [0, 2, N_CLASSES])
def test_the_first_of_the_lowest_class_leaves(n_bitmaps: int) -> None:
    rng = np.random.default_rng(5)
    setting = Setting(
        n_items=N_ITEMS, n_caches=1, n_keys=1, capacity_blocks=1, category_names=("a",), seed=1
    )
    inside: dict[int, tuple[int, int, int]] = {}
    rows, expected = [], []
    lasts = rng.permutation(N_USES)  # no two alike: the bitmaps are for those only
    for i in range(4000):
        x = int(rng.integers(N_ITEMS))
        row = (0, x, int(rng.integers(N_CLASSES)), int(lasts[i]), int(rng.integers(5)))
        if x in inside:
            row = (1, x, 0, 0, 0)
            del inside[x]
        else:
            inside[x] = (row[2], row[3], -row[4])
        rows.append(row)
        expected.append(-1)
        if inside:
            rows.append((2, 0, 0, 0, 0))
            expected.append(min(inside, key=lambda x: (*inside[x], x)))
    found = np.full(len(rows), -1)
    classes = make_classes(setting, n_bitmaps, n_places=N_USES if n_bitmaps else 0)
    play(classes, *np.array(rows).T.copy(), found)
    assert found.tolist() == expected


@pytest.mark.parametrize(
    "name",
    [
        "t-lru,threshold_tokens=2,next_tokens=0",
        "sglang-lru",
        "sglang-lfu",
        "sglang-slru",
        "sglang-priority,priorities=b:1",
        "workload-aware,refit_s=4",
        "posterior-hazard,refit_s=4",
        "lpc,refit_s=4",
    ],
)
def test_a_replay_takes_the_same_victims_from_bitmaps_and_from_heaps(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache-only replay has bitmaps; told that candidates may share a last use, heaps."""
    rng = np.random.default_rng(8)

    def with_heaps(**given: object) -> Setting:
        return replace(Setting(**given), n_uses=0)  # type: ignore[arg-type]

    n_hits = 0
    for _ in range(30):
        accesses, capacity = random_accesses(rng)
        tree = tree_of(accesses)
        hits = []
        for made in (Setting, with_heaps):
            monkeypatch.setattr(prefix_replay, "Setting", made)
            hits.append(
                prefix_replay.replay(
                    tree,
                    make_policy(name),
                    capacity,
                    arrival_s=np.arange(len(accesses), dtype=np.float64),
                    category=np.arange(len(accesses)) % 3,
                    category_names=("a", "b", "c"),
                )
            )
        assert hits[0].tolist() == hits[1].tolist()
        n_hits += int(hits[0].sum())
    assert n_hits > 100
