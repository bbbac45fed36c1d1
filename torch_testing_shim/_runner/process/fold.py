"""The fold: a file's journal and the end of its process make its result. Pure.

The fold loses nothing: every planned test has a result, and a process whose end contradicts its journal is a fault of
the file, whatever its tests say.

| the file's process | result |
| --- | --- |
| ended while a test ran | error of that test |
| ended before a planned test | "did not run", an error of that test |
| ended by the runner when its limit was over | error of the test that ran then, and of each that never started |
| no journal, exit status 0 | error of the file: a file that ran nothing is never a pass |
| no journal, exit status 2, or 4 as pytest says it | the same: it refused its arguments, or the device |
| no journal, other end | error of the file: it did not import, or crashed before its first test |
| end and journal disagree | error of the file, beside what its tests say |
| stopped by the user | tests that ended count; one that ran is named, with its stack, and is neither pass nor failure |

`fold_runs` combines the results of the processes of one file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.journal import JournalContents, JournalEntry, TestStatus

from ..result import DID_NOT_RUN, Failure, FileEnding, FileResult
from .retry import FinishedRun, RunKind, end_of, in_order, never_started, rerun_entry, unfinished_entry

#: The exit status of pytest where its command line is wrong.
PYTESTS_USAGE = 4

#: The label of a test that ran when the file's limit was over.
TIMED_OUT = "timed out"


def fold(ending: FileEnding, journal: JournalContents) -> FileResult:
    """Return the result of one process; the table above has the rules."""
    result = FileResult(ending, journal.entries, device=journal.device, left_out=journal.left_out)
    if ending.is_stopped:
        return replace(result, interrupted=tuple(_interrupted(ending, journal)))
    if journal == JournalContents():
        return replace(
            result,
            faults=(_fault_without_journal(ending),),
            is_refusal=ending.exit_code in (ExitStatus.USAGE, PYTESTS_USAGE),
        )
    cut_short = (*_unfinished(ending, journal), *_never_started(ending, journal))
    disagreement = _disagreement(ending, journal, is_explained=bool(cut_short))
    broken = _broken_journal(ending, journal)
    return replace(result, faults=(*cut_short, *disagreement, *broken))


def fold_runs(runs: Sequence[FinishedRun], *, flaky_fails: bool = False) -> FileResult:
    """Return the result of all processes of one file.

    Args:
        runs: the processes, at least one of them not a retry, in the order in which they ended.
        flaky_fails: a flaky test is a failure.
    """
    first = [run for run in in_order(runs) if run.order.is_first]
    results = [_of_one(run, first) for run in first]
    return FileResult(
        ending=_together([run.ending for run in first], [run.ending for run in runs]),
        entries=tuple(entry for result in results for entry in result.entries),
        faults=tuple(fault for result in results for fault in result.faults),
        interrupted=tuple(entry for result in results for entry in result.interrupted),
        is_refusal=any(result.is_refusal for result in results),
        reruns=tuple(rerun_entry(run) for run in runs if run.order.kind is RunKind.RETRY and not run.ending.is_stopped),
        flaky_fails=flaky_fails,
        device=next((result.device for result in results if result.device), ""),
        left_out=max(result.left_out for result in results),
    )


def _of_one(run: FinishedRun, first: Sequence[FinishedRun]) -> FileResult:
    """The result of one process, less the tests that another took over, and with its selected tests that it never
    planned."""
    result = fold(run.ending, run.journal)
    taken_over = {
        test
        for other in first
        if other.order.kind is RunKind.RESUME
        and other is not run
        and (other.order.number, other.order.part) == (run.order.number, run.order.part)
        for test in other.order.selection.tests
    }
    faults = [fault for fault in result.faults if fault.label != DID_NOT_RUN or fault.test not in taken_over]
    is_named = run.order.kind is RunKind.RESUME or run.order.parts > 0
    if is_named and not run.ending.is_stopped:
        reason = f"{end_of(run.ending)} before it"
        planned = frozenset(run.journal.planned)
        lost = (test for test in run.order.selection.tests if test not in planned)
        faults += [Failure(result.file, test, DID_NOT_RUN, reason) for test in lost]
    return replace(result, faults=tuple(faults))


def _together(first: Sequence[FileEnding], every: Sequence[FileEnding]) -> FileEnding:
    """The ending of a file: the first process's that did not end well, or else the last one's, with the sum of all
    seconds."""
    told = next((ending for ending in first if ending.exit_code or ending.is_stopped), first[-1])
    return replace(
        told,
        seconds=sum(ending.seconds for ending in every),
        is_stopped=any(ending.is_stopped for ending in every),
        processes_left=sum(ending.processes_left for ending in every),
        started_at=min(ending.started_at for ending in every),
    )


def headline(output: str) -> str:
    """The line of a process's output that best explains its end: the last exception's, or else the last line."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    if wrong_usage := [line for line in lines if line.startswith("ERROR: ")]:  # pytest's
        return wrong_usage[-1]
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if starts:
        for line in lines[starts[-1] + 1 :]:
            if not line.startswith((" ", "\t")):
                return line
    return lines[-1].strip() if lines else ""


def _interrupted(ending: FileEnding, journal: JournalContents) -> Iterator[JournalEntry]:
    """The tests that ran when the user stopped the run, each with its stack; where the test has reported none, the
    file's output may hold one."""
    told = {entry.test: entry for entry in journal.interrupted}
    for test in journal.unfinished:
        entry = told.get(test, JournalEntry(test, TestStatus.ERROR, 0.0, detail=ending.output_tail))
        yield replace(entry, reason=": ".join(filter(None, ("the run was stopped while it ran", entry.reason))))


def _fault_without_journal(ending: FileEnding) -> Failure:
    if ending.exit_code == 0 and ending.seconds_allowed is None:
        reason = "wrote no journal: does it end in `run_tests()` from torch_testing_shim.common_utils?"
        return Failure(ending.file, "", "no tests", reason, ending.output_tail)
    why = headline(ending.output_tail)
    how = f"{end_of(ending, whose='its')} before any test"
    if ending.seconds_allowed is not None:
        return Failure(ending.file, "", TIMED_OUT, how, ending.output_tail)
    has_python_reason = ending.exit_code == 1 and why
    reason = why if has_python_reason else f"{how}: {why}" if why else how
    return Failure(ending.file, "", "error", reason, ending.output_tail)


def _unfinished(ending: FileEnding, journal: JournalContents) -> list[Failure]:
    label = "crashed" if ending.seconds_allowed is None else TIMED_OUT
    entries = (unfinished_entry(test, ending) for test in journal.unfinished)
    return [Failure(ending.file, entry.test, label, entry.reason, entry.detail) for entry in entries]


def _never_started(ending: FileEnding, journal: JournalContents) -> list[Failure]:
    reason = "the file finished without it" if journal.is_finished else f"{end_of(ending)} before it"
    return [Failure(ending.file, test, DID_NOT_RUN, reason) for test in never_started(journal)]


def _disagreement(ending: FileEnding, journal: JournalContents, *, is_explained: bool) -> list[Failure]:
    """The fault of a file whose process's end contradicts its journal; none where cut-short tests explain it."""
    how = end_of(ending, whose="its")
    failed = sum(entry.status.is_failure for entry in journal.entries)
    all_skipped = all(entry.status.is_skip for entry in journal.entries)
    nothing_ran = all_skipped and not is_explained and ending.exit_code == ExitStatus.NOTHING_RAN
    if not journal.is_finished:
        reason = "" if is_explained else f"{how} after its last test, before it had finished"
    elif ending.exit_code < 0 or ending.seconds_allowed is not None:
        reason = f"{how} after it had finished"
    elif ending.exit_code == 0:
        reason = f"{how} although {failed} of its tests failed" if failed else ""
    else:
        reason = "" if failed or is_explained or nothing_ran else f"{how} although no test failed"
    label = "error" if ending.seconds_allowed is None else TIMED_OUT
    return [Failure(ending.file, "", label, reason, ending.output_tail)] if reason else []


def _broken_journal(ending: FileEnding, journal: JournalContents) -> list[Failure]:
    if journal.entries and not journal.planned:  # its first line is the plan: the file has been removed or emptied
        return [Failure(ending.file, "", "error", "the beginning of its journal is lost: tests may be missing here")]
    if not journal.broken_lines:
        return []
    lines = "1 line" if journal.broken_lines == 1 else f"{journal.broken_lines} lines"
    reason = f"{lines} of its journal cannot be read: tests may be missing here"
    return [Failure(ending.file, "", "error", reason)]
