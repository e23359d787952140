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
