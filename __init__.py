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


def _use_kernel_cache() -> None:
    """Point numba at a cache of compiled code that belongs to exactly these sources.

    numba drops compiled code when the file that defines a function changes, but not when a file
    that it calls into does, and would then run old code on new data. So the cache's name is
    taken from all source files with compiled functions. A NUMBA_CACHE_DIR of the user's own
    stays.
    """
    import os
    import shutil
    from hashlib import sha256
    from pathlib import Path

    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    root = Path(__file__).parent
    stamps = []
    for folder in ("calibration", "policies", "sim", "studies", "traces"):
        for path in (root / folder).glob("*.py"):
            source = path.read_bytes()
            if b"numba" in source or b"import inner" in source:
                stamps.append((path.name, sha256(source).digest()))
    stamps.sort()
    name = f"kvsim-kernels-{sha256(repr(stamps).encode()).hexdigest()[:16]}"
    home = root / "__pycache__"
    try:
        home.mkdir(exist_ok=True)
        is_writable = os.access(home, os.W_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / name
    os.environ["NUMBA_CACHE_DIR"] = str(cache)
    if not cache.exists():
        for old in home.glob("kvsim-kernels-*"):
            shutil.rmtree(old, ignore_errors=True)


_use_kernel_cache()
