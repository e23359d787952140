"""The package holds every folder of the house, and nothing lies about at its root."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import kvsim

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("calibration", "kernels", "policies", "reports", "sim", "studies", "traces")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_tests_see_this_checkout() -> None:
    assert Path(kvsim.__file__).resolve().parent == ROOT


def test_every_package_is_listed(project: dict[str, Any]) -> None:
    inits = [init for folder in FOLDERS for init in (ROOT / folder).rglob("__init__.py")]
    found = {".".join(("kvsim", *init.parent.relative_to(ROOT).parts)) for init in inits}
    assert set(project["tool"]["setuptools"]["packages"]) == found | {"kvsim"}


def test_every_module_lies_in_a_package() -> None:
    for folder in FOLDERS:
        for module in (ROOT / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), module


def test_what_is_not_python_ships_too(project: dict[str, Any]) -> None:
    patterns = project["tool"]["setuptools"]["package-data"]
    shipped = {
        path
        for package, globs in patterns.items()
        for glob in globs
        for path in ROOT.joinpath(*package.split(".")[1:]).glob(glob)
    }
    data = {
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix not in (".py", ".pyc", ".nbi", ".nbc", ".kvtree")
        and "__pycache__" not in path.parts
        and not path.name.endswith((".tmp", ".part"))
    }
    assert data <= shipped


def test_the_root_holds_no_other_module() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "cli.py"}


def test_one_version(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == kvsim.__version__
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(kvsim.__version__)}\]", changes, re.MULTILINE)
