"""The compiled trace beside its file: the same requests and tree, or none."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from kvsim import TraceError
from kvsim.traces.compiled import CompiledTrace, load_compiled
from kvsim.traces.formats import read_trace
from kvsim.traces.prefix_tree import PrefixTree, compile_tree
from kvsim.traces.sample import sample_path

LEFT_OUT = {"block_ids", "block_offsets"}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return Path(shutil.copy(sample_path(), tmp_path / "sample.parquet"))


def same(a: CompiledTrace, b: CompiledTrace) -> bool:
    columns = [f.name for f in fields(type(a.trace)) if f.name not in LEFT_OUT]
    return all(
        np.array_equal(getattr(a.trace, name), getattr(b.trace, name), equal_nan=name == "think_s")
        for name in columns
        if getattr(a.trace, name) is not None
    ) and all(
        np.array_equal(getattr(a.tree, f.name), getattr(b.tree, f.name)) for f in fields(PrefixTree)
    )


@pytest.mark.parametrize("block_size", [None, 16, 48])
@pytest.mark.parametrize("partial_blocks", [False, True])
def test_a_compiled_file_gives_what_compiling_gives(
    sample: Path, block_size: int | None, *, partial_blocks: bool
) -> None:
    fresh = load_compiled([sample], block_size=block_size, partial_blocks=partial_blocks)
    assert len(fresh.trace.block_ids) > 0
    known = load_compiled([sample], block_size=block_size, partial_blocks=partial_blocks)
    assert len(known.trace.block_ids) == 0
    assert same(fresh, known)
    assert fresh.digest == known.digest


def test_string_names_of_requests_survive(tmp_path: Path) -> None:
    trace = tmp_path / "named.jsonl"
    row = '{{"request_id": "r-{}", "timestamp": {}, "input_length": 9, "output_length": 2, '
    lines = [row.format(i, i) + f'"hash_ids": [1, {2 + i}]}}' for i in range(3)]
    trace.write_text("\n".join(lines) + "\n")
    fresh = load_compiled([trace], trace_block_size=5)
    assert fresh.trace.request_id.tolist() == ["r-0", "r-1", "r-2"]
    assert same(fresh, load_compiled([trace], trace_block_size=5))


def test_a_changed_trace_is_compiled_anew(sample: Path) -> None:
    before = load_compiled([sample]).digest
    with sample.open("ab") as file:
        file.write(b"PAR1")
    with pytest.raises(TraceError):
        load_compiled([sample])
    shutil.copy(sample_path(), sample)
    assert load_compiled([sample]).digest == before


def test_a_damaged_compiled_file_counts_as_none(sample: Path) -> None:
    fresh = load_compiled([sample])
    (file,) = sample.parent.glob("*.kvtree")
    content = file.read_bytes()
    for damaged in (b"", content[: len(content) // 2], content[::-1]):
        file.write_bytes(damaged)
        again = load_compiled([sample])
        assert len(again.trace.block_ids) > 0
        assert same(fresh, again)


def test_nothing_is_kept_where_that_is_not_wanted(sample: Path) -> None:
    load_compiled([sample], keep=False)
    assert not list(sample.parent.glob("*.kvtree"))
    assert not list(sample.parent.glob(".*.kvtree"))


def test_the_head_of_a_compiled_trace_has_the_paths_of_its_requests(sample: Path) -> None:
    whole = load_compiled([sample])
    head = whole.head(100)
    assert len(head.trace) == len(head.tree.end) == 100
    assert np.array_equal(head.tree.path_blocks, whole.tree.path_blocks[:100])
    assert head.tree.n_keys < whole.tree.n_keys


def test_arrays_of_a_trace_may_be_views_with_gaps() -> None:
    whole = read_trace(sample_path())
    views = {
        name: np.repeat(getattr(whole, name), 2)[::2]
        for name in ("arrival_s", "input_tokens", "block_ids", "block_offsets", "covered_tokens")
    }
    views["output_tokens"] = np.broadcast_to(np.int64(9), len(whole))
    trees = [
        compile_tree(replace(whole, **arrays), 16, partial_blocks=False)
        for arrays in (views, {name: values.copy() for name, values in views.items()})
    ]
    assert np.array_equal(trees[0].parent, trees[1].parent)
    assert np.array_equal(trees[0].end, trees[1].end)
