"""Mooncake-style JSON lines: what is read, and which line every malformed file gets."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvsim import TraceError
from kvsim.traces.formats import read_trace, read_traces, write_trace
from kvsim.traces.schema import Sessions

GOOD = {"timestamp": 500, "input_length": 1000, "output_length": 3, "hash_ids": [0, 1]}
MOST = 2147483647
IDS = "a list of integers of at most 64 bits or of strings, alike in all rows"


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_times_in_ms_or_s_and_lengths_and_ids_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl",
        {**GOOD, "timestamp": 1234.5},
        {"arrival": 0.25, "input_length": 600, "output_length": 1, "hash_ids": [0, 2]},
        {"arrival_s": 7, "input_length": 10, "output_length": 2, "hash_ids": []},
    )
    trace = read_trace(path)
    assert trace.name == "a.jsonl"
    assert trace.arrival_s.tolist() == [0.25, 1.2345, 7.0]
    assert trace.input_tokens.tolist() == [600, 1000, 10]
    assert trace.request_id.tolist() == [1, 0, 2]
    assert [trace.ids_of(i).tolist() for i in range(3)] == [[0, 2], [0, 1], []]
    assert trace.covered_tokens.tolist() == [600, 1000, 0]
    assert trace.sessions is Sessions.INFERRED
    assert trace.category_names == ("request",)


def test_equal_arrivals_keep_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [{**GOOD, "timestamp": t, "output_length": n + 1} for n, t in enumerate([5, 0, 5, 0])]
    assert read_trace(written(tmp_path / "a.jsonl", *rows)).output_tokens.tolist() == [2, 4, 1, 3]


def test_full_hash_ids_name_the_output_too(tmp_path: Path) -> None:
    row = {"arrival": 0, "input_length": 5, "output_length": 7, "full_hash_ids": [1, 2, 3]}
    trace = read_trace(written(tmp_path / "a.jsonl", row), block_size=4)
    assert trace.covered_tokens.tolist() == [12]
    short = written(tmp_path / "b.jsonl", {**row, "full_hash_ids": [1, 2]})
    assert read_trace(short, block_size=4).covered_tokens.tolist() == [8]


def test_a_plain_and_a_packed_file_read_alike_whatever_their_names(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.txt", GOOD, {**GOOD, "timestamp": 900, "hash_ids": [0, 7]})
    packed = tmp_path / "a.parquet"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_trace(plain).digest() == read_trace(packed).digest()


def test_blank_lines_a_byte_order_mark_and_a_missing_last_newline_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\n  \n")
    assert len(read_trace(path)) == 1
    path.write_text(f"\n{json.dumps(GOOD)}\n\n{json.dumps({**GOOD, 'timestamp': -1})}")
    with pytest.raises(TraceError, match=r":4: timestamp must be"):
        read_trace(path)


def test_string_ids_and_64_bit_ids_keep_who_shares_what(tmp_path: Path) -> None:
    names = [["a", "b"], ["a", "c"], ["d", "b"]]
    numbers = [[2**64 - 1, 2**63], [2**64 - 1, 3], [2**63 - 1, 5]]
    for i, lists in enumerate((names, numbers)):
        rows = [{**GOOD, "hash_ids": ids} for ids in lists]
        trace = read_trace(written(tmp_path / f"{i}.jsonl", *rows))
        first = [trace.ids_of(row)[0] for row in range(3)]
        second = [trace.ids_of(row)[1] for row in range(3)]
        assert first[0] == first[1] != first[2]
        assert len(set(second)) == 3


def test_sessions_turns_types_and_think_times_are_read(tmp_path: Path) -> None:
    rows = [
        {**GOOD, "timestamp": t, "session": s, "turn": n, "type": k, "think_s": think}
        for t, s, n, k, think in [
            (0, "x", 1, "text", None),
            (1, "y", 1, "file", None),
            (2, "x", 2, "text", 0.5),
            (3, "x", 2, "text", 1),
            (4, "x", 3, "file", None),
        ]
    ]
    trace = read_trace(written(tmp_path / "a.jsonl", *rows))
    assert trace.sessions is Sessions.GIVEN
    assert trace.session.tolist() == [0, 1, 0, 0, 0]
    assert trace.turn.tolist() == [1, 1, 2, 2, 3]
    assert trace.parent.tolist() == [-1, -1, 0, 0, 3]
    assert trace.category_names == ("file", "text")
    assert trace.category.tolist() == [1, 0, 1, 1, 0]
    assert trace.think_s is not None
    np.testing.assert_array_equal(trace.think_s, [np.nan, np.nan, 0.5, 1, np.nan])


def test_sessions_without_turns_are_numbered_in_order(tmp_path: Path) -> None:
    rows = [{**GOOD, "timestamp": t, "session_id": s} for t, s in [(3, 7), (1, 7), (2, 9)]]
    trace = read_trace(written(tmp_path / "a.jsonl", *rows))
    assert trace.session.tolist() == [0, 1, 0]
    assert trace.turn.tolist() == [1, 1, 2]
    assert trace.parent.tolist() == [-1, -1, 0]


def test_requests_without_input_or_output_are_dropped_and_counted(tmp_path: Path) -> None:
    empty = {**GOOD, "input_length": 0, "hash_ids": []}
    silent = {**GOOD, "output_length": 0}
    trace = read_trace(written(tmp_path / "a.jsonl", empty, GOOD, silent, empty))
    assert len(trace) == 1
    assert trace.request_id.tolist() == [1]
    assert trace.dropped == {"no input": 2, "no output": 1}


def test_files_of_one_trace_share_ids_sessions_and_clock(tmp_path: Path) -> None:
    first = written(tmp_path / "1.jsonl", {**GOOD, "session": "s", "hash_ids": ["a", "b"]})
    later = {**GOOD, "session": "s", "hash_ids": ["a", "c"], "timestamp": 100}
    trace = read_traces([first, written(tmp_path / "2.jsonl", later)])
    assert trace.name == "1.jsonl+2.jsonl"
    assert trace.request_id.tolist() == [1, 0]
    assert trace.session.tolist() == [0, 0]
    assert trace.ids_of(0)[0] == trace.ids_of(1)[0]
    bad = written(tmp_path / "3.jsonl", {**later, "input_length": -5})
    with pytest.raises(TraceError, match=r"3\.jsonl:1: input_length must be .*, got -5$"):
        read_traces([first, bad])


BAD_VALUES = [
    ("timestamp", -1, "timestamp must be a number from 0 to 1e+15, got -1"),
    ("timestamp", "5", "timestamp must be a number from 0 to 1e+15, got '5'"),
    ("timestamp", True, "timestamp must be a number from 0 to 1e+15, got True"),
    ("timestamp", float("nan"), "timestamp must be a number from 0 to 1e+15, got nan"),
    ("timestamp", float("inf"), "timestamp must be a number from 0 to 1e+15, got inf"),
    ("timestamp", None, "timestamp must be a number from 0 to 1e+15, got nothing"),
    ("input_length", -1, f"input_length must be an integer from 0 to {MOST}, got -1"),
    ("input_length", 2.5, f"input_length must be an integer from 0 to {MOST}, got 2.5"),
    ("input_length", True, f"input_length must be an integer from 0 to {MOST}, got True"),
    ("input_length", float("nan"), f"input_length must be an integer from 0 to {MOST}, got nan"),
    ("input_length", 10**12, f"input_length must be an integer from 0 to {MOST}, got 1{'0' * 12}"),
    ("input_length", 10**30, f"input_length must be an integer from 0 to {MOST}, got 1e+30"),
    ("output_length", -2, f"output_length must be an integer from 0 to {MOST}, got -2"),
    ("output_length", [1], f"output_length must be an integer from 0 to {MOST}, got [1]"),
    ("hash_ids", 3, f"hash_ids must be {IDS}, got 3"),
    ("hash_ids", None, f"hash_ids must be {IDS}, got nothing"),
    ("hash_ids", [1, "a"], f"hash_ids must be {IDS}, got [1, 'a']"),
    ("hash_ids", ["a"], f"hash_ids must be {IDS}, got ['a']"),
    ("hash_ids", [1, True], f"hash_ids must be {IDS}, got [1, True]"),
    ("hash_ids", [1.5], f"hash_ids must be {IDS}, got [1.5]"),
    ("hash_ids", [[1]], f"hash_ids must be {IDS}, got [[1]]"),
    ("hash_ids", [2**64], f"hash_ids must be {IDS}, got [1.8446744073709552e+19]"),
    (
        "hash_ids",
        [1, 2, 3],
        "block ids must be at most 2 ids for 1000 tokens in blocks of 512, got 3",
    ),
]


@pytest.mark.parametrize(("field", "value", "message"), BAD_VALUES)
def test_a_bad_value_is_named_with_file_and_row(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    path = written(tmp_path / "bad.jsonl", GOOD, GOOD, {**GOOD, field: value}, GOOD)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value) == f"{path}:3: {message}"


BAD_OPTIONS = [
    ("session", [True, True], "1: session must be a string or an integer, alike in all rows, got"),
    ("session", ["a", 1], "2: session must be a string or an integer, alike in all rows, got 1"),
    ("session", [1, None], "2: session must be a string or an integer, alike in all rows, got not"),
    ("session", [1, 2**63], "2: session must be an integer of at most 64 bits, got 922337203685"),
    ("type", ["a", 1], "2: type must be a string, got 1"),
    ("type", ["a", "b" * 300], "2: type must be a string of at most 256 characters, got 'bbb"),
    ("think_s", [0.5, -1], "2: think_s must be a number from 0 to 1e+12, got -1"),
    ("think_s", [None, "x"], "2: think_s must be a number from 0 to 1e+12, got 'x'"),
    ("turn", [1, 0], f"2: turn must be an integer from 1 to {MOST}, got 0"),
    ("request_id", ["a", "a"], "2: request_id must be unique in the trace, got 'a'"),
    ("request_id", [3, 3], "2: request_id must be unique in the trace, got 3"),
]


@pytest.mark.parametrize(("field", "values", "message"), BAD_OPTIONS)
def test_a_bad_optional_value_is_named_with_file_and_row(
    tmp_path: Path, field: str, values: list[object], message: str
) -> None:
    path = written(tmp_path / "bad.jsonl", *({**GOOD, field: value} for value in values))
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}:{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["timestamp", "input_length", "output_length"])
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    lacking = {key: value for key, value in GOOD.items() if key != field}
    path = written(tmp_path / "bad.jsonl", GOOD, lacking)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value) == f"{path}:2: {field} must be given, got nothing"


def test_an_optional_field_is_in_every_row_or_in_none(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", GOOD, {**GOOD, "turn": 1})
    with pytest.raises(TraceError, match=r"a.jsonl:2: turn must be given in every row or in none"):
        read_trace(path)


def test_ids_with_and_without_a_sign_do_not_mix(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl", {**GOOD, "hash_ids": [-1]}, {**GOOD, "hash_ids": [2**64 - 1]}
    )
    with pytest.raises(TraceError, match=r"block ids must be all below 2\*\*63 or none below 0"):
        read_trace(path, block_size=1024)


def zstd(contents: bytes) -> bytes:
    packed: bytes = pa.compress(contents, "zstd", asbytes=True)
    return packed


GOOD_LINE = json.dumps(GOOD).encode() + b"\n"
BAD_FILES = [
    (b"", "a trace needs at least 1 request, got an empty file"),
    (b"\n \n", "a trace needs at least 1 request, got an empty file"),
    (GOOD_LINE + b"{", ":2: line must be a JSON object, got '{'"),
    (GOOD_LINE + GOOD_LINE[:-3], ":2: line must be a JSON object, got '{"),
    (GOOD_LINE + b'{"hash_ids": [1]', ":2: line must be a JSON object, got '{"),
    (GOOD_LINE + GOOD_LINE.replace(b"0, 1]", b"0 1]"), ":2: line must be a JSON object, got '{"),
    (GOOD_LINE + GOOD_LINE.replace(b"0, 1]", b"0, 1,]"), ":2: line must be a JSON object, got '{"),
    (GOOD_LINE + GOOD_LINE.replace(b"0, 1]", b"0, 01]"), ":2: line must be a JSON object, got '{"),
    (GOOD_LINE + b"[1]\n", ":2: line must be a JSON object, got '[1]'"),
    (GOOD_LINE + b"null\n", ":2: line must be a JSON object, got 'null'"),
    (GOOD_LINE + b'{"a": "\xff"}\n', ":2: line must be a JSON object, got '{"),
    (GOOD_LINE + b'{"a": ' + b"[" * 5000 + b"\n", ":2: line must be a JSON object, got '{"),
    (b"\x00\x01\x02garbage", "must be a known trace format: one of parquet, "),
    (b"[1, 2]", "must be a known trace format: one of parquet, "),
    (b'{"chat_id": 1, "timestamp": 2}\n', ":1: hash_ids must be a list of integers"),
    (gzip.compress(GOOD_LINE * 500)[:-20], "gzip data must be complete, got a truncated file"),
    (gzip.compress(b"", mtime=0), "a trace needs at least 1 request, got an empty file"),
    (b"\x1f\x8b garbage", "gzip data must be intact, got damage"),
    (zstd(GOOD_LINE * 500)[:-20], "zstd data must be intact and complete: "),
    (zstd(b""), "a trace needs at least 1 request, got an empty file"),
    (b"\x28\xb5\x2f\xfd garbage", "zstd data must be intact and complete: "),
    (
        GOOD_LINE.replace(b"1000", b"0") + GOOD_LINE.replace(b": 3", b": 0"),
        "got none but requests that cannot run: 1 with no input, 1 with no output",
    ),
]


@pytest.mark.parametrize(("contents", "message"), BAD_FILES)
def test_a_bad_file_gets_one_line_that_names_it(
    tmp_path: Path, contents: bytes, message: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(contents)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_opened_gets_one_line(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "is a directory"), (tmp_path / "no", "no such file or directory")):
        with pytest.raises(TraceError) as caught:
            read_trace(path)
        assert str(caught.value) == f"{path}: cannot be read: {why}"


def test_a_block_size_out_of_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="block size must be from 1 to 2147483647, got 0"):
        read_trace(written(tmp_path / "a.jsonl", GOOD), block_size=0)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_is_written_reads_back(tmp_path: Path, name: str) -> None:
    rows = [
        {"arrival": t, "input_length": 20, "output_length": 9, "session": s, "turn": n, "type": k}
        | {"think_s": think, "request_id": f"r{t}", ids: [1, 2, 3]}
        for t, s, n, k, think, ids in [
            (0.1, "x", 1, "a", None, "hash_ids"),
            (1 / 3, "x", 2, "b", 2.5, "full_hash_ids"),
        ]
    ]
    trace = read_trace(written(tmp_path / "in.jsonl", *rows), block_size=8)
    write_trace(trace, tmp_path / name, "mooncake")
    again = read_trace(tmp_path / name, block_size=8)
    assert again.digest() == trace.digest()
    assert again.request_id.tolist() == ["r0.1", f"r{1 / 3}"]
    before = (tmp_path / name).read_bytes()
    write_trace(again, tmp_path / name, "mooncake")
    assert (tmp_path / name).read_bytes() == before


QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
FIELDS = [*GOOD, "full_hash_ids", "arrival", "session", "turn", "type", "think_s", "request_id"]


def refused_in_one_line(path: Path) -> None:
    try:
        trace = read_trace(path)
    except TraceError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert len(trace) >= 1


@QUICK
@given(contents=st.binary(max_size=200), start=st.sampled_from([b"", b"{", b"\x1f\x8b", b"PAR1"]))
def test_any_bytes_are_read_or_refused_in_one_line(
    tmp_path: Path, contents: bytes, start: bytes
) -> None:
    path = tmp_path / "fuzz"
    path.write_bytes(start + contents)
    refused_in_one_line(path)


@QUICK
@given(changes=st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3), max_size=4))
def test_any_values_are_read_or_refused_in_one_line(
    tmp_path: Path, changes: list[dict[str, object]]
) -> None:
    refused_in_one_line(written(tmp_path / "fuzz", GOOD, *({**GOOD, **row} for row in changes)))


@QUICK
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    contents = bytearray(GOOD_LINE * 5)
    contents = bytearray(data.draw(st.sampled_from([bytes, gzip.compress, zstd]))(contents))
    for _ in range(data.draw(st.integers(1, 4))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "fuzz"
    path.write_bytes(contents[: data.draw(st.integers(1, len(contents)))])
    refused_in_one_line(path)
