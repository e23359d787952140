"""Where compiled code is kept, and loaded from. Knows neither numba nor what the code does."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any


def address_of(what: str | None, code: Callable[[str], bytes]) -> int:
    """Load object code, or make it; return the address of its one function."""
    return addresses_of(what, code, ("",))[0]


def addresses_of(
    what: str | None, code: Callable[[str], bytes], endings: tuple[str, ...]
) -> list[int]:
    """Load object code, or make it; return the addresses of its functions, by ends of their names.

    It is kept under `what`, which names the function and its kind of arguments among the sources
    that the folder stands for; None keeps nothing.
    """
    import llvmlite.binding as llvm

    name = f"kvsim_{sha256((what or f'unnamed {len(_LOADED)}').encode()).hexdigest()[:24]}"
    if name not in _LOADED:
        file = kept_folder() / f"{name}-{_machine()}.o"
        data = _kept(file) if what else None
        if data is None:
            with _no_garbage_collection():
                data = code(name)
            if what:
                _keep(file, data)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        _LOADED[name] = engine
    return [int(_LOADED[name].get_function_address(name + ending)) for ending in endings]


_LOADED: dict[str, Any] = {}
"""Engines that own loaded code, by the name that its functions begin with."""


def _kept(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _keep(file: Path, data: bytes) -> None:
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(file)
    except OSError:  # then it is compiled again next time
        part.unlink(missing_ok=True)


@cache
def target_machine() -> Any:
    """This processor, as llvmlite describes it."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
    )


@cache
def _machine() -> str:
    """A name for all that object code depends on, apart from the sources."""
    import llvmlite
    import llvmlite.binding as llvm

    parts = (
        llvmlite.__version__,
        llvm.get_default_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )
    return sha256(repr(parts).encode()).hexdigest()[:12]


def compiled_sources() -> dict[Path, bytes]:
    """Read the source files with functions that are compiled.

    A policy may look like plain Python: whoever takes it compiles its function.
    """
    root = Path(__file__).parents[1]
    found = {}
    for folder in ("calibration", "kernels", "policies", "sim", "studies", "traces"):
        for path in (root / folder).rglob("*.py"):
            source = path.read_bytes()
            if folder == "policies" or b"numba" in source or b"kernels import" in source:
                found[path] = source
    return found


@cache
def kept_folder() -> Path:
    """The folder of compiled code that belongs to exactly these sources.

    Code is compiled together with all that it calls, in whatever file that stands. So the
    folder's name is taken from all `compiled_sources`.
    """
    root = Path(__file__).parents[1]
    sources = compiled_sources()
    stamps = sorted((path.name, sha256(source).digest()) for path, source in sources.items())
    name = f"kvsim-kernels-{sha256(repr(stamps).encode()).hexdigest()[:16]}"
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"]) / name
    home = root / "__pycache__"
    try:
        home.mkdir(exist_ok=True)
        is_writable = os.access(home, os.W_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not (home / name).exists():
        for old in home.glob("kvsim-kernels-*"):
            shutil.rmtree(old, ignore_errors=True)
    return home / name


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """While numba compiles, a third of the time would go into finding next to nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
