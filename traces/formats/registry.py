"""Which formats there are. This table is the registry; files are tried in its order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ... import ConfigError
from ..rows import Rows
from ..schema import Trace
from . import (
    agentic_mooncake,
    azure,
    benchmark_results,
    burstgpt,
    dynamo,
    kv_events,
    lmcache_agents,
    lmcache_lookups,
    mooncake,
    mooncake_writer,
    parquet,
    parquet_writer,
    qwen_bailian,
    servegen,
    sharegpt,
    vidur,
    weka,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What kvsim can do with one kind of trace file."""

    what: str
    """A few words for messages and help."""
    sniff: Callable[[bytes], bool]
    """Whether a file whose (decompressed) contents start so may be of this kind."""
    read: Callable[..., Rows]
    """Called with the files, and with the settings that are its keyword-only parameters."""
    write: Callable[[Trace, Path], None] | None = None
    extensions: tuple[str, ...] = ()
    """Ends of names for which `convert` writes this format."""
    has_blocks: bool = True
    """Whether what is written holds block ids: without them nothing can hit."""


FORMATS: dict[str, Format] = {
    "parquet": Format(
        what="Parquet with a row a request",
        sniff=parquet.sniff,
        read=parquet.read,
        write=parquet_writer.write,
        extensions=(".parquet",),
    ),
    "qwen-bailian": Format(
        what="JSON lines with chat_id, parent_chat_id, hash_ids",
        sniff=qwen_bailian.sniff,
        read=qwen_bailian.read,
        write=qwen_bailian.write,
    ),
    "agentic-mooncake": Format(
        what="Mooncake v2: a header, then requests with plays and dependencies",
        sniff=agentic_mooncake.sniff,
        read=agentic_mooncake.read,
    ),
    "weka": Format(
        what="JSON lines with a Claude Code session each",
        sniff=weka.sniff,
        read=weka.read,
    ),
    "dynamo": Format(
        what="Dynamo request traces, JSON lines of events",
        sniff=dynamo.sniff,
        read=dynamo.read,
    ),
    "lmcache-lookups": Format(
        what="LMCache look-up logs, JSON lines with chunk_hashes",
        sniff=lmcache_lookups.sniff,
        read=lmcache_lookups.read,
    ),
    "kv-events": Format(
        what="vLLM KV-cache events, JSON lines or MessagePack",
        sniff=kv_events.sniff,
        read=kv_events.read,
    ),
    "benchmark": Format(
        what="results of vllm bench serve or SGLang's bench_serving",
        sniff=benchmark_results.sniff,
        read=benchmark_results.read,
    ),
    "azure": Format(
        what="CSV with TIMESTAMP, ContextTokens, GeneratedTokens",
        sniff=azure.sniff,
        read=azure.read,
    ),
    "burstgpt": Format(
        what="CSV with Timestamp, Request tokens, Response tokens, Log Type",
        sniff=burstgpt.sniff,
        read=burstgpt.read,
    ),
    "vidur": Format(
        what="CSV with arrived_at, num_prefill_tokens, num_decode_tokens",
        sniff=vidur.sniff,
        read=vidur.read,
        write=vidur.write,
        extensions=(".csv",),
        has_blocks=False,
    ),
    "servegen": Format(
        what="ServeGen client parameters, CLIENT-trace.csv and CLIENT-dataset.json",
        sniff=servegen.sniff,
        read=servegen.read,
    ),
    "sharegpt": Format(
        what="conversations as texts, JSON or JSON lines",
        sniff=sharegpt.sniff,
        read=sharegpt.read,
    ),
    "lmcache-agents": Format(
        what="LMCache agent traces, JSON lines with input and session_id",
        sniff=lmcache_agents.sniff,
        read=lmcache_agents.read,
    ),
    # the last: it takes any JSON lines, to say which field they lack
    "mooncake": Format(
        what="JSON lines with timestamp, input_length, output_length, hash_ids",
        sniff=mooncake.sniff,
        read=mooncake.read,
        write=mooncake_writer.write,
        extensions=(".jsonl", ".jsonl.gz"),
    ),
}


def settings_of(name: str) -> dict[str, bool | int | float | str]:
    """Return what can be set when reading a format, with its defaults."""
    parameters = inspect.signature(FORMATS[name].read).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def converted(name: str, settings: Mapping[str, str]) -> dict[str, bool | int | float | str]:
    """Turn settings given as text into values of the types of their defaults.

    Raises:
        ConfigError: the format has no such setting, or the text is no such value.
    """
    known = settings_of(name)
    found: dict[str, bool | int | float | str] = {}
    for key, text in settings.items():
        if key not in known:
            told = ", ".join(known) or "none"
            raise ConfigError(f"{name} has no setting {key!r}; it has: {told}")
        default = known[key]
        try:
            if isinstance(default, bool):
                found[key] = {"true": True, "false": False}[text.lower()]
            else:
                found[key] = type(default)(text)
        except (KeyError, ValueError):
            kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
            raise ConfigError(f"{key} must be {kind}, got {text!r}") from None
    return found
