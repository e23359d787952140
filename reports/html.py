# ruff: noqa: A005 (the import is always kvsim.reports.html)
"""Writes report.html: one self-contained file for a run or a comparison."""

from __future__ import annotations

import os
from pathlib import Path

from .. import OutputError
from .cache_figures import cache_figures
from .load_figures import load_figures
from .page import make_page
from .regret_figure import regret_figure
from .run_files import read_directory


def write_report(directory: Path) -> Path:
    """Write report.html from the other files in a directory of results; return its path.

    The page needs no network. The same files give the same bytes.

    Raises:
        ConfigError: a file is missing or is not what kvsim writes; names the file.
        OutputError: the report cannot be written. An earlier report is still there.
    """
    from plotly.offline import get_plotlyjs

    runs = read_directory(directory)
    sections = {
        "Cache": [*cache_figures(runs), regret_figure(runs)],
        "Latency and load": load_figures(runs),
    }
    page = make_page(runs, sections, plotly_js=get_plotlyjs())
    target = directory / "report.html"
    part = directory / f".report.html.part-{os.getpid()}"
    try:
        part.write_text(page, encoding="utf-8", newline="\n")
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from None
    return target
