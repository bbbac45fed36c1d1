"""The table of all settings: the rows of `Settings`.

`setting(...)` declares a field with all that there is to know of it: its variable, its meaning, how its text is read,
its default, the option that sets it, and whether a rerun line repeats it. The options of test files and of run_test.py
(`settings`), the rerun line (`rerun_command`) and docs/settings.md come from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from torch_testing_shim._shared import values
from torch_testing_shim._shared.device_map import DeviceMap, parse_device_map

#: Seconds that one distributed test may take where DISTRIBUTED_TESTS_DEFAULT_TIMEOUT does not say (as upstream).
DEFAULT_TIMEOUT_SECONDS = 300.0
#: Seconds that ranks have to stand still before a certain deadlock ends their test.
DEFAULT_STALL_SECONDS = 30.0
#: The largest seed that all generators take; numpy's takes no more.
LARGEST_SEED = 2**32 - 1
T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """The option of a command line that sets a setting."""

    spellings: str  # its spellings, with blanks between
    help: str  # its line in `--help`
    metavar: str | None = None  # how `--help` shows its value; None for a flag
    bare: str | None = None  # the value where the option stands without one, or None where it needs one
    in_files: bool = True  # test files have it
    in_runner: bool = True  # run_test.py has it

    @property
    def names(self) -> list[str]:
        return self.spellings.split()


@dataclass(frozen=True)
class Setting:
    """One row."""

    variable: str  # the variable of the environment
    #: Reads its text; raises `values.Unusable` with what the text must be, or ValueError with a sentence.
    read: Callable[[str], Any]
    default: Any  # the value where the variable is not set
    meaning: str  # one phrase for docs/settings.md
    is_repeated: bool = False  # a rerun line repeats it, because it may change an outcome
    is_ours: bool = False  # the harness or a launcher sets it, and people do not
    option: Option | None = None  # the option that sets it, or None


def setting(variable: str, meaning: str, read: Callable[[str], T], default: T, **more: Any) -> T:
    """Declare a field of `Settings`; see `Setting`. To mypy it is the default, which it checks with the reader."""
    row = Setting(variable, read, default, meaning, **more)
    declared: Any = field(default=default, metadata={"setting": row})
    return declared  # type: ignore[no-any-return]


def text(variable: str, meaning: str, **more: Any) -> str | None:
    """Declare a field that has the variable's text as it is."""
    return setting(variable, meaning, values.text, None, **more)


def flag(variable: str, meaning: str, *, default: bool = False, **more: Any) -> bool:
    """Declare a field that is on or off."""
    return setting(variable, meaning, values.flag, default, **more)


@dataclass(frozen=True)
class Settings:
    """The settings of a run. Each field's row says what it means."""

    device: str | None = text(
        "TORCH_TESTING_SHIM_DEVICE",
        "device type to run on; by default the accelerator that torch finds, else the CPU",
        is_repeated=True,
        option=Option("--device", "device type, such as cpu (default: what torch finds)", "DEVICE", in_files=False),
    )
    share_devices: bool = flag(
        "TORCH_TESTING_SHIM_SHARE_DEVICES",
        "1 lets ranks share accelerators where there are fewer",
        is_repeated=True,
        option=Option(
            "--share-devices",
            "ranks, and files at a time, share accelerators where there are fewer; ranks meet over gloo",
            in_files=False,
        ),
    )
    start_method: str | None = setting(
        "TORCH_TESTING_SHIM_START_METHOD",
        "`fork` or `spawn`; by default forked where that is safe, and a line says so where it is not",
        values.one_of("fork", "spawn"),
        None,
        is_repeated=True,
    )
    reuse_ranks: bool = flag(
        "TORCH_TESTING_SHIM_REUSE_RANKS",
        "1 runs consecutive tests of a module in the same ranks; a class's `reuse_ranks` wins over it",
        option=Option("--reuse-ranks", "run consecutive tests of a module in the same ranks"),
    )
    world_size: int | None = setting(
        "WORLD_SIZE",
        "ranks of the tests that do not fix their number",
        values.whole_number(1),
        None,
        is_repeated=True,
        option=Option("--world-size", "ranks of tests that do not fix their number (default: 4)", "N", in_files=False),
    )
    seed: int | None = setting(
        "TORCH_TESTING_SHIM_SEED",
        "what each test's random numbers start from; by default 1234",
        values.whole_number(0, LARGEST_SEED),
        None,
        is_repeated=True,
        option=Option("--seed", "what each test's random numbers start from (default: 1234)", "N"),
    )
    timeout_seconds: float = setting(
        "DISTRIBUTED_TESTS_DEFAULT_TIMEOUT",
        "seconds that a test may take, from the start of its ranks",
        values.seconds(),
        DEFAULT_TIMEOUT_SECONDS,
        is_repeated=True,
    )
    stall_seconds: float = setting(
        "TORCH_TESTING_SHIM_STALL_SECONDS",
        "how long ranks stand still before a certain deadlock ends their test; 0 for never",
        values.seconds(zero_allowed=True),
        DEFAULT_STALL_SECONDS,
        is_repeated=True,
    )
    lazy_connections: bool = flag(
        "TORCH_TESTING_SHIM_LAZY_CONNECTIONS",
        "1 lets gloo connect two ranks when they first communicate, where torch can; by default when a group is made",
        is_repeated=True,
    )
    strict_leaks: bool = flag(
        "TORCH_TESTING_SHIM_STRICT_LEAKS",
        "1 makes what a test leaves in the test process a failure; by default a line says so",
        is_repeated=True,
        option=Option("--strict-leaks", "fail tests that leave something in the test process"),
    )
    show_output: bool = flag(
        "TORCH_TESTING_SHIM_SHOW_OUTPUT",
        "1 prints what ranks printed also where their test passed, as `run_test.py -v -v` does",
    )
    full_traceback: bool = flag(
        "TORCH_TESTING_SHIM_FULL_TRACEBACK",
        "1 keeps the harness's own frames in the tracebacks and stacks of ranks",
        option=Option("--full-traceback", "show the harness's own frames of ranks, too", in_runner=False),
    )
    showlocals: bool = flag(
        "TORCH_TESTING_SHIM_SHOWLOCALS",
        "1 shows local variables in the tracebacks of ranks",
        option=Option("--showlocals --locals", "show local variables in tracebacks", in_runner=False),
    )
    print_repro: bool = flag(
        "PYTORCH_PRINT_REPRO_ON_FAILURE", "0 leaves out the command that runs a failed test again", default=True
    )
    with_slow: bool = flag("PYTORCH_TEST_WITH_SLOW", "1 also runs what `slowTest` marks", is_repeated=True)
    skip_fast: bool = flag("PYTORCH_TEST_SKIP_FAST", "1 runs nothing else than slow tests", is_repeated=True)
    omit_skipped: bool = flag(
        "PYTORCH_TEST_OMIT_SKIPPED",
        "1 leaves out the tests that were marked as skipped when their class was made",
        is_repeated=True,
    )
    slow_tests_file: str | None = setting(
        "SLOW_TESTS_FILE",
        "JSON file that names slow tests",
        values.absolute_path,
        None,
        is_repeated=True,
        option=Option("--import-slow-tests", "JSON file of slow tests", "FILE", "slow_tests.json", in_runner=False),
    )
    disabled_tests_file: str | None = setting(
        "DISABLED_TESTS_FILE",
        "JSON file that names tests to skip",
        values.absolute_path,
        None,
        is_repeated=True,
        option=Option(
            "--import-disabled-tests",
            "JSON file of tests to skip",
            "FILE",
            ".pytorch-disabled-tests.json",
            in_runner=False,
        ),
    )
    disabled_tests_only: bool = flag(
        "TORCH_TESTING_SHIM_RERUN_DISABLED_TESTS",
        "1 runs the tests that DISABLED_TESTS_FILE disables, and no others",
        is_repeated=True,
        option=Option(
            "--rerun-disabled-tests", "run the tests of --import-disabled-tests, and no others", in_runner=False
        ),
    )
    hypothesis_profile: str = setting(
        "PYTORCH_HYPOTHESIS_PROFILE",
        "`dev`, `debug` or `pytorch_ci`, which is the default where CI is set",
        values.one_of("dev", "debug", "pytorch_ci"),
        "dev",
        is_repeated=True,
    )
    omp_threads: str | None = text(
        "OMP_NUM_THREADS", "threads of each rank, which else get cores/ranks", is_repeated=True
    )
    mkl_threads: str | None = text("MKL_NUM_THREADS", "the same", is_repeated=True)
    is_ci: bool = setting("CI", "any value: the run is part of CI", values.is_set, False)
    # Not repeated: on CI it is often a folder of the job's, which is gone when somebody runs the test again. Python
    # passes over a TMPDIR that it cannot write; here that is an error, since a full disk must not be hidden.
    temporary_folder: str | None = text("TMPDIR", "where scratch folders are made")
    shared_folder: str | None = text(
        "TORCH_TESTING_SHIM_SHARED_DIR",
        "under torchrun on several hosts, a folder that all of them share, for `with_temp_dir`",
    )
    backend: str | None = text(
        "BACKEND", "process-group backend that the launcher has chosen", is_repeated=True, is_ours=True
    )
    rank: int | None = setting(
        "RANK", "which rank this process is, where torchrun has started it", values.decimal_or_none, None, is_ours=True
    )
    device_indices: tuple[int, ...] | None = setting(
        "TORCH_TESTING_SHIM_DEVICE_INDICES",
        "accelerators that the process may use, such as `0,2`; `run_test.py -j` leases them",
        values.indices,
        None,
        is_repeated=True,
        is_ours=True,
    )
    # Not repeated: the command itself says `--map-device`.
    device_map: DeviceMap | None = setting(  # noqa: RUF009  # no value is made before it is read
        "TORCH_TESTING_SHIM_MAP_DEVICE",
        "`cuda=cpu`: what is asked for on one device type is made on another; `--map-device` sets it",
        parse_device_map,
        None,
        is_ours=True,
    )
    upstream_file: str | None = text(
        "TORCH_TESTING_SHIM_UPSTREAM_FILE",
        "PyTorch's test file that this process and those that it starts run as it is",
        is_ours=True,
    )
    journal: str | None = text(
        "TORCH_TESTING_SHIM_JOURNAL", "file that gets a line as each test starts and ends", is_ours=True
    )
    expectations: str | None = text(
        "TORCH_TESTING_SHIM_EXPECTATIONS", "file that says which tests to skip", is_ours=True
    )

    @property
    def thread_caps_set(self) -> bool:
        """The user has set the number of threads, so that the harness does not."""
        return bool(self.omp_threads or self.mkl_threads)


DEFAULTS = Settings()
#: The table's rows, by the names of the fields.
SETTINGS: Mapping[str, Setting] = {one.name: one.metadata["setting"] for one in fields(Settings)}
