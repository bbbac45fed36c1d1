"""The project's texts are true where that can be checked: the sample runs, and files, links and variables exist."""

import dataclasses
import re

from harness_samples import ROOT, SampleTestCase

from torch_testing_shim._runner.report.recorded_run import RunFacts
from torch_testing_shim._runner.result import Failure, FileEnding
from torch_testing_shim._shared.journal import JournalEntry, RankRecord, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

README = (ROOT / "README.md").read_text()
#: Texts that are read in the repository; those below docs/ have their links checked where their site is built, too.
TEXTS = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


def anchors(text):
    """The anchors of a text's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path):
    """The links of a text that lead to no file, or to no heading of one."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name) if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


def exists(name):
    return (ROOT / name).exists()


class Readme(SampleTestCase):
    def test_sample_runs(self):
        (sample,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        path = self.folder / "test_readme_sample.py"
        path.write_text(sample)
        run = self.run_command(str(path))
        self.assertEqual(0, run.exit_code, run.output)
        statuses = {name: entry.status for name, entry in run.entries.items()}
        passed = TestStatus.PASSED
        self.assertEqual({"AllReduce.test_sum_float32": passed, "AllReduce.test_sum_int64": passed}, statuses)

    def test_it_is_short(self):
        self.assertLess(len(README.splitlines()), 250)

    def test_the_lines_of_examples_are_theirs(self):
        rows = re.findall(r"(?m)^\| \[`\w+`\]\((examples/\w+)/README\.md\): .* \| (.*) \|$", README)
        examples = {f"examples/{path.name}" for path in (ROOT / "examples").iterdir()}
        self.assertEqual(examples, {folder for folder, _ in rows})
        for folder, cell in rows:
            lines = re.findall("`(.*?)`", cell)
            texts = [path.read_text() for suffix in ("py", "toml") for path in (ROOT / folder).rglob(f"*.{suffix}")]
            pattern = r"\s+".join(map(re.escape, lines))
            self.assertTrue(any(re.search(pattern, text) for text in texts), (folder, lines))


class Texts(TestCase):
    def test_files_that_they_name_are_there(self):
        named = re.compile(r"[ `]((?:test|torch_testing_shim|docs|examples)/[\w/.]+\w)(?![\w/.<*-])")
        absent = [f"{path}: {name}" for path in TEXTS for name in named.findall(path.read_text()) if not exists(name)]
        self.assertFalse(absent, absent)

    def test_links_lead_somewhere(self):
        broken = [f"{path}: {link}" for path in TEXTS for link in broken_links(path)]
        self.assertFalse(broken, broken)

    def test_the_fields_of_reports_are_described(self):
        text = (ROOT / "docs" / "reports.md").read_text()
        kinds = (FileEnding, Failure, JournalEntry, RankRecord, RunFacts)
        fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
        self.assertEqual([], sorted(name for name in fields if f"`{name}`" not in text))

    def test_variables_that_they_name_are_read(self):
        shared = ROOT / "torch_testing_shim" / "_shared"
        settings = (shared / "settings.py").read_text() + (shared / "setting_rows.py").read_text()
        for path in TEXTS:
            pattern = r"`((?:TORCH_TESTING_SHIM|DISTRIBUTED_TESTS|PYTORCH|SLOW|DISABLED)_\w+)(?:=\w+)?`"
            named = set(re.findall(pattern, path.read_text()))
            self.assertEqual([], [name for name in sorted(named) if name not in settings], path)
        self.assertIn("`TORCH_TESTING_SHIM_DEVICE`", (ROOT / "docs" / "settings.md").read_text())


if __name__ == "__main__":
    run_tests()
