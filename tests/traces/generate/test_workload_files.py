"""Workloads in files: every preset survives, and what is wrong is named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsim import ConfigError
from kvsim.traces.generate.arrivals import Spikes
from kvsim.traces.generate.lengths import Constant, Lognormal, Mixture, Quantiles
from kvsim.traces.generate.presets import PRESETS
from kvsim.traces.generate.sessions import generate
from kvsim.traces.generate.workload_files import read_workload, workload_text

LEAST = '[arrivals]\nper_s = 2\n[[kinds]]\nname = "a"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    assert read_workload(written(tmp_path, workload_text(PRESETS[name]()))) == PRESETS[name]()


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    found = read_workload(written(tmp_path, "duration_s = 60\n" + LEAST))
    assert found.name == "mine"
    assert found.arrivals.per_s == 2.0
    assert generate(found, seed=3).category_names == ("a",)


def test_every_kind_of_distribution_and_table_is_understood(tmp_path: Path) -> None:
    text = """
    [arrivals]
    per_s = 0.5
    rate = { swing = 0.3, spikes = { n = 1, duration_s = 5, factor = 2 } }
    [pools."two words"]
    n = 3
    tokens = 640
    [[kinds]]
    name = "a"
    pools = { "two words" = 1 }
    first_tokens = { levels = [0, 1], values = [10, 20] }
    output_tokens = { weights = [1, 3], parts = [7, { median = 9, sigma = 0 }] }
    continues = [0.5]
    gap_s = { median = 5, sigma = 1, most = 60 }
    """
    found = read_workload(written(tmp_path, text))
    kind = found.kinds[0]
    assert found.arrivals.rate.spikes == Spikes(n=1, duration_s=5.0, factor=2.0)
    assert kind.pools == (("two words", 1.0),)
    assert kind.first_tokens == Quantiles((0.0, 1.0), (10.0, 20.0))
    assert kind.output_tokens == Mixture((1.0, 3.0), (Constant(7.0), Lognormal(9.0, 0.0)))
    assert kind.gap_s == Lognormal(5.0, 1.0, most=60.0)
    assert found.pools["two words"].tokens == Constant(640.0)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("arrivals = 3", ("arrivals must be a table, got 3",)),
        ('[[kinds]]\nname = "a"', ("arrivals must be given",)),
        ("[arrivals]\nper_s = 1", ("kinds must be given",)),
        ("kinds = []\n[arrivals]\nper_s = 1", ("must have a kind of session",)),
        (LEAST + "continue = [0.5]", ("unknown key kinds[0].continue", "kinds[0].continues?")),
        (LEAST + "continues = 0.5", ("kinds[0].continues must be a list, got 0.5",)),
        (LEAST + 'continues = ["x"]', ("kinds[0].continues[0] must be a number, got 'x'",)),
        (LEAST + "continues = [1.5]\ngap_s = 3", ("kind a", "[0, 1)", "1.5")),
        (LEAST + "continues = [0.5]", ("kind a", "need gap_s or think_s")),
        (LEAST + "weight = nan", ("kinds[0].weight must be a number, got nan",)),
        (LEAST + "weight = -1", ("weight must be positive", "-1")),
        (LEAST + "first_tokens = 0", ("kinds[0].first_tokens", "positive number", "got 0")),
        (LEAST + "first_tokens = {}", ("kinds[0].first_tokens", "median and sigma")),
        (LEAST + "first_tokens = { median = 3 }", ("kinds[0].first_tokens.sigma must be given",)),
        (
            LEAST + "first_tokens = { median = 3, sigma = 1, mots = 9 }",
            ("unknown key kinds[0].first_tokens.mots", "first_tokens.most?"),
        ),
        (LEAST + "first_tokens = { median = -3, sigma = 1 }", ("kinds[0].first_tokens", "-3")),
        (LEAST + "first_tokens = { weights = [], parts = [] }", ("one weight", "got ()")),
        (LEAST + "pools = { manual = 0.5 }", ("pool must be one of none, got 'manual'",)),
        (LEAST + "pools = 3", ("kinds[0].pools must be a table of names and shares",)),
        (LEAST + "limit_tokens = 1.5", ("kinds[0].limit_tokens must be a whole number",)),
        (LEAST + 'at_limit = "stop"', ("clip, end or compact", "'stop'")),
        (LEAST + "repeats = { share = 2, gap_s = 1 }", ("kinds[0].repeats: share", "[0, 1]", "2")),
        (LEAST.replace("2", '2\nprocess = "pareto"'), ("arrivals", "gamma", "'pareto'")),
        (LEAST.replace("2", "2\nrate = { day_s = 0 }"), ("arrivals: day", "positive", "got 0")),
        ("[pools.p]\nn = 0\ntokens = 4\n" + LEAST, ("pools.p: n must be at least 1, got 0",)),
        ("duration_s = inf\n" + LEAST, ("duration", "finite", "inf")),
        ("block_size = true\n" + LEAST, ("block_size must be a whole number, got True",)),
        ('clients = "x"\n' + LEAST, ("clients must be one of the pools", "'x'")),
        ("name = ", ("not TOML",)),
    ],
)
def test_what_is_wrong_is_named(text: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        read_workload(path)
    told = str(error.value)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told
    assert all(part in told for part in parts), told


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        read_workload(tmp_path / "none.toml")
