"""The one reader of the environment: variables in, a frozen `Settings` out.

Nothing else in the package reads test configuration from `os.environ`. Settings are read where they are
needed and passed on; they are never cached, so a test may change the environment and read them again. What torch's own
definitions read by themselves is not here: PYTORCH_TESTING_DEVICE_ONLY_FOR, PYTORCH_TESTING_DEVICE_EXCEPT_FOR.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch_testing_shim._shared.device_map import DeviceMap, parse_device_map

__all__ = [
    "DEFAULT_TIMEOUT_SECONDS",
    "LARGEST_SEED",
    "GitHubActions",
    "Settings",
    "SettingsError",
    "asked_to_complete",
    "changed_environment",
    "read_cache_folder",
    "read_github_actions",
    "read_settings",
    "read_temporary_folder",
    "runs_under_pytest",
]

#: What one distributed test may take, in seconds, where DISTRIBUTED_TESTS_DEFAULT_TIMEOUT does not say (as upstream).
DEFAULT_TIMEOUT_SECONDS = 300.0
#: How long ranks have to stand still before a certain deadlock ends their test, in seconds.
DEFAULT_STALL_SECONDS = 30.0
#: The largest seed that all generators take; numpy's takes no more.
LARGEST_SEED = 2**32 - 1

START_METHODS = ("fork", "spawn")
HYPOTHESIS_PROFILES = ("dev", "debug", "pytorch_ci")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


class SettingsError(ValueError):
    """A variable of the environment has a value that the harness cannot use; the message is one sentence."""


@dataclass(frozen=True)
class Settings:
    """What the environment says about this run.

    Attributes:
        device: device type chosen by hand (TORCH_TESTING_SHIM_DEVICE), or None to take what torch finds.
        device_indices: the accelerators that this process may use, of those that torch finds
            (TORCH_TESTING_SHIM_DEVICE_INDICES, "0,2"; run_test.py leases them), or None for all.
        share_devices: a test may have more ranks than accelerators, which they share
            (TORCH_TESTING_SHIM_SHARE_DEVICES).
        start_method: "fork" or "spawn" chosen by hand (TORCH_TESTING_SHIM_START_METHOD), or None for what works best.
        world_size: ranks of the tests that do not fix their number (WORLD_SIZE, as upstream), or None.
        seed: what every test's random numbers start from (TORCH_TESTING_SHIM_SEED), or None.
        timeout_seconds: from the start of a test's ranks to its deadline (DISTRIBUTED_TESTS_DEFAULT_TIMEOUT).
        journal: path that a line is appended to as each test starts and ends (TORCH_TESTING_SHIM_JOURNAL), or None.
        expectations: path of the file that says which tests this process is to skip (TORCH_TESTING_SHIM_EXPECTATIONS,
            which run_test.py sets by itself), or None.
        thread_caps_set: the user has set OMP_NUM_THREADS or MKL_NUM_THREADS, so ranks keep their hands off.
        is_ci: CI has any non-empty value.
        hypothesis_profile: PYTORCH_HYPOTHESIS_PROFILE; "pytorch_ci" on CI and "dev" elsewhere where it is not set.
        with_slow: also run what `slowTest` marks (PYTORCH_TEST_WITH_SLOW).
        skip_fast: run nothing else (PYTORCH_TEST_SKIP_FAST).
        omit_skipped: leave out the tests that were marked as skipped when their class was made
            (PYTORCH_TEST_OMIT_SKIPPED).
        print_repro: print the command that runs a failed test alone (PYTORCH_PRINT_REPRO_ON_FAILURE, on by default).
        slow_tests_file: path of a JSON file naming slow tests (SLOW_TESTS_FILE), or None.
        disabled_tests_file: path of a JSON file naming disabled tests (DISABLED_TESTS_FILE), or None.
        temporary_folder: where scratch folders are made (TMPDIR), or None for the system's choice. Python passes over a
            TMPDIR that it cannot write; here that is an error, since a full disk is not to be hidden.
        stall_seconds: after this long without progress a certain deadlock ends its test
            (TORCH_TESTING_SHIM_STALL_SECONDS); 0 for never.
        full_traceback: tracebacks and stacks keep the harness's own frames (TORCH_TESTING_SHIM_FULL_TRACEBACK).
        showlocals: tracebacks of ranks show local variables (TORCH_TESTING_SHIM_SHOWLOCALS).
        strict_leaks: a test that leaves something in the test process has failed (TORCH_TESTING_SHIM_STRICT_LEAKS).
        upstream_file: path of the test file of PyTorch's that this process and those that it starts run as it is
            (TORCH_TESTING_SHIM_UPSTREAM_FILE, which the harness sets by itself), or None.
        device_map: what is asked for on one device type is made on another (TORCH_TESTING_SHIM_MAP_DEVICE, which
            `--map-device` sets), or None.
        backend: the process-group backend that a launcher has told (BACKEND), or None.
        show_output: print what ranks printed also when their test passed (TORCH_TESTING_SHIM_SHOW_OUTPUT).
        rank: which rank this process is, where torchrun has started it (RANK), or None.
    """

    device: str | None = None
    device_indices: tuple[int, ...] | None = None
    share_devices: bool = False
    start_method: str | None = None
    world_size: int | None = None
    seed: int | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    journal: str | None = None
    expectations: str | None = None
    thread_caps_set: bool = False
    is_ci: bool = False
    hypothesis_profile: str = "dev"
    with_slow: bool = False
    skip_fast: bool = False
    omit_skipped: bool = False
    print_repro: bool = True
    slow_tests_file: str | None = None
    disabled_tests_file: str | None = None
    temporary_folder: str | None = None
    stall_seconds: float = DEFAULT_STALL_SECONDS
    full_traceback: bool = False
    showlocals: bool = False
    strict_leaks: bool = False
    upstream_file: str | None = None
    device_map: DeviceMap | None = None
    show_output: bool = False
    rank: int | None = None
    backend: str | None = None


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings from `environ` (default: the process's environment).

    Raises:
        SettingsError: a variable has a value that cannot be used.
    """
    env = os.environ if environ is None else environ
    is_ci = bool(env.get("CI"))
    default_profile = "pytorch_ci" if is_ci else "dev"
    return Settings(
        device=env.get("TORCH_TESTING_SHIM_DEVICE") or None,
        device_indices=_indices(env, "TORCH_TESTING_SHIM_DEVICE_INDICES"),
        share_devices=_flag(env, "TORCH_TESTING_SHIM_SHARE_DEVICES"),
        start_method=_choice(env, "TORCH_TESTING_SHIM_START_METHOD", START_METHODS),
        world_size=_whole_number(env, "WORLD_SIZE", smallest=1),
        seed=_whole_number(env, "TORCH_TESTING_SHIM_SEED", largest=LARGEST_SEED),
        timeout_seconds=_seconds(env, "DISTRIBUTED_TESTS_DEFAULT_TIMEOUT", DEFAULT_TIMEOUT_SECONDS, zero_allowed=False),
        journal=env.get("TORCH_TESTING_SHIM_JOURNAL") or None,
        expectations=env.get("TORCH_TESTING_SHIM_EXPECTATIONS") or None,
        thread_caps_set=bool(env.get("OMP_NUM_THREADS") or env.get("MKL_NUM_THREADS")),
        is_ci=is_ci,
        hypothesis_profile=_choice(env, "PYTORCH_HYPOTHESIS_PROFILE", HYPOTHESIS_PROFILES) or default_profile,
        with_slow=_flag(env, "PYTORCH_TEST_WITH_SLOW"),
        skip_fast=_flag(env, "PYTORCH_TEST_SKIP_FAST"),
        omit_skipped=_flag(env, "PYTORCH_TEST_OMIT_SKIPPED"),
        print_repro=_flag(env, "PYTORCH_PRINT_REPRO_ON_FAILURE", default=True),
        slow_tests_file=env.get("SLOW_TESTS_FILE") or None,
        disabled_tests_file=env.get("DISABLED_TESTS_FILE") or None,
        temporary_folder=read_temporary_folder(env),
        stall_seconds=_seconds(env, "TORCH_TESTING_SHIM_STALL_SECONDS", DEFAULT_STALL_SECONDS),
        full_traceback=_flag(env, "TORCH_TESTING_SHIM_FULL_TRACEBACK"),
        showlocals=_flag(env, "TORCH_TESTING_SHIM_SHOWLOCALS"),
        strict_leaks=_flag(env, "TORCH_TESTING_SHIM_STRICT_LEAKS"),
        device_map=_device_map(env),
        upstream_file=env.get("TORCH_TESTING_SHIM_UPSTREAM_FILE") or None,
        show_output=_flag(env, "TORCH_TESTING_SHIM_SHOW_OUTPUT"),
        rank=int(env["RANK"]) if env.get("RANK", "").isdecimal() else None,  # else it is not torchrun's
        backend=env.get("BACKEND") or None,
    )


def _device_map(env: Mapping[str, str]) -> DeviceMap | None:
    text = env.get("TORCH_TESTING_SHIM_MAP_DEVICE")
    try:
        return parse_device_map(text) if text else None
    except ValueError as error:
        raise SettingsError(f"TORCH_TESTING_SHIM_MAP_DEVICE: {error}") from None


def asked_to_complete(environ: Mapping[str, str] | None = None) -> bool:
    """True where the shell has started this process to complete a command line (argcomplete's _ARGCOMPLETE)."""
    return "_ARGCOMPLETE" in (os.environ if environ is None else environ)


def runs_under_pytest(environ: Mapping[str, str] | None = None) -> bool:
    """True while pytest runs a test, in this process or in one that has started it (PYTEST_CURRENT_TEST)."""
    return "PYTEST_CURRENT_TEST" in (os.environ if environ is None else environ)


def read_temporary_folder(environ: Mapping[str, str] | None = None) -> str | None:
    """`Settings.temporary_folder` alone, for the runner, which goes on where other settings are wrong."""
    return (os.environ if environ is None else environ).get("TMPDIR") or None


def read_cache_folder(environ: Mapping[str, str] | None = None) -> str | None:
    """The folder of the user's caches: XDG_CACHE_HOME, or `.cache` in the home folder; None where neither is known."""
    chosen = (os.environ if environ is None else environ).get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return chosen if os.path.isabs(chosen) else None


@dataclass(frozen=True)
class GitHubActions:
    """What GitHub Actions says of the step that this process is part of.

    Attributes:
        workspace: the folder of the checkout (GITHUB_WORKSPACE), or None.
        step_summary: the file that the job's summary is added to (GITHUB_STEP_SUMMARY), or None.
    """

    workspace: str | None = None
    step_summary: str | None = None


def read_github_actions(environ: Mapping[str, str] | None = None) -> GitHubActions | None:
    """What `environ` (default: the process's environment) says of GitHub Actions; None where GITHUB_ACTIONS is not
    "true", as it is there."""
    env = os.environ if environ is None else environ
    if env.get("GITHUB_ACTIONS") != "true":
        return None
    return GitHubActions(env.get("GITHUB_WORKSPACE") or None, env.get("GITHUB_STEP_SUMMARY") or None)


@contextmanager
def changed_environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Variables of this process's environment have other values while the body runs; None takes one away. They are put
    back as they were."""
    before = {name: os.environ.get(name) for name in values}
    _set_environment(values)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    value = env.get(name)
    if not value:
        return None
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
    return value


def _whole_number(env: Mapping[str, str], name: str, *, smallest: int = 0, largest: int | None = None) -> int | None:
    text = env.get(name)
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else -1
    if number < smallest or (largest is not None and number > largest):
        wanted = f"a whole number from {smallest}" + (f" to {largest}" if largest is not None else "")
        raise SettingsError(f"{name} is {text!r}; it must be {wanted}")
    return number


def _indices(env: Mapping[str, str], name: str) -> tuple[int, ...] | None:
    text = env.get(name)
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    is_sound = all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts)
    if not is_sound or len(set(map(int, parts))) < len(parts):
        raise SettingsError(f"{name} is {text!r}; it must be different whole numbers with commas between")
    return tuple(map(int, parts))


def _seconds(env: Mapping[str, str], name: str, default: float, *, zero_allowed: bool = True) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf") or (seconds == 0 and not zero_allowed):
        wanted = "0 or a positive number" if zero_allowed else "a positive number"
        raise SettingsError(f"{name} is {text!r}; it must be {wanted} of seconds")
    return seconds


def _flag(env: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    text = env.get(name)
    if text is None:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise SettingsError(f"{name} is {text!r}; it must be 1 or 0")
