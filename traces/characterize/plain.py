"""Statistics as plain values, ready for JSON. Knows no statistic."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def plain(value: object) -> Any:  # noqa: ANN401  (what JSON has)
    """Return dataclasses as tables, arrays as lists; six digits of a float, None for NaN.

    >>> plain({"a": np.array([1.0, np.nan]), "b": (np.int64(3), 0.12345678)})
    {'a': [1.0, None], 'b': [3, 0.123457]}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return [plain(one) for one in value.tolist()]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
