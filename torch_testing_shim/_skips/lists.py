"""Lists of tests in files: slow tests, and tests that an issue disables.

Two JSON files, in upstream's formats, name tests as "test_name (module.Class)":

    slow tests      {"test_name (__main__.Class)": 61.5}                              seconds, which are ignored
    disabled tests  {"test_name (__main__.Class)": ["https://issue/1", ["linux"]]}    no platform means all
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.settings import Settings
from torch_testing_shim._skips import flags
from torch_testing_shim._skips.by_machine import SLOW_REASON

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_ENTRY = re.compile(r"(?P<method>\S+) \((?P<test_class>\S+)\)")

#: Platforms as disabled tests name them. (This harness cannot run all tests by dynamo or inductor.)
_PLATFORMS: Mapping[str, bool] = {
    "linux": flags.IS_LINUX,
    "mac": flags.IS_MACOS,
    "macos": flags.IS_MACOS,
    "win": flags.IS_WINDOWS,
    "windows": flags.IS_WINDOWS,
    "rocm": flags.TEST_WITH_ROCM,
}


class TestListError(ValueError):
    """A file of slow or disabled tests cannot be used; the message is one sentence."""

    __test__ = False  # not a test class, whatever pytest makes of its name


def reason_not_to_run(class_name: str, method_name: str, is_slow: bool, settings: Settings) -> str | None:
    """Return why a test must not run; None where it may.

    Args:
        class_name: the class's name, without the names of enclosing classes.
        method_name: the test method's name.
        is_slow: the test is marked by `slowTest`.

    Raises:
        TestListError: a file that the settings name cannot be used.
    """
    is_slow = is_slow or _entry(settings.slow_tests_file, class_name, method_name) is not None
    if is_slow and not settings.with_slow:
        return SLOW_REASON
    issue = _disabling_issue(class_name, method_name, settings)
    if settings.disabled_tests_only and issue is None:
        return "test is not disabled; --rerun-disabled-tests is set"
    if issue is not None and not settings.disabled_tests_only:
        return f"test is disabled by {issue}"
    if settings.skip_fast and not is_slow:
        return "test is fast; PYTORCH_TEST_SKIP_FAST is set"
    return None


def _disabling_issue(class_name: str, method_name: str, settings: Settings) -> str | None:
    """Return the issue that disables a test on this platform; None where none does."""
    disabled = _entry(settings.disabled_tests_file, class_name, method_name)
    if disabled is None:
        return None
    issue, platforms = disabled
    return str(issue) if not platforms or any(_is_here(platform, settings) for platform in platforms) else None


def check_test_lists(settings: Settings) -> None:
    """Read the files that the settings name.

    Raises:
        TestListError: one cannot be used, or is missing.
    """
    if settings.disabled_tests_only and settings.disabled_tests_file is None:
        raise TestListError("--rerun-disabled-tests needs --import-disabled-tests")
    for path in (settings.slow_tests_file, settings.disabled_tests_file):
        if path is not None:
            _entries(path)
    for name, value in _entries(settings.disabled_tests_file).items() if settings.disabled_tests_file else ():
        if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], list)):
            raise TestListError(f"{settings.disabled_tests_file}: {name!r} is to have an issue and a list of platforms")


def _is_here(platform: str, settings: Settings) -> bool:
    if platform == "slow":
        return settings.with_slow
    if platform == "asan":
        return flags.LAZY_FLAGS["TEST_WITH_ASAN"]()
    if platform == "xpu":
        return flags.LAZY_FLAGS["TEST_XPU"]()
    return _PLATFORMS.get(platform, False)


def _entry(path: str | None, class_name: str, method_name: str) -> Any:
    """Return what the file at `path` says about a test; None where it says nothing."""
    if path is None:
        return None
    for name, value in _entries(path).items():
        match = _ENTRY.fullmatch(name)
        if match is None or match["method"] != method_name:
            continue
        if class_name.startswith(match["test_class"].rpartition(".")[2]):  # TestSuite also names TestSuiteCPU
            return value
    return None


def _entries(path: str) -> Mapping[str, Any]:
    try:
        return _entries_as_of(path, Path(path).stat().st_mtime_ns)
    except OSError as error:
        raise TestListError(f"cannot read the list of tests {path}: {error.strerror}") from None
    except ValueError as error:
        raise TestListError(f"{path} is no list of tests: {error}") from None


@functools.lru_cache(maxsize=4)
def _entries_as_of(path: str, changed: int) -> Mapping[str, Any]:
    entries = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(entries, dict):
        raise ValueError("it is not a JSON object")
    return entries
