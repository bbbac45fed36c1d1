"""Follows CONTRIBUTING.md in a copy of the repository: adds a skip decorator, a runner option and a report format.

    python test/conformance/follow_contributing.py

Each task touches exactly the files that its section of CONTRIBUTING.md names, and then runs the tests that stand there.
Exit status: 0 where all pass, 1 where a file that had to be touched is not named, or a test fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPS, CLI, REPORT = (f"torch_testing_shim/_{folder}" for folder in ("skips", "runner/cli", "runner/report"))
#: What a section writes in place of the name that the new thing has.
NAMES = {"<format>": "table", "<module>": "by_machine"}


@dataclass
class Copy:
    """A copy of the repository."""

    root: Path  # its folder
    touched: set[str] = field(default_factory=set)  # the files that have been changed in it or added to it

    def write(self, file: str, text: str) -> None:
        self.touched.add(file)
        (self.root / file).write_text(text, "utf-8")

    def insert(self, file: str, before: str, text: str) -> None:
        """Insert a text before the first line that starts with `before`."""
        source = (self.root / file).read_text("utf-8")
        found = re.search(rf"^{re.escape(before)}", source, re.MULTILINE)
        if found is None:
            raise SystemExit(f"{file} has no line that starts with {before!r}")
        self.write(file, source[: found.start()] + text + source[found.start() :])

    def replace(self, file: str, old: str, new: str) -> None:
        source = (self.root / file).read_text("utf-8")
        if old not in source:
            raise SystemExit(f"{file} does not have {old!r}")
        self.write(file, source.replace(old, new, 1))


def add_skip_decorator(copy: Copy) -> None:
    """`skip_if_weekend`."""
    copy.insert(
        f"{SKIPS}/by_machine.py",
        "def skip_if_win32",
        '''def skip_if_weekend(test: Item) -> Item:
    """Skips where TODAY says that it is the weekend."""
    return skip_where(lambda _: "is not run at the weekend" if TODAY == "sunday" else None)(test)


''',
    )
    copy.insert(f"{SKIPS}/by_machine.py", "Item = TypeVar", 'TODAY = "monday"\n')
    copy.insert(
        "torch_testing_shim/common_distributed.py",
        "    skip_if_win32 as skip_if_win32",
        "    skip_if_weekend as skip_if_weekend,\n",
    )
    copy.insert(
        "test/shim/_skips/test_by_machine.py",
        "if __name__",
        """class Weekends(TestCase):
    def test_it_skips_at_the_weekend_alone(self):
        for day, reasons in (("monday", []), ("sunday", ["is not run at the weekend"])):
            class Sample(unittest.TestCase):
                @common_distributed.skip_if_weekend
                def test_it(self):
                    pass

            with mock.patch.object(by_machine, "TODAY", day):
                result = unittest.TestResult()
                Sample("test_it").run(result)
            self.assertEqual(reasons, [reason for _, reason in result.skipped])


""",
    )


def add_option(copy: Copy) -> None:
    """`--greeting TEXT`."""
    _add_option_itself(copy, "greeting", "str | None", "--greeting", 'metavar="TEXT", help="print it at the end"')
    copy.replace(
        "torch_testing_shim/_runner/run.py",
        "    if options.why_skipped:\n",
        "    if options.greeting is not None:\n        lines.append(options.greeting)\n    if options.why_skipped:\n",
    )
    copy.insert(
        "test/shim/_runner/test_run.py",
        "if __name__",
        """class GreetingTest(RunnerTestCase):
    def test_it_is_printed_at_the_end(self) -> None:
        self.sample("test_x", "def test_a(self): pass")
        self.assertIn("good morning", self.run_test("--greeting", "good morning").stdout)
        self.assertNotIn("good morning", self.run_test().stdout)


""",
    )


def add_report_format(copy: Copy) -> None:
    """`--report-table FILE`."""
    copy.write(
        f"{REPORT}/table.py",
        '''"""The table of a run: a line for each test."""

from __future__ import annotations

from .recorded_run import RecordedRun


def table_text(run: RecordedRun) -> str:
    """The table as text: status, file and test."""
    lines = [
        f"{entry.status.value}\\t{file.file}\\t{entry.test}" for file in run.summary.files for entry in file.entries
    ]
    return "".join(f"{line}\\n" for line in lines)
''',
    )
    files = f"{REPORT}/files.py"
    copy.replace(
        files,
        "    json_lines: Path | None = None\n",
        "    json_lines: Path | None = None\n    table: Path | None = None\n",
    )
    copy.replace(
        files, "(self.html, self.trace, self.json_lines)", "(self.html, self.trace, self.json_lines, self.table)"
    )
    copy.insert(
        files,
        "        if self.trace is not None:",
        "        if self.table is not None:\n            problems += _written(self.table, [table_text(run)])\n",
    )
    copy.insert(files, "from .trace", "from .table import table_text\n")
    copy.replace(f"{REPORT}/session.py", "options.json_lines)", "options.json_lines, options.report_table)")
    copy.insert(f"{REPORT}/__init__.py", "    trace ", "    table          a line for each test\n")
    _add_option_itself(
        copy, "report_table", "Path | None", "--report-table", 'type=as_path, metavar="FILE", help="a table of tests"'
    )
    copy.write(
        "test/shim/_runner/report/test_table.py",
        '''"""The table of a run."""

import sys
from pathlib import Path

from torch_testing_shim._runner.report.table import table_text
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from report_samples import sample_run
from runner_samples import RunnerTestCase


class TableTest(RunnerTestCase):
    def test_a_line_for_each_test(self) -> None:
        self.assertIn("failed\\tdistributed/test_state\\tState.test_loaded\\n", table_text(sample_run()))

    def test_it_is_written(self) -> None:
        self.sample("test_x", "def test_a(self): pass")
        self.run_test("--report-table", "table.txt")
        self.assertEqual("passed\\ttest_x\\tSampleTest.test_a\\n", (self.tree / "table.txt").read_text())


if __name__ == "__main__":
    run_tests()
''',
    )
    copy.write("docs/reports.md", (copy.root / "docs/reports.md").read_text() + "\n## Table\n\nA line for each test.\n")


def _add_option_itself(copy: Copy, name: str, annotation: str, option: str, rest: str) -> None:
    options, test = f"{CLI}/options.py", "test/shim/_runner/cli/test_arguments.py"
    copy.insert(options, "    why_skipped:", f'    {name}: {annotation} = _showing("{option}", {rest})\n')
    value = 'Path("x")' if "Path" in annotation else '"x"'
    copy.insert(test, "            why_skipped=True,", f"            {name}={value},\n")
    copy.replace(test, "--why-skipped --fail-if-all-skipped", f"--why-skipped {option} x --fail-if-all-skipped")


TASKS: dict[str, Callable[[Copy], None]] = {
    "Add a skip decorator": add_skip_decorator,
    "Add a runner option": add_option,
    "Add a report format": add_report_format,
}


def main() -> int:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    problems = [problem for heading, task in TASKS.items() for problem in follow(section(text, heading), heading, task)]
    print(*problems, sep="\n") if problems else print(f"{len(TASKS)} tasks followed")
    return 1 if problems else 0


def section(text: str, heading: str) -> str:
    """The lines below a heading, up to the next one."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"CONTRIBUTING.md has no section {heading!r}")
    return found[1]


def follow(instructions: str, heading: str, task: Callable[[Copy], None]) -> list[str]:
    """Do a task in a copy of its own; return what was wrong."""
    print(f"{heading}:", (task.__doc__ or "").strip("`."), flush=True)
    with tempfile.TemporaryDirectory(prefix="contributing-") as folder:
        copy = Copy(Path(folder, "repository"))
        shutil.copytree(
            ROOT, copy.root, ignore=shutil.ignore_patterns(".*", "__pycache__", "test-reports", "*.egg-info")
        )
        task(copy)
        unnamed = sorted(file for file in copy.touched if not is_named(file, instructions))
        problems = [f"{heading}: {file} had to be touched and is not named" for file in unnamed]
        for test in sorted(file for file in copy.touched if Path(file).name.startswith("test_")):
            run = _run_test(copy.root, test)
            print(f"    {test}: {'passed' if run.returncode == 0 else 'failed'}", flush=True)
            problems += [f"{heading}: {test} failed:\n{run.stdout}"] if run.returncode else []
        return problems


def is_named(file: str, instructions: str) -> bool:
    """True where a section names a file, or the option that it says how to add."""
    for placeholder, name in NAMES.items():
        instructions = instructions.replace(placeholder, name)
    if file in instructions or f"`{Path(file).name}`" in instructions:
        return True
    option = section((ROOT / "CONTRIBUTING.md").read_text("utf-8"), "Add a runner option")
    return "as above" in instructions and file in option


def _run_test(root: Path, test: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / test)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


if __name__ == "__main__":
    sys.exit(main())
