"""The page of a trace: complete, safe with any name, the same bytes each time."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kvsim import OutputError
from kvsim.reports.description.drawing import span
from kvsim.reports.description.page import figures_of, make_page, write_page
from kvsim.reports.description.tables import show_description
from kvsim.studies.characterisation import TraceStudy, study_trace
from kvsim.traces.compiled import CompiledTrace
from kvsim.traces.formats import read_trace
from kvsim.traces.prefix_tree import compile_tree
from kvsim.traces.sample import sample_path
from kvsim.traces.schema import Trace

HOSTILE = ("<script>alert(1)</script>", "</script><img src=x onerror=alert(2)>", "a & [b]", "%{x}")


def study_of(trace: Trace) -> TraceStudy:
    tree = compile_tree(trace, trace.block_size, partial_blocks=True)
    return study_trace(CompiledTrace(trace=trace, tree=tree, digest="test"))


@pytest.fixture(scope="module")
def study() -> TraceStudy:
    """The sample, its conversations dealt to types with hostile names."""
    trace = read_trace(sample_path())
    kinds = trace.session % len(HOSTILE)
    return study_of(replace(trace, name=HOSTILE[0], category=kinds, category_names=HOSTILE))


@pytest.fixture(scope="module")
def bare() -> TraceStudy:
    """Lengths and arrivals alone."""
    trace = read_trace(sample_path()).head(50)
    none = np.zeros(0, np.int64)
    return study_of(
        replace(
            trace,
            block_ids=none,
            block_offsets=np.zeros(51, np.int64),
            covered_tokens=np.zeros(50, np.int64),
        )
    )


def test_every_figure_is_drawn(study: TraceStudy) -> None:
    sections = figures_of(study)
    figures = [figure for part in sections.values() for figure in part]
    page = make_page(study, plotly_js="")
    drawn = re.findall(r'^Plotly\.newPlot\("(\w+)"', page, flags=re.MULTILINE)
    assert drawn == [figure.key for figure in figures]
    assert len(set(drawn)) == len(drawn) == 23
    assert "Nothing to draw" not in page
    for heading in (*sections, "In numbers"):
        assert f"<h2>{heading}</h2>" in page


def test_names_from_data_are_text(study: TraceStudy) -> None:
    page = make_page(study, plotly_js="")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    data = json.dumps([f.data for part in figures_of(study).values() for f in part])
    assert "<script" not in data
    assert "&lt;script&gt;" in data  # plotly.js shows &lt; as <


def test_the_page_needs_no_network_and_is_the_same_each_time(
    study: TraceStudy, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    write_page(study, path)
    first = path.read_bytes()
    write_page(study, path)
    assert path.read_bytes() == first
    assert not list(tmp_path.glob(".*"))
    page = make_page(study, plotly_js="")
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|<link|src=[^x]", page)


def test_plotly_accepts_every_figure(study: TraceStudy, bare: TraceStudy) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    for one in (study, bare):
        for part in figures_of(one).values():
            for figure in part:
                go.Figure({"data": figure.data, "layout": figure.layout})  # raises if not


def test_lines_and_bars_differ_without_colour(study: TraceStudy) -> None:
    for part in figures_of(study).values():
        for figure in part:
            lines = [d["line"]["dash"] for d in figure.data if d.get("mode") == "lines"]
            assert len(set(lines)) >= min(len(lines), 5), figure.key
            shapes = [d["marker"]["pattern"]["shape"] for d in figure.data if d["type"] == "bar"]
            assert len(set(shapes)) == len(shapes), figure.key


def test_values_on_bars_have_room_and_labels_too_small_to_read_are_left_out(
    study: TraceStudy,
) -> None:
    figures = {f.key: f for part in figures_of(study).values() for f in part}
    for figure in figures.values():
        top = figure.layout["yaxis"].get("range")
        for drawn in figure.data:
            if drawn["type"] == "bar" and drawn["text"] and top:
                assert top[1] >= 1.1 * 100, figure.key  # a bar may reach 100 %
    assert figures["ideal"].layout["yaxis"]["range"][1] > 110
    assert figures["tree"].layout["uniformtext"] == {"minsize": 9, "mode": "hide"}


def test_without_ids_the_page_says_what_is_missing(bare: TraceStudy) -> None:
    page = make_page(bare, plotly_js="")
    assert "the trace has no block ids" in page
    assert "neither names sessions" in page
    assert "within :" not in page
    assert "of each that" not in page
    assert "(none)" not in page
    assert 'Plotly.newPlot("rate"' in page
    assert 'Plotly.newPlot("tree"' not in page


def test_a_page_that_cannot_be_written_leaves_no_rest(study: TraceStudy, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/page\.html: cannot be written"):
        write_page(study, tmp_path / "none" / "page.html")
    assert not list(tmp_path.iterdir())


def test_the_terminal_shows_what_fits(study: TraceStudy, bare: TraceStudy) -> None:
    for one, told in ((study, "LRU hit ratio"), (bare, "no block ids")):
        console = Console(width=80, highlight=False, color_system=None)
        with console.capture() as capture:
            show_description(one.to_dict(), console)
        text = capture.get()
        assert told in text
        for words in ("with outputs", "at the end", "used in 60 s", "drift:", "llama-3.1-8b"):
            assert (words in text) == (one is study), words
        assert max(map(len, text.splitlines())) <= 80
        assert "2,000 requests" in text or one is bare


@pytest.mark.parametrize(
    ("time_s", "told"), [(60, "60 s"), (600, "10 min"), (3600, "1 h"), (7200, "2 h"), (45, "45 s")]
)
def test_spans_are_round(time_s: float, told: str) -> None:
    assert span(time_s) == told
