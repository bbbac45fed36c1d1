"""Failed tests as lines that the command line takes: `file::Class.test`, `file::Class` or `file`; and lists of them.

A class stands for its fixtures: where `setUpClass` failed, the class runs again. It also stands for a test whose name
is not one line. A file stands for a failure that belongs to no test: it did not import, say.

`--write-failed` and `--failed-from` name lists: text files with one such line for each failure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from torch_testing_shim._shared.atomic_write import write_whole
from torch_testing_shim._shared.node_ids import class_of, covers, is_line, is_name

from ..process.retry import what_to_run
from ..result import Failure, FileResult, RunSummary
from ..usage_error import refusal


def failed_lines(summary: RunSummary) -> tuple[str, ...]:
    """The failures of a run as lines, each once, in their order."""
    return tuple(dict.fromkeys(_line(failure) for failure in summary.failures))


def tests_by_file(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The files that the lines name, each with its tests; () where the whole file is named."""
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        file, _, test = line.partition("::")
        known = found.get(file)
        found[file] = () if not test or known == () else (*(known or ()), test)
    return found


def failures_known_after(known: Sequence[str], summary: RunSummary, whole_files: Collection[str]) -> tuple[str, ...]:
    """Return the lines to remember after a run, sorted: its failures, and the known lines whose tests have not run.

    Args:
        known: the lines known before.
        whole_files: the names of the files that ran as a whole: their known lines are out of date, even those of tests
            that are gone.
    """
    ran: dict[str, list[FileResult]] = {}
    for result in summary.files:
        ran.setdefault(result.file, []).append(result)
    kept = [line for line in known if not _is_settled(line, ran, whole_files)]
    return tuple(sorted({*kept, *failed_lines(summary)}))


def _line(failure: Failure) -> str:
    (test,) = what_to_run(failure.test) or ("",)
    if not is_name(test):
        return failure.file
    return f"{failure.file}::{test if is_line(test) else class_of(test)}"


def _is_settled(line: str, ran: dict[str, list[FileResult]], whole_files: Collection[str]) -> bool:
    """True where a run has a new result of the line's tests."""
    file, _, test = line.partition("::")
    results = ran.get(file, [])
    if file in whole_files and results and not any(result.ending.is_stopped for result in results):
        return True
    tests = [entry.test for result in results for entry in result.entries]
    return bool(tests) if not test else any(covers(test, name) for name in tests)


def read_failed_list(path: Path) -> tuple[str, ...]:
    """Read a list, less its empty lines."""
    with refusal(f"read --failed-from {str(path)!r}"):
        text = path.read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def begin_failed_list(path: Path) -> None:
    """Check before a run that its list can be written, and remove an old one: a run that is killed must leave no list,
    since an empty one would say that nothing failed."""
    with _refusal_to_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, [])
        path.unlink()


def write_failed_list(path: Path, lines: Sequence[str]) -> None:
    """Write a list; an empty one where nothing failed."""
    with _refusal_to_write(path):
        write_whole(path, (f"{line}\n" for line in lines))


def _refusal_to_write(path: Path) -> AbstractContextManager[None]:
    return refusal(f"write --write-failed {str(path)!r}")
