"""The fold: what a file's journal and the end of its process say together. Pure.

The rule of the fold is that nothing is lost: every planned test ends up as something, and a process whose end does not
fit its journal is a fault of the file, whatever its tests say.

| the file's process | result |
| --- | --- |
| ended while a test ran | error of that test |
| ended before a planned test | "did not run", an error of that test |
| no journal, exit status 0 | error of the file: a file that ran nothing is never a pass |
| no journal, other end | error of the file: it did not import, or crashed before its first test |
| end and journal disagree | error of the file, beside what its tests say |
| stopped by the user | what ended counts; what ran then is named, and neither passed nor failed |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from torch_testing_shim._exit_status import describe_exit
from torch_testing_shim._journal import JournalContents

from .result import DID_NOT_RUN, ExitStatus, Failure, FileEnding, FileResult

__all__ = ["fold", "headline"]


def fold(ending: FileEnding, journal: JournalContents) -> FileResult:
    """What `ending` and `journal` say together; the table above has the rules."""
    result = FileResult(ending, journal.entries)
    if ending.is_stopped:
        return replace(result, interrupted=journal.unfinished)
    if journal == JournalContents():
        return replace(
            result,
            faults=(_fault_without_journal(ending),),
            is_refusal=ending.exit_code == ExitStatus.USAGE,
        )
    cut_short = (*_unfinished(ending, journal), *_never_started(ending, journal))
    disagreement = _disagreement(ending, journal, is_explained=bool(cut_short))
    broken = _broken_journal(ending, journal)
    return replace(result, faults=(*cut_short, *disagreement, *broken))


def headline(output: str) -> str:
    """The line of a process's output that says best why it ended: the last exception's, or else the last line."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if starts:
        for line in lines[starts[-1] + 1 :]:
            if not line.startswith((" ", "\t")):
                return line
    return lines[-1].strip() if lines else ""


def _fault_without_journal(ending: FileEnding) -> Failure:
    if ending.exit_code == 0:
        reason = "wrote no journal: does it end in `run_tests()` from torch_testing_shim.common_utils?"
        return Failure(ending.file, "", "no tests", reason, ending.output_tail)
    why = headline(ending.output_tail)
    how = f"ended with {describe_exit(ending.exit_code)} before any test"
    has_python_reason = ending.exit_code == 1 and why
    reason = why if has_python_reason else f"{how}: {why}" if why else how
    return Failure(ending.file, "", "error", reason, ending.output_tail)


def _unfinished(ending: FileEnding, journal: JournalContents) -> list[Failure]:
    how = describe_exit(ending.exit_code)
    reason = f"the file's process ended with {how} while this test ran"
    return [Failure(ending.file, test, "crashed", reason, ending.output_tail) for test in journal.unfinished]


def _never_started(ending: FileEnding, journal: JournalContents) -> list[Failure]:
    """Planned tests without a start; a test may be planned several times."""
    seen = Counter((*(entry.test for entry in journal.entries), *journal.unfinished))
    missing: list[Failure] = []
    if journal.is_finished:
        reason = "the file finished without it"
    else:
        reason = f"the file's process ended with {describe_exit(ending.exit_code)} before it"
    for test in journal.planned:
        if seen[test] > 0:
            seen[test] -= 1
        else:
            missing.append(Failure(ending.file, test, DID_NOT_RUN, reason))
    return missing


def _disagreement(ending: FileEnding, journal: JournalContents, *, is_explained: bool) -> list[Failure]:
    """The fault of a file whose process ended otherwise than its journal; none where cut-short tests explain it."""
    how = describe_exit(ending.exit_code)
    failed = sum(entry.status.is_failure for entry in journal.entries)
    nothing_selected = not journal.planned and not journal.entries and ending.exit_code == ExitStatus.NOTHING_RAN
    if not journal.is_finished:
        reason = "" if is_explained else f"ended with {how} after its last test, before it had finished"
    elif ending.exit_code == 0:
        reason = f"ended with {how} although {failed} of its tests failed" if failed else ""
    elif ending.exit_code < 0:
        reason = f"ended with {how} after it had finished"
    else:
        reason = "" if failed or is_explained or nothing_selected else f"ended with {how} although no test failed"
    return [Failure(ending.file, "", "error", reason, ending.output_tail)] if reason else []


def _broken_journal(ending: FileEnding, journal: JournalContents) -> list[Failure]:
    if not journal.broken_lines:
        return []
    lines = "1 line" if journal.broken_lines == 1 else f"{journal.broken_lines} lines"
    reason = f"{lines} of its journal cannot be read: tests may be missing here"
    return [Failure(ending.file, "", "error", reason)]
