"""Hit tokens of real vLLM runs on an H100, predicted from the trace and the profile alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from measured_runs import replayed, rows_of


@pytest.mark.parametrize(
    ("run", "host_gib", "most_wrong"), [("b6k_miniswe", 0.0, 20), ("off_miniswe", 30.0, 5)]
)
def test_hit_tokens_are_within_one_percent(
    run: str, host_gib: float, most_wrong: int, tmp_path: Path
) -> None:
    measured = rows_of(f"{run}_req.csv.gz")
    is_known = np.array([bool(row["cached_tokens"]) for row in measured])
    cached = np.array([int(row["cached_tokens"] or 0) for row in measured])[is_known]
    found = replayed(measured, tmp_path, host_gib=host_gib)["cached_tokens"][is_known]
    assert found.sum() == pytest.approx(cached.sum(), rel=0.01)
    assert (found != cached).sum() <= most_wrong
