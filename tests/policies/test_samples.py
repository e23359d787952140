"""What sampling policies draw from, value and count."""

from __future__ import annotations

import numpy as np
import pytest

from kvsim.kernels import jitted
from kvsim.policies.base import Setting
from kvsim.policies.candidates import join, leave, make_candidates, replace, sampled
from kvsim.policies.draws import draw_below, draw_share, make_generator
from kvsim.policies.frequency import MOST_COUNTED, count_use, estimate, make_sketch
from kvsim.policies.ghosts import (
    drop_oldest,
    forget,
    is_ghost,
    make_ghosts,
    n_ghosts,
    oldest_ghost,
    remember,
)


def make_setting() -> Setting:
    return Setting(
        n_items=50, n_caches=1, n_keys=40, capacity_blocks=50, category_names=("a",), seed=3
    )


@jitted
def see_uses(sketch, keys, found):
    for i in range(len(keys)):
        count_use(sketch, keys[i])
    for key in range(len(found)):
        found[key] = estimate(sketch, key)


def test_a_sketch_never_counts_less_than_there_was_up_to_its_most() -> None:
    setting = make_setting()
    rng = np.random.default_rng(1)
    keys = rng.integers(0, 40, 300) ** 2 // 40
    found = np.zeros(40, np.int64)
    see_uses(make_sketch(setting, 10_000), keys, found)
    counts = np.minimum(np.bincount(keys, minlength=40), MOST_COUNTED)
    assert (found >= counts).all()
    assert (found == counts).sum() >= 36


def test_a_sketch_halves_its_counts() -> None:
    found = np.zeros(40, np.int64)
    see_uses(make_sketch(make_setting(), 10), np.full(10, 7), found)
    assert found[7] == 5
    assert found.sum() == 5


@jitted
def play_with_ghosts(ghosts, actions, keys, found):
    for i in range(len(keys)):
        if actions[i] == 0:
            forget(ghosts, keys[i])
        elif actions[i] == 1 and n_ghosts(ghosts):
            drop_oldest(ghosts)
        else:
            remember(ghosts, keys[i])
            while n_ghosts(ghosts) > 8:
                drop_oldest(ghosts)
        found[i, 0] = n_ghosts(ghosts)
        found[i, 1] = oldest_ghost(ghosts) if n_ghosts(ghosts) else -1
        found[i, 2] = is_ghost(ghosts, keys[i])


def test_ghosts_are_a_list_of_distinct_keys() -> None:
    rng = np.random.default_rng(2)
    actions, keys = rng.integers(0, 6, 3000), rng.integers(0, 40, 3000)
    found = np.zeros((3000, 3), np.int64)
    setting = make_setting()
    play_with_ghosts(make_ghosts(setting, 9), actions, keys, found)
    plain: list[int] = []
    for action, key, row in zip(actions.tolist(), keys.tolist(), found.tolist(), strict=True):
        if action == 1 and plain:
            del plain[0]
        else:
            plain = [other for other in plain if other != key]
            plain = plain if action == 0 else [*plain, key][-8:]
        assert row == [len(plain), plain[0] if plain else -1, key in plain]


@jitted
def play_with_candidates(candidates, generator, found):
    for x in range(6):
        join(candidates, x)
    leave(candidates, 1)
    replace(candidates, 4, 9)
    for i in range(5):
        found[0, i] = sampled(candidates, generator, i, 5)
    for i in range(found.shape[1]):
        found[1, i] = sampled(candidates, generator, i, 4)


def test_few_candidates_are_all_looked_at_and_many_drawn_evenly() -> None:
    setting = make_setting()
    found = np.zeros((2, 5000), np.int64)
    play_with_candidates(make_candidates(setting), make_generator(setting, 0), found)
    assert found[0, :5].tolist() == [0, 5, 2, 3, 9]
    drawn, counts = np.unique(found[1], return_counts=True)
    assert drawn.tolist() == [0, 2, 3, 5, 9]
    assert counts == pytest.approx(np.full(5, 1000), abs=100)


@jitted
def draw_many(generator, shares, below):
    for i in range(len(shares)):
        shares[i] = draw_share(generator)
        below[i] = draw_below(generator, 7)


def test_draws_are_even() -> None:
    shares, below = np.zeros(7000), np.zeros(7000, np.int64)
    draw_many(make_generator(make_setting(), 0), shares, below)
    assert 0 <= shares.min() < 0.01
    assert 0.99 < shares.max() < 1
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert np.bincount(below) == pytest.approx(np.full(7, 1000), abs=150)
