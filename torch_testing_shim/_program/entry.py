"""`run_tests`: what `python test_file.py ...` does.

    options > settings > load > select > run (here, in children, by pytest) > report > exit status

Whichever way the tests run, each leaves one entry in the `TestLog`, and the exit status follows from those entries.
"""

from __future__ import annotations

import functools
import importlib
import shlex
import sys
import time
import types
import unittest
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from torch_testing_shim._engine.devices import DeviceError, checked_device
from torch_testing_shim._engine.job import LaunchError, check_scratch_folder
from torch_testing_shim._engine.launcher import STARTER
from torch_testing_shim._engine.new_interpreter import is_importing_main
from torch_testing_shim._program.child_runs import run_in_children
from torch_testing_shim._program.interrupts import Interrupts, Terminated, end_what_is_left, exit_status
from torch_testing_shim._program.joined_facts import facts_of, refuse_options
from torch_testing_shim._program.joined_run import joined_run
from torch_testing_shim._program.junit import check_reportable, write_report
from torch_testing_shim._program.log import TestLog
from torch_testing_shim._program.options import (
    ProgramOptions,
    UsageError,
    export,
    parse_arguments,
    take_expectations,
    take_journal,
)
from torch_testing_shim._program.selection import load, select, test_name, tests_to_skip
from torch_testing_shim._program.unittest_result import ExitOutsideTests, Fixtures, JournalingResult
from torch_testing_shim._program.voice import Voice
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.hardware import HardwareChoice, HardwareError, choose_by_hardware
from torch_testing_shim._shared.journal import JournalEntry, TestStatus
from torch_testing_shim._shared.last_collection import settle_last_collection
from torch_testing_shim._shared.launch import Launch
from torch_testing_shim._shared.python_command import pytest_arguments
from torch_testing_shim._shared.settings import Settings, SettingsError, read_launch, read_settings
from torch_testing_shim._shared.stack_request import answer_stack_requests
from torch_testing_shim._shared.standard_streams import open_standard_streams
from torch_testing_shim._skips.lists import TestListError, check_test_lists

__unittest = True  # unittest and pytest leave the frames of this module out of a report

_USAGE_ERRORS = (UsageError, SettingsError, TestListError, DeviceError, HardwareError, LaunchError)


def run_tests(argv: list[str] | None = None) -> None:
    """Run the tests of the main module as the command line says, and end the process (upstream: `run_tests`,
    torch 2.13). `-h` lists the options.

    Args:
        argv: the command line with the program's name; `sys.argv` by default.

    Raises:
        SystemExit: always, but in a rank that imports the file; 0 where all tests passed or skipped, 1 where one
            failed, 2 where the command line or the environment is wrong, 5 where there was nothing to run, 130 where
            Ctrl-C stopped the run, 143 where SIGTERM did, 129 where SIGHUP did.
    """
    if is_importing_main():  # a file that does not ask for its __name__ first
        return
    arguments = sys.argv if argv is None else argv
    script = getattr(sys.modules["__main__"], "__file__", None) or arguments[0]
    open_standard_streams()
    answer_stack_requests()
    launch, voice = read_launch(), Voice()
    if launch is not None and launch.rank:
        voice.fall_silent()
    with Interrupts() as interrupts:
        try:
            status = _run(parse_arguments(arguments[1:], script), script, interrupts, launch, voice)
        except _USAGE_ERRORS as error:
            if not isinstance(error, UsageError):  # all would say the same
                voice.speak()
            print(error, file=sys.stderr)
            status = ExitStatus.USAGE
        except Exception:
            voice.speak()
            raise
        except KeyboardInterrupt as interrupt:
            status = _interrupted(interrupt, interrupts)
        if launch is not None:  # torchrun ends the others once one has ended, and all have the same status to tell
            interrupts.ignore()
    sys.stdout.flush()
    settle_last_collection()
    raise SystemExit(status)


def _interrupted(interrupt: KeyboardInterrupt, interrupts: Interrupts) -> int:
    """End what the run was doing; return the exit status."""
    end_what_is_left()
    interrupts.ignore()
    how = f"ended by {interrupt.signal.name}" if isinstance(interrupt, Terminated) else "interrupted"
    print(how, file=sys.stderr)
    return exit_status(interrupt)


def _run(options: ProgramOptions, script: str, interrupts: Interrupts, launch: Launch | None, voice: Voice) -> int:
    export(options)
    if launch is not None:
        refuse_options(options)
    settings = read_settings()
    check_test_lists(settings)
    device = checked_device(settings)
    check_scratch_folder()
    if options.save_xml is not None:
        check_reportable(options.save_xml)
    choice = _choice(options)
    if options.hw_classification:
        print(choice, file=sys.stderr)
    names = [test_name(test) for test in choice.chosen]
    skipped = tests_to_skip(take_expectations(settings), names, device.type)
    journal = take_journal(settings)
    if launch is not None and launch.rank:
        journal, options = None, replace(options, save_xml=None)
    if launch is not None and names and not options.discover:
        with joined_run(launch, names, facts_of(names, [script], settings, device), voice) as joined:
            joined_log = joined.log(journal)
            joined_log.plan(names, device.type, len(choice.left_out))
            status = _run_and_report(names, skipped, options, script, joined_log, interrupts)
            return joined.merged(status, joined_log)
    log = TestLog(journal)
    log.plan(names, device.type, len(choice.left_out))
    if options.discover:
        print("\n".join(names))
        log.finish()
        return ExitStatus.PASSED
    if not names:
        print("no test matches" if _has_choice(options) else _why_no_tests(script, settings), file=sys.stderr)
        log.finish()
        return ExitStatus.NOTHING_RAN
    return _run_and_report(names, skipped, options, script, log, interrupts)


def _why_no_tests(script: str, settings: Settings) -> str:
    names = vars(sys.modules["__main__"]).items()
    if not any(name.startswith("test") and isinstance(value, types.FunctionType) for name, value in names):
        return "there are no tests"
    command = shlex.join(["python", *pytest_arguments(settings), script])
    return f"there are no tests in classes; pytest runs functions: {command}"


def _has_choice(options: ProgramOptions) -> bool:
    return bool(options.names or options.patterns or options.excluded or options.hw_classification)


def _choice(options: ProgramOptions) -> HardwareChoice[unittest.TestCase]:
    """The tests that the command line asks for, each a new instance."""
    loaded = load(sys.modules["__main__"], omit_skipped=read_settings().omit_skipped)
    tests = select(loaded, options.names, options.patterns, options.excluded)
    if not options.hw_classification:
        return HardwareChoice((), tuple(tests), (), ())
    return choose_by_hardware(tests, options.hw_classification, type)


def _run_and_report(
    names: Sequence[str],
    skipped: Mapping[str, str],
    options: ProgramOptions,
    script: str,
    log: TestLog,
    interrupts: Interrupts,
) -> int:
    status = None
    try:
        for _ in range(options.repeat):
            rest = log.left(names)
            if log.has_failures and len(rest) == len(names):
                break
            left = _leave_out(rest, skipped, log)
            if left:
                _run_once(left, options, script, log, interrupts)
        log.finish()
    except KeyboardInterrupt as interrupt:
        status = _interrupted(interrupt, interrupts)
    if options.subprocess or options.run_parallel > 1:
        print(_summary(log), file=sys.stderr)
    if options.save_xml is not None:
        write_report([*log.entries, *log.interrupted], script, options.save_xml)
    return _exit_status(log) if status is None else status


def _leave_out(names: Sequence[str], skipped: Mapping[str, str], log: TestLog) -> list[str]:
    """Log the tests that are skipped before anything of them is set up; return the others."""
    for name in names:
        if name in skipped:
            log.start(name)
            log.end(JournalEntry(name, TestStatus.SKIPPED, 0.0, skipped[name], started_at=time.time()))
            print(f"{name} ... skipped {skipped[name]!r}", file=sys.stderr)
    return [name for name in names if name not in skipped]


def _pytest_journal() -> types.ModuleType:
    try:
        return importlib.import_module("torch_testing_shim._program.pytest_journal")
    except ImportError:
        raise UsageError("--use-pytest needs pytest, which is not installed") from None


def _run_once(names: Sequence[str], options: ProgramOptions, script: str, log: TestLog, interrupts: Interrupts) -> None:
    if options.subprocess:
        run_in_children([[name] for name in names], 1, script, options, log)
    elif options.run_parallel > 1:
        batches = [names[first :: options.run_parallel] for first in range(min(options.run_parallel, len(names)))]
        run_in_children(batches, len(batches), script, options, log)
    elif options.use_pytest:
        _pytest_journal().run_with_pytest(names, script, options, log)
    else:
        _run_here(frozenset(names), options, log, interrupts)


def _run_here(names: Set[str], options: ProgramOptions, log: TestLog, interrupts: Interrupts) -> None:
    """Run tests in this process, by unittest's own runner.

    Raises:
        KeyboardInterrupt: the user stopped the run; the summary of what ran has been printed.
    """
    stopped_by: list[KeyboardInterrupt] = []
    tests = [test for test in _choice(options).chosen if test_name(test) in names]
    suite, fixtures = unittest.TestSuite(tests), Fixtures(tests)
    del tests  # the suite lets go of each test when it has run, with all that the test holds

    def run_suite(result: JournalingResult) -> None:
        STARTER.prepare()  # before a module's set-up: ranks must not see what it does, nor what a class's does
        try:
            suite(result)
        except KeyboardInterrupt as interrupt:
            result.interrupt(interrupt)
            stopped_by.append(interrupt)
        except SystemExit:  # of a class's or module's set-up: unittest lets it end the program, with its exit status
            result.addError(ExitOutsideTests(), sys.exc_info())

    unittest.TextTestRunner(
        verbosity=options.verbosity,
        failfast=options.failfast,
        buffer=options.buffer,
        tb_locals=options.settings.showlocals,
        warnings=None if sys.warnoptions else "default",
        resultclass=functools.partial(JournalingResult, log=log, fixtures=fixtures, swallowed=interrupts.swallowed),
    ).run(run_suite)  # type: ignore[arg-type]
    if stopped_by:
        raise stopped_by[0]


def _summary(log: TestLog) -> str:
    """The result of all child processes together."""
    failures = [
        f"{entry.status.value}: {entry.test}: {entry.reason}" for entry in log.entries if entry.status.is_failure
    ]
    return "\n".join(["", *failures, log.summary()])


def _exit_status(log: TestLog) -> int:
    if log.has_failures:
        return ExitStatus.FAILED
    if log.never_ended:  # a test without an entry has not passed
        print(f"these tests were to run and did not: {', '.join(log.never_ended)}", file=sys.stderr)
        return ExitStatus.FAILED
    return ExitStatus.PASSED
