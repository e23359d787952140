"""Arrival processes: their rate, their burstiness, their shape in time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsim import ConfigError
from kvsim.traces.generate.arrivals import Arrivals, Rate, Spikes
from kvsim.traces.generate.streams import stream

HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("process", "cv"),
    [("poisson", 1.0), ("gamma", 0.5), ("gamma", 2.5), ("weibull", 0.7), ("weibull", 3.0)],
)
def test_gaps_have_the_rate_and_variation_asked_for(process: str, cv: float) -> None:
    arrivals = Arrivals(per_s=20.0, process=process, cv=cv)
    at = arrivals.draw(HOUR_S, stream(0, process))
    assert len(at) == pytest.approx(20 * HOUR_S, rel=4 * cv / np.sqrt(20 * HOUR_S))
    gaps = np.diff(at)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.06)
    assert at[0] >= 0
    assert at[-1] < HOUR_S
    assert np.all(gaps >= 0)


def test_a_day_swings_and_a_trend_rises() -> None:
    day = Arrivals(per_s=1.0, rate=Rate(swing=0.8, peak_s=50_000.0))
    at = day.draw(86_400.0, stream(0, "day"))
    near_peak = np.abs(at - 50_000) < 3600
    near_low = np.abs(at - (50_000 - 43_200)) < 3600
    assert near_peak.sum() / near_low.sum() == pytest.approx(1.8 / 0.2, rel=0.2)
    rising = Arrivals(per_s=10.0, rate=Rate(trend=3.0)).draw(HOUR_S, stream(0, "trend"))
    first, last = np.histogram(rising, bins=10)[0][[0, -1]]
    assert last / first == pytest.approx((3 - 0.1) / (1 + 0.1), rel=0.1)


def test_spikes_are_that_much_busier() -> None:
    rate = Rate(spikes=Spikes.parse("1,300,8"))
    at = Arrivals(per_s=5.0, rate=rate).draw(HOUR_S, stream(0, "spikes"))
    counts = np.sort(np.bincount((at // 60).astype(int), minlength=60))
    assert counts[-3:].mean() / np.median(counts) == pytest.approx(8, rel=0.2)
    assert len(at) == pytest.approx(5 * HOUR_S, rel=0.05)


@given(
    n=st.integers(1, 400),
    n_clients=st.integers(1, 7),
    process=st.sampled_from(["poisson", "gamma", "weibull"]),
    seed=st.integers(0, 5),
)
def test_exactly_so_many_arrive(n: int, n_clients: int, process: str, seed: int) -> None:
    rng = stream(seed, "test")
    client = rng.integers(0, n_clients, n)
    at = Arrivals(per_s=1.0, process=process, cv=2.0).exactly(n, 100.0, rng, client=client)
    assert at.shape == (n,)
    assert np.all((at >= 0) & (at <= 100.0))


@pytest.mark.parametrize("trend", [1.0, 3.0])
def test_slices_hold_equally_many_arrivals(trend: float) -> None:
    arrivals = Arrivals(per_s=1.0, rate=Rate(trend=trend))
    rng = stream(0, "slices")
    client = np.zeros(1000, np.int64)
    at = arrivals.exactly(1000, HOUR_S, rng, client=client, n_slices=8)
    times, share = arrivals.rate.integral(HOUR_S, rng)
    edges = np.interp(np.arange(9) / 8, share, times)
    assert np.histogram(at, bins=edges)[0].tolist() == [125] * 8
    gaps = np.diff(np.sort(at))
    if trend == 1.0:
        assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.1)  # random within


def test_a_stream_depends_on_its_name_and_seed_only() -> None:
    assert stream(1, "a").random() == stream(1, "a").random()
    assert stream(1, "a").random() != stream(1, "b").random()
    assert stream(1, "a").random() != stream(2, "a").random()


def test_wrong_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="arrivals must be one of poisson, gamma, weibull"):
        Arrivals(per_s=1.0, process="pareto")
    with pytest.raises(ConfigError, match="rate must be positive and finite, got 0"):
        Arrivals(per_s=0.0)
    with pytest.raises(ConfigError, match="swing must be in"):
        Arrivals(per_s=1.0, rate=Rate(swing=1.5))
    with pytest.raises(ConfigError, match="spikes must be NUMBER,SECONDS,FACTOR, got 'x'"):
        Spikes.parse("x")
