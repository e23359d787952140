"""Simulation of KV-cache serving: what users import. Imports nothing of its own packages.

Errors, all shown as one line on stderr with exit status 2:

    KvsimError
    ├── TraceError      a trace file or one of its rows
    ├── ConfigError     an option, a name, a configuration value
    ├── PolicyError     an eviction policy that cannot be loaded or that broke its contract
    └── OutputError     a place where results cannot be written
"""

from __future__ import annotations

__version__ = "0.1.0"


class KvsimError(Exception):
    """Something the user can fix; the message names the thing, the value and what is allowed."""


class TraceError(KvsimError):
    """A trace file, or one of its rows, is wrong."""


class ConfigError(KvsimError):
    """An option, a name or a configuration value is wrong."""


class PolicyError(KvsimError):
    """An eviction policy cannot be loaded, or broke its contract during a run."""


class OutputError(KvsimError):
    """Results cannot be written where they were asked for."""
