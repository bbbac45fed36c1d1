"""The options of a run: one frozen `Options`, made by `arguments`. Its defaults are the command line's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._shared.settings import DEFAULTS, Settings

from ..plan.sharding import Shard

#: Seconds that `--enable-timeout` lets a file take: well over what the longest files of the suite need.
DEFAULT_FILE_TIMEOUT = 1800.0


@dataclass(frozen=True)
class Options:
    """The options of a run.

    What runs:

    Attributes:
        include: the requests that choose files or parts of them (see `selection`); empty for all files.
        exclude: the requests that leave files or parts of them out.
        upstream: PyTorch's test files, and folders of them, that run as they are in place of those under test/.
        report_surface: say which names those files import, and run nothing.
        hw_classification: names of hardware; a test's class must have one of them; empty for all tests.
        keywords: `-k` patterns, each a part of a test's name, a glob, or an expression (see `keyword_expression`).
        distributed: True for only the files under test/distributed, False for only the others, None for both.
        shard: the part of the selection that runs, or None for everything.
        last_failed: only what failed the last time that it ran; everything where nothing did.
        failed_from: only the tests that this file names, one `file::Class.test` on each line; or None.
        list_names: print the names of the selected files and run nothing.
        dry_run: print the commands and run nothing.

    Where the test files are:

        root: the folder that their names start at, or None to find it (see `project`).
        patterns: globs over the names of test files; empty for the usual one.
        exclude_folders: globs over the paths of folders below the root that hold no tests.

    In which order:

        first: leave out the files before the one of this name, or None.
        last: leave out the files after the one of this name, or None.
        bring_to_front: requests for files that run before the others, in their order.
        failed_first: files with tests that failed the last time run before the others.

    How it runs:

        jobs: how many files run at a time, 1 or more.
        cold: a new interpreter for each file, instead of a fork of one that has imported torch.
        keep_going: go on after a file that failed.
        settings: what the options set for the files and their ranks (see `setting_options`), all else at its default.
        map_device: what is asked for on one device type is made on another, "cuda=cpu"; or None.
        showlocals: tracebacks show local variables.
        coverage: run the files under coverage.py and report on all of them together; `cold` then holds too.
        timeout: seconds that a file may take, or None for as long as it likes.
        enable_timeout: a limit was asked for without naming one; `timeout` is `DEFAULT_FILE_TIMEOUT` then.
        deadline: seconds from the start of the run after which no file is started, or None.
        file_arguments: what stood after `--`: it goes to every test file as it is.

    What is expected not to pass:

        expectations: path of the file that says so (see `expectations`), or None.
        update_expectations: after the run, write into that file what it has shown.
        import_disabled_tests: path of PyTorch's list of disabled tests, and of the expectations file that is made of
            it, and nothing runs; or None.
        platforms: the platforms of that list that count; empty for this machine's.

    Again:

        retries: how many times a failed test runs again, alone; 0 for never.
        fail_on_flaky: a test that passed only when it was run again is a failure.
        repeat: how many times each file runs; 0 for without end.
        until_failure: stop repeating at the first failure.

    What is shown:

        verbosity: 0 for lines about files; 1 streams what the files print, with a line for each test; 2 or more shows
            what ranks print in tests that pass, too.
        pipe_logs: show the files' output as it comes, each line with its file in front, also where files run in
            parallel.
        durations: how many of the slowest tests are listed at the end, 0 for all of them; None for no list.
        why_skipped: list the reasons of skips at the end.
        fail_if_all_skipped: a run in which every test was skipped has failed.

    What is written:

        save_xml: write JUnit XML.
        xml_folder: where to, or None for test/test-reports/python-unittest.
        report_html: path of the HTML page, or None.
        trace: path of the trace of processes for Chrome and Perfetto, or None.
        json_lines: path of the records of tests and ranks, one JSON object on each line, or None.
        times: path of the recorded times, read and written, or None for the tree's own.
        merge_times: paths of times files that are to be merged into `times`; where there are any, nothing runs.
        merge_reports: folders of records that are to be merged into one report with one verdict; where there are any,
            nothing runs.
        write_failed: path that the failed tests are written to, one `file::Class.test` on each line, or None.

    Of the command line itself:

        program: how the command is called, in what it prints about itself.
        notes: one sentence for each option that was accepted and does nothing.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    report_surface: bool = False
    keywords: tuple[str, ...] = ()
    hw_classification: tuple[str, ...] = ()
    distributed: bool | None = None
    shard: Shard | None = None
    last_failed: bool = False
    failed_from: Path | None = None
    list_names: bool = False
    dry_run: bool = False

    root: Path | None = None
    patterns: tuple[str, ...] = ()
    exclude_folders: tuple[str, ...] = ()

    first: str | None = None
    last: str | None = None
    bring_to_front: tuple[str, ...] = ()
    failed_first: bool = False

    jobs: int = 1
    cold: bool = False
    keep_going: bool = False
    settings: Settings = DEFAULTS
    map_device: DeviceMap | None = None
    showlocals: bool = False
    coverage: bool = False
    timeout: float | None = None
    enable_timeout: bool = False
    deadline: float | None = None
    file_arguments: tuple[str, ...] = ()

    expectations: Path | None = None
    update_expectations: bool = False
    import_disabled_tests: tuple[Path, Path] | None = None
    platforms: tuple[str, ...] = ()

    retries: int = 0
    fail_on_flaky: bool = False
    repeat: int = 1
    until_failure: bool = False

    verbosity: int = 0
    pipe_logs: bool = False
    durations: int | None = None
    why_skipped: bool = False
    fail_if_all_skipped: bool = False

    save_xml: bool = False
    xml_folder: str | None = None
    report_html: Path | None = None
    trace: Path | None = None
    json_lines: Path | None = None
    times: Path | None = None
    merge_times: tuple[Path, ...] = ()
    merge_reports: tuple[Path, ...] = ()
    write_failed: Path | None = None

    program: str = "run_test.py"
    notes: tuple[str, ...] = ()

    @property
    def verbose(self) -> bool:
        """Stream what the test files print."""
        return self.verbosity > 0
