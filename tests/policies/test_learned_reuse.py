"""The regression: its samples one by one, its optimum, and that it sees no later request."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from kvsim import ConfigError
from kvsim.policies import learned_reuse
from kvsim.policies.base import History, Setting
from kvsim.policies.learned_reuse import AGES_S, LearnedReuse, fit_logistic, samples
from kvsim.policies.testing import check_policy

N_CATEGORIES = 3


def random_history(rng: np.random.Generator, n: int) -> History:
    """Requests that end anywhere in a random tree of runs."""
    n_runs = int(rng.integers(1, 12))
    parent = np.array([rng.integers(-1, i) if i else -1 for i in range(n_runs)], np.int32)
    n_blocks = rng.integers(1, 5, n_runs).astype(np.int32)
    depth = np.zeros(n_runs, np.int32)
    for i in range(n_runs):
        if parent[i] >= 0:
            depth[i] = depth[parent[i]] + n_blocks[parent[i]]
    return History(
        arrival_s=np.cumsum(rng.exponential(20, n)),
        category=rng.integers(0, N_CATEGORIES, n).astype(np.int32),
        end=rng.integers(-1, n_runs, n).astype(np.int32),
        parent=parent,
        n_blocks=n_blocks,
        depth=depth,
    )


def plain_samples(history: History, life_s: float) -> list[tuple[float, ...]]:
    """The same questions, asked of single accesses."""
    seen: dict[int, list[int]] = {}
    for t, run in enumerate(history.end.tolist()):
        while run >= 0:
            seen.setdefault(run, []).append(t)
            run = int(history.parent[run])
    found = []
    end_s = float(history.arrival_s[-1])
    for run, rows in seen.items():
        for hits, t in enumerate(rows):
            at_s = float(history.arrival_s[t])
            later = history.arrival_s[rows[hits + 1]] if hits + 1 < len(rows) else math.inf
            for age_s in AGES_S:
                if later - at_s > age_s and at_s + age_s + life_s <= end_s:
                    deepest = int(history.depth[run] + history.n_blocks[run]) - 1
                    is_reused = later - at_s <= age_s + life_s
                    category = int(history.category[t])
                    weight = float(history.n_blocks[run])
                    found.append((category, age_s, hits, deepest, is_reused, weight))
    return sorted(found)


@pytest.mark.parametrize("life_s", [5.0, 100.0])
def test_each_access_is_asked_at_each_age_that_has_an_answer(life_s: float) -> None:
    rng = np.random.default_rng(60)
    n_asked = 0
    for _ in range(50):
        history = random_history(rng, int(rng.integers(1, 60)))
        x, is_reused, weight = samples(history, N_CATEGORIES, life_s, rng)
        found = [
            (
                int(np.argmax(row[:N_CATEGORIES])),
                round(math.expm1(row[-3]), 9),
                round(math.expm1(row[-2])),
                round(math.expm1(row[-1])),
                bool(answer),
                float(w),
            )
            for row, answer, w in zip(x.tolist(), is_reused, weight, strict=True)
        ]
        assert sorted(found) == plain_samples(history, life_s)
        n_asked += len(found)
    assert n_asked > 1000


def test_the_fit_is_where_the_penalised_likelihood_is_flat() -> None:
    rng = np.random.default_rng(61)
    x = rng.normal(size=(4000, 3))
    truth = np.array([0.5, -2.0, 1.0])
    is_true = rng.random(4000) < 1 / (1 + np.exp(-x @ truth))
    weight = rng.integers(1, 5, 4000).astype(np.float64)
    found = fit_logistic(x, is_true, weight)
    assert np.abs(found - truth).max() < 0.2

    def loss(b: NDArray[np.float64]) -> float:
        sign = np.where(is_true, 1.0, -1.0)
        return float((weight / weight.mean() * np.log1p(np.exp(-sign * (x @ b)))).sum() + b @ b / 2)

    for step in 1e-3 * np.eye(3):
        assert loss(found) < min(loss(found + step), loss(found - step))


def test_few_accesses_are_drawn_from_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_reuse, "MOST_ACCESSES", 50)
    history = random_history(np.random.default_rng(62), 500)
    x, _, _ = samples(history, N_CATEGORIES, 5.0, np.random.default_rng(0))
    assert 0 < len(x) <= 50 * len(AGES_S)


def setting_of(history: History) -> Setting:
    def first_part(share: float) -> History:
        n = int(len(history.end) * share)
        return history._replace(
            arrival_s=history.arrival_s[:n], category=history.category[:n], end=history.end[:n]
        )

    return Setting(
        n_items=8,
        n_caches=1,
        n_keys=8,
        capacity_blocks=8,
        category_names=("a-1", "b-1", "c-1"),
        seed=0,
        first_part=first_part,
    )


def test_what_comes_after_the_first_part_changes_nothing() -> None:
    rng = np.random.default_rng(63)
    history = random_history(rng, 400)
    end = history.end.copy()
    end[120:] = rng.permutation(end[120:])
    arrival_s = history.arrival_s.copy()
    arrival_s[120:] += 1000.0
    other = history._replace(end=end, arrival_s=arrival_s)
    policy = LearnedReuse(train_share=0.3, life_s=20.0)
    found = policy.params(setting_of(history))
    assert found.tolist() == policy.params(setting_of(other)).tolist()
    assert (found[:, learned_reuse.TRAINED_S] == history.arrival_s[119]).all()
    assert found[:, :4].any(axis=1).all()


def test_without_anything_to_learn_from_it_is_lru() -> None:
    for history in (
        random_history(np.random.default_rng(64), 1),
        random_history(np.random.default_rng(65), 40)._replace(end=np.full(40, -1, np.int32)),
    ):
        made = LearnedReuse().params(setting_of(history))
        assert (made[:, learned_reuse.TRAINED_S] == math.inf).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learned-reuse,train_share=0", r"train_share must be in \(0, 1\], got 0"),
        ("learned-reuse,train_share=1.5", "train_share"),
        ("learned-reuse,life_s=0", "life_s must be positive"),
    ],
)
def test_wrong_parameters_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_policy(text)
