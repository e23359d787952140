"""Figures and tables for notebooks: the report's own, without a directory of results."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from ..sim.results import RunResult, write_run
from .cache_figures import cache_figures
from .load_figures import load_figures
from .regret_figure import regret_figure
from .run_files import read_directory
from .style import Figure, escape


def draw(figure: Figure) -> Any:  # noqa: ANN401  (a plotly figure)
    """Return a figure as plotly's, with its title; a notebook shows what its cell ends with.

    >>> from kvsim.reports.style import axis, layout, line
    >>> drawn = [line("a", [1, 2], [3, 4], 0)]
    >>> words = {"key": "a", "title": "A line", "caption": "It rises."}
    >>> draw(Figure(**words, data=drawn, layout=layout(x=axis("x"), y=axis("y")))).layout.title.text
    'A line'
    """
    import plotly.graph_objects as go

    drawn = go.Figure({"data": figure.data, "layout": figure.layout})
    margin = dict(figure.layout["margin"]) | {"t": 80}
    drawn.update_layout(title={"text": escape(figure.title), "y": 0.97}, margin=margin)
    return drawn


def run_figures(results: Sequence[RunResult]) -> dict[str, Figure]:
    """Return the figures of a run's or a comparison's report by their keys.

    The keys are capacity, hits, category, turn, regret, ttft, tpot, queue and occupancy; the first
    needs a run with its curve.
    """
    runs = []
    for result in results:
        with TemporaryDirectory() as folder:
            write_run(result, Path(folder))
            runs += [
                replace(r, label=str(r.summary["policy"])) for r in read_directory(Path(folder))
            ]
    figures = [*cache_figures(runs), regret_figure(runs), *load_figures(runs)]
    return {figure.key: figure for figure in figures}


def console() -> Console:
    """Return a console that prints tables into a notebook as plain text."""
    return Console(width=100, highlight=False, color_system=None, file=sys.stdout)
