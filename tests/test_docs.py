"""The pages are true: their examples run, and nothing that exists is missing from them."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import kvsim
from kvsim.cli import app, main
from kvsim.policies import POLICIES, find_policy
from kvsim.sim.router import ROUTERS
from kvsim.traces.formats import FORMATS
from kvsim.traces.sample import sample_path

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(m.name for m in pkgutil.walk_packages(kvsim.__path__, "kvsim."))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
SAMPLE = "traces/samples/mooncake_conversation_2000.parquet"


def text_of(*names: str) -> str:
    return "\n".join((ROOT / name).read_text() for name in names)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_page_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a page's python blocks as one program, in a folder where the sample trace lies."""
    blocks = [code for kind, code in BLOCK.findall(page.read_text()) if kind == "python"]
    if not blocks:
        return
    copy_sample(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), str(page), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_page_commands(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run the `kvsim` commands of a page's sh blocks, one after the other, on few requests."""
    copy_sample(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, code in re.findall(
        r"^# (\w+\.(?:py|toml))\n(.*?)^```", page.read_text(), re.M | re.S
    ):
        (tmp_path / name).write_text(code)
    for command in commands(page):
        monkeypatch.setattr(sys, "argv", shortened(command))
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, (command, capsys.readouterr().err)


def copy_sample(directory: Path) -> None:
    """Put the sample where the pages say it is, and under the name they give the reader's own."""
    for name in (SAMPLE, "trace.jsonl"):
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(sample_path().read_bytes())


def commands(page: Path) -> list[list[str]]:
    found = []
    for kind, code in BLOCK.findall(page.read_text()):
        if kind == "sh":
            lines = code.replace("\\\n", " ").splitlines()
            words = [shlex.split(line, comments=True) for line in lines]
            found += [line for line in words if line and line[0] == "kvsim"]
    return found


def shortened(command: list[str]) -> list[str]:
    if command[1] in ("replay", "compare", "mrc", "bound") and "--limit" not in command:
        return [*command, "--limit", "60"]
    return command


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_is_described(name: str) -> None:
    page = text_of("docs/policies.md")
    assert f"`{name}`" in page
    for parameter in getattr(find_policy(name), "__dataclass_fields__", {}):
        assert f"`{parameter}`" in page, parameter


def test_every_command_and_option_is_described() -> None:
    page = text_of("docs/cli.md")
    for path, command in walk(typer.main.get_command(app)):
        assert f"## kvsim {path}\n" in page, path
        section = page.partition(f"## kvsim {path}\n")[2].partition("\n## ")[0]
        common = page.partition("## Options")[2].partition("\n## ")[0]
        for option in command.params:
            if option.param_type_name == "option" and option.name != "help":
                name = max(option.opts, key=len)
                assert f"`{name}" in section or f"`{name}" in common, (path, name)


def walk(group: Any, above: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, command in group.commands.items():
        path = f"{above}{name}"
        found += walk(command, f"{path} ") if hasattr(command, "commands") else [(path, command)]
    return found


def test_every_router_and_format_is_described() -> None:
    page = text_of("README.md", "docs/cli.md", "docs/formats.md")
    assert [name for name in [*ROUTERS, *FORMATS] if f"`{name}`" not in page] == []


def test_every_metric_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    words = ["replay", str(sample_path()), "--limit", "60", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["kvsim", *words])
    with pytest.raises(SystemExit):
        main()
    page = text_of("docs/metrics.md")
    summary = json.loads((out / "summary.json").read_text())
    assert [key for key in summary if f"`{key}`" not in page] == []


def test_the_policies_of_the_page_conform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from kvsim.policies import Policy
    from kvsim.policies.testing import check_policy

    copy_sample(tmp_path)
    monkeypatch.chdir(tmp_path)
    page = text_of("docs/policies.md")
    code = "\n".join(code for kind, code in BLOCK.findall(page) if kind == "python")
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, "docs/policies.md", "exec"), names)
    mine = [x for x in names.values() if isinstance(x, type) and x.__module__ == "page"]
    assert len(mine) == 4
    for policy in mine:
        assert issubclass(policy, Policy)
        check_policy(policy())
