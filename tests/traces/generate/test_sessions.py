"""Generated traces: what every one must be, whatever the workload."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kvsim import ConfigError
from kvsim.traces.chain import is_chained, known_prefixes
from kvsim.traces.generate.arrivals import Arrivals
from kvsim.traces.generate.lengths import Constant, Lognormal
from kvsim.traces.generate.presets import PRESETS, generate_requests, preset, shaped
from kvsim.traces.generate.sessions import generate
from kvsim.traces.generate.workload import Kind, Pool, Repeats, Workload
from kvsim.traces.schema import Trace


def small(name: str) -> Trace:
    return generate_requests(preset(name), 600)


@pytest.mark.parametrize("name", PRESETS)
def test_every_workload_gives_a_sound_trace(name: str) -> None:
    trace = small(name)
    n = len(trace)
    assert n == 600
    assert np.all(np.diff(trace.arrival_s) >= 0)
    assert np.array_equal(np.diff(trace.block_offsets), -(-trace.input_tokens // trace.block_size))
    assert is_chained(trace.block_ids, trace.block_offsets)
    has_parent = trace.parent >= 0
    parents = trace.parent[has_parent]
    assert np.all(parents < np.arange(n)[has_parent])
    assert np.array_equal(trace.session[parents], trace.session[has_parent])
    assert np.array_equal(trace.turn[parents] + 1, trace.turn[has_parent])
    assert np.all(trace.turn[~has_parent] == 1)
    assert trace.session.max() + 1 == (~has_parent).sum()


@pytest.mark.parametrize("name", ["chat", "agents", "qwen-a"])
def test_equal_seeds_give_equal_traces_and_others_do_not(name: str) -> None:
    workload = shaped(preset(name), duration_s=300.0)
    assert generate(workload, seed=3).digest() == generate(workload, seed=3).digest()
    assert generate(workload, seed=3).digest() != generate(workload, seed=4).digest()


def test_a_turn_goes_on_from_all_full_blocks_of_the_last() -> None:
    trace = small("chat")
    for row in np.flatnonzero(trace.parent >= 0).tolist():
        parent = int(trace.parent[row])
        full = int(trace.input_tokens[parent]) // trace.block_size
        assert np.array_equal(trace.ids_of(row)[:full], trace.ids_of(parent)[:full])
        assert trace.input_tokens[row] > trace.input_tokens[parent]
        waited_s = trace.arrival_s[row] - trace.arrival_s[parent]
        assert trace.think_s is not None
        assert 0 < trace.think_s[row] < waited_s + 1e-3


def test_another_kind_of_session_leaves_the_first_kinds_draws_alone() -> None:
    kind = Kind(name="a", first_tokens=Lognormal(100, 1.0))
    base = Workload(name="one", kinds=(kind,), arrivals=Arrivals(per_s=1.0), n_sessions=50)
    other = replace(kind, name="b", first_tokens=Constant(7))
    both = replace(base, kinds=(kind, other), n_sessions=100)
    one, two = generate(base), generate(both)
    assert np.array_equal(np.sort(one.input_tokens), np.sort(two.input_tokens[two.category == 0]))


def test_shared_prefixes_and_repeats_are_hit() -> None:
    kind = Kind(name="a", pools=(("p", 1.0),), first_tokens=Constant(64))
    workload = Workload(
        name="shared",
        kinds=(kind,),
        arrivals=Arrivals(per_s=1.0),
        pools={"p": Pool(n=1, tokens=Constant(160))},
        n_sessions=20,
    )
    trace = generate(workload)
    known = known_prefixes(trace.block_ids, trace.block_offsets)
    assert known.tolist() == [0] + [10] * 19
    again = replace(kind, repeats=Repeats(share=1.0, gap_s=Constant(1e-9)))
    repeated = generate(replace(workload, kinds=(again,)))
    known = known_prefixes(repeated.block_ids, repeated.block_offsets)
    assert known.tolist() == [0] + [13] * 19  # all but the last block


@pytest.mark.parametrize(("at_limit", "longest"), [("clip", 500), ("end", 500), ("compact", 500)])
def test_a_prompt_keeps_to_its_limit(at_limit: str, longest: int) -> None:
    kind = Kind(
        name="a",
        first_tokens=Constant(100),
        continues=(0.95,),
        gap_s=Constant(1.0),
        limit_tokens=longest,
        at_limit=at_limit,
    )
    workload = Workload(name="limit", kinds=(kind,), arrivals=Arrivals(per_s=0.5), n_sessions=50)
    trace = generate(workload)
    assert trace.input_tokens.max() <= longest
    child = trace.parent >= 0
    shrinks = trace.input_tokens[child] < trace.input_tokens[trace.parent[child]]
    assert shrinks.any() == (at_limit == "compact")


def test_a_trace_too_large_for_memory_is_refused() -> None:
    kind = Kind(name="k", first_tokens=Constant(2**20))
    workload = Workload(
        name="w", kinds=(kind,), arrivals=Arrivals(per_s=1.0), n_sessions=1025, block_size=1
    )
    with pytest.raises(ConfigError, match="choose larger blocks or fewer requests"):
        generate(workload)


def test_wrong_workloads_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"workload must be one of chat.*did you mean 'qwen-a'"):
        preset("qwen-aa")
    with pytest.raises(ConfigError, match="pool must be one of none, got 'x'"):
        Workload(name="w", kinds=(Kind(name="k", pools=(("x", 1.0),)),), arrivals=Arrivals(per_s=1))
    with pytest.raises(ConfigError, match="later turns need gap_s or think_s"):
        Workload(name="w", kinds=(Kind(name="k", continues=(0.5,)),), arrivals=Arrivals(per_s=1))
    with pytest.raises(ConfigError, match="requests must be at least 1, got 0"):
        generate_requests(preset("chat"), 0)
