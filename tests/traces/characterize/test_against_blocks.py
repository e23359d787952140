"""Statistics computed on runs are those of plain models that look at every block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reuse_model as model
from hypothesis import given, settings
from hypothesis import strategies as st
from prefix_traces import Path, prefix_traces, trace_of

from kvsim.traces.characterize import characterise, describe
from kvsim.traces.characterize.firsts import first_gaps_s, made_in_session
from kvsim.traces.characterize.locality import FEWEST_BLOCKS, N_BINS, head_hit_ratio
from kvsim.traces.characterize.reuses import Reuses, reuses_of
from kvsim.traces.characterize.working_set import peak_live_of, working_set_of
from kvsim.traces.compiled import CompiledTrace
from kvsim.traces.hashing import numbered
from kvsim.traces.prefix_tree import compile_tree
from kvsim.traces.schema import Sessions, Trace
from kvsim.traces.sessions import link_turns


def compiled(trace: Trace) -> CompiledTrace:
    tree = compile_tree(trace, trace.block_size, partial_blocks=True)
    return CompiledTrace(trace=trace, tree=tree, digest="test")


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Path], Trace]:
    """Paths with uneven times, sessions and two types."""
    paths = draw(prefix_traces())
    n = len(paths)
    steps = draw(st.lists(st.sampled_from([0.0, 0.5, 3.0, 700.0]), min_size=n, max_size=n))
    session = numbered(np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))))
    parent, turn = link_turns(session, None)
    category = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    trace = replace(
        trace_of(paths),
        arrival_s=np.cumsum(steps),
        session=session,
        parent=parent,
        turn=turn,
        category=category,
        category_names=("chat", "code"),
        sessions=Sessions.GIVEN,
    )
    return paths, trace


@given(case=cases())
@settings(max_examples=150)
def test_reuses_are_those_of_every_block(case: tuple[list[Path], Trace]) -> None:
    paths, trace = case
    at_s = trace.arrival_s.tolist()
    uses = model.uses_of(paths)
    found = reuses_of(compiled(trace))
    assert found.known.tolist() == model.known(paths)
    told = sorted(
        (int(p), int(r), float(g))
        for p, r, g, n in zip(found.previous, found.row, found.gap_s, found.n_blocks, strict=True)
        for _ in range(n)
    )
    assert told == model.gaps(uses, at_s)
    assert np.all(np.diff(found.gap_s) >= 0)
    last = [rows[-1] for rows in uses.values()]
    assert found.unused.tolist() == [last.count(row) for row in range(len(paths))]
    per_block = sorted(
        (int(found.n_uses[s]), int(found.first_use[s]), int(found.last_use[s]))
        for s in range(len(found.n_uses))
        for _ in range(found.tree.n_blocks[s])
    )
    assert per_block == sorted((len(rows), rows[0], rows[-1]) for rows in uses.values())


@given(case=cases())
@settings(max_examples=80)
def test_who_had_blocks_first_and_how_soon_they_came_again(case: tuple[list[Path], Trace]) -> None:
    paths, trace = case
    uses = model.uses_of(paths)
    reuses = reuses_of(compiled(trace))
    made = [0] * len(paths)
    for rows in uses.values():
        for row in rows[1:]:
            made[row] += bool(trace.session[row] == trace.session[rows[0]])
    assert made_in_session(trace, reuses).tolist() == made
    at_s = trace.arrival_s
    gaps_s = np.repeat(first_gaps_s(reuses), reuses.tree.n_blocks)
    assert np.isnan(gaps_s).sum() == sum(len(rows) == 1 for rows in uses.values())
    told = sorted(gaps_s[~np.isnan(gaps_s)].tolist())
    assert told == sorted(at_s[rows[1]] - at_s[rows[0]] for rows in uses.values() if rows[1:])


@given(case=cases())
@settings(max_examples=80)
def test_hits_skew_and_lifespans(case: tuple[list[Path], Trace]) -> None:
    paths, trace = case
    uses = model.uses_of(paths)
    found = characterise(compiled(trace))
    n_blocks = sum(map(len, paths))
    if not n_blocks:
        assert found.hits is None
        return
    known = model.known(paths)
    same = [
        [o for o in range(row) if trace.session[o] == trace.session[row]]
        for row in range(len(paths))
    ]
    own = model.known(paths, same)
    hits, skew, lives = found.hits, found.skew, found.lifespans
    assert hits is not None
    assert skew is not None
    assert lives is not None
    assert hits.by_definition["blocks"] == sum(known) / n_blocks
    assert hits.session_ratio == sum(own) / n_blocks
    assert hits.within_share == (sum(own) / sum(known) if sum(known) else None)
    first = sum(k for k, p in zip(known, trace.parent, strict=True) if p < 0)
    assert hits.first_turn_share == (first / sum(known) if sum(known) else None)
    for i, name in enumerate(("chat", "code")):
        rows = np.flatnonzero(trace.category == i)
        size = sum(len(paths[r]) for r in rows)
        assert found.lengths.types[i] == name
        if size:
            assert hits.ratio[i] == sum(known[r] for r in rows) / size
    reused = sorted((len(rows) - 1 for rows in uses.values()), reverse=True)
    if sum(reused):
        k = 0.1 * len(reused)
        top = sum(reused[: int(k)]) + (k - int(k)) * reused[int(k)]
        assert skew.top_tenth == pytest.approx(top / sum(reused))
    life_s = [float(trace.arrival_s[r[-1]] - trace.arrival_s[r[0]]) for r in uses.values()]
    assert lives.max_s[0] == max(life_s)
    assert lives.p90_s[0] == np.percentile(life_s, 90, method="inverted_cdf")
    assert lives.reused[0] == pytest.approx(np.mean([len(r) > 1 for r in uses.values()]))


@given(case=cases(), window_s=st.sampled_from([60.0, 600.0]))
@settings(max_examples=80)
def test_working_set_and_live_blocks(case: tuple[list[Path], Trace], window_s: float) -> None:
    paths, trace = case
    uses = model.uses_of(paths)
    reuses = reuses_of(compiled(trace))
    assert peak_live_of(reuses) == max(model.live(uses, len(paths)), default=0)
    found = working_set_of(trace, reuses)
    at_s = (trace.arrival_s - trace.arrival_s[0]).tolist()
    for i in np.flatnonzero(found.window_s == window_s):
        for j in range(0, len(found.time_s), 13):
            t = float(found.time_s[j])
            assert found.blocks[i, j] == model.working_set(uses, at_s, t, window_s), t
    assert found.distinct[-1] == len(uses)


@given(paths=prefix_traces(), tenths=st.integers(1, 10))
def test_hits_of_the_heads_of_prompts(paths: list[Path], tenths: int) -> None:
    tree = compile_tree(trace_of(paths), 1, partial_blocks=True)
    n_blocks = sum(map(len, paths))
    ratio = head_hit_ratio(tree, tenths / 10)
    if n_blocks:
        assert ratio == model.head_hits(paths, tenths / 10) / n_blocks
    else:
        assert np.isnan(ratio)


def test_positions_of_hits_and_of_new_blocks() -> None:
    """Twice N_BINS blocks a prompt; the second one repeats the first quarter."""
    n = 4 * N_BINS * FEWEST_BLOCKS
    one = tuple(range(n))
    two = (*one[: n // 4], *(-1 - k for k in range(n - n // 4)))
    found = characterise(compiled(trace_of([one, two]))).locality
    assert found is not None
    expected = [0.5 if k < N_BINS // 4 else 0.0 for k in range(N_BINS)]
    assert found.hit[0].tolist() == expected
    assert found.reused[0].tolist() == [1.0 if e else 0.0 for e in expected]


@given(case=cases())
@settings(max_examples=60)
def test_the_tree_picture_holds_together(case: tuple[list[Path], Trace]) -> None:
    paths, trace = case
    found = characterise(compiled(trace)).tree
    if found is None:
        return
    uses = model.uses_of(paths)
    assert found.n_hits == sum(len(rows) - 1 for rows in uses.values())
    assert found.hits.sum() == found.n_hits  # so few that all are drawn, up to the levels
    for i, above in enumerate(found.parent.tolist()):
        assert above < i
        assert found.depth[i] == (0 if above < 0 else found.depth[above] + found.blocks[above])
        assert above < 0 or found.requests[i] <= found.requests[above]


@given(case=cases())
@settings(max_examples=40)
def test_a_trace_is_described_alike_with_and_without_its_ids(
    case: tuple[list[Path], Trace],
) -> None:
    _, trace = case
    assert characterise(compiled(trace)).description == describe(trace)


def reuses(paths: list[Path]) -> Reuses:
    return reuses_of(compiled(trace_of(paths)))


def test_ideal_hit_ratios_by_definition() -> None:
    """Blocks of 4: a prompt of 10 tokens, then one of 16 that repeats it and what it generated."""
    trace = Trace(
        name="two turns",
        block_size=4,
        request_id=np.arange(3),
        arrival_s=np.array([0.0, 1.0, 2.0]),
        input_tokens=np.array([10, 16, 12]),
        output_tokens=np.array([5, 1, 1]),
        parent=np.array([-1, 0, -1]),
        session=np.array([0, 0, 1]),
        turn=np.array([1, 2, 1]),
        category=np.zeros(3, np.int64),
        category_names=("request",),
        block_ids=np.array([0, 1, 2, 0, 1, 3, 4, 0, 1, 3]),
        block_offsets=np.array([0, 3, 7, 10]),
        covered_tokens=np.array([10, 16, 12]),
        sessions=Sessions.GIVEN,
    )
    found = characterise(compiled(trace)).hits
    assert found is not None
    # the second request finds 2 blocks, and a third that the first one's output filled; the
    # third finds all its 3 blocks, of which an engine takes 2, to have a token to compute
    assert found.by_definition == {
        "blocks": 5 / 10,
        "tokens": 20 / 38,
        "full_blocks": 5 / 9,
        "engine_tokens": 16 / 38,
        "blocks_with_outputs": 6 / 10,
    }
    assert found.within_share == 2 / 5
    assert found.first_turn_share == 3 / 5
    assert (found.single_session_ratio, found.other_session_ratio) == (3 / 3, 2 / 7)
