"""A calibrated GPU and model: memory, step time, and the error of both. Knows no simulator."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import ConfigError
from .capacity import kv_blocks
from .latency import COEFFICIENT_NAMES, LatencyKind, LatencyModel
from .models import ModelSpec, model

DEFAULT_PROFILE = "h100-llama-3.1-8b"
_FOLDER = Path(__file__).parent / "profiles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The link between a GPU and its host: one transfer at a time in each direction."""

    up_bytes_per_s: float
    """To the GPU."""
    down_bytes_per_s: float
    """From it."""
    scattered_bytes_per_s: float
    """Either way, if every block of every layer is a copy of its own."""
    start_s: float
    """From asking for a transfer on an idle link to its first byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a table's numbers come from."""

    source: str
    measured_on: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """How far the step times are from a measured run that the fit did not see."""

    run: str
    n_steps: int
    median_fraction: float
    """Median over steps of |simulated / measured - 1|."""
    p95_fraction: float
    total_fraction: float
    """Sum of simulated over sum of measured seconds, minus 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one GPU serving one model was measured to do."""

    name: str
    gpu: str
    model: str
    """Name in `models.MODELS`."""
    gpu_memory_gib: float
    reserve_gib: float
    """Memory that is neither weights nor KV blocks."""
    utilisation: float
    """Share of the memory that the engine takes, unless told otherwise."""
    memory_origin: Origin
    latency: LatencyModel
    latency_origin: Origin
    link: Link | None = None
    """To the host's memory; None: not measured."""
    link_origin: Origin | None = None
    errors: tuple[RunError, ...] = ()
    """One a held-out run."""

    @property
    def model_spec(self) -> ModelSpec:
        """The model's shape."""
        return model(self.model)

    @property
    def digest(self) -> str:
        """SHA-256 of every number that can change a result; names and origins do not count."""
        numbers = {
            "gpu_memory_gib": self.gpu_memory_gib.hex(),
            "reserve_gib": self.reserve_gib.hex(),
            "utilisation": self.utilisation.hex(),
            "model": repr(self.model_spec),
            "link": repr(self.link),
            "latency": [self.latency.kind, *(float(k).hex() for k in self.latency.coefficients)],
        }
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()

    def kv_blocks(self, *, block_size: int = 16, utilisation: float | None = None) -> int:
        """Return vLLM's num_gpu_blocks on this GPU, null block included."""
        return kv_blocks(
            self.model_spec,
            self.gpu_memory_gib,
            reserve_gib=self.reserve_gib,
            block_size=block_size,
            utilisation=self.utilisation if utilisation is None else utilisation,
        )


def list_profiles() -> list[str]:
    """Return the names of the shipped profiles, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_profile(name_or_path: str | Path = DEFAULT_PROFILE) -> Profile:
    """Read a shipped profile by name, or a TOML file by path.

    >>> load_profile("h100-llama3.1-8b")
    Traceback (most recent call last):
    kvsim.ConfigError: unknown profile 'h100-llama3.1-8b'; did you mean 'h100-llama-3.1-8b'? \
(known: h100-llama-3.1-8b; or a .toml file)

    Raises:
        ConfigError: an unknown name, or the file's first unknown, missing or wrong key.
    """
    name = str(name_or_path)
    shipped = list_profiles()
    if name in shipped:
        return _read(_FOLDER / f"{name}.toml")
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.is_file():
        return _read(path)
    near = difflib.get_close_matches(name.lower(), shipped, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise ConfigError(
        f"unknown profile {name!r}{hint} (known: {', '.join(shipped)}; or a .toml file)"
    )


def _read(path: Path) -> Profile:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None
    root = _Table(path, "", content)
    root.allow(("name", "gpu", "model", "memory", "latency", "link", "error"))
    memory, latency = root.table("memory"), root.table("latency")
    memory.allow(("gpu_memory_gib", "reserve_gib", "utilisation"), with_origin=True)
    kind = latency.kind()
    names = COEFFICIENT_NAMES[kind]
    latency.allow(("kind", *names), with_origin=True)
    link = root.table("link") if root.has("link") else None
    if link is not None:
        link.allow(
            ("up_gb_per_s", "down_gb_per_s", "scattered_gb_per_s", "start_s"), with_origin=True
        )
    error_tables = root.table("error") if root.has("error") else _Table(path, "error.", {})
    profile = Profile(
        name=root.text("name"),
        gpu=root.text("gpu"),
        model=root.text("model"),
        gpu_memory_gib=memory.number("gpu_memory_gib"),
        reserve_gib=memory.number("reserve_gib"),
        utilisation=memory.number("utilisation", default=0.9),
        memory_origin=memory.origin(),
        latency=LatencyModel(kind, np.array([latency.number(name) for name in names])),
        latency_origin=latency.origin(),
        link=_link(link) if link else None,
        link_origin=link.origin() if link else None,
        errors=tuple(_run_error(run, error_tables.table(run)) for run in error_tables.keys),
    )
    try:
        profile.kv_blocks()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return profile


def _link(table: _Table) -> Link:
    return Link(
        up_bytes_per_s=table.number("up_gb_per_s") * 1e9,
        down_bytes_per_s=table.number("down_gb_per_s") * 1e9,
        scattered_bytes_per_s=table.number("scattered_gb_per_s") * 1e9,
        start_s=table.number("start_s"),
    )


def _run_error(run: str, table: _Table) -> RunError:
    fractions = ("median_fraction", "p95_fraction", "total_fraction")
    table.allow(("n_steps", *fractions))
    n_steps = int(table.number("n_steps"))
    median, p95 = table.number("median_fraction"), table.number("p95_fraction")
    total = table.number("total_fraction", signed=True)
    return RunError(
        run=run, n_steps=n_steps, median_fraction=median, p95_fraction=p95, total_fraction=total
    )


class _Table:
    """One table of a profile, whose every complaint names the file, the key and the value."""

    def __init__(self, path: Path, where: str, content: dict[str, Any]) -> None:
        self._path, self._where, self._content = path, where, content

    @property
    def keys(self) -> Iterable[str]:
        return self._content.keys()

    def has(self, key: str) -> bool:
        return key in self._content

    def allow(self, known: tuple[str, ...], *, with_origin: bool = False) -> None:
        if with_origin:
            known = (*known, "source", "measured_on", "command")
        for key in self._content:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {self._where}{near[0]}?" if near else ""
                raise self._wrong(key, "is unknown", hint or f"known: {', '.join(known)}")

    def table(self, key: str) -> _Table:
        value = self._get(key)
        if not isinstance(value, dict):
            raise self._wrong(key, "must be a table", f"got {value!r}")
        return _Table(self._path, f"{self._where}{key}.", value)

    def text(self, key: str) -> str:
        value = self._get(key)
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "must be a non-empty text", f"got {value!r}")
        return value

    def number(self, key: str, *, default: float | None = None, signed: bool = False) -> float:
        value = default if default is not None and not self.has(key) else self._get(key)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self._wrong(key, "must be a finite number", f"got {value!r}")
        if value < 0 and not signed:
            raise self._wrong(key, "must be at least 0", f"got {value!r}")
        return float(value)

    def kind(self) -> LatencyKind:
        text = self.text("kind")
        try:
            return LatencyKind(text)
        except ValueError:
            allowed = " or ".join(LatencyKind)
            raise self._wrong("kind", f"must be {allowed}", f"got {text!r}") from None

    def origin(self) -> Origin:
        return Origin(
            source=self.text("source"),
            measured_on=self.text("measured_on"),
            command=self.text("command"),
        )

    def _get(self, key: str) -> Any:  # noqa: ANN401  # narrowed by each caller
        if key not in self._content:
            raise ConfigError(f"{self._path}: {self._where}{key} is missing")
        return self._content[key]

    def _wrong(self, key: str, must: str, why: str) -> ConfigError:
        return ConfigError(f"{self._path}: {self._where}{key} {must}; {why}")
