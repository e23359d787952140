"""What policies draw from, count, remember and cut, on small cases with a plain twin."""

from __future__ import annotations

import numpy as np
import pytest

from kvsim.kernels import inner, kernel
from kvsim.policies.base import Setting
from kvsim.policies.block import Block
from kvsim.policies.candidates import (
    hear,
    make_candidates,
    members,
    n_candidates,
    named,
    place_of_sample,
)
from kvsim.policies.draws import GOLDEN, draw_below, draw_share, make_generator
from kvsim.policies.frequency import MOST_COUNTED, count_use, estimate, make_counts
from kvsim.policies.ghosts import (
    deepest_ghost,
    drop_oldest,
    forget,
    ghosts,
    make_ghosts,
    n_ghosts,
    remember,
)
from kvsim.policies.order import ENTRY, EVENT_ADD, EVENT_INSERT, EVENT_REMOVE, ITEM
from kvsim.policies.queues import (
    cut,
    deepest,
    enter,
    join_above,
    leave,
    make_queues,
    move,
    n_blocks,
    oldest,
    spans,
)
from kvsim.policies.sampling import lowest_by


def make_setting() -> Setting:
    return Setting(
        n_items=50, n_caches=1, n_keys=200, capacity_blocks=50, category_names=("a",), seed=3
    )


@kernel
def see_uses(counts, homes, requests, found) -> None:
    for i in range(len(homes)):
        block = Block(0, homes[i], 0, 0, requests[i], 0.0, 0, 0.0, 0, 0.0, 0.0, 1)
        count_use(counts, homes[i], block)
        for home in range(found.shape[1]):
            found[i, home] = estimate(counts, home)


def test_uses_count_once_a_request_and_are_halved_between_requests() -> None:
    rng = np.random.default_rng(1)
    homes = rng.integers(0, 40, 2000) ** 2 // 40
    requests = np.cumsum(rng.integers(0, 2, 2000))
    found = np.zeros((2000, 40), np.int64)
    setting = make_setting()
    see_uses(make_counts(setting, 100), homes, requests, found)
    plain: dict[int, int] = {}
    counted: set[int] = set()
    n_uses, last, n_halvings = 0, -1, 0
    for home, request, row in zip(homes.tolist(), requests.tolist(), found.tolist(), strict=True):
        if request != last:
            last, counted = request, set()
            if n_uses >= 100:
                n_uses, n_halvings = n_uses // 2, n_halvings + 1
                plain = {other: n // 2 for other, n in plain.items()}
        n_uses += 1
        if home not in counted:
            plain[home] = min(MOST_COUNTED, plain.get(home, 0) + 1)
            counted.add(home)
        assert row == [plain.get(other, 0) for other in range(40)]
    assert n_halvings > 10


@kernel
def play_with_ghosts(g, actions, homes, sizes, cached, found) -> None:
    for i in range(len(homes)):
        home = homes[i]
        if actions[i] == 0:
            forget(g, deepest_ghost(g, home))
            cached[home] = 10
        elif actions[i] == 1:
            drop_oldest(g, 1, sizes[i])
        else:
            n = min(cached[home], sizes[i])
            if n:
                depth = home - 10 + cached[home]
                remember(g, home, depth, n, actions[i] % 2, 0)
                cached[home] -= n
        found[i, 0] = n_ghosts(g, 0)
        found[i, 1] = n_ghosts(g, 1)
        ghost = deepest_ghost(g, home)
        at = 2
        while ghost >= 0:
            for k in range(ghosts(g)[ghost].n_blocks):
                found[i, at] = ghosts(g)[ghost].depth - k
                at += 1
            ghost = ghosts(g)[ghost].above


def test_ghosts_are_lists_of_blocks_found_by_the_run_they_were_of() -> None:
    """Homes are 10, 20 ...: ten blocks each, the depth of the deepest being the home."""
    rng = np.random.default_rng(2)
    n = 3000
    actions, sizes = rng.integers(0, 6, n), rng.integers(1, 7, n)
    homes = 10 * rng.integers(1, 9, n)
    found = np.zeros((n, 12), np.int64)
    cached = np.full(200, 10)
    setting = make_setting()
    play_with_ghosts(make_ghosts(setting, 200, 2), actions, homes, sizes, cached, found)
    lists: list[list[int]] = [[], []]
    left = dict.fromkeys(range(10, 90, 10), 10)
    for action, home, size, row in zip(actions, homes, sizes, found.tolist(), strict=True):
        of_home = range(home - 9, home + 1)
        if action == 0:
            lists = [[depth for depth in known if depth not in of_home] for known in lists]
            left[home] = 10
        elif action == 1:
            del lists[1][:size]
        else:
            for _ in range(min(left[home], size)):
                lists[action % 2].append(home - 10 + left[home])
                left[home] -= 1
        expected = sorted((d for known in lists for d in known if d in of_home), reverse=True)
        assert row == [*map(len, lists), *expected, *[0] * (10 - len(expected))]


@kernel
def play_with_spans(q, actions, items, sizes, found) -> None:
    for i in range(len(actions)):
        x = items[i]
        n = sizes[i]
        if actions[i] == 0:
            block = Block(x, 0, 20, 0, 0, 0.0, 0, 0.0, 0, 0.0, 0.0, n)
            enter(q, block, 0, n, 0)
        elif actions[i] == 1:
            block = Block(x, 0, 20, 0, 0, 0.0, 0, 0.0, 0, 0.0, 0.0, n)
            leave(q, block)
        elif actions[i] == 2:
            s = oldest(q, 0)
            if s >= 0:
                cut(q, s, n)
                move(q, s, 1)
        else:
            s = deepest(q, x)
            while s >= 0:
                above = spans(q)[s].above
                move(q, s, 0)
                s = above
            join_above(q, deepest(q, x))
        found[i, 0] = n_blocks(q, 0)
        found[i, 1] = n_blocks(q, 1)
        at = 2
        for queue in range(2):
            s = oldest(q, queue)
            while s >= 0:
                for k in range(spans(q)[s].n_blocks):
                    found[i, at] = 100 * spans(q)[s].item + spans(q)[s].depth - k
                    at += 1
                s = spans(q)[s].newer


def test_spans_are_queues_of_blocks_deepest_first() -> None:
    """The plain twin: lists of (item, depth of the deepest block, blocks)."""
    rng = np.random.default_rng(4)
    n = 3000
    plain: list[list[tuple[int, int, int]]] = [[], []]
    actions, items, sizes = np.zeros((3, n), np.int64)
    found, expected = np.zeros((n, 60), np.int64), np.zeros((n, 60), np.int64)
    for i in range(n):
        x, size = int(rng.integers(0, 8)), int(rng.integers(1, 6))
        own = sorted((s for queue in plain for s in queue if s[0] == x), reverse=True)
        action = int(rng.integers(1, 4)) if own else 0
        if action == 0:
            plain[0].append((x, 20, size))
        elif action == 1:
            size = min(size, sum(s[2] for s in own))
            n_left = size
            for span in own:
                n_gone = min(n_left, span[2])
                n_left -= n_gone
                queue = plain[0] if span in plain[0] else plain[1]
                rest = (x, span[1] - n_gone, span[2] - n_gone)
                queue[queue.index(span)] = rest
            plain = [[span for span in queue if span[2]] for queue in plain]
        elif action == 2 and plain[0]:
            y, depth, length = plain[0].pop(0)
            plain[1].append((y, depth, min(size, length)))
            if length > size:
                plain[0].insert(0, (y, depth - size, length - size))
        elif action == 3:
            plain = [[span for span in queue if span not in own] for queue in plain]
            plain[0].append((x, own[0][1], sum(s[2] for s in own)))
        actions[i], items[i], sizes[i] = action, x, size
        blocks = [100 * y + depth - k for queue in plain for y, depth, m in queue for k in range(m)]
        lengths = [sum(span[2] for span in queue) for queue in plain]
        expected[i, : 2 + len(blocks)] = [*lengths, *blocks]
    setting = make_setting()
    queues = make_queues(setting, 2, has_first=False)
    play_with_spans(queues, actions, items, sizes, found)
    assert found.tolist() == expected.tolist()


@inner
def tell(candidates, event, x, inserted):
    block = Block(x, 0, 0, 0, 0, 0.0, inserted, 0.0, 0, 0.0, 0.0, 1)
    hear(candidates, event, block)


@kernel
def play_with_candidates(candidates, generator, found) -> None:
    for x in range(6):
        tell(candidates, EVENT_INSERT, x, x)
    tell(candidates, EVENT_INSERT, 9, 4)
    for x in range(6):
        tell(candidates, EVENT_ADD, x, x)
    tell(candidates, EVENT_REMOVE, 1, 1)
    named(candidates, 4)
    tell(candidates, EVENT_REMOVE, 4, 4)
    tell(candidates, EVENT_ADD, 9, 4)
    n = n_candidates(candidates)
    for i in range(5):
        found[0, i] = members(candidates)[place_of_sample(i, n, 5, generator)]
    for i in range(found.shape[1]):
        found[1, i] = members(candidates)[place_of_sample(i, n, 4, generator)]


def test_few_candidates_are_all_looked_at_and_many_drawn_evenly() -> None:
    setting = make_setting()
    found = np.zeros((2, 5000), np.int64)
    play_with_candidates(make_candidates(setting), make_generator(setting, 0), found)
    assert found[0, :5].tolist() == [0, 5, 2, 3, 9]
    drawn, counts = np.unique(found[1], return_counts=True)
    assert drawn.tolist() == [0, 2, 3, 5, 9]
    assert counts == pytest.approx(np.full(5, 1000), abs=100)


@kernel
def draw_many(generator, shares, below) -> None:
    for i in range(len(shares)):
        shares[i] = draw_share(generator)
        below[i] = draw_below(generator, 7)


def test_draws_are_even() -> None:
    shares, below = np.zeros(7000), np.zeros(7000, np.int64)
    setting = make_setting()
    draw_many(make_generator(setting, 0), shares, below)
    assert 0 <= shares.min() < 0.01
    assert 0.99 < shares.max() < 1
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert np.bincount(below) == pytest.approx(np.full(7, 1000), abs=150)


@kernel
def search_often(items, row, n, n_drawn, found) -> None:
    generator = np.uint64(7)
    for i in range(len(found)):
        found[i] = np.int64(of_lowest_depth(items, row, n, n_drawn, generator, 0))
        generator += GOLDEN * np.uint64(n_drawn + 1)


@inner
def depth_of(items, x, looked_at) -> float:
    return float(items[x].depth)


of_lowest_depth = lowest_by(depth_of)


def test_a_sample_is_one_of_each_stretch_and_each_candidate_is_as_likely() -> None:
    """Of depths that all differ, the i-th lowest of n wins as often as it is the least of d drawn.

    The least of all is drawn with probability d / n; whatever lies above the (n - d + 1)-th never
    wins, as d different ones are drawn.
    """
    n, n_drawn, times = 37, 8, 40_000
    items = np.zeros(n, ITEM)
    items["depth"] = np.random.default_rng(3).permutation(n)
    row = np.zeros(n + n_drawn, ENTRY)
    row["x"][:n] = np.random.default_rng(4).permutation(n)
    found = np.zeros(times, np.int64)
    search_often(items, row, n, n_drawn, found)
    wins = np.bincount(items["depth"][found], minlength=n)
    assert wins[0] / times == pytest.approx(n_drawn / n, abs=0.01)
    assert wins[n - n_drawn + 1 :].sum() == 0
    search_often(items, row, n, 0, found)
    assert (items["depth"][found] == 0).all()
