"""Traces that come with kvsim, found wherever it is installed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from .. import ConfigError

SAMPLES = {"mooncake-conversation": "mooncake_conversation_2000.parquet"}
"""What the sample traces are called, and their files."""


def sample_path(name: str = "mooncake-conversation") -> Path:
    """Return where the sample trace `name` lies.

    Raises:
        ConfigError: there is no sample of that name.
    """
    if name not in SAMPLES:
        raise ConfigError(f"sample trace must be one of {', '.join(SAMPLES)}, got {name!r}")
    return Path(str(resources.files(__package__))) / "samples" / SAMPLES[name]
