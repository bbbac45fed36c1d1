"""Exit codes that a test expects of its ranks, and tests whose exit codes are nobody's business."""

import os
import signal

from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import run_tests


class ExitCodeChecksTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()
        name = self._current_test_name()
        fn = getattr(self, name).__wrapped__
        codes = {"test_aborts": -signal.SIGABRT, "test_exits": 7, "test_exits_by_another_code": 7}
        if name in codes:
            self.special_return_code_checks = {fn: codes[name]}
        else:
            self.skip_return_code_checks = [fn]

    def test_aborts(self):
        os.kill(os.getpid(), signal.SIGABRT)

    def test_exits(self):
        os._exit(7)

    def test_exits_by_another_code(self):
        os._exit(8)

    def test_ends_as_it_likes(self):
        os._exit(20 + self.rank)


if __name__ == "__main__":
    run_tests()
