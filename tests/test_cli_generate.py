"""The commands that make and change traces: what they write, and what they refuse."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kvsim.cli import main
from kvsim.traces.formats import read_trace

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
