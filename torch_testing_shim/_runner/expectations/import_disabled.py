"""`--import-disabled-tests JSON FILE`: PyTorch's list of disabled tests as an expectations file.

    {"test_name (module.Class)": ["https://github.com/.../issues/1", ["linux", "rocm"]]}

No platform means all; a number of the issue may stand in front. As in PyTorch (torch 2.13), `Class` also names the
classes whose names begin with it, and a test's name also names the tests that are made of it for a device type and a
dtype. The list does not name files: a test goes to the files here that define its class, and a test without such a file
is left out and counted.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.atomic_write import write_whole
from torch_testing_shim._shared.expectation_ids import escaped
from torch_testing_shim._shared.expectations import Expect, Expectation

from ..usage_error import UsageError, refusal
from .rewriting import new_block

ENTRY = re.compile(r"(?P<method>\S.*) \((?P<where>[\w.]+)\)", re.DOTALL)
#: The device types and dtypes that names of generic tests end in.
DEVICES = ("cpu", "cuda", "xpu", "mps", "hpu", "meta", "lazy", "npu", "mtia", "xla", "privateuse1")
DTYPES = (
    *("float16", "float32", "float64", "bfloat16", "complex32", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
PLATFORMS = {"linux": ("linux",), "darwin": ("mac", "macos"), "win32": ("win", "windows")}


@dataclass(frozen=True)
class DisabledTest:
    """One test of the list."""

    method: str
    module: str  # the module of the class, "__main__" where it is not named
    test_class: str
    issue: str = ""  # the address of the issue
    platforms: tuple[str, ...] = ()  # the platforms on which it is disabled; empty for all


def import_disabled_tests(json_path: Path, path: Path, platforms: Sequence[str], files: Mapping[str, Path]) -> str:
    """Write the expectations; return a sentence about them.

    Args:
        platforms: the platforms that count; empty for this machine's.
        files: the names of the test files that are here -> their paths.
    """
    if path.exists():
        raise UsageError(f"--import-disabled-tests: {str(path)!r} is there already; name a new file")
    disabled = read_disabled(json_path)
    wanted = set(platforms or here(sys.platform))
    meant = [test for test in disabled if not test.platforms or wanted & {*test.platforms}]
    classes = {name: read_classes(_source(source)) for name, source in files.items()}
    entries, missing = expectations_of(meant, classes)
    text = [f"# Tests that PyTorch has disabled on {', '.join(sorted(wanted))}.\n"]
    with refusal(f"write the expectations {str(path)!r}"):
        write_whole(path, [*text, *(f"\n{new_block(entry)}" for entry in entries)])
    elsewhere = len(disabled) - len(meant)
    return (
        f"{path}: {len(entries)} entries for {len(meant) - missing} of {len(disabled)} disabled tests; "
        f"{missing} have no class in a test file here, {elsewhere} are disabled on other platforms"
    )


def here(platform: str) -> tuple[str, ...]:
    """The list's names of the platform that Python calls `platform`."""
    return PLATFORMS.get(platform, (platform,))


def read_disabled(path: Path) -> list[DisabledTest]:
    """Read a list."""
    with refusal(f"read the list of disabled tests {str(path)!r}"):
        text = path.read_bytes()
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{str(path)!r} is no list of disabled tests: {error}") from None
    if not isinstance(rows, dict):
        raise UsageError(f"{str(path)!r} is no list of disabled tests: it is no JSON object")
    return [_disabled(name, value, path) for name, value in rows.items()]


def _disabled(name: str, value: Any, path: Path) -> DisabledTest:
    match = ENTRY.fullmatch(name)
    parts = value if isinstance(value, list) and value else [None]
    platforms = parts[-1]
    if match is None or not isinstance(platforms, list) or not all(isinstance(one, str) for one in platforms):
        wanted = '"test_name (module.Class)": [issue, [platforms]]'
        raise UsageError(f"{str(path)!r} is no list of disabled tests: {name!r} does not look like {wanted}")
    issue = next((one for one in parts[:-1] if isinstance(one, str)), "")
    module, _, test_class = match["where"].rpartition(".")
    return DisabledTest(match["method"], module, test_class, issue, tuple(platforms))


def expectations_of(
    disabled: Iterable[DisabledTest], classes: Mapping[str, TestClasses]
) -> tuple[list[Expectation], int]:
    """Return the entries, one for each test and file, and the number of tests without a file.

    Args:
        classes: the names of files -> their classes.
    """
    entries: dict[str, Expectation] = {}
    missing = 0
    for test in disabled:
        ids = [one for file, held in classes.items() if (one := _id_in(file, held, test))]
        missing += not ids
        for one in ids:
            entries.setdefault(one, Expectation(one, Expect.SKIP, "disabled in PyTorch", test.issue))
    return list(entries.values()), missing


def _id_in(file: str, held: TestClasses, test: DisabledTest) -> str:
    """The id of a test in a file; "" where the file does not define its class."""
    dotted = file.replace("/", ".")
    if test.module not in ("__main__", "") and not f".{dotted}".endswith(f".{test.module.removeprefix('test.')}"):
        return ""
    wanted, generic = test.test_class, test.test_class in held.generic
    made = any(wanted.startswith(name) and wanted[len(name) :].lower() in DEVICES for name in held.generic)
    if not (generic or made or any(name.startswith(wanted) for name in held.names)):
        return ""
    suffixes = f"{{,{','.join(f'_{device}' for device in DEVICES)}}}{{,{','.join(f'_{one}' for one in DTYPES)}}}"
    return f"{file}::{wanted}*.{escaped(test.method)}{suffixes if generic or made else ''}"


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


#: The function that makes the classes of a generic one, which is its first argument.
MAKER = "instantiate_device_type_tests"


@dataclass(frozen=True)
class TestClasses:
    """The classes of one file."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    names: frozenset[str] = frozenset()  # all of them
    #: Those that are made again for each device type: Class -> ClassCPU, ClassCUDA.
    generic: frozenset[str] = frozenset()


def read_classes(source: str) -> TestClasses:
    """Read the classes off a file's source; none where it is not Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return TestClasses()
    names = frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return TestClasses(names, frozenset(_generic(tree)))


def _generic(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == MAKER:
                yield node.args[0].id
