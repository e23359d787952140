"""What to simulate: frozen settings of an engine and a cluster, and a strict TOML loader."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .. import ConfigError

T = typing.TypeVar("T")


ADMISSIONS = ("fcfs", "longest-prefix", "cluster-first")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """One serving instance, in vLLM's terms."""

    block_size: int = 16
    """Tokens a KV block."""
    gpu_blocks: int = 0
    """vLLM's num_gpu_blocks, the null block included; 0: from the model and the GPU's memory."""
    max_num_seqs: int = 256
    """Requests running at once."""
    max_num_batched_tokens: int = 8192
    """Tokens a step may compute."""
    long_prefill_token_threshold: int = 0
    """Longest prefill chunk while others are there; 0: no limit."""
    watermark: float = 0.0
    """Share of the blocks kept free when a request is admitted beside others."""
    reserve_full_isl: bool = True
    """Whether a request is admitted only if its whole prompt fits, not just its first chunk."""
    prefix_caching: bool = True
    """Whether blocks are kept for later requests."""
    admission: str = "fcfs"
    """Who of the queue is next. fcfs: the first, as in vLLM; longest-prefix: who has most blocks in
    the GPU, as SGLang's lpm; cluster-first: who shares most with the last one admitted (PEEK)."""
    admission_window: int = 128
    """Requests of the queue that are compared, for all but fcfs."""
    admission_passes: int = 64
    """Times that others may be let past the head of the queue."""

    def __post_init__(self) -> None:
        at_least_one = ("block_size", "max_num_seqs", "max_num_batched_tokens")
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise ConfigError(f"engine.{name} must be at least 1, got {getattr(self, name)}")
        if self.gpu_blocks != 0 and self.gpu_blocks < 2:
            raise ConfigError(
                "engine.gpu_blocks must be at least 2 (one is the null block), got"
                f" {self.gpu_blocks}"
            )
        if self.long_prefill_token_threshold < 0:
            raise ConfigError(
                "engine.long_prefill_token_threshold must be at least 0, got"
                f" {self.long_prefill_token_threshold}"
            )
        if self.admission not in ADMISSIONS:
            raise ConfigError(
                f"engine.admission must be one of {', '.join(ADMISSIONS)}, got {self.admission!r}"
            )
        if self.admission_window < 1 or self.admission_passes < 0:
            raise ConfigError(
                "engine.admission_window must be at least 1, engine.admission_passes at least 0"
            )
        if not 0 <= self.watermark < 1:
            raise ConfigError(f"engine.watermark must be in [0, 1), got {self.watermark}")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ConfigError(
                f"engine.max_num_batched_tokens ({self.max_num_batched_tokens}) must be at least"
                f" engine.max_num_seqs ({self.max_num_seqs})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """How many instances, and which of them gets a request."""

    instances: int = 1
    """Serving instances."""
    router: str = "round-robin"
    """round-robin, least-loaded or prefix-aware."""

    def __post_init__(self) -> None:
        if not 1 <= self.instances <= 4096:
            raise ConfigError(f"cluster.instances must be in 1..4096, got {self.instances}")


WRITES = ("write-through", "write-back", "selective")
PLACEMENTS = ("private", "hashed", "shared")


@dataclass(frozen=True, slots=True, kw_only=True)
class TierConfig:
    """Memory that keeps blocks below a GPU's own pool."""

    name: ClassVar[str] = "tier"

    blocks: int = 0
    """Blocks of one cache of the tier; 0: none, or from `gib`."""
    gib: float = 0.0
    """Its memory in GiB, in place of blocks."""
    policy: str = "lru"
    """What leaves it: NAME, FILE.py:Class or pkg.mod:Class, then ,parameter=value."""
    write: str = "write-through"
    """What enters it. write-through: every block, once it is in the tier above (computed, on the
    GPU), as vLLM's offloading does; write-back: what the tier above evicts; selective: like
    write-through, once a block was reused `min_hits` times."""
    min_hits: int = 1
    """Reuses in the tier above before a block is stored; for selective."""
    inclusion: str = "auto"
    """inclusive: a block stays when it is loaded; exclusive: it leaves; auto: it leaves a tier that
    is filled by write-back."""
    placement: str = "private"
    """private: a cache an instance; hashed: one an instance too, but a block's key says in which it
    is, for all; shared: one cache for all."""
    run_blocks: int = 1
    """Blocks in a row that go to the same cache; for hashed. A power of two."""
    gb_per_s: float = 0.0
    """Bandwidth of a cache's own link each way, GB/s; 0: it has none. Blocks of host and disk
    cross the link between host and GPU besides."""
    start_s: float = 0.0
    """Seconds to start a transfer on its own link when that is idle."""

    def __post_init__(self) -> None:
        name = self.name
        for field in ("blocks", "gib"):
            if not 0 <= getattr(self, field) < math.inf:
                raise ConfigError(f"{name}.{field} must be at least 0, got {getattr(self, field)}")
        if self.blocks and self.gib:
            raise ConfigError(f"give --{name}-blocks or --{name}-gib, not both")
        for field, allowed in (
            ("write", WRITES),
            ("inclusion", ("auto", "inclusive", "exclusive")),
            ("placement", PLACEMENTS),
        ):
            value = getattr(self, field)
            if value not in allowed:
                raise ConfigError(
                    f"{name}.{field} must be one of {', '.join(allowed)}, got {value!r}"
                )
        if self.inclusion == "exclusive" and self.write != "write-back":
            raise ConfigError(
                f"{name}.inclusion: only a tier that is filled by write-back can be exclusive"
            )
        if self.min_hits < 1:
            raise ConfigError(f"{name}.min_hits must be at least 1, got {self.min_hits}")
        if self.run_blocks < 1 or self.run_blocks & (self.run_blocks - 1):
            raise ConfigError(f"{name}.run_blocks must be a power of two, got {self.run_blocks}")
        for field in ("gb_per_s", "start_s"):
            if not 0 <= getattr(self, field) < math.inf:
                raise ConfigError(f"{name}.{field} must be at least 0, got {getattr(self, field)}")

    @property
    def is_exclusive(self) -> bool:
        """Whether a block leaves the tier when it is loaded."""
        if self.inclusion == "auto":
            return self.write == "write-back"
        return self.inclusion == "exclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConfig(TierConfig):
    """The part of each GPU's memory that is kept for blocks of all GPUs."""

    name: ClassVar[str] = "peer"

    write: str = "write-back"
    placement: str = "hashed"
    gb_per_s: float = 450.0
    """NVLink of an H100, each way (NVIDIA's data sheet: 900 GB/s both ways)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig(TierConfig):
    """The part of the CPU's memory that keeps blocks: the victim buffer."""

    name: ClassVar[str] = "host"

    copies: str = "scattered"
    """How blocks cross the link to the GPU. scattered: a copy for each block and layer, as vLLM's
    offloading does; gathered: put together on the GPU first, one copy a transfer."""
    ring: float = 0.0
    """Share of its blocks that is kept for what the GPU evicts although the queue is about to need
    it: pinned until then, in order of expected start. At least one block unless 0."""
    ring_window: int = 64
    """Waiting requests, from the head of the queue, that are looked at for that."""

    def __post_init__(self) -> None:
        TierConfig.__post_init__(self)
        if self.copies not in HOST_COPIES:
            raise ConfigError(
                f"host.copies must be one of {', '.join(HOST_COPIES)}, got {self.copies!r}"
            )
        if not 0 <= self.ring < 1:
            raise ConfigError(f"host.ring must be in [0, 1), got {self.ring}")
        if self.ring_window < 1:
            raise ConfigError(f"host.ring_window must be at least 1, got {self.ring_window}")
        if self.ring and self.placement != "private":
            raise ConfigError(
                f"host.ring: a cache that several instances use has no ring, and host.placement is"
                f" {self.placement}"
            )

    @property
    def ring_blocks(self) -> int:
        """Blocks of the ring, of `blocks`; the normal part keeps one at least."""
        most = self.blocks - 1
        return min(most, max(1, round(self.ring * self.blocks))) if self.ring and most > 0 else 0


HOST_COPIES = ("scattered", "gathered")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskConfig(TierConfig):
    """Blocks on disk, below the host's memory."""

    name: ClassVar[str] = "disk"

    write: str = "write-back"
    gb_per_s: float = 7.0
    """An NVMe disk on four lanes of PCIe 4.0 (the data sheets' sequential read)."""
    start_s: float = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """How transfers between tiers share their links, and when they are worth it."""

    sharing: str = "fifo"
    """fifo: a link serves one block after the other; fair: all transfers at once, in fair shares.
    With a tier that several instances use it is always fair."""
    overlap: str = "none"
    """none: a request starts when its blocks are there; layers: a layer's load overlaps the
    computation of the layers before it."""
    fetch: str = "always"
    """always: blocks in a lower tier are loaded; cheaper: unless computing them takes less time."""
    prefetch: int = 0
    """Requests of the queue whose blocks are loaded before their turn; 0: none."""

    def __post_init__(self) -> None:
        for field, allowed in (
            ("sharing", ("fifo", "fair")),
            ("overlap", ("none", "layers")),
            ("fetch", ("always", "cheaper")),
        ):
            value = getattr(self, field)
            if value not in allowed:
                raise ConfigError(
                    f"link.{field} must be one of {', '.join(allowed)}, got {value!r}"
                )
        if not 0 <= self.prefetch <= 1024:
            raise ConfigError(f"link.prefetch must be in 0..1024, got {self.prefetch}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A whole run, but for its trace."""

    engine: EngineConfig = EngineConfig()
    cluster: ClusterConfig = ClusterConfig()
    peer: PeerConfig = PeerConfig()
    host: HostConfig = HostConfig()
    disk: DiskConfig = DiskConfig()
    link: LinkConfig = LinkConfig()
    policy: str = "lru"
    """Eviction policy: NAME, FILE.py:Class or pkg.mod:Class, then ,parameter=value."""
    profile: str = "h100-llama-3.1-8b"
    """GPU and model profile: times and sizes."""
    model: str = ""
    """Model for sizes, if another than the profile's."""
    latency_affine: str = ""
    """a,b,c,d in seconds, in place of the profile's step times."""
    gpu_gib: float = 0.0
    """KV memory of an instance in GiB, in place of gpu_blocks."""
    closed_loop: bool = False
    """Whether a session's next request waits for the previous one's finish."""
    slo_ttft_s: float = 0.0
    """Time to first token within which a request counts as good; 0: any."""
    slo_tpot_s: float = 0.0
    """Likewise, time per output token."""
    seed: int = 0
    """Seed of all randomness."""

    def __post_init__(self) -> None:
        for name in ("slo_ttft_s", "slo_tpot_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(
                    f"{name} must be a number of seconds, 0 for no limit, got"
                    f" {getattr(self, name):g}"
                )


def check_tiers(config: RunConfig) -> None:
    """Check that every setting of a tier below the GPU, or of the links, means something.

    Raises:
        ConfigError: it is set, and there is no such tier.
    """
    tiers: tuple[TierConfig, ...] = (config.peer, config.host, config.disk)
    absent = [tier for tier in tiers if not (tier.blocks or tier.gib)]
    idle: list[tuple[Any, str, str, str]] = [
        (tier, tier.name, f"{tier.name} tier", tier.name) for tier in absent
    ]
    if len(absent) == len(tiers):
        idle.append((config.link, "link", "tier below the GPU", "host"))
    for part, name, what, option in idle:
        for field in dataclasses.fields(part):
            if getattr(part, field.name) != field.default:
                raise ConfigError(
                    f"{name}.{field.name} is set, but there is no {what}: give"
                    f" --{option}-gib or --{option}-blocks"
                )


def load_config(path: Path) -> RunConfig:
    """Read a run configuration; an unknown key or a wrong type is an error, never a default.

    Raises:
        ConfigError: the file cannot be read or is not as described by `RunConfig`.
    """
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    try:
        return _changed(RunConfig(), table, where="")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def with_settings(config: RunConfig, settings: Sequence[str]) -> RunConfig:
    """Return the configuration with some settings changed, each `key=value` or `part.key=value`.

    A value is written as in TOML; what is not a TOML value is taken as text.

    Raises:
        ConfigError: a setting is not written so, unknown, or of the wrong type.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: must be key=value, as disk.gb_per_s=3.5")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        part, _, key = name.strip().rpartition(".")
        try:
            config = _changed(config, {part: {key: value}} if part else {key: value}, "")
        except ConfigError as error:
            raise ConfigError(f"--set {setting}: {error}") from None
    return config


def _changed(config: T, table: dict[str, Any], where: str) -> T:
    """Return a settings object with the values of a table in place of its own."""
    hints = typing.get_type_hints(type(config))
    values: dict[str, object] = {}
    for key, value in table.items():
        name = f"{where}{key}"
        if key not in hints or key == "name":
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"; did you mean {where}{near[0]}?" if near else ""
            raise ConfigError(f"unknown key {name}{hint}")
        expected: type = hints[key]
        if dataclasses.is_dataclass(expected) and isinstance(value, dict):
            values[key] = _changed(getattr(config, key), value, f"{name}.")
        elif expected is float and type(value) is int:
            values[key] = float(value)
        elif type(value) is expected:
            values[key] = value
        else:
            raise ConfigError(
                f"{name} must be {expected.__name__}, got {type(value).__name__} ({value!r})"
            )
    return dataclasses.replace(config, **values)  # type: ignore[type-var]
