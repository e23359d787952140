"""report.html: complete, true to summary.json, safe with any name, the same bytes each time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from kvsim import ConfigError, OutputError
from kvsim.reports.cache_figures import cache_figures
from kvsim.reports.html import write_report
from kvsim.reports.load_figures import load_figures
from kvsim.reports.regret_figure import regret_figure
from kvsim.reports.run_files import read_directory

FIGURES = ("capacity", "hits", "category", "turn", "regret", "ttft", "tpot", "queue", "occupancy")


def page_of(directory: Path) -> str:
    """The report without plotly.js itself."""
    text = write_report(directory).read_text(encoding="utf-8")
    return re.sub(r"<script>/\*\*.*?</script>", "", text, count=1, flags=re.DOTALL)


def first_table(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page.split("</table>")[0])
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def drawn(page: str) -> dict[str, list[dict[str, object]]]:
    plots = re.findall(r'^Plotly\.newPlot\("(\w+)", (\[.*?\]), \{', page, flags=re.MULTILINE)
    return {key: json.loads(data) for key, data in plots}


def test_the_same_directory_gives_the_same_bytes(run_directory: Path) -> None:
    first = write_report(run_directory).read_bytes()
    assert write_report(run_directory).read_bytes() == first
    assert not list(run_directory.glob(".*"))


def test_the_directory_name_is_not_in_the_report(run_directory: Path) -> None:
    page = page_of(run_directory)
    moved = run_directory.rename(run_directory.with_name("elsewhere"))
    assert page_of(moved) == page


def test_every_section_and_figure_is_there(run_directory: Path) -> None:
    page = page_of(run_directory)
    assert "<h1>lru on chats</h1>" in page
    for heading in ("Policies", "Cache", "Latency and load", "Configuration and provenance"):
        assert f"<h2>{heading}</h2>" in page
    assert tuple(drawn(page)) == FIGURES
    assert all(f'id="{key}"' in page for key in FIGURES)
    assert page.count("<figcaption>") == len(FIGURES)
    assert "config.engine.block_size" in page
    assert "1 request rejected" in page
    assert "2 rows of the trace dropped: no output" in page


def test_the_table_holds_the_numbers_of_the_summary(run_directory: Path) -> None:
    head, row = first_table(page_of(run_directory))
    assert dict(zip(head, row, strict=True)) == {
        "policy": "lru",
        "hit ratio": "31.41 %",
        "optimum": "41.73 %",
        "regret": "10.31 pp",
        "TTFT p50": "123 ms",
        "TTFT p99": "492 ms",
        "TPOT p50": "21.7 ms",
        "TPOT p99": "86.8 ms",
        "tokens/s": "98,765",
        "evictions": "123,456,789",
        "preemptions": "1,234",
    }


def test_names_from_data_are_text(run_directory: Path) -> None:
    page = page_of(run_directory)
    assert "<script>alert" not in page
    labels = json.dumps(drawn(page)["category"]) + page
    assert "\\u0026lt;script" in page, labels  # plotly.js shows &lt; as <
    hostile = json.loads((run_directory / "summary.json").read_text())
    hostile |= {"trace": "</script><img src=x onerror=alert(2)>", "policy": '"><b>x'}
    (run_directory / "summary.json").write_text(json.dumps(hostile))
    page = page_of(run_directory)
    assert "<img" not in page
    assert "<b>" not in page
    assert page.count("</script>") == 1


def test_nothing_is_loaded_from_a_network(run_directory: Path) -> None:
    page = page_of(run_directory)
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|<link|src=", page)


def test_large_tables_are_thinned(run_directory: Path) -> None:
    plots = drawn(page_of(run_directory))
    assert max(len(trace["x"]) for trace in plots["queue"]) <= 800
    assert max(len(trace["x"]) for trace in plots["ttft"]) <= 500


def test_a_comparison_has_a_row_a_run_and_marks_the_best(comparison: Path) -> None:
    page = page_of(comparison)
    assert "<h1>lru against belady on chats</h1>" in page
    assert [row[:2] for row in first_table(page)[1:]] == [["lru", "31.41 %"], ["belady", "41.73 %"]]
    assert '<td class="best">41.73 %</td>' in page
    assert "What differs between the runs:" in page
    assert [trace["name"] for trace in drawn(page)["category"]] == ["lru", "belady"]


def test_a_regret_of_many_names_takes_the_whole_width(run_directory: Path) -> None:
    run = read_directory(run_directory)[0]
    assert not regret_figure([run]).is_wide
    depths = [run.summary["regret_by_depth"][0] | {"name": str(k)} for k in range(12)]
    many = replace(run, summary=run.summary | {"regret_by_depth": depths})
    assert regret_figure([many]).is_wide


def test_the_regret_is_drawn_by_category_turn_and_depth(run_directory: Path) -> None:
    (bars,) = drawn(page_of(run_directory))["regret"]
    splits = ["category", "category", "turn", "turn", "depth", "depth"]
    names = ["&lt;script&gt;alert(1)&lt;…", "code &amp; more", "1", "6+", "0-15", "16-31"]
    assert bars["x"] == [splits, names]
    assert bars["y"] == [5.156] * 6


PAIRED = {
    "to": "lru",
    "windows": 20,
    "hit_ratio_tokens": {"difference": 0.0123, "low": -0.001, "high": 0.02},
    "ttft_mean_s": {"difference": -0.05, "low": -0.1, "high": -0.01},
}


def test_the_differences_of_a_comparison_have_their_intervals(comparison: Path) -> None:
    assert "Differences to" not in page_of(comparison)
    index = {"trace": "chats", "runs": ["lru", "belady"], "paired": [None, PAIRED]}
    (comparison / "compare.json").write_text(json.dumps(index))
    page = page_of(comparison)
    section = page.split("<h2>Differences to the first policy</h2>")[1]
    assert first_table(section) == [
        ["difference", "hit ratio", "TTFT mean"],
        ["belady - lru", "+1.23 pp [-0.10 pp, +2.00 pp]", "-50.0 ms [-100 ms, -10.0 ms]"],
    ]
    assert "95 % interval" in section
    index["paired"] = [None, {**PAIRED, "hit_ratio_tokens": None}]
    (comparison / "compare.json").write_text(json.dumps(index))
    assert "<td>\N{EN DASH}</td>" in page_of(comparison).split("Differences to")[1]


@pytest.mark.parametrize("paired", ["3", "[null]", '[null, {"ttft_mean_s": {"low": 1}}]'])
def test_wrong_differences_are_named(comparison: Path, paired: str) -> None:
    text = f'{{"runs": ["lru", "belady"], "paired": {paired}}}'
    (comparison / "compare.json").write_text(text)
    with pytest.raises(ConfigError, match=r"compare\.json: (paired|ttft_mean_s) must be"):
        write_report(comparison)


def tiers() -> list[dict[str, object]]:
    gpu = {"name": "gpu", "lookup_tokens": 1000, "hit_tokens": 300, "bound_tokens": 450}
    host = {"name": "host", "lookup_tokens": 700, "hit_tokens": 250, "bound_tokens": 200}
    return [{**gpu, "regret_tokens": 0.15}, {**host, "regret_tokens": -0.05}]


def test_the_tiers_have_a_table_and_bars(run_directory: Path) -> None:
    path = run_directory / "summary.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps(summary | {"regret_by_tier": tiers()[:1]}))
    page = page_of(run_directory)
    assert "Hits by tier" not in page
    assert "tier" not in drawn(page)["regret"][0]["x"][0]
    path.write_text(json.dumps(summary | {"regret_by_tier": tiers()}))
    page = page_of(run_directory)
    assert first_table(page.split("<h2>Hits by tier</h2>")[1]) == [
        ["hits in", "tokens", "hit ratio", "optimum", "regret"],
        ["GPU", "300", "30.00 %", "45.00 %", "15.00 pp"],
        ["host", "250", "25.00 %", "20.00 %", "-5.00 pp"],
    ]
    splits, names = drawn(page)["regret"][0]["x"]
    assert [n for s, n in zip(splits, names, strict=True) if s == "tier"] == ["gpu", "host"]


def test_plotly_accepts_every_figure(run_directory: Path, comparison: Path) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    for directory in (run_directory, comparison):
        runs = read_directory(directory)
        for figure in [*cache_figures(runs), regret_figure(runs), *load_figures(runs)]:
            go.Figure({"data": figure.data, "layout": figure.layout})  # raises if it does not


def test_a_run_without_values_still_gives_a_report(run_directory: Path) -> None:
    empty = {"trace": "chats", "policy": "lru", "ttft_s": {"p50": None}, "hit_ratio_tokens": None}
    (run_directory / "summary.json").write_text(json.dumps(empty))
    (run_directory / "curve.json").unlink()
    page = page_of(run_directory)
    assert "Nothing to draw" in page
    assert first_table(page)[1][1] == "\N{EN DASH}"


@pytest.mark.parametrize(
    "name", ["manifest.json", "summary.json", "requests.parquet", "timeseries.parquet"]
)
def test_a_missing_or_corrupt_file_is_named_in_one_line(run_directory: Path, name: str) -> None:
    for spoil in (lambda p: p.write_text("{"), lambda p: p.write_text("[]"), Path.unlink):
        spoil(run_directory / name)
        with pytest.raises(ConfigError) as error:
            write_report(run_directory)
        assert str(run_directory / name) in str(error.value)
        assert "\n" not in str(error.value)
    assert not (run_directory / "report.html").exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("summary.json", '{"evictions": "many"}', "evictions must be a number or null"),
        ("summary.json", '{"ttft_s": 3}', "ttft_s must be"),
        ("summary.json", '{"by_turn": 3}', "by_turn must be a list"),
        ("curve.json", '{"block_size": 16, "lru": [[1]]}', "lru must be a list"),
        ("curve.json", "{}", "block_size must be"),
    ],
)
def test_a_wrong_value_is_named(run_directory: Path, file: str, text: str, message: str) -> None:
    (run_directory / file).write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        write_report(run_directory)


@pytest.mark.parametrize("runs", ['["../run"]', "[]", '"lru"', "[3]", '[".."]'])
def test_a_comparison_names_its_own_subdirectories_only(comparison: Path, runs: str) -> None:
    (comparison / "compare.json").write_text(f'{{"runs": {runs}}}')
    with pytest.raises(ConfigError, match=r"compare\.json: runs must be"):
        write_report(comparison)


def test_a_report_that_cannot_be_written_leaves_no_rest(run_directory: Path) -> None:
    (run_directory / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html: cannot be written"):
        write_report(run_directory)
    assert not list(run_directory.glob(".*"))
