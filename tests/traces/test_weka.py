"""Claude Code sessions are read with their sub-agents, and with ids of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kvsim import TraceError
from kvsim.traces.formats import read_trace
from kvsim.traces.prefix_tree import compile_tree

SHARED = Path(__file__).resolve().parents[3] / "shared/traces/weka-claude-code/sessions.jsonl.gz"


def request(t: float, n_in: int, runs: list[list[int]], **more: object) -> dict[str, object]:
    return {"t": t, "type": "n", "in": n_in, "out": 5, "hash_rle": runs, "think_time": 1.5, **more}


def session(*requests: object) -> dict[str, object]:
    return {"id": "a", "block_size": 64, "hash_id_scope": "local", "requests": list(requests)}


def written(tmp_path: Path, *sessions: object) -> Path:
    path = tmp_path / "sessions.jsonl"
    path.write_text("".join(json.dumps(s) + "\n" for s in sessions))
    return path


AGENT = {"t": 10.0, "type": "subagent", "requests": [request(0.5, 130, [[1, 2]])]}


def test_sessions_have_ids_of_their_own_which_their_sub_agents_share(tmp_path: Path) -> None:
    two = session(request(0, 64, [[1, 1]]))
    one = session(request(0, 70, [[1, 1]]), request(4, 200, [[1, 1], [7, 2]]), AGENT)
    trace = read_trace(written(tmp_path, one, two))
    assert len(trace) == 4
    assert trace.block_size == 64
    by_input = {int(n): r for r, n in enumerate(trace.input_tokens)}
    first, second, agent = (by_input[n] for n in (70, 200, 130))
    at = trace.arrival_s
    assert at[second] - at[first] == pytest.approx(4)
    assert at[agent] - at[first] == pytest.approx(10.5)
    assert trace.parent[second] == first
    assert trace.parent[agent] == -1
    assert trace.turn.tolist()[second] == 2
    assert trace.category_names[trace.category[agent]] == "sub-agent"
    tree = compile_tree(trace, 64, partial_blocks=False)
    assert tree.n_keys == 1 + 2 + 1 + 1  # the sub-agent shares one block, the other session none
    assert np.array_equal(
        at, read_trace(written(tmp_path, one, session(request(0, 64, [[1, 1]])))).arrival_s
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (session(request(0, 63, [[1, 1]])), "sessions.jsonl:1: request 0: hash_rle"),
        (session(request(0, 64, [[1, -1]])), "hash_rle"),
        (session(request(-1, 64, [[1, 1]])), "request 0: t must be"),
        (session({"t": 0, "type": "subagent"}), "requests"),
        (session(7), "request 0: request must be a JSON object"),
        ({**session(), "block_size": 0}, "block_size"),
    ],
)
def test_what_is_wrong_is_named(line: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=told.replace("[", r"\[")):
        read_trace(written(tmp_path, line))


@pytest.mark.skipif(not SHARED.exists(), reason="needs the public WEKA sessions")
def test_the_ideal_hit_ratio_inside_sessions_is_the_published_one() -> None:
    trace = read_trace(SHARED)
    tree = compile_tree(trace, 64, partial_blocks=False)
    blocks = tree.path_blocks.sum()
    assert (blocks - tree.n_keys) / blocks == pytest.approx(0.963, abs=0.01)


def test_pauses_and_durations_are_kept_and_follow_where_one_is_absent(tmp_path: Path) -> None:
    first = request(0, 64, [[1, 1]], api_time=3.0)
    second = {**request(10, 64, [[1, 1]], api_time=2.5), "think_time": None}
    trace = read_trace(written(tmp_path, session(first, second)))
    assert trace.recorded_e2e_s is not None
    assert trace.think_s is not None
    assert trace.recorded_e2e_s.tolist() == [3.0, 2.5]
    assert trace.think_s.tolist() == [1.5, 7.0]  # 10 s after a start that took 3 s
    assert trace.notes == (
        "the file has no starts of sessions: drawn, 20 at a time (seed 20260101)",
    )


def test_the_tool_and_system_prefix_can_be_shared_across_sessions(tmp_path: Path) -> None:
    def one(n_tool: int) -> dict[str, object]:
        agent = {**AGENT, "requests": [request(0.5, 256, [[1, 4]])]}
        told = session(request(0, 256, [[1, 4]]), request(5, 320, [[1, 4], [9, 1]]), agent)
        return {**told, "tool_tokens": n_tool, "system_tokens": 28, "models": ["m"]}

    path = written(tmp_path, one(100), one(100), one(164))
    apart = compile_tree(read_trace(path), 64, partial_blocks=False)
    assert apart.n_keys == 3 * 5
    shared = read_trace(path, settings={"shared_prefix": "true"})
    together = compile_tree(shared, 64, partial_blocks=False)
    assert together.n_keys == 3 * 5 - 2  # two blocks of 128 tokens are those of both sessions
    with_agent = [shared.ids_of(i)[:2].tolist() for i in range(len(shared)) if shared.category[i]]
    assert len(with_agent) == 3
    assert sum(ids == with_agent[0] for ids in with_agent) == 2


def test_more_sessions_at_a_time_start_closer_together(tmp_path: Path) -> None:
    path = written(tmp_path, *[session(*(request(t, 64, [[1, 1]]) for t in (0, 99)))] * 9)
    sparse = read_trace(path, settings={"active_sessions": "1"})
    dense = read_trace(path, settings={"active_sessions": "10"})
    starts = [t.arrival_s[t.turn == 1] for t in (sparse, dense)]
    assert np.ptp(starts[0]) == pytest.approx(10 * np.ptp(starts[1]))
