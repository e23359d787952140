"""Profiles: strict reading, and stated errors that the measurements still give."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from kvsim import ConfigError, TraceError
from kvsim.calibration import fit
from kvsim.calibration.gpu_profile import DEFAULT_PROFILE, Profile, list_profiles, load_profile
from kvsim.calibration.latency import LatencyKind
from kvsim.calibration.step_log import StepLog, read_steps

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "../shared/measured/vllm-h100"
SHIPPED = ROOT / "calibration/profiles" / f"{DEFAULT_PROFILE}.toml"
TRAIN = ("b20k_conv", "b6k_miniswe")


def steps(run: str) -> StepLog:
    path = MEASURED / f"{run}_step.csv.gz"
    if not path.exists():
        pytest.skip("needs the measured runs in ../shared/measured")
    return read_steps(path)


def edited(folder: Path, old: str, new: str) -> Path:
    text = SHIPPED.read_text()
    assert old in text
    path = folder / "edited.toml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize("name", list_profiles())
def test_every_shipped_profile_loads_and_has_room(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.kv_blocks() > 1000
    assert profile.latency_origin.command
    assert profile.memory_origin.source


@pytest.mark.parametrize("error", load_profile().errors, ids=lambda error: error.run)
def test_the_stated_errors_are_those_of_the_measurements(error: fit.RunError) -> None:
    found = fit.run_error(load_profile().latency, steps(error.run))
    assert found.n_steps == error.n_steps
    assert found.median_fraction == pytest.approx(error.median_fraction, abs=1e-4)
    assert found.p95_fraction == pytest.approx(error.p95_fraction, abs=1e-4)
    assert found.total_fraction == pytest.approx(error.total_fraction, abs=1e-4)


def test_held_out_runs_are_met_within_the_goals() -> None:
    for error in load_profile().errors:
        assert error.run not in TRAIN
        assert error.median_fraction <= 0.03
        assert error.p95_fraction <= 0.10
        assert abs(error.total_fraction) <= 0.02


def test_the_shipped_coefficients_are_those_of_the_fit() -> None:
    pytest.importorskip("scipy", reason="fitting needs scipy")
    found = fit.fit([steps(run) for run in TRAIN])
    assert found.coefficients == pytest.approx(load_profile().latency.coefficients, rel=1e-2)


def test_a_fit_finds_the_coefficients_that_made_the_steps() -> None:
    pytest.importorskip("scipy", reason="fitting needs scipy")
    truth = load_profile().latency
    rng = np.random.default_rng(1)
    n = 2000
    prefill_seqs = rng.integers(0, 4, n) * (rng.random(n) < 0.5)
    tokens = prefill_seqs * rng.integers(1, 3000, n)
    computed = prefill_seqs * rng.integers(0, 30_000, n)
    decode_seqs = rng.integers(1, 60, n)
    decode_context = decode_seqs * rng.integers(1, 9000, n)
    pairs = tokens * rng.integers(1, 30_000, n)
    context = decode_context + computed + tokens
    columns = (tokens, prefill_seqs, decode_seqs, context, decode_context, pairs)
    features = np.stack(columns, axis=1).astype(np.float64)
    log = StepLog(
        name="made", features=features, seconds=truth.each_seconds(features), n_left_out=0
    )
    found = fit.fit([log])
    assert found.kind is LatencyKind.ROOFLINE
    assert fit.run_error(found, log).p95_fraction < 1e-3


def test_context_counted_from_requests_is_close_to_the_recorded_one(tmp_path: Path) -> None:
    recorded = steps("b6k_miniswe2")
    with gzip.open(MEASURED / "b6k_miniswe2_step.csv.gz", "rt") as file:
        text = file.read().replace("prefill_attention_pairs", "hidden", 1)
    (tmp_path / "run_step.csv").write_text(text)
    with gzip.open(MEASURED / "b6k_miniswe2_req.csv.gz", "rt") as file:
        (tmp_path / "run_req.csv").write_text(file.read())
    counted = read_steps(tmp_path / "run_step.csv")
    assert 0 < counted.n_left_out < 50
    assert len(counted.seconds) + counted.n_left_out == len(recorded.seconds)
    single = recorded.features[(recorded.features[:, 1] <= 1)]
    pairs = single[:, 5].sum()
    assert counted.features[:, 5].sum() == pytest.approx(pairs, rel=0.03)


def test_fit_keeps_the_head_of_the_profile_that_it_rewrites(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="fitting needs scipy")
    steps("b6k_conv2")
    out = tmp_path / "mine.toml"
    out.write_text(SHIPPED.read_text())
    log = str(MEASURED / "b6k_conv2_step.csv.gz")
    assert fit.main([log, "--held-out", log, "--out", str(out)]) == 0
    profile = load_profile(out)
    assert profile.gpu_memory_gib == load_profile().gpu_memory_gib
    assert [error.run for error in profile.errors] == ["b6k_conv2"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_fit_reports_an_unreadable_log_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.toml"
    assert fit.main([str(tmp_path / "no_step.csv.gz"), "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_a_log_without_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x_step.csv"
    path.write_text("step_start_s,step_end_s\n0,1\n")
    with pytest.raises(TraceError, match="column prefill_tokens is missing"):
        read_steps(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("token_s =", "tokn_s =", r"latency.tokn_s is unknown; did you mean latency.token_s\?"),
        ("utilisation = 0.9 ", "utilization = 0.9 ", r"memory.utilisation\?"),
        ('gpu = "h100"', "gpu = 100", "gpu must be a non-empty text; got 100"),
        ("reserve_gib = 1.577", "reserve_gib = -1", "memory.reserve_gib must be at least 0"),
        ("reserve_gib = 1.577", "reserve_gib = nan", "memory.reserve_gib must be a finite number"),
        ("reserve_gib = 1.577", "reserve_gib = true", "must be a finite number; got True"),
        ("reserve_gib = 1.577", "reserve_gib = 99", "no room for KV blocks"),
        ('kind = "roofline"', 'kind = "cubic"', "latency.kind must be affine or roofline"),
        ('measured_on = "2026-08-20"\n', "", "memory.measured_on is missing"),
        ('model = "llama-3.1-8b"', 'model = "llama"', "unknown model 'llama'"),
        ("[memory]", "[memory", "is not TOML"),
    ],
)
def test_a_wrong_profile_is_refused_in_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_profile(edited(tmp_path, old, new))
    assert "edited.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_profile_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'h100-llama-3.1-8b'\?"):
        load_profile("h100-llama-3-8b")


def test_the_digest_follows_the_numbers_and_nothing_else(tmp_path: Path) -> None:
    def digest(old: str, new: str) -> str:
        profile: Profile = load_profile(edited(tmp_path, old, new))
        return profile.digest

    shipped = load_profile().digest
    assert digest('measured_on = "2026-08-20"', 'measured_on = "2026-08-21"') == shipped
    assert digest("reserve_gib = 1.577", "reserve_gib = 1.578") != shipped
    assert digest("fixed_s = 0.00", "fixed_s = 0.01") != shipped
