"""Measured steps of a real engine to latency coefficients. Knows no simulator.

    python -m kvsim.calibration.fit TRAIN_step.csv.gz ... --held-out RUN_step.csv.gz ... --out FILE

writes the `[latency]` and `[error]` tables of FILE, a profile; what stands before them is kept.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import KvsimError
from .gpu_profile import RunError
from .latency import N_COEFFICIENTS, ROOFLINE_NAMES, LatencyKind, LatencyModel
from .step_log import StepLog, read_steps

_ROBUST_FRACTION = 0.1
"""Error beyond which a step counts linearly and no longer squared: host stalls."""
_PREFILL_BALANCE = 0.25
"""Prefill steps are few: each weighs (decode steps / prefill steps) to this power as much."""


def fit(logs: Sequence[StepLog]) -> LatencyModel:
    """Return the roofline whose relative step-time errors on `logs` are smallest.

    Robust least squares (soft L1) of log(simulated / measured), so that a factor too long and a
    factor too short weigh the same, with coefficients of at least 0, started from the linear form's
    non-negative least squares. Coefficients keep six digits.
    """
    from scipy.optimize import least_squares

    start = _linear_start(logs)
    weights = np.concatenate([_step_weights(log) for log in logs])
    features = np.concatenate([log.features for log in logs])
    measured_s = np.concatenate([log.seconds for log in logs])

    def residuals(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        model = LatencyModel(LatencyKind.ROOFLINE, scaled * start)
        ratio = model.each_seconds(features) / measured_s
        weighted: NDArray[np.float64] = np.log(ratio) * weights
        return weighted

    found = least_squares(
        residuals,
        np.ones(N_COEFFICIENTS),
        bounds=(0, np.inf),
        loss="soft_l1",
        f_scale=_ROBUST_FRACTION,
        xtol=1e-10,
        ftol=1e-10,
    )
    rounded = [float(f"{value:.6g}") for value in found.x * start]
    return LatencyModel(LatencyKind.ROOFLINE, np.array(rounded))


def run_error(model: LatencyModel, log: StepLog) -> RunError:
    """Return how far `model` is from the steps of `log`."""
    simulated_s = model.each_seconds(log.features)
    error = np.abs(simulated_s / log.seconds - 1)
    return RunError(
        run=log.name,
        n_steps=len(error),
        median_fraction=float(np.median(error)),
        p95_fraction=float(np.quantile(error, 0.95)),
        total_fraction=float(simulated_s.sum() / log.seconds.sum() - 1),
    )


def _step_weights(log: StepLog) -> NDArray[np.float64]:
    has_prefill = log.features[:, 0] > 0
    n_prefill = max(1, int(has_prefill.sum()))
    n_decode = max(1, len(has_prefill) - n_prefill)
    return np.where(has_prefill, (n_decode / n_prefill) ** _PREFILL_BALANCE, 1.0)


def _linear_start(logs: Sequence[StepLog]) -> NDArray[np.float64]:
    """Return positive coefficients of the right size: half of the constant reads the weights."""
    from scipy.optimize import nnls

    f = np.concatenate([log.features for log in logs])
    measured_s = np.concatenate([log.seconds for log in logs])
    tokens, prefill_context = f[:, 0] + f[:, 2], f[:, 3] - f[:, 4]
    columns = [np.ones(len(f)), tokens, f[:, 1], f[:, 2], f[:, 4], prefill_context, f[:, 5]]
    matrix = np.stack(columns, axis=1)
    linear, _ = nnls(matrix / measured_s[:, None], np.ones(len(f)))
    small = 0.01 * measured_s.mean() / np.maximum(matrix.mean(axis=0), 1e-12)
    linear = np.maximum(linear, small)
    return np.concatenate([[linear[0] / 2, linear[0] / 2], linear[1:]])


def profile_tables(
    model: LatencyModel,
    errors: Sequence[RunError],
    *,
    source: str,
    measured_on: str,
    command: str,
) -> str:
    """Return the `[latency]` and `[error]` tables as TOML."""
    lines = ["[latency]", f'kind = "{model.kind}"']
    lines += [f"{n} = {k:.6g}" for n, k in zip(ROOFLINE_NAMES, model.coefficients, strict=True)]
    lines += [f'source = "{source}"', f'measured_on = "{measured_on}"', f'command = "{command}"']
    for error in errors:
        lines += ["", f"[error.{error.run}]", f"n_steps = {error.n_steps}"]
        lines += [f"median_fraction = {error.median_fraction:.4f}"]
        lines += [f"p95_fraction = {error.p95_fraction:.4f}"]
        lines += [f"total_fraction = {error.total_fraction:.4f}"]
    return "\n".join(lines) + "\n"


def _rewrite(out: Path, tables: str) -> None:
    head = out.read_text(encoding="utf-8").partition("[latency]")[0] if out.exists() else ""
    temporary = out.with_name(f".{out.name}.tmp")
    temporary.write_text(head + tables, encoding="utf-8")
    os.replace(temporary, out)


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, and write the tables; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kvsim.calibration.fit")
    parser.add_argument("train", nargs="+", type=Path, help="*_step.csv.gz to fit to")
    parser.add_argument("--held-out", nargs="+", type=Path, default=[], help="runs to report on")
    parser.add_argument("--hardware", default="not stated", help="what the runs were taken on")
    parser.add_argument("--measured-on", default="not stated", help="date of the runs")
    parser.add_argument("--out", type=Path, required=True, help="profile to write")
    options = parser.parse_args(argv)
    try:
        logs = [read_steps(path) for path in options.train]
        model = fit(logs)
        held_out = [read_steps(path) for path in options.held_out]
    except KvsimError as error:
        sys.stderr.write(f"kvsim: error: {error}\n")
        return 2
    names = " ".join(path.name for path in options.train)
    held_names = " ".join(path.name for path in options.held_out)
    n_left_out = sum(log.n_left_out for log in logs)
    n_used = sum(len(log.seconds) for log in logs)
    tables = profile_tables(
        model,
        [run_error(model, log) for log in held_out],
        source=f"{options.hardware}; {n_used} steps of {names}, {n_left_out} left out",
        measured_on=options.measured_on,
        command=f"python -m kvsim.calibration.fit {names} --held-out {held_names}",
    )
    _rewrite(options.out, tables)
    sys.stdout.write(tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
