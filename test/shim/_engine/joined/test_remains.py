"""torch_testing_shim._engine.joined.remains"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._engine.joined.remains import with_remains, write_word
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._shared.owned_folders import make_folder
from torch_testing_shim.common_utils import TestCase, run_tests

RAISED = RankOutcome(3, RankStatus.ERRORED, 2.0, headline="ValueError: first", traceback="Traceback ...")
PASSED = RankOutcome(3, RankStatus.PASSED, 2.0)
FAILED_SUBTEST = RankOutcome(3, RankStatus.FAILED, 1.0, headline="AssertionError: no", subtest="(i=1)")


class Remains(TestCase):
    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)

    def dead(self, *words: tuple[str, RankOutcome | None, list[RankOutcome]]) -> RankOutcome:
        """A rank that has written these words, printed something and died, with what it has left of test "2"."""
        pid = os.fork()
        if not pid:
            folder = ScratchFolder(make_folder(str(self.place)))
            folder.output(3).write_text("about to crash\n")
            for key, said, subtests in words:
                write_word(folder, key, said, subtests)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # a zombie, as torchrun may leave it for a while
        self.addCleanup(os.waitpid, pid, 0)
        died = RankOutcome(3, RankStatus.DIED, 5.0, pid=pid, exit_code=-9)
        return with_remains(died, self.place, "2")

    def test_an_exception_leads(self) -> None:
        found = self.dead(("2", RAISED, [FAILED_SUBTEST]))
        self.assertEqual((RankStatus.ERRORED, "ValueError: first", -9), (found.status, found.headline, found.exit_code))
        self.assertEqual(((FAILED_SUBTEST,), "about to crash\n", 2.0), (found.subtests, found.output, found.ended_at))

    def test_a_pass_is_no_pass(self) -> None:
        found = self.dead(("2", PASSED, []))
        self.assertEqual((RankStatus.DIED, True, 5.0), (found.status, found.finished, found.ended_at))

    def test_a_failed_subtest_and_no_end(self) -> None:
        found = self.dead(("2", None, [FAILED_SUBTEST]))
        self.assertEqual((RankStatus.DIED, False, (FAILED_SUBTEST,)), (found.status, found.finished, found.subtests))

    def test_the_word_of_another_test_does_not_count(self) -> None:
        found = self.dead(("1", RAISED, [FAILED_SUBTEST]))
        self.assertEqual((RankStatus.DIED, False, ()), (found.status, found.finished, found.subtests))

    def test_nothing_left(self) -> None:
        died = RankOutcome(3, RankStatus.DIED, 5.0, pid=os.getpid(), exit_code=-9)
        make_folder(str(self.place))  # of a living process
        self.assertIs(died, with_remains(died, self.place, "2"))

    def test_no_place_to_write_to(self) -> None:
        write_word(ScratchFolder(self.place / "removed"), "2", RAISED, [])


if __name__ == "__main__":
    run_tests()
