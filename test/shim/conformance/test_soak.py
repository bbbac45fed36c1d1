"""The soak: a short one is well, and what is not well is noticed, a controller that leaks first of all."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._shared.journal import JournalContents, JournalEntry, TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT

sys.path.insert(0, str(ROOT / "test" / "benchmarks"))
sys.path.insert(0, str(ROOT / "test" / "conformance"))
import soak
from bench.holdings import Holdings
from conform.flatness import MEMORY_BYTES_A_TEST, growths, warm_up
from conform.soak_faults import FAULTS, fault_of
from conform.soak_verdicts import wrong_verdicts

#: Put into the case: each test makes its process keep something for good, and a rank leave a file and a process.
SABOTAGE = """
    def tearDown(self):
        super().tearDown()
        kept.append(bytearray(os.urandom(256 << 10)))
        kept.append(open(__file__))
        if self.number == 7:
            kept.append(subprocess.Popen(["sleep", "3600"]))
            open(os.path.join(os.environ["TMPDIR"], "left"), "w").close()

    def setUp(self):
"""


class Soaks(TestCase):
    def test_a_short_one_is_well(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "soak.json")
            self.assertEqual(0, soak.main(["--tests", "50", "--json", str(path)]))
            found = json.loads(path.read_text())
        self.assertEqual({"passed": 45, "error": 4, "failed": 1}, found["statuses"])
        self.assertEqual([], found["problems"])

    def test_a_leaking_controller_is_noticed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "soak.py")
            text = soak.SOAK.read_text().replace("\n    def setUp(self):\n", SABOTAGE, 1)
            source.write_text(text.replace("import os\n", "import os\nimport subprocess\nkept = []\n", 1))
            result = soak.soak(21, source)  # two measurements after the warm-up
        problems = "\n".join(result.problems)
        for pid in re.findall(r"left: process (\d+) sleep 3600", problems):
            os.kill(int(pid), signal.SIGKILL)
        for what in ("controller pss", "controller private dirty", "controller descriptors"):
            self.assertIn(f"not flat: {what}", problems)
        self.assertRegex(problems, r"left: process \d+ sleep 3600")
        self.assertRegex(problems, r"left: /\S+/left")

    def test_wrong_usage(self) -> None:
        for arguments in (["--tests", "3"], ["--json", "/no/such/folder/x.json"]):
            with self.assertRaises(SystemExit) as ended:
                soak.main(arguments)
            self.assertEqual(2, ended.exception.code)


class Verdicts(TestCase):
    RANKS = 2

    def problems(self, entries: list[JournalEntry], *, missing: str = "", is_finished: bool = True) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(len(entries)):
                for rank in range(self.RANKS):
                    name = f"test_{number}.{rank}"
                    if name != missing:
                        Path(folder, name).touch()
            return wrong_verdicts(
                JournalContents(entries=tuple(entries), is_finished=is_finished), len(entries), self.RANKS, Path(folder)
            )

    def entries(self) -> list[JournalEntry]:
        entries = [JournalEntry(f"Soak.test_{number}", TestStatus.PASSED, 0.1) for number in range(10)]
        reason = "rank 1 (pid 7) died: killed by SIGKILL, without finishing its test"
        entries[9] = replace(entries[9], status=TestStatus.ERROR, reason=reason)
        return entries

    def test_right_ones(self) -> None:
        self.assertEqual([], self.problems(self.entries()))

    def test_each_thing_that_can_be_wrong(self) -> None:
        entries = self.entries()
        self.assertEqual(["the journal has no end"], self.problems(entries, is_finished=False))
        self.assertEqual(
            ["test 3 passed, and 1 of 2 ranks came to its end"], self.problems(entries, missing="test_3.1")
        )
        wrong = replace(entries[9], status=TestStatus.PASSED, reason="")
        self.assertRegex(self.problems([*entries[:9], wrong])[0], "^test 9 .killed.: passed, '' instead of error")
        other_rank = replace(entries[9], reason=entries[9].reason.replace("rank 1", "rank 2"))
        self.assertRegex(self.problems([*entries[:9], other_rank])[0], "^test 9 .killed.: error, 'rank 2")
        failed = replace(entries[0], status=TestStatus.FAILED)
        self.assertRegex(self.problems([failed, *entries[1:]])[0], "^test 0 .no fault.: failed")
        doubled = [*entries[:5], entries[4], *entries[6:]]
        self.assertEqual(["test 5 has no verdict"], self.problems(doubled))

    def test_one_in_ten_has_a_fault_and_each_fault_has_its_turn(self) -> None:
        faults = [fault_of(number) for number in range(10 * len(FAULTS))]
        self.assertEqual(list(FAULTS), [fault for fault in faults if fault is not None])


class Flatness(TestCase):
    HELD = Holdings(
        pid=5, anonymous=150 << 20, pss=100 << 20, private_dirty=40 << 20, descriptors=6, threads=1, children=1
    )

    def uneven(self, role: str = "controller", **a_test: float) -> list[str]:
        """The numbers that are not flat where they grow by so much a test, in 1,000 tests."""
        notes = []
        for number in range(0, 1000, 10):
            grown = {name: int(getattr(self.HELD, name) + number * growth) for name, growth in a_test.items()}
            notes.append((number, {role: replace(self.HELD, **grown)}))
        return [growth.what for growth in growths(notes, 1000) if not growth.is_flat]

    def test_what_is_flat_and_what_is_not(self) -> None:
        self.assertEqual([], self.uneven())
        self.assertEqual([], self.uneven(pss=MEMORY_BYTES_A_TEST / 2))
        self.assertEqual(["pss", "private_dirty"], self.uneven(pss=4096, private_dirty=4096))
        of_rank = self.uneven("rank 1", anonymous=4096, pss=4096, private_dirty=4096)
        self.assertEqual(["anonymous"], of_rank)  # the others grow as it copies the zygote's pages
        for what in ("descriptors", "threads", "children", "pid"):
            self.assertEqual([what], self.uneven(**{what: 1 / 500}))
        self.assertEqual(["descriptors"], self.uneven(descriptors=-1 / 500))

    def test_one_jump_of_the_allocator_is_no_growth_and_the_warm_up_does_not_count(self) -> None:
        notes = [(number, {"c": replace(self.HELD, pss=(number > 800) << 22)}) for number in range(0, 1000, 10)]
        notes[0] = (0, {"c": replace(self.HELD, descriptors=99, pid=6)})
        self.assertEqual([], [growth for growth in growths(notes, 1000) if not growth.is_flat])
        self.assertEqual((100, 20), (warm_up(1000), warm_up(60)))

    def test_too_little_shows_nothing(self) -> None:
        with self.assertRaisesRegex(ValueError, "1 measurements do not show"):
            growths([(10, {"c": self.HELD}), (100, {"c": self.HELD})], 1000)


if __name__ == "__main__":
    run_tests()
