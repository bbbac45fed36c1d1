"""Bodies that classes share: a mixin, a base without tests, tests taken away again; load_tests; tests that print."""

import logging
import os
import sys

from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import TestCase, load_tests as torch_load_tests, run_tests

load_tests = torch_load_tests
logger = logging.getLogger(__name__)


class SharedBodies:
    """Not a test case by itself."""

    factor = 1

    def test_factor(self):
        print(f"factor {self.factor} in {os.getpid()}")
        print("a line for stderr", file=sys.stderr)
        logger.warning("a line of a log")
        self.assertIn(self.factor, (2, 3))


class TwoTest(SharedBodies, TestCase):
    factor = 2


class OneTest(SharedBodies, TestCase):
    """Its factor is wrong."""


class _Base(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()


class ThreeInRanksTest(SharedBodies, _Base):
    factor = 3

    def test_prints_without_a_line_break(self):
        sys.stdout.write("half a line")
        os.write(1, b"\xff\xfe raw bytes\n")

    def test_name(self):
        self.assertEqual(self._current_test_name(), "test_name")
        self.assertTrue(self.id().endswith("ThreeInRanksTest.test_name"))
        self.assertEqual(self.is_master, self.rank == 0)


class Overrides(ThreeInRanksTest):
    def test_factor(self):
        super().test_factor()
        self.assertEqual(self.factor, 3)

    test_name = None
    test_prints_without_a_line_break = None


if __name__ == "__main__":
    run_tests()
