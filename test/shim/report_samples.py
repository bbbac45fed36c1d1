"""A run that has one of everything that reports tell, for the tests of the reports."""

from __future__ import annotations

import dataclasses
import signal

from torch_testing_shim._runner.report.recorded_run import RecordedRun, RunFacts
from torch_testing_shim._runner.result import DID_NOT_RUN, Failure, FileEnding, FileResult, RunSummary
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus

BEGIN = 1_790_000_000.0
REPORT = """\
Traceback (most recent call last):
  File "/repo/test/distributed/test_state.py", line 41, in test_loaded
    self.assertEqual(loaded, torch.ones(4))
torch_testing_shim.RankFailure: rank 2 failed: AssertionError: Tensor-likes are not close!

rank 2:
Traceback (most recent call last):
  File "/repo/test/distributed/test_state.py", line 14, in test_loaded
    self.assertEqual(loaded, torch.ones(4))
AssertionError: Tensor-likes are not close!

ranks 0, 1, 3 lost their connection to rank 2
"""


def ranks(count: int, at: float, seconds: float, bad: int | None = None) -> tuple[RankRecord, ...]:
    """The record of ranks that passed; or of one that failed and of others that lost it."""
    if bad is None:
        return tuple(RankRecord(r, "passed", 100 + r, BEGIN + at + r / 100, seconds, 0) for r in range(count))
    records = []
    for rank in range(count):
        lost = "RuntimeError: Connection closed by peer"
        headline = "AssertionError: Tensor-likes are not close!" if rank == bad else lost
        status, ended = ("failed", seconds - 0.2) if rank == bad else ("errored", seconds)
        output = f"rank {rank} loads its shard\nrank {rank} compares\n"
        records.append(RankRecord(rank, status, 100 + rank, BEGIN + at + rank / 100, ended, 1, headline, output))
    return tuple(records)


def entry(
    test: str, status: TestStatus, at: float, seconds: float, reason: str = "", detail: str = "", **more: object
) -> JournalEntry:
    return JournalEntry(test, status, seconds, reason, detail, BEGIN + at, **more)  # type: ignore[arg-type]


LOADED = entry(
    "State.test_loaded",
    TestStatus.FAILED,
    3.0,
    2.5,
    "rank 2 failed: AssertionError: Tensor-likes are not close!",
    REPORT,
    ranks=ranks(4, 3.1, 2.2, bad=2),
    notes=("shared: 4 ranks on 1 x",),
)
ONCE = entry("State.test_once", TestStatus.ERROR, 5.6, 1.0, "rank 1 died: killed by SIGSEGV", "Segmentation fault")
STATE = FileResult(
    FileEnding("distributed/test_state", 1, 9.0, "", started_at=BEGIN + 0.5),
    entries=(
        entry(
            "State.test_saved",
            TestStatus.PASSED,
            2.5,
            0.4,
            ranks=ranks(4, 2.6, 0.25),
            notes=("shared: 4 ranks on 1 x",),
        ),
        LOADED,
        ONCE,
        entry("State.test_gpu", TestStatus.SKIPPED, 6.7, 0.001, "needs at least 2 cuda, found 0"),
        entry("State.test_known", TestStatus.EXPECTED_FAILURE, 6.8, 0.3),
    ),
    reruns=(
        dataclasses.replace(LOADED, started_at=BEGIN + 7.2, seconds=0.5, ranks=()),
        entry("State.test_once", TestStatus.PASSED, 8.0, 0.9, ranks=ranks(2, 8.1, 0.6)),
    ),
)
CRASHED = FileResult(
    FileEnding("shim/test_crash", -11, 4.0, "last words", started_at=BEGIN + 1.0),
    entries=(entry("A.test_quick", TestStatus.PASSED, 2.0, 0.02),),
    faults=(
        Failure("shim/test_crash", "A.test_slow", "crashed", "the file's process ended with SIGSEGV", "last words"),
        Failure("shim/test_crash", "A.test_later", DID_NOT_RUN, "the file's process ended with SIGSEGV before it"),
        Failure("shim/test_crash", "", "error", "1 line of its journal cannot be read: tests may be missing here"),
    ),
)
GOOD = FileResult(
    FileEnding("shim/test_good", 0, 5.0, started_at=BEGIN + 5.0),
    entries=tuple(entry(f"Good.test_{n}", TestStatus.PASSED, 6.0 + n * 0.3, 0.25) for n in range(12)),
)
STOPPED = FileResult(
    FileEnding("shim/test_stopped", -2, 0.5, is_stopped=True, started_at=BEGIN + 10.0),
    interrupted=(JournalEntry("S.test_long", TestStatus.ERROR, 0.0, "the run was stopped while it ran", "its stack"),),
)


#: Of one file, without times.
PASSED = JournalEntry("A.test_one", TestStatus.PASSED, 0.25)
FAILED = JournalEntry(
    "A.test_two", TestStatus.FAILED, 0.5, "1 != 2", "Traceback ...\nAssertionError: [bold]1 != 2[/bold]"
)
SKIPPED = JournalEntry("B.test_three", TestStatus.SKIPPED, 0.0, "needs 2 gpus")
CRASH = Failure("a/test_x", "B.test_four", "crashed", "ended with SIGKILL while this test ran", "last words")
BROKEN = Failure("a/test_x", "", "error", "ended with exit status 3 although no test failed")


def sample_run() -> RecordedRun:
    """Failed, crashed, flaky, skipped, interrupted; with ranks, reruns, and a file that did not run."""
    facts = RunFacts(BEGIN, 11.0, 130, "python run_test.py --retries 1", "Python 3.11.7, Linux x86_64, 2 cores", (1, 2))
    return RecordedRun(facts, RunSummary((STATE, CRASHED, GOOD, STOPPED), ("shim/test_zebra",), signal.SIGINT))


def good_run() -> RecordedRun:
    """A run in which everything passed."""
    return RecordedRun(RunFacts(BEGIN, 6.0, 0, "python run_test.py", "a machine"), RunSummary((GOOD,)))


def hostile_run(text: str) -> RecordedRun:
    """A run in which every text that comes from a test is `text`."""
    record = RankRecord(0, text, 1, BEGIN + 1, 1.0, 1, text, text)
    bad = JournalEntry(f"A.{text}", TestStatus.FAILED, 1.0, text, text, BEGIN + 1, (record,), (text,))
    skipped = JournalEntry(f"B.{text}", TestStatus.SKIPPED, 1.0, text, "", BEGIN + 1)
    ending = FileEnding("test_hostile", 1, 3.0, text, started_at=BEGIN)
    result = FileResult(ending, (bad, skipped), (Failure("test_hostile", text, text, text, text),), reruns=(bad,))
    facts = RunFacts(BEGIN, 4.0, 1, f"python run_test.py {text}", text)
    return RecordedRun(facts, RunSummary((result,), ("test_later",)), group=text)
