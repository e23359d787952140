"""The doctor finds the one mistake of each malformed file, says what it does, and repairs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kvsim import ConfigError, TraceError
from kvsim.traces.doctor import CHECKS, Report, Severity, examine, fixed, load
from kvsim.traces.formats import read_trace, write_trace
from kvsim.traces.schema import Sessions, Trace

DATA = Path(__file__).resolve().parents[1] / "data/doctor"
SHARED = Path(__file__).resolve().parents[3] / "shared/traces"

MISTAKES = [
    ("seconds_as_ms", "units", Severity.WRONG, "1,000 times as short"),
    ("us_as_ms", "units", Severity.WRONG, "times look 1,000 times as long"),
    ("ns", "units", Severity.WRONG, "times are nanoseconds"),
    ("unix_seconds_as_ms", "units", Severity.WRONG, "1,000 times as short"),
    ("unsorted", "order", Severity.SUSPECT, "several clocks"),
    ("coarse_clock", "clock ticks", Severity.NOTE, "the clock ticks every 3 s"),
    ("silence", "gaps", Severity.SUSPECT, "1 silence, the longest of 2,001 s"),
    ("impossible_rate", "rates", Severity.SUSPECT, "arrive before the last one's output"),
    ("empty_requests", "empty requests", Severity.SUSPECT, "3 rows have no input"),
    ("duplicates", "duplicates", Severity.SUSPECT, "4 rows (9.09%) the same as an earlier one"),
    ("same_request_id", "request ids", Severity.WRONG, "4 rows with the request id"),
    ("no_sessions", "sessions", Severity.NOTE, "30 of 40 requests continue an earlier one"),
    ("wrong_block_size", "block size", Severity.WRONG, "blocks of 16 100%"),
    ("surplus_ids", "block size", Severity.WRONG, "surplus_ids.jsonl:8: 5 ids for 37 tokens"),
    ("content_ids", "chained ids", Severity.NOTE, "ids name contents of single blocks"),
    ("broken_prefix", "prefix closure", Severity.SUSPECT, "broken_prefix.jsonl:31"),
    ("repeated_id", "prefix closure", Severity.WRONG, "again within their own request"),
    ("truncated_hashes", "hash width", Severity.SUSPECT, "119 different hashes of 12 bits"),
    ("rounded_hashes", "hash width", Severity.SUSPECT, "the last 11 bits of all large ids are 0"),
    ("clean", "partial blocks", Severity.NOTE, "38 requests (95%) end in an id"),
]
NOT_FIXABLE = {"gaps", "rates", "hash width", "partial blocks"}


def examined(name: str) -> tuple[Report, Trace]:
    """The report on a file of `DATA`, and what its fixes make of it."""
    rows, found = load([DATA / f"{name}.jsonl"], {})
    report = examine(rows, found=found)
    return report, fixed(rows, report)


@pytest.mark.parametrize(("name", "check", "severity", "told"), MISTAKES)
def test_each_mistake_is_found_with_its_effect_and_remedy(
    name: str, check: str, severity: Severity, told: str
) -> None:
    report, _ = examined(name)
    finding = next(f for f in report.findings if f.check == check)
    assert finding.severity is severity
    assert told in finding.what
    assert finding.effect
    assert finding.remedy
    assert (finding.fix is None) == (check in NOT_FIXABLE)
    assert report.changes_results == any(
        f.severity in (Severity.WRONG, Severity.SUSPECT) for f in report.findings
    )


@pytest.mark.parametrize("name", sorted({name for name, *_ in MISTAKES}))
def test_a_file_has_no_other_mistake_and_its_correction_has_none_left(
    name: str, tmp_path: Path
) -> None:
    report, trace = examined(name)
    mistakes = {check for file, check, *_ in MISTAKES if file == name}
    serious = {f.check for f in report.findings if f.severity in (Severity.WRONG, Severity.SUSPECT)}
    assert serious <= mistakes
    write_trace(trace, tmp_path / "corrected.parquet")
    rows, found = load([tmp_path / "corrected.parquet"], {})
    again = examine(rows, found=found)
    left = {f.check for f in again.findings if f.severity in (Severity.WRONG, Severity.SUSPECT)}
    assert left <= NOT_FIXABLE


def test_a_clean_file_has_only_notes() -> None:
    report, trace = examined("clean")
    assert not report.changes_results
    assert trace.digest() == read_trace(DATA / "clean.jsonl").digest()
    assert {f.check for f in report.findings} == set(CHECKS)


@pytest.mark.parametrize("name", ["seconds_as_ms", "us_as_ms", "ns", "unix_seconds_as_ms"])
def test_corrected_times_are_those_of_the_clean_file(name: str) -> None:
    _, trace = examined(name)
    clean = read_trace(DATA / "clean.jsonl").arrival_s
    factor = 30 if name == "us_as_ms" else 1  # whose clock also ran 30 times as slowly
    np.testing.assert_allclose(
        trace.arrival_s - trace.arrival_s[0], (clean - clean[0]) * factor, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("name", ["ns", "unix_seconds_as_ms"])
def test_corrected_dates_begin_at_0(name: str) -> None:
    _, trace = examined(name)
    assert trace.arrival_s[0] == 0


@pytest.mark.parametrize(("name", "left"), [("silence", ["gaps"]), ("ns", []), ("clean", [])])
def test_what_no_fix_can_put_right_is_named(name: str, left: list[str]) -> None:
    assert examined(name)[0].unfixable == left


def test_one_note_is_one_note() -> None:
    assert examined("clean")[0].to_dict()["verdict"] == "1 note"
    assert examined("no_sessions")[0].to_dict()["verdict"] == "2 notes"


def test_rows_of_agents_in_seconds_are_told_from_milliseconds() -> None:
    trace = read_trace(DATA / "agent_seconds.jsonl")
    clean = read_trace(DATA / "clean.jsonl")
    np.testing.assert_allclose(trace.arrival_s, clean.arrival_s)
    assert "timestamp is taken for seconds" in trace.notes[0]
    assert clean.notes == ()
    forced = read_trace(DATA / "agent_seconds.jsonl", settings={"time_unit": "ms"})
    np.testing.assert_allclose(forced.arrival_s * 1000, clean.arrival_s)


def test_ticks_are_spread_in_order() -> None:
    _, trace = examined("coarse_clock")
    coarse = read_trace(DATA / "coarse_clock.jsonl")
    assert len(np.unique(trace.arrival_s)) == len(trace)
    assert trace.input_tokens.tolist() == coarse.input_tokens.tolist()
    assert np.all(trace.arrival_s >= coarse.arrival_s)
    assert np.all(trace.arrival_s < coarse.arrival_s + 3)


def test_doubles_go_and_surplus_ids_are_cut() -> None:
    clean = read_trace(DATA / "clean.jsonl")
    assert examined("duplicates")[1].digest() == clean.digest()
    assert examined("surplus_ids")[1].digest() == clean.digest()
    assert examined("wrong_block_size")[1].digest() == clean.digest()
    with pytest.raises(TraceError, match="block ids must be at most"):
        read_trace(DATA / "wrong_block_size.jsonl")


def test_content_ids_are_chained_by_reading_and_by_the_correction() -> None:
    report, trace = examined("content_ids")
    finding = next(f for f in report.findings if f.check == "chained ids")
    assert "0.9619 instead of 0.1938" in finding.effect
    assert trace.digest() == read_trace(DATA / "content_ids.jsonl").digest()


def test_inferred_sessions_are_written() -> None:
    _, trace = examined("no_sessions")
    assert trace.sessions is Sessions.INFERRED
    assert int((trace.parent >= 0).sum()) == 30


def test_a_check_can_be_left_out() -> None:
    rows, found = load([DATA / "coarse_clock.jsonl"], {})
    report = examine(rows, found=found, skip=["clock ticks"])
    assert "clock ticks" not in {f.check for f in report.findings}
    assert len(np.unique(fixed(rows, report).arrival_s)) < len(rows)
    with pytest.raises(ConfigError, match="--skip must be one of units, order"):
        examine(rows, skip=["tick"])


@pytest.mark.skipif(not SHARED.exists(), reason="needs the public traces in ../shared/traces")
@pytest.mark.parametrize(
    "file",
    [
        "mooncake/conversation_trace.jsonl.gz",
        "azure-2023/AzureLLMInferenceTrace_conv.csv.gz",
        "lmcache-agents/miniswe_blk16_cl100k.jsonl.gz",
        "weka-claude-code/sessions.jsonl.gz",
    ],
)
def test_public_traces_have_nothing_but_notes(file: str) -> None:
    rows, found = load([SHARED / file], {})
    assert not examine(rows, found=found).changes_results
