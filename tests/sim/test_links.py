"""Links that share their bandwidth, against formulas of processor sharing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsim.sim.event_calendar import Calendar
from kvsim.sim.links import Links

Job = tuple[float, tuple[str, ...], float]
"""Start in s, path, bytes."""


def ends_s(bytes_per_s: dict[str, float], jobs: list[Job]) -> list[float]:
    calendar = Calendar()
    links = Links(calendar)
    for name, rate in bytes_per_s.items():
        links.add(name, rate)
    ended = [np.nan] * len(jobs)

    def begin(n: int) -> None:
        def then() -> None:
            ended[n] = calendar.now

        links.start(jobs[n][1], jobs[n][2], then)

    for n, (start_s, _, _) in enumerate(jobs):
        event = calendar.at(start_s, 1)
        assert event.callbacks is not None
        event.callbacks.append(lambda _, n=n: begin(n))
    calendar.run()
    return ended


def test_two_transfers_halve_the_link_until_one_ends() -> None:
    found = ends_s({"a": 10.0}, [(0.0, ("a",), 100.0), (4.0, ("a",), 20.0)])
    # alone for 4 s (40 bytes), then 5 bytes/s each: the second ends at 8 s, the first has 40 left
    assert found == pytest.approx([12.0, 8.0])


def test_what_a_narrow_link_leaves_goes_to_others() -> None:
    found = ends_s(
        {"wide": 10.0, "narrow": 2.0},
        [(0.0, ("wide", "narrow"), 10.0), (0.0, ("wide",), 40.0)],
    )
    assert found == pytest.approx([5.0, 5.0])


JOBS = st.lists(
    st.tuples(
        st.floats(0, 20),
        st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "c"), ("a", "b", "c")]),
        st.floats(0.1, 100),
    ),
    min_size=1,
    max_size=8,
)
RATES = {"a": 3.0, "b": 7.0, "c": 2.0}


@given(JOBS)
def test_no_transfer_beats_its_link_and_no_link_its_bandwidth(jobs: list[Job]) -> None:
    found = ends_s(RATES, jobs)
    for (start_s, path, n_bytes), end_s in zip(jobs, found, strict=True):
        alone_s = n_bytes / min(RATES[name] for name in path)
        assert end_s >= start_s + alone_s - 1e-6
    for name, rate in RATES.items():
        mine = [n for n, job in enumerate(jobs) if name in job[1]]
        if mine:
            first_s = min(jobs[n][0] for n in mine)
            last_s = max(found[n] for n in mine)
            assert sum(jobs[n][2] for n in mine) <= rate * (last_s - first_s) + 1e-6


@given(JOBS, st.integers(0, 7))
def test_max_min_shares_leave_no_link_idle_for_nothing(jobs: list[Job], which: int) -> None:
    """Of transfers on one link alone, the sum of work is done as fast as in any order."""
    own = [(start_s, ("a",), n_bytes) for start_s, _, n_bytes in jobs]
    busy_until_s = 0.0
    for start_s, _, n_bytes in sorted(own):
        busy_until_s = max(busy_until_s, start_s) + n_bytes / RATES["a"]
    assert max(ends_s(RATES, own)) == pytest.approx(busy_until_s)


def test_the_mean_time_of_a_shared_link_is_that_of_processor_sharing() -> None:
    """M/G/1 with processor sharing: E[T] = E[S] / (1 - load), whatever the sizes."""
    rng = np.random.default_rng(0)
    n, load = 20_000, 0.6
    for sizes in (rng.exponential(1.0, n), rng.choice([0.2, 4.2], n, p=[0.8, 0.2])):
        starts_s = np.cumsum(rng.exponential(sizes.mean() / load, n))
        jobs = [(float(s), ("a",), float(b)) for s, b in zip(starts_s, sizes, strict=True)]
        times_s = np.array(ends_s({"a": 1.0}, jobs)) - starts_s
        assert times_s.mean() == pytest.approx(sizes.mean() / (1 - load), rel=0.06)
