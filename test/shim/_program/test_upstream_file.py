"""`python -m torch_testing_shim FILE`: a file in PyTorch's own style, run as a user would."""

import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

#: A file as it stands in PyTorch's tree, with a name and a base class that no harness has.
FILE = """
import os
import sys
import torch
import torch.distributed as dist
import torch.testing._internal.common_utils as common
from torch.testing._internal import common_distributed
from torch.testing._internal.common_utils import instantiate_parametrized_tests, parametrize, run_tests, TestCase
from torch.testing._internal.common_utils import no_such_check, no_such_decorator, NoSuchBase
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

class Sums(DTensorTestBase):
    world_size = int(os.environ.get("RANKS", "2"))

    @with_comms
    @parametrize("number", [1, 2])
    def test_sum(self, number):
        total = torch.full((2,), float(number))
        dist.all_reduce(total)
        self.assertEqual(total, torch.full((2,), float(self.world_size * number)))

    def test_wrong(self):
        self.assertEqual(torch.ones(1), torch.zeros(1))

    def test_checks_by_a_missing_name(self):
        no_such_check(1)

    @no_such_decorator("argument")
    def test_is_decorated_by_a_missing_name(self):
        pass

class OfAMissingBase(NoSuchBase):
    def test_inherits(self):
        pass

class Process(TestCase):
    @common.skip_if_pytest
    def test_looks_like_python_file(self):
        self.assertEqual(__name__, "__main__")
        self.assertIn("pytest", sys.modules)  # which upstream imports, too
        self.assertTrue(sys.argv[0].endswith("test_file.py"))
        self.assertEqual(sys.path[0], __file__.rpartition("/")[0])
        self.assertIs(common.TestCase, TestCase)
        self.assertTrue(TestCase.__module__.startswith("torch_testing_shim"))
        self.assertIn("multi-gpu-2", common_distributed.TEST_SKIPS)

instantiate_parametrized_tests(Sums)
if __name__ == "__main__":
    run_tests()
"""
MISSING = "the installed torch has no "


class Program(SampleTestCase):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "test_file.py"
        self.path.write_text(FILE)

    def run_file(self, *arguments, **extra):
        return self.run_command("-m", "torch_testing_shim", str(self.path), *arguments, **extra)

    def test_the_whole_file(self):
        run = self.run_file()
        self.assertEqual(1, run.exit_code)
        for test in ("Sums.test_sum_number_1", "Sums.test_sum_number_2", "Process.test_looks_like_python_file"):
            self.assert_status(run, test, TestStatus.PASSED)
        self.assert_status(run, "Sums.test_wrong", TestStatus.FAILED, "rank [01] failed: AssertionError")
        for test, name in (
            ("Sums.test_checks_by_a_missing_name", "no_such_check"),
            ("Sums.test_is_decorated_by_a_missing_name", "no_such_decorator"),
            ("OfAMissingBase.test_inherits", "NoSuchBase"),
        ):
            reason = rf"{MISSING}torch\.testing\._internal\.common_utils\.{name}, which {self.path} uses"
            self.assert_status(run, test, TestStatus.ERROR, reason)
        self.assertIn(f"python -m torch_testing_shim {self.path.name} Sums.test_wrong", run.output)
        self.assert_nothing_left()

    def test_spawned_ranks_are_served_too(self):
        run = self.run_file("Sums.test_sum_number_1", RANKS="1", TORCH_TESTING_SHIM_START_METHOD="spawn")
        self.assert_status(run, "Sums.test_sum_number_1", TestStatus.PASSED)

    def test_in_children_and_by_pytest(self):
        run = self.run_file("--subprocess", "Sums.test_sum_number_1")  # each test is a new interpreter
        self.assert_status(run, "Sums.test_sum_number_1", TestStatus.PASSED)
        run = self.run_file("--use-pytest", "Sums.test_sum_number_1", "OfAMissingBase.test_inherits")
        self.assert_status(run, "Sums.test_sum_number_1", TestStatus.PASSED)
        self.assert_status(run, "OfAMissingBase.test_inherits", TestStatus.ERROR, MISSING)

    def test_wrong_usage(self):
        broken = self.folder / "test_broken.py"
        broken.write_text("def f(:\n")
        for arguments, message in (
            ((), r"usage: python -m torch_testing_shim \[--map-device FROM=TO\] FILE"),
            (("--no-such-option",), r"usage: python -m torch_testing_shim \[--map-device FROM=TO\] FILE"),
            (("no_such_file.py",), "cannot read '.*no_such_file.py': No such file or directory"),
            ((str(broken),), "cannot run '.*test_broken.py': invalid syntax"),
            (("--report-surface", str(broken)), "cannot read '.*test_broken.py' as Python: invalid syntax"),
        ):
            with self.subTest(arguments):
                run = self.run_command("-m", "torch_testing_shim", *arguments)
                self.assertEqual(2, run.exit_code, run.output)
                self.assertRegex(run.output, message)
                self.assertNotIn("Traceback", run.output)

    def test_a_wrong_environment(self):
        run = self.run_file(WORLD_SIZE="x")
        self.assertEqual((2, "WORLD_SIZE is 'x'; it must be a whole number from 1\n"), (run.exit_code, run.output))

    def test_report_of_the_surface_runs_nothing(self):
        Path(self.folder, "test_other.py").write_text(
            "from torch.testing._internal.common_utils import run_tests\nraise SystemExit('was run')\n"
        )
        run = self.run_command("-m", "torch_testing_shim", "--report-surface", str(self.folder))
        self.assertEqual(0, run.exit_code, run.output)
        lines = run.output.splitlines()
        self.assertEqual(3, sum("  absent   " in line for line in lines))
        self.assertIn("    1  absent   torch.testing._internal.common_utils.NoSuchBase", lines)
        self.assertIn("    2  ours     torch.testing._internal.common_utils.run_tests", lines)
        self.assertRegex(lines[-1], r"^2 files, \d+ names: \d+ ours, \d+ torch's, 3 absent$")


if __name__ == "__main__":
    run_tests()
