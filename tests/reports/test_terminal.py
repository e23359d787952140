"""Tables on a terminal of 80 columns: every number whole, names are text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from kvsim.reports import terminal
from kvsim.reports.comparison import show_comparison
from kvsim.reports.description.tables import show_description
from kvsim.reports.tiers import compared_tiers, tier_tables

Summaries = Callable[..., dict[str, Any]]


def printed(show: Callable[..., None], *arguments: object) -> str:
    console = Console(width=80, highlight=False, color_system=None)
    with console.capture() as capture:
        show(*arguments, console)
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    return text


def test_a_run_shows_its_numbers_with_units(summary: Summaries) -> None:
    text = printed(terminal.show_run, summary())
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert "lru on chats" in lines
    assert "TTFT 184 ms 123 ms 246 ms 369 ms 492 ms" in lines
    assert "queue 1.18 ms 789 µs 1.58 ms 2.37 ms 3.16 ms" in lines
    assert "regret 10.31 pp optimum minus hit ratio" in lines
    assert "evictions 123,456,789 blocks" in lines
    assert "! 1 request rejected: larger than the cache" in lines
    assert "of 39,298,672 prompt tokens" in text
    assert "41.73 %" in text


def test_tiers_stand_beside_what_could_be_found_in_them(summary: Summaries) -> None:
    gpu = {"name": "gpu", "lookup_tokens": 1000, "hit_tokens": 300, "bound_tokens": 450}
    host = {"name": "host", "lookup_tokens": 700, "hit_tokens": 250, "bound_tokens": 200}
    rows = [{**gpu, "regret_tokens": 0.15}, {**host, "regret_tokens": -0.05}]
    text = printed(terminal.show_run, summary(regret_by_tier=rows))
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert "GPU 300 30.00 % 45.00 % 15.00 pp" in lines
    assert "host 250 25.00 % 20.00 % -5.00 pp" in lines
    assert "45.00 %" not in printed(terminal.show_run, summary(regret_by_tier=rows[:1]))


def test_losses_are_shown_only_if_there_are_any(summary: Summaries) -> None:
    assert "!" not in printed(terminal.show_run, summary(rejected=0, dropped={}))


def test_undefined_values_are_dashes(summary: Summaries) -> None:
    text = printed(terminal.show_run, summary(tpot_s={"p50": None}, hit_ratio_tokens=None))
    row = next(line for line in text.splitlines() if line.startswith("TPOT"))
    assert row.split() == ["TPOT", *["\N{EN DASH}"] * 5]


def test_a_comparison_keeps_every_number_whole_and_marks_the_best(summary: Summaries) -> None:
    long = "my_package.policies:AnEvictionPolicyWithALongName,parameter=0.25"
    rows = [summary("lru"), summary(long, hit_ratio_tokens=0.4, regret_tokens=0.01727)]
    text = printed(show_comparison, rows)
    assert "* 40.00 %" in text
    assert "* 1.73 pp" in text
    for number in ("31.41 %", "123,456,789", "1,234", "86.8 ms", "98,765"):
        assert text.count(number) >= 2 or number == "31.41 %"
    assert "* 98,765" not in text  # equal values have no best


def test_a_curve_has_a_row_a_capacity_and_marks_the_run() -> None:
    curve = {
        "block_size": 16,
        "capacity_blocks": 1100,
        "lru": [(10, 0.0), (1000, 0.5), (1_000_000, 0.875)],
        "optimum": [(10, 0.25), (1000, 0.75), (1_000_000, 1.0)],
    }
    lines = printed(terminal.show_curve, curve).splitlines()
    row = next(line for line in lines if line.lstrip().startswith("1,000 "))
    assert "50.00 %" in row
    assert "75.00 %" in row
    assert "█" * 10 + "░" * 5 + "·" * 5 in row
    assert "< this run" in row
    assert "1,000,000" in lines[4]


def test_a_long_curve_is_thinned_and_says_so() -> None:
    text = printed(terminal.show_curve, {"lru": [(k, k / 300) for k in range(1, 300)]})
    assert "24 of 299 capacities" in text
    assert "99.67 %" in text


def test_names_are_text_not_markup(summary: Summaries) -> None:
    text = printed(terminal.show_run, summary("[bold]p[/bold]\x1b[31m", trace="[red]t"))
    assert "[bold]p[/bold]" in text
    assert "[red]t" in text
    assert "\x1b" not in text


def test_policies_show_kind_and_summary() -> None:
    text = printed(terminal.show_policies, [("lru", "online", "Evict the block unused longest.")])
    assert "lru     online  Evict the block unused longest." in text


@pytest.mark.parametrize("n_turns", [1, 9])
def test_a_description_shows_lengths_reuse_and_turns(n_turns: int) -> None:
    spread = dict.fromkeys(("mean", "p50", "p90", "p99", "max"), 1_048_576)
    spread |= {"total": 123_456_789_012}
    text = printed(
        show_description,
        {
            "name": "chats",
            "requests": 1234,
            "duration_s": 3600.0,
            "rate_per_s": 0.343,
            "input_tokens": spread,
            "output_tokens": spread,
            "block_size": 16,
            "block_accesses": 77_000,
            "unique_blocks": 40_000,
            "ideal_hit_ratio_blocks": 0.4805,
            "ideal_hit_ratio_tokens": 0.4711,
            "sessions": 400,
            "sessions_are": "given",
            "requests_per_turn": dict.fromkeys(range(1, n_turns + 1), 10),
            "requests_per_category": {"chat": 1000, "[b]": 234},
            "dropped": {"no output": 3},
        },
    )
    assert "1,234 requests over 1 h 0 min, 0.34 a second" in text
    assert text.count("1,048,576") == 10
    assert text.count("123,456,789,012") == 2
    assert "48.05 %" in text
    assert "! 3 rows dropped: no output" in text
    assert "[b]" in text
    assert ("6+" in text) == (n_turns == 9)


def test_promotions_and_what_tiers_moved_are_shown() -> None:
    split = {"gpu": 50, "in_time": 20, "late": 5, "on_demand": 5, "miss": 20}
    tier = dict.fromkeys(("stored", "kept", "loaded", "unloaded", "evicted", "refused"), 7)
    by_tier = [
        {"name": name, "lookup_tokens": 100, "hit_tokens": n, "bound_tokens": n + 1}
        for name, n in (("gpu", 50), ("host", 30))
    ]
    summary = {
        "policy": "lru",
        "lookup_tokens": 100,
        "lookup_split_tokens": split,
        "promotions": {"promoted": 8, "in_time": 4, "late": 1, "useless": 3},
        "tiers": {"host": tier, "ring": tier},
        "regret_by_tier": by_tier,
    }
    hits, promotions, moved = tier_tables(summary)
    assert [row[0] for row in hits.rows] == ["GPU", "host"]
    shares = {row[0]: row[2] for row in promotions.rows}
    assert shares == {
        "GPU": "50.00 %",
        "promoted": "20.00 %",
        "late": "5.00 %",
        "on demand": "5.00 %",
        "miss": "20.00 %",
    }
    assert "8 blocks were promoted" in promotions.note
    assert "3 of them (37.50 %) in vain" in promotions.note
    assert [row[0] for row in moved.rows] == ["host", "ring"]
    by_policy, of_promotions = compared_tiers([summary, summary])
    assert by_policy.rows[0] == ("lru", "50.00 %", "51.00 %", "30.00 %", "31.00 %")
    assert of_promotions.rows[1][-1] == "3"
    assert tier_tables({"tiers": {}, "promotions": {"promoted": 0}}) == []
    assert compared_tiers([{"policy": "lru"}]) == []
