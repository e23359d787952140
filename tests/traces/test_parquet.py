"""Parquet: what is written reads back exactly, and what is malformed gets one line."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvsim import ConfigError, OutputError, TraceError
from kvsim.traces.formats import read_trace, read_traces, write_trace
from kvsim.traces.sample import sample_path
from kvsim.traces.schema import Sessions, Trace

ROOT = Path(__file__).resolve().parents[2]


def assert_equal(one: Trace, other: Trace) -> None:
    for column in fields(Trace):
        a, b = getattr(one, column.name), getattr(other, column.name)
        if isinstance(a, np.ndarray):
            assert a.dtype.kind == b.dtype.kind, column.name
            np.testing.assert_array_equal(a, b, err_msg=column.name)
        else:
            assert a == b, column.name


def trace_of(**changes: object) -> Trace:
    trace = Trace(
        name="small",
        block_size=4,
        request_id=np.array(["a", "b", "c"]),
        arrival_s=np.array([0.5, 0.5, 1 / 3 + 1]),
        input_tokens=np.array([8, 9, 4]),
        output_tokens=np.array([1, 2, 3]),
        parent=np.array([-1, -1, 0]),
        session=np.array([0, 1, 0]),
        turn=np.array([1, 1, 2]),
        category=np.array([1, 1, 0]),
        category_names=("chat", "code", "unused"),
        block_ids=np.array([0, 1, 0, 1, -5, 7]),
        block_offsets=np.array([0, 2, 5, 6]),
        covered_tokens=np.array([8, 9, 4]),
        sessions=Sessions.GIVEN,
        think_s=np.array([np.nan, np.nan, 0.25]),
        dropped={"no input": 2},
    )
    return replace(trace, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"think_s": None, "request_id": np.array([5, 3, -4])},
        {"sessions": Sessions.INFERRED, "dropped": {}},
        {"covered_tokens": np.array([7, 11, 4])},
        {"block_ids": np.zeros(0, np.int64), "block_offsets": np.zeros(4, np.int64)}
        | {"covered_tokens": np.zeros(3, np.int64)},
    ],
)
def test_what_is_written_reads_back_exactly(tmp_path: Path, changes: dict[str, object]) -> None:
    trace = trace_of(**changes)
    write_trace(trace, tmp_path / "a.bin")
    assert_equal(read_trace(tmp_path / "a.bin"), trace)


def test_equal_traces_give_equal_bytes(tmp_path: Path) -> None:
    trace = read_trace(sample_path())
    write_trace(trace, tmp_path / "a.parquet")
    write_trace(read_trace(tmp_path / "a.parquet"), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_ids_are_packed_as_differences(tmp_path: Path) -> None:
    write_trace(trace_of(), tmp_path / "a.parquet")
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    leaf = group.column(group.num_columns - 1)
    assert leaf.path_in_schema == "block_ids.list.element"
    assert "DELTA_BINARY_PACKED" in leaf.encodings
    assert leaf.compression == "ZSTD"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    with pytest.raises(OutputError, match=r"taken: cannot be written: is a directory"):
        write_trace(trace_of(), target)
    with pytest.raises(OutputError, match=r"cannot be written: .*no such file or directory"):
        write_trace(trace_of(), tmp_path / "absent" / "a.parquet")
    with pytest.raises(ConfigError, match="trace format must be one of mooncake, parquet, "):
        write_trace(trace_of(), tmp_path / "a", "csv")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_files_of_one_trace_are_sorted_together_and_keep_their_sessions_apart(
    tmp_path: Path,
) -> None:
    write_trace(trace_of(), tmp_path / "a.parquet")
    later = trace_of(arrival_s=np.array([0.6, 0.7, 9.0]), dropped={"no output": 1})
    write_trace(later, tmp_path / "b.parquet")
    with pytest.raises(TraceError, match=r"b.parquet:1: request_id must be unique"):
        read_traces([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    numbers = {"request_id": np.arange(3)}
    write_trace(replace(trace_of(), **numbers), tmp_path / "a.parquet")
    write_trace(replace(later, **numbers), tmp_path / "b.parquet")
    trace = read_traces([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert trace.request_id.tolist() == [0, 1, 3, 4, 2, 5]
    assert trace.session.tolist() == [0, 1, 2, 3, 0, 2]
    assert trace.parent.tolist() == [-1, -1, -1, -1, 0, 2]
    assert trace.dropped == {"no input": 2, "no output": 1}
    write_trace(trace_of(block_size=8, covered_tokens=np.array([8, 9, 4])), tmp_path / "c.parquet")
    with pytest.raises(TraceError, match=r"block_size must be 4, as in .*a.parquet, got 8"):
        read_traces([tmp_path / "a.parquet", tmp_path / "c.parquet"])


def test_files_of_one_trace_have_one_format(tmp_path: Path) -> None:
    write_trace(trace_of(), tmp_path / "a.parquet")
    write_trace(trace_of(), tmp_path / "b.jsonl", "mooncake")
    with pytest.raises(TraceError, match=r"b.jsonl: files of one trace must have one format"):
        read_traces([tmp_path / "a.parquet", tmp_path / "b.jsonl"])


def foreign(path: Path, **changes: object) -> Path:
    columns = {
        "timestamp": [2000, 0],
        "input_length": [1000, 600],
        "output_length": [5, 6],
        "hash_ids": [[1, 2], [1, 3]],
        "session": ["x", "y"],
        "type": ["text", "file"],
        **changes,
    }
    table = pa.table({name: column for name, column in columns.items() if column is not None})
    pq.write_table(table, path)
    return path


def test_columns_with_mooncake_names_are_read(tmp_path: Path) -> None:
    trace = read_trace(foreign(tmp_path / "a.parquet"))
    assert trace.block_size == 512
    assert trace.arrival_s.tolist() == [0.0, 2.0]
    assert trace.input_tokens.tolist() == [600, 1000]
    assert trace.block_ids.tolist() == [1, 3, 1, 2]
    assert trace.category_names == ("file", "text")
    assert trace.sessions is Sessions.GIVEN
    inferred = read_trace(foreign(tmp_path / "b.parquet", session=None))
    assert inferred.sessions is Sessions.INFERRED


BAD_COLUMNS = [
    ({"input_length": [1, -1]}, ":2: input_length must be an integer from 0 to 2147483647, got -1"),
    ({"input_length": [1.0, 2.0]}, ": input_length must be a column of integers, got 'double'"),
    ({"input_length": [True, False]}, ": input_length must be a column of integers, got 'bool'"),
    ({"input_length": [1, None]}, ":2: input_length must be given in every row, got nothing"),
    ({"output_length": [-3, 1]}, ":1: output_length must be an integer from 0 to 2147483647"),
    ({"timestamp": [float("nan"), 1.0]}, ":1: timestamp must be a number from 0 to 1e+15, got nan"),
    ({"timestamp": [float("inf"), 1.0]}, ":1: timestamp must be a number from 0 to 1e+15, got inf"),
    ({"timestamp": [1.0, -0.5]}, ":2: timestamp must be a number from 0 to 1e+15, got -0.5"),
    ({"timestamp": ["1", "2"]}, ": timestamp must be a column of numbers, got 'string'"),
    ({"hash_ids": [[1], None]}, ":2: hash_ids must be a list of integers, got nothing"),
    ({"hash_ids": [[1], [None]]}, ":2: hash_ids must be a list of integers, got nothing"),
    ({"hash_ids": [["a"], []]}, ": hash_ids must be a column of lists of integers, got 'list<"),
    ({"hash_ids": [1, 2]}, ": hash_ids must be a column of lists of integers, got 'int64'"),
    ({"hash_ids": None}, ": block_ids must be a column, got timestamp, input_length"),
    ({"timestamp": None}, ": arrival_s must be a column, got input_length"),
    ({"type": [1, 2]}, ": type must be a column of strings, got 'int64'"),
    ({"type": ["a", None]}, ":2: type must be given in every row, got nothing"),
    ({"turn": [1, 0]}, ":2: turn must be an integer from 1 to 2147483647, got 0"),
    ({"think_s": [-1.0, None]}, ":1: think_s must be a number from 0 to 1e+12, or null, got -1.0"),
    ({"request_id": ["a", "a"]}, ":2: request_id must be unique in the trace, got 'a'"),
    ({"covered_tokens": [1006, 600]}, ":1: covered_tokens must be at most 1005, the tokens of"),
    ({"parent_id": [None, 5]}, ":2: parent_id must be a row from 0 to 1, or null, got 5"),
    (
        {"parent_id": [None, 0], "turn": [1, 2]},
        ":2: parent_id must be an earlier row of the session, got 0",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD_COLUMNS)
def test_a_bad_column_is_named_with_file_and_row(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = foreign(tmp_path / "bad.parquet", **changes)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_ids_and_block_size_must_agree(tmp_path: Path) -> None:
    path = foreign(tmp_path / "bad.parquet", hash_ids=[[1, 2, 3], [1, 2]])
    with pytest.raises(TraceError) as caught:
        read_trace(path, block_size=512)
    assert str(caught.value) == (
        f"{path}:1: block ids must be at most 2 ids for 1000 tokens in blocks of 512, got 3"
    )
    write_trace(trace_of(), tmp_path / "own.parquet")
    with pytest.raises(TraceError, match="block size must be 4 tokens as the file says, got 8"):
        read_trace(tmp_path / "own.parquet", block_size=8)
    write_trace(trace_of(covered_tokens=np.array([8, 9, 7])), tmp_path / "own.parquet")
    with pytest.raises(TraceError, match=r":3: covered_tokens must be at most 4, what the block"):
        read_trace(tmp_path / "own.parquet")


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    empty = pq.read_table(foreign(tmp_path / "a.parquet")).slice(0, 0)
    pq.write_table(empty, tmp_path / "a.parquet")
    with pytest.raises(TraceError, match=r"a.parquet: a trace needs at least 1 request, got none"):
        read_trace(tmp_path / "a.parquet")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    whole = tmp_path / "whole.parquet"
    if not whole.exists():
        write_trace(trace_of(), whole)
    contents = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "fuzz.parquet"
    path.write_bytes(contents[: data.draw(st.integers(len(contents) // 2, len(contents)))])
    try:
        read_trace(path)
    except TraceError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


def test_the_sample_is_the_start_of_the_published_trace() -> None:
    source = ROOT / "../shared/traces/mooncake/conversation_trace.jsonl.gz"
    if not source.exists():
        pytest.skip("needs the Mooncake trace in ../shared/traces/mooncake")
    assert read_trace(sample_path()).digest() == read_trace(source).head(2000).digest()
