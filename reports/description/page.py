"""Writes the page of `kvsim trace describe --html`: one self-contained file, no network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ... import OutputError
from ...studies.characterisation import TraceStudy
from .. import units
from ..document import document, grid, text_of
from ..style import Figure
from .capacity_figures import capacity_figures
from .load_figures import load_figures
from .reuse_figures import reuse_figures
from .tables import sessions_in_words

MOST_ROWS = 30
FIT_COLUMNS = (
    *("category", "reuses", "reused", "mean", "KS", "R²"),
    *("KS of two", "R² of two", "drift", "to next turn"),
)
MODEL_COLUMNS = (
    *("model", "bytes/token", "live at once", "GPUs", "KV memory", "instances"),
    *("of these", "of one"),
)


def figures_of(study: TraceStudy) -> dict[str, list[Figure]]:
    """Return all figures of a trace, by the heading they stand under."""
    return {
        "What arrives": load_figures(study),
        "What is reused": reuse_figures(study),
        "How much memory that takes": capacity_figures(study),
    }


def write_page(study: TraceStudy, path: Path) -> None:
    """Write the page; the same study gives the same bytes.

    Raises:
        OutputError: it cannot be written. An earlier file is still there.
    """
    from plotly.offline import get_plotlyjs

    page = make_page(study, plotly_js=get_plotlyjs())
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        part.write_text(page, encoding="utf-8", newline="\n")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None


def make_page(study: TraceStudy, *, plotly_js: str) -> str:
    """Return the whole page."""
    sections = figures_of(study)
    told = study.characterisation.description
    body = [
        f"<h1>{text_of(told.name)}</h1>",
        *(f"<p>{text_of(words)}</p>" for words in _lead(study)),
        *(
            f'<p class="loss">{text_of(units.plural(n, "row"))} dropped: {text_of(reason)}.</p>'
            for reason, n in told.dropped.items()
            if n
        ),
        *(f"<h2>{text_of(name)}</h2>{grid(figures)}" for name, figures in sections.items()),
        "<h2>In numbers</h2>",
        *_tables(study),
    ]
    every = [figure for figures in sections.values() for figure in figures]
    return document(f"{told.name}: what is in the trace", body, every, plotly_js=plotly_js)


def _lead(study: TraceStudy) -> list[str]:
    """Say in a few sentences what the figures show."""
    found = study.characterisation
    d = found.description
    words = [
        f"{units.plural(d.requests, 'request')} over {units.duration(d.duration_s)}, prompts of"
        f" {units.count(d.input_tokens.mean)} and outputs of {units.count(d.output_tokens.mean)}"
        f" tokens in the mean; {sessions_in_words(d.sessions, d.sessions_are)}."
    ]
    if found.hits is not None and found.skew is not None and found.reuse_times is not None:
        share = found.hits.within_share
        within = f", {units.percent(share)} of it within sessions" if share is not None else ""
        words.append(
            f"A cache that forgets nothing would hit {units.percent(d.ideal_hit_ratio_blocks)} of"
            f" the blocks{within}. The most reused tenth of the blocks takes"
            f" {units.percent(found.skew.top_tenth)} of the reuses; half of the reuses come"
            f" within {units.duration(float(found.reuse_times.p50_s[0]))}."
        )
    if study.curves is not None and found.working_set is not None:
        tenth = study.curves.lru_at_share["10"]
        words.append(
            f"LRU hits {units.percent(tenth)} with room for a tenth of the distinct blocks. With"
            f" perfect foresight {units.count(found.working_set.peak_live)} blocks, of"
            f" {units.count(d.unique_blocks)}, would be enough for the ideal hit ratio."
        )
    return words


def _tables(study: TraceStudy) -> list[str]:
    found = study.characterisation
    parts = [_types(study)]
    if study.curves is not None:
        row = study.curves.lru_at_share
        parts.append(
            _table(
                "LRU hit ratio by capacity, as a share of the distinct blocks",
                ["capacity", *(f"{share} %" for share in row)],
                [["LRU", *map(units.percent, row.values())]],
            )
        )
    if found.fits:
        fits = sorted(found.fits, key=lambda fit: -fit.n_blocks)[:MOST_ROWS]
        parts.append(
            _table(
                "Exponentials fitted to reuse times",
                FIT_COLUMNS,
                [
                    [
                        fit.category,
                        units.count(fit.n_runs),
                        units.percent(float(fit.exponential.weight.sum())),
                        units.seconds(float(fit.exponential.mean_s[0])),
                        f"{fit.exponential.ks:.3f}",
                        f"{fit.exponential.r2:.3f}",
                        f"{fit.mixture.ks:.3f}",
                        f"{fit.mixture.r2:.3f}",
                        units.DASH if fit.drift is None else f"{fit.drift:.3f}",
                        units.DASH if fit.to_next_turn is None else f"{fit.to_next_turn:.3f}",
                    ]
                    for fit in fits
                ],
            )
        )
    if study.capacity:
        parts.append(
            _table(
                "KV memory for the ideal hit ratio, H100 80 GB",
                MODEL_COLUMNS,
                [
                    [
                        row.model,
                        units.count(row.kv_bytes_per_token),
                        units.gibibytes(row.peak_live_gib * 2**30),
                        units.count(row.gpus),
                        units.gibibytes(row.kv_gib * 2**30),
                        units.count(row.instances),
                        f"{row.times_kv_memory:.2f} x",
                        f"{row.times_one_instance:.2f} x",
                    ]
                    for row in study.capacity
                ],
            )
        )
    return parts


def _types(study: TraceStudy) -> str:
    """Tabulate what each type of request is like."""
    found = study.characterisation
    n_of = found.description.requests_per_category
    lengths, hits, reuse, lives = found.lengths, found.hits, found.reuse_times, found.lifespans
    shift = 1 if reuse is not None and reuse.types[0] == "all" and len(n_of) > 1 else 0
    head = ["type", "requests", "prompt", "output", "first turn", "later turn", "later turns"]
    head += ["ideal hit", "reuse p50", "reuse p90", "lifespan p90", "ever reused"]
    rows = []
    order = sorted(range(len(n_of)), key=lambda i: -list(n_of.values())[i])[:MOST_ROWS]
    for i in order:
        means = [
            None if column is None else float(column[i])
            for column in (
                lengths.mean_input_tokens,
                lengths.mean_output_tokens,
                lengths.first_turn_tokens,
                lengths.later_turn_tokens,
            )
        ]
        rows.append(
            [
                list(n_of)[i],
                units.count(list(n_of.values())[i]),
                *map(units.count, means),
                units.percent(None if found.turns is None else found.turns.later_share[i]),
                units.percent(None if hits is None else hits.ratio[i]),
                units.seconds(None if reuse is None else reuse.p50_s[i + shift]),
                units.seconds(None if reuse is None else reuse.p90_s[i + shift]),
                units.seconds(None if lives is None else lives.p90_s[i + shift]),
                units.percent(None if lives is None else lives.reused[i + shift]),
            ]
        )
    return _table("By type; lengths are means in tokens, of turns prompt and output", head, rows)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{text_of(name)}</th>" for name in head)
    lines = (f"<tr>{''.join(f'<td>{text_of(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<h3>{text_of(title)}</h3><div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
