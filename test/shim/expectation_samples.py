"""Expectations and results for the tests of the runner's expectations."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from torch_testing_shim._runner.result import Failure, FileEnding, FileResult
from torch_testing_shim._shared.expectations import Expect, Expectation
from torch_testing_shim._shared.journal import JournalEntry, TestStatus

PASSED, FAILED, ERROR, SKIPPED = TestStatus.PASSED, TestStatus.FAILED, TestStatus.ERROR, TestStatus.SKIPPED
XFAIL, SKIP, FLAKY = Expect.XFAIL, Expect.SKIP, Expect.FLAKY

#: Few names, so that what is drawn meets.
FILES = st.sampled_from(["test_x", "distributed/test_y", "distributed/*", "test_?", "{test_x,test_z}", "*"])
TESTS = st.sampled_from(["", "A", "A.a", "A.b", "A.*", "*", "*.{a,c}", "?.[ab]"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)


def expectation(id: str, expect: Expect = XFAIL, **fields: Any) -> Expectation:
    return Expectation(id, expect, **fields)


def entries() -> st.SearchStrategy[Expectation]:
    """Entries as a file may have them; two of them may meet."""
    return st.builds(
        Expectation,
        id=st.builds(lambda file, test: f"{file}::{test}" if test else file, FILES, TESTS),
        expect=st.sampled_from(Expect),
        reason=TEXTS.map(lambda text: " ".join(text.split())),
        issue=TEXTS.map(str.strip),
        devices=st.sampled_from([(), ("cpu",), ("cuda", "npu")]),
        torch=st.sampled_from(["", ">=2.6", "<2.6", "==2.13.*"]),
        error=st.sampled_from(["", r"not implemented for 'BFloat16'", r"\bpid \d+", "a\"b'c"]),
    )


def ran(test: str, status: TestStatus = PASSED, reason: str = "", detail: str = "") -> JournalEntry:
    return JournalEntry(test, status, 0.1, reason, detail)


def result(
    *ends: JournalEntry,
    file: str = "test_x",
    faults: tuple[Failure, ...] = (),
    reruns: tuple[JournalEntry, ...] = (),
    device: str = "cpu",
    is_stopped: bool = False,
) -> FileResult:
    """The result of a file before any judgement."""
    ending = FileEnding(file, 0, is_stopped=is_stopped)
    return FileResult(ending, ends, faults, reruns=reruns, device=device)


def crash(test: str, reason: str = "the file's process ended with SIGSEGV while this test ran") -> Failure:
    return Failure("test_x", test, "crashed", reason, "last words")
