"""Every format of the registry: what its example file is read as, and that nothing breaks it."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvsim import ConfigError, KvsimError, TraceError
from kvsim.traces.build import NO_IDS
from kvsim.traces.formats import (
    FORMATS,
    format_of_name,
    read_trace,
    read_traces,
    recognise,
    write_trace,
)
from kvsim.traces.formats.registry import settings_of
from kvsim.traces.schema import Sessions

DATA = Path(__file__).resolve().parents[1] / "data/formats"
EXAMPLES = {
    "agentic_mooncake.jsonl": "agentic-mooncake",
    "azure_2023.csv": "azure",
    "azure_2024.csv": "azure",
    "burstgpt_1.csv": "burstgpt",
    "burstgpt_3.csv": "burstgpt",
    "client-0-trace.csv": "servegen",
    "client-0-dataset.json": "servegen",
    "dynamo.jsonl": "dynamo",
    "kv_events.jsonl": "kv-events",
    "lmcache_agents.jsonl": "lmcache-agents",
    "lmcache_agents_gaps.jsonl": "lmcache-agents",
    "lmcache_lookups.jsonl": "lmcache-lookups",
    "qwen_bailian.jsonl": "qwen-bailian",
    "sglang_bench.jsonl": "benchmark",
    "sharegpt.json": "sharegpt",
    "vidur.csv": "vidur",
    "vllm_bench.json": "benchmark",
}


@pytest.mark.parametrize(("file", "format_"), EXAMPLES.items())
def test_a_file_is_known_by_its_contents(file: str, format_: str, tmp_path: Path) -> None:
    assert recognise(DATA / file) == format_
    if format_ == "servegen":
        return  # its two files find each other by name
    packed = tmp_path / "anything"
    contents = (DATA / file).read_bytes()
    for data in (gzip.compress(contents), pa.compress(contents, "zstd", asbytes=True)):
        packed.write_bytes(data)
        assert read_trace(packed).digest() == read_trace(DATA / file).digest()


def test_azure_dates_become_seconds_from_the_first() -> None:
    trace = read_trace(DATA / "azure_2023.csv")
    assert trace.arrival_s.tolist() == [0, 4.314579, 4.541877]
    assert trace.input_tokens.tolist() == [374, 396, 879]
    assert trace.output_tokens.tolist() == [44, 109, 55]
    assert trace.sessions is Sessions.NONE
    assert NO_IDS in trace.notes
    later = read_trace(DATA / "azure_2024.csv")
    assert later.arrival_s.tolist() == [0, 0.007405]
    assert later.dropped == {"no output": 1}


def test_burstgpt_has_log_types_and_in_newer_files_sessions() -> None:
    old = read_trace(DATA / "burstgpt_1.csv")
    assert old.category_names == ("API log", "Conversation log")
    assert old.category.tolist() == [1, 1, 0]
    assert old.dropped == {"no output": 1}
    new = read_trace(DATA / "burstgpt_3.csv")
    assert new.arrival_s.tolist() == [0, 51, 90]
    assert new.parent.tolist() == [-1, -1, 0]
    assert new.recorded_e2e_s is not None
    assert new.recorded_e2e_s.tolist() == [43, 2, 7.5]


def test_bailian_ids_are_chained_and_outputs_come_from_the_child() -> None:
    trace = read_trace(DATA / "qwen_bailian.jsonl")
    assert trace.block_size == 16
    assert trace.parent.tolist() == [-1, -1, 0, 1]
    assert trace.turn.tolist() == [1, 1, 2, 2]
    first, other, child, cut = (trace.ids_of(i).tolist() for i in range(4))
    assert not set(first) & set(other)  # content 2 after 1 is not content 2 at the start
    assert first == child[:4]  # 40 + 30 tokens: four full blocks, two of them from the child
    assert trace.covered_tokens.tolist() == [64, 35, 100, 36]
    assert cut[:2] == other[:2]  # its child is too short to hold the output, so shows nothing
    plain = read_trace(DATA / "qwen_bailian.jsonl", settings={"output_blocks": "false"})
    assert plain.covered_tokens.tolist() == [40, 35, 100, 36]
    assert len(plain.ids_of(0)) == 3


def test_a_bailian_parent_that_is_absent_is_noted(tmp_path: Path) -> None:
    lines = (DATA / "qwen_bailian.jsonl").read_text().splitlines()
    path = tmp_path / "cut.jsonl"
    path.write_text("\n".join(lines[1:]))
    trace = read_trace(path)
    assert trace.parent.tolist() == [-1, -1, 0]
    assert trace.notes == ("1 parents are not in the file",)


def test_lookups_have_chunks_and_one_token_of_output() -> None:
    trace = read_trace(DATA / "lmcache_lookups.jsonl")
    assert trace.arrival_s.tolist() == [0, 2.5]
    assert trace.block_size == 256
    assert trace.covered_tokens.tolist() == [512, 512]
    assert trace.output_tokens.tolist() == [1, 1]
    assert trace.ids_of(0)[0] == trace.ids_of(1)[0]
    assert trace.dropped == {"looked up again": 1}


def test_agent_texts_share_their_prefix_and_microseconds_are_told() -> None:
    trace = read_trace(DATA / "lmcache_agents.jsonl")
    assert trace.arrival_s.tolist() == pytest.approx([0, 3.432151])
    assert trace.parent.tolist() == [-1, 0]
    n = len(trace.ids_of(0))
    assert n == 2
    assert trace.ids_of(1)[:n].tolist() == trace.ids_of(0).tolist()
    gaps = read_trace(DATA / "lmcache_agents_gaps.jsonl", settings={"output_tokens_per_s": "50"})
    assert np.diff(gaps.arrival_s).tolist() == pytest.approx([50 / 50 + 0.5])
    assert gaps.think_s is not None
    assert gaps.think_s.tolist() == [0, 0.5]


def test_agentic_mooncake_follows_dependencies_and_keeps_plays_apart() -> None:
    trace = read_trace(DATA / "agentic_mooncake.jsonl")
    row = {name: i for i, name in enumerate(trace.request_id.tolist())}
    at = trace.arrival_s
    assert at[row["p0:r1"]] - at[row["p0:r0"]] == pytest.approx(2.5)
    assert at[row["p0:r2"]] - at[row["p0:r0"]] == pytest.approx(0.1)
    assert trace.parent[row["p0:r1"]] == row["p0:r0"]
    assert trace.think_s is not None
    assert trace.think_s[row["p0:r1"]] == 0.5
    first = trace.ids_of(row["p0:r0"])
    assert first[0] == trace.ids_of(row["p0:r2"])[0] != trace.ids_of(row["p1:r0"])[0]
    assert trace.block_size == 64


def test_dynamo_events_are_requests_where_they_have_replay_data() -> None:
    trace = read_trace(DATA / "dynamo.jsonl")
    assert trace.arrival_s.tolist() == [0, 2]
    assert trace.request_id.tolist() == ["a", "b"]
    assert trace.ids_of(0)[:2].tolist() == trace.ids_of(1).tolist()
    assert trace.category_names == ("agent", "sub-agent")
    assert trace.dropped == {"no replay data": 1}
    assert trace.recorded_e2e_s is not None
    np.testing.assert_array_equal(trace.recorded_e2e_s, [1.0, np.nan])


def packed(value: Any) -> bytes:
    """Encode the values that KV events use as MessagePack."""
    if value is None:
        return b"\xc0"
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value.encode())]) + value.encode()
    if isinstance(value, dict):
        items = b"".join(packed(k) + packed(v) for k, v in value.items())
        return bytes([0x80 | len(value)]) + items
    return bytes([0x90 | len(value)]) + b"".join(map(packed, value))


def test_kv_events_are_put_together_to_requests_in_both_encodings(tmp_path: Path) -> None:
    import json

    trace = read_trace(DATA / "kv_events.jsonl")
    assert trace.arrival_s.tolist() == [0, 1, 30]
    assert trace.input_tokens.tolist() == [80, 48, 128]  # two chunks; a branch; a next turn
    assert trace.output_tokens.tolist() == [16, 1, 1]
    assert trace.ids_of(1)[:2].tolist() == trace.ids_of(0)[:2].tolist()
    assert trace.ids_of(2)[:6].tolist() == trace.ids_of(0).tolist()
    path = tmp_path / "events.bin"
    lines = (DATA / "kv_events.jsonl").read_text().splitlines()
    path.write_bytes(b"".join(packed(json.loads(line)) for line in lines))
    assert read_trace(path).digest() == trace.digest()
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(TraceError, match=r"events.bin: value 5 must be MessagePack: the file ends"):
        read_trace(path)


def test_benchmark_results_keep_start_times_or_draw_them() -> None:
    vllm = read_trace(DATA / "vllm_bench.json")
    assert vllm.arrival_s.tolist() == [0, 0.5]
    assert vllm.recorded_e2e_s is not None
    assert vllm.recorded_e2e_s.tolist() == pytest.approx([0.14, 0.3])
    assert vllm.dropped == {"no output": 1}
    sglang = read_trace(DATA / "sglang_bench.jsonl")
    assert sglang.arrival_s.tolist()[:2] == [0, 0]  # an infinite rate
    assert sglang.arrival_s[2] == pytest.approx(0.7)  # the second run starts when the first ends
    assert any("drawn" in note for note in sglang.notes)


def test_conversations_become_growing_prompts() -> None:
    trace = read_trace(DATA / "sharegpt.json", settings={"think_s": "0"})
    turns = {(s, t): i for i, (s, t) in enumerate(zip(trace.session, trace.turn, strict=True))}
    assert len(trace) == 4
    first = next(i for i in range(4) if trace.turn[i] == 2)
    parent = int(trace.parent[first])
    assert turns[int(trace.session[first]), 1] == parent
    assert trace.input_tokens[first] > trace.input_tokens[parent] + trace.output_tokens[parent]
    whole = (trace.input_tokens[parent] + trace.output_tokens[parent]) // 16
    assert trace.ids_of(first)[:whole].tolist() == trace.ids_of(parent)[:whole].tolist()
    shared = [int(trace.ids_of(i)[0]) for i in range(4) if len(trace.ids_of(i))]
    assert len(set(shared)) == 1  # two people ask the same
    with pytest.raises(ConfigError, match="tokens_per_word must be from"):
        read_trace(DATA / "sharegpt.json", settings={"tokens_per_word": "0"})


def test_servegen_clients_are_drawn_at_their_rates() -> None:
    trace = read_trace(DATA / "client-0-trace.csv", settings={"duration_s": "1200"})
    again = read_trace(DATA / "client-0-dataset.json", settings={"duration_s": "1200"})
    assert trace.digest() == again.digest()
    assert trace.arrival_s.min() >= 600
    assert len(trace) == pytest.approx(600 * 1.1667, rel=0.15)
    assert set(trace.input_tokens.tolist()) == {193, 322}
    assert (trace.input_tokens == 322).mean() == pytest.approx(0.75, abs=0.06)
    assert trace.category_names == ("client-0",)
    other = read_trace(DATA / "client-0-trace.csv", settings={"seed": "1", "duration_s": "1200"})
    assert other.digest() != trace.digest()


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="vidur has no setting 'seed'; it has: none"):
        read_trace(DATA / "vidur.csv", settings={"seed": "1"})
    with pytest.raises(ConfigError, match="seed must be a whole number, got 'x'"):
        read_trace(DATA / "sharegpt.json", settings={"seed": "x"})
    with pytest.raises(ConfigError, match="output_blocks must be true or false"):
        read_trace(DATA / "qwen_bailian.jsonl", settings={"output_blocks": "maybe"})
    assert settings_of("weka")["shared_prefix"] is False


BAD_ROWS = [
    ("azure_2023.csv", "374,44", "x,44", r":2: ContextTokens must be an integer from 0"),
    ("azure_2023.csv", "374,44", "-1,44", r":2: ContextTokens must be an integer from 0"),
    ("azure_2023.csv", "396,109", "396,1.5", r":3: GeneratedTokens must be an integer .*, got"),
    ("azure_2023.csv", "2023-11-16 18:15:50", "16.11.2023", r":3: TIMESTAMP must be a date and"),
    ("azure_2023.csv", "396,109", "396", r"must be intact CSV: .*Expected 3 columns, got 2"),
    (
        "burstgpt_1.csv",
        "45,",
        "nan,",
        r":3: Timestamp must be a number from 0 to 1e\+12, got 'nan'",
    ),
    ("vidur.csv", "0.125", "inf", r":3: arrived_at must be a number from 0"),
    ("qwen_bailian.jsonl", '"turn": 2', '"turn": 0', r":3: turn must be an integer from 1"),
    (
        "lmcache_lookups.jsonl",
        '"chunk_size": 256, "seq_len": 512',
        '"chunk_size": 128, "seq_len": 512',
        r":3: chunk_size must be .* the same in all rows, got 128",
    ),
    (
        "dynamo.jsonl",
        '"trace_block_size": 64, "input_length": 128',
        '"trace_block_size": 0, "input_length": 128',
        r":3: trace_block_size must be",
    ),
    (
        "dynamo.jsonl",
        '{"timestamp": 1, "event": {"schema": "dynamo.request.trace.v1"',
        '{"timestamp": 1, "event": {"schema": "v9"',
        r":3: schema must be dynamo.request.trace.v1",
    ),
    ("agentic_mooncake.jsonl", '"version": 2', '"version": 3', r":1: version must be 2, got 3"),
    ("agentic_mooncake.jsonl", '"not_before_ms": 100', '"not_before_ms": -1', r":4: not_before_ms"),
    ("kv_events.jsonl", '"ts": 101.0', '"ts": "x"', r":4: ts must be a number"),
    ("kv_events.jsonl", '"block_hashes": [7]', '"block_hashes": 7', r":4: block_hashes must be"),
    ("vllm_bench.json", "[10, 20, 30]", "[10, 20]", r"output_lens must be a list of 2 values"),
    ("vllm_bench.json", "[10, 20, 30]", "[10, 2.5, 30]", r"input_lens\[1\] must be an integer"),
    ("sharegpt.json", '"value": "and then"', '"value": 5', r":1: conversations must be of strings"),
    (
        "lmcache_agents.jsonl",
        '"session_id": "a"',
        '"session_id": []',
        r":1: session_id must be a st",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "told"), BAD_ROWS)
def test_a_bad_row_is_named(file: str, old: str, new: str, told: str, tmp_path: Path) -> None:
    text = (DATA / file).read_text()
    assert old in text
    path = tmp_path / file
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(TraceError, match=told) as caught:
        read_trace(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("file", sorted(EXAMPLES))
@QUICK
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(
    file: str, tmp_path: Path, data: st.DataObject
) -> None:
    contents = bytearray((DATA / file).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(contents) - 1))
        if data.draw(st.booleans()):
            contents[at] = data.draw(st.sampled_from(b'0123456789-.,:"[]{}\n\\nulltrue\x00\xff'))
        else:
            del contents[at : at + data.draw(st.integers(1, 40))]
        if not contents:
            contents = bytearray(b"\n")
    path = tmp_path / file
    path.write_bytes(contents)
    if file.startswith("client-0"):
        pair = "client-0-trace.csv" if "dataset" in file else "client-0-dataset.json"
        (tmp_path / pair).write_bytes((DATA / pair).read_bytes())
    try:
        trace = read_trace(path)
    except KvsimError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert len(trace) >= 1


@QUICK
@given(contents=st.binary(max_size=300))
def test_any_bytes_after_a_kv_event_are_refused_in_one_line(
    tmp_path: Path, contents: bytes
) -> None:
    path = tmp_path / "events"
    path.write_bytes(packed([1.0, [["BlockStored", [1, 2], None, [], 16]]]) + contents)
    try:
        read_trace(path)
    except TraceError as error:
        assert "\n" not in str(error)  # noqa: PT017


NUMBERS = st.lists(st.integers(-5, 2**64 - 1) | st.integers(0, 99), max_size=6)


@QUICK
@given(
    lists=st.lists(NUMBERS, min_size=1, max_size=8),
    blank=st.sampled_from(["", " ", "\t", "\r"]),
    is_spread=st.booleans(),
    ends=st.booleans(),
)
def test_ids_read_in_compiled_code_are_those_of_the_parser(
    lists: list[list[int]], blank: str, is_spread: bool, ends: bool
) -> None:
    import orjson

    from kvsim.traces.formats.id_text import split_off

    separator = f"{blank},{blank}" if is_spread else ","
    lines = [
        f'{{"a":1,"hash_ids":{blank if blank == " " else ""}[{blank}{separator.join(map(str, ids))}'
        f'{blank}],"b":"x[]"}}'
        for ids in lists
    ]
    block = ("\n".join(lines) + "\n" * ends).encode()
    found = split_off(block, "hash_ids")
    if any(not 0 <= value < 10**18 for ids in lists for value in ids):
        assert found is None
        return
    assert found is not None
    rows, ids, n_ids = found
    assert rows == [{"a": 1, "b": "x[]"}] * len(lists)
    assert ids.tolist() == [value for one in lists for value in one]
    assert n_ids.tolist() == [len(orjson.loads(line)["hash_ids"]) for line in lines]


ROW = st.fixed_dictionaries(
    {
        "gap_ms": st.integers(0, 5000),
        "input": st.integers(1, 200),
        "output": st.integers(1, 100),
        "session": st.integers(0, 4),
        "kind": st.sampled_from(["text", "file"]),
    }
)


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.jsonl.gz", "t.csv", "bailian"])
@QUICK
@given(rows=st.lists(ROW, min_size=1, max_size=30))
def test_what_is_written_is_read_again(
    name: str, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    import json

    source = tmp_path / "in.jsonl"
    at, lines, context = 0, [], dict[int, int]()
    for row in rows:
        at += row["gap_ms"]
        session = row["session"]
        context[session] = context.get(session, 0) + row["input"]
        ids = [session * 10_000 + k for k in range(-(-context[session] // 16))]
        lines.append(
            {
                "timestamp": at,
                "input_length": context[session],
                "output_length": row["output"],
                "session": session,
                "type": row["kind"],
                "hash_ids": ids,
            }
        )
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    trace = read_trace(source, block_size=16, settings={"time_unit": "ms"})
    target = tmp_path / name
    kind = "qwen-bailian" if name == "bailian" else format_of_name(target)
    write_trace(trace, target, kind)
    before = target.read_bytes()
    own_size = {} if name.endswith(("parquet", "csv")) else {"block_size": 16}
    again = read_trace(target, **own_size)
    assert again.input_tokens.tolist() == trace.input_tokens.tolist()
    assert again.output_tokens.tolist() == trace.output_tokens.tolist()
    if name == "t.csv":
        np.testing.assert_allclose(again.arrival_s, trace.arrival_s - trace.arrival_s[0])
        assert again.parent.tolist() == trace.parent.tolist()
    elif name == "bailian":
        assert again.arrival_s.tolist() == trace.arrival_s.tolist()
        assert again.parent.tolist() == trace.parent.tolist()
        prompt = -(-trace.input_tokens // 16)
        for i in range(len(trace)):
            mine, theirs = trace.ids_of(i), again.ids_of(i)
            assert len(theirs) >= prompt[i] == len(mine)
    else:
        assert again.digest() == trace.digest()
    write_trace(again, target, kind)
    if name != "bailian":  # its reader adds the outputs that children show
        assert target.read_bytes() == before


def test_the_writer_is_chosen_by_the_names_end(tmp_path: Path) -> None:
    assert format_of_name("a.parquet") == "parquet"
    assert format_of_name("a.JSONL.gz") == "mooncake"
    assert format_of_name("a.csv") == "vidur"
    with pytest.raises(ConfigError, match=r"a\.txt: the name must end in one of \.parquet, "):
        format_of_name("a.txt")
    with pytest.raises(ConfigError, match="trace format must be one of mooncake, "):
        write_trace(read_trace(DATA / "vidur.csv"), tmp_path / "x", "azure")


def test_files_of_two_formats_are_no_trace() -> None:
    with pytest.raises(TraceError, match="must have one format, here azure like"):
        read_traces([DATA / "azure_2023.csv", DATA / "vidur.csv"])


SHARED = Path(__file__).resolve().parents[3] / "shared/traces"


@pytest.mark.skipif(not SHARED.exists(), reason="needs the public traces in ../shared/traces")
def test_real_files_are_read() -> None:
    azure = read_trace(SHARED / "azure-2023/AzureLLMInferenceTrace_conv.csv.gz")
    assert len(azure) == 19_366
    assert 57 * 60 < azure.arrival_s[-1] < 60 * 60
    agents = read_trace(SHARED / "lmcache-agents/miniswe_blk16_cl100k.jsonl.gz")
    assert agents.notes == ()  # milliseconds, as the recording's own microseconds show
    assert agents.arrival_s[2] == pytest.approx(3.432151)


def test_every_format_has_an_example() -> None:
    assert {*EXAMPLES.values(), "parquet", "mooncake", "weka"} == set(FORMATS)
