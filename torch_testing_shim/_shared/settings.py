"""The one reader of the environment, and the table of all settings: variables in, a frozen `Settings` out.

`Settings` is the table. `setting(...)` declares a field with all that there is to know of it: its variable, how its
text is read, its default, its meaning, the option that sets it, and whether a rerun line repeats it. The options of
test files and of run_test.py (`setting_options`), the rerun line (`rerun_command`) and docs/settings.md come from it.

Nothing else in the package reads test configuration from `os.environ`. Settings are read where they are
needed and passed on; they are never cached, so a test may change the environment and read them again. What torch's own
definitions read by themselves is not here: PYTORCH_TESTING_DEVICE_ONLY_FOR, PYTORCH_TESTING_DEVICE_EXCEPT_FOR.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from torch_testing_shim._shared import values
from torch_testing_shim._shared.device_map import DeviceMap, parse_device_map
from torch_testing_shim._shared.setting_rows import Option, Setting, setting

#: Seconds that one distributed test may take where DISTRIBUTED_TESTS_DEFAULT_TIMEOUT does not say (as upstream).
DEFAULT_TIMEOUT_SECONDS = 300.0
#: Seconds that ranks have to stand still before a certain deadlock ends their test.
DEFAULT_STALL_SECONDS = 30.0
#: The largest seed that all generators take; numpy's takes no more.
LARGEST_SEED = 2**32 - 1


class SettingsError(ValueError):
    """A variable of the environment has a value that the harness cannot use; the message is one sentence."""


@dataclass(frozen=True)
class Settings:
    """The settings of a run. Each field's row says what it means."""

    device: str | None = setting(
        "TORCH_TESTING_SHIM_DEVICE",
        values.text,
        None,
        "device type to run on; by default the accelerator that torch finds, else the CPU",
        is_repeated=True,
        option=Option(("--device",), "device type, such as cpu (default: what torch finds)", "DEVICE", in_files=False),
    )
    share_devices: bool = setting(
        "TORCH_TESTING_SHIM_SHARE_DEVICES",
        values.flag,
        False,
        "1 lets ranks share accelerators where there are fewer",
        is_repeated=True,
        option=Option(
            ("--share-devices",),
            "ranks, and files at a time, share accelerators where there are fewer; ranks meet over gloo",
            in_files=False,
        ),
    )
    start_method: str | None = setting(
        "TORCH_TESTING_SHIM_START_METHOD",
        values.one_of("fork", "spawn"),
        None,
        "`fork` or `spawn`; by default forked where that is safe, and a line says so where it is not",
        is_repeated=True,
    )
    world_size: int | None = setting(
        "WORLD_SIZE",
        values.whole_number(1),
        None,
        "ranks of the tests that do not fix their number",
        is_repeated=True,
        option=Option(
            ("--world-size",), "ranks of tests that do not fix their number (default: 4)", "N", in_files=False
        ),
    )
    seed: int | None = setting(
        "TORCH_TESTING_SHIM_SEED",
        values.whole_number(0, LARGEST_SEED),
        None,
        "what each test's random numbers start from; by default 1234",
        is_repeated=True,
        option=Option(("--seed",), "what each test's random numbers start from (default: 1234)", "N"),
    )
    timeout_seconds: float = setting(
        "DISTRIBUTED_TESTS_DEFAULT_TIMEOUT",
        values.seconds(),
        DEFAULT_TIMEOUT_SECONDS,
        "seconds that a test may take, from the start of its ranks",
        is_repeated=True,
    )
    stall_seconds: float = setting(
        "TORCH_TESTING_SHIM_STALL_SECONDS",
        values.seconds(zero_allowed=True),
        DEFAULT_STALL_SECONDS,
        "how long ranks stand still before a certain deadlock ends their test; 0 for never",
        is_repeated=True,
    )
    strict_leaks: bool = setting(
        "TORCH_TESTING_SHIM_STRICT_LEAKS",
        values.flag,
        False,
        "1 makes what a test leaves in the test process a failure; by default a line says so",
        is_repeated=True,
        option=Option(("--strict-leaks",), "fail tests that leave something in the test process"),
    )
    show_output: bool = setting(
        "TORCH_TESTING_SHIM_SHOW_OUTPUT",
        values.flag,
        False,
        "1 prints what ranks printed also where their test passed, as `run_test.py -v -v` does",
    )
    full_traceback: bool = setting(
        "TORCH_TESTING_SHIM_FULL_TRACEBACK",
        values.flag,
        False,
        "1 keeps the harness's own frames in the tracebacks and stacks of ranks",
        option=Option(("--full-traceback",), "show the harness's own frames of ranks, too", in_runner=False),
    )
    showlocals: bool = setting(
        "TORCH_TESTING_SHIM_SHOWLOCALS",
        values.flag,
        False,
        "1 shows local variables in the tracebacks of ranks",
        option=Option(("--showlocals", "--locals"), "show local variables in tracebacks", in_runner=False),
    )
    print_repro: bool = setting(
        "PYTORCH_PRINT_REPRO_ON_FAILURE", values.flag, True, "0 leaves out the command that runs a failed test again"
    )
    with_slow: bool = setting(
        "PYTORCH_TEST_WITH_SLOW", values.flag, False, "1 also runs what `slowTest` marks", is_repeated=True
    )
    skip_fast: bool = setting(
        "PYTORCH_TEST_SKIP_FAST", values.flag, False, "1 runs nothing else than slow tests", is_repeated=True
    )
    omit_skipped: bool = setting(
        "PYTORCH_TEST_OMIT_SKIPPED",
        values.flag,
        False,
        "1 leaves out the tests that were marked as skipped when their class was made",
        is_repeated=True,
    )
    slow_tests_file: str | None = setting(
        "SLOW_TESTS_FILE",
        values.absolute_path,
        None,
        "JSON file that names slow tests",
        is_repeated=True,
        option=Option(("--import-slow-tests",), "JSON file of slow tests", "FILE", "slow_tests.json", in_runner=False),
    )
    disabled_tests_file: str | None = setting(
        "DISABLED_TESTS_FILE",
        values.absolute_path,
        None,
        "JSON file that names tests to skip",
        is_repeated=True,
        option=Option(
            ("--import-disabled-tests",),
            "JSON file of tests to skip",
            "FILE",
            ".pytorch-disabled-tests.json",
            in_runner=False,
        ),
    )
    hypothesis_profile: str = setting(
        "PYTORCH_HYPOTHESIS_PROFILE",
        values.one_of("dev", "debug", "pytorch_ci"),
        "dev",
        "`dev`, `debug` or `pytorch_ci`, which is the default where CI is set",
        is_repeated=True,
    )
    omp_threads: str | None = setting(
        "OMP_NUM_THREADS", values.text, None, "threads of each rank, which else get cores/ranks", is_repeated=True
    )
    mkl_threads: str | None = setting("MKL_NUM_THREADS", values.text, None, "the same", is_repeated=True)
    is_ci: bool = setting("CI", values.is_set, False, "any value: the run is part of CI")
    # Not repeated: on CI it is often a folder of the job's, which is gone when somebody runs the test again. Python
    # passes over a TMPDIR that it cannot write; here that is an error, since a full disk must not be hidden.
    temporary_folder: str | None = setting("TMPDIR", values.text, None, "where scratch folders are made")
    backend: str | None = setting(
        "BACKEND",
        values.text,
        None,
        "process-group backend that the launcher has chosen",
        is_repeated=True,
        is_ours=True,
    )
    rank: int | None = setting(
        "RANK", values.decimal_or_none, None, "which rank this process is, where torchrun has started it", is_ours=True
    )
    device_indices: tuple[int, ...] | None = setting(
        "TORCH_TESTING_SHIM_DEVICE_INDICES",
        values.indices,
        None,
        "accelerators that the process may use, such as `0,2`; `run_test.py -j` leases them",
        is_repeated=True,
        is_ours=True,
    )
    # Not repeated: the command itself says `--map-device`.
    device_map: DeviceMap | None = setting(  # noqa: RUF009  # no value is made before it is read
        "TORCH_TESTING_SHIM_MAP_DEVICE",
        parse_device_map,
        None,
        "`cuda=cpu`: what is asked for on one device type is made on another; `--map-device` sets it",
        is_ours=True,
    )
    upstream_file: str | None = setting(
        "TORCH_TESTING_SHIM_UPSTREAM_FILE",
        values.text,
        None,
        "PyTorch's test file that this process and those that it starts run as it is",
        is_ours=True,
    )
    journal: str | None = setting(
        "TORCH_TESTING_SHIM_JOURNAL",
        values.text,
        None,
        "file that gets a line as each test starts and ends",
        is_ours=True,
    )
    expectations: str | None = setting(
        "TORCH_TESTING_SHIM_EXPECTATIONS", values.text, None, "file that says which tests to skip", is_ours=True
    )

    @property
    def thread_caps_set(self) -> bool:
        """The user has set the number of threads, so that the harness does not."""
        return bool(self.omp_threads or self.mkl_threads)


DEFAULTS = Settings()
#: The table's rows, by the names of the fields.
SETTINGS: Mapping[str, Setting] = {one.name: one.metadata["setting"] for one in fields(Settings)}


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings from `environ` (default: the process's environment).

    Raises:
        SettingsError: a variable has a value that cannot be used.
    """
    env = os.environ if environ is None else environ
    found: dict[str, Any] = {name: _read(row, env.get(row.variable)) for name, row in SETTINGS.items()}
    settings = Settings(**found)
    if settings.is_ci and not env.get(SETTINGS["hypothesis_profile"].variable):
        settings = replace(settings, hypothesis_profile="pytorch_ci")
    return settings


def _read(row: Setting, text: str | None) -> object:
    if not text:  # an empty flag is off
        return False if text == "" and isinstance(row.default, bool) else row.default
    try:
        return row.read(text)
    except values.Unusable as error:
        raise SettingsError(f"{row.variable} is {text!r}; it must be {error}") from None
    except ValueError as error:
        raise SettingsError(f"{row.variable}: {error}") from None


def as_variables(settings: Settings, *, only_repeated: bool = False) -> dict[str, str]:
    """The variables of the settings that are not at their defaults, from which `read_settings` reads them again.

    Args:
        only_repeated: only what a rerun line repeats.
    """
    found = {
        row.variable: (getattr(settings, name), row.default)
        for name, row in SETTINGS.items()
        if row.is_repeated or not only_repeated
    }
    return {variable: values.as_text(value) for variable, (value, default) in found.items() if value != default}


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
    """The step of GitHub Actions that this process is part of.

    Attributes:
        workspace: the folder of the checkout (GITHUB_WORKSPACE), or None.
        step_summary: the file that the job's summary is added to (GITHUB_STEP_SUMMARY), or None.
    """

    workspace: str | None = None
    step_summary: str | None = None


def read_github_actions(environ: Mapping[str, str] | None = None) -> GitHubActions | None:
    """Read the step from `environ` (default: the process's environment); None where GITHUB_ACTIONS is not "true", as it
    is there."""
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
