"""Measures what a file of many tests costs the runner: `python test/benchmarks/bench/journal.py [TESTS]`.

The file writes a journal line as each of its tests (10,000 unless told otherwise) starts and ends, spread over some
seconds, so that the runner looks at it many times. What counts is the runner's own processor time, less what it needs
for a file of one test. Exit status: 0, or 1 where the run failed; the line ends in TOO SLOW where the target is missed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TESTS = 10_000
#: How long each test is to take at least, in seconds.
TEST_SECONDS = 0.001
#: The most that the runner may need for TESTS tests, in seconds of processor time.
TARGET = 1.0

#: One test in a hundred fails, with a report of 2,000 characters.
FILE = """
import sys, time
from torch_testing_shim._shared.journal import Journal, JournalEntry, TestStatus
from torch_testing_shim._shared.settings import read_settings

journal, tests = Journal(read_settings().journal), [f"A.test_{{number}}" for number in range({tests})]
journal.plan(tests, "cpu")
began = time.monotonic()
for number, test in enumerate(tests):
    journal.start(test)
    failed = number % 100 == 99
    status = TestStatus.FAILED if failed else TestStatus.PASSED
    journal.end(JournalEntry(test, status, 0.001, "why" * failed, "x" * 2000 * failed))
    time.sleep(max(0.0, began + number * {seconds} - time.monotonic()))
journal.finish()
sys.exit(len(tests) >= 100)
"""

#: Runs run_test.py and says at its end what the process itself needed, its children left out.
TIMED = """
import atexit, resource, runpy, sys
def say():
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"needed {used.ru_utime + used.ru_stime:.3f}")
atexit.register(say)
sys.argv = ["run_test.py", "--cold", "--save-xml"]
runpy.run_path("run_test.py", run_name="__main__")
"""


def main(arguments: list[str]) -> int:
    tests = int(arguments[0]) if arguments else TESTS
    try:
        start, seconds = runner_seconds(1), runner_seconds(tests)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    cost = seconds - start
    verdict = "" if cost < TARGET * max(1.0, tests / TESTS) else "  TOO SLOW"
    print(f"{tests} tests cost the runner {cost:.2f} s of its processor time, beside {start:.2f} s for one{verdict}")
    return 0


def runner_seconds(tests: int) -> float:
    """The runner's own processor time for one file of so many tests.

    Raises:
        RuntimeError: the run did not come to what it was to come to.
    """
    with tempfile.TemporaryDirectory(prefix="bench-journal-") as folder:
        tree = Path(folder)
        shutil.copy(ROOT / "run_test.py", tree)
        (tree / "torch_testing_shim").symlink_to(ROOT / "torch_testing_shim")
        (tree / "test").mkdir()
        (tree / "test" / "test_many.py").write_text(FILE.format(tests=tests, seconds=TEST_SECONDS))
        done = subprocess.run([sys.executable, "-c", TIMED], cwd=tree, capture_output=True, text=True)
    failed = tests // 100
    found = re.findall(r"^needed ([\d.]+)$", done.stdout, re.MULTILINE)
    if not found or f"\n{tests - failed} passed, {failed} failed, 0 skipped\n" not in done.stdout:
        raise RuntimeError(f"the runner failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return float(found[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
