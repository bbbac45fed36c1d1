"""How ranks agree on a backend, each with its own view of the file."""

import os
import tempfile
from datetime import timedelta
from pathlib import Path

from torch_testing_shim._engine.parked_backend import Agreement, Wish
from torch_testing_shim.common_utils import TestCase, run_tests


class Agreements(TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "agreement"
        self.views = [Agreement(self.path, Wish(rank, 3, timedelta(1), ())) for rank in range(3)]

    def test_leaving(self):
        first, *others = self.views
        first.leave(1, 7)
        self.assertFalse(others[0].have_left(1))
        others[0].leave(1, 7)
        others[1].leave(1, 7)
        self.assertTrue(first.have_left(1))
        self.assertTrue(first.is_quiet())
        self.assertFalse(first.have_left(2))
        others[1].leave(2, 8)
        self.assertFalse(first.is_quiet())

    def test_answers(self):
        first, second, third = self.views
        first.answer(2)
        second.answer(2)
        self.assertFalse(second.have_answered(2))
        third.answer(2)
        for view in self.views:
            self.assertTrue(view.have_answered(2) and view.have_agreed(2) and not view.is_refused())
        first.answer(3)
        self.assertFalse(first.have_answered(3))

    def test_refusal_is_an_answer(self):
        first, second, third = self.views
        third.refuse()
        self.assertFalse(self.path.exists())
        first.answer(2)
        second.answer(2)
        self.assertTrue(first.have_answered(2) and first.is_refused())
        self.assertFalse(first.have_agreed(2))
        first.refuse()

    def test_no_descriptor_stays_open(self):
        descriptors = Path("/proc/self/fd").iterdir()
        open_files = [os.readlink(each) for each in descriptors if os.path.lexists(each)]
        self.assertNotIn(str(self.path), open_files)


if __name__ == "__main__":
    run_tests()
