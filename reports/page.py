"""The page around the figures: words, tables, style sheet. Knows no file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from . import units
from .columns import CACHE, GOODPUT, TIMES, losses, number, setting, text
from .differences import difference_table
from .misses import TextTable, miss_tables
from .run_files import Run
from .style import Figure
from .tiers import tier_tables

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 1180px; padding: 24px 20px 60px; background: #fff; color: #222;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 8px; }
h3 { font-size: 16px; margin: 0 0 4px; }
p { max-width: 75ch; margin: 8px 0; overflow-wrap: anywhere; }
p.loss { border-left: 4px solid #d55e00; padding-left: 10px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; font-weight: 600; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 9em;
  overflow-wrap: anywhere; }
td.best { font-weight: 700; }
td.best::after { content: " ★"; color: #0072b2; }
td.even::after { content: " ★"; visibility: hidden; }
table.facts td { padding: 3px 10px; text-align: left; white-space: normal;
  overflow-wrap: anywhere; }
table.facts td:first-child { white-space: nowrap; color: #555; }
.note { font-size: 13px; color: #555; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr));
  gap: 32px 28px; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figcaption { font-size: 14px; color: #444; margin-top: 4px; }
.plot { width: 100%; min-height: 360px; }
.plot.empty { min-height: 0; color: #777; padding: 24px 0; }
@media print { body { max-width: none; padding: 0; font-size: 12px; }
  .scroll { overflow: visible; } }
""".strip()

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""What a browser may load: nothing from anywhere."""

CONFIG = {"responsive": True, "displaylogo": False, "displayModeBar": False}


def make_page(
    runs: Sequence[Run], sections: Mapping[str, Sequence[Figure]], *, plotly_js: str
) -> str:
    """Return the whole page, a heading a section; the same arguments give the same text."""
    figures = [figure for section in sections.values() for figure in section]
    names = [run.label for run in runs]
    title = (
        f"{' against '.join(names) if len(names) < 4 else f'{len(names)} runs'} on {_trace(runs)}"
    )
    body = [
        f"<h1>{_text(title)}</h1>",
        *(f"<p>{_text(words)}</p>" for words in _lead(runs)),
        *(f'<p class="loss">{_text(words)}</p>' for words in _all_losses(runs)),
        "<h2>Policies</h2>",
        _policy_table(runs),
        *_differences(runs),
        *_tables(runs),
        *(f"<h2>{_text(name)}</h2>{_grid(section)}" for name, section in sections.items()),
        "<h2>Configuration and provenance</h2>",
        *_provenance(runs),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(units.plain(title, 120))}</title>",
            f"<style>\n{STYLE}\n</style>",
            f"<script>{plotly_js}</script>",
            "</head>",
            "<body>",
            *body,
            f"<script>\n{_drawing(figures)}\n</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _lead(runs: Sequence[Run]) -> list[str]:
    """Say what was replayed on what, and what came out."""
    first = runs[0].summary
    profile = runs[0].manifest.get("profile")
    timed = text(profile, "name") if isinstance(profile, dict) else "?"
    what = (
        f"{units.plural(number(first, 'requests'), 'request')} of {_trace(runs)}, replayed on"
        f" {setting(first)}; step times from profile {timed};"
        f" {units.duration(number(first, 'duration_s'))} of simulated time."
    )
    if len(runs) == 1:
        return [what, _verdict(runs[0])]
    known = [run for run in runs if number(run.summary, "hit_ratio_tokens") is not None]
    if not known:
        return [what]
    best = max(known, key=lambda run: number(run.summary, "hit_ratio_tokens") or 0.0)
    return [what, f"Highest hit ratio: {_verdict(best)}"]


def _verdict(run: Run) -> str:
    hit, bound, regret = (
        number(run.summary, key)
        for key in ("hit_ratio_tokens", "bound_hit_ratio_tokens", "regret_tokens")
    )
    if hit is None:
        return f"{units.plain(run.label)} looked nothing up."
    words = (
        f"{units.plain(run.label)} took {units.percent(hit)} of the prompt tokens from the cache"
    )
    if bound is None or regret is None:
        return f"{words}."
    return (
        f"{words}; no policy could have taken more than {units.percent(bound)} on the same"
        f" admissions, so {units.points(regret)} (percentage points) are left."
    )


def _all_losses(runs: Sequence[Run]) -> list[str]:
    """Say what was not served: once if it is the same for all runs."""
    lines = [losses(run.summary) for run in runs]
    if all(found == lines[0] for found in lines):
        return [f"{words}." for words in lines[0]]
    return [f"{r.label}: {w}." for r, found in zip(runs, lines, strict=True) for w in found]


def _policy_table(runs: Sequence[Run]) -> str:
    has_goodput = any(number(run.summary, *GOODPUT.keys) is not None for run in runs)
    columns = CACHE[:3] + TIMES + ((GOODPUT,) if has_goodput else ()) + CACHE[3:]
    head = "".join(f"<th>{_text(c.header)}</th>" for c in columns)
    best = [c.best_rows([run.summary for run in runs]) for c in columns]
    rows = []
    for at, run in enumerate(runs):
        cells = "".join(
            f'<td class="{_mark(at, rows_best)}">{_text(c.text(run.summary))}</td>'
            for c, rows_best in zip(columns, best, strict=True)
        )
        rows.append(f"<tr><td>{_text(run.label)}</td>{cells}</tr>")
    note = (
        "Hit ratio: prompt tokens found in the cache at first admission. Optimum: the most that any"
        " policy could have hit, for the same admissions in the same order. Regret: optimum minus"
        " hit ratio, in percentage points (pp). tokens/s: output tokens."
    )
    if has_goodput:
        note += " goodput/s: requests a second within the limits on TTFT and TPOT."
    if any(best):
        note += " ★ best of the column."
    return (
        f'<div class="scroll"><table><thead><tr><th>policy</th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="note">{note}</p>'
    )


def _differences(runs: Sequence[Run]) -> list[str]:
    """Say how sure the differences between the runs of a comparison are."""
    table = difference_table([run.label for run in runs], [run.paired for run in runs])
    return [] if table is None else [_text_table(table, table.title)]


def _tables(runs: Sequence[Run]) -> list[str]:
    """Say for each run what its tiers served and, if it was asked, why its look-ups missed."""
    return [
        _text_table(table, table.title if len(runs) == 1 else f"{table.title}: {run.label}")
        for run in runs
        for table in (*tier_tables(run.summary), *miss_tables(run.summary))
    ]


def _text_table(table: TextTable, title: str) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in table.columns)
    rows = (f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return (
        f'<h2>{_text(title)}</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="note">{_text(table.note)}</p>'
    )


def _mark(row: int, best: set[int]) -> str:
    """Return the class of a cell: the best, beside the best, or in a column without."""
    return "best" if row in best else "even" if best else "plain"


def _grid(figures: Sequence[Figure]) -> str:
    return f'<div class="grid">{"".join(map(_figure, figures))}</div>'


def _figure(figure: Figure) -> str:
    plot = (
        f'<div class="plot" id="{figure.key}" role="img" aria-label="{_text(figure.title)}"></div>'
        if figure.data
        else '<div class="plot empty">Nothing to draw: the run has no such data.</div>'
    )
    return (
        f"<figure><h3>{_text(figure.title)}</h3>{plot}"
        f"<figcaption>{_text(figure.caption)}</figcaption></figure>"
    )


def _drawing(figures: Sequence[Figure]) -> str:
    """Return the script that draws every figure."""
    return "\n".join(
        f"Plotly.newPlot({_json(f.key)}, {_json(f.data)}, {_json(f.layout)}, {_json(CONFIG)});"
        for f in figures
        if f.data
    )


def _json(value: object) -> str:
    """Return JSON that cannot end the script it stands in."""
    plain = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _provenance(runs: Sequence[Run]) -> list[str]:
    """List the manifests: first what all runs share, then what differs."""
    facts = [_flat(run.manifest) for run in runs]
    keys = list(dict.fromkeys(key for found in facts for key in found))
    shared = [key for key in keys if len({found.get(key, units.DASH) for found in facts}) == 1]
    differing = [key for key in keys if key not in shared]
    parts = [_facts_table([(key, [facts[0][key]]) for key in shared])]
    if differing:
        head = "".join(f"<th>{_text(run.label)}</th>" for run in runs)
        rows = [(key, [found.get(key, units.DASH) for found in facts]) for key in differing]
        parts += ["<p>What differs between the runs:</p>", _facts_table(rows, head)]
    return parts


def _facts_table(rows: Sequence[tuple[str, list[str]]], head: str = "") -> str:
    lines = [
        f"<tr><td>{_text(key)}</td>{''.join(f'<td>{_text(v)}</td>' for v in values)}</tr>"
        for key, values in rows
    ]
    thead = f"<thead><tr><th></th>{head}</tr></thead>" if head else ""
    body = f"<tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table class="facts">{thead}{body}</table></div>'


def _flat(table: dict[str, Any], above: str = "") -> dict[str, str]:
    """Return nested settings as dotted names and text."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _trace(runs: Sequence[Run]) -> str:
    return text(runs[0].summary, "trace")


def _text(value: object) -> str:
    """Return text from data as HTML text."""
    return escape(units.plain(value, 500))
