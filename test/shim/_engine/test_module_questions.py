"""Test modules that ask, while they are imported, whether they are in a rank."""

import os
import sys
import tempfile
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.module_questions import module_question, question_in
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

ASKS = {
    "import multiprocessing as mp\nX = mp.parent_process() is not None": "mp.parent_process",
    "from torch.multiprocessing import current_process as me\nprint(me().name)": "me",
    "import multiprocessing as mp\nclass A:\n    x = mp.current_process().name": "mp.current_process",
    "import multiprocessing as mp\ndef ask():\n    return mp.parent_process()\nX = ask()": "mp.parent_process",
    "if __name__ == '__mp_main__':\n    x = 1": "'__mp_main__'",
    "if __name__ != '__main__':\n    x = 1": "__name__ != '__main__'",
    "if __name__ == '__main__':\n    x = 1\nelse:\n    x = 2": "__name__ == '__main__'",
}
DOES_NOT = [
    "import multiprocessing as mp\ndef ask():\n    return mp.parent_process()",
    "from multiprocessing import current_process\nclass A:\n    def test(self):\n        print(current_process().name)",
    "import multiprocessing as mp\nif __name__ == '__main__':\n    print(mp.current_process())",
    "if __name__ == '__main__':\n    run_tests()",
]

SAMPLE = """
import multiprocessing
{question}

class Asks(DTensorTestBase):
    world_size = 2

    def test_in_rank(self):
        self.assertTrue(IN_RANK)
"""


class Questions(TestCase):
    def test_those_that_ask(self):
        for source, asked in ASKS.items():
            with self.subTest(asked):
                self.assertEqual(asked, question_in(source))

    def test_those_that_do_not(self):
        for source in DOES_NOT:
            with self.subTest(source):
                self.assertIsNone(question_in(source))

    def test_the_working_folder_is_gone(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        os.rmdir(folder)
        with mock.patch.object(sys.modules["__main__"], "__file__", "relative.py"):
            self.assertIsNone(module_question.__wrapped__("__main__"))


class InRanks(SampleTestCase):
    def test_the_module_is_imported_in_ranks(self):
        (self.folder / "beside.py").write_text("import multiprocessing as mp\nIN_RANK = bool(mp.parent_process())\n")
        for question in ("IN_RANK = multiprocessing.parent_process() is not None", "from beside import IN_RANK"):
            with self.subTest(question):
                run = self.run_sample(SAMPLE.format(question=question))
                self.assert_status(run, "Asks.test_in_rank", TestStatus.PASSED)
                self.assertIn("ranks are spawned, not forked, which is slower", run.output)
                self.assertIn("asks while it is imported whether it is in a rank", run.output)


if __name__ == "__main__":
    run_tests()
