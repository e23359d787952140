"""A trace's study: curves by type add up, memory by model, and the published numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefix_traces import Path as Blocks
from prefix_traces import prefix_traces, trace_of

from kvsim.calibration.models import MODELS
from kvsim.studies.characterisation import study_trace
from kvsim.studies.curves import lru_curve, lru_replay
from kvsim.studies.group_curves import lru_hits_by_group
from kvsim.studies.live_capacity import live_capacities
from kvsim.traces.compiled import CompiledTrace, load_compiled
from kvsim.traces.formats import read_trace
from kvsim.traces.prefix_tree import compile_tree
from kvsim.traces.sample import sample_path
from kvsim.traces.schema import Trace

SHARED = Path(__file__).resolve().parents[3] / "shared/traces"


def compiled(trace: Trace) -> CompiledTrace:
    tree = compile_tree(trace, trace.block_size, partial_blocks=True)
    return CompiledTrace(trace=trace, tree=tree, digest="test")


def shared(name: str) -> CompiledTrace:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs {name} in ../shared/traces")
    return load_compiled([path], partial_blocks=True, keep=False)


@given(paths=prefix_traces(), groups=st.data())
def test_hits_by_group_are_those_of_replays(paths: list[Blocks], groups: st.DataObject) -> None:
    tree = compile_tree(trace_of(paths), 1, partial_blocks=True)
    code = np.array(
        groups.draw(st.lists(st.integers(0, 2), min_size=len(paths), max_size=len(paths)))
    )
    capacities = list(range(1, tree.n_keys + 2))
    found = lru_hits_by_group(tree, code, 3, capacities)
    assert found.sum(axis=0).tolist() == lru_curve(tree).hits_at(capacities).tolist()
    for i, capacity in enumerate(capacities):
        hits = lru_replay(tree, capacity)
        assert found[:, i].tolist() == [hits[code == g].sum() for g in range(3)]


def test_memory_for_the_ideal_hit_ratio() -> None:
    rows = {row.model: row for row in live_capacities(trace_of([(1,)] * 5), 1024, 16, 0)}
    assert rows.keys() == MODELS.keys()
    llama = rows["llama-3.1-8b"]
    assert llama.peak_live_gib == 1024 * 16 * 131072 / 2**30
    assert llama.gpus == 1
    assert 40 < llama.kv_gib < 60
    assert llama.instances == 1
    assert llama.times_kv_memory == llama.times_one_instance
    assert rows["llama-3.3-70b"].gpus == 4  # 2 hold the weights and next to nothing else
    busy = replace(trace_of([(1,)] * 5), input_tokens=np.full(5, 100_000))
    few = {row.model: row for row in live_capacities(busy, 1024, 16, 0)}["llama-3.1-8b"]
    assert few.instances > 1
    assert few.times_kv_memory == pytest.approx(few.times_one_instance / few.instances)


def test_a_study_is_plain_json_and_the_same_each_time() -> None:
    trace = read_trace(sample_path())
    one = json.dumps(study_trace(compiled(trace)).to_dict(), allow_nan=False)
    assert json.dumps(study_trace(compiled(trace)).to_dict(), allow_nan=False) == one
    told = json.loads(one)
    assert told["requests"] == 2000
    assert set(told) >= {"arrivals", "lengths", "turns", "hits", "skew", "reuse_times", "fits"}
    assert set(told) >= {"lifespans", "locality", "working_set", "tree", "curves", "capacity"}


def test_a_trace_without_ids_has_no_reuse() -> None:
    study = study_trace(compiled(trace_of([(), (), ()])))
    found = study.characterisation
    assert (found.hits, found.turns, found.tree, study.curves, study.capacity) == (None,) * 5
    assert found.fits == []
    assert found.arrivals is not None


def test_one_request_is_enough() -> None:
    study = study_trace(compiled(trace_of([(1, 2, 3)])))
    found = study.characterisation
    assert found.arrivals is None
    assert found.hits is not None
    assert found.hits.by_definition["blocks"] == 0
    json.dumps(study.to_dict(), allow_nan=False)


def test_the_mooncake_conversations_to_the_printed_digits() -> None:
    study = study_trace(shared("mooncake/conversation_trace.jsonl.gz"))
    told = study.characterisation.description
    assert (told.requests, told.unique_blocks) == (12_031, 182_790)
    assert f"{told.ideal_hit_ratio_blocks:.4f}" == "0.3664"
    assert f"{told.ideal_hit_ratio_tokens:.4f}" == "0.3736"
    assert study.curves is not None
    row = {share: f"{ratio:.4f}" for share, ratio in study.curves.lru_at_share.items()}
    assert row == {
        "1": "0.0525",
        "5": "0.1958",
        "10": "0.2789",
        "25": "0.3535",
        "50": "0.3631",
        "100": "0.3664",
    }


def test_claude_code_sessions_hit_within_themselves() -> None:
    study = study_trace(shared("weka-claude-code/sessions.jsonl.gz"))
    hits = study.characterisation.hits
    assert hits is not None
    assert hits.session_ratio == pytest.approx(0.963, abs=0.01)
    assert hits.by_definition["blocks"] == pytest.approx(0.963, abs=0.01)


def test_agent_runs_share_their_beginning() -> None:
    found = study_trace(shared("lmcache-agents/miniswe_blk16_cl100k.jsonl.gz")).characterisation
    assert found.turns is not None
    assert found.turns.first_turn_share == pytest.approx(20 / 402)
    assert found.hits is not None
    assert found.hits.within_share is not None
    assert found.hits.within_share > 0.9
