"""The command line: what is wrong is one line on stderr and status 2, and nothing is lost."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kvsim.cli import main

KVSIM = [sys.executable, "-c", "from kvsim.cli import main; main()"]
ROW = {"timestamp": 0, "input_length": 40, "output_length": 4, "hash_ids": [1, 2, 3]}
SMALL = ("--trace-block-size", 16, "--gpu-blocks", 64)


class Outcome(NamedTuple):
    """What a command left: exit status, stdout, stderr."""

    status: int
    out: str
    err: str

    def says(self, *parts: str) -> None:
        """Check that it failed, in one line that holds all `parts`."""
        assert self.status == 2, self
        assert self.err.startswith("kvsim: error: "), self
        assert self.err.count("\n") == 1, self
        for part in parts:
            assert part in self.err, self

    def json(self) -> Any:
        """What it printed, if it ended well and silently."""
        assert (self.status, self.err) == (0, ""), self
        return json.loads(self.out)


Kvsim = Callable[..., Outcome]


@pytest.fixture
def kvsim(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Kvsim:
    """Run the command line in this process."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["kvsim", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        return Outcome(int(end.value.code or 0), told.out, told.err)

    return run


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Twelve requests of two families, more blocks than fit."""
    rows = [
        ROW
        | {
            "timestamp": 1000 * i,
            "input_length": 160,
            "hash_ids": [i % 2, *range(9 * i, 9 * i + 9)],
        }
        for i in range(1, 13)
    ]
    return write_rows(tmp_path / "trace.jsonl", rows)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_policy(path: Path, text: str) -> Path:
    path.write_text("from kvsim.policies import *\n" + textwrap.dedent(text))
    return path


def contents(directory: Path) -> dict[str, bytes]:
    """All files below a directory, hidden ones too."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


# what cannot be read


@pytest.mark.parametrize("command", [("replay",), ("mrc",), ("trace", "describe")])
def test_missing_file(kvsim: Kvsim, tmp_path: Path, command: tuple[str, ...]) -> None:
    kvsim(*command, tmp_path / "none.jsonl").says("none.jsonl: cannot be read", "no such file")


def test_directory_as_trace(kvsim: Kvsim, tmp_path: Path) -> None:
    kvsim("replay", tmp_path).says("is a directory")


@pytest.mark.parametrize(
    ("stored", "parts"),
    [
        (b"", ["empty file"]),
        (b"\n\n", ["empty file"]),
        (b"arrival,input\n1,2\n", ["known trace format", "mooncake", "parquet"]),
        (b"{not json}\n", ["t.jsonl:1", "line must be a JSON object"]),
        (json.dumps(ROW).encode() + b'\n{"timestamp": 1,\n', ["t.jsonl:2", "a JSON object"]),
        (b"[1, 2]\n", ["known trace format"]),
        (gzip.compress(json.dumps(ROW).encode() * 9, mtime=0)[:-12], ["gzip", "truncated"]),
        (b"PAR1 and no more", ["t.jsonl"]),
    ],
)
def test_unreadable_contents(kvsim: Kvsim, tmp_path: Path, stored: bytes, parts: list[str]) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(stored)
    kvsim("replay", path, *SMALL).says(*parts)


@pytest.mark.parametrize("field", ["timestamp", "input_length", "output_length", "hash_ids"])
def test_missing_field(kvsim: Kvsim, tmp_path: Path, field: str) -> None:
    rows = [ROW, {name: value for name, value in ROW.items() if name != field}]
    path = write_rows(tmp_path / "t.jsonl", rows)
    kvsim("replay", path, *SMALL).says(f"t.jsonl:2: {field} must be", "got nothing")


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("input_length", -1, "-1"),
        ("output_length", -5, "-5"),
        ("input_length", float("nan"), "nan"),
        ("output_length", 2.5, "2.5"),
        ("input_length", 2**40, str(2**40)),
        ("input_length", "many", "'many'"),
        ("input_length", True, "True"),
        ("timestamp", float("nan"), "nan"),
        ("timestamp", float("inf"), "inf"),
        ("timestamp", -1, "-1"),
        ("hash_ids", 7, "7"),
        ("hash_ids", [1, None], "[1, None]"),
        ("hash_ids", [1, "b", 3], "[1, 'b', 3]"),
        ("hash_ids", [1, 2, 3, 4], "4"),
    ],
)
def test_wrong_value(kvsim: Kvsim, tmp_path: Path, field: str, value: object, shown: str) -> None:
    path = write_rows(tmp_path / "t.jsonl", [ROW, ROW | {field: value}])
    name = "ids" if value == [1, 2, 3, 4] else field
    kvsim("replay", path, *SMALL).says("t.jsonl:2: ", f"{name} must be", f"got {shown}")


def test_ids_of_another_type_in_a_later_row(kvsim: Kvsim, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", [ROW, ROW | {"hash_ids": ["a", "b", "c"]}])
    kvsim("replay", path, *SMALL).says("t.jsonl:2: hash_ids must be")


# what is odd, and fine


def test_rows_without_input_are_dropped_counted_and_shown(kvsim: Kvsim, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", [ROW, ROW | {"input_length": 0, "hash_ids": []}])
    summary = kvsim("replay", path, *SMALL, "--json").json()
    assert (summary["requests"], summary["dropped"]) == (1, {"no input": 1})
    assert "no input" in kvsim("replay", path, *SMALL).out
    assert "no input" in kvsim("trace", "describe", path).out


def test_describe_writes_a_page_and_replaces_none(
    kvsim: Kvsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [ROW | {"timestamp": 1000 * k, "type": "<script>"} for k in range(4)]
    path = write_rows(tmp_path / "t.jsonl", [*rows, ROW | {"type": "b"}])
    assert "page: t.html" in kvsim("trace", "describe", path, "--html").out
    page = (tmp_path / "t.html").read_text()
    assert "&lt;script&gt;" in page
    assert page.count("<script>") == 2  # plotly.js and the figures
    kvsim("trace", "describe", path, "--html").says("t.html: already exists", "--overwrite")
    kvsim("trace", "describe", path, "--html", "--overwrite", "--json").json()
    kvsim("trace", "describe", path, "--out", tmp_path / "no" / "p.html").says("cannot be written")
    told = kvsim("trace", "describe", path, "--limit", 2, "--json").json()
    assert told["requests"] == 2
    assert told["hits"]["by_definition"]["blocks"] == 0.5
    kvsim("trace", "describe", path, "--limit", 0).says("at least 1 request")


def test_a_trace_without_ids_is_described(kvsim: Kvsim, tmp_path: Path) -> None:
    rows = [ROW | {"timestamp": 1000 * k, "hash_ids": []} for k in range(4)]
    path = write_rows(tmp_path / "t.jsonl", rows)
    told = kvsim("trace", "describe", path, "--trace-block-size", 16, "--json").json()
    assert told["hits"] is None
    assert told["arrivals"]["per_s"]
    assert "no block ids" in kvsim("trace", "describe", path, "--trace-block-size", 16).out
    assert "note: no block ids" in kvsim("replay", path, "--trace-block-size", 16).out


def test_unsorted_and_equal_arrivals(kvsim: Kvsim, tmp_path: Path) -> None:
    rows = [ROW | {"timestamp": t, "hash_ids": [t]} for t in (3000, 1000, 2000, 1000, 1000)]
    summary = kvsim("replay", write_rows(tmp_path / "t.jsonl", rows), *SMALL, "--json").json()
    assert summary["finished"] == 5


def test_a_request_that_never_fits_is_rejected_and_counted(kvsim: Kvsim, tmp_path: Path) -> None:
    rows = [ROW, ROW | {"input_length": 16 * 64, "hash_ids": []}, ROW | {"timestamp": 9}]
    path = write_rows(tmp_path / "t.jsonl", rows)
    summary = kvsim("replay", path, *SMALL, "--json", "--check").json()
    assert (summary["finished"], summary["rejected"]) == (2, 1)
    assert "reject" in kvsim("replay", path, *SMALL).out


def test_nothing_fits(kvsim: Kvsim, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", [ROW, ROW])
    out = tmp_path / "out"
    small = (*SMALL[:2], "--gpu-blocks", 2)
    summary = kvsim("replay", path, *small, "--json", "--check", "--out", out).json()
    assert (summary["finished"], summary["rejected"]) == (0, 2)
    assert (out / "report.html").exists()
    assert kvsim("replay", path, *small).status == 0


# options


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--gpu-blocks", 0), ["--gpu-blocks", "at least 2", "got 0"]),
        (("--gpu-blocks", 1), ["gpu_blocks", "at least 2", "got 1"]),
        (("--gpu-blocks", "few"), ["--gpu-blocks", "integer"]),
        (("--gpu-gib", 0), ["--gpu-gib", "got 0"]),
        (("--gpu-gib", -1), ["--gpu-gib", "got -1"]),
        (("--gpu-gib", "nan"), ["--gpu-gib", "got nan"]),
        (("--gpu-blocks", 9, "--gpu-gib", 1), ["not both"]),
        (("--block-size", 0), ["block_size", "at least 1"]),
        (("--trace-block-size", 0), ["block size", "got 0"]),
        (("--instances", 0), ["instances", "got 0"]),
        (("--max-num-seqs", 0), ["max_num_seqs", "at least 1"]),
        (("--watermark", 1), ["watermark", "got 1"]),
        (("--limit", 0), ["--limit", "got 0"]),
        (("--time-scale", 0), ["time scale", "got 0"]),
        (("--time-scale", "nan"), ["time scale", "nan"]),
        (("--latency-affine", "1,2"), ["1,2"]),
        (("--latency-affine", "0,0,0,-1"), ["-1"]),
        (("--latency-affine", "nan,0,0,0"), ["nan"]),
        (("--policy", "lur"), ["unknown policy 'lur'", "did you mean 'lru'?"]),
        (("--policy", "workload-aware,livs=3"), ["unknown parameter 'livs'", "life_s"]),
        (("--policy", "workload-aware,life_s=long"), ["life_s must be float", "'long'"]),
        (("--policy", "workload-aware,life_s=0"), ["life_s must be positive"]),
        (("--policy", "workload-aware,file=none.json"), ["none.json: cannot be read"]),
        (("--policy", "lru,x"), ["must be parameter=value"]),
        (("--router", "prefix-awair"), ["unknown router", "did you mean 'prefix-aware'?"]),
        (("--gpu", "h100-lama-3.1-8b"), ["did you mean 'h100-llama-3.1-8b'?"]),
        (("--model", "llama-3.1-8"), ["did you mean"]),
        (("--cluster", "none.toml"), ["none.toml: cannot be read"]),
        (("--polcy", "lru"), ["--polcy"]),
    ],
)
def test_wrong_option(
    kvsim: Kvsim, trace: Path, options: tuple[object, ...], parts: list[str]
) -> None:
    given = () if {"--gpu-blocks", "--gpu-gib", "--trace-block-size"} & {*options} else SMALL
    kvsim("replay", trace, *given, *options).says(*parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[engine]\nblok_size = 16\n", ["unknown key engine.blok_size", "engine.block_size"]),
        ("seed = 'one'\n", ["seed must be int, got str"]),
        ("engine = 3\n", ["engine must be"]),
        ("[engine\n", ["not TOML"]),
    ],
)
def test_wrong_cluster_file(kvsim: Kvsim, trace: Path, text: str, parts: list[str]) -> None:
    path = trace.with_name("cluster.toml")
    path.write_text(text)
    kvsim("replay", trace, "--cluster", path).says("cluster.toml", *parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("mrc", "--capacities", "1,x"), ["--capacities", "'1,x'"]),
        (("mrc", "--capacities", "0"), ["at least 1"]),
        (("mrc", "--block-size", "0"), ["--block-size", "at least 1"]),
        (("mrc", "--policy", "lur"), ["did you mean 'lru'?"]),
        (("bound",), ["--gpu-blocks"]),
        (("bound", "--gpu-blocks", "0"), ["--gpu-blocks", "at least 1", "got 0"]),
        (("bound", "--gpu-blocks", "9", "--host-blocks", "-1"), ["--host-blocks", "got -1"]),
        (("bound", "--gpu-blocks", "9", "--disk-gb-per-s", "0"), ["--disk-gb-per-s", "got 0"]),
        (("bound", "--gpu-blocks", "9", "--block-size", "0"), ["--block-size", "at least 1"]),
        (("bound", "--gpu-blocks", "9", "--gpu", "h100"), ["unknown profile"]),
        (("compare", "--policy", "lru", "--workers", "0"), ["--workers", "at least 1"]),
        (("compare", "--policy", "lru", "--gpu-blocks", "64,1"), ["--gpu-blocks", "got 1"]),
        (("compare", "--policy", "lru", "--gpu-blocks", "64,"), ["--gpu-blocks", "'64,'"]),
        (("compare", "--policy", "lru", "--slo-ttft", "-1"), ["slo_ttft_s", "got -1"]),
        (("compare", "--policy", "lru", "--slo-tpot", "nan"), ["slo_tpot_s", "got nan"]),
        (("compare", "--policy", "lru", "--policy", "fifoo"), ["did you mean 'fifo'?"]),
        (("replay", "--host-write", "write-back"), ["host.write is set", "give --host-gib"]),
        (("replay", "--set", "host.ring=0.2"), ["host.ring is set", "there is no host tier"]),
        (("replay", "--disk-gib", "1", "--host-policy", "arc"), ["host.policy is set"]),
        (("replay", "--set", "link.prefetch=4"), ["link.prefetch is set", "--host-blocks"]),
        (("compare", "--policy", "lru", "--host-policy", "arc"), ["host.policy is set"]),
    ],
)
def test_wrong_option_of_another_command(
    kvsim: Kvsim, trace: Path, arguments: tuple[str, ...], parts: list[str]
) -> None:
    kvsim(arguments[0], trace, *arguments[1:]).says(*parts)


def test_report_of_something_else(kvsim: Kvsim, tmp_path: Path) -> None:
    kvsim("report", tmp_path / "none").says("none")
    kvsim("report", tmp_path).says(tmp_path.name)
    (tmp_path / "summary.json").write_text("{")
    (tmp_path / "manifest.json").write_text("{")
    kvsim("report", tmp_path).says(tmp_path.name)


# policies from files


def test_policy_file_that_does_not_exist(kvsim: Kvsim, trace: Path) -> None:
    kvsim("replay", trace, *SMALL, "--policy", "none.py:Mine").says("none.py", "no such file")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("import no_such_module\n", ["ModuleNotFoundError", "no_such_module"]),
        ("1 / 0\n", ["ZeroDivisionError"]),
        ("def f(:\n", ["SyntaxError"]),
        ("raise SystemExit(3)\n", ["SystemExit"]),
        ("Other = ScorePolicy\n", ["has no Mine"]),
        ("Mine = 3\n", ["must be a subclass of ScorePolicy"]),
        ("class Mine(ScorePolicy): pass\n", ["does not define score"]),
        (
            "class Mine(ScorePolicy):\n    def score(self, block): return 1 / 0\n",
            ["ZeroDivisionError"],
        ),
        (
            "class Mine(ScorePolicy):\n    def score(self, block): return float('nan')\n",
            ["not a number"],
        ),
        (
            "class Mine(ScorePolicy):\n    def score(self, block): return 'high'\n",
            ["must return a number", "high"],
        ),
        (
            "class Mine(ScorePolicy):\n    def score(self, block): raise SystemExit(0)\n",
            ["SystemExit"],
        ),
        (
            "class Mine(ScorePolicy):\n"
            "    compiled = True\n"
            "    @staticmethod\n"
            "    def score(block): return block.no_such_field\n",
            ["no_such_field"],
        ),
        (
            "class Mine(QueuePolicy):\n    def value(self, *_): return float('nan')\n",
            ["not a number"],
        ),
    ],
)
@pytest.mark.parametrize("command", ["replay", "mrc"])
def test_policy_file_that_fails(
    kvsim: Kvsim, trace: Path, command: str, text: str, parts: list[str]
) -> None:
    path = write_policy(trace.with_name("mine.py"), text)
    options = SMALL if command == "replay" else ("--trace-block-size", 16, "--capacities", "12")
    kvsim(command, trace, *options, "--policy", f"{path}:Mine").says("mine.py", *parts)


@pytest.mark.parametrize(
    ("answer", "shown"),
    [("self.pinned", "victim() returned"), ("999_999", "999999"), ("-1", "-1"), ("1 / 0", "Zero")],
)
@pytest.mark.parametrize("command", ["replay", "mrc"])
def test_policy_that_names_a_wrong_victim(
    kvsim: Kvsim, trace: Path, command: str, answer: str, shown: str
) -> None:
    path = write_policy(
        trace.with_name("mine.py"),
        f"""
        class Mine(EvictionPolicy):
            def on_insert(self, block): self.pinned = block.block_id
            def on_hit(self, block): self.pinned = block.block_id
            def add(self, block): pass
            def remove(self, block): pass
            def victim(self): return {answer}
        """,
    )
    options = SMALL if command == "replay" else ("--trace-block-size", 16, "--capacities", "12")
    kvsim(command, trace, *options, "--policy", f"{path}:Mine").says("mine.py:Mine", shown)


# places to write to


def test_output_directory_that_holds_files(kvsim: Kvsim, trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    kvsim("replay", trace, *SMALL, "--out", out).says("already holds files", "--overwrite")
    kvsim("replay", trace, *SMALL, "--out", out, "--overwrite").says("kvsim results only")
    assert contents(out) == {"precious.txt": b"mine"}


def test_output_that_is_a_file_or_below_one(kvsim: Kvsim, trace: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    kvsim("replay", trace, *SMALL, "--out", file).says("must be a directory")
    kvsim("replay", trace, *SMALL, "--out", file / "out").says("cannot be written")
    kvsim("replay", trace, *SMALL, "--decision-log", file / "log").says("cannot be written")
    kvsim("trace", "convert", trace, "--out", file / "t.parquet").says("cannot be written")
    kvsim("trace", "convert", trace, "--out", file).says("already exists", "--overwrite")
    assert file.read_text() == "mine"


def test_a_failed_run_leaves_earlier_results(kvsim: Kvsim, trace: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert kvsim("replay", trace, *SMALL, "--out", out).status == 0
    before = contents(tmp_path)
    mine = write_policy(
        tmp_path / "mine.py", "class Mine(ScorePolicy):\n    def score(self, b): return 1 / 0\n"
    )
    before["mine.py"] = mine.read_bytes()
    log = tmp_path / "log.jsonl"
    options = ("--out", out, "--overwrite", "--decision-log", log)
    kvsim("replay", trace, *SMALL, "--policy", f"{mine}:Mine", *options).says("ZeroDivisionError")
    kvsim("replay", tmp_path / "none.jsonl", *SMALL, *options).says("none.jsonl")
    after = {k: v for k, v in contents(tmp_path).items() if "__pycache__" not in k}
    assert after == before


def interrupt(command: list[str], *, once: Callable[[], bool], after_s: float) -> Outcome:
    """Send SIGINT to a command `after_s` seconds after `once` holds; return how it ended."""
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline_s = time.perf_counter() + 200
        while not once() and process.poll() is None and time.perf_counter() < deadline_s:
            time.sleep(0.02)
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    return Outcome(process.returncode, out, err)


def test_an_interrupt_inside_a_policy_leaves_nothing(trace: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    mine = write_policy(
        tmp_path / "mine.py",
        f"""
        import pathlib, time
        class Mine(ScorePolicy):
            def score(self, block):
                pathlib.Path({str(ready)!r}).touch()
                time.sleep(0.2)
                return 0.0
        """,
    )
    out = tmp_path / "out"
    command = [*KVSIM, "replay", str(trace), *map(str, SMALL), "--out", str(out)]
    before = {path.name for path in tmp_path.iterdir()}
    end = interrupt([*command, "--policy", f"{mine}:Mine"], once=ready.exists, after_s=0.1)
    assert end == (130, "", "kvsim: interrupted; nothing was written\n")
    assert leftovers(tmp_path, before) == {"ready"}


def test_an_interrupt_of_compiled_code_keeps_earlier_results(
    kvsim: Kvsim, trace: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert kvsim("replay", trace, *SMALL, "--out", out).status == 0
    kept = contents(out)
    row = ROW | {"input_length": 8, "hash_ids": [], "output_length": 900_000}
    long = write_rows(tmp_path / "long.jsonl", [row | {"timestamp": i} for i in range(400)])
    before = {path.name for path in tmp_path.iterdir()}
    command = [*KVSIM, "replay", str(long), "--trace-block-size", "16", "--gpu-blocks", "400000"]
    command += ["--max-num-seqs", "4"]
    end = interrupt(
        [*command, "--out", str(out), "--overwrite"],
        once=lambda: any(tmp_path.glob(".long.jsonl.*.kvtree")),
        after_s=1.0,
    )
    assert end == (130, "", "kvsim: interrupted; nothing was written\n")
    assert leftovers(tmp_path, before) == set()
    assert contents(out) == kept


def leftovers(directory: Path, before: set[str]) -> set[str]:
    """What came into a directory, but for compiled files, which stay useful."""
    new = {path.name for path in directory.iterdir()} - before - {"__pycache__"}
    return {name for name in new if not name.endswith(".kvtree")}


# the same command, the same bytes


def run_elsewhere(cwd: Path, hash_seed: str, *arguments: object) -> None:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    command = [*KVSIM, *map(str, arguments)]
    subprocess.run(command, cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)


def test_replay_writes_the_same_bytes(trace: Path, tmp_path: Path) -> None:
    found = []
    for seed in ("0", "7"):
        cwd = tmp_path / f"cwd{seed}"
        cwd.mkdir()
        options = ("--instances", 2, "--policy", "random", "--seed", 3, "--out", "out")
        where = trace if seed == "0" else os.path.relpath(trace, cwd)
        run_elsewhere(cwd, seed, "replay", where, *SMALL, *options)
        found.append(contents(cwd / "out"))
    names = ["curve.json", "manifest.json", "report.html", "requests.parquet", "summary.json"]
    assert sorted(found[0]) == [*names, "timeseries.parquet"]
    assert found[0] == found[1]


def test_compare_writes_the_same_bytes_with_any_number_of_workers(
    trace: Path, tmp_path: Path
) -> None:
    policies = [word for name in ("lru", "random", "belady") for word in ("--policy", name)]
    found = []
    for workers, seed in ((1, "1"), (2, "2")):
        sizes = ("--trace-block-size", 16, "--gpu-blocks", "48,64", "--slo-ttft", 1)
        options = (*sizes, "--workers", workers, "--out", f"out{workers}")
        run_elsewhere(tmp_path, seed, "compare", trace, *policies, *options)
        found.append(contents(tmp_path / f"out{workers}"))
    assert "random-48/requests.parquet" in found[0]
    assert found[0] == found[1]


# the rest


@pytest.mark.parametrize("write", ["write-through", "write-back"])
@pytest.mark.parametrize("policy", ["belady", "t-lru", "marconi"])
def test_policies_that_look_beyond_a_block_order_every_tier(
    kvsim: Kvsim, trace: Path, policy: str, write: str
) -> None:
    below = ("--host-blocks", 20, "--host-policy", policy, "--host-write", write)
    below += ("--disk-blocks", 20, "--set", f"disk.policy={policy}")
    below += ("--peer-blocks", 10, "--set", f"peer.policy={policy}", "--instances", 2)
    found = kvsim("replay", trace, *SMALL, *below, "--check", "--json").json()
    assert found["requests"] == 12


def test_help_imports_nothing_heavy() -> None:
    code = """
        import sys
        from kvsim.cli import app
        for words in (["--help"], ["replay", "--help"], ["mrc", "--help"]):
            app(words, standalone_mode=False)
        heavy = {"numpy", "numba", "pandas", "torch", "plotly", "pyarrow", "simpy", "scipy"}
        sys.exit(" ".join(sorted(heavy & set(sys.modules))) or 0)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_version_and_policies(kvsim: Kvsim) -> None:
    import kvsim as package
    from kvsim.policies import POLICIES

    assert kvsim("--version").out == f"{package.__version__}\n"
    rows = kvsim("policies", "--json").json()
    assert [row["name"] for row in rows] == list(POLICIES)
    assert all(name in kvsim("policies").out for name in POLICIES)


def test_policies_of_installed_packages_are_listed(
    kvsim: Kvsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "elsewhere-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    points = "[kvsim.policies]\ntheirs = kvsim.policies.fifo:Fifo\ngone = nowhere:X\n"
    (about / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    rows = {row["name"]: row for row in kvsim("policies", "--json").json()}
    assert rows["theirs"] == rows["fifo"] | {"name": "theirs"}
    assert rows["gone"]["kind"] == "broken"


def test_convert_there_and_back(kvsim: Kvsim, trace: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "t.parquet", tmp_path / "t.jsonl"
    size = ("--trace-block-size", 16)
    assert kvsim("trace", "convert", trace, *size, "--out", there).status == 0
    assert kvsim("trace", "convert", there, "--to", "mooncake", "--out", back).status == 0
    kvsim("trace", "convert", there, "--to", "csv", "--out", tmp_path / "x").says("'csv'")
    first, second = (
        kvsim("mrc", path, *size, "--capacities", "10,20,40", "--json").json()
        for path in (trace, back)
    )
    assert first == second


DOCTOR = Path(__file__).parent / "data/doctor"


def test_the_doctor_says_what_is_wrong_and_writes_a_correction(
    kvsim: Kvsim, tmp_path: Path
) -> None:
    clean = kvsim("trace", "doctor", DOCTOR / "clean.jsonl")
    assert clean.status == 0
    assert "partial blocks" in clean.out
    corrected = tmp_path / "corrected.parquet"
    found = kvsim("trace", "doctor", DOCTOR / "seconds_as_ms.jsonl", "--fix", corrected)
    assert found.status == 1
    assert "--fix multiplies times by 1000" in " ".join(found.out.split())
    assert kvsim("trace", "doctor", corrected).status == 0
    again = kvsim("trace", "doctor", DOCTOR / "seconds_as_ms.jsonl", "--fix", corrected)
    again.says("already exists", "--overwrite")
    report = json.loads(kvsim("trace", "doctor", DOCTOR / "duplicates.jsonl", "--json").out)
    assert report["changes_results"] is True
    assert report["findings"][0]["check"] == "duplicates"
    kvsim("trace", "doctor", DOCTOR / "clean.jsonl", "--skip", "x").says("--skip must be one of")
    kvsim("trace", "doctor", tmp_path / "none").says("cannot be read")


def test_formats_are_listed_with_their_settings(kvsim: Kvsim) -> None:
    rows = {row["name"]: row for row in kvsim("trace", "formats", "--json").json()}
    assert rows["weka"]["settings"]["shared_prefix"] is False
    assert {name for name, row in rows.items() if row["written"]} == {
        "parquet",
        "mooncake",
        "qwen-bailian",
        "vidur",
    }
    assert "qwen-bailian" in kvsim("trace", "formats").out


def test_convert_picks_reader_by_content_and_writer_by_name(kvsim: Kvsim, tmp_path: Path) -> None:
    data = Path(__file__).parent / "data/formats"
    lines = tmp_path / "t.jsonl"
    told = kvsim("trace", "convert", data / "qwen_bailian.jsonl", lines)
    assert told.status == 0
    assert "4 requests" in told.out
    assert b"full_hash_ids" in lines.read_bytes()
    assert kvsim("trace", "convert", lines, tmp_path / "t.csv").status == 0
    table = kvsim("trace", "convert", tmp_path / "t.csv", tmp_path / "u.parquet")
    assert "note: no block ids" in table.out
    kvsim("trace", "convert", lines, tmp_path / "t.txt").says("the name must end in one of")
    kvsim("trace", "convert", lines).says("convert needs a file to write")
    chosen = ("--to", "qwen-bailian", "--set", "time_unit=ms")
    assert kvsim("trace", "convert", lines, tmp_path / "q.txt", *chosen).status == 0
    kvsim("trace", "convert", lines, tmp_path / "v.csv", "--set", "x").says("NAME=VALUE")
    kvsim("trace", "convert", lines, tmp_path / "v.csv", "--set", "x=1").says("has no setting")


def test_a_trace_without_blocks_replays_and_hits_nothing(kvsim: Kvsim) -> None:
    azure = Path(__file__).parent / "data/formats/azure_2023.csv"
    summary = kvsim("replay", azure, "--gpu-blocks", 4096, "--json").json()
    assert summary["requests"] == 3
    assert summary["hit_tokens"] == 0


def test_a_category_that_is_a_script_is_only_text_in_the_report(
    kvsim: Kvsim, tmp_path: Path
) -> None:
    hostile = "<script>alert(1)</script>"
    path = tmp_path / "t.jsonl"
    rows = [{**ROW, "timestamp": t, "type": hostile} for t in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    packed = tmp_path / "t.parquet"
    assert kvsim("trace", "convert", path, packed, "--trace-block-size", 16).status == 0
    done = kvsim("replay", packed, "--gpu-blocks", 64, "--out", tmp_path / "run", "--why")
    assert done.status == 0
    for page in (tmp_path / "run").rglob("*.html"):
        assert hostile not in page.read_text()
    assert list((tmp_path / "run").rglob("*.html"))
