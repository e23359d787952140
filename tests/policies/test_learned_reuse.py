"""The regression: its samples one by one, its optimum, and that it sees no later request."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from kvsim import ConfigError
from kvsim.policies import learned_reuse, reuse_regression
from kvsim.policies.base import History, Setting
from kvsim.policies.learned_reuse import LearnedReuse
from kvsim.policies.reuse_regression import AGES_S, accesses, coefficients, drawn
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


def plain_loss(rows: list[tuple[float, ...]], b: NDArray[np.float64]) -> float:
    """What the fit minimises, question by question."""
    loss = float(b @ b) / 2
    mean_weight = sum(row[-1] for row in rows) / len(rows)
    for category, age_s, hits, depth, is_reused, weight in rows:
        terms = (math.log1p(age_s), math.log1p(hits), math.log1p(depth))
        logit = b[int(category)] + sum(x * y for x, y in zip(b[N_CATEGORIES:], terms, strict=True))
        loss += weight / mean_weight * math.log1p(math.exp(-logit if is_reused else logit))
    return loss


@pytest.mark.parametrize("life_s", [5.0, 100.0])
def test_the_fit_is_where_the_penalised_likelihood_of_all_answers_is_flat(life_s: float) -> None:
    """Each access is asked at each age whose answer is known."""
    rng = np.random.default_rng(60)
    n_fitted = 0
    for _ in range(20):
        history = random_history(rng, int(rng.integers(1, 60)))
        rows = plain_samples(history, life_s)
        found = coefficients(accesses(history), history, N_CATEGORIES, life_s)
        if len({row[4] for row in rows}) < 2:
            assert found is None
            continue
        assert found is not None
        for i in range(N_CATEGORIES + 3):
            step = np.zeros(N_CATEGORIES + 3)
            step[i] = 1e-4
            up, here, down = (plain_loss(rows, found + k * step) for k in (1, 0, -1))
            slope, bend = (up - down) / 2e-4, (up - 2 * here + down) / 1e-8
            assert abs(slope) < 1e-4 * max(1.0, bend)
        n_fitted += 1
    assert n_fitted > 10


def test_the_fit_to_some_accesses_is_a_start_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = random_history(np.random.default_rng(66), 4000)
    asked = accesses(history), history, N_CATEGORIES, 50.0
    at_once = coefficients(*asked)
    monkeypatch.setattr(reuse_regression, "FIRST_ACCESSES", 1000)
    assert len(asked[0].run) > 4000
    assert coefficients(*asked) == pytest.approx(at_once, abs=1e-4)


def test_accesses_know_what_came_before_and_after() -> None:
    history = random_history(np.random.default_rng(61), 50)
    seen: dict[int, list[int]] = {}
    for run, row, n_hits in zip(*(each.tolist() for each in accesses(history)[:3]), strict=True):
        assert n_hits == len(seen.setdefault(run, []))
        seen[run].append(row)
    at_s = history.arrival_s
    for run, row, n_hits, gap_s in zip(*(x.tolist() for x in accesses(history)), strict=True):
        later = seen[run][n_hits + 1 :]
        assert gap_s == (at_s[later[0]] - at_s[row] if later else math.inf)
    assert sum(len(rows) for rows in seen.values()) > 50


def test_few_accesses_are_drawn_from_many(monkeypatch: pytest.MonkeyPatch) -> None:
    found = accesses(random_history(np.random.default_rng(62), 500))
    assert drawn(found, np.random.default_rng(0)) is found
    monkeypatch.setattr(reuse_regression, "MOST_ACCESSES", 50)
    rows = drawn(found, np.random.default_rng(0)).row
    part = len(found.row) / 50
    assert len(rows) == 50
    assert all(found.row[int(i * part)] <= rows[i] for i in range(50))
    assert all(rows[i] <= found.row[math.ceil((i + 1) * part) - 1] for i in range(50))


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
