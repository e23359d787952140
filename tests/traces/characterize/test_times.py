"""Curves with a hidden end, fits to them, arrivals and turns: what is known comes out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefix_traces import trace_of
from reuse_model import product_limit
from scipy import optimize

from kvsim.sim.setup import categories
from kvsim.traces.characterize.arrivals import arrivals_of
from kvsim.traces.characterize.fits import fit_mixture, fit_observed
from kvsim.traces.characterize.groups import categories_of
from kvsim.traces.characterize.reuse_time import category_fits_of, reuse_times_of
from kvsim.traces.characterize.reuses import reuses_of
from kvsim.traces.characterize.survival import furthest_apart, incidence
from kvsim.traces.characterize.turns import turns_of
from kvsim.traces.characterize.weighted import quantiles
from kvsim.traces.compiled import CompiledTrace
from kvsim.traces.hashing import numbered
from kvsim.traces.prefix_tree import compile_tree
from kvsim.traces.schema import Sessions, Trace
from kvsim.traces.sessions import link_turns

TIMES = st.lists(st.sampled_from([0.0, 1.0, 1.5, 4.0, 9.0]), max_size=12)


def ones(values: object) -> np.ndarray:
    return np.ones(len(values), np.int64)  # type: ignore[arg-type]


@given(events=TIMES, censored=TIMES)
def test_the_product_limit(events: list[float], censored: list[float]) -> None:
    curve = incidence(np.array(events), ones(events), np.array(censored), ones(censored))
    for at in (0.0, 1.0, 1.2, 4.0, 100.0):
        expected = product_limit(events, censored, at)
        assert curve.at([at])[0] == pytest.approx(expected, abs=1e-12)


@given(events=TIMES, censored=TIMES, weight=st.integers(2, 5))
def test_a_weight_is_as_many_equals(
    events: list[float], censored: list[float], weight: int
) -> None:
    once = incidence(
        np.array(events), weight * ones(events), np.array(censored), weight * ones(censored)
    )
    many = incidence(
        np.repeat(events, weight),
        ones(events * weight),
        np.repeat(censored, weight),
        ones(censored * weight),
    )
    assert once.time_s.tolist() == many.time_s.tolist()
    assert once.share.tolist() == pytest.approx(many.share.tolist())


def test_freireichs_remission_times() -> None:
    """6-MP against leukaemia (Freireich et al., Blood 1963), in every book on survival."""
    relapsed = np.array([6, 6, 6, 7, 10, 13, 16, 22, 23.0])
    censored = np.array([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35.0])
    curve = incidence(relapsed, ones(relapsed), censored, ones(censored))
    told = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert (1 - curve.share).round(3).tolist() == told
    assert curve.quantile_s(0.5) == 23


@given(values=st.lists(st.integers(0, 9), min_size=1, max_size=30), share=st.integers(1, 100))
def test_quantiles_are_numpys(values: list[int], share: int) -> None:
    weight = np.bincount(values)
    found = quantiles(np.arange(len(weight), dtype=np.float64), weight, [share / 100])
    assert found[0] == np.percentile(values, share, method="inverted_cdf")


def censored_sample(
    weight: list[float], mean_s: list[float], *, n: int = 40_000, longest_s: float = 500.0
) -> tuple[np.ndarray, np.ndarray]:
    """Reuse times of a mixture, and how long those were watched that have none."""
    rng = np.random.default_rng(5)
    kind = rng.choice(len(weight) + 1, n, p=[*weight, 1 - sum(weight)])
    time_s = np.append(mean_s, np.inf)[kind] * rng.exponential(1.0, n)
    watched_s = rng.uniform(0, longest_s, n)
    is_seen = time_s <= watched_s
    return time_s[is_seen], watched_s[~is_seen]


@pytest.mark.parametrize(
    ("weight", "mean_s"), [([0.6], [40.0]), ([1.0], [90.0]), ([0.3, 0.4], [5.0, 120.0])]
)
def test_a_fit_finds_what_was_drawn_though_its_end_is_hidden(
    weight: list[float], mean_s: list[float]
) -> None:
    seen, lost = censored_sample(weight, mean_s)
    observed = incidence(seen, ones(seen), lost, ones(lost))
    fit = fit_mixture(
        len(weight), seen, ones(seen), lost, ones(lost), observed, resolution_s=1e-3, longest_s=500
    )
    assert fit.weight.tolist() == pytest.approx(weight, abs=0.03)
    assert fit.mean_s.tolist() == pytest.approx(mean_s, rel=0.08)
    assert fit.ks < 0.02
    assert fit.r2 > 0.999
    naive = fit_observed(seen, ones(seen), observed, resolution_s=1e-3)
    assert naive.mean_s[0] == pytest.approx(seen.mean())


def test_a_fit_is_as_likely_as_another_way_of_climbing_finds() -> None:
    seen, lost = censored_sample([0.3, 0.4], [5.0, 120.0], n=3000)
    observed = incidence(seen, ones(seen), lost, ones(lost))
    fit = fit_mixture(
        2, seen, ones(seen), lost, ones(lost), observed, resolution_s=1e-3, longest_s=1e4
    )

    def unlikely(x: np.ndarray) -> float:
        weight = np.exp(x[:2]) / (1 + np.exp(x[:2]).sum())
        mean_s = np.exp(x[2:])
        density = (weight / mean_s * np.exp(-seen[:, None] / mean_s)).sum(axis=1)
        absent = 1 - weight.sum() + (weight * np.exp(-lost[:, None] / mean_s)).sum(axis=1)
        return float(-np.log(density).sum() - np.log(absent).sum())

    start = [-0.5, -0.5, np.log(10), np.log(60)]
    best = optimize.minimize(unlikely, start, method="Nelder-Mead", options={"maxiter": 4000})
    never = 1 - fit.weight.sum()
    mine = unlikely(np.concatenate((np.log(fit.weight / never), np.log(fit.mean_s))))
    assert mine <= best.fun + 0.05  # times are binned


def test_many_equal_times_do_not_draw_a_component_onto_themselves() -> None:
    seen = np.concatenate((np.zeros(500), np.random.default_rng(1).exponential(60, 500)))
    none = np.zeros(0)
    observed = incidence(seen, ones(seen), none, ones(none))
    fit = fit_mixture(
        2, seen, ones(seen), none, ones(none), observed, resolution_s=0.5, longest_s=1e3
    )
    assert fit.mean_s.min() == 0.5
    assert fit.weight.sum() == pytest.approx(1)


def conversations(n: int, per_s: float, seed: int = 3) -> Trace:
    """Poisson sessions of one shared block and own ones; a next turn with probability 0.6."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, int, tuple[int, ...]]] = []
    start_s = np.cumsum(rng.exponential(1 / per_s, n))
    for session in range(n):
        at_s, path = float(start_s[session]), (0, session + 1)
        while True:
            rows.append((at_s, session, path))
            if rng.random() > 0.6:
                break
            at_s += rng.exponential(30.0)
            path = (*path, 0)
    rows = sorted(row for row in rows if row[0] < start_s[-1])
    session = numbered(np.array([row[1] for row in rows]))
    parent, turn = link_turns(session, None)
    return replace(
        trace_of([row[2] for row in rows]),
        arrival_s=np.array([row[0] for row in rows]),
        session=session,
        parent=parent,
        turn=turn,
        sessions=Sessions.GIVEN,
    )


@pytest.fixture(scope="module")
def chats() -> Trace:
    return conversations(3000, per_s=2.0)


def test_turns_and_the_probability_of_a_next_one(chats: Trace) -> None:
    found = turns_of(chats)
    assert found is not None
    assert found.next_turn_first == pytest.approx(0.6, abs=0.03)
    assert found.next_turn_later == pytest.approx(0.6, abs=0.03)
    assert found.gap_p50_s == pytest.approx(30 * np.log(2), rel=0.08)
    assert found.first_turn_share == np.mean(chats.turn == 1)
    assert np.nanmean(found.window_next_first) == pytest.approx(0.6 * 0.9, abs=0.04)
    assert found.n_of_category.sum() == len(chats)
    # what is cut off at the end is allowed for
    shown = found.next_turn_seen * found.n_of_category
    assert shown.sum() / len(chats) < found.next_turn_first


def test_reuse_times_of_categories(chats: Trace) -> None:
    tree = compile_tree(chats, 1, partial_blocks=True)
    reuses = reuses_of(CompiledTrace(trace=chats, tree=tree, digest="test"))
    fits = category_fits_of(chats, reuses)
    assert [fit.category for fit in fits] == list(categories_of(chats).names)
    third = fits[2]
    # four own blocks live on as the conversation does; a shared one is used all the time
    slow = third.mixture
    assert slow.mean_s[-1] == pytest.approx(30, rel=0.15)
    assert third.drift is not None
    assert third.drift < 0.1
    assert third.window_share.tolist() == pytest.approx([0.7, 0.7], abs=0.05)
    told = reuse_times_of(chats, reuses)
    assert told.types == ("request",)
    gap_s = np.repeat(reuses.gap_s, reuses.n_blocks)
    assert told.p50_s[0] == np.percentile(gap_s, 50, method="inverted_cdf")
    assert told.within["10"][0] == np.mean(gap_s <= 10)
    assert np.all(np.diff(told.expected, axis=1) >= 0)


def test_categories_are_those_that_policies_see(chats: Trace) -> None:
    code, names = categories(chats)
    mine = categories_of(chats)
    assert mine.names == names
    assert mine.code.tolist() == code.tolist()


def test_arrivals_of_a_poisson_process_and_of_a_clock() -> None:
    rng = np.random.default_rng(8)
    trace = trace_of([(1,)] * 40_000)
    poisson = arrivals_of(replace(trace, arrival_s=np.cumsum(rng.exponential(0.5, 40_000))))
    assert poisson is not None
    assert poisson.gap_cv == pytest.approx(1, abs=0.02)
    few = poisson.scale_s < 200
    assert poisson.dispersion[few] == pytest.approx(np.ones(few.sum()), abs=0.35)
    assert poisson.per_s.mean() == pytest.approx(2, rel=0.02)
    clock = arrivals_of(trace)
    assert clock is not None
    assert clock.gap_cv == 0
    assert clock.dispersion.max() < 0.3
    starts_s = np.cumsum(rng.exponential(50, 400))
    bursts = arrivals_of(replace(trace, arrival_s=np.repeat(starts_s, 100)))
    assert bursts is not None
    assert bursts.dispersion[:12].mean() == pytest.approx(100, rel=0.2)  # the size of a burst
    assert arrivals_of(replace(trace, arrival_s=np.zeros(40_000))) is None


def test_the_distance_of_two_curves() -> None:
    one = incidence(np.array([1.0, 2.0]), np.array([1, 1]), np.array([9.0]), np.array([2]))
    other = incidence(np.array([2.0, 8.0]), np.array([3, 1]), np.zeros(0), np.zeros(0, np.int64))
    assert furthest_apart(one, other) == 0.25
    assert furthest_apart(one, one) == 0
