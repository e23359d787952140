"""The commands that make and change traces: what they write, and what they refuse."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kvsim.cli import main
from kvsim.traces.formats import read_trace, recognise

Kvsim = Callable[..., tuple[int, str]]


@pytest.fixture
def kvsim(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kvsim:
    """Run the command line in this process; return its status and what it says on stderr."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["kvsim", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().err

    return run


def test_generate_fit_and_transform_go_together(
    kvsim: Kvsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        "trace generate chat --requests 300 --seed 4 --out a.parquet",
        "trace generate chat --requests 300 --seed 4 --out b.parquet",
        "trace fit a.parquet --no-certificate --out a.twin",
        "trace generate --from a.twin --factor 2 --out c.parquet",
        "trace transform a.parquet --anonymise --thin 0.5 --out d.parquet",
        "trace transform --merge a.parquet d.parquet --out e.parquet",
        "trace slice a.parquet --start 0 --end 60 --out f.parquet",
    ):
        result = kvsim(*words.split())
        assert result == (0, ""), words
    assert Path("a.parquet").read_bytes() == Path("b.parquet").read_bytes()
    n = {name: len(read_trace(f"{name}.parquet")) for name in "acdef"}
    assert n["c"] == 2 * n["a"]
    assert n["d"] < n["a"]
    assert n["e"] == n["a"] + n["d"]
    assert 0 < n["f"] < n["a"]


def test_a_printed_workload_generates_what_its_name_does(
    kvsim: Kvsim,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kvsim", "trace", "workload", "agents"])
    with pytest.raises(SystemExit):
        main()
    Path("mine.toml").write_text(capsys.readouterr().out)
    for words, out in (("agents", "a"), ("--workload mine.toml", "b")):
        command = f"trace generate {words} --duration 300 --out {out}.parquet"
        assert kvsim(*command.split()) == (0, "")
    assert Path("a.parquet").read_bytes() == Path("b.parquet").read_bytes()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("generate nosuch --out x", ("workload must be one of chat", "nosuch")),
        ("generate --out x", ("a workload or --workload or --from",)),
        ("generate chat --workload y.toml --out x", ("a workload or --workload or --from",)),
        ("generate --workload none.toml --out x", ("none.toml", "cannot be read")),
        ("workload cht", ("workload must be one of chat", "did you mean 'chat'?")),
        ("generate chat --rate -1 --out x", ("rate must be positive", "-1")),
        ("generate chat --spikes 3 --out x", ("NUMBER,SECONDS,FACTOR", "'3'")),
        ("generate chat --requests 5 --duration 3 --out x", ("not both",)),
        ("generate --from none --out x", ("none", "cannot be read")),
    ],
)
def test_wrong_generation(
    kvsim: Kvsim,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    parts: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    status, err = kvsim("trace", *words.split())
    assert status == 2
    assert err.count("\n") == 1
    assert all(part in err for part in parts), err
    assert not Path("x").exists()


@pytest.mark.parametrize(
    ("name", "to", "written"),
    [
        ("a.jsonl", None, "mooncake"),
        ("a.jsonl.gz", None, "mooncake"),
        ("a.csv", None, "vidur"),
        ("a.parquet", None, "parquet"),
        ("a", None, "parquet"),
        ("a.jsonl", "qwen-bailian", "qwen-bailian"),
    ],
)
def test_a_trace_is_written_in_the_format_of_its_name_or_the_one_asked_for(
    kvsim: Kvsim, tmp_path: Path, name: str, to: str | None, written: str
) -> None:
    asked = [] if to is None else ["--to", to]
    out = tmp_path / name
    made = kvsim("trace", "generate", "chat", "--requests", "20", "--out", str(out), *asked)
    assert made == (0, "")
    assert recognise(out) == written
    sliced = tmp_path / f"part-{name}"
    assert kvsim("trace", "slice", str(out), "--end", "1e9", "--out", str(sliced), *asked)[0] == 0
    assert recognise(sliced) == written


def test_what_a_format_cannot_hold_is_said(
    kvsim: Kvsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(words)))
    for name in ("a.csv", "a.parquet"):
        kvsim("trace", "generate", "chat", "--requests", "9", "--out", str(tmp_path / name))
    assert [line for line in said if line.startswith("note: ")] == [
        "note: vidur files hold no block ids: nothing hits in what was written"
    ]


def test_a_format_that_is_not_written_is_refused_before_work(kvsim: Kvsim, tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    status, told = kvsim("trace", "generate", "qwen-a", "--to", "azure", "--out", str(out))
    assert status == 2
    assert told.startswith("kvsim: error: --to must be one of mooncake, parquet, ")
    assert not out.exists()


@pytest.mark.parametrize("words", [(), ("trace",)])
def test_a_group_without_a_command_shows_its_help_in_lines(
    kvsim: Kvsim, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = kvsim(*words)
    told += capsys.readouterr().out
    assert "error" not in told
    assert len(told.splitlines()) > 5
    assert status == 2
