"""The shell of a page: style sheet, figures, and text that stays text. Knows no run, no trace."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from . import units
from .style import Figure

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 1180px; padding: 24px 20px 60px; background: #fff; color: #222;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 8px; }
h3 { font-size: 16px; margin: 0 0 4px; }
.scroll + h3 { margin-top: 28px; }
p { max-width: 75ch; margin: 8px 0; overflow-wrap: anywhere; }
p.loss { border-left: 4px solid #d55e00; padding-left: 10px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; font-weight: 600;
  white-space: normal; }
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
figure.wide { grid-column: 1 / -1; }
@media print { body { max-width: none; padding: 0; zoom: .6; }
  .grid { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; } h2, h3 { break-after: avoid; } }
""".strip()

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""What a browser may load: nothing from anywhere."""

CONFIG = {"responsive": True, "displaylogo": False, "displayModeBar": False}


def document(title: str, body: Sequence[str], figures: Sequence[Figure], *, plotly_js: str) -> str:
    """Return a self-contained page whose `body` has a place for each of `figures`."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text_of(units.plain(title, 120))}</title>",
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


def grid(figures: Sequence[Figure]) -> str:
    """Return places for figures, side by side where there is room."""
    return f'<div class="grid">{"".join(map(_figure, figures))}</div>'


def _figure(figure: Figure) -> str:
    title = text_of(figure.title)
    plot = (
        f'<div class="plot" id="{figure.key}" role="img" aria-label="{title}"></div>'
        if figure.data
        else f'<div class="plot empty">{text_of(figure.why_empty)}</div>'
    )
    kind = ' class="wide"' if figure.is_wide else ""
    caption = f"<figcaption>{text_of(figure.caption)}</figcaption>" if figure.data else ""
    return f"<figure{kind}><h3>{title}</h3>{plot}{caption}</figure>"


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


def text_of(value: object) -> str:
    """Return text from data as HTML text."""
    return escape(units.plain(value, 500))
