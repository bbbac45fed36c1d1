"""The changes of `--update-expectations`, after which the file agrees with this run. Pure.

| what happened | change |
| --- | --- |
| an xfail passed every time; of a glob, all of its tests, and the run has listed them all | its entry goes |
| an entry matches no test, and the run can tell | its entry goes |
| a test failed that no entry is about, or only a glob | an entry for it comes: xfail, by this error, on this device |
| an xfail failed by another error | the entry takes this error |

A test whose process crashed has no verdict, and changes nothing; neither does a file that was stopped.

An `error` is the first line of a failure as a regular expression that the same failure matches in another run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from packaging.version import Version

from torch_testing_shim._shared.expectation_ids import escaped
from torch_testing_shim._shared.expectations import Expect, Expectation, Expectations
from torch_testing_shim._shared.journal import JournalEntry, TestStatus

from ..result import FileResult
from .judgement import Judge
from .reading import may_meet
from .unmatched import Listed, is_listed


@dataclass(frozen=True)
class Change:
    """One change: `old` goes, `new` comes, or `new` stands in place of `old` and has another `error`."""

    old: Expectation | None
    new: Expectation | None
    why: str = ""

    def __str__(self) -> str:
        if self.old is None:
            assert self.new is not None
            return f"added {self.new.id}: {self.new.error}"
        if self.new is None:
            return f"removed {self.old.id}: {self.why}"
        return f"changed the error of {self.old.id} to {self.new.error!r}"


@dataclass(frozen=True)
class RunContext:
    """Place and time of a run, as new entries name them."""

    date: str  # the day, in ISO 8601
    torch: str = ""  # the version of torch; "" where it is not known
    device: str = ""  # the device type of a file whose process has reported none; "" where it is not known


def changes_after(
    every: Sequence[Expectation],
    holding: Expectations,
    results: Sequence[FileResult],
    unmatched: Collection[Expectation],
    listed: Listed,
    context: RunContext,
) -> list[Change]:
    """Return the changes after a run, in the order of the file; additions last.

    Args:
        every: all entries of the file.
        holding: those that hold with the version of torch in use.
        results: the files that have run, before any judgement.
        unmatched: the entries that match no test.
    """
    told = [result for result in results if not result.ending.is_stopped]
    changes: dict[Expectation, Change] = {entry: Change(entry, None, "it matches no test") for entry in unmatched}
    additions: dict[str, Expectation] = {}
    passed: dict[Expectation, list[bool]] = {}
    for result in told:
        expected = holding.for_file(result.file)
        device = result.device or context.device
        for test, runs in _runs(result).items():
            entry = expected.find(test, device)
            if entry is not None:
                passed.setdefault(entry, []).append(all(run.status is TestStatus.PASSED for run in runs))
        for run in _failed(result, Judge(expected, context.device)):
            entry = expected.find(run.test, device)
            if entry is None or (not entry.pattern.is_exact and entry.expect is not Expect.SKIP):
                additions.setdefault(f"{result.file}::{run.test}", _addition(result.file, run, device, context))
            elif entry.expect is Expect.XFAIL:
                changes.setdefault(entry, Change(entry, replace(entry, error=cause_as_regex(run.reason))))
    whole = {result.file for result in told if result.file in listed.whole and is_listed(result)}
    for entry, all_passed in passed.items():
        is_judged = entry.pattern.is_exact or all(file in whole for file in listed.files_of(entry))
        if entry.expect is Expect.XFAIL and is_judged and all(all_passed):
            changes[entry] = Change(entry, None, "it passed")
    made = [changes[entry] for entry in every if entry in changes]
    return [*made, *_without_conflicts(additions.values(), every, made, context)]


def _runs(result: FileResult) -> dict[str, list[JournalEntry]]:
    """All runs of each test, crashes too."""
    runs: dict[str, list[JournalEntry]] = {}
    crashed = (JournalEntry(fault.test, TestStatus.ERROR, 0.0) for fault in result.faults if fault.test)
    for run in (*result.entries, *result.reruns, *crashed):
        runs.setdefault(run.test, []).append(run)
    return runs


def _failed(result: FileResult, judge: Judge) -> Iterator[JournalEntry]:
    """The runs by which tests have failed in the end, less those whose process crashed."""
    judged = judge.result(result)
    without_verdict = {fault.test for fault in result.faults}
    failed = {failure.test for failure in judged.failures} - without_verdict
    for run, as_judged in zip(result.entries, judged.entries, strict=False):  # expected crashes come behind
        if run.test in failed and run.status in (TestStatus.FAILED, TestStatus.ERROR) and as_judged.status.is_failure:
            yield run


def _addition(file: str, run: JournalEntry, device: str, context: RunContext) -> Expectation:
    version = f", torch {context.torch}" if context.torch else ""
    return Expectation(
        id=f"{file}::{escaped(run.test)}",
        expect=Expect.XFAIL,
        reason=f"failed on {context.date}{version}",
        devices=(device,) if device else (),
        error=cause_as_regex(run.reason),
    )


def _without_conflicts(
    additions: Collection[Expectation], every: Sequence[Expectation], changes: Sequence[Change], context: RunContext
) -> Iterator[Change]:
    """The additions that do not conflict with the entries that stay. Where an entry of the same id holds with other
    versions of torch, the new one holds with this version alone."""
    removed = {change.old for change in changes if change.new is None}
    wanted = {new.pattern for new in additions}
    same: dict[object, list[Expectation]] = {}
    for entry in every:
        if entry not in removed and entry.pattern in wanted:
            same.setdefault(entry.pattern, []).append(entry)
    for new in additions:
        others = same.get(new.pattern, [])
        if any(may_meet(new, other) for other in others) and context.torch:
            new = replace(new, torch=f"=={Version(context.torch).base_version}")
        if not any(may_meet(new, other) for other in others):
            yield Change(None, new)


#: These differ from run to run: the rank that fails first, process ids, addresses and temporary folders.
RANK = re.compile(r"^rank \d+ (?:failed|errored): ")
CHANGING = re.compile(
    r"(?P<pid>\bpid \d+)|(?P<address>\b0x[0-9a-fA-F]{6,})|(?P<path>(?<![\w.])/(?:tmp|dev/shm)/[^\s'\":]+)"
)
MARKS = {"pid": r"pid \d+", "address": r"0x[0-9a-fA-F]+", "path": r"\S+"}
#: The most of a line that is taken, in characters; some messages are a page in one line.
MOST_CHARACTERS = 200


def cause_as_regex(reason: str) -> str:
    """The regular expression that finds a failure's reason; "" where there is no reason."""
    line = next(iter(reason.splitlines()), "")
    text = RANK.sub("", line)[:MOST_CHARACTERS].strip()
    made, end = [], 0
    for found in CHANGING.finditer(text):
        made += [_escaped(text[end : found.start()]), MARKS[found.lastgroup or ""]]
        end = found.end()
    return "".join([*made, _escaped(text[end:])])


def _escaped(text: str) -> str:
    """The text with an expression's special characters escaped; blanks and quotes stay, so that people can read it."""
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text)
