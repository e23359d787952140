"""Workloads as TOML files: read strictly, and written so that they are read as they were.

A file has the fields of `Workload`, and below them those of what these hold. A distribution is a
number, which is always drawn, or a table: of `median` and `sigma`, of `levels` and `values`, or
of `weights` and `parts`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ... import ConfigError
from .lengths import Constant, Distribution, Lognormal, Mixture, Quantiles
from .workload import Kind, Workload

_TABLES = (Lognormal, Quantiles, Mixture)
_NAMES = {float: "a number", int: "a whole number", str: "a string", bool: "true or false"}


def read_workload(path: Path) -> Workload:
    """Read a workload; one without a name is called as its file.

    Raises:
        ConfigError: the file cannot be read, or a value is unknown, missing, mistyped or out of
            range.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    try:
        return typing.cast("Workload", _made(Workload, {"name": path.stem} | table, ""))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _made(kind: type[Any], table: Any, where: str) -> Any:  # noqa: ANN401  (any of the classes)
    """Make one of the dataclasses that a workload is made of."""
    if not isinstance(table, dict):
        raise _wrong(where, "a table", table)
    hints = typing.get_type_hints(kind)
    for key in table:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"did you mean {_at(where, near[0])}?" if near else f"known: {', '.join(hints)}"
            raise ConfigError(f"unknown key {_at(where, key)}; {hint}")
    values = {key: _value(hints[key], value, _at(where, key)) for key, value in table.items()}
    for field in dataclasses.fields(kind):
        no_default = field.default is field.default_factory is dataclasses.MISSING
        if no_default and field.name not in table:
            raise ConfigError(f"{_at(where, field.name)} must be given")
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from None


def _value(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401  (whatever the hint says)
    if isinstance(hint, types.UnionType):  # or None, which TOML cannot say
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    inner = typing.get_args(hint)
    if hint is Distribution:
        return _distribution(value, where)
    if dataclasses.is_dataclass(hint):
        return _made(typing.cast("type[Any]", hint), value, where)
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise _wrong(where, "a table of tables", value)
        return {key: _value(inner[1], part, _at(where, key)) for key, part in value.items()}
    if inner and typing.get_args(inner[0]):  # names with shares, as a table
        if not isinstance(value, dict):
            raise _wrong(where, "a table of names and shares", value)
        return tuple((key, _value(float, part, _at(where, key))) for key, part in value.items())
    if inner:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        return tuple(_value(inner[0], part, f"{where}[{i}]") for i, part in enumerate(value))
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint or (hint is float and math.isnan(value)):
        raise _wrong(where, _NAMES[hint], value)
    return value


def _distribution(value: Any, where: str) -> Distribution:  # noqa: ANN401  (what TOML gives)
    if type(value) in (int, float) and 0 < value < math.inf:
        return Constant(float(value))
    known = set(value) if isinstance(value, dict) else set()
    n_of = [len(known & {field.name for field in dataclasses.fields(kind)}) for kind in _TABLES]
    if not any(n_of):
        must = (
            "a positive number, or a table of median and sigma, of levels and values, or of"
            " weights and parts"
        )
        raise _wrong(where, must, value)
    return typing.cast("Distribution", _made(_TABLES[n_of.index(max(n_of))], value, where))


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _wrong(where: str, must: str, value: object) -> ConfigError:
    told = repr(value)
    return ConfigError(f"{where} must be {must}, got {told if len(told) <= 60 else told[:57]}")


def workload_text(workload: Workload) -> str:
    """Write a workload as TOML, values that are the default left out."""
    plain = {
        field.name: getattr(workload, field.name)
        for field in _told(workload)
        if field.name not in ("arrivals", "pools", "kinds", "service")
    }
    lines = [*_lines(plain), "", "[arrivals]", *_fields(workload.arrivals)]
    for name, pool in workload.pools.items():
        lines += ["", f"[pools.{json.dumps(name)}]", *_fields(pool)]
    if list(_told(workload.service)):
        lines += ["", "[service]", *_fields(workload.service)]
    for kind in workload.kinds:
        lines += ["", "[[kinds]]", *_fields(kind)]
    return "\n".join(lines) + "\n"


def _told(thing: Any) -> Iterable[dataclasses.Field[Any]]:  # noqa: ANN401  (any dataclass)
    """Yield the fields that are not as they are by default."""
    for field in dataclasses.fields(thing):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if getattr(thing, field.name) != default:
            yield field


def _fields(thing: Any) -> list[str]:  # noqa: ANN401  (any dataclass)
    values = {field.name: getattr(thing, field.name) for field in _told(thing)}
    if isinstance(thing, Kind) and "pools" in values:
        values["pools"] = dict(values["pools"])
    return _lines(values)


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_text(value)}" for key, value in values.items()]


def _text(value: Any) -> str:  # noqa: ANN401  (any value of a workload)
    if isinstance(value, Constant):
        return _text(value.value)
    if isinstance(value, (str, bool)):
        return json.dumps(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(k)} = {_text(v)}' for k, v in value.items())} }}"
    if dataclasses.is_dataclass(value):
        return f"{{ {', '.join(_fields(value))} }}"
    return repr(value)
